"""Responses as a split sees them: centred once, and shared by every map and every pair."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from science.neural_fit.splits import Split

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Source:
    """Responses that predict, bins without NaN.

    Attributes
    ----------
    responses : float64, (n_bins, n_sources)
    """

    responses: Floats

    @cached_property
    def kernel(self) -> Floats:
        """Products of bins, (n_bins, n_bins): its blocks serve every split."""
        centred = self.responses - self.responses.mean(0)
        return centred @ centred.T


@dataclass(frozen=True)
class SourceSplit:
    """Source responses of one split, less the means of the training bins."""

    source: Source
    split: Split

    @property
    def n_train(self) -> int:
        """Training bins."""
        return len(self.split.train)

    @property
    def n_sources(self) -> int:
        """Source cells."""
        return self.source.responses.shape[1]

    @cached_property
    def varies(self) -> NDArray[np.bool_]:
        """Whether a source cell changes over the training bins, (n_sources,)."""
        return np.ptp(self.source.responses[self.split.train], axis=0) > 0

    @cached_property
    def means(self) -> Floats:
        """Means over the training bins, (n_sources,)."""
        return self.source.responses[self.split.train].mean(0)

    @cached_property
    def train(self) -> Floats:
        """Training bins, (n_train, n_sources); exactly 0 where constant."""
        return np.where(self.varies, self.source.responses[self.split.train] - self.means, 0)

    @cached_property
    def columns(self) -> Floats:
        """`train`, cell by cell in memory."""
        return np.asfortranarray(self.train)

    @cached_property
    def test(self) -> Floats:
        """Test bins, (n_test, n_sources)."""
        return self.source.responses[self.split.test] - self.means

    @cached_property
    def kernels(self) -> tuple[Floats, Floats]:
        """Products ``train train'`` (n_train, n_train) and ``test train'`` (n_test, n_train)."""
        if not self.varies.any():
            return np.zeros((self.n_train,) * 2), np.zeros((len(self.split.test), self.n_train))
        if self.n_sources <= self.n_train:
            return self.train @ self.train.T, self.test @ self.train.T
        block = self.source.kernel[self.split.train]
        train, across = block[:, self.split.train], block[:, self.split.test].T
        means = train.mean(0)
        overall = means.mean()
        offset = across.mean(1, keepdims=True) - overall
        return train - means - (means - overall)[:, None], across - means - offset


@dataclass(frozen=True)
class TargetSplit:
    """Target responses of one split.

    Attributes
    ----------
    raw : float64, (n_train, n_cells)
        Training bins as they are.
    train : float64, (n_train, n_cells)
        Less their mean; exactly 0 where constant.
    test : float64, (n_test, n_cells)
        Of mean 0 and norm 1; NaN where constant.
    """

    raw: Floats
    train: Floats
    test: Floats

    @classmethod
    def of(cls, responses: Floats, split: Split) -> "TargetSplit":
        """Take the responses (n_bins, n_cells) of a split."""
        raw = responses[split.train]
        centred = np.where(np.ptp(raw, axis=0) > 0, raw - raw.mean(0), 0)
        return cls(raw, centred, normalised(responses[split.test]))

    @property
    def n_cells(self) -> int:
        """Target cells."""
        return self.raw.shape[1]

    def of_cells(self, cells: list[int]) -> "TargetSplit":
        """Take some cells only."""
        return TargetSplit(self.raw[:, cells], self.train[:, cells], self.test[:, cells])

    def correlation(self, predictions: Floats) -> Floats:
        """Correlate predictions (n_test, n_cells) with the truth; NaN where either is constant."""
        return (normalised(predictions) * self.test).sum(0).clip(-1, 1)


def normalised(responses: Floats) -> Floats:
    """Columns of mean 0 and norm 1; NaN where constant or not finite."""
    centred = responses - responses.mean(0)
    norm = np.sqrt(np.einsum("ij,ij->j", centred, centred))
    # exact test: the mean of a constant is rounded, its deviations need not be 0
    norm[(responses == responses[0]).all(0)] = np.nan
    return centred / norm
