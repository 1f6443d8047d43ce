# %% [markdown]
# # 04 The closed loop
#
# An MEI is a claim about a neuron: nothing drives it more. The claim is tested by showing the image
# to the same neuron on a later day, among images that were made for other neurons. At the end you
# know how images come to a monitor, how cells are found again, how a confusion matrix is read, and
# which test says what.
#
# Needs the project of `make demo`, whose mouse came back on two later days.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from pipeline.database import open_database
from pipeline.demo import FIRST_DAY, LATER_DAYS
from pipeline.report.style import FAINT, MAIN, MUTED, SECOND, label, legend, picture, tidy
from pipeline.truth import match_truth

open_database()

from schemas.cell_match import CellMatchOracleCorrelation, ClosedLoopScan, LoopPool
from schemas.closed_loop import ConfusionMatrix, DiagonalTest, PermutationTest
from schemas.mei import MEI
from schemas.monitor import ClosestCalibration, ProcessedMonitorCalibration
from schemas.recording import Image
from schemas.stimulus import StimulusSet

# %% [markdown]
# ## One grey value is not one luminance
#
# The monitor had changed by the later days: the same pixel value is darker. Images are therefore
# brought to one mean and one contrast in cd/m², and pixel values are found by turning the
# calibration round. Otherwise kinds of images would differ in brightness before they differ in
# shape.

# %%
calibrations = ClosestCalibration * ProcessedMonitorCalibration.GammaFit
pixel_value = np.arange(256)
figure, ax = plt.subplots(figsize=(4.5, 3), layout="constrained")
for scan, name, colour in ((FIRST_DAY, "day 1", MAIN), (LATER_DAYS[2], "later days", SECOND)):
    fit = (calibrations & scan).fetch1()
    luminance = fit["amplitude"] * (pixel_value / 255) ** fit["gamma"] + fit["darkness"]
    ax.plot(pixel_value, luminance, color=colour, label=f"{name}: gamma {fit['gamma']:.2f}")
label(ax, "pixel value", "luminance (cd/m²)")
legend(ax)
tidy(ax)

# %% [markdown]
# ## What is shown
#
# Above MEIs as the optimiser left them, below the same as they go to the new monitor, and the best
# Gabors of the same cells: all at one mean luminance and contrast, so that only the shape can make
# the difference.

# %%
item = {"stimulus_kind": "mei"}
stimulus = StimulusSet & (ClosedLoopScan & LATER_DAYS[2]).proj("stimulus_set_hash")
shown = StimulusSet.Item * Image.proj(shown_image="image") & stimulus.proj()
meis = (shown * StimulusSet.FromMEI * MEI.Unit & item).to_dicts(order_by="item", limit=6)
gabors = {row["unit_index"]: row for row in (shown & {"stimulus_kind": "gabor"}).to_dicts()}
figure, axes = plt.subplots(3, len(meis), figsize=(10, 3.6), layout="constrained")
for column, mei in zip(axes.T, meis, strict=True):
    images = mei["mei"], mei["shown_image"], gabors[mei["unit_index"]]["shown_image"]
    for ax, image in zip(column, images, strict=True):
        picture(ax, image)
    column[0].set_title(f"unit {mei['unit_index']}", fontsize=9)
for ax, name in zip(axes[:, 0], ("MEI", "MEI, shown", "Gabor, shown"), strict=True):
    label(ax, "", name)

kinds = (StimulusSet.Item & stimulus.proj()).to_pandas()
kinds.groupby("stimulus_kind")[["shown_mean", "shown_contrast", "display_reached"]].mean()

# %% [markdown]
# ## The same cells?
#
# A cell has no name that lasts overnight. It is taken for the nearest one in each structural stack,
# stacks vote, and images that both days repeated say whether the two answer alike: on the diagonal
# the correlation of a cell with its match, elsewhere with the matches of other cells. Gaps in the
# diagonal are blind cells: they are in their place, but answer nothing alike. The truth of the
# virtual mouse says which matches are right.

# %%
match = (CellMatchOracleCorrelation & LATER_DAYS[2]).fetch1()
correlations = match["match_correlations"]
own = np.eye(len(correlations), dtype=bool)
figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
drawn = axes[0].imshow(correlations, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="none")
label(axes[0], "match of cell", "cell on day 1")
figure.colorbar(drawn, ax=axes[0], label="correlation of mean responses")
for values, colour, name in ((~own, FAINT, "other cells"), (own, MAIN, "matched cells")):
    values = correlations[values & np.isfinite(correlations)]
    style = {"color": colour, "label": name, "alpha": 0.7, "density": True}
    axes[1].hist(values, bins=np.linspace(-0.5, 1, 31), **style)
label(axes[1], "correlation of mean responses", "density")
legend(axes[1], loc="upper left")
tidy(axes[1])

matches = match_truth(list(LATER_DAYS.values()))
matches.groupby("session").agg(
    matched=("right", "size"),
    rightly=("right", "sum"),
    mean_distance_um=("mean_distance", "mean"),
    stacks_that_agree=("n_votes", "mean"),
    accepted=("match_status", lambda status: (status == "accepted").sum()),
)

# %% [markdown]
# ## The confusion matrix
#
# A row is a cell, a column the image made for it, in the same order; both days are pooled. Rows are
# divided by their maximum. If images are specific, the diagonal is bright; a bright row is a cell
# that answers many images, a bright column an image that drives many cells.

# %%
pool = (LoopPool & (LoopPool.Member & LATER_DAYS[2])).keys(order_by="n_pooled DESC", limit=1)[0]
pooled = pool | {"response_scaling": "normalized"}
matrix = (ConfusionMatrix & pooled & item).fetch1()["confusion_mean"]
scaled = matrix / matrix.max(axis=1, keepdims=True)
figure, ax = plt.subplots(figsize=(4.6, 3.8), layout="constrained")
drawn = ax.imshow(scaled, cmap="magma", interpolation="none")
figure.colorbar(drawn, ax=ax, label="mean response / row maximum")
label(ax, "image made for cell", "cell")

# %% [markdown]
# ## Could it be chance?
#
# If images were nothing special to the cells they were made for, columns could be exchanged. So the
# diagonal minus the rest is computed again for thousands of random orders of the columns. Below by
# hand, in five lines, and what `PermutationTest` stored, with its 95 % interval over cells.

# %%
rng, cells = np.random.default_rng(0), np.arange(len(scaled))
orders = rng.permuted(np.tile(cells, (5000, 1)), axis=1)
diagonal = np.concatenate([scaled[cells, cells][None], scaled[cells, orders]]).mean(axis=1)
rest = (scaled.sum() - diagonal * len(cells)) / (scaled.size - len(cells))
statistic, chance = (diagonal - rest)[0], (diagonal - rest)[1:]

test = (PermutationTest & pooled & item).fetch1()
figure, ax = plt.subplots(figsize=(5.5, 2.8), layout="constrained")
ax.hist(chance, bins=40, color=FAINT, label="random orders")
ax.axvspan(test["statistic_low"], test["statistic_high"], color=MAIN, alpha=0.2, lw=0)
ax.axvline(statistic, color=MAIN, label="as made")
label(ax, "mean of the diagonal - mean of the rest", "orders")
legend(ax)
tidy(ax)
stored = pd.DataFrame((PermutationTest & pooled).to_dicts())
stored[["stimulus_kind", "permutation_statistic", "permutation_p", "n_tested"]]

# %% [markdown]
# ## Better than its control?
#
# A diagonal alone does not speak for MEIs: any image in the right place might do. So each cell's
# answers to its MEI are compared with those to its best Gabor (Welch's test over repeats, false
# discovery rate below 0.05), and over all cells (Wilcoxon).

# %%
against = pooled | item | {"other_kind": "gabor"}
diagonal_response = ConfusionMatrix.Diagonal.proj("diagonal_response") & pooled
own_image = diagonal_response.to_pandas().reset_index()
own_image = own_image.pivot(index="unit_index", columns="stimulus_kind", values="diagonal_response")
tested = (DiagonalTest.Unit & against).to_pandas().reset_index().set_index("unit_index")
own_image = own_image.loc[tested.index].astype(float)
significant = tested.welch_q.astype(float) < 0.05
colours = np.select([significant & (tested.difference > 0), significant], [MAIN, SECOND], FAINT)
figure, ax = plt.subplots(figsize=(4, 4), layout="constrained")
ax.scatter(own_image.gabor, own_image.mei, c=colours, edgecolor=MUTED, lw=0.5, s=26)
ax.axline((0, 0), slope=1, color=MUTED, lw=0.8, ls="--")
ax.set_aspect("equal")
label(ax, "response to the own Gabor (SD)", "response to the own MEI (SD)")
tidy(ax)
population = (DiagonalTest & against).fetch1()
pd.Series(population)[["n_compared", "response_ratio", "median_difference", "wilcoxon_p"]]

# %% [markdown]
# ## Does the diagonal win?
#
# Cells are rightly found, they prefer the image that was made for them to those of all others, no
# chance order comes near, and the MEI drives them more than the best Gabor does.

# %%
assert matches.right.mean() >= 0.95, "cells are confused with their neighbours"
prefers_own = (ConfusionMatrix.Diagonal & pooled & item).to_arrays("row_max").astype(bool)
assert prefers_own.mean() >= 0.9, "cells prefer images that were made for others"
assert np.isclose(statistic, test["permutation_statistic"]), "the matrix is not what was tested"
assert test["permutation_p"] < 1e-3, "chance orders of the images do as well"
assert statistic > chance.max(), "chance orders of the images do as well"
assert population["response_ratio"] > 1, "Gabors drive the cells as much as their MEIs do"
assert population["wilcoxon_p"] < 0.01, "that may be chance"
