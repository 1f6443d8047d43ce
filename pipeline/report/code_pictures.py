"""Pictures of single efficient codes of a sweep: tuning, decoding, power laws, couplings."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.report import tuning_figures
from pipeline.report.album import Album
from pipeline.report.picture import Picture
from pipeline.report.tuning_figures import DecodedCodes, FittedLaw, StimulusAxis, TunedCode
from schemas.coding import CodeAnalysis, CodeAnalysisConfig
from schemas.coding_sweep import CodingExponents
from schemas.model import TrainedModel, load_codes
from science.coding import CodingTask, Stimulus
from science.coding.analysis import StimulusSample
from science.coding.power_laws import DENSITY_CEILING, ERROR_CEILING, WIDTH_CEILING
from science.coding.tuning import kernel_density, silverman_bandwidth

Floats = NDArray[np.float64]
Key = dict[str, Any]

CURVES = ("posterior_error", "sampling_error", "cramer_rao_bound", "generated_density")
LAWS = {
    "density": "density of preferred stimuli",
    "width": "width of tuning",
    "error": "squared error",
}
"""Relations that are drawn, and how they are called."""
N_POINTS = 600
"""Of a tuning curve."""
N_DRAWN = 250
"""Of the points that a power law is fitted to."""
SHOWN = (0.002, 0.99)
"""Quantiles of the stimuli between which linear axes lie."""


def code_pictures(
    label: str, key: Key, task: CodingTask, codes: pd.DataFrame, album: Album
) -> list[Picture]:
    """Draw the codes of a low, a middle and a high target rate.

    Parameters
    ----------
    label : str
        Of the sweep.
    key : dict
        Of the sweep.
    task : CodingTask
        What the codes encode.
    codes : DataFrame
        A row per code, ordered by target rate and seed.
    album : Album
        Takes the pictures.
    """
    targets = codes.sweep_target_rate.unique()
    targets = targets[np.unique([0, len(targets) // 2, len(targets) - 1])]
    chosen = {f"{target:g} nats": codes[codes.sweep_target_rate == target] for target in targets}
    sample = StimulusSample.of(task.stimulus, CodeAnalysisConfig.params(key))
    pictures = [
        _tuning(label, chosen, task.stimulus, sample, album),
        _decoding(label, chosen, task.stimulus, sample, album),
        _power_laws(label, key, chosen, task.stimulus, sample, album),
        _couplings(label, chosen, album),
    ]
    return [picture for picture in pictures if picture]


def stimulus_axis(stimulus: Stimulus, x: Floats, limits: tuple[float, float]) -> StimulusAxis:
    """Return an axis of the stimulus, logarithmic where it is one of frequency."""
    acoustic = stimulus.type == "frequency"
    name, unit = ("frequency", "kHz") if acoustic else ("stimulus", "")
    return StimulusAxis(name, unit, x, stimulus.density(x), limits, acoustic)


def _limits(stimulus: Stimulus, sample: StimulusSample) -> tuple[float, float]:
    if stimulus.type == "frequency":
        return float(sample.x[0]), float(sample.x[-1])
    low, high = np.quantile(sample.x, SHOWN)
    return float(low), float(high)


def _keys(codes: pd.DataFrame) -> list[Key]:
    return codes[CodeAnalysis.Code.primary_key].to_dict("records")


def _tuning(
    label: str,
    chosen: dict[str, pd.DataFrame],
    stimulus: Stimulus,
    sample: StimulusSample,
    album: Album,
) -> Picture:
    """Draw tuning curves of the seed with the most codes."""
    seed = int(pd.concat(chosen.values()).seed.mode()[0])
    limits = _limits(stimulus, sample)
    spaced = np.geomspace if stimulus.type == "frequency" else np.linspace
    axis = stimulus_axis(stimulus, spaced(*limits, N_POINTS), limits)
    tuned = [_tuned_code(title, codes, seed, axis.x) for title, codes in chosen.items()]
    caption = (
        f"{label}: probability of a spike of every neuron of seed {seed} over the stimulus, whose "
        "prior is grey, and below the stimuli that the neurons of all seeds prefer."
    )
    figure = tuning_figures.tuning(axis, tuned)
    return album.add("code-tuning", figure, "Tuning curves of efficient codes", caption)


def _tuned_code(title: str, codes: pd.DataFrame, seed: int, x: Floats) -> TunedCode:
    own = codes[codes.seed == seed]
    own = (own if len(own) else codes).iloc[0]
    network = {name: own[name] for name in TrainedModel.primary_key}
    models, _ = load_codes((TrainedModel & network).fetch1("weights_sha256"))
    probability = models.member(int(own.code_index)).tuning().spike_probability(x)[0]
    neurons = CodeAnalysis.Neuron.proj("neuron_index", "preferred_stimulus") & _keys(codes)
    rows = pd.DataFrame(neurons.to_dicts(order_by=["seed", "neuron_rank"]))
    preferred = {s: of.preferred_stimulus.to_numpy() for s, of in rows.groupby("seed")}
    order = rows[rows.seed == own.seed].neuron_index.to_numpy()
    first = {int(own.seed): preferred.pop(own.seed)}
    return TunedCode(title, probability[:, order], first | preferred)


def _decoding(
    label: str,
    chosen: dict[str, pd.DataFrame],
    stimulus: Stimulus,
    sample: StimulusSample,
    album: Album,
) -> Picture:
    decoded = []
    for title, codes in chosen.items():
        columns = (CodeAnalysis.Code & _keys(codes)).to_arrays(*CURVES, order_by="KEY")
        decoded.append(DecodedCodes(title, *(np.stack(list(column)) for column in columns)))
    caption = (
        f"{label}: above, the law that word prior and decoder generate, a line per seed, over that "
        "of the stimulus (grey); below, the squared error over the stimulus, exactly over all "
        "words, of the decoded mean and of a draw from the decoded law: median over seeds, thin "
        "lines are single seeds. The bound is that of estimates with the same bias."
    )
    axis = stimulus_axis(stimulus, sample.grid, _limits(stimulus, sample))
    figure = tuning_figures.decoding(axis, stimulus.variance(), decoded)
    return album.add("code-decoding", figure, "What is decoded from efficient codes", caption)


def _power_laws(
    label: str,
    key: Key,
    chosen: dict[str, pd.DataFrame],
    stimulus: Stimulus,
    sample: StimulusSample,
    album: Album,
) -> Picture | None:
    if not CodingExponents & key:
        return None
    columns = {}
    for title, codes in chosen.items():
        target = {"target_index": int(codes.target_index.iloc[0])}
        rows = (CodingExponents.PowerLaw & key & target).to_dicts(order_by="coding_relation")
        fits = {row["coding_relation"]: row for row in rows}
        points = _points(codes, stimulus, sample)
        columns[title] = {
            name: _fitted(*points[relation], fits.get(relation), rises=relation == "density")
            for relation, name in LAWS.items()
        }
    caption = (
        f"{label}, all seeds: density of the preferred stimuli (smoothed), width of tuning at the "
        "preferred stimulus, and moving average of the squared error, over how likely the stimulus "
        "is, with the power laws fitted to the filled dots; in brackets 95 % intervals over seeds, "
        f"if there are enough. Errors above {ERROR_CEILING:g} of the variance of the stimulus are "
        f"left out ({WIDTH_CEILING:g} for widths, {DENSITY_CEILING:g} for densities)."
    )
    figure = tuning_figures.power_laws(columns)
    return album.add("code-power-laws", figure, "Efficient codes follow their prior", caption)


def _points(
    codes: pd.DataFrame, stimulus: Stimulus, sample: StimulusSample
) -> dict[str, tuple[Floats, Floats, NDArray[np.bool_]]]:
    """Return prior, value and whether the fit is made of it, by relation."""
    variance, keys = stimulus.variance(), _keys(codes)
    errors = (CodeAnalysis.Code & keys).to_arrays("smoothed_error", order_by="KEY")
    error = np.stack(list(errors))
    prior, width, at_neuron, preferred = (
        np.asarray(column, np.float64)
        for column in (CodeAnalysis.Neuron & keys).to_arrays(
            "preferred_density",
            "stimulus_width",
            "preferred_error",
            "preferred_stimulus",
            order_by="KEY",
        )
    )
    thin = np.linspace(0, len(sample.smoothed) - 1, N_DRAWN).round().astype(int)
    x, density = sample.smoothed[thin], stimulus.density(sample.smoothed[thin])
    kernels = kernel_density(preferred, x, silverman_bandwidth(preferred))
    occurs, shown = prior > 0, error[:, thin]
    return {
        "density": (density, kernels, shown.mean(0) < DENSITY_CEILING * variance),
        "width": (prior[occurs], width[occurs], at_neuron[occurs] < WIDTH_CEILING * variance),
        "error": (
            np.tile(density, len(shown)),
            shown.ravel(),
            shown.ravel() < ERROR_CEILING * variance,
        ),
    }


def _fitted(
    prior: Floats, value: Floats, kept: NDArray[np.bool_], fit: Key | None, rises: bool
) -> FittedLaw:
    """Return a power of the prior; what falls with it has the negative exponent."""
    if fit is None:
        return FittedLaw(prior, value, kept)
    ends = [np.nan if fit[n] is None else fit[n] for n in ("exponent_low", "exponent_high")]
    sign = 1 if rises else -1
    interval = tuple(sorted(sign * end for end in ends))
    return FittedLaw(prior, value, kept, sign * fit["exponent"], fit["prefactor"], interval)


def _couplings(label: str, chosen: dict[str, pd.DataFrame], album: Album) -> Picture | None:
    """Draw the couplings of one seed; None of priors that have none."""
    shown = {}
    for title, codes in chosen.items():
        (couplings,) = (CodeAnalysis.Code & _keys(codes)[:1]).to_arrays("couplings")
        if couplings is None:
            return None
        shown[title] = np.asarray(couplings)
    seeds = ", ".join(dict.fromkeys(str(codes.seed.iloc[0]) for codes in chosen.values()))
    caption = (
        f"{label}, seed {seeds}: couplings of the word prior. Negative ones keep neurons from "
        "firing together; log q(r) counts every pair twice."
    )
    figure = tuning_figures.couplings(shown)
    return album.add("code-couplings", figure, "Couplings of the word prior", caption)
