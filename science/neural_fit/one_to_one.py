"""One-to-one maps: each target cell by the source cell that correlates best with it (mec 8.6)."""

import numpy as np
from numpy.typing import NDArray

from science.neural_fit.responses import Floats, SourceSplit, normalised


def train_correlations(part: SourceSplit, targets: Floats) -> Floats:
    """Correlate all source with all target cells (n_sources, n_cells) over the training bins."""
    return normalised(part.train).T @ normalised(targets)


def best_source(correlations: Floats) -> NDArray[np.int64]:
    """Return the source cell of largest correlation for each target cell, the first of equals.

    A target cell that is constant over the training bins correlates with none and gets the last
    source cell, as in the original: its score is arbitrary, and differs with the order of cells.

    Parameters
    ----------
    correlations : float64, (n_sources, n_cells)

    Returns
    -------
    int64, (n_cells,)
    """
    known = np.isfinite(correlations)
    best = np.where(known, correlations, -np.inf).argmax(0)
    return np.where(known.any(0), best, len(correlations) - 1)


def best_sources(correlations: Floats, percentile: float) -> NDArray[np.bool_]:
    """Mark the source cells (n_sources, n_cells) that reach a percentile of each target cell."""
    known = np.isfinite(correlations)
    least = np.full(correlations.shape[1], np.inf)
    some = known.any(0)
    least[some] = np.nanpercentile(correlations[:, some], percentile, axis=0)
    return known & (correlations >= least)
