"""Published networks, run by equations of the specification, give its tables (naumann22 8).

The contexts are those of the tables: drawn with the same seeds, after one batch for training, of
32 contexts in 8.1 and of 1 in 8.2. Only the noise of the inputs, of sd 0.001, is another.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import expit
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


def source_signals(kind):
    frequencies = {"sines": ([100], [180]), "chords": ([100, 125], [150, 210])}[kind]
    seconds = np.arange(16000)[:, None] / 8000
    waves = [np.sin(2 * np.pi * seconds * np.array(f)).sum(1) for f in frequencies]
    return np.stack([wave / np.abs(wave).max() for wave in waves], axis=-1)


def draw_contexts(seed, n_before, n):
    rng, found = np.random.RandomState(seed), []
    while len(found) < n_before + n:
        matrix = rng.rand(2, 2).astype(np.float32)
        matrix /= matrix.sum(1, keepdims=True)
        if abs(np.linalg.det(matrix)) > 0.2:
            found.append(matrix)
    return np.array(found[n_before:], np.float64)


def simulate(weights, sources, contexts, frozen=()):
    """SpatialNet of section 2 on (B, T, 2) sources; gains are those after the step."""
    n_runs, n_steps = sources.shape[:2]
    steps_per_context = n_steps // contexts.shape[1]
    w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    noise = np.random.default_rng(0).normal(0, 0.001, sources.shape)
    mixing = np.repeat(contexts, steps_per_context, axis=1)
    inputs = (mixing @ sources[..., None])[..., 0] + noise
    from_inputs, from_outputs = np.split(w["rec_net.weight_ih_l0"].T, 2)
    bias = w["rec_net.bias_ih_l0"] + w["rec_net.bias_hh_l0"]
    gains, hidden, cell = np.zeros((n_runs, 100)), np.zeros((n_runs, 100)), np.zeros((n_runs, 100))
    outputs = np.empty((n_runs, n_steps, 2))
    population, modulation = np.empty((2, n_runs, n_steps, 100))
    for t in range(n_steps):
        population[:, t] = z = gains * (inputs[:, t] @ w["w0"].T)
        outputs[:, t] = y = z @ w["Wro"].T
        gates = inputs[:, t] @ from_inputs + y @ from_outputs + bias
        gates += hidden @ w["rec_net.weight_hh_l0"].T
        i, f, g, o = gates.reshape(n_runs, 4, 100).swapaxes(0, 1)
        cell = expit(f) * cell + expit(i) * np.tanh(g)
        hidden = expit(o) * np.tanh(cell)
        feedback = hidden @ w["hidden2out.weight"].T + w["hidden2out.bias"]
        if t not in frozen:
            gains = gains + (feedback @ w["Wm"].T - gains) / w["tau"]
        modulation[:, t] = gains
    return inputs, outputs, population, modulation


# Of 8.1: mean and sd of clarity; R2; deviation; distance of the weights; dimensions.
TABLE = {
    "sines": {
        "clarity": {"x": (0.541, 0.153), "z": (0.492, 0.137), "y": (0.972, 0.024)},
        "r2": {"x": (0.070, 0.735, -0.046), "z": (0.977, 0.033), "y": (0.977, 0.036)},
        "deviation": (0.1977, 0.0463, 0.0295),
        "inverse": (0.2808, 0.1831),
        "ratio": 1.715,
        "shares": (0.745, 0.144, 0.084, 0.015, 0.010, 0.002),
    },
    "chords": {
        "clarity": {"x": (0.541, 0.155), "z": (0.458, 0.152), "y": (0.943, 0.034)},
        "r2": {"x": (0.066, 0.739, -0.059), "z": (0.949, 0.037), "y": (0.949, 0.040)},
        "deviation": (0.2818, 0.0660, 0.0391),
        "inverse": (0.4269, 0.2576),
        "ratio": 2.234,
        "shares": (0.589, 0.310, 0.054, 0.036, 0.009, 0.001),
    },
}

# Of 8.2: mean, sd, least and largest of 60 pairs.
FREEZING = {
    "sines": {
        "frozen": (2.639, 2.047, 0.006, 6.229),
        "unfrozen": (47.322, 29.071, 1.077, 86.084),
        "deviation": [(0.028, 0.005), (0.857, 0.571), (0.027, 0.004)],
        "principal_frozen": (3.709, 3.954, 0.252, 15.857),
        "principal_unfrozen": (38.362, 23.428, 0.772, 89.868),
        "r": (0.801, -0.04),
        "sides": (19.1, 73.8),
    },
    "chords": {
        "frozen": (4.582, 2.028, 0.670, 8.165),
        "unfrozen": (46.045, 25.850, 1.497, 86.914),
        "deviation": [(0.039, 0.009), (0.638, 0.425), (0.042, 0.013)],
        "principal_frozen": (4.748, 5.561, 1.012, 29.191),
        "principal_unfrozen": (54.255, 29.995, 4.220, 89.986),
        "r": (0.808, 0.11),
        "sides": (24.7, 66.0),
    },
}


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
