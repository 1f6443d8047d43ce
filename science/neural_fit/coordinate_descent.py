"""ElasticNet and Lasso by the compiled coordinate descent of scikit-learn."""

import numpy as np
from sklearn.linear_model import enet_path

from science.neural_fit.responses import Floats, SourceSplit


def elastic_net_weights(
    part: SourceSplit, targets: Floats, alpha: float, l1_ratio: float
) -> Floats:
    """Return weights (n_sources, n_cells) that are those of `sklearn.linear_model.ElasticNet`.

    Where coordinate descent stops is loose (mec 8.6), so that only the same order of the same steps
    gives the same numbers. A step touches one source cell and needs the one before it: a sweep in
    numpy over 52 target cells at once took six times as long as their compiled sweeps one by one.
    What is shared are the checks, the centring and the copies of the sources.

    Parameters
    ----------
    part : SourceSplit
    targets : float64, (n_train, n_cells)
        Centred.
    alpha, l1_ratio : float
        Penalty, and its share on absolute values; Lasso has a ratio of 1.
    """
    weights = np.empty((part.n_sources, targets.shape[1]))
    for cell, target in enumerate(np.ascontiguousarray(targets.T)):
        _, path, _ = enet_path(
            part.columns,
            target,
            alphas=[alpha],
            l1_ratio=l1_ratio,
            precompute=False,
            check_input=False,
        )
        weights[:, cell] = path[:, 0]
    return weights
