"""Published networks, run by equations of the specification, give its tables (naumann22 8).

The contexts are those of the tables: drawn with the same seeds, after one batch for training, of
32 contexts in 8.1 and of 1 in 8.2. Only the noise of the inputs, of sd 0.001, is another.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from feedback_reference import FREEZING, TABLE, draw_contexts, simulate, source_signals
from threadpoolctl import threadpool_limits

from science.feedback.clarity import signal_clarity
from science.feedback.context_decoding import (
    ContextDecodingParams,
    decode_context,
    mean_activity,
)
from science.feedback.context_space import context_distance, context_grid, same_side
from science.feedback.decoding import decode_sources
from science.feedback.freezing import FreezeTraces, freeze_experiment
from science.feedback.subspaces import image_plane_normal, plane_angle, principal_components
from science.feedback.unmixing import deviation, effective_weights, inverse_distance

pytestmark = pytest.mark.shared
FROZEN = range(1000, 1500)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads cost more than they bring to many small products, above all on a busy machine."""
    with threadpool_limits(limits=1):
        yield


@pytest.fixture(scope="module", params=["sines", "chords"])
def run(request, shared, one_thread):
    """Twenty contexts of a published network, and 60 pairs of contexts with frozen feedback."""
    kind = request.param
    weights = np.load(shared / "golden" / "naumann" / f"weights_spatial_{kind}.npz")
    signals = source_signals(kind)
    sources = signals[np.arange(20000) % 16000][None]
    contexts = draw_contexts(0, 32, 20)
    traces = (sources, *simulate(weights, sources, contexts[None]))
    s, x, y, z, m = (trace.reshape(20, 1000, -1) for trace in traces)
    pairs = np.stack([draw_contexts(seed, 1, 2) for seed in range(100, 160)])
    frozen_sources = np.broadcast_to(signals[:2000], (60, 2000, 2))
    _, y2, z2, m2 = simulate(weights, frozen_sources, pairs, FROZEN)
    components = principal_components(z.reshape(20000, -1))
    freeze = FreezeTraces(frozen_sources, y2, z2)
    return SimpleNamespace(
        kind=kind,
        weights=weights,
        contexts=contexts,
        traces={"s": s, "x": x, "y": y, "z": z, "m": m},
        components=components,
        pairs=pairs,
        frozen_gains=m2[:, 1000],
        result=freeze_experiment(freeze, components),
        settled=freeze_experiment(freeze, components, skip=200),
    )


def test_clarity_and_decoding_of_published_networks(run):
    table, traces = TABLE[run.kind], run.traces
    for layer, (mean, sd) in table["clarity"].items():
        clarity = signal_clarity(traces["s"], traces[layer])
        values = clarity.per_unit if layer == "z" else clarity.per_context
        assert (values.mean(), values.std()) == (
            pytest.approx(mean, abs=0.001),
            pytest.approx(sd, abs=0.001),
        )
    for layer, expected in table["r2"].items():
        found = decode_sources(traces[layer], traces["s"])
        numbers = (found.mean, found.sd, found.median)
        np.testing.assert_allclose(numbers[: len(expected)], expected, atol=0.001)


def test_errors_and_dimension_of_published_networks(run):
    table, traces = TABLE[run.kind], run.traces
    errors = deviation(traces["s"], traces["y"])[1:]
    found = errors[:, :100].mean(), errors.mean(), errors[:, -500:].mean()
    np.testing.assert_allclose(found, table["deviation"], atol=0.001)
    effective = effective_weights(run.weights["Wro"], traces["m"][1:], run.weights["w0"])
    distance = inverse_distance(effective, run.contexts[1:, None])
    np.testing.assert_allclose(
        (distance.mean(), distance[:, -500:].mean()), table["inverse"], atol=0.001
    )
    components = run.components
    assert components.participation_ratio == pytest.approx(table["ratio"], abs=0.003)
    np.testing.assert_allclose(components.shares[:6], table["shares"], atol=0.0015)


def test_freezing_of_published_networks(run):
    table, result, settled = FREEZING[run.kind], run.result, run.settled
    for name, values in {
        "frozen": result.angle_frozen,
        "unfrozen": result.angle_unfrozen,
        "principal_frozen": settled.principal_frozen[:, 1],
        "principal_unfrozen": settled.principal_unfrozen[:, 1],
    }.items():
        mean, sd, least, largest = table[name]
        # noise moves the angle of a pair by a fraction of a degree
        assert values.mean() == pytest.approx(mean, abs=0.1), name
        assert values.std() == pytest.approx(sd, abs=0.1), name
        assert (values.min(), values.max()) == (
            pytest.approx(least, abs=0.5),
            pytest.approx(largest, abs=0.5),
        ), name
    expected = np.array(table["deviation"])
    np.testing.assert_allclose(settled.deviation.mean(0), expected[:, 0], atol=0.0015)
    np.testing.assert_allclose(settled.deviation.std(0), expected[:, 1], atol=0.0015)


def test_planes_turn_with_the_distance_of_contexts_once_feedback_is_released(run):
    first, second = run.pairs[:, 0], run.pairs[:, 1]
    distance, same = context_distance(first, second), same_side(first, second)
    assert distance[0] == pytest.approx(0.556, abs=0.0005) and same[0] and same.sum() == 29
    angles = np.stack([run.result.angle_unfrozen, run.result.angle_frozen])
    found = np.corrcoef(np.stack([*angles, distance]))[2, :2]
    np.testing.assert_allclose(found, FREEZING[run.kind]["r"], atol=0.015)
    sides = angles[0, same].mean(), angles[0, ~same].mean()
    np.testing.assert_allclose(sides, FREEZING[run.kind]["sides"], atol=0.1)


def test_plane_of_frozen_feedback_is_the_image_of_the_inputs(run):
    """Section 5: the fitted plane equals the analytic one to 1e-5 degrees."""
    directions = np.concatenate([run.weights["Wro"], run.components.whitening[:1]])
    analytic = image_plane_normal(
        effective_weights(directions, run.frozen_gains, run.weights["w0"])
    )
    assert plane_angle(run.result.normals[:, 1], analytic).max() < 1e-5


def test_modulation_is_linear_in_the_inverse_of_the_context(run):
    contexts = context_grid(10)
    sources = np.broadcast_to(source_signals(run.kind)[:1000], (len(contexts), 1000, 2))
    *_, gains = simulate(run.weights, sources, contexts[:, None])
    settled = mean_activity(gains)
    of_inverse = decode_context(settled, contexts, ContextDecodingParams(target="inverse")).score
    assert of_inverse > 0.99
    assert decode_context(settled, contexts).score < 0.7
