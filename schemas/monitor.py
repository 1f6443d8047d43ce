"""Monitors: what a pixel value looks like, and which calibration a recording goes by."""

from datetime import datetime
from typing import Any

import datajoint as dj

from schemas.recording import MonitorCalibration, Rig, Scan
from science.monitor import MonitorCurve, fit_gamma, is_flat

schema = dj.Schema()


@schema
class ProcessedMonitorCalibration(dj.Computed):
    definition = """
    # A calibration, described by a gamma curve
    -> MonitorCalibration
    ---
    calibration_status : enum('ok', 'flat')     # flat: the luminance hardly rises
    """

    class GammaFit(dj.Part):
        definition = """
        # luminance = amplitude (pixel_value / 255)^gamma + darkness
        -> master
        ---
        amplitude : float64             # cd/m2
        gamma : float64
        darkness : float64              # cd/m2
        gamma_mse : float64             # (cd/m2)^2
        """

    def make(self, key: dict[str, Any]) -> None:
        pixel_value, luminance = (MonitorCalibration & key).fetch1("pixel_value", "luminance")
        flat = is_flat(luminance)
        self.insert1(key | {"calibration_status": "flat" if flat else "ok"})
        if flat:
            return
        fit = fit_gamma(pixel_value, luminance)
        self.GammaFit.insert1(
            key
            | {
                "amplitude": fit.amplitude,
                "gamma": fit.gamma,
                "darkness": fit.offset,
                "gamma_mse": fit.mse,
            }
        )


@schema
class ClosestCalibration(dj.Computed):
    definition = """
    # The calibration of a recording's rig that was made nearest in time
    -> Scan
    ---
    -> ProcessedMonitorCalibration.GammaFit
    delta_time : float64                # h, from the recording to the calibration
    """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Recordings of a known time on rigs all of whose calibrations are processed."""
        waiting = Rig & (MonitorCalibration - ProcessedMonitorCalibration.proj())
        return ((Scan & "recorded_at IS NOT NULL" & calibrated_rigs()) - waiting).proj()

    def make(self, key: dict[str, Any]) -> None:
        rig, recorded_at = (Scan & key).fetch1("rig", "recorded_at")
        calibrations = (ProcessedMonitorCalibration.GammaFit & {"rig": rig}).keys(order_by="KEY")
        hours = [_hours(c["calibrated_at"] - recorded_at) for c in calibrations]
        nearest = min(range(len(hours)), key=lambda i: abs(hours[i]))
        self.insert1(key | calibrations[nearest] | {"delta_time": hours[nearest]})


def calibrated_rigs() -> dj.expression.QueryExpression:
    """Return the rigs with a calibration whose luminance is known to rise, or not known yet."""
    flat = ProcessedMonitorCalibration & "calibration_status = 'flat'"
    return Rig & (MonitorCalibration - flat.proj())


def monitor_curve(rig: str, calibrated_at: datetime) -> MonitorCurve:
    """Return the curve of a calibrated monitor."""
    row = {"rig": rig, "calibrated_at": calibrated_at}
    return MonitorCurve(*(MonitorCalibration & row).fetch1("pixel_value", "luminance"))


def _hours(difference: Any) -> float:
    return difference.total_seconds() / 3600
