"""Linear decoding of the sources from a population, in contexts that the decoder never saw."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from science.feedback.linear_map import fit_linear_map, r_squared

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SourceDecoding:
    """How well one linear decoder works in other contexts than its own.

    Attributes
    ----------
    r2 : ndarray
        float64, (..., n_test_contexts, n_sources), at most 1, unbounded below; NaN for a source
        that is constant in a context.
    """

    r2: Floats

    @property
    def per_context(self) -> Floats:
        """Mean over the sources, (..., n_test_contexts)."""
        return self.r2.mean(-1)

    @property
    def mean(self) -> Floats:
        """Over the test contexts, (...)."""
        return self.per_context.mean(-1)

    @property
    def sd(self) -> Floats:
        """Standard deviation of the test contexts, of n as published, (...)."""
        return self.per_context.std(-1)

    @property
    def median(self) -> Floats:
        """Over the test contexts, (...): a single bad context can pull the mean anywhere."""
        return np.median(self.per_context, -1)


def decode_sources(population: ArrayLike, sources: ArrayLike, n_train: int = 10) -> SourceDecoding:
    """Fit one linear decoder to the first contexts and test it in each of the others.

    The published decoder (naumann22 5): least squares with an intercept on all samples of the
    training contexts together, 10 of 20.

    Parameters
    ----------
    population : array_like
        float, (..., n_contexts, n_samples, n_units); leading axes are models.
    sources : array_like
        float, (..., n_contexts, n_samples, n_sources), the same leading axes.
    n_train : int
        Contexts the decoder is fitted to; must leave at least one.

    Returns
    -------
    SourceDecoding

    Raises
    ------
    ValueError
        If shapes do not fit, values are not finite, or no context is left to train or to test.
    """
    population, sources = np.asarray(population), np.asarray(sources)
    if min(population.ndim, sources.ndim) < 3 or population.shape[:-1] != sources.shape[:-1]:
        raise ValueError(
            "population and sources must be (..., n_contexts, n_samples, n) that differ in n only, "
            f"got {population.shape} and {sources.shape}"
        )
    n_contexts = population.shape[-3]
    if not 0 < n_train < n_contexts:
        raise ValueError(
            f"n_train={n_train} of {n_contexts} contexts must leave some to train and some to test"
        )
    train, test = np.s_[..., :n_train, :, :], np.s_[..., n_train:, :, :]
    decoder = fit_linear_map(_all_samples(population[train]), _all_samples(sources[train]))
    n_outputs = sources.shape[-1]
    decoded = decoder(_all_samples(population[test])).reshape(*sources[test].shape[:-1], n_outputs)
    return SourceDecoding(r_squared(sources[test], decoded))


def _all_samples(traces: NDArray[np.number]) -> NDArray[np.number]:
    """Contexts one after the other, (..., n_contexts * n_samples, n)."""
    return traces.reshape(*traces.shape[:-3], -1, traces.shape[-1])
