"""The rows of what is found of feedback-modulated networks, less their keys."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.rows import column_rows
from science.feedback import (
    ContextDecoding,
    ContextTest,
    ControlTest,
    Decoder,
    FeedbackConfig,
    FreezeTest,
    means,
)

Row = dict[str, Any]

EXAMPLE_STEPS = 100, 200
"""Before and after the last change of context, of which traces are kept."""

N_SHARES = 6
"""Components whose share of the variance is kept."""


def context_test_row(config: FeedbackConfig, found: ContextTest) -> Row:
    """Return what is found of a network."""
    loss, deviation = found.traces.loss[0], means(found.deviation)
    row = {
        "network_type": config.type,
        "network_tau": getattr(config, "tau", None),
        "kernel_width": getattr(config, "width", None),
        "test_noise": found.task.noise,
        "test_steps": found.task.n_steps,
        "test_loss": float(loss.mean()),
        "later_test_loss": float(loss[1:].mean()),
    }
    row |= {f"deviation_{name}": value for name, value in deviation._asdict().items()}
    if found.inverse_distance is not None:
        distance = means(found.inverse_distance)
        row |= {"inverse_distance_all": distance.all, "inverse_distance_end": distance.end}
    return row | _example(found)


def _example(found: ContextTest) -> Row:
    """Cut out traces around the last change of context."""
    n_steps, traces = found.task.n_steps, found.traces
    before, after = (min(n, n_steps) for n in EXAMPLE_STEPS)
    shown = {
        "sources": traces.targets,
        "inputs": traces.inputs[0],
        "outputs": traces.outputs[0],
        "feedback": traces.feedback[0],
    }
    return {"example_switch": before} | {
        f"example_{name}": np.concatenate([values[-2, -before:], values[-1, :after]])
        for name, values in shown.items()
    }


def context_rows(found: ContextTest) -> list[Row]:
    """Return what is found in every context."""
    rows = column_rows(
        {},
        {
            "context_loss": found.traces.loss[0],
            "context_deviation": found.deviation.mean(-1),
            "input_clarity": found.populations["inputs"].clarity.per_context,
            "output_clarity": found.populations["outputs"].clarity.per_context,
        },
    )
    mixing = found.traces.mixing[0]
    return [{"context_index": c, "mixing": mixing[c]} | row for c, row in enumerate(rows)]


def population_rows(found: ContextTest) -> list[Row]:
    """Return what is found of every population."""
    return [
        {
            "population": name,
            "n_population_units": tested.clarity.values.shape[-1],
            "clarity_mean": _mean(tested.clarity.values),
            "clarity_context_sd": _sd(tested.clarity.per_context),
            "clarity_unit_sd": _sd(tested.clarity.per_unit),
            "decoding_mean": float(tested.decoding.mean),
            "decoding_sd": float(tested.decoding.sd),
            "decoding_median": float(tested.decoding.median),
            "participation_ratio": float(tested.components.participation_ratio),
            "variance_shares": tested.components.shares[:N_SHARES],
        }
        for name, tested in found.populations.items()
    ]


def clarity_rows(found: ContextTest) -> list[Row]:
    """Return the clarity of every unit."""
    return [
        {"population": name, "population_unit": index, "unit_clarity": clarity}
        for name, tested in found.populations.items()
        for index, clarity in enumerate(tested.clarity.per_unit.tolist())
    ]


def freeze_row(found: FreezeTest) -> Row:
    """Return what is found of a network, over all pairs."""
    whole, row = found.whole, {}
    for name, angle in (("frozen", whole.angle_frozen), ("unfrozen", whole.angle_unfrozen)):
        row |= {
            f"mean_angle_{name}": _mean(angle),
            f"sd_angle_{name}": _sd(angle),
            f"distance_r_{name}": _correlation(angle, found.distance),
        }
    return row


def pair_rows(found: FreezeTest) -> list[Row]:
    """Return what is found in every pair."""
    whole, late = found.whole, found.late
    columns = {
        "context_distance": found.distance,
        "on_same_side": found.same_side,
        "angle_frozen": whole.angle_frozen,
        "angle_unfrozen": whole.angle_unfrozen,
        "late_angle_frozen": late.angle_frozen,
        "late_angle_unfrozen": late.angle_unfrozen,
        "principal_frozen": late.principal_frozen[:, -1],
        "principal_unfrozen": late.principal_unfrozen[:, -1],
        "deviation_original": late.deviation[:, 0],
        "deviation_frozen": late.deviation[:, 1],
        "deviation_unfrozen": late.deviation[:, 2],
    }
    if found.analytic_angle_frozen is not None:
        columns["analytic_angle_frozen"] = found.analytic_angle_frozen
    rows = column_rows({}, columns)
    return [
        {"freeze_pair": pair, "pair_mixing": mixing} | row
        for pair, (mixing, row) in enumerate(zip(found.pairs, rows, strict=True))
    ]


def decoding_rows(found: dict[Decoder, ContextDecoding]) -> list[Row]:
    """Return the score of every decoder."""
    return [
        {
            "decoded_layer": decoder.layer,
            "decoded_target": decoder.target,
            "decoder_features": decoder.features,
            "context_r2": float(decoding.score),
        }
        for decoder, decoding in found.items()
    ]


def control_row(found: ControlTest) -> Row:
    """Return what is found of the controls."""
    own, other, trained = found.own_r2, found.other_r2, found.feedforward_r2
    return {
        "linear_own_mean": float(own.mean()),
        "linear_other_mean": float(other.mean()),
        "linear_other_median": float(np.median(other)),
        "feedforward_mean": float(trained.mean()),
        "feedforward_sd": float(trained.std()),
        "feedforward_median": float(np.median(trained)),
        "feedforward_losses": found.feedforward.losses,
    }


def _known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[np.isfinite(values)]


def _mean(values: NDArray[np.float64]) -> float | None:
    known = _known(values)
    return float(known.mean()) if known.size else None


def _sd(values: NDArray[np.float64]) -> float | None:
    known = _known(values)
    return float(known.std()) if known.size else None


def _correlation(values: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    known = np.isfinite(values)
    values, other = values[known], other[known]
    if len(values) < 2 or not np.ptp(values) or not np.ptp(other):
        return None
    return float(np.corrcoef(values, other)[0, 1])
