"""Tests of trained networks, pure part: what is drawn, what is decoded from what."""

import numpy as np
import pytest
from feedback_reference import draw_contexts
from pydantic import ValidationError

from science.feedback import (
    Conditions,
    ContextGridParams,
    ContextTestParams,
    DirectParams,
    FeedbackTask,
    FreezeParams,
    ModulationParams,
    SineParams,
    SpatialParams,
    check_grid,
    context_grid,
    context_grid_test,
    context_grid_tests,
    context_test,
    feedback_network,
    fit_linear_map,
    means,
)
from science.feedback.testing import ContextTraces

TASK = FeedbackTask(sources=SineParams(), n_steps=40)


def test_legacy_contexts_are_those_of_the_original():
    rng = np.random.default_rng(0)
    drawn = ContextTestParams(n_contexts=20, seed=4, legacy=True).contexts(TASK, rng)
    np.testing.assert_allclose(drawn, draw_contexts(4, 32, 20), atol=1e-6)
    pairs = FreezeParams(n_pairs=3, legacy=True).pairs(TASK, rng)
    expected = [draw_contexts(seed, 1, 2) for seed in (100, 101, 102)]
    np.testing.assert_allclose(pairs, expected, atol=1e-6)


def test_own_contexts_depend_on_the_seed_only():
    for params in (ContextTestParams(n_contexts=20), FreezeParams(n_pairs=10)):
        draw = params.contexts if isinstance(params, ContextTestParams) else params.pairs
        first, again, other = (draw(TASK, np.random.default_rng(s)) for s in (1, 1, 2))
        assert np.array_equal(first, again) and not np.array_equal(first, other)
        assert (np.abs(np.linalg.det(first)) > 0.2).all()


def test_conditions_replace_what_they_name():
    changed = Conditions(n_steps=50, noise=0.3).of(TASK)
    assert (changed.n_steps, changed.noise) == (50, 0.3)
    assert changed.sources == TASK.sources and Conditions().of(TASK) == TASK
    for bad in ({"n_steps": 9}, {"noise": -1}, {"seed": -1}):
        with pytest.raises(ValidationError):
            Conditions(**bad)


def test_means_leave_out_the_first_context():
    values = np.arange(60.0).reshape(3, 20)
    values[0] = np.nan
    later = [[*range(20, 40)], [*range(40, 60)]]
    start = np.mean([context[:2] for context in later])
    end = np.mean([context[10:] for context in later])
    assert means(values) == pytest.approx((start, np.mean(later), end))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_of_a_population_of_low_rank_is_not_decoded(dtype):
    """Directions that are nothing but rounding would fit noise: 100 of them to 150 samples."""
    rng = np.random.default_rng(5)
    latent = rng.standard_normal((300, 3))
    targets = latent[:, :1] + rng.standard_normal((300, 1))
    population = latent.astype(dtype) @ rng.standard_normal((3, 100)).astype(dtype)
    decoder = fit_linear_map(population[:150], targets[:150])
    known = np.column_stack([latent, np.ones(300)])
    expected = known @ np.linalg.lstsq(known[:150], targets[:150], rcond=None)[0]
    np.testing.assert_allclose(decoder(population), expected, atol=1e-4)


@pytest.mark.parametrize("decodable", ["context", "inverse"])
def test_contexts_are_decoded_in_the_order_they_were_shown(monkeypatch, decodable):
    """Modulation that settles at what is decoded, however it starts."""
    shown = []

    def run(network, task, mixing, rng):
        shown.append(mixing)
        settled = np.linalg.inv(mixing) if decodable == "inverse" else mixing
        settled = settled.reshape(*mixing.shape[:2], 1, 4)
        w = np.repeat(settled, task.n_steps, axis=2)
        w[:, :, : task.n_steps // 2] = rng.standard_normal(w[:, :, ::2].shape)
        nothing = np.empty(0)
        activity = {"w": w.astype(np.float32)}
        return ContextTraces(mixing, *[nothing] * 5, activity, nothing)

    monkeypatch.setattr(context_grid_tests, "run_contexts", run)
    network = feedback_network(ModulationParams(n_hidden=3))
    params = ContextGridParams(n_grid=7, n_runs=4, n_folds=3)
    scores = {d[1:]: s.score for d, s in context_grid_test(network, TASK, params).items()}
    assert scores[decodable, "linear"] == pytest.approx(1, abs=1e-6)
    other = "context" if decodable == "inverse" else "inverse"
    assert scores[other, "linear"] < 0.9
    grid, (runs,) = context_grid(7), shown
    assert runs.shape[0] == 4
    points = np.unique(runs.reshape(-1, 4).round(5), axis=0)
    np.testing.assert_allclose(points, np.unique(grid.reshape(-1, 4).round(5), axis=0))


def test_gains_of_a_population_are_taken_back_to_their_signals(monkeypatch):
    config = SpatialParams(n_hidden=3, n_units=20, n_feedback=3)
    network, rng = feedback_network(config), np.random.default_rng(2)
    signals = rng.standard_normal((2, 3, 10, 3))
    activity = {"m": signals @ network.Wm.double().numpy().T}
    settled = context_grid_tests._settled(network, activity, 5)
    np.testing.assert_allclose(settled["modulation"], signals[:, :, 5:].mean(2), atol=1e-9)
    assert set(settled) == {"modulation"}


def test_what_cannot_be_tested_says_why():
    direct = feedback_network(DirectParams(n_hidden=3))
    with pytest.raises(ValueError, match="no modulation to decode"):
        context_grid_test(direct, TASK)
    with pytest.raises(ValueError, match="fewer than two for each of 9 folds"):
        check_grid(ModulationParams(), TASK, ContextGridParams(n_grid=4, n_folds=9))
    short = TASK.model_copy(update={"n_steps": 9})
    with pytest.raises(ValueError, match="contexts of 9 steps leave none"):
        context_test(direct, short)
