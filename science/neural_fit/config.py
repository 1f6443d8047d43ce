"""A whole neural fit, as validated parameters: map, splits, choice of penalties, correction."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from science.neural_fit.params import (
    ALPHA_RNG,
    ALPHA_RNG_SHORT,
    L1_RATIO_RNG,
    L1_RATIO_RNG_SHORT,
    LinearMapParams,
    MapParams,
)
from science.neural_fit.responses import Floats
from science.params import Params, Positive

ALPHAS = {"long": ALPHA_RNG, "short": ALPHA_RNG_SHORT}
L1_RATIOS = {"long": L1_RATIO_RNG, "short": L1_RATIO_RNG_SHORT}
GridName = Literal["long", "short"]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Ratio = Annotated[float, Field(ge=0, le=1)]
ArenaPart = Literal["topbottom", "leftright", "diag1", "diag2", "quad"]


class ElasticNetGrid(Params):
    """Penalties among which each cell finds its own, by what predicts it from other animals.

    Attributes
    ----------
    alphas : tuple of float, or 'long' or 'short'
        As of Ridge, > 0; 'long' and 'short' are the 99 and 9 values of the original (mec 2).
    l1_ratios : tuple of float, or 'long' or 'short'
        Share of the penalty on absolute values, 0 (Ridge) to 1 (Lasso); 100 or 10 values.
    n_folds : int
        Of the training bins.
    """

    alphas: GridName | Annotated[tuple[Positive, ...], Field(min_length=1)] = "short"
    l1_ratios: GridName | Annotated[tuple[Ratio, ...], Field(min_length=1)] = "short"
    n_folds: int = Field(2, ge=2)

    @property
    def alpha_values(self) -> Floats:
        """Penalties, (n_alphas,)."""
        return np.asarray(ALPHAS[self.alphas] if isinstance(self.alphas, str) else self.alphas)

    @property
    def l1_ratio_values(self) -> Floats:
        """L1 ratios, (n_l1_ratios,)."""
        return np.asarray(
            L1_RATIOS[self.l1_ratios] if isinstance(self.l1_ratios, str) else self.l1_ratios
        )


class NeuralMapParams(Params):
    """How responses are mapped to cells, and which conditions (bins, images) train and test it.

    Attributes
    ----------
    map : MapParams
        Linear regression (Ridge by default), PLS or one-to-one.
    train_frac : float or str
        Fraction of the conditions that train, between 0 and 1, or the part of the arena that is
        predicted from the rest; see `make_splits`.
    n_splits : int
        Of random splits; a part of the arena gives two, 'quad' four.
    start_seed : int
        Split s is drawn from seed `start_seed + s`.
    search : ElasticNetGrid, optional
        Each cell has penalties of its own, chosen per split on fits of other animals without a look
        at the test bins, and used for networks, too (mec 9). The map is then not used.
    n_halvings : int
        Random halves of the trials for the correction for noise; 0: no correction. Animals that
        are compared pair by pair are not corrected.
    reliability_of : {'all', 'halves'}
        What scores of halves are divided by; see `noise_corrected_fits`.
    """

    map: MapParams = LinearMapParams()
    train_frac: Fraction | ArenaPart = 0.2
    n_splits: int = Field(10, ge=1, le=10_000)
    start_seed: int = Field(0, ge=0, lt=2**31)
    search: ElasticNetGrid | None = None
    n_halvings: int = Field(0, ge=0, le=1000)
    reliability_of: Literal["all", "halves"] = "all"

    @model_validator(mode="after")
    def _possible(self) -> "NeuralMapParams":
        if self.search is not None and self.map != LinearMapParams():
            raise ValueError("a search chooses the map of every cell: leave out map, or the search")
        return self

    @property
    def map_arguments(self) -> dict[str, Any]:
        """The map, as arguments of `get_fits` and `noise_corrected_fits`."""
        kwargs = self.map.model_dump(exclude={"map_type"})
        return {"map_type": self.map.map_type, "map_kwargs": kwargs}

    def split_arguments(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return the splits of maps (nx, ny) or images (n,) as arguments of the same."""
        return {
            "train_frac": self.train_frac,
            "num_train_test_splits": self.n_splits,
            "split_start_seed": self.start_seed,
            "shape_2d": shape if len(shape) == 2 else None,
        }
