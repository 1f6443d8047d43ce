"""The workers of one machine: who gets which GPU, what they are told, and who starts them again."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from pipeline import crew
from pipeline.crew import WorkerDied, gpus, n_workers, supervise
from pipeline.work import Shift
from pipeline.worker_log import JsonLines


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)


def test_there_is_one_worker_per_gpu_and_one_without_any(two_gpus, monkeypatch):
    assert n_workers() == 2
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert n_workers() == 1


def test_the_gpus_a_scheduler_gave_keep_their_names(two_gpus, monkeypatch):
    assert gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-8932f937")
    assert gpus() == ["5", "GPU-8932f937"]


def option(command, name):
    return command[command.index(name) + 1]


def test_every_process_has_a_gpu_of_its_own_and_the_others_do_what_needs_none(two_gpus):
    told = [crew._command(Shift(3), False, place) for place in range(3)]
    assert [env["CUDA_VISIBLE_DEVICES"] for _, env in told] == ["0", "1", ""]
    assert [option(command, "--serves") for command, _ in told] == ["all", "all", "cpu"]
    assert all(env["OMP_NUM_THREADS"] == "3" for _, env in told)
    assert all(option(command, "--threads") == "3" for command, _ in told)


def test_without_a_gpu_everybody_serves_everything(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    told = [crew._command(Shift(1), False, place) for place in range(2)]
    assert all("CUDA_VISIBLE_DEVICES" not in env.keys() - os.environ.keys() for _, env in told)
    assert [option(command, "--serves") for command, _ in told] == ["all", "all"]


def test_a_worker_is_told_all_that_the_shift_says():
    command, _ = crew._command(Shift(1, "cpu", True, 90.0, 7), True, 0)
    assert {"--forever", "--json-logs", "--quiet"} <= set(command)
    assert (option(command, "--minutes"), option(command, "--jobs")) == ("1.5", "7")
    assert option(command, "--processes") == "1"
    plain, _ = crew._command(Shift(1), False, 0)
    assert not {"--forever", "--json-logs", "--minutes", "--jobs"} & set(plain)


@pytest.fixture
def fake_workers(monkeypatch, tmp_path):
    """Processes that run a script instead of a worker; returns the function that sets it."""
    monkeypatch.setattr(crew, "status", list)
    monkeypatch.setattr(crew, "LOOK_SECONDS", 0.2)

    def use(script):
        command = [sys.executable, "-c", script, str(tmp_path)]
        monkeypatch.setattr(crew, "_command", lambda *_: (command, dict(os.environ)))
        return tmp_path

    return use


def test_workers_that_end_by_themselves_are_a_success(fake_workers):
    fake_workers("pass")
    assert supervise(2, Shift(1)) == 0


def test_a_worker_that_dies_is_told_of(fake_workers):
    fake_workers("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(WorkerDied, match=r"\[-9, -9\]"):
        supervise(2, Shift(1))


LIVES_AT_THE_SECOND_TRY = """
import pathlib, sys, time
died = pathlib.Path(sys.argv[1], "died")
if not died.exists():
    died.touch()
    raise SystemExit(9)
pathlib.Path(sys.argv[1], "alive").touch()
try:
    time.sleep(60)
finally:
    pathlib.Path(sys.argv[1], "ended").touch()
"""


def test_forever_means_that_the_dead_are_replaced_and_all_end_with_their_supervisor(fake_workers):
    import_signal = "import signal\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
    folder = fake_workers("import sys\n" + import_signal + LIVES_AT_THE_SECOND_TRY)

    def stop_when_alive():
        end = time.monotonic() + 30
        while time.monotonic() < end and not (folder / "alive").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_when_alive, daemon=True).start()
    with pytest.raises(SystemExit):
        supervise(1, Shift(1, forever=True))
    assert (folder / "died").exists()
    assert (folder / "ended").exists()  # the worker had ended before the supervisor did


def test_logs_for_machines_are_one_json_object_a_line():

    record = logging.LogRecord("w", logging.INFO, "", 0, "%s: %d done", ("MEI", 2), None)
    record.table, record.keys, record.seconds = "MEI", [{"a": 1}, {"a": 2}], 0.5
    line = JsonLines().format(record)
    said = json.loads(line)
    assert "\n" not in line
    assert said["message"] == "MEI: 2 done"
    assert (said["table"], said["keys"], said["seconds"]) == ("MEI", [{"a": 1}, {"a": 2}], 0.5)
    assert said["level"] == "info" and said["worker"].endswith(f":{os.getpid()}")
    assert said["time"].endswith("+00:00")


def test_a_stack_is_part_of_its_line():

    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord("w", logging.ERROR, "", 0, "it failed", (), sys.exc_info())
    line = JsonLines().format(record)
    assert "\n" not in line
    assert "ValueError: two" in json.loads(line)["stack"]


def test_one_process_works_itself_and_answers_a_signal_itself():
    # what a container runs as its first process
    shown = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "work", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"COLUMNS": "200"},
    ).stdout
    for name in ("--forever", "--minutes", "--jobs", "--serves", "--json-logs"):
        assert name in shown
