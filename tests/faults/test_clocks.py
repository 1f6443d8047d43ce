"""Hosts whose clocks and time zones differ: the time of the database is the only one."""

import time
from collections.abc import Iterator

import pytest
from private_project import PREFIX, Project, wait_until


@pytest.fixture(scope="module")
def project(undisturbed) -> Iterator[Project]:
    """Everything is computed, and the server runs."""
    with undisturbed.copy("clocks") as project:
        yield project


@pytest.fixture(autouse=True)
def no_workers(project):
    """Nobody works before and after."""
    yield
    for command in project.started:
        command.terminate()
    project.forget_retries()


@pytest.mark.slow
def test_clocks_of_hosts_do_not_matter(project):
    ((begin,),) = project.query("SELECT CURRENT_TIMESTAMP(3) - INTERVAL 1 SECOND")
    ahead = project.work(CLOCK_AHEAD_SECONDS="93600", TZ="America/New_York")
    behind = project.work(CLOCK_AHEAD_SECONDS="-93600", TZ="Asia/Tokyo")
    project.wait_for(ahead, behind)
    seed = project.add_plan(max_epoch=100)
    wait_until(project.is_training)
    victim, other = (ahead, behind) if project.reserved_by(ahead) else (behind, ahead)
    beats = f"SELECT UTC_TIMESTAMP - heartbeat FROM `{PREFIX}operations`.worker"
    assert all(0 <= seconds <= 3 for (seconds,) in project.query(beats))
    victim.kill()
    wait_until(lambda: project.reserved_by(other))
    wait_until(lambda: project.is_done(seed))
    # he who died is believed dead, once, and nobody else ever was
    assert project.retried() == [("TrainedModel", 0, 1)]
    ((scheduled, reserved, completed),) = project.query(
        "SELECT scheduled_time, reserved_time, completed_time "
        f"FROM `{PREFIX}model`.`~~trained_model` WHERE seed = %s",
        seed,
    )
    ((end,),) = project.query("SELECT CURRENT_TIMESTAMP(3)")
    assert begin <= scheduled <= reserved <= completed <= end


def test_the_time_zone_of_the_server_may_change(project):
    """As with summer and winter time, but by more."""
    early, seed = project.work(), project.add_plan(max_epoch=100)
    wait_until(project.is_training)
    ((before,),) = project.query("SELECT @@GLOBAL.time_zone")
    project.query("SET GLOBAL time_zone = '+11:00'")
    try:
        late = project.work()
        project.wait_for(late)
        time.sleep(2)  # in which both look at each other
        wait_until(lambda: project.is_done(seed))
        assert not project.retried()
        assert early.running and late.running
    finally:
        project.query("SET GLOBAL time_zone = %s", before)


@pytest.mark.slow
def test_the_job_of_a_dead_worker_is_given_back_within_a_minute(project):
    workers = [project.work(constants={}) for _ in range(2)]
    project.wait_for(*workers)
    seed = project.add_plan(max_epoch=300)
    wait_until(project.is_training)
    victim, other = sorted(workers, key=project.reserved_by, reverse=True)
    time.sleep(2)
    ((died,),) = project.query("SELECT CURRENT_TIMESTAMP(3)")
    victim.kill()
    wait_until(lambda: project.reserved_by(other))
    ((returned,),) = project.query("SELECT CURRENT_TIMESTAMP(3)")
    assert (returned - died).total_seconds() < 60
    wait_until(lambda: project.is_done(seed))
