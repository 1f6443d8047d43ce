"""Encoders: from stimuli to the logits of firing (neural_vae 2)."""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from torch import Tensor, nn

from science.coding.config import CodingConfig
from science.coding.tuning import BellTuning


def tuning_from_clusters(
    features: NDArray[np.floating], n_neurons: int, width_scale: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Place the first tuning curves on the clusters of the stimuli, by k-means (neural_vae 2).

    Parameters
    ----------
    features : ndarray, (n,)
        Of the stimuli, as the encoder reads them; at least `n_neurons` distinct ones.
    n_neurons : int
        Clusters.
    width_scale : float
        w of width = sqrt(w spacing).

    Returns
    -------
    centers : ndarray
        float64, (n_neurons,), in the order of the clusters, which is not that of their size.
    widths : ndarray
        float64, (n_neurons,), from the spacing to the next larger centre; the largest takes that of
        the one before it.

    Raises
    ------
    ValueError
        If there are fewer than two neurons, or fewer distinct features than neurons.
    """
    if n_neurons < 2 or len(np.unique(features)) < n_neurons:
        raise ValueError(
            f"{len(np.unique(features))} distinct stimuli for {n_neurons} neurons: it needs two "
            "neurons at least, and no fewer stimuli than neurons"
        )
    clusters = KMeans(n_neurons, init="random", n_init=10, max_iter=10, random_state=2)
    centers = clusters.fit(np.sort(features)[:, None]).cluster_centers_[:, 0]
    centers = centers.astype(np.float64)
    order = np.argsort(centers)
    spacing = np.diff(centers[order])
    widths = np.empty(n_neurons)
    widths[order] = np.sqrt(width_scale * np.append(spacing, spacing[-1]))
    return centers, widths


class TuningEncoder(nn.Module):
    """Independent neurons with bell-shaped tuning to x, to log x, or to a mixture of the two.

    The logit of firing is log A - (g(x) - c)^2 / (2 width^2), so that neurons fire with A / (1 + A)
    at their centre.

    Parameters
    ----------
    config : CodingConfig
        With `legacy`, A itself is a parameter: a gradient step may take it below 0, and all of the
        model is NaN from there on (neural_vae 10.1). Otherwise it is log A, which cannot, and which
        lets saturated neurons grow sharp in time: A grows by a factor where it grew by a summand.
    n_models : int
        K.
    dtype : torch.dtype
        Of all parameters.

    Attributes
    ----------
    centers, log_widths : nn.Parameter, (K, N)
        In units of g(x).
    amplitudes or log_amplitudes : nn.Parameter, (K, N)
        The first with `legacy`.
    mixing : nn.Parameter, (K,)
        Of "mixed": logit of the weight of x against that of log x.
    """

    def __init__(self, config: CodingConfig, n_models: int, dtype: torch.dtype) -> None:
        super().__init__()
        self._config = config
        shape = (n_models, config.n_neurons)
        self.centers = nn.Parameter(torch.zeros(shape, dtype=dtype))
        self.log_widths = nn.Parameter(torch.zeros(shape, dtype=dtype))
        if config.legacy:
            self.amplitudes = nn.Parameter(torch.ones(shape, dtype=dtype))
        else:
            self.log_amplitudes = nn.Parameter(torch.zeros(shape, dtype=dtype))
        if config.encoder == "mixed":
            self.mixing = nn.Parameter(torch.zeros(n_models, dtype=dtype))

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Start from the clusters of the stimuli, (K, n)."""
        features = self.feature(x).cpu().numpy()
        n_neurons, scale = self._config.n_neurons, self._config.width_scale
        # the clusters of one model depend on its stimuli only: no batched k-means at hand
        tuning = [tuning_from_clusters(values, n_neurons, scale) for values in features]
        centers, widths = np.stack(tuning, 1)
        self.centers.copy_(torch.from_numpy(centers))
        self.log_widths.copy_(torch.from_numpy(np.log(widths)))

    def feature(self, x: Tensor) -> Tensor:
        """Return what the neurons are tuned to, g(x), of stimuli (K, B)."""
        match self._config.encoder:
            case "linear":
                return x
            case "log":
                return torch.log(x)
        weight = torch.sigmoid(self.mixing)[:, None]
        return weight * x + (1 - weight) * torch.log(x)

    def log_amplitude(self) -> Tensor:
        """Logarithm of A, (K, N)."""
        return torch.log(self.amplitudes) if self._config.legacy else self.log_amplitudes

    @torch.no_grad()
    def tuning(self) -> BellTuning:
        """Tuning curves, (K, N)."""
        match self._config.encoder:
            case "linear":
                share = 1.0
            case "log":
                share = 0.0
            case _:
                share = torch.sigmoid(self.mixing).double().cpu().numpy()
        values = (self.centers, self.log_widths.exp(), self.log_amplitude().exp())
        return BellTuning(*(v.double().cpu().numpy() for v in values), linear_share=share)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of firing, (K, B, N), at stimuli (K, B)."""
        distance = self.feature(x)[..., None] - self.centers[:, None]
        precision = 0.5 * torch.exp(-2 * self.log_widths)
        return self.log_amplitude()[:, None] - distance.square() * precision[:, None]


class CategoricalEncoder(nn.Module):
    """One neuron active at a time, with logits that are quadratic in the stimulus.

    Parameters
    ----------
    config : CodingConfig
        With `legacy`, the prior enters the initial logits with the wrong sign (neural_vae 2).
    n_models : int
        K.
    dtype : torch.dtype
        Of all parameters.

    Attributes
    ----------
    quadratic, linear, constant : nn.Parameter, (K, N)
        Coefficients of the logits.
    """

    def __init__(self, config: CodingConfig, n_models: int, dtype: torch.dtype) -> None:
        super().__init__()
        self._legacy = config.legacy
        shape = (n_models, config.n_neurons)
        self.quadratic, self.linear, self.constant = (
            nn.Parameter(torch.zeros(shape, dtype=dtype)) for _ in range(3)
        )

    @torch.no_grad()
    def invert(self, mu: Tensor, log_sigma: Tensor, prior_logits: Tensor) -> None:
        """Become the posterior of a mixture; mean, log width, logits of its components: (K, N).

        Then D + R is the negative log-likelihood of the mixture, unless `legacy`.
        """
        precision = torch.exp(-2 * log_sigma)
        log_prior = torch.log_softmax(prior_logits, -1)
        self.quadratic.copy_(-0.5 * precision)
        self.linear.copy_(mu * precision)
        constant = -0.5 * precision * mu.square() - log_sigma
        self.constant.copy_(constant - log_prior if self._legacy else constant + log_prior)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the active neuron, (K, B, N), at stimuli (K, B)."""
        x = x[..., None]
        return (self.quadratic[:, None] * x + self.linear[:, None]) * x + self.constant[:, None]
