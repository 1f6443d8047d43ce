"""Sources, contexts and what is drawn of them (naumann22 1, 3)."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from science.feedback import (
    ChordParams,
    ContextParams,
    FeedbackTask,
    SineParams,
    WaveParams,
    contexts,
    draw_batch,
    draw_segment,
    inverses,
    mix,
    segment,
    sources,
)

MIXES = ["scale", "scale_both", "interpolate", "interpolate_both", "constant", "random"]


@pytest.fixture(scope="module")
def golden(shared):
    return np.load(shared / "golden" / "naumann" / "data_and_analysis_parity.npz")


@pytest.mark.shared
@pytest.mark.parametrize(("name", "params"), [("sines", SineParams()), ("chords", ChordParams())])
def test_sources_are_those_of_the_original(golden, name, params):
    record = sources(params)
    assert record.shape == tuple(golden["shapes"][0])
    np.testing.assert_array_equal(record[:200], golden[f"{name}_first200"])
    np.testing.assert_allclose(record.std(0), golden[f"{name}_std"], rtol=0, atol=5e-6)
    correlation = np.corrcoef(record.T)[0, 1]
    assert correlation == pytest.approx(golden[f"{name}_corr"].item(), abs=1e-12)


@pytest.mark.shared
def test_waves_are_those_of_the_original(golden):
    """But for samples where a square wave jumps: rounding decides on which side they are."""
    record, expected = sources(WaveParams())[:200], golden["ica_first200"]
    sine = np.sin(2 * np.pi * 80 * np.arange(200) / 8000)
    jumps = np.abs(sine) < 1e-9
    assert jumps.sum() == 4
    np.testing.assert_array_equal(record[~jumps, 1], expected[~jumps, 1])
    np.testing.assert_allclose(record[:, ::2], expected[:, ::2], rtol=0, atol=2e-15)


def test_any_number_of_sources_with_the_frequencies_asked_for():
    record = sources(SineParams(frequencies=(50, 110, 230), rate=1000, duration=1))
    power = np.abs(np.fft.rfft(record, axis=0))
    np.testing.assert_array_equal(power.argmax(0), [50, 110, 230])
    chords = sources(ChordParams(chords=((40,), (10, 20), (5, 6, 7))))
    np.testing.assert_allclose(np.abs(chords).max(0), 1, rtol=1e-6)
    plain = sources(ChordParams(chords=((10, 20),), normalized=False))
    assert plain.max() == pytest.approx(1.7602, abs=1e-3)  # of sin a + sin 2 a


@pytest.mark.shared
@pytest.mark.parametrize("name", [*MIXES, "random_norm", "random_norm_3x3", "random_norm_3x2"])
def test_contexts_are_those_of_the_original(golden, name):
    expected = golden[f"mix/{name}/A"]
    params = ContextParams(type=name.removesuffix("_3x3").removesuffix("_3x2"))
    rng = np.random.RandomState(123)
    mixing = contexts(len(expected), params, expected.shape[1:], rng)
    np.testing.assert_allclose(mixing, expected, rtol=0, atol=6e-8)
    if f"mix/{name}/Ainv_flat" in golden:
        inverse = inverses(mixing).reshape(len(mixing), -1)
        np.testing.assert_allclose(inverse, golden[f"mix/{name}/Ainv_flat"], rtol=5e-6, atol=2e-7)


def test_a_random_state_is_left_where_single_draws_leave_it():
    """The original draws a context until it is kept, then the next."""
    batched, single = np.random.RandomState(5), np.random.RandomState(5)
    mixing = contexts(50, ContextParams(), (2, 2), batched)
    for expected in mixing:
        while True:
            drawn = single.uniform(size=(2, 2))
            drawn /= drawn.sum(1, keepdims=True)
            if abs(drawn[0, 0] - drawn[1, 0]) > 0.2:
                break
        np.testing.assert_allclose(expected, drawn, rtol=0, atol=6e-8)
    assert batched.uniform() == single.uniform()


@pytest.mark.shared
def test_statistics_of_20000_contexts(golden):
    mixing = contexts(20_000, ContextParams(), (2, 2), np.random.default_rng(1))
    determinant = np.abs(np.linalg.det(mixing))
    mean, sd, mean_determinant, smallest = golden["mix_stats_random_norm"][:4]
    found = [mixing.mean(), mixing.std(), determinant.mean()]
    np.testing.assert_allclose(found, [mean, sd, mean_determinant], rtol=0, atol=4e-3)
    assert 0.2 < determinant.min() < smallest + 1e-3
    distance = np.linalg.norm(mixing[1:] - mixing[:-1], axis=(1, 2)).mean()
    assert distance == pytest.approx(golden["mix_stats_random_norm"][6], abs=0.01)


def test_sources_start_at_times_of_their_own_everywhere():
    ramp = np.stack([np.arange(300), 1000 + np.arange(300)], 1).astype(np.float32)
    rng = np.random.default_rng(0)
    starts = np.array([draw_segment(ramp, 200, 2, rng)[0] - [0, 1000] for _ in range(2000)])
    assert abs(np.corrcoef(starts.T)[0, 1]) < 0.08
    for start in starts.T:
        assert stats.chisquare(np.bincount(start.astype(int), minlength=100)).pvalue > 1e-3


def test_legacy_segments_take_one_call_for_all_starts():
    ramp = np.arange(16_000, dtype=np.float32)[:, None].repeat(2, 1)
    found = draw_segment(ramp, 1000, 2, np.random.RandomState(7))
    starts = np.random.RandomState(7).randint(0, 15_000, 2)
    np.testing.assert_array_equal(found, starts + np.arange(1000)[:, None])


def test_records_go_round():
    ramp = np.arange(10.0, dtype=np.float32)[:, None].repeat(2, 1)
    found = segment(ramp, np.array([8, 0]), 12)
    np.testing.assert_array_equal(found[:, 0], [8, 9, *range(10)])
    np.testing.assert_array_equal(found[:, 1], [*range(10), 0, 1])
    rolled = draw_segment(ramp, 10, 2, np.random.default_rng(3))
    np.testing.assert_array_equal(np.sort(rolled, 0), ramp)


def test_of_more_sources_than_outputs_a_subset_in_order():
    record = np.tile(np.arange(4, dtype=np.float32), (50, 1))
    rng = np.random.default_rng(0)
    chosen = {tuple(draw_segment(record, 10, 2, rng)[0]) for _ in range(200)}
    assert chosen == {(a, b) for a in range(4) for b in range(a + 1, 4)}


def test_inputs_are_mixtures_and_noise():
    rng = np.random.default_rng(0)
    mixing = np.array([[[1, 2], [3, 4], [5, 6]]], np.float32)
    inputs = mix(np.array([[1, 10]], np.float32), mixing, 0.0, rng)
    np.testing.assert_array_equal(inputs, [[[21, 43, 65]]])
    noise = mix(np.zeros((20_000, 2), np.float32), mixing, 0.3, rng).numpy()
    assert noise.shape == (1, 20_000, 3)
    assert noise.std() == pytest.approx(0.3, rel=0.01)


def test_a_batch_has_one_segment_in_all_its_contexts():
    task = FeedbackTask(n_steps=40, noise=0.0)
    batch = draw_batch(task, 5, np.random.default_rng(0))
    sources_of = np.einsum("boi,bti->bto", inverses(batch.mixing), batch.inputs)
    expected = np.broadcast_to(batch.targets, (5, 40, 2))
    np.testing.assert_allclose(sources_of, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"n_outputs": 3}, "3 outputs need as many sources, there are 2"),
        ({"sources": {"type": "noise"}}, "does not match any of the expected tags"),
        ({"contexts": {"type": "mirror"}}, "random_norm"),
        ({"noise": -1}, "greater than or equal to 0"),
    ],
)
def test_bad_tasks(task, message):
    with pytest.raises(ValidationError, match=message):
        FeedbackTask.model_validate(task)


def test_contexts_that_do_not_exist():
    with pytest.raises(ValueError, match="mix two sources into two inputs, not 3 into 2"):
        contexts(1, ContextParams(type="scale"), (2, 3), np.random.default_rng(0))
    params = ContextParams(type="constant", min_determinant=0.4)
    with pytest.raises(ValueError, match="lower min_determinant"):
        contexts(1, params, (2, 2), np.random.default_rng(0))
