"""A whole closed loop on a tiny virtual mouse, in seconds; its science is judged elsewhere.

Two folders of tests use it, so it is made once per session here and not by a fixture of each.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from pipeline import work
from pipeline.commands.stimulus import admit_like_source
from pipeline.ingest.virtual import ingest_first_day, ingest_stimulus_day
from pipeline.settings import Settings
from pipeline.stimulus import close_loop, make_stimulus_set
from pipeline.study import Study, register
from schemas import graph
from science.closed_loop import MatchParams
from science.virtual import SessionDesign, VirtualAnimalParams

ANIMAL = VirtualAnimalParams(n_simple=6, n_complex=6, n_undriven=4)
DESIGN = SessionDesign(n_train=300, n_validation=0, n_test=24, repeats=5)
SEED = 5
DAY_1 = {"animal_id": 1, "session": 1, "scan_idx": 1}
DAY_2 = {"animal_id": 1, "session": 2, "scan_idx": 1}
REPEATS = 3
SEEDS = (3, 8)
N_MEIS, BLOCK = 10, 6

CORE = {"hidden_channels": 4, "layers": 1, "input_kern": 7, "hidden_kern": 3}
STUDY = {
    "preprocessing": {"height": 24, "width": 40},
    "training": {"max_epoch": 3, "patience": 2},
    "models": {
        "cnn": {"seeds": SEEDS, "config": {"core": CORE, "readout": {"scale_n": 2}}},
    },
    "selection": {"only_reliable": False, "max_units": N_MEIS, "block_size": BLOCK},
    "mei": {"iter_n": 20},
}
NONFINITE = {"training": {"max_epoch": 2, "schedule": (1e30,)}}


def study(**changes: Any) -> Study:
    """Return the miniature's study with some of its parts replaced."""
    return Study.model_validate(STUDY | changes)


@dataclass(frozen=True)
class Miniature:
    """Keys of what was made.

    `plan` is the ensemble with everything downstream, `broken` one of whose members did not stay
    finite.
    """

    training_set: dict[str, Any]
    plan: dict[str, Any]
    broken: dict[str, Any]
    stimulus: dict[str, Any]
    failed_jobs: int


@cache
def tables() -> None:
    """Create the schemas of the tests' prefix."""
    graph.create(Settings().prefix)


@cache
def populated() -> Miniature:
    """Record, model, synthesise, show again and compare, with the code of a worker."""
    tables()
    ingest_first_day(DAY_1, ANIMAL, DESIGN, SEED)
    plans = register(study(), [DAY_1])
    broken = register(study(**NONFINITE), [DAY_1])
    failed = _work()
    plan = plans["plans"]["cnn"]
    stimulus = make_stimulus_set(plan)
    ingest_stimulus_day(DAY_2, DAY_1, stimulus, REPEATS, day=2)
    close_loop(admit_like_source(DAY_2, stimulus), stimulus, MatchParams())
    failed += _work()
    return Miniature(plans["training_set"], plan, broken["plans"]["cnn"], stimulus, failed)


def _work() -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "POLL_SECONDS", 0.0)
        return work.work(n_threads=1)[1]
