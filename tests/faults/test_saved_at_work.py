"""Backups made while workers work: each can be restored, whole, and the work goes on from it."""

import shutil
import time

import pytest


@pytest.mark.slow
def test_a_backup_made_while_workers_work_is_whole(planned_project, undisturbed, tmp_path):
    copy = planned_project.copy("saved_at_work")
    with copy as project:
        workers = [project.work() for _ in range(2)]
        for _ in range(4):
            time.sleep(2)
            project.run("backup", str(tmp_path))
            # collecting waits, and does no harm either
            project.run("gc", "--delete", "--older-than", "0")
        for worker in workers:
            worker.kill()
        backups = sorted(file.parent.name for file in tmp_path.glob("*/manifest.json"))
        assert len(backups) == 4
        for name in (backups[1], backups[3]):
            project.drop_schemas()
            shutil.rmtree(project.home / "store")
            project.run("restore", str(tmp_path), "--backup", name)
            assert "read: none missing or damaged" in project.run("store", "check")
        last = project.start("work", "--threads", "1", "--quiet")
        assert last.wait(300) == 0, last.output
        made = project.n_rows()
    with undisturbed.copy("not_saved") as other:
        assert made == other.n_rows()
    for home in (copy.home, other.home):
        shutil.rmtree(home)
