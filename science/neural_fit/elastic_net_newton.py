"""ElasticNet for many cells and penalties at once, by Newton's method on the dual.

With centred X (n bins, p sources) and y of one cell, ElasticNet minimises
``|y - X w|^2 / 2 + tau |w|_1 + c |w|^2 / 2``, where ``tau = n alpha rho`` and
``c = n alpha (1 - rho)`` for an l1 ratio rho (mec 8.6). Its dual has one variable per bin:
``F(v) = |v|^2 / 2 - y'v + |S(X'v)|^2 / 2c``, where S shrinks towards 0 by tau, is smooth, strongly
convex and piecewise quadratic, and gives ``w = S(X'v) / c``. Its gradient is ``g = v - y + X w``,
the duality gap ``|g|^2 / 2``. Where the sources in use are right, one Newton step is exact; steps
batch over problems, and the solutions for one alpha are where the next smaller one starts.
Coordinate descent needs up to a thousand sweeps where rate maps are alike and penalties small, and
a sweep has to wait for the one before it.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from science.neural_fit.responses import Floats

MAX_STEPS = 100
MAX_HALVINGS = 30
SUFFICIENT = 1e-4  # share of the slope that a step must gain
RANK = 1e-7  # of the largest singular value: below, directions are rounding
PROXIMAL = 0.01  # of the penalty of Lasso, put around the weights found last


@dataclass
class _Problems:
    """Problems of one alpha, by column.

    Attributes
    ----------
    y : float64, (n, B)
    tau, c : float64, (B,)
    v : float64, (n, B)
        Dual variables.
    u : float64, (p, B)
        ``X'v``.
    """

    y: Floats
    tau: Floats
    c: Floats
    v: Floats
    u: Floats

    def take(self, which: NDArray[np.intp]) -> "_Problems":
        """Take some of the problems."""
        columns = (self.y[:, which], self.tau[which], self.c[which])
        return _Problems(*columns, self.v[:, which], self.u[:, which])

    def shrunk(self, u: Floats) -> Floats:
        """Shrink (p, B) towards 0 by tau."""
        return u - np.clip(u, -self.tau, self.tau)

    def value(self, v: Floats, shrunk: Floats) -> Floats:
        """Return the dual function, (B,)."""
        quadratic = np.einsum("ij,ij->j", v, 0.5 * v - self.y)
        return quadratic + _squared(shrunk) / (2 * self.c)


class ElasticNetPaths:
    """Problems that share their sources, solved along falling penalties.

    Parameters
    ----------
    x : float64, (n, p)
        Centred sources.
    tolerance : float
        Largest duality gap, in units of ``|y|^2``: what scikit-learn calls `tol`.
    """

    def __init__(self, x: Floats, tolerance: float) -> None:
        self._n, self._tolerance = len(x), tolerance
        # what sources cannot tell apart is left out: residuals then vanish as penalties do
        left, scale, right = np.linalg.svd(x, full_matrices=False)
        seen = scale > RANK * scale.max(initial=0)
        self._seen, self._x = left[:, seen], scale[seen, None] * right[seen]
        self._xt = np.ascontiguousarray(self._x.T)
        rows, columns = np.tril_indices(len(self._x))
        # the curvature of any set of sources is one product with its indicators
        self._pairs = self._x[rows] * self._x[columns]
        self._square = np.empty((len(self._x),) * 2, dtype=np.intp)
        self._square[rows, columns] = self._square[columns, rows] = np.arange(len(rows))

    def weights(
        self, y: Floats, alphas: Sequence[float], l1_ratio: Floats
    ) -> Iterator[tuple[NDArray[np.intp], Floats]]:
        """Solve for each alpha, the largest first.

        Parameters
        ----------
        y : float64, (n, B)
            Centred targets, one column per problem.
        alphas : sequence of float, descending
        l1_ratio : float64, (B,)
            Below 1.

        Yields
        ------
        which : int, (m,)
            Problems whose weights are not those of the alpha before.
        weights : float64, (p, m)
        """
        n, enough = self._n, self._tolerance * _squared(y)
        y = self._seen.T @ y
        largest = np.abs(self._xt @ y).max(0)
        v, before = y.copy(), alphas[0]
        open_ = np.ones(y.shape[1], bool)
        for alpha in alphas:
            tau, c = n * alpha * l1_ratio, n * alpha * (1 - l1_ratio)
            some = np.flatnonzero(open_ & (tau < largest))
            # the weights stay where they were when v falls as the penalties do
            v[:, some] *= np.where(n * before * l1_ratio < largest, alpha / before, 1)[some]
            before = alpha
            problems = _Problems(y[:, some], tau[some], c[some], v[:, some], self._xt @ v[:, some])
            weights, gradient = self._solve(problems, enough[some])
            v[:, some] = problems.v
            residual = problems.v - gradient
            # smaller penalties would change these no more than the tolerance allows
            open_[some] = _squared(residual) > 2 * enough[some]
            yield some, weights

    def lasso_weights(
        self, y: Floats, alphas: Sequence[float]
    ) -> Iterator[tuple[NDArray[np.intp], Floats]]:
        """Solve for an l1 ratio of 1, which leaves the dual without curvature.

        The ``|w|^2`` that is missing is put around the weights found last, and these moved until
        they are the solution without it. Parameters and yields are those of `weights`.
        """
        n, enough = self._n, self._tolerance * _squared(y)
        # the gap of Lasso is linear in the gradient, that of a problem with |w|^2 quadratic
        finely = self._tolerance * enough
        y = self._seen.T @ y
        largest = np.abs(self._xt @ y).max(0)
        centre, residual, before = np.zeros((len(self._xt), y.shape[1])), y.copy(), alphas[0]
        open_ = np.ones(y.shape[1], bool)
        for alpha in alphas:
            moved = np.flatnonzero(open_ & (n * alpha < largest))
            some, falls = moved, alpha / before
            for _ in range(MAX_STEPS):
                tau = np.full(len(some), float(n * alpha))
                c = PROXIMAL * tau
                v = residual[:, some] * falls
                u = self._xt @ v + c * centre[:, some]
                problems = _Problems(y[:, some], tau, c, v, u)
                centre[:, some], _ = self._solve(problems, finely[some])
                residual[:, some] = y[:, some] - self._x @ centre[:, some]
                gap = self._lasso_gap(y[:, some], centre[:, some], residual[:, some], n * alpha)
                some, falls = some[gap > enough[some]], 1.0
                if not some.size:
                    break
            else:
                warnings.warn(
                    f"{some.size} Lasso fits stop above the tolerance", RuntimeWarning, stacklevel=2
                )
            before = alpha
            open_[moved] = _squared(residual[:, moved]) > 2 * enough[moved]
            yield moved, centre[:, moved]

    def _lasso_gap(self, y: Floats, weights: Floats, residual: Floats, tau: float) -> Floats:
        feasible = np.minimum(1, tau / np.abs(self._xt @ residual).max(0))
        primal = 0.5 * _squared(residual) + tau * np.abs(weights).sum(0)
        dual = np.einsum("ij,ij->j", feasible * residual, y - 0.5 * feasible * residual)
        return primal - dual

    def _solve(self, problems: _Problems, enough: Floats) -> tuple[Floats, Floats]:
        shrunk = problems.shrunk(problems.u)
        weights = shrunk / problems.c
        gradient = problems.v - problems.y + self._x @ weights
        for _ in range(MAX_STEPS):
            gap = 0.5 * _squared(gradient)
            far = np.flatnonzero(gap > enough)
            if not far.size:
                break
            part = problems.take(far)
            self._step(part, shrunk[:, far], gradient[:, far])
            problems.v[:, far], problems.u[:, far] = part.v, part.u
            shrunk[:, far] = now = part.shrunk(part.u)
            weights[:, far] = now / part.c
            gradient[:, far] = part.v - part.y + self._x @ weights[:, far]
        else:
            warnings.warn(f"{far.size} fits stop above the tolerance", RuntimeWarning, stacklevel=2)
        return weights, gradient

    def _step(self, part: _Problems, shrunk: Floats, gradient: Floats) -> None:
        """Make one damped Newton step, in place."""
        curvature = (self._pairs @ (shrunk != 0).astype(np.float64)).T[:, self._square]
        diagonal = np.arange(len(gradient))
        curvature[:, diagonal, diagonal] += part.c[:, None]
        direction = np.linalg.solve(curvature, (-part.c * gradient).T[..., None])[..., 0].T
        along = self._xt @ direction
        slope = np.einsum("ij,ij->j", direction, gradient)
        value = part.value(part.v, shrunk)
        length = np.ones(len(slope))
        trying = np.arange(len(slope))
        for _ in range(MAX_HALVINGS):
            some = part.take(trying)
            t = length[trying]
            u = some.u + t * along[:, trying]
            now = some.value(some.v + t * direction[:, trying], some.shrunk(u))
            allowed = value[trying] + SUFFICIENT * t * slope[trying]
            trying = trying[now > allowed + 1e-14 * np.abs(value[trying])]
            if not trying.size:
                break
            length[trying] /= 2
        part.v += length * direction
        part.u += length * along


def _squared(columns: Floats) -> Floats:
    """Squared norm of each column."""
    return np.einsum("ij,ij->j", columns, columns)
