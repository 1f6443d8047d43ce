"""Feedback-modulated networks step by step in numpy, from the equations (naumann22 1 and 2)."""

import numpy as np
from scipy.special import expit


def source_signals(kind, n_samples=16000):
    frequencies = {"sines": ([100], [180]), "chords": ([100, 125], [150, 210])}[kind]
    seconds = np.arange(16000)[:, None] / 8000
    waves = [np.sin(2 * np.pi * seconds * np.array(f)).sum(1) for f in frequencies]
    signals = np.stack([wave / np.abs(wave).max() for wave in waves], axis=-1)
    return signals[np.arange(n_samples) % 16000]


def draw_contexts(seed, n_before, n):
    rng, found = np.random.RandomState(seed), []
    while len(found) < n_before + n:
        matrix = rng.rand(2, 2).astype(np.float32)
        matrix /= matrix.sum(1, keepdims=True)
        if abs(np.linalg.det(matrix)) > 0.2:
            found.append(matrix)
    return np.array(found[n_before:], np.float64)


def simulate(weights, sources, contexts, frozen=(), noise=0.001):
    """SpatialNet of section 2 on (B, T, 2) sources; gains are those after the step."""
    n_runs, n_steps = sources.shape[:2]
    steps_per_context = n_steps // contexts.shape[1]
    w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    n_units, n_hidden = len(w["w0"]), w["rec_net.weight_hh_l0"].shape[1]
    noise = np.random.default_rng(0).normal(0, noise, sources.shape)
    mixing = np.repeat(contexts, steps_per_context, axis=1)
    inputs = (mixing @ sources[..., None])[..., 0] + noise
    from_inputs, from_outputs = np.split(w["rec_net.weight_ih_l0"].T, 2)
    bias = w["rec_net.bias_ih_l0"] + w["rec_net.bias_hh_l0"]
    gains = np.zeros((n_runs, n_units))
    hidden, cell = np.zeros((2, n_runs, n_hidden))
    outputs = np.empty((n_runs, n_steps, 2))
    population, modulation = np.empty((2, n_runs, n_steps, n_units))
    for t in range(n_steps):
        population[:, t] = z = gains * (inputs[:, t] @ w["w0"].T)
        outputs[:, t] = y = z @ w["Wro"].T
        gates = inputs[:, t] @ from_inputs + y @ from_outputs + bias
        gates += hidden @ w["rec_net.weight_hh_l0"].T
        i, f, g, o = gates.reshape(n_runs, 4, n_hidden).swapaxes(0, 1)
        cell = expit(f) * cell + expit(i) * np.tanh(g)
        hidden = expit(o) * np.tanh(cell)
        feedback = hidden @ w["hidden2out.weight"].T + w["hidden2out.bias"]
        if t not in frozen:
            gains = gains + (feedback @ w["Wm"].T - gains) / w["tau"]
        modulation[:, t] = gains
    return inputs, outputs, population, modulation


# Of naumann22 8.1: mean and sd of clarity; R2; deviation; distance of the weights; dimensions.
TABLE = {
    "sines": {
        "loss": (3.951, 3.784),
        "clarity": {"x": (0.541, 0.153), "z": (0.492, 0.137), "y": (0.972, 0.024)},
        "r2": {"x": (0.070, 0.735, -0.046), "z": (0.977, 0.033), "y": (0.977, 0.036)},
        "deviation": (0.1977, 0.0463, 0.0295),
        "inverse": (0.2808, 0.1831),
        "ratio": 1.715,
        "shares": (0.745, 0.144, 0.084, 0.015, 0.010, 0.002),
    },
    "chords": {
        "loss": (5.395, 5.323),
        "clarity": {"x": (0.541, 0.155), "z": (0.458, 0.152), "y": (0.943, 0.034)},
        "r2": {"x": (0.066, 0.739, -0.059), "z": (0.949, 0.037), "y": (0.949, 0.040)},
        "deviation": (0.2818, 0.0660, 0.0391),
        "inverse": (0.4269, 0.2576),
        "ratio": 2.234,
        "shares": (0.589, 0.310, 0.054, 0.036, 0.009, 0.001),
    },
}

TABLE["modulation"] = {
    "loss": (2.489, 2.564),
    "clarity": {"x": (0.541, 0.155), "y": (0.961, 0.023)},
    "r2": {"x": (0.066, 0.739, -0.059), "y": (0.976, 0.020)},
    "deviation": (0.1848, 0.0500, 0.0351),
    "inverse": (0.4131, 0.3127),
}

# Of naumann22 8.2: mean, sd, least and largest of 60 pairs; those of "late" are of 300 steps.
FREEZING = {
    "sines": {
        "frozen": (2.639, 2.047, 0.006, 6.229),
        "unfrozen": (47.322, 29.071, 1.077, 86.084),
        "late_frozen": (2.671, 1.844, 0.208, 6.213),
        "late_unfrozen": (48.852, 29.312, 1.001, 87.723),
        "deviation": [(0.028, 0.005), (0.857, 0.571), (0.027, 0.004)],
        "principal_frozen": (3.709, 3.954, 0.252, 15.857),
        "principal_unfrozen": (38.362, 23.428, 0.772, 89.868),
        "r": (0.801, -0.04),
        "sides": (19.1, 73.8),
    },
    "chords": {
        "frozen": (4.582, 2.028, 0.670, 8.165),
        "unfrozen": (46.045, 25.850, 1.497, 86.914),
        "late_frozen": (4.511, 2.086, 0.568, 10.436),
        "late_unfrozen": (46.900, 25.927, 1.547, 89.726),
        "deviation": [(0.039, 0.009), (0.638, 0.425), (0.042, 0.013)],
        "principal_frozen": (4.748, 5.561, 1.012, 29.191),
        "principal_unfrozen": (54.255, 29.995, 4.220, 89.986),
        "r": (0.808, 0.11),
        "sides": (24.7, 66.0),
    },
}
