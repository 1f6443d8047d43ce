"""Partial least squares by NIPALS, in the space of the training bins."""

import warnings

import numpy as np
from scipy.linalg import pinv
from sklearn.exceptions import ConvergenceWarning

from science.neural_fit.responses import Floats, SourceSplit

TOLERANCE = 1e-6  # of scikit-learn: squared change of the unit weights
MAX_ITERATIONS = 500
EPS = np.finfo(np.float64).eps
EXHAUSTED = 1e-14  # share of the variance of the sources that is rounding


def pls_predictions(part: SourceSplit, targets: Floats, n_components: int, scale: bool) -> Floats:
    """Predict target cells as `sklearn.cross_decomposition.PLSRegression` does.

    The power iteration stops so early (mec 8.6) that an exact decomposition gives other numbers:
    scores differ by up to 8e-4. So it is run, but in the space of bins: source weights are
    ``w = X'a``, and all that is needed of them are products with the kernel ``X X'``. A pass costs
    two products with (n_train, n_train), however many cells there are. Passes depend on each other,
    which bounds the speed.

    Parameters
    ----------
    part : SourceSplit
    targets : float64, (n_train, n_cells)
        Centred; the components are those of all these cells together.
    n_components : int
    scale : bool

    Returns
    -------
    float64, (n_test, n_cells)
        Less the means over the training bins.

    Raises
    ------
    ValueError
        More components than source cells or training bins.
    """
    if n_components > min(part.n_train, part.n_sources):
        raise ValueError(
            f"{n_components} PLS components cannot be had of {part.n_sources} source cells and "
            f"{part.n_train} training bins: lower n_components"
        )
    kernel, across = _scaled_kernels(part) if scale else part.kernels
    deviation = _deviation(targets) if scale else np.ones(targets.shape[1])
    targets = targets / deviation
    weights, scores = _components(kernel, targets, n_components)
    rotation = weights @ pinv(scores.T @ kernel @ weights, check_finite=False)
    return across @ rotation @ (scores.T @ targets) * deviation


def _components(kernel: Floats, targets: Floats, n_components: int) -> tuple[Floats, Floats]:
    """Return source weights by bins and unit scores, both (n_train, n_components).

    What remains when the targets or the sources are explained is 0.
    """
    kernel, targets = kernel.copy(), targets.copy()
    products, power = targets @ targets.T, kernel.trace()
    weights, scores = np.zeros((2, len(kernel), n_components))
    for k in range(n_components):
        targets[:, (np.abs(targets) < 10 * EPS).all(0)] = 0
        left = np.flatnonzero((np.abs(targets) > EPS).any(0))
        if not left.size or kernel.trace() <= EXHAUSTED * power:
            break
        weight = _leading_weight(kernel, products, targets[:, left[0]], targets.shape[1] == 1)
        score = kernel @ weight
        norm = np.linalg.norm(score)
        score /= norm
        # the weights are those of deflated sources: of the sources less the earlier scores
        weights[:, k] = (weight - scores @ (scores.T @ weight)) / norm
        scores[:, k] = score
        targets -= np.outer(score, score @ targets)
        # products need no deflation: the kernel is blind to earlier scores on either side of them
        _deflate(kernel, score)
    return weights, scores


def _leading_weight(kernel: Floats, products: Floats, start: Floats, single: bool) -> Floats:
    """Find the first singular vector of ``X'Y`` as bins (n_train,) that weigh X, of unit norm."""
    direction, image = start, np.zeros_like(start)
    for iteration in range(MAX_ITERATIONS):
        score = kernel @ direction
        norm = np.sqrt(direction @ score)
        weight, score = direction / norm, score / norm
        # |w - w_before|^2 of unit vectors
        if single or (iteration and 2 - 2 * (image @ weight) < TOLERANCE):
            return weight
        image = score
        direction = products @ score
    warnings.warn("a PLS component has not converged", ConvergenceWarning, stacklevel=2)
    return weight


def _deflate(products: Floats, unit: Floats) -> None:
    """Remove a unit vector from both sides of symmetric products, in place."""
    along = products @ unit
    along -= unit * (unit @ along / 2)
    products -= np.outer(along, unit)
    products -= np.outer(unit, along)


def _scaled_kernels(part: SourceSplit) -> tuple[Floats, Floats]:
    deviation = _deviation(part.train)
    train = part.train / deviation
    return train @ train.T, part.test / deviation @ train.T


def _deviation(responses: Floats) -> Floats:
    deviation = responses.std(0, ddof=1)
    return np.where(deviation == 0, 1, deviation)
