# %% [markdown]
# # 05 Grid cells and path integrators
#
# A rat in the dark still knows where it is: it adds up its own movements. A network can learn the
# same. At the end you know how well it does, whether its units become grid cells, and how much of
# recorded cells it explains that an untrained network does not.
#
# Needs the project of `make demo`: its rats are virtual, so that every cell can be compared with
# what it truly is. `docs/navigation.md` says what the tables hold.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy.stats import wilcoxon

from pipeline.database import open_database
from pipeline.report.navigation_figures import MappedUnit, mapped_units
from pipeline.report.style import COLOURS, FAINT, INK, MAIN, MUTED, SECOND, label, legend, tidy
from pipeline.truth.rats import true_rat

open_database()

from schemas.model import TrainedModel, load_path_integrator
from schemas.navigation import AnimalRateMap, ModelRateMap
from schemas.neural_fit import InterAnimalConsistency, NeuralFit, NeuralFitPlan, NeuralMapConfig
from schemas.open_field import Arena, OpenField
from science.navigation import draw_batch, random_source

# %% [markdown]
# ## Do the networks know where they are?
#
# A network is told the start of a walk and then only velocities. The table holds the distance from
# the decoded to the true position, in metres, on walks that it was not trained on. Two numbers
# stand beside it: the error of an animal that believes it stands still, and of one that always says
# "in the middle". A network is trained if its best epoch is not 0.

# %%
networks = (TrainedModel * TrainedModel.DecodingError).to_pandas(order_by="decoding_error")
networks = networks.reset_index()
networks["trained"] = networks.best_epoch > 0
networks[["trained", "seed", "best_epoch", "decoding_error", "standing_error", "centre_error"]]

# %% [markdown]
# Four walks nobody was trained on, as the best network follows them. It drifts a little with every
# step, as any path integrator does: errors of a velocity are never forgotten.

# %%
network, task = load_path_integrator(networks.weights_sha256.iloc[0])
code = task.place_code()
walks = draw_batch(task, code, 4, random_source(2026))
with torch.no_grad():
    decoded = code.decode(network(walks.initial_code, walks.velocities, walks.signals))
figure, axes = plt.subplots(1, 4, figsize=(10.4, 3.1), layout="constrained")
for ax, true, read in zip(axes, walks.positions.numpy(), decoded.numpy(), strict=True):
    tidy(ax)
    ax.plot(*true.T, color=INK, lw=1.6, label="true")
    ax.plot(*read.T, color=SECOND, lw=1.3, label="decoded")
    ax.plot(*true[0], "o", color=INK, ms=4)
    error = 100 * np.linalg.norm(true - read, axis=1).mean()
    label(ax, "x (m)", "y (m)" if ax is axes[0] else "", f"{error:.1f} cm")
    low, high = task.arena.corners
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
legend(axes[0], loc="best")

# %% [markdown]
# ## Which cells of the rats are grid cells?
#
# The rate map of a grid cell has fields on a triangular lattice: turned by 60 degrees, its
# autocorrelogram (lower row) looks the same, by 30 degrees it does not. The grid score is the
# difference. White: where the rat never was. A score alone says little, since chance makes patterns
# too; so every score stands beside those of the same spikes shifted in time, which keep the rate
# and lose the place.

# %%
cells = (AnimalRateMap.Unit * OpenField.Cell).to_pandas(order_by="KEY").reset_index()
rats = [true_rat(key) for key in OpenField.keys(order_by="KEY")]
cells["kind"] = np.concatenate([rat.kinds for rat in rats])
cells["spacing"] = np.concatenate([rat.spacings for rat in rats])
cells = cells.astype(dict.fromkeys(["grid_score", "grid_score_p95", "grid_spacing"], float))
cells["margin"] = cells.grid_score - cells.grid_score_p95


def mapped(cell: object) -> MappedUnit:
    """Return the rate map of a cell, a row of the table, to be drawn."""
    key = {name: getattr(cell, name) for name in AnimalRateMap.primary_key}
    units = (AnimalRateMap.Unit & key).to_arrays("unit_id", order_by="unit_id").tolist()
    maps = np.asarray((AnimalRateMap & key).fetch1("rate_maps"))
    title = f"{cell.kind.replace('_', ' ')} cell\ngrid {cell.grid_score:.2f}"
    return MappedUnit(title, maps[..., units.index(cell.unit_id)])


examples = pd.concat(
    [cells[cells.kind == kind].nlargest(n, "margin") for kind, n in
     (("grid", 2), ("conjunctive", 1), ("border", 1), ("place", 1), ("untuned", 1))]
)  # fmt: skip
box = Arena.box((OpenField & AnimalRateMap).to_dicts(limit=1)[0])
rat_maps = mapped_units([mapped(cell) for cell in examples.itertuples()], box)
rat_maps

# %% [markdown]
# Of each kind of cell, the share that is a grid cell by that rule: more than 95 percent of its own
# shuffles. A rule that finds all true grid cells and five percent of the others is as good as it
# can be. Conjunctive cells are grid cells that fire only while the head points one way.

# %%
cells["is_grid_cell"] = cells.grid_score > cells.grid_score_p95
cells.groupby("kind").agg(
    n=("unit_id", "size"),
    called_grid_cell=("is_grid_cell", "mean"),
    median=("grid_score", "median"),
).sort_values("called_grid_cell", ascending=False)

# %% [markdown]
# ## Do units of the networks become grid cells?
#
# Nothing in the task asks for a lattice: the network reports the activity of place cells. Below,
# the grid scores of the units of a layer, as a cumulative share; a trained network lies to the
# right of the same network as it was drawn if training makes lattices. The demonstration trains for
# a minute; `benchmarks/grid_cells.py` trains for long enough to say how many units end above
# chance.

# %%
units = (ModelRateMap.Unit * TrainedModel.proj("best_epoch")).to_pandas().reset_index()
units["trained"] = units.best_epoch > 0
units["model_grid_score"] = units.model_grid_score.astype(float)
figure, ax = plt.subplots(figsize=(6.4, 3), layout="constrained")
tidy(ax)
for trained, of in units.dropna(subset="model_grid_score").groupby("trained"):
    ranked = np.sort(of.model_grid_score)
    share = np.arange(1, len(ranked) + 1) / len(ranked)
    name = "trained" if trained else "untrained"
    ax.step(ranked, share, color=MAIN if trained else MUTED, label=f"{name}, {len(of)} units")
ax.axhline(0.5, color=FAINT, lw=1, zorder=0)
label(ax, "grid score", "share of units with less")
legend(ax, loc="lower right")

# %% [markdown]
# ## How much of the cells does a network explain?
#
# A linear map from the layer's units to a cell is fitted on some bins of the arena; the score is
# the correlation with its map on the other bins. Each dot is a recorded cell: to the right what a
# network with random weights explains, upwards what a trained one does. Cells above the line gain
# from training.
#
# Look at the untuned cells (grey) too. There is nothing in them to explain, and yet their scores
# are far above 0: maps are smoothed, so test bins share noise with neighbours that train. That
# flatters every score here alike; "Beware of smoothed maps" in `docs/navigation.md` says what to do
# about it.

# %%
plans = NeuralFitPlan * NeuralMapConfig * TrainedModel.proj("best_epoch")
fits = (NeuralFit.Cell * plans & "rate_map_set_hash IS NOT NULL").to_pandas().reset_index()
fits["trained"] = np.where(fits.best_epoch > 0, "trained", "untrained")
fits["fit"] = fits.fit.astype(float)
cell = ["animal_id", "session", "scan_idx", "unit_id"]
fits = fits.merge(cells[[*cell, "kind"]], on=cell)
explained = fits.pivot_table(index=[*cell, "kind"], columns="trained", values="fit").dropna()
figure, ax = plt.subplots(figsize=(5.6, 4.4), layout="constrained")
tidy(ax)
for colour, (kind, of) in zip(COLOURS, explained.groupby("kind"), strict=False):
    colour = MUTED if kind == "untuned" else colour
    ax.scatter(
        of.untrained, of.trained, s=18, color=colour, label=kind.replace("_", " "), alpha=0.8
    )
ends = explained.min().min(), 1
ax.plot(ends, ends, color=MUTED, lw=1, ls="--", zorder=0)
label(ax, "correlation, untrained network", "correlation, trained network")
legend(ax, loc="center left", bbox_to_anchor=(1, 0.5))

# %% [markdown]
# What is the most that one could hope for? The other animals: a cell is predicted from all cells of
# all other rats by the same kind of map. With two or three rats a network, which has more units
# than they have cells, can explain more than they do.

# %%
others = (InterAnimalConsistency * NeuralMapConfig).to_pandas().reset_index()
medians = explained.median().to_dict()
medians["other rats together"] = others[
    others.consistency_mode == "holdout"
].median_consistency.max()
pd.Series(medians, name="median correlation").sort_values(ascending=False).to_frame()

# %% [markdown]
# ## What have we learnt?
#
# Path integration is learnt, the rule for grid cells finds the true ones and measures their true
# spacing, and training is what makes a network explain cells.

# %%
trained = networks[networks.trained]
assert (trained.decoding_error < 0.5 * trained.standing_error).all(), (
    "a trained network is hardly better than an animal that believes it stands still"
)
grid = cells[cells.kind == "grid"]
assert grid.is_grid_cell.mean() >= 0.7, "true grid cells are overlooked"
assert cells[cells.kind == "untuned"].is_grid_cell.mean() <= 0.3, (
    "untuned cells are called grid cells"
)
found = grid[grid.is_grid_cell]
assert (found.grid_spacing / found.spacing - 1).abs().median() < 0.1, (
    "spacings are not the true ones"
)
assert explained.trained.median() > explained.untrained.median(), "training explains nothing more"
assert wilcoxon(explained.trained, explained.untrained).pvalue < 0.001, "that may be chance"
