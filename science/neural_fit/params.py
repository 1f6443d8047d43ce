"""What maps source responses to target cells, as validated parameters (mec 8.6)."""

from collections.abc import Mapping, Sequence
from functools import reduce
from inspect import isclass
from operator import or_
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter, model_validator
from sklearn import linear_model
from sklearn.base import RegressorMixin

from science.params import Params

# The grids of the paper (mec 2): an l1 ratio of 1e-16 is Ridge but for the name.
ALPHA_RNG = np.geomspace(1e-9, 1e9, 99)
L1_RATIO_RNG = np.concatenate([[1e-16], np.linspace(0.01, 1, 99)])
ALPHA_RNG_SHORT = np.geomspace(1e-9, 1e9, 9)
L1_RATIO_RNG_SHORT = np.concatenate([[1e-16], np.linspace(0.01, 1, 9)])


class LinearMapParams(Params):
    """A linear regression of scikit-learn.

    Attributes
    ----------
    regression_type : str
        Name of a regressor in `sklearn.linear_model`. Ridge, ElasticNet and Lasso have programs of
        their own here, which give the same numbers; all others are fitted by scikit-learn.
    regression_kwargs : dict
        Its arguments.
    """

    map_type: Literal["sklinear"] = "sklinear"
    regression_type: str = "Ridge"
    regression_kwargs: dict[str, Any] = {}

    @model_validator(mode="after")
    def _exists(self) -> "LinearMapParams":
        _check_regression(self.regression_type, self.regression_kwargs)
        return self


class PlsMapParams(Params):
    """Partial least squares, jointly over the cells of a target animal.

    Attributes
    ----------
    n_components : int
        It has no default: the original has none either.
    scale : bool
        Divide source and target cells by their standard deviation over the training bins.
    """

    map_type: Literal["pls"] = "pls"
    n_components: int = Field(ge=1)
    scale: bool = False


class OneToOneMapParams(Params):
    """The source cell, or the source cells, that correlate best with a target cell.

    Attributes
    ----------
    percentile : float
        Source cells whose correlation with the target cell over the training bins reaches this
        percentile of all source cells are used; 100: the best one.
    identity : bool
        Predict the response of the best source cell itself; needs a percentile of 100.
    regression_type, regression_kwargs
        Without `identity`: the regression of the target cell on its source cells.
    """

    map_type: Literal["corr"] = "corr"
    percentile: float = Field(100, ge=0, le=100)
    identity: bool = True
    regression_type: str = "Ridge"
    regression_kwargs: dict[str, Any] = {}

    @model_validator(mode="after")
    def _possible(self) -> "OneToOneMapParams":
        if self.identity and self.percentile != 100:
            raise ValueError(
                f"percentile={self.percentile:g} chooses several source cells, whose responses "
                "cannot be the prediction: set identity=False to regress on them, or percentile=100"
            )
        _check_regression(self.regression_type, self.regression_kwargs)
        return self

    @property
    def regression(self) -> LinearMapParams:
        """Regression of a target cell on the source cells chosen for it."""
        return LinearMapParams(
            regression_type=self.regression_type, regression_kwargs=self.regression_kwargs
        )


MAPS = {"sklinear": LinearMapParams, "pls": PlsMapParams, "corr": OneToOneMapParams}
MapParams = Annotated[reduce(or_, MAPS.values()), Field(discriminator="map_type")]

_MAP: TypeAdapter[MapParams] = TypeAdapter(MapParams)


def map_params(map_type: str, map_kwargs: Mapping[str, Any]) -> MapParams:
    """Validate the name of a map and its arguments.

    Raises
    ------
    ValueError
        Unknown names or values out of range.
    """
    if map_type not in MAPS:
        raise ValueError(f"there is no map_type {map_type!r}: use one of {sorted(MAPS)}")
    return _MAP.validate_python({"map_type": map_type, **map_kwargs})


def map_params_per_split(
    map_type: str, map_kwargs: Mapping[str, Any] | Sequence[Mapping[str, Any]], n_splits: int
) -> list[MapParams]:
    """Return the map of every split: one for all, or a list with one per split (mec 8.3)."""
    if isinstance(map_kwargs, Mapping):
        return [map_params(map_type, map_kwargs)] * n_splits
    if len(map_kwargs) != n_splits:
        raise ValueError(
            f"map_kwargs is a list of {len(map_kwargs)}, but there are {n_splits} splits: give one "
            "per split, or one for all"
        )
    return [map_params(map_type, kwargs) for kwargs in map_kwargs]


def _check_regression(name: str, kwargs: dict[str, Any]) -> None:
    kind = getattr(linear_model, name, None)
    if not (isclass(kind) and issubclass(kind, RegressorMixin)):
        raise ValueError(f"sklearn.linear_model has no regressor {name!r}")
    try:
        kind(**kwargs)
    except TypeError as error:
        raise ValueError(f"regression_kwargs {sorted(kwargs)} do not fit {name}: {error}") from None
