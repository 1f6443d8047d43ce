"""Priors of the stimuli that are encoded (neural_vae 6)."""

import math
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator
from torch import Tensor

from science.params import Params, Positive

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
QUADRATURE_POINTS = 20001


class GaussianStimulus(Params):
    """Normal with mean 0.

    Attributes
    ----------
    sd : float
        Standard deviation.
    """

    type: Literal["gaussian"] = "gaussian"
    sd: Positive = 5.0

    def entropy(self) -> float:
        """Differential entropy, nats."""
        return math.log(self.sd) + LOG_SQRT_2PI + 0.5

    def variance(self) -> float:
        """Of the stimulus."""
        return self.sd**2

    def density(self, x: ArrayLike) -> NDArray[np.float64]:
        """At x, of its shape."""
        return _normal_density(np.asarray(x, np.float64), 0.0, self.sd)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw stimuli, float64, (n,)."""
        return self.sd * _normals(n, generator)


class LogNormalStimulus(Params):
    """Normal logarithm.

    Attributes
    ----------
    mu, sigma : float
        Mean and standard deviation of the logarithm.
    """

    type: Literal["lognormal"] = "lognormal"
    mu: float = 1.0
    sigma: Positive = 1.0

    def entropy(self) -> float:
        """Differential entropy, nats."""
        return self.mu + math.log(self.sigma) + LOG_SQRT_2PI + 0.5

    def variance(self) -> float:
        """Of the stimulus."""
        return math.expm1(self.sigma**2) * math.exp(2 * self.mu + self.sigma**2)

    def density(self, x: ArrayLike) -> NDArray[np.float64]:
        """At x, of its shape; 0 where x is not positive."""
        x = np.asarray(x, np.float64)
        positive = np.where(x > 0, x, 1.0)
        value = _normal_density(np.log(positive), self.mu, self.sigma) / positive
        return np.where(x > 0, value, 0.0)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw stimuli, float64, (n,)."""
        return torch.exp(self.mu + self.sigma * _normals(n, generator))


class MixtureStimulus(Params):
    """Mixture of normals.

    Attributes
    ----------
    weights, means, sds : tuple of float
        One per component; the weights sum to 1.
    """

    type: Literal["mixture"] = "mixture"
    weights: tuple[Positive, ...] = (0.3, 0.2, 0.5)
    means: tuple[float, ...] = (-4.0, 0.0, 2.0)
    sds: tuple[Positive, ...] = (1.0, 0.5, 1.0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not len(self.weights) == len(self.means) == len(self.sds):
            raise ValueError("a mixture needs a weight, a mean and an sd for each component")
        if not math.isclose(sum(self.weights), 1, abs_tol=1e-9):
            raise ValueError(f"the weights of a mixture sum to {sum(self.weights)}, not to 1")
        return self

    def entropy(self) -> float:
        """Differential entropy, nats, by quadrature."""
        means, sds = np.array(self.means), np.array(self.sds)
        x = np.linspace((means - 10 * sds).min(), (means + 10 * sds).max(), QUADRATURE_POINTS)
        p = self.density(x)
        return float(np.trapezoid(-p * np.log(np.maximum(p, np.finfo(float).tiny)), x))

    def variance(self) -> float:
        """Of the stimulus."""
        weights, means, sds = map(np.array, (self.weights, self.means, self.sds))
        return float(weights @ (sds**2 + means**2) - (weights @ means) ** 2)

    def density(self, x: ArrayLike) -> NDArray[np.float64]:
        """At x, of its shape."""
        x = np.asarray(x, np.float64)[..., None]
        return _normal_density(x, np.array(self.means), np.array(self.sds)) @ self.weights

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw stimuli, float64, (n,)."""
        index = _indices(np.array(self.weights), n, generator)
        means, sds = (torch.tensor(v, dtype=torch.float64) for v in (self.means, self.sds))
        return means[index] + sds[index] * _normals(n, generator)


class _BinnedStimulus(Params):
    """Density on bins of equal ratio, whose middles are drawn."""

    log10_min: float
    log10_max: float
    n_bins: int = Field(ge=1)

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.log10_min >= self.log10_max:
            raise ValueError("the range of stimuli is empty: log10_min must be below log10_max")
        return self

    def atoms(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Middles, probabilities and widths of the bins, (n_bins,) each."""
        edges = np.logspace(self.log10_min, self.log10_max, self.n_bins + 1)
        middles, widths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
        mass = self._unnormalized(middles) * widths
        return middles, mass / mass.sum(), widths

    def entropy(self) -> float:
        """Differential entropy, nats."""
        _, p, widths = self.atoms()
        return float(-(p * np.log(p / widths)).sum())

    def variance(self) -> float:
        """Of the stimulus."""
        values, p, _ = self.atoms()
        return float(p @ values**2 - (p @ values) ** 2)

    def density(self, x: ArrayLike) -> NDArray[np.float64]:
        """At x, of its shape; 0 outside the bins."""
        x = np.asarray(x, np.float64)
        middles, _, widths = self.atoms()
        inside = (x >= 10**self.log10_min) & (x <= 10**self.log10_max)
        total = self._unnormalized(middles) @ widths
        return np.where(inside, self._unnormalized(np.where(inside, x, middles[0])) / total, 0.0)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw middles of bins, float64, (n,)."""
        middles, p, _ = self.atoms()
        return torch.from_numpy(middles)[_indices(p, n, generator)]

    def _unnormalized(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError


class FrequencyStimulus(_BinnedStimulus):
    """Acoustic frequency in the environment, kHz: p(f) ~ 1 / (f0^power + f^power).

    Attributes
    ----------
    f0, power : float
        Corner in kHz, and slope above it.
    log10_min, log10_max, n_bins
        Range and number of the bins.
    """

    type: Literal["frequency"] = "frequency"
    f0: Positive = 1.52
    power: Positive = 2.61
    log10_min: float = -1.6
    log10_max: float = 1.4
    n_bins: int = Field(2000, ge=1)

    def _unnormalized(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1 / (self.f0**self.power + x**self.power)


class SpeedStimulus(_BinnedStimulus):
    """Retinal speed in the environment: p(s) ~ 1 / (offset + scale s^power).

    Attributes
    ----------
    scale, power, offset : float
        a, p and b of the specification.
    log10_min, log10_max, n_bins
        Range and number of the bins.
    """

    type: Literal["speed"] = "speed"
    scale: Positive = 0.05
    power: Positive = 0.93
    offset: Positive = 0.11
    log10_min: float = -0.5
    log10_max: float = 1.4
    n_bins: int = Field(1000, ge=1)

    def _unnormalized(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1 / (self.offset + self.scale * x**self.power)


Stimulus = (
    GaussianStimulus | LogNormalStimulus | MixtureStimulus | FrequencyStimulus | SpeedStimulus
)


def _normal_density(
    x: NDArray[np.float64], mean: float | NDArray[np.float64], sd: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.exp(-0.5 * ((x - mean) / sd) ** 2 - LOG_SQRT_2PI) / sd


def _normals(n: int, generator: torch.Generator) -> Tensor:
    return torch.randn(n, generator=generator, dtype=torch.float64)


def _indices(probabilities: NDArray[np.float64], n: int, generator: torch.Generator) -> Tensor:
    cumulative = torch.from_numpy(np.cumsum(probabilities))
    uniforms = torch.rand(n, generator=generator, dtype=torch.float64) * cumulative[-1]
    return torch.searchsorted(cumulative, uniforms, right=True).clamp(max=len(probabilities) - 1)
