# %% [markdown]
# # 08 Running on many machines
#
# Workers are processes that share nothing but the database: on a laptop two of them, on a cluster
# two hundred. At the end you know how they divide the work, what more of them would bring, and what
# happens when one is killed. One *is* killed below.
#
# Needs the project of `make demo`. It asks for one small piece of new work, lets two workers do it,
# and removes it again; should other work be waiting, they would do that as well. How to run workers
# for months: `docs/operating.md`; SLURM and Kubernetes: `docs/cluster.md`.

# %%
import heapq
import subprocess
import sys
import time
from datetime import timedelta

import matplotlib.pyplot as plt
import numpy as np

from pipeline.database import open_database
from pipeline.report.style import COLOURS, INK, MAIN, MUTED, label, legend, log_axis, tidy
from pipeline.sql import read_sql

open_database()

from pipeline.deletion import delete_rows
from pipeline.foreman import prioritise
from pipeline.queue import refill
from schemas.dataset import TaskConfig, TrainingSet
from schemas.model import TrainedModel, TrainingPlan
from schemas.model_config import ModelConfig, SeedSet, TrainConfig
from schemas.operations import RetriedJob, Worker
from science.coding import CodingConfig, CodingTask, CodingTraining

# %% [markdown]
# ## Who has done what?
#
# Every computed table has a queue, a table as well: `TrainedModel.jobs`. A job is *pending*, then
# *reserved* by one worker, then *success* or *error*. The view `jobs` is all of them; records of
# what was done stay, with who did it and how long it took.

# %%
done = read_sql("SELECT * FROM jobs WHERE status = 'success' ORDER BY reserved_time")
done.groupby("job_table").duration.agg(["size", "median", "sum"]).nlargest(8, "sum").round(2)

# %% [markdown]
# The same on a time line, a row per worker and a colour per table. Trainings run side by side,
# since seeds need nothing of each other; what comes later waits for them. Rows that start late are
# workers that were started later, for the days on which the animal saw the stimuli.

# %%
longest = done.groupby("job_table").duration.sum().nlargest(6).index
colours = dict(zip(longest, COLOURS, strict=False))
first = done[done.reserved_time < done.reserved_time.min() + timedelta(hours=1)]
figure, ax = plt.subplots(figsize=(10.4, 3), layout="constrained")
tidy(ax)
for row, (_, own) in enumerate(first.groupby("pid", sort=False)):
    starts = (own.reserved_time - first.reserved_time.min()).dt.total_seconds()
    seconds = (own.completed_time - own.reserved_time).dt.total_seconds()
    shade = own.job_table.map(colours).fillna(MUTED)
    ax.barh(np.full(len(own), row), seconds, left=starts, color=shade, edgecolor="white", lw=0.4)
ax.set_yticks(range(row + 1), [f"worker {number}" for number in range(1, row + 2)])
ax.invert_yaxis()
label(ax, "seconds since the first job", "")
for name, colour in colours.items():
    ax.barh(0, 0, color=colour, label=name)
legend(ax, loc="center left", bbox_to_anchor=(1, 0.5))

# %% [markdown]
# ## What would more workers bring?
#
# Deal the recorded trainings anew, the longest first, each to the worker that is free first. The
# time falls with their number until the longest training alone decides; the dashed line is what
# perfect division would give. An ensemble of two seeds cannot use eight machines, a grid of
# architectures can: durations times twelve are what the right curve deals.


# %%
def dealt(durations: list[float], n_workers: int) -> float:
    """Return after how many seconds all jobs are done."""
    free = [0.0] * n_workers
    for seconds in sorted(durations, reverse=True):
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)


trainings = done[done.job_table == "TrainedModel"].duration.tolist()
workers = [1, 2, 4, 8, 16, 32]
figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for ax, jobs, title in zip(
    axes, (trainings, 12 * trainings), ("as it was", "twelve times as much"), strict=True
):
    tidy(ax)
    ax.plot(workers, [dealt(jobs, n) / 60 for n in workers], "o-", color=MAIN, label="dealt")
    ax.plot(workers, [sum(jobs) / n / 60 for n in workers], color=INK, ls="--", lw=1, label="ideal")
    ax.set_xscale("log", base=2)
    log_axis(ax)
    ax.set_xticks(workers, workers)
    label(ax, "workers", "minutes" if ax is axes[0] else "", f"{title}: {len(jobs)} trainings")
legend(axes[0])

# %% [markdown]
# ## New work
#
# Small efficient codes (notebook 06) of three seeds. Nothing is computed by asking: a row of a plan
# says what is wanted, and `inceptionloop register` makes many of them from a file. The priority is
# the highest (0; 5 is usual), so that workers do it before all else. Then the queue is filled,
# which workers do by themselves.

# %%
before = len(TrainingSet()), len(TrainedModel())
stimulus = {"type": "gaussian", "sd": 3.1}
task = TaskConfig.register(CodingTask(n_train=400, n_test=400, stimulus=stimulus))
ours, seeds = TrainingSet.register_task(task), (1, 2, 3)
plan = ours | SeedSet.register(seeds)
plan |= ModelConfig.register_task_driven("coding", CodingConfig(n_neurons=4, n_hidden=20))
plan |= TrainConfig.register(CodingTraining(target_rates=(0.5, 1.0), batch_size=50, n_epochs=40))
TrainingPlan.insert1(plan, skip_duplicates=True)
prioritise(ours["training_set_hash"], 0)
refill(TrainedModel(), {ours["training_set_hash"]: 0})
jobs = TrainedModel().jobs & ours
jobs.to_pandas().reset_index()[["seed", "status", "priority", "scheduled_time"]]

# %% [markdown]
# ## Two workers, one of which dies
#
# Two workers start, as `inceptionloop work` would start them, on this machine; on another one the
# command is the same. The first to reserve a job is killed at once, as by a power cut (SIGKILL): it
# can say nothing to anybody any more. Its job stays *reserved*.

# %%
command = [sys.executable, "-m", "pipeline.cli", "work", "--processes", "1", "--threads", "1"]
command += ["--quiet", "--jobs", str(len(seeds))]
crew = [subprocess.Popen(command) for _ in range(2)]
reserved = []
while not reserved and any(worker.poll() is None for worker in crew):
    time.sleep(0.05)
    reserved = (jobs & "status = 'reserved'").to_dicts()
lost = reserved[0]
victim = next(worker for worker in crew if worker.pid == lost["pid"])
victim.kill()
victim.wait()
read_sql(
    "SELECT worker_pid, worker_started, silent_seconds, serves, at_work_on, n_done FROM workers"
)

# %% [markdown]
# Workers beat every five seconds, in a thread of their own, and each looks after the others: who
# has been silent for 45 seconds is dead, and gets its jobs taken away. Here nobody wants to wait
# for that; the last heartbeat of the dead worker is put back by a minute, and the survivor does the
# rest.

# %%
grave = Worker & {"worker_pid": victim.pid, "worker_host": lost["host"]}
for row in grave.to_dicts():
    Worker.update1(row | {"heartbeat": row["heartbeat"] - timedelta(minutes=1)})
survivor = next(worker for worker in crew if worker is not victim)
survivor.wait()
finished = jobs.to_pandas().reset_index()
finished[["seed", "status", "pid", "reserved_time", "duration"]]

# %% [markdown]
# What was lost is a few seconds of one training. The job of the dead worker was given back, and
# another process did it; the note that stays says why it was tried again. After ten deaths at one
# job the job is an error, as it probably is what kills them: not enough memory.

# %%
note = RetriedJob & {"last_failure": f"WorkerDied: {lost['host']}:{victim.pid} was at it"}
note.to_pandas().reset_index()[["job_table", "n_deaths", "last_failure"]]

# %% [markdown]
# ## Tidy up
#
# A deletion takes all that was computed from what is deleted, in one transaction: networks and
# records of jobs. Their objects in the store go with the next `inceptionloop gc`.

# %%
n_trained, n_notes = len(TrainedModel & ours), len(note)
delete_rows(TaskConfig & task)
grave.delete_quick()
note.delete_quick()
after = len(TrainingSet()), len(TrainedModel())

# %% [markdown]
# ## What have we learnt?
#
# Every job was done exactly once although a worker died, its job by another one. No number of
# workers is faster than the longest job, and dealing jobs to whoever is free wastes less than the
# longest of them (Graham's bound).

# %%
assert n_trained == len(finished) == len(seeds), "a training was lost, or done twice"
assert (finished.status == "success").all(), "jobs are left over"
assert not (finished.pid == victim.pid).any(), "a dead worker has finished a job"
assert n_notes == 1, "nobody noticed that a worker died"
assert after == before, "something was left behind, or taken away"
for n in workers:
    seconds = dealt(trainings, n)
    assert seconds >= max(trainings), "faster than the longest job"
    assert seconds <= sum(trainings) / n + max(trainings), "slower than any dealing can be"
