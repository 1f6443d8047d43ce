# %% [markdown]
# # 01 From a recording to the images that excite its neurons most
#
# Your own recording, in a minute: arrays from wherever you keep them, a study of parameters,
# models, and for each neuron its most exciting input (MEI) with the mask that bounds it. At the end
# you know which tables a recording passes through and how rows are asked for.
#
# It adds a small recording of animal 7 to the project of `INCEPTIONLOOP_HOME` (see the README), as
# `inceptionloop init` or `make demo` has made it. A second run finds everything there.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from pipeline.database import open_database
from pipeline.ingest.arrays import ingest_arrays
from pipeline.report.style import MAIN, MUTED, label, picture, tidy
from pipeline.study import read_study, register
from pipeline.truth import exceeds, signed_cosine
from science.virtual import SessionDesign, VirtualAnimal, VirtualAnimalParams, first_day

settings = open_database()

from schemas.dataset import TargetDataset
from schemas.graph import STEPS
from schemas.mei import MEI, MEIMask
from schemas.model import Ensemble, TrainedModel
from schemas.recording import Scan
from schemas.reliability import Oracle

# %% [markdown]
# ## A recording
#
# So that we can check the result, this one is simulated: eight simple cells, each a filter, four
# complex ones and two that do not see. What is stored is what any laboratory has: images, which of
# them each trial showed, and the response of every unit in every trial. Some images are shown
# several times. `docs/arrays.md` lists what else the file may hold: traces, spike times, behaviour.

# %%
animal = VirtualAnimal(VirtualAnimalParams(n_simple=8, n_complex=4, n_undriven=2), seed=7)
design = SessionDesign(n_train=2000, n_validation=0, n_test=40, repeats=8)
images, image_index = first_day(design, 24, 40, seed=7)
session = animal.session(1)
folder = Path(settings.home) / "notebooks"
folder.mkdir(exist_ok=True)
np.savez(
    folder / "my_recording.npz",
    images=images,
    image_index=image_index,
    responses=session.record(images, image_index, seed=7),
    image_class="natural",
    presentation_time=0.5,
)

figure, axes = plt.subplots(1, 5, figsize=(10, 1.5), layout="constrained")
for ax, image in zip(axes, images, strict=False):
    picture(ax, image)

# %% [markdown]
# ## Into the database
#
# `inceptionloop ingest arrays my_recording.npz --animal 7` does the same. Everything is checked
# before anything is stored; a file that is there already is recognised by its SHA-256.

# %%
SCAN = {"animal_id": 7, "session": 1, "scan_idx": 1}
ingest_arrays(folder / "my_recording.npz", SCAN)
(Scan & SCAN).to_pandas(order_by="KEY").T

# %% [markdown]
# ## What shall be computed
#
# A study is a file of parameters; what it leaves out has the published default. To register it asks
# for results and computes nothing: plans are rows too.

# %%
(folder / "my_study.toml").write_text("""
[preprocessing]
height = 24
width = 40

[split]
method = "repeated"             # images shown several times are the test tier
validation_fraction = 0.15

[training]
schedule = [0.015, 0.003]
max_epoch = 16
patience = 4

[models.cnn]
seeds = [1009]                  # one network; more are an ensemble

[models.cnn.config.core]
type = "stacked"
hidden_channels = 8
layers = 2
input_kern = 9
hidden_kern = 5
gamma_input = 50.0
gamma_hidden = 0.05

[models.cnn.config.readout]
type = "pyramid"
gamma_features = 0.2
start = "located"               # where a bank of simple and complex cells finds the field

[mei]
method = "inception_loop"
iter_n = 300
""")
plans = register(read_study(folder / "my_study.toml"), [SCAN])
mine = SCAN | plans["training_set"]

# %% [markdown]
# ## Compute it
#
# DataJoint's `populate` makes the rows of a table that are asked for and missing, parents first.
# With `reserve_jobs` any number of processes may do this at once; `inceptionloop work` starts them,
# on one machine or many. It takes half a minute; the second time there is nothing left to do.

# %%
tables = [step.table for step in STEPS if set(mine) & set(step.table.primary_key)]
for table in tables:
    table.populate(mine, reserve_jobs=True)
pd.Series({table.__name__: len(table & mine) for table in tables if table & mine}, name="rows")

# %% [markdown]
# ## How well is each unit predicted?
#
# `&` restricts, `*` joins. `oracle` says how alike a unit answers to repeats of an image, and so
# how much there is to predict; the correlation is on images the network has not seen. Units that
# are not `reliable` get no MEI.

# %%
scores = Ensemble.UnitScore * Oracle.UnitScores * TargetDataset.Unit & mine
units = scores.to_pandas(order_by="unit_index").reset_index()
units["kind"] = animal.kind[session.cells[np.searchsorted(session.unit_ids, units.unit_id)]]
names = ["unit_id", "kind", "oracle", "reliable", "ensemble_test_corr_avg", "ensemble_test_cc_norm"]
units[names].sort_values("ensemble_test_corr_avg", ascending=False).round(2)

# %%
curve = (TrainedModel.Epoch & mine).to_pandas(order_by="epoch").reset_index()
figure, ax = plt.subplots(figsize=(4.5, 2.8), layout="constrained")
ax.plot(curve.epoch, curve.epoch_score.astype(float), color=MAIN)
label(ax, "epoch", "validation correlation", "Learning curve")
tidy(ax)

# %% [markdown]
# ## The images that excite them most, and the truth
#
# An MEI is found by gradient ascent on the model; the mask (orange) is the smallest region that
# keeps most of the response. Below each the filter of the true cell, which no step above has seen.
# An MEI may be the negative of a complex cell's filter: such cells do not care about phase.

# %%
made = (MEI.Unit * MEIMask.Unit * TargetDataset.Unit & mine).to_dicts(order_by="unit_index")
kinds = units.set_index("unit_index").kind
shown = sorted(made, key=lambda row: kinds[row["unit_index"]], reverse=True)
figure, axes = plt.subplots(4, 6, figsize=(10, 4.6), layout="constrained")
cosines = []
for i, row in enumerate(shown[:12]):
    cell = session.cells[np.searchsorted(session.unit_ids, row["unit_id"])]
    above, below = axes[2 * (i // 6), i % 6], axes[2 * (i // 6) + 1, i % 6]
    picture(above, row["mei"], row["mei"].min(), row["mei"].max())
    above.contour(row["mei_mask"], [0.5], colors="orange")
    above.set_title(f"unit {row['unit_id']}, {animal.kind[cell]}", fontsize=9)
    extreme = np.abs(animal.filters[cell]).max()
    picture(below, animal.filters[cell], -extreme, extreme)
    if animal.kind[cell] == "simple":
        cosines.append(signed_cosine(row["mei"], animal.filters[cell], row["mei_mask"]))

# %% [markdown]
# ## Do the cells agree?
#
# The real test is to show an image to the cell itself. The virtual cells can be asked at once; what
# that takes in an experiment is the subject of notebook 04. Grey: the responses of each cell to all
# images of the recording.

# %%
natural = animal.rates(images)
figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
beats = []
for i, row in enumerate(shown):
    cell = session.cells[np.searchsorted(session.unit_ids, row["unit_id"])]
    response = animal.rates(row["mei"][None])[0, cell]
    beats.append(exceeds(response, natural[:, cell]))
    ax.plot(np.full(len(natural), i), natural[:, cell], "_", color=MUTED, ms=8, alpha=0.4)
    ax.plot(i, response, "o", color=MAIN, ms=6)
ax.set_xticks(range(len(shown)), [row["unit_id"] for row in shown])
label(ax, "unit", "expected spikes per trial")
tidy(ax)

# %% [markdown]
# ## Is a simple cell's MEI its filter?
#
# A simple cell is a linear filter and a rectification, so the image that excites it most is its
# filter. The network was told nothing of that, and has seen natural images only.

# %%
assert len(cosines) == 8, "a simple cell has no MEI"
assert np.median(cosines) > 0.9, "MEIs of simple cells are not their filters"
assert np.mean(beats) >= 0.75, "one natural image in 200 drives the cells as much as their MEIs"
blind = units[units.kind == "undriven"]
assert len(blind) == 2 and not blind.reliable.any(), "a cell that does not see counts as reliable"
assert not set(blind.unit_index) & {row["unit_index"] for row in made}, "an MEI of a blind cell"
