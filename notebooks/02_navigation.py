# %% [markdown]
# # Networks that find their way, and cells of foraging animals
#
# After `make demo`: three virtual rats, path integrators trained and untrained, and how well the
# ones explain the others. `docs/navigation.md` says what the tables hold.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from pipeline.database import open_database

open_database()

from schemas.model import TrainedModel
from schemas.navigation import AnimalRateMap, ModelRateMap
from schemas.neural_fit import InterAnimalConsistency, NeuralFit, NeuralFitPlan, NeuralMapConfig
from schemas.open_field import OpenField

# %% [markdown]
# ## Do the networks know where they are?
#
# Metres from the decoded to the true position on walks that were not trained on, beside a network
# that stands still and one that always says the middle of the box.

# %%
networks = pd.DataFrame((TrainedModel * TrainedModel.DecodingError).to_dicts(order_by="KEY"))
networks[["best_epoch", "decoding_error", "standing_error", "centre_error"]]

# %% [markdown]
# ## Which cells are grid cells?
#
# Every score stands beside those of the same spikes shifted in time.

# %%
cells = pd.DataFrame((AnimalRateMap.Unit * OpenField.Cell).to_dicts(order_by="KEY"))
cells["grid_score_p"] = cells.grid_score_p.astype(float)
best = cells.sort_values(["grid_score_p", "grid_score"], ascending=[True, False]).head(6)
figure, axes = plt.subplots(1, len(best), figsize=(12, 2.4))
for axis, cell in zip(axes, best.itertuples(), strict=True):
    key = {name: getattr(cell, name) for name in AnimalRateMap.primary_key}
    units = (AnimalRateMap.Unit & key).to_arrays("unit_id", order_by="unit_id").tolist()
    maps = np.asarray((AnimalRateMap & key).fetch1("rate_maps"))
    axis.imshow(maps[..., units.index(cell.unit_id)].T, origin="lower")
    axis.set_title(
        f"{cell.cell_name}: {cell.grid_score:.2f}, p {cell.grid_score_p:.2f}", fontsize=8
    )
    axis.axis("off")

# %% [markdown]
# ## And which units of the networks?

# %%
units = pd.DataFrame((ModelRateMap.Unit * TrainedModel.proj("best_epoch")).to_dicts(order_by="KEY"))
units["trained"] = units.best_epoch > 0
units["model_grid_score"] = units.model_grid_score.astype(float)
units.groupby(["arena", "layer_name", "trained"]).model_grid_score.describe(percentiles=[0.5, 0.9])

# %% [markdown]
# ## How well do networks explain cells?
#
# `fit` is the test correlation as published, `fit_corrected` that of halves of the session that
# share no noise (`docs/navigation.md`, "Beware of smoothed maps").

# %%
fits = pd.DataFrame(
    (
        NeuralFit.Cell * NeuralFitPlan * NeuralMapConfig * TrainedModel.proj("best_epoch")
        & "rate_map_set_hash IS NOT NULL"
    ).to_dicts(order_by="KEY")
)
fits["trained"] = fits.best_epoch > 0
scores = fits[["fit", "fit_corrected"]].astype(float)
explained = scores.groupby([fits.arena, fits.map_type, fits.fit_layer, fits.trained]).median()
explained

# %%
consistency = pd.DataFrame((InterAnimalConsistency * NeuralMapConfig).to_dicts(order_by="KEY"))
consistency[["map_type", "consistency_mode", "median_consistency", "n_consistency_cells"]]
