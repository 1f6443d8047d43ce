"""The virtual experiment from end to end: the proof that the chain works on this machine."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pipeline.any_study import read_any_study, register_any
from pipeline.commands.console import database, say
from pipeline.crew import supervise, threads_per_worker
from pipeline.ingest.virtual import calibrate_monitor, ingest_first_day, ingest_stimulus_day
from pipeline.ingest.virtual_rat import ingest_virtual_rat
from pipeline.navigation_study import NavigationStudy, register_navigation
from pipeline.report import write_report
from pipeline.stimulus import StimulusParams, close_loop, prepare_stimulus
from pipeline.stimulus.files import export_stimulus
from pipeline.study import Study, read_study, register
from pipeline.work import Shift
from schemas.stimulus import Kind
from science.closed_loop import MatchParams
from science.params import Params
from science.virtual import SessionDesign, VirtualAnimalParams

FIRST_DAY = {"animal_id": 1, "session": 1, "scan_idx": 1}
LATER_DAYS = {day: {"animal_id": 1, "session": day, "scan_idx": 1} for day in (2, 3)}
NATURAL_REPEATS = 5
LATER_MONITOR = {"later_monitor_gamma": 2.1}
STUDIES = Path(__file__).parent / "studies"


@dataclass(frozen=True)
class Experiment:
    """A virtual experiment: the animals, what they are shown, and the studies of them.

    `task_driven` are studies of networks that need no animal.
    """

    animal: VirtualAnimalParams
    design: SessionDesign
    study: Study
    stimulus: StimulusParams
    repeats: int
    navigation: NavigationStudy
    n_rats: int
    rat_minutes: float
    task_driven: tuple[Params, ...]
    seed: int = 1


def experiment(small: bool = False) -> Experiment:
    """Return the demo's experiment, or the miniature of it that the tests run."""
    if small:
        return Experiment(
            VirtualAnimalParams(n_simple=16, n_complex=16, n_undriven=6, **LATER_MONITOR),
            SessionDesign(n_train=2400, n_validation=0, n_test=60, repeats=10),
            read_study(STUDIES / "miniature.toml"),
            StimulusParams(kinds=("mei", "gabor")),
            repeats=10,
            navigation=read_any_study(STUDIES / "navigation_miniature.toml"),
            n_rats=2,
            rat_minutes=5.0,
            task_driven=_studies("coding_miniature", "feedback_miniature"),
        )
    others = {"n_curved": 4, "n_crossed": 4, "n_suppressed": 4, "n_two_subunits": 4}
    return Experiment(
        VirtualAnimalParams(**others, **LATER_MONITOR),
        SessionDesign(n_train=3000, n_validation=0, n_test=100, repeats=10),
        read_study(STUDIES / "virtual.toml"),
        StimulusParams(kinds=get_args(Kind)),
        repeats=10,
        navigation=read_any_study(STUDIES / "navigation.toml"),
        n_rats=3,
        rat_minutes=20.0,
        task_driven=_studies("coding", "feedback"),
    )


def _studies(*names: str) -> tuple[Params, ...]:
    return tuple(read_any_study(STUDIES / f"{name}.toml") for name in names)


def run_demo(folder: Path, n_workers: int, chosen: Experiment) -> None:
    """Record, model, synthesise, show again, compare, report; what is there is not done again."""
    threads = threads_per_worker(n_workers)
    with database(create=True) as settings:
        say("1/6 day 1: a virtual mouse sees natural images, virtual rats forage")
        ingest_first_day(FIRST_DAY, chosen.animal, chosen.design, chosen.seed)
        plans = register(chosen.study, [FIRST_DAY])
        rats = [{"animal_id": 101 + i, "session": 1, "scan_idx": 1} for i in range(chosen.n_rats)]
        for seed, rat in enumerate(rats):
            ingest_virtual_rat(rat, seed, chosen.rat_minutes)
        register_navigation(chosen.navigation, rats)
        for study in chosen.task_driven:
            register_any(study, ())
        say(f"2/6 reliability, models, MEIs, rate maps, fits, codes, by {n_workers} workers")
        _compute(n_workers, threads)
        say("3/6 the next days: the same mouse sees MEIs and their controls, on another monitor")
        monitor = calibrate_monitor(FIRST_DAY, day=2)
        stimulus = prepare_stimulus(plans["plans"]["cnn"], chosen.stimulus, monitor)
        export_stimulus(stimulus, folder.parent / "stimulus")
        for day, scan in LATER_DAYS.items():
            ingest_stimulus_day(scan, FIRST_DAY, stimulus.key, chosen.repeats, day, NATURAL_REPEATS)
            close_loop(scan, stimulus.key, MatchParams(), day=day)
        say("4/6 cell matches and confusion matrices")
        _compute(n_workers, threads)
        say("5/6 report")
        page = write_report(folder)
        say(f"6/6 done\n\nreport:   {page.resolve()}")
        say(f"database: schemas {settings.prefix}* on {_where()}")


def _where() -> str:
    """Say where the database is, and how Jupyter and SQL reach it."""
    if os.environ.get("DJ_HOST"):
        return f"{os.environ['DJ_HOST']}, as the DJ_* variables say"
    return (
        "the private server\n"
        'connect:  eval "$(.venv/bin/inceptionloop server env)", then Jupyter '
        "(notebooks/README.md)\n"
        '          or MYSQL_PWD="$DJ_PASS" mysql -h "$DJ_HOST" -P "$DJ_PORT" -u "$DJ_USER"'
    )


def _compute(n_workers: int, threads: int) -> None:
    failed = supervise(n_workers, Shift(threads))
    if failed:
        raise SystemExit(f"{failed} jobs failed: `inceptionloop errors --stack` shows why")
