# %% [markdown]
# # 02 Which units can be modelled?
#
# A model predicts what a neuron tells about the image. Before one is trained, the recording itself
# says how much that is: the answers to images that were shown several times. At the end you know
# what oracle, signal power, FEV, CC max and CC norm say, and which of them may be trusted.
#
# Needs the project of `make demo`: its mouse is virtual, so that every estimate can be compared
# with the truth, and some of its cells are blind.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from pipeline.database import open_database
from pipeline.demo import FIRST_DAY
from pipeline.report.style import KIND_COLOURS, MUTED, label, legend, tidy
from pipeline.truth.cells import true_cells

open_database()

from schemas.dataset import TargetDataset
from schemas.loading import load_dataset
from schemas.model import Ensemble, ModelGroup
from schemas.reliability import Oracle
from science.oracle import Bootstrap, LeaveOneOut, RepeatDraw
from science.reliability import unit_reliability

# %% [markdown]
# ## The same image again
#
# A row below is one presentation, a column one image, and images are sorted by the mean answer. A
# cell that sees draws vertical stripes: it answers an image alike each time, up to noise. A blind
# cell fires as much, but what it does depends on the trial only. Nothing that looks at images can
# predict that.

# %%
training_set = (TargetDataset & (TargetDataset.Member & FIRST_DAY)).fetch1()
(recording,) = load_dataset(training_set, training_set["dataset_digest"]).recordings.values()
test = recording.trials("test")
responses, image_index = recording.responses[test], recording.image_index[test]

units = (TargetDataset.Unit * Oracle.UnitScores & FIRST_DAY).to_pandas(order_by="unit_index")
units = units.reset_index()
truth = true_cells(FIRST_DAY, units.unit_id, recording.frames.shape[1:])
units["kind"] = truth.animal.kind[truth.cells]

by_image = responses[np.argsort(image_index, kind="stable")]
by_image = by_image.reshape(len(np.unique(image_index)), -1, by_image.shape[1])  # image, repeat
by_oracle = units[units.reliable == 1].sort_values("oracle").index
typical = by_oracle[len(by_oracle) // 2]
blind = units.index[units.kind == "undriven"][0]
figure, axes = plt.subplots(2, 1, figsize=(7, 4), layout="constrained")
for ax, unit, name in zip(axes, (typical, blind), ("it sees", "it is blind"), strict=True):
    answers = by_image[:, :, unit]
    shown = ax.imshow(answers[np.argsort(-answers.mean(axis=1))].T, cmap="magma", aspect="auto")
    label(ax, "image, by mean response", "repeat", f"unit {units.unit_id[unit]}: {name}")
    ax.set_yticks([0, answers.shape[1] - 1], [1, answers.shape[1]])
    figure.colorbar(shown, ax=ax, label="spikes")

# %% [markdown]
# ## Three oracles, one answer
#
# An oracle predicts a trial from the other trials of its image: no model can be expected to know
# more. *Leave one out* does it for every trial, *repeat draw* (the Allen study) for one random
# trial per image, many times over; *bootstrap* compares with shuffled images and has a p value.
# The project keeps the one that was asked for; `science` computes the others from arrays.

# %%
methods = {"leave one out": LeaveOneOut(), "repeat draw": RepeatDraw(), "bootstrap": Bootstrap()}
scores = {n: unit_reliability([(responses, image_index)], m) for n, m in methods.items()}
oracles = pd.DataFrame({n: s["oracle"] for n, s in scores.items()})
oracles["bootstrap p"] = scores["bootstrap"]["oracle_p"]
oracles["stored"] = units.oracle.astype(float)
oracles.groupby(units.kind).median()

# %% [markdown]
# ## How much is signal, and does the estimate hold?
#
# *Signal power* is the variance of the expected response over images, *FEV* its share of the
# variance of single trials, *CC max* the correlation that a perfect model reaches with the mean
# over repeats. All are estimated without bias and not clipped, so that a unit without signal comes
# out near 0, now below it, where it has no CC max, and now above, where its CC max means nothing:
# look at `reliable` first. Here the truth is known: Poisson spikes around a rate, times a gain that
# all cells share.

# %%
_, first = np.unique(image_index, return_index=True)
shown = np.asarray(recording.frames)[image_index[first]]
rates = truth.animal.rates(shown)[:, truth.cells] * truth.drift
signal = rates.var(axis=0, ddof=1)
gain_cv = truth.animal.params.gain_cv
noise = rates.mean(axis=0) + gain_cv**2 * (rates**2).mean(axis=0)
units["true_fev"] = signal / (signal + noise)
units["true_cc_max"] = np.sqrt(signal / (signal + noise / by_image.shape[1]))

figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
for ax, name in zip(axes, ("fev", "cc_max"), strict=True):
    for kind, of_kind in units.groupby("kind"):
        style = {"color": KIND_COLOURS[kind], "label": kind, "s": 22}
        ax.scatter(of_kind[f"true_{name}"], of_kind[name].astype(float), **style)
    ax.axline((0, 0), slope=1, color=MUTED, lw=0.8, ls="--")
    label(ax, "truth", "estimate", {"fev": "FEV", "cc_max": "CC max"}[name])
    tidy(ax)
legend(axes[0])

# %% [markdown]
# ## What the models reach
#
# On the left the correlation with mean responses: what is missing to the dashed line is left to be
# explained. On the right CC norm, the same divided by the ceiling: a noisy unit can be modelled as
# well as a reliable one. Cells that are not reliable have none: to divide one noise by another
# would say nothing.

# %%
best_cnn = ModelGroup.Best & {"training_set_hash": training_set["training_set_hash"]}
cnn = Ensemble & (best_cnn & "best_role = 'cnn'").proj(*Ensemble.primary_key)
predicted = (Ensemble.UnitScore & cnn.proj()).to_pandas(order_by="unit_index").reset_index()
names = ["ensemble_validation_corr", "ensemble_test_corr_avg", "ensemble_test_cc_norm"]
units = units.merge(predicted[["unit_index", *names]].astype(float), on="unit_index")

figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
panels = (
    ("cc_max", "ensemble_test_corr_avg", "CC max, estimated", "correlation, mean responses"),
    ("oracle", "ensemble_test_cc_norm", "oracle", "CC norm"),
)
for ax, (x, y, x_name, y_name) in zip(axes, panels, strict=True):
    for kind, of_kind in units.groupby("kind"):
        style = {"color": KIND_COLOURS[kind], "label": kind, "s": 22}
        ax.scatter(of_kind[x].astype(float), of_kind[y], **style)
    label(ax, x_name, y_name)
    tidy(ax)
axes[0].axline((0, 0), slope=1, color=MUTED, lw=0.8, ls="--")
axes[1].set_ylim(0, 1.1)
legend(axes[1], loc="lower right")

# %% [markdown]
# ## Which units, then?
#
# `reliable` is an F test: do answers differ between images more than within them (p < 0.001)? It
# needs no model, so it may choose the units that MEIs are made of without flattering the models.

# %%
units["well_predicted"] = units.ensemble_validation_corr > 0.3
summary = units.groupby("kind").agg(
    cells=("unit_index", "size"),
    reliable=("reliable", "mean"),
    well_predicted=("well_predicted", "mean"),
    median_oracle=("oracle", lambda oracle: oracle.astype(float).median()),
    median_cc_norm=("ensemble_test_cc_norm", "median"),
)
summary.round(2)

# %% [markdown]
# ## Is what is called reliable what sees, and can it be modelled?
#
# Judged by the truth: all blind cells are refused, seeing cells are found and predicted almost to
# their ceiling, and that ceiling is right.

# %%
blind, seeing = units[units.kind == "undriven"], units[units.kind != "undriven"]
assert not blind.reliable.any(), "a cell that sees nothing counts as reliable"
assert not blind.well_predicted.any(), "a model predicts cells that see nothing"
assert blind.ensemble_test_cc_norm.isna().all(), "noise was divided by noise"
assert seeing.reliable.mean() >= 0.95, "cells that see are missed"
assert seeing.well_predicted.mean() >= 0.8, "the models do not predict cells that see"
assert seeing.ensemble_test_cc_norm.median() > 0.85, "the models stay far below the ceiling"
error = (seeing.cc_max.astype(float) - seeing.true_cc_max).abs()
assert error.median() < 0.05, "the ceiling is not what the true noise sets"
