"""Neural fits: how well other animals, or a model, predict the responses of cells (mec 8, 9)."""

from science.neural_fit.fits import CellFits, Fits, get_fits, unit_concat
from science.neural_fit.grid_search import (
    ElasticNetChoice,
    elastic_net_search,
    grid_scores,
    kwargs_per_cell,
)
from science.neural_fit.noise import NoiseCorrectedFits, noise_corrected_fits, spearman_brown
from science.neural_fit.params import (
    ALPHA_RNG,
    ALPHA_RNG_SHORT,
    L1_RATIO_RNG,
    L1_RATIO_RNG_SHORT,
    LinearMapParams,
    MapParams,
    OneToOneMapParams,
    PlsMapParams,
    map_params,
)
from science.neural_fit.splits import Split, make_splits

__all__ = [
    "ALPHA_RNG",
    "ALPHA_RNG_SHORT",
    "L1_RATIO_RNG",
    "L1_RATIO_RNG_SHORT",
    "CellFits",
    "ElasticNetChoice",
    "Fits",
    "LinearMapParams",
    "MapParams",
    "NoiseCorrectedFits",
    "OneToOneMapParams",
    "PlsMapParams",
    "Split",
    "elastic_net_search",
    "get_fits",
    "grid_scores",
    "kwargs_per_cell",
    "make_splits",
    "map_params",
    "noise_corrected_fits",
    "spearman_brown",
    "unit_concat",
]
