"""A whole closed loop on a tiny virtual mouse, in seconds; its science is judged elsewhere.

Two folders of tests import the fixtures below. What they make is cached, since pytest takes a
fixture that is imported twice for two.
"""

from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import work
from pipeline.deletion import delete_rows
from pipeline.ingest.insert import insert_scan
from pipeline.ingest.scan import Images, ScanArrays, Source, TrialResponses, Trials, Units
from pipeline.ingest.virtual import calibrate_monitor, ingest_first_day, ingest_stimulus_day
from pipeline.ingest.virtual_rat import ingest_virtual_rat
from pipeline.migration import initialise
from pipeline.navigation_study import NavigationStudy, register_navigation
from pipeline.settings import Settings
from pipeline.stimulus import StimulusParams, close_loop, make_stimulus_set
from pipeline.study import Study, register
from schemas import graph, recording
from science.closed_loop import MatchParams
from science.digest import array_digest
from science.navigation import VirtualRatParams
from science.virtual import SessionDesign, VirtualAnimalParams

ANIMAL = VirtualAnimalParams(n_simple=6, n_complex=6, n_undriven=4, later_monitor_gamma=2.1)
DESIGN = SessionDesign(n_train=300, n_validation=0, n_test=24, repeats=5)
SEED = 5
DAY_1 = {"animal_id": 1, "session": 1, "scan_idx": 1}
DAY_2 = {"animal_id": 1, "session": 2, "scan_idx": 1}
DAY_3 = {"animal_id": 1, "session": 3, "scan_idx": 1}
REPEATS = 3
NATURAL_REPEATS = 5
STIMULUS = StimulusParams(kinds=("mei", "linear_mei", "natural", "masked_mei", "masked_natural"))
SEEDS = (3, 8)
N_MEIS, BLOCK = 10, 6

CORE = {
    "type": "stacked",
    "hidden_channels": 4,
    "layers": 1,
    "input_kern": 7,
    "hidden_kern": 3,
}
READOUT = {"type": "pyramid", "scale_n": 2}
STUDY = {
    "preprocessing": {"height": 24, "width": 40},
    "split": {"validation_fraction": 0.25},
    "training": {"max_epoch": 3, "patience": 2},
    "models": {
        "cnn": {"seeds": SEEDS, "config": {"core": CORE, "readout": READOUT}},
        "linear": {"seeds": SEEDS[:1], "config": {"core": CORE | {"linear": True}}},
    },
    "selection": {"only_reliable": False, "max_units": N_MEIS, "block_size": BLOCK},
    "mei": {"method": "inception_loop", "iter_n": 20, "n_starts": 2},
    "controls": {
        "contrast": {"mean": 120, "std": 16},
        "gabors": {
            "grid": {"wavelengths": (6, 9), "sigmas": (2.5,), "dys": (0, 0.2), "dxs": (0, 0.2)},
            "ascent": {"steps": 5, "n_starts": 1},
        },
        "field": {"lambdas": (10, 100)},
    },
    "diverse": {"n_images": 3, "iter_n": 10},
    "surround": {"iter_n": 10},
}
RAT = VirtualRatParams(n_grid=3, n_border=1, n_place=1, n_head_direction=1, n_conjunctive=1)
RATS = [{"animal_id": animal, "session": 1, "scan_idx": 1} for animal in (101, 102)]
NAVIGATION = {
    "task": {
        "arena": {"width": 1, "height": 1},
        "code": {"type": "place_cells", "n_cells": 30},
        "n_steps": 8,
    },
    "training": {"n_epochs": 2, "steps_per_epoch": 20, "n_walks": 20, "n_held_out": 50},
    "networks": {"ugrnn": {"seeds": (3,), "config": {"n_units": 8}, "untrained": True}},
    "rate_maps": {
        "maps": {"bin_cm": 10, "min_occupancy_s": 0},
        "shuffles": {"n_shuffles": 5},
        "n_segments": 2,
    },
    "model_maps": {"bin_cm": 10, "n_batches": 5},
    "maps": {"ridge": {"n_halvings": 2, "train_frac": 0.5}},
}
FIRST_ANIMAL = 1000  # of those that modules insert and delete
NONFINITE = {"training": {"max_epoch": 2, "schedule": (1e30,)}}


def study(**changes: Any) -> Study:
    """Return the miniature's study with some of its parts replaced."""
    return Study.model_validate(STUDY | changes)


@dataclass(frozen=True)
class Miniature:
    """Keys of what was made.

    `plan` is the ensemble with everything downstream, `linear` its linear control, `broken` one
    of whose members did not stay finite.
    """

    training_set: dict[str, Any]
    plan: dict[str, Any]
    linear: dict[str, Any]
    broken: dict[str, Any]
    stimulus: dict[str, Any]
    failed_jobs: int


def write_study(file: Path, study: dict[str, Any]) -> None:
    """Write a study as TOML."""
    file.write_text("\n".join(f"{name} = {_toml(value)}" for name, value in study.items()))


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple | list | range):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value)


@pytest.fixture(scope="session")
def tables(database):
    """All schemas exist."""
    _create_tables()


@pytest.fixture(scope="session")
def populated(tables) -> Miniature:
    """The closed loop, computed."""
    return _close_the_loop()


@pytest.fixture(scope="module")
def recordings(tables):
    """Makes recordings that are deleted after the module with all that depends on them.

    Not after each test: DataJoint needs a second or two to find what depends on what.
    """
    made = Recordings()
    yield made
    made.delete()


@cache
def _create_tables() -> None:
    initialise(Settings().prefix)


@cache
def _close_the_loop() -> Miniature:
    """Record, model, synthesise, show again and compare, with the code of a worker."""
    ingest_first_day(DAY_1, ANIMAL, DESIGN, SEED)
    plans = register(study(), [DAY_1])
    broken = register(study(**NONFINITE), [DAY_1])
    for seed, rat in enumerate(RATS):
        ingest_virtual_rat(rat, seed, minutes=4.0, params=RAT)
    register_navigation(NavigationStudy.model_validate(NAVIGATION), RATS)
    failed = _work()
    plan = plans["plans"]["cnn"]
    stimulus = make_stimulus_set(plan, STIMULUS, calibrate_monitor(DAY_1, day=2))
    for day, key in ((2, DAY_2), (3, DAY_3)):
        ingest_stimulus_day(key, DAY_1, stimulus, REPEATS, day, NATURAL_REPEATS)
        close_loop(key, stimulus, MatchParams(), day=day)
    failed += _work()
    linear, bad = plans["plans"]["linear"], broken["plans"]["cnn"]
    return Miniature(plans["training_set"], plan, linear, bad, stimulus, failed)


def _work() -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "POLL_SECONDS", 0.0)
        return work.work(work.Shift(n_threads=1))[1]


def images(n: int, seed: int, size: tuple[int, int] = (8, 10)) -> np.ndarray:
    """Return `n` different images that no other seed makes."""
    return np.random.default_rng([seed, 77]).integers(0, 256, (n, *size), np.uint8)


def arrays(seed: int, n_images: int = 40, n_units: int = 4, repeated: int = 6) -> dict[str, Any]:
    """Return a recording in the arrays format: `repeated` of its images shown three times."""
    rng = np.random.default_rng(seed)
    shown = np.repeat(np.arange(n_images), np.where(np.arange(n_images) < repeated, 3, 1))
    return {
        "images": images(n_images, seed),
        "image_index": rng.permutation(shown),
        "responses": rng.poisson(2.0, (len(shown), n_units)).astype(np.float32),
    }


def insert_arrays(
    key: dict[str, int],
    content: dict[str, Any],
    units: dict[str, Any] | None = None,
    image_class: Any = "image",
    **changes: Any,
) -> ScanArrays:
    """Insert a recording in the arrays format, with units numbered from 1."""
    pixels, responses = content["images"], content["responses"]
    scan = ScanArrays(
        images=Images(pixels, np.broadcast_to(image_class, len(pixels)).astype(str)),
        trials=Trials(content["image_index"]),
        activity=TrialResponses(responses),
        units=Units(np.arange(1, responses.shape[1] + 1), **(units or {})),
        **changes,
    )
    digest = array_digest(pixels, content["image_index"], responses)
    insert_scan(key, scan, Source("test", "1", "made in a test", None, digest))
    return scan


def recorded_activity(key: dict[str, int]) -> np.ndarray:
    """Return the stored activity of all units."""
    blocks = (recording.Activity.Block & key).to_arrays("activity", order_by="activity_block")
    return np.concatenate([np.asarray(block) for block in blocks], axis=-1)


class Recordings:
    """Recordings that are deleted with everything that was asked for and computed of them."""

    animals = count(FIRST_ANIMAL)

    def __init__(self) -> None:
        self.keys: list[dict[str, int]] = []

    def key(self) -> dict[str, int]:
        """Return the key of a recording that is not there yet."""
        self.keys.append({"animal_id": next(self.animals), "session": 1, "scan_idx": 1})
        return self.keys[-1]

    def insert(self, seed: int, **changes: Any) -> dict[str, int]:
        """Insert a recording of random responses and return its key."""
        key = self.key()
        insert_arrays(key, arrays(seed), **changes)
        return key

    def delete(self) -> None:
        """Delete them all."""
        own = [key["animal_id"] for key in self.keys if key["animal_id"] >= FIRST_ANIMAL]
        virtual = [{"rig": f"virtual-{animal}"} for animal in own]
        for rows in (recording.Scan & self.keys, recording.Rig & virtual):
            if rows:
                delete_rows(rows)


all_tables = graph.tables


def row_counts() -> dict[str, int]:
    """Return the number of rows of every table, parts included."""
    return {name: len(table()) for name, table in all_tables().items()}
