"""Exponents and correlations of the codes of a target rate, all seeds together (neural_vae 7)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from science.coding.exponents import PowerLaw, Undetermined, fit_power_law
from science.coding.power_laws import center_density_power_law, error_power_law, width_power_law
from science.coding.stimuli import Stimulus
from science.coding.tuning import kernel_density, silverman_bandwidth

Floats = NDArray[np.float64]
Relation = Literal["error", "width", "density", "width_density", "error_density", "error_width"]

RELATIONS: tuple[Relation, ...] = get_args(Relation)
"""Error and width, which fall with a power of the prior, and the density of preferred stimuli,
which grows with one; then, over neurons, width against density, error against density, and error
against width: of these the correlation is what the original reports."""


@dataclass(frozen=True)
class CodeProfiles:
    """Codes of one target rate, one per seed, at stimuli that are the same for all.

    Attributes
    ----------
    smoothed : ndarray
        float64, (n,), moving average of the stimuli.
    smoothed_error : ndarray
        float64, (n_codes, n), moving average of the squared error.
    preferred, widths, error : ndarray
        float64, (n_codes, n_neurons), preferred stimuli, widths in units of the stimulus, and
        squared error at the preferred stimuli.
    """

    smoothed: Floats
    smoothed_error: Floats
    preferred: Floats
    widths: Floats
    error: Floats


def code_power_laws(
    profiles: CodeProfiles, stimulus: Stimulus, seed: int = 0
) -> dict[Relation, PowerLaw]:
    """Fit all relations between error, width, density and prior, in log-log.

    Parameters
    ----------
    profiles : CodeProfiles
        Codes.
    stimulus : Stimulus
        Their prior.
    seed : int
        Of the bootstraps, in which codes are drawn.

    Returns
    -------
    dict
        By relation, without those for which too few errors are below the ceiling of
        `science.coding.power_laws`, or for which all neurons are alike.
    """
    p, variance = profiles, stimulus.variance()
    density, at_neurons = stimulus.density(p.smoothed), stimulus.density(p.preferred)
    fits: dict[Relation, Callable[[], PowerLaw]] = {
        "error": lambda: error_power_law(density, p.smoothed_error, variance, seed=seed),
        "width": lambda: width_power_law(at_neurons, p.widths, p.error, variance, seed=seed),
        "density": lambda: center_density_power_law(
            p.smoothed, density, p.preferred, p.smoothed_error.mean(0), variance, seed=seed
        ),
    }
    neurons = partial(_neuron_power_laws, p, at_neurons > 0, seed)
    fits |= {relation: partial(neurons, relation) for relation in RELATIONS if "_" in relation}
    laws = {}
    for relation, fit in fits.items():
        try:
            laws[relation] = fit()
        except Undetermined:
            continue
    return laws


def _neuron_power_laws(
    p: CodeProfiles, keep: NDArray[np.bool_], seed: int, relation: Relation
) -> PowerLaw:
    """Fit one of width, error and density of the neurons that are kept against another."""
    density = kernel_density(
        p.preferred.ravel(), p.preferred.ravel(), silverman_bandwidth(p.preferred.ravel())
    ).reshape(p.preferred.shape)
    values = {"width": p.widths, "density": density, "error": p.error}
    value, predictor = (values[name] for name in relation.split("_"))
    return fit_power_law(predictor[keep], value[keep], np.nonzero(keep)[0], seed=seed)
