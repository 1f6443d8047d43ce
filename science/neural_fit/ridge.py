"""Ridge regression, one factorisation per split for all target cells."""

from collections.abc import Callable

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, svd

from science.neural_fit.responses import Floats, SourceSplit


def ridge(part: SourceSplit, alpha: float) -> Callable[[Floats], Floats]:
    """Factorise the source, and return what predicts any targets from it.

    Weights are ``(X'X + alpha I)^-1 X'Y`` with centred X and Y (mec 8.6), by the smaller of the
    covariance of source cells and the kernel of training bins.

    Parameters
    ----------
    part : SourceSplit
    alpha : float
        Penalty, > 0.

    Returns
    -------
    function
        From centred targets (n_train, n_cells) to predictions (n_test, n_cells).
    """
    train, test = part.train, part.test
    try:
        if part.n_sources < part.n_train:
            factor = _factor(train.T @ train, alpha)
            return lambda y: test @ cho_solve(factor, train.T @ y, check_finite=False)
        kernel, across = part.kernels
        factor = _factor(kernel.copy(), alpha)
        return lambda y: across @ cho_solve(factor, y, check_finite=False)
    except LinAlgError:  # alpha is lost in the rounding of the products
        left, scale, right = svd(train, full_matrices=False)
        scores = test @ right.T * (scale / (np.square(scale) + alpha))
        return lambda y: scores @ (left.T @ y)


def _factor(products: Floats, alpha: float) -> tuple[Floats, bool]:
    products.flat[:: len(products) + 1] += alpha
    return cho_factor(products, overwrite_a=True, check_finite=False)
