"""Frequency difference limens of listeners, and of codes of acoustic frequency beside them."""

from collections.abc import Sequence
from typing import Any

import datajoint as dj
import numpy as np

from schemas.coding import CodeAnalysis
from schemas.coding_sweep import CodingSweep, RateDistortion
from schemas.dataset import TaskConfig, TrainingSet
from schemas.rows import nullable
from science.coding import FrequencyStimulus, Stimulus
from science.coding.limens import LimenAgreement, limen_agreement, predicted_limens

schema = dj.Schema()

HZ_PER_KHZ = 1000.0


@schema
class LimenStudy(dj.Manual):
    definition = """
    # Frequency difference limens that were measured
    limen_study : varchar(32)           # name
    ---
    limen_file : varchar(255)
    limen_sha256 : char(64)             # of the file
    n_listeners : int16
    """

    class Limen(dj.Part):
        """One limen of one listener."""

        definition = """
        -> master
        limen_index : int32             # line of the file, from 0
        ---
        listener : int32
        frequency_hz : float64
        limen_hz : float64              # smallest difference that is heard
        """

    @classmethod
    def check_heard(cls, name: str, stimulus: Stimulus) -> None:
        """Refuse limens that codes of a stimulus cannot be compared with.

        Raises
        ------
        ValueError
            If there is no such study, the stimulus is not acoustic frequency, or codes never hear
            a frequency of the study.
        """
        if not cls & {"limen_study": name}:
            raise ValueError(
                f"there are no limens '{name}': ingest them first, by `inceptionloop ingest limens`"
            )
        if not isinstance(stimulus, FrequencyStimulus):
            raise ValueError(
                f"limens of frequency need codes of frequency: the stimulus is '{stimulus.type}'"
            )
        heard = (cls.Limen & {"limen_study": name}).to_arrays("frequency_hz")
        low, high = (HZ_PER_KHZ * 10**end for end in (stimulus.log10_min, stimulus.log10_max))
        if heard.min() < low or heard.max() > high:
            raise ValueError(
                f"the limens '{name}' are of {heard.min():g} to {heard.max():g} Hz, but the "
                f"stimuli of {low:.5g} to {high:.5g} Hz: widen log10_min and log10_max, in kHz"
            )


@schema
class LimenComparisonPlan(dj.Manual):
    definition = """
    # Comparisons of codes with listeners that someone asked for
    -> CodingSweep
    -> LimenStudy
    """

    @classmethod
    def register(cls, sweep: dict[str, str], study: str) -> dict[str, str]:
        """Ask for a comparison, and return its key; errors as of `LimenStudy.check_heard`."""
        LimenStudy.check_heard(study, TaskConfig.params(TrainingSet & sweep).stimulus)
        key = sweep | {"limen_study": study}
        cls.insert1(key, skip_duplicates=True)
        return key


@schema
class LimenComparison(dj.Computed):
    definition = """
    # Limens of listeners against predictions with one free scale each, in log-log; 1/density first
    -> LimenComparisonPlan
    -> RateDistortion
    ---
    n_limens : int32
    classical_slope : float64           # of the limens on 1/density of the prior
    classical_slope_low = null : float64    # 95 percent, over frequencies
    classical_slope_high = null : float64
    classical_correlation = null : float64
    classical_correlation_low = null : float64
    classical_correlation_high = null : float64
    classical_log_error : float64       # rms of log(limen / scaled prediction)
    classical_scale : float64           # Hz per kHz: of 1/density
    """

    class Target(dj.Part):
        definition = """
        # The prediction is the root of the squared error, mean over the codes of a target rate
        -> master
        -> RateDistortion.Target
        error_kind : enum('posterior', 'sampling')
        ---
        limen_slope : float64
        limen_slope_low = null : float64
        limen_slope_high = null : float64
        limen_correlation = null : float64
        limen_correlation_low = null : float64
        limen_correlation_high = null : float64
        limen_log_error : float64
        limen_scale : float64           # Hz per Hz
        """

    def make(self, key: dict[str, Any]) -> None:
        limens = LimenStudy.Limen & key
        heard, measured = limens.to_arrays("frequency_hz", "limen_hz", order_by="limen_index")
        frequency = heard / HZ_PER_KHZ
        stimulus = TaskConfig.params(TrainingSet & key).stimulus
        classical = limen_agreement(frequency, measured, 1 / stimulus.density(frequency))
        rows = [
            key
            | {"target_index": target, "error_kind": kind}
            | _agreement("limen", limen_agreement(frequency, measured, HZ_PER_KHZ * prediction))
            for target, codes in _codes_by_target(key).items()
            for kind, prediction in _predictions(frequency, codes).items()
        ]
        own = {"n_limens": len(measured)} | _agreement("classical", classical)
        self.insert1(nullable(key | own))
        self.Target.insert(map(nullable, rows))


def _codes_by_target(key: dict[str, Any]) -> dict[int, list[dict[str, Any]]]:
    """Return the error curves of codes by target rate."""
    points = RateDistortion.Point.proj("target_index") & key
    columns = ("stimulus_grid", "posterior_error", "sampling_error", "target_index")
    rows = CodeAnalysis.proj("stimulus_grid") * CodeAnalysis.Code * points
    by_target: dict[int, list[dict[str, Any]]] = {}
    for row in rows.proj(*columns).to_dicts(order_by="KEY"):
        by_target.setdefault(row["target_index"], []).append(row)
    return by_target


def _predictions(frequency: np.ndarray, codes: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Return limens in kHz up to a scale, by the kind of the error they come from."""
    grid = codes[0]["stimulus_grid"]  # the same of all
    return {
        kind: predicted_limens(
            frequency, grid, np.mean([code[f"{kind}_error"] for code in codes], axis=0)
        )
        for kind in ("posterior", "sampling")
    }


def _agreement(prefix: str, found: LimenAgreement) -> dict[str, float]:
    return {
        f"{prefix}_slope": found.slope,
        f"{prefix}_slope_low": found.slope_interval[0],
        f"{prefix}_slope_high": found.slope_interval[1],
        f"{prefix}_correlation": found.correlation,
        f"{prefix}_correlation_low": found.correlation_interval[0],
        f"{prefix}_correlation_high": found.correlation_interval[1],
        f"{prefix}_log_error": found.log_error,
        f"{prefix}_scale": found.scale,
    }
