"""What people see of workers and tell them: workers, pause, resume, prioritise."""

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.heartbeat import heartbeat, me
from pipeline.janitor import queues
from schemas.dataset import TrainingSetPriority
from schemas.model import TrainedModel
from schemas.operations import Pause


@pytest.fixture
def run(populated, monkeypatch):
    """Return the function that runs a command and returns what it printed."""
    monkeypatch.setenv("COLUMNS", "200")

    def command(*arguments, status=0):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == status, result.output
        return " ".join(result.output.split())

    yield command
    Pause().delete_quick()
    TrainingSetPriority().delete_quick()


def test_workers_are_shown_while_they_live(run):
    assert "no worker is alive" in run("workers")
    with heartbeat(queues(), "cpu", "a device"):
        shown = run("workers")
    assert me()["worker_host"] in shown.replace(" ", "") or me()["worker_host"][:8] in shown
    assert str(me()["worker_pid"]) in shown and "cpu" in shown and "a device" in shown
    assert "no worker is alive" in run("workers")


def test_a_pause_is_shown_until_it_ends(run):
    assert "take no new jobs" in run("pause", "new disk")
    assert "new disk" in run("workers")
    assert "new disk" in run("status")
    assert "go on" in run("resume")
    assert "nothing was paused" in run("resume")
    assert "new disk" not in run("workers")
    assert "1 to 64 characters" in run("pause", "x" * 65, status=1)


def test_a_priority_holds_for_jobs_that_wait_and_for_those_to_come(run):
    done = TrainedModel().jobs.completed.keys(limit=1, order_by="KEY")[0]
    waiting = done | {"seed": 987654}
    jobs = TrainedModel().jobs
    jobs.insert1(waiting | {"status": "pending", "priority": 5})
    try:
        training_set = done["training_set_hash"]
        assert "1 waiting jobs have priority 2" in run("prioritise", training_set, "2")
        assert (jobs & waiting).fetch1("priority") == 2
        assert (jobs & done).fetch1("priority") == 5  # what is done is history
        assert TrainingSetPriority.fetch1() == {
            "training_set_hash": training_set,
            "set_priority": 2,
        }
        assert "1 waiting" in run("prioritise", training_set, "7")  # may be changed
        assert TrainingSetPriority.fetch1("set_priority") == 7
    finally:
        (jobs & waiting).delete_quick()
    assert "no training set" in run("prioritise", "0" * 16, "1", status=1)
