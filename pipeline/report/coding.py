"""Efficient codes: sweeps of target rates, and everything that the report says of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.report import coding_figures
from pipeline.report.album import Album
from pipeline.report.code_pictures import code_pictures
from pipeline.report.coding_figures import CodeCurve
from pipeline.report.coding_page import CodedStimulusView, CodingView, SweepView
from pipeline.report.limens import limen_views
from pipeline.report.path_integrators import N_COMPARED, distinct, left_out
from pipeline.report.picture import Picture
from schemas.coding import CODE_COLUMNS, CodeAnalysis
from schemas.coding_sweep import CodingExponents, CodingSweep, RateDistortion
from schemas.dataset import TaskConfig, TrainingSet
from schemas.model import TrainedModel
from schemas.model_config import ModelConfig, SeedSet
from science.coding import CodingConfig, CodingTask, Stimulus

Key = dict[str, Any]

WORD_PRIORS = {"ising": "Ising", "bernoulli": "Bernoulli", "vamp": "VampPrior"}
ENCODERS = {"linear": "stimulus", "log": "logarithm", "mixed": "mixture of both"}
MEANS = ("mutual_information", "word_prior_entropy", "posterior_mse", "sampling_mse", "mean_width")


def coding(album: Album) -> CodingView | None:
    """Describe all efficient codes; None without any."""
    sweeps = [key for key in CodingSweep.proj().keys(order_by="KEY") if _trained(key)]
    if not sweeps:
        return None
    by_task: dict[str, list[Key]] = {}
    for key in sweeps:
        by_task.setdefault(key["training_set_hash"], []).append(key)
    return CodingView([_stimulus(keys, album) for keys in by_task.values()])


def _stimulus(keys: list[Key], album: Album) -> CodedStimulusView:
    """Describe the sweeps of one task, those nearest to the ideal line first."""
    task: CodingTask = TaskConfig.params(TrainingSet & keys[0])
    named = dict(zip(_names(keys), keys, strict=True))
    codes = {name: of for name, key in named.items() if not (of := swept_codes(key)).empty}
    codes = dict(sorted(codes.items(), key=lambda item: item[1].excess.mean()))
    named = {name: named[name] for name in [*codes, *named]}
    shown = dict(list(codes.items())[:N_COMPARED])
    more = left_out(len(codes) - len(shown))
    return CodedStimulusView(
        stimulus=stimulus_words(task.stimulus),
        entropy=task.stimulus.entropy(),
        variance=task.stimulus.variance(),
        n_train=task.n_train,
        sweeps=[_sweep(n, key, task, codes.get(n), album) for n, key in named.items()],
        rate_distortion=_rate_distortion(shown, more, task.stimulus.entropy(), album),
        summaries=_summaries(shown, more, album),
        limens=[view for name, key in named.items() for view in limen_views(name, key, album)],
    )


def _names(keys: list[Key]) -> list[str]:
    """Return a short distinct name of the codes of every sweep of a task."""
    names = []
    for key in keys:
        config = _config(key)
        parts = [f"{WORD_PRIORS[config.word_prior]} prior", f"{config.n_neurons} neurons"]
        parts += [f"{config.encoder} encoder"] * (config.encoder != "linear")
        parts += ["log-normal decoder"] * (config.law == "lognormal")
        names.append(", ".join(parts))
    return distinct(names, keys, ["model_hash", "code_analysis_hash", "sweep_hash"])


def _config(key: Key) -> CodingConfig:
    return CodingConfig.model_validate((ModelConfig & key).fetch1("model_params"))


def stimulus_words(stimulus: Stimulus) -> str:
    """Describe the prior of a stimulus."""
    if stimulus.type == "gaussian":
        return f"normal stimulus, standard deviation {stimulus.sd:g}"
    if stimulus.type == "lognormal":
        return f"log-normal stimulus, logarithm {stimulus.mu:g} \u00b1 {stimulus.sigma:g}"
    if stimulus.type == "mixture":
        return f"stimulus from a mixture of {len(stimulus.weights)} normal laws"
    low, high = (10**end for end in (stimulus.log10_min, stimulus.log10_max))
    what, unit = {"frequency": ("acoustic frequency", " kHz"), "speed": ("retinal speed", "")}[
        stimulus.type
    ]
    return f"{what}, {low:.2g} to {high:.2g}{unit}"


def networks(key: Key) -> Any:
    """Return the trained networks of a sweep, a query."""
    return TrainedModel & (CodingSweep.Member * SeedSet.Member & key).proj()


def _trained(key: Key) -> Any:
    return TrainedModel.Code & networks(key).proj()


def swept_codes(key: Key) -> pd.DataFrame:
    """Return a row per analysed code of a sweep that is complete, without curves."""
    codes = CodeAnalysis.Code.proj(*CODE_COLUMNS) * RateDistortion.Point * CodingSweep.Target
    return pd.DataFrame((codes & key).to_dicts(order_by=["sweep_target_rate", "seed"]))


def _sweep(
    label: str, key: Key, task: CodingTask, codes: pd.DataFrame | None, album: Album
) -> SweepView:
    config, trained = _config(key), _trained(key)
    n_targets, n_codes = (CodingSweep & key).fetch1("n_sweep_targets", "n_sweep_codes")
    seeds = sorted(set(trained.to_arrays("seed").tolist()))
    return SweepView(
        label=label,
        n_neurons=config.n_neurons,
        word_prior=WORD_PRIORS[config.word_prior],
        encoder=ENCODERS[config.encoder],
        decoder="log-normal" if config.law == "lognormal" else "normal",
        seeds=seeds,
        n_targets=n_targets,
        n_codes=n_codes,
        n_trained=len(trained),
        n_nonfinite=len(trained & "code_status = 'nonfinite'"),
        n_epochs=int(max(networks(key).to_arrays("n_epochs"))),
        targets=[] if codes is None else _targets(key, codes),
        laws=_laws(key),
        training=_training(label, key, seeds[0], album),
        pictures=[] if codes is None else code_pictures(label, key, task, codes, album),
    )


def _targets(key: Key, codes: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what the table says of every target rate."""
    means = codes.astype(dict.fromkeys(MEANS, float)).groupby("target_index")[list(MEANS)].mean()
    rows = (RateDistortion.Target * CodingSweep.Target & key).to_dicts(order_by="target_index")
    return [
        {
            "target_rate": row["sweep_target_rate"],
            "n": row["n_target_codes"],
            "rate": known(row["rate_mean"]),
            "distortion": known(row["distortion_mean"]),
            "excess": known(row["excess_mean"]),
            "excess_sd": known(row["excess_sd"]),
        }
        | means.reindex([row["target_index"]]).iloc[0].to_dict()
        for row in rows
    ]


def known(value: float | None) -> float:
    """Return a number of the database, NaN for NULL."""
    return float("nan") if value is None else float(value)


def _laws(key: Key) -> list[dict[str, Any]]:
    """Return the power laws of every target rate that has any."""
    rows = (CodingExponents.PowerLaw * CodingSweep.Target & key).to_dicts(order_by="KEY")
    laws: dict[float, dict[str, Any]] = {}
    for row in rows:
        target = row["sweep_target_rate"]
        laws.setdefault(target, {"target_rate": target})[row["coding_relation"]] = {
            "exponent": row["exponent"],
            "low": known(row["exponent_low"]),
            "high": known(row["exponent_high"]),
            "correlation": known(row["log_correlation"]),
        }
    return [laws[target] for target in sorted(laws)]


def _training(label: str, key: Key, seed: int, album: Album) -> Picture | None:
    """Draw how the codes of a seed were trained."""
    rows = (_trained(key) & {"seed": seed}).to_dicts(order_by="target_rate")
    curves = [CodeCurve(row["target_rate"], np.asarray(row["code_curves"])) for row in rows]
    if not curves[0].values.size:
        return None
    caption = (
        f"{label}, seed {seed}: rate and distortion over the epochs, means over the batches, and "
        "the multiplier of the rate, which grows while the rate is above its target (dashed) and "
        "falls, to 0 at least, while it is below; near an optimum it is about 1."
    )
    figure = coding_figures.training_curves(curves)
    return album.add("code-training", figure, "Training of efficient codes", caption)


def _rate_distortion(
    codes: Mapping[str, pd.DataFrame], more: str, entropy: float, album: Album
) -> Picture | None:
    if not codes:
        return None
    caption = (
        "Every dot is a code; lines: mean and standard deviation over the seeds of a target rate. "
        "Dots with an edge: no other code of the sweep has less distortion at no more rate. "
        f"Dashed: the least that any code can have, D = H \u2212 R, with H = {entropy:.3f} nats, "
        "the entropy of the stimulus; to the right what codes have more than that, at the stimuli "
        "drawn." + more
    )
    figure = coding_figures.rate_distortion(codes, entropy)
    return album.add("rate-distortion", figure, "Rate and distortion of efficient codes", caption)


def _summaries(codes: Mapping[str, pd.DataFrame], more: str, album: Album) -> Picture | None:
    if not codes:
        return None
    caption = (
        "Over the rate, means and standard deviations over seeds: mutual information of words and "
        "stimulus, at most the rate; entropy of the word prior; squared error of the decoded mean; "
        "KL divergence of the law that word prior and decoder generate from that of the stimulus."
        + more
    )
    figure = coding_figures.summaries(codes)
    return album.add("code-summaries", figure, "What efficient codes are, over the rate", caption)
