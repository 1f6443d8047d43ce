"""Context space and decoding, controls without feedback, and summaries of grids."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from science.feedback.context_decoding import (
    ContextDecodingParams,
    decode_context,
    mean_activity,
)
from science.feedback.context_space import context_distance, context_grid, same_side
from science.feedback.controls import (
    FeedforwardParams,
    Mixtures,
    feedforward_control,
    linear_control,
)
from science.feedback.dependence import dependence

GRID = context_grid()


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads cost more than they bring to many small products, above all on a busy machine."""
    with threadpool_limits(limits=1):
        yield


def test_grid_has_the_published_contexts():
    assert GRID.shape == (272, 2, 2)
    np.testing.assert_allclose(GRID.sum(-1), 1)
    assert np.abs(np.linalg.det(GRID)).min() > 0.2
    assert len(np.unique(GRID[:, :, 0], axis=0)) == 272
    np.testing.assert_allclose(np.unique(GRID[:, 0, 0]), np.arange(20) / 19, atol=1e-15)
    with pytest.raises(ValueError, match="finer grid"):
        context_grid(5, 1.0)


def test_distance_and_side_of_contexts():
    identity, swapped = np.eye(2), np.eye(2)[::-1]
    assert context_distance(identity, swapped) == pytest.approx(2)
    near = np.array([[0.7, 0.3], [0.2, 0.8]])
    np.testing.assert_array_equal(same_side(np.stack([identity, swapped]), near), [True, False])
    determinants = np.linalg.det(GRID)
    np.testing.assert_array_equal(same_side(GRID, near), determinants > 0)
    with pytest.raises(ValueError, match="two rows"):
        same_side(np.eye(3), np.eye(3))


def test_mean_activity_is_that_of_the_last_samples():
    activity = np.zeros((2, 10, 3))
    activity[:, 6:] = np.arange(4)[:, None]
    np.testing.assert_allclose(mean_activity(activity, 4), 1.5)
    np.testing.assert_allclose(mean_activity(activity, 2), 2.5)
    with pytest.raises(ValueError, match="last 11"):
        mean_activity(activity, 11)


def score(activity, **params):
    return decode_context(activity, GRID, ContextDecodingParams(**params)).score


def test_each_decoder_reads_the_code_that_is_made_for_it():
    rng = np.random.default_rng(0)
    column, inverse = GRID[:, :, 0], np.linalg.inv(GRID).reshape(-1, 4)
    linear = column @ rng.normal(size=(2, 6)) + rng.normal(size=6)
    assert score(linear) == pytest.approx(1, abs=1e-9)
    inverting = inverse @ rng.normal(size=(4, 5))
    assert score(inverting, target="inverse") == pytest.approx(1, abs=1e-9)
    assert score(inverting) < 0.95
    assert score(linear, target="inverse") < 0.95
    root = np.sqrt(column[:, 1] + 1)  # a11 and a21 are products of these
    product = np.stack([column[:, 0] / root, root], axis=-1)
    assert score(product, features="quadratic") == pytest.approx(1, abs=1e-9)
    assert score(product) < 0.9999


def test_scores_are_of_contexts_that_were_held_out():
    """With 200 units of noise for 218 contexts a fit is nearly perfect where it was made."""
    noise = np.random.default_rng(1).normal(size=(2, 272, 200))
    assert score(noise).max() < -1


def test_folds_are_a_cross_validation_of_every_model():
    rng = np.random.default_rng(2)
    activity = np.tanh(GRID[:, :, 0] @ rng.normal(size=(3, 2, 4))) + 0.1 * rng.normal(
        size=(3, 272, 4)
    )
    found = decode_context(activity, GRID, ContextDecodingParams(n_folds=4, seed=3))
    assert found.r2.shape == (3, 4, 2)
    order = np.random.default_rng(3).permutation(272)
    targets = GRID[:, :, 0]
    for fold, test in enumerate(order.reshape(4, 68)):
        train = np.delete(np.arange(272), test)
        design = np.column_stack([activity[1], np.ones(272)])
        weights = np.linalg.lstsq(design[train], targets[train], rcond=None)[0]
        decoded = design[test] @ weights
        np.testing.assert_allclose(found.decoded[1, test], decoded, atol=1e-10)
        r2 = 1 - ((targets[test] - decoded) ** 2).mean(0) / targets[test].var(0)
        np.testing.assert_allclose(found.r2[1, fold], r2, atol=1e-10)
    assert found.score[1] == pytest.approx(found.r2[1].mean())


@pytest.mark.parametrize(
    ("activity", "contexts", "message"),
    [
        (np.zeros((271, 2)), GRID, "272 contexts"),
        (np.zeros((9, 2)), GRID[:9], "fewer than two"),
        (np.full((272, 2), np.nan), GRID, "finite"),
        (np.zeros((272, 2)), GRID[:, :, 0], "n_contexts, 2, 2"),
    ],
)
def test_what_cannot_be_decoded_is_refused(activity, contexts, message):
    with pytest.raises(ValueError, match=message):
        decode_context(activity, contexts)
    with pytest.raises(ValidationError):
        ContextDecodingParams(target="angle")


def mixtures(contexts, n_samples, seed=None):
    """Sines of 100 and 180 Hz at 8 kHz, whose common period is 400 samples, or noise."""
    if seed is None:
        sources = np.sin(2 * np.pi * np.outer(np.arange(n_samples), [100, 180]) / 8000)
        sources = np.broadcast_to(sources, (len(contexts), n_samples, 2))
    else:
        sources = np.random.default_rng(seed).normal(size=(len(contexts), n_samples, 2))
    return Mixtures(sources @ np.swapaxes(contexts, -1, -2), sources)


def test_linear_map_of_one_context_fails_in_another_as_algebra_says():
    contexts = GRID[[0, 60, 150, 271]]
    r2 = linear_control(*mixtures(contexts, 1424))
    effective = np.linalg.inv(contexts)[:, None] @ contexts
    # sources of equal power without correlation: what is not the identity is error
    expected = 1 - np.square(effective - np.eye(2)).sum(-1)
    np.testing.assert_allclose(r2, expected, atol=1e-9)
    assert np.diagonal(r2).min() > 1 - 1e-9 and r2[0, 3].max() < -0.9
    with pytest.raises(ValueError, match="leave two"):
        linear_control(*mixtures(contexts, 1025))


def test_feedforward_network_learns_one_context_but_not_two_that_oppose_each_other():
    params = FeedforwardParams(n_batches=500, learning_rate=0.01)
    context, both = np.array([[[0.8, 0.2], [0.3, 0.7]]]), np.stack([np.eye(2), np.eye(2)[::-1]])
    one = feedforward_control(mixtures(context, 600, 0), mixtures(context, 300, 1), params)
    assert one.r2.min() > 0.95
    assert one.losses.shape == (500,) and one.losses[-50:].mean() < 0.05 * one.losses[:50].mean()
    two = feedforward_control(mixtures(both, 600, 0), mixtures(both, 300, 1), params)
    # the best guess of either source is the mean of both inputs, which explains half
    assert two.r2.max() < 0.6


def test_a_window_hears_the_past_in_its_order():
    rng = np.random.default_rng(3)
    inputs = rng.normal(size=(2, 400, 2))
    late = Mixtures(inputs, np.roll(inputs, 2, axis=1))
    params = FeedforwardParams(window=3, n_batches=500, learning_rate=0.01)
    found = feedforward_control(late, late, params)
    assert found.r2.min() > 0.9
    with torch.no_grad():
        windows = np.stack([inputs[1, t - 2 : t + 1].T.ravel() for t in range(2, 400)])
        decoded = found.network(torch.tensor(windows, dtype=torch.float32)).double().numpy()
    truth = late.sources[1, 2:]
    expected = 1 - np.square(truth - decoded).sum(0) / (len(truth) * truth.var(0))
    np.testing.assert_allclose(found.r2[1], expected, atol=1e-5)
    deaf = feedforward_control(late, late, params.model_copy(update={"window": 2}))
    assert deaf.r2.max() < 0.2


def test_a_seed_says_all_that_is_drawn():
    data = mixtures(GRID[:3], 40, 0)
    before = torch.get_rng_state()
    runs = [
        feedforward_control(data, data, FeedforwardParams(n_batches=5, seed=seed))
        for seed in (1, 1, 2)
    ]
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(runs[0].losses, runs[1].losses)
    np.testing.assert_array_equal(runs[0].r2, runs[1].r2)
    assert (runs[0].losses != runs[2].losses).all()
    shapes = [tuple(p.shape) for p in runs[0].network.parameters() if p.ndim == 2]
    assert shapes == [(32, 2), (16, 32), (8, 16), (2, 8)]


def test_controls_refuse_what_does_not_fit():
    data = mixtures(GRID[:3], 40, 0)
    with pytest.raises(ValueError, match="too short"):
        feedforward_control(data, data, FeedforwardParams(window=40))
    with pytest.raises(ValueError, match="differ in their inputs"):
        feedforward_control(data, Mixtures(data.inputs[..., :1], data.sources))
    with pytest.raises(ValueError, match="finite"):
        feedforward_control(data, Mixtures(data.inputs * np.nan, data.sources))
    with pytest.raises(ValueError, match="differ in n only"):
        linear_control(data.inputs, data.sources[:2], 20)


def test_dependence_summarises_seeds_at_every_point_of_a_grid():
    tau, width = np.repeat([100.0, 1.0], 4), np.tile([np.inf, 0.2], 4)
    clarity = np.array([0.3, 0.5, np.nan, 0.7, 0.6, 0.9, 0.8, 1.0])
    found = dependence({"tau": tau, "width": width}, clarity)
    np.testing.assert_array_equal(found.values["tau"], [1, 1, 100, 100])
    np.testing.assert_array_equal(found.values["width"], [0.2, np.inf, 0.2, np.inf])
    np.testing.assert_array_equal(found.n, [2, 2, 2, 1])
    np.testing.assert_allclose(found.mean, [0.95, 0.7, 0.6, 0.3])
    np.testing.assert_allclose(found.median, [0.95, 0.7, 0.6, 0.3])
    root = np.sqrt(2)
    np.testing.assert_allclose(found.sd, [0.1 / root, 0.2 / root, 0.2 / root, np.nan])


def test_rank_correlation_of_a_dependence():
    timescale = np.geomspace(1, 1000, 7)
    falls = dependence({"tau": timescale, "fixed": np.ones(7)}, 1 / (1 + timescale))
    assert falls.rank_correlation["tau"] == pytest.approx(-1)
    assert np.isnan(falls.rank_correlation["fixed"])
    failed = dependence({"tau": timescale}, np.full(7, np.nan))
    assert failed.n.sum() == 0 and np.isnan(failed.mean).all()


@pytest.mark.parametrize(
    ("parameters", "results"),
    [({}, [1.0]), ({"tau": []}, []), ({"tau": [1.0]}, [1.0, 2.0]), ({"tau": [np.nan]}, [1.0])],
)
def test_a_grid_needs_models_and_a_value_for_each(parameters, results):
    with pytest.raises(ValueError, match=r"at least one|must have a value"):
        dependence(parameters, results)
