"""Workers and the database are killed at random moments, and nothing of it is seen in the end.

The same plans are computed twice from the same bytes: once by two workers that nobody disturbs,
and once while whatever runs is killed.
"""

import json
import random
import time
from dataclasses import asdict, dataclass, field

import pytest
from private_project import QUICK, Command, Project, planned, wait_until, worked_off
from results import results, unused_objects

N_WORKERS = 2


@dataclass
class Disturbance:
    """What is done to a run, and what came of it.

    Attributes
    ----------
    n_kills : int
        Of workers.
    restarts : tuple of 'stop' or 'kill'
        Of the database.
    pause_seconds : tuple of float
        Shortest and longest time between two of these.
    at_work : list of str
        Tables at whose jobs victims were.
    n_rows_at_last, n_rows : int
        Computed rows at the last kill, and in the end.
    n_unused_objects : int
        In the store before garbage collection; none are left after it.
    seconds : float
        From the start of the first workers until everything was done.
    """

    n_kills: int
    restarts: tuple[str, ...]
    pause_seconds: tuple[float, float]
    constants: dict[str, float]
    seed: int = 1
    at_work: list[str] = field(default_factory=list)
    n_rows_at_last: int = 0
    n_rows: int = 0
    n_unused_objects: int = 0
    seconds: float = 0.0


def disturb(project: Project, plan: Disturbance, n_expected: dict[str, int]) -> list[Command]:
    """Kill and start again all along the chain, and return the workers that live."""
    n_total = sum(n_expected.values())
    rng = random.Random(plan.seed)
    workers = [project.work(plan.constants) for _ in range(N_WORKERS)]
    events = [*["worker"] * plan.n_kills, *plan.restarts]
    rng.shuffle(events)
    for n_before, event in enumerate(events):
        n_enough = n_total * n_before // len(events)
        wait_until(lambda n=n_enough: reached(project, n, n_total))
        at_work = [worker for worker in workers if project.reserved_by(worker)]
        time.sleep(rng.uniform(*plan.pause_seconds))
        plan.n_rows_at_last = sum(project.n_rows().values())
        if event == "worker":
            victim = rng.choice(at_work or workers)
            victim.kill()
            plan.at_work += project.reserved_by(victim)
        else:
            project.server.stop() if event == "stop" else project.kill_server()
            time.sleep(rng.uniform(0, 2))
            project.server.start()
        workers = [worker if worker.running else project.work(plan.constants) for worker in workers]
    return workers


def reached(project: Project, n_rows: int, n_total: int) -> bool:
    """Whether so many rows are computed and somebody computes, or all is done."""
    n_done = sum(project.n_rows().values())
    return n_done == n_total or (n_done >= n_rows and bool(project.jobs("reserved")))


def run(project: Project, reference: Project, plan: Disturbance) -> None:
    """Assert that in the end, whatever lasts is as after an undisturbed run."""
    with reference:
        expected, n_expected = results(reference), reference.n_rows()
        assert {job["status"] for job in reference.jobs()} == {"success"}
    with project:
        began = time.monotonic()
        workers = disturb(project, plan, n_expected)
        try:
            wait_until(lambda: project.n_rows() == n_expected, seconds=600)
        except AssertionError:
            said = "\n".join(worker.output[-2000:] for worker in workers)
            pytest.fail(f"not done: {project.n_rows()}, {project.unfinished()}\n{said}")
        wait_until(lambda: not project.jobs("reserved"))
        plan.n_rows, plan.seconds = sum(n_expected.values()), round(time.monotonic() - began, 1)
        for worker in workers:
            worker.terminate()
        for worker in project.started:
            assert "Traceback" not in worker.output
        assert {job["status"] for job in project.jobs()} == {"success"}
        plan.n_unused_objects = len(unused_objects(project))
        project.run("gc", "--delete", "--older-than", "0")
        assert not unused_objects(project)
        found = results(project)
        assert list(found) == list(expected)
        for table, rows in expected.items():
            assert found[table] == rows, table
    assert plan.at_work
    print(json.dumps({"name": "killed_workers"} | asdict(plan)))  # noqa: T201


def test_killed_workers_and_a_killed_database_leave_no_trace(planned_project, undisturbed):
    plan = Disturbance(8, ("kill",), (0.05, 0.5), QUICK)
    run(planned_project.copy("disturbed"), undisturbed, plan)


@pytest.mark.slow
def test_thirty_kills_and_three_restarts_leave_no_trace(tmp_path, server_program):
    project = planned(tmp_path / "planned", server_program, n_seeds=8, max_epoch=60)
    plan = Disturbance(30, ("stop", "kill", "kill"), (0.1, 2.0), {})
    run(project.copy("disturbed"), worked_off(project), plan)
