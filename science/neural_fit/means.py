"""Means over what is known."""

import numpy as np

from science.neural_fit.responses import Floats


def nanmean(values: Floats) -> Floats:
    """Mean over the first axis of what is not NaN; NaN where all is (without a warning)."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(0) / known.sum(0)
