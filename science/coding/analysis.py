"""All that is computed of trained codes, many at once (neural_vae 7)."""

import copy
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import entr

from science.blocks import blocks
from science.coding.analysis_params import CodeAnalysisParams
from science.coding.config import CodingTask
from science.coding.decoding_error import decoded_moments, decoding_error
from science.coding.fisher_information import cramer_rao_bound, fisher_information
from science.coding.generative_law import generative_divergence, log_generative_density
from science.coding.information import entropy
from science.coding.models import CodingModels
from science.coding.power_laws import moving_average
from science.coding.rate_distortion import excess_over_ideal
from science.coding.stimuli import Stimulus
from science.coding.training import evaluate
from science.coding.tuning import BellTuning, mean_width, sort_couplings
from science.coding.words import binary_words, word_log_probabilities

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class StimulusSample:
    """Stimuli at which codes are analysed, the same for all codes of a task.

    Attributes
    ----------
    x : ndarray
        float64, (n_stimuli,), drawn from the prior, sorted.
    smoothed : ndarray
        float64, (n_stimuli - window + 1,), moving average of `x`.
    grid : ndarray
        float64, (n,), n <= n_grid, increasing, from the smallest to the largest one of `x`.
    entropy : float
        Mean of -log pi(x), nats: the entropy of the prior but for the luck of the draw, which
        rate and distortion at these stimuli share.
    """

    x: Floats
    smoothed: Floats
    grid: Floats
    entropy: float

    @classmethod
    def of(cls, stimulus: Stimulus, params: CodeAnalysisParams) -> Self:
        """Draw the sample."""
        generator = torch.Generator().manual_seed(params.seed)
        x = np.sort(stimulus.sample(params.n_stimuli, generator).numpy())
        chosen = np.linspace(0, len(x) - 1, params.n_grid).round().astype(int)
        surprise = -np.log(stimulus.density(x))
        smoothed = moving_average(x, params.window)
        return cls(x, smoothed, np.unique(x[chosen]), float(surprise.mean()))


@dataclass(frozen=True)
class CodeCurves:
    """Codes against the stimulus, on the grid of `StimulusSample`.

    Attributes
    ----------
    posterior_error, sampling_error, bias : ndarray
        float64, (K, n_grid), as of `science.coding.decoding_error.DecodingError`.
    fisher : ndarray
        float64, (K, n_grid), Fisher information of the words.
    bound : ndarray
        float64, (K, n_grid), Cramer-Rao bound of the posterior error at its bias.
    spike_probability : ndarray
        float64, (K, n_grid, N), neurons in order of their preferred stimulus.
    generated : ndarray
        float64, (K, n_grid), density that word prior and decoder generate.
    """

    posterior_error: Floats
    sampling_error: Floats
    bias: Floats
    fisher: Floats
    bound: Floats
    spike_probability: Floats
    generated: Floats


@dataclass(frozen=True)
class CodeNeurons:
    """Neurons of codes in order of their preferred stimulus.

    Attributes
    ----------
    index : ndarray
        int64, (K, N), number of the neuron in the network.
    centers, widths, amplitudes : ndarray
        float64, (K, N), of the tuning, in units of what the encoder reads.
    peaks : ndarray
        float64, (K, N), probability of a spike at the centre.
    preferred, stimulus_widths : ndarray
        float64, (K, N), centre and width in units of the stimulus.
    density, error : ndarray
        float64, (K, N), prior and squared posterior error at the preferred stimulus.
    biases : ndarray or None
        float64, (K, N), of the word prior, if it has any.
    couplings : ndarray or None
        float64, (K, N, N), of the word prior, if it has any.
    """

    index: NDArray[np.int64]
    centers: Floats
    widths: Floats
    amplitudes: Floats
    peaks: Floats
    preferred: Floats
    stimulus_widths: Floats
    density: Floats
    error: Floats
    biases: Floats | None
    couplings: Floats | None


@dataclass(frozen=True)
class CodeAnalysis:
    """What is known of K codes, (K,) each unless said otherwise; nats.

    Attributes
    ----------
    rate, distortion : ndarray
        Means over the stimuli.
    excess : ndarray
        Distortion and rate less the entropy of the sample: never less than `divergence`.
    divergence : ndarray
        KL divergence of the generated law from the prior.
    prior_entropy : ndarray
        Of the word prior.
    marginal_entropy, conditional_entropy, information : ndarray
        Of the words, of the words given the stimulus, and their difference: mutual information.
    posterior_mse, sampling_mse : ndarray
        Squared errors, means over the stimuli.
    mean_width : ndarray
        Of the neurons, weighted by the prior at their preferred stimulus; NaN if none occurs.
    smoothed_error : ndarray
        (K, n_stimuli - window + 1), moving average of the posterior error.
    curves : CodeCurves
    neurons : CodeNeurons
    """

    rate: Floats
    distortion: Floats
    excess: Floats
    divergence: Floats
    prior_entropy: Floats
    marginal_entropy: Floats
    conditional_entropy: Floats
    information: Floats
    posterior_mse: Floats
    sampling_mse: Floats
    mean_width: Floats
    smoothed_error: Floats
    curves: CodeCurves
    neurons: CodeNeurons


def analyse_codes(
    models: CodingModels, task: CodingTask, params: CodeAnalysisParams
) -> CodeAnalysis:
    """Analyse codes, exactly over all words, in float64.

    Parameters
    ----------
    models : CodingModels
        K codes that are finite, with bell-shaped tuning.
    task : CodingTask
        They were trained on.
    params : CodeAnalysisParams
        Stimuli.

    Raises
    ------
    ValueError
        If one neuron is active at a time, or stimuli are outside of what the codes can read.
    """
    models = copy.deepcopy(models).cpu().double()
    population = _Population.of(models)
    sample = StimulusSample.of(task.stimulus, params)
    x, density = sample.x, task.stimulus.density(sample.x)
    distortion, rate = (values.numpy() for values in evaluate(models, torch.from_numpy(x)))
    word_prior = models.word_log_probabilities().exp().numpy()
    law = (word_prior, *population.decoded, population.log_normal)
    error = population.error(x)
    p = population.tuning.spike_probability(x)
    conditional = (entr(p) + entr(1 - p)).sum(-1).mean(-1)
    marginal = entropy(error.marginal)
    neurons = _neurons(models, population, task.stimulus)
    return CodeAnalysis(
        rate=rate,
        distortion=distortion,
        excess=excess_over_ideal(rate, distortion, sample.entropy),
        divergence=generative_divergence(density, log_generative_density(x, *law)),
        prior_entropy=entropy(word_prior),
        marginal_entropy=marginal,
        conditional_entropy=conditional,
        information=marginal - conditional,
        posterior_mse=error.posterior.mean(-1),
        sampling_mse=error.sampling.mean(-1),
        mean_width=mean_width(neurons.stimulus_widths, neurons.density),
        smoothed_error=moving_average(error.posterior, params.window),
        curves=_curves(population, law, sample.grid, neurons.index),
        neurons=neurons,
    )


def _curves(
    population: "_Population",
    law: tuple[Floats, Floats, Floats, bool],
    grid: Floats,
    order: NDArray[np.int64],
) -> CodeCurves:
    error, tuning = population.error(grid), population.tuning
    p = tuning.spike_probability(grid)
    fisher = fisher_information(p, tuning.logit_slopes(grid))
    return CodeCurves(
        posterior_error=error.posterior,
        sampling_error=error.sampling,
        bias=error.bias,
        fisher=fisher,
        bound=cramer_rao_bound(fisher, error.bias, population.bias_slope(grid)),
        spike_probability=np.take_along_axis(p, order[:, None], -1),
        generated=np.exp(log_generative_density(grid, *law)),
    )


def _neurons(models: CodingModels, population: "_Population", stimulus: Stimulus) -> CodeNeurons:
    tuning, prior = population.tuning, models.word_prior
    preferred = tuning.preferred_stimuli
    order = np.argsort(preferred, axis=-1)

    def ordered(values: Floats) -> Floats:
        return np.take_along_axis(values, order, -1)

    with torch.no_grad():
        biases = prior.bias.numpy() if hasattr(prior, "bias") else None
        couplings = prior.couplings().numpy() if hasattr(prior, "couplings") else None
    if couplings is not None:
        couplings, _ = sort_couplings(couplings, biases, preferred)
    return CodeNeurons(
        index=order,
        centers=ordered(tuning.centers),
        widths=ordered(tuning.widths),
        amplitudes=ordered(tuning.amplitudes),
        peaks=ordered(tuning.peaks),
        preferred=ordered(preferred),
        stimulus_widths=ordered(tuning.stimulus_widths),
        density=stimulus.density(ordered(preferred)),
        error=ordered(population.error(preferred).posterior),
        biases=None if biases is None else ordered(biases),
        couplings=couplings,
    )


@dataclass(frozen=True)
class _Errors:
    """Errors at stimuli, (K, n_x) each, and the sum over stimuli of P(r|x) / n_x, (K, n_words)."""

    posterior: Floats
    sampling: Floats
    bias: Floats
    marginal: Floats


@dataclass(frozen=True)
class _Population:
    """Codes as arrays, their words decoded to laws with these parameters and moments."""

    tuning: BellTuning
    decoded: tuple[Floats, Floats]
    log_normal: bool
    mean: Floats
    variance: Floats

    @classmethod
    @torch.no_grad()
    def of(cls, models: CodingModels) -> Self:
        mu, sigma = (values.numpy() for values in models.decoded())
        sigma, log_normal = np.exp(sigma), models.config.law == "lognormal"
        moments = decoded_moments(mu, sigma, log_normal)
        return cls(models.tuning(), (mu, sigma), log_normal, *moments)

    def error(self, x: Floats) -> _Errors:
        """Of stimuli (n_x,) or (K, n_x)."""
        n_models, n_x = len(self.mean), x.shape[-1]
        posterior, sampling, bias = np.empty((3, n_models, n_x))
        marginal = np.zeros(self.mean.shape)
        for part in blocks(n_x, self.mean.size):
            p = self._word_probability(x[..., part])
            found = decoding_error(x[..., part], p, self.mean, self.variance)
            posterior[:, part], sampling[:, part] = found.posterior, found.sampling
            bias[:, part] = found.bias
            marginal += p.sum(1) / n_x
        return _Errors(posterior, sampling, bias, marginal)

    def bias_slope(self, x: Floats) -> Floats:
        """Return the derivative of the bias by the stimulus at (n_x,), (K, n_x)."""
        n_models, n_neurons = self.tuning.centers.shape
        words, slope = binary_words(n_neurons).numpy(), np.empty((n_models, len(x)))
        for part in blocks(len(x), self.mean.size):
            estimate = self._word_probability(x[part]) * self.mean[:, None]
            mean_estimate = estimate.sum(-1, keepdims=True)
            spikes = self.tuning.spike_probability(x[part])
            covariance = estimate @ words - mean_estimate * spikes
            slope[:, part] = (covariance * self.tuning.logit_slopes(x[part])).sum(-1) - 1
        return slope

    def _word_probability(self, x: Floats) -> Floats:
        logits = torch.from_numpy(self.tuning.logits(x))
        return word_log_probabilities(logits).exp().numpy()
