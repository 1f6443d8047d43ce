"""What efficient codes and feedback modulation are known for, again from our own training."""

import numpy as np
import pytest
import torch

from science.coding import CodingConfig, CodingTask, CodingTrainee, CodingTraining
from science.coding.tuning import kernel_density, silverman_bandwidth
from science.feedback import (
    ContextTraces,
    FeedbackTask,
    FeedbackTrainee,
    FeedbackTraining,
    FreezeTraces,
    SineParams,
    SpatialParams,
    context_distance,
    contexts,
    decode_sources,
    freeze_experiment,
    principal_components,
    run_contexts,
    signal_clarity,
)
from science.training import train

pytestmark = pytest.mark.slow

N_STEPS, N_PAIRS = 300, 60
TARGETS = (0.6, 1.2, 1.8, 2.4)


@pytest.fixture(scope="module")
def codes():
    """Codes of 8 neurons for log-normal stimuli, trained to four rates."""
    task = CodingTask()
    training = CodingTraining(target_rates=TARGETS, n_epochs=3000)
    trainee = CodingTrainee(CodingConfig(n_neurons=8), training, task)
    return trainee, task, train(trainee, 100).network


def test_distortion_falls_with_the_rate_along_the_ideal_line(codes):
    trainee, task, network = codes
    distortion, rate, beta = network.history.values[:, -1].numpy()
    np.testing.assert_allclose(rate, TARGETS, atol=5e-3)
    excess = distortion + rate - task.stimulus.entropy()
    # neural_vae 9.1: within .02 up to 1.8 nats; 2.4 is .42 above with the published rule
    assert np.abs(excess[:3]).max() < 0.04 and abs(excess[3]) < 0.08
    assert (beta > 0.5).all() and (beta < 1.5).all()
    slopes = np.diff(distortion) / np.diff(rate)
    np.testing.assert_allclose(slopes, -1, atol=0.08)
    held_out = torch.stack(trainee.held_out(network)).sum(0).numpy()
    assert (held_out > task.stimulus.entropy() - 0.03).all()  # no code can beat the entropy


def test_more_neurons_sit_where_stimuli_are_more_likely(codes):
    _, task, network = codes
    centers = network.encoder.centers.detach().double().numpy()
    quantiles = np.exp(task.stimulus.mu + task.stimulus.sigma * np.array([-1.0, 1.0]))
    x = np.geomspace(*quantiles, 50)
    for own in centers[1:]:
        density = kernel_density(own, x, silverman_bandwidth(own))
        assert np.corrcoef(np.log(density), np.log(task.stimulus.density(x)))[0, 1] > 0.7


@pytest.fixture(scope="module")
def task():
    return FeedbackTask(sources=SineParams(), n_steps=N_STEPS)


@pytest.fixture(scope="module")
def network(task):
    """A population with four diffuse feedback signals that are slow, a tenth of a context."""
    training = FeedbackTraining(learning_rate=3e-3, n_epochs=30)
    return train(FeedbackTrainee(SpatialParams(tau=N_STEPS / 10), training, task), 0).network


@pytest.fixture(scope="module")
def traces(network, task) -> ContextTraces:
    rng = np.random.default_rng(7)
    return run_contexts(network, task, contexts(20, task.contexts, (2, 2), rng)[None], rng)


def test_the_output_is_clear_while_single_units_are_not(traces):
    z = traces.activity["z"]
    clarity = {
        name: signal_clarity(traces.targets, values[0]).per_unit.mean()
        for name, values in (("x", traces.inputs), ("z", z), ("y", traces.outputs))
    }
    assert clarity["y"] > 0.9
    assert clarity["x"] < 0.65 and clarity["z"] < 0.65


def test_sources_are_decoded_from_the_population_and_not_from_the_inputs(traces):
    z, x = (
        decode_sources(values[0], traces.targets)
        for values in (traces.activity["z"], traces.inputs)
    )
    assert z.median > 0.9 and z.mean > 0.85
    assert x.median < 0.4


def test_the_subspace_turns_with_feedback_and_not_with_the_context(network, task, traces):
    rng = np.random.default_rng(8)
    half = N_STEPS // 2
    pairs = contexts(2 * N_PAIRS, task.contexts, (2, 2), rng).reshape(N_PAIRS, 2, 2, 2)
    shown = run_contexts(network, task, pairs, rng, freeze_from=1, n_frozen=half)
    joined = [
        values.reshape(N_PAIRS, 2 * N_STEPS, -1)
        for values in (
            np.broadcast_to(shown.targets, shown.outputs.shape),
            shown.outputs,
            shown.activity["z"],
        )
    ]
    components = principal_components(traces.activity["z"].reshape(20 * N_STEPS, -1))
    found = freeze_experiment(FreezeTraces(*joined), components, half)
    assert np.median(found.angle_frozen) < 10
    assert np.median(found.angle_unfrozen) > 3 * np.median(found.angle_frozen)
    distance = context_distance(pairs[:, 0], pairs[:, 1])
    assert np.corrcoef(distance, found.angle_unfrozen)[0, 1] > 0.5
    original, frozen, unfrozen = found.deviation.T
    assert np.median(frozen) > 4 * np.median(original)
    assert np.median(unfrozen) < 2 * np.median(original)
