"""Bins and rate maps against loops, scipy's binning, analytic truth and the golden rate maps."""

import numpy as np
import pytest
import torch
from scipy import stats

from science.navigation.bins import Bins
from science.navigation.motion import MotionParams, walk
from science.navigation.rate_maps import ModelRateMaps, RateMapParams, rate_maps
from science.navigation.rectangle import Rectangle
from science.navigation.track import SpikeTrains, Track

ARENA = Rectangle(min_x=-0.4, max_x=0.6, min_y=0.0, max_y=0.75)


def test_bins_hold_their_lower_edges_and_the_last_one_its_upper_edge():
    bins = Bins(np.array([0.0, 1, 2, 3]), np.array([10.0, 20, 30]))
    x = [0, 0.999, 1, 2, 3, 3.001, -0.001, np.nan, 1, 1]
    y = [10, 19.99, 20, 30, 30, 20, 20, 20, np.nan, 30.01]
    expected = [0, 0, 3, 5, 5, -1, -1, -1, -1, -1]
    np.testing.assert_array_equal(bins.index(np.stack([x, y], -1)), expected)
    assert bins.shape == (3, 2) and bins.size == 6
    np.testing.assert_array_equal(bins.index(bins.centres.reshape(-1, 2)), np.arange(6))


def test_number_of_bins_is_rounded_and_truncated_only_for_parity():
    box = Rectangle(width=1.15, height=1.15)
    assert Bins.of(box).shape == (23, 23)
    assert Bins.of(box, legacy=True).shape == (22, 22)
    bins = Bins.of(Rectangle(width=1.0, height=0.62), bin_cm=2.5)
    assert bins.shape == (40, 25)
    np.testing.assert_allclose(bins.y_edges[[0, -1]], [-0.31, 0.31])


def test_bins_around_positions_have_the_size_asked_for_and_hold_all():
    positions = np.array([[0.0, -1], [0.5, 0.02], [np.nan, 7], [0.13, -0.4]])
    bins = Bins.around(positions, 5)
    assert bins.shape == (10, 21)
    np.testing.assert_allclose(np.diff(bins.y_edges), 0.05)
    np.testing.assert_array_equal(bins.index(positions) >= 0, [True, True, False, True])
    assert Bins.around(positions[:1]).shape == (1, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Bins.of(Rectangle(width=1, height=1), 0), "bin_cm must be positive"),
        (lambda: Bins.of(Rectangle(width=1, height=1), 300), "no bin of 300 cm"),
        (lambda: Bins.around(np.full((3, 2), np.nan)), "no position is known"),
        (lambda: Track(np.arange(3), np.zeros((2, 2))), r"positions \(n, 2\)"),
        (lambda: Track([0, 1, 1], np.zeros((3, 2))), "increasing"),
        (lambda: Track([0, np.nan, 1], np.zeros((3, 2))), "increasing"),
        (lambda: SpikeTrains.of([[1.0], [np.nan]]), "spikes of cell 1"),
    ],
)
def test_bad_tracks_and_bins_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def session(n=1000, n_cells=4, seed=0):
    """Irregular track with a gap of 2 s, lost positions and excursions, and its spikes."""
    rng = np.random.default_rng(seed)
    t = 5 + 0.02 * np.arange(n) + rng.uniform(-0.002, 0.002, n)
    t[n // 2 :] += 2
    positions = rng.uniform([-0.45, -0.05], [0.65, 0.8], (n, 2))
    positions[rng.random(n) < 0.05, 0] = np.nan
    trains = [rng.uniform(0, t[-1] + 5, 40 * cell) for cell in range(n_cells)]
    return Track(t, positions), trains


def counted(track, trains, bins):
    """Count sample by sample and spike by spike."""
    occupancy, spikes = np.zeros(bins.shape), np.zeros((*bins.shape, len(trains)))
    step = np.median(np.diff(track.t))

    def place(i):
        at = []
        for value, edges in zip(track.positions[i], (bins.x_edges, bins.y_edges), strict=True):
            if not edges[0] <= value <= edges[-1]:
                return None
            at.append(min(int(np.sum(value >= edges)) - 1, len(edges) - 2))
        return tuple(at)

    for i in range(len(track.t)):
        if place(i) is not None:
            occupancy[place(i)] += step
    for cell, train in enumerate(trains):
        for time in train:
            i = np.abs(track.t - time).argmin()
            if abs(track.t[i] - time) <= step and place(i) is not None:
                spikes[(*place(i), cell)] += 1
    return occupancy, spikes


@pytest.mark.filterwarnings("ignore:invalid value")
def test_rates_are_spikes_over_time_where_the_animal_was():
    track, trains = session()
    bins = Bins.of(ARENA)
    occupancy, spikes = counted(track, trains, bins)
    params = RateMapParams(smoothing_bins=0, min_occupancy_s=0)
    found = rate_maps(track, SpikeTrains.of(trains), ARENA, params)
    np.testing.assert_allclose(found.occupancy, occupancy)
    assert 0 < spikes.sum() < sum(map(len, trains)) and (occupancy == 0).any()
    np.testing.assert_allclose(found.rates, spikes / occupancy[..., None])

    at_least = RateMapParams(smoothing_bins=0, min_occupancy_s=0.15)
    little = np.isnan(rate_maps(track, SpikeTrains.of(trains), ARENA, at_least).rates[..., 0])
    np.testing.assert_array_equal(little, occupancy < 0.15)


def gaussian_sums(maps, sigma):
    """Weigh all bins of (nx, ny, n) by a Gaussian cut at 4 sd, outside there is nothing."""
    result = maps
    for axis in (0, 1):
        i = np.arange(maps.shape[axis])
        lag = i[:, None] - i
        reach = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
        weights = np.exp(-(lag**2) / (2 * sigma**2)) * (abs(lag) <= reach[-1])
        weights /= np.exp(-(reach**2) / (2 * sigma**2)).sum()
        result = np.moveaxis(np.tensordot(weights, result, (1, axis)), 0, axis)
    return result


def test_spikes_and_time_are_smoothed_apart_or_their_ratio_as_in_the_original():
    track, trains = session()
    bins = Bins.of(ARENA)
    occupancy, spikes = counted(track, trains, bins)
    expected = gaussian_sums(spikes, 1.3) / gaussian_sums(occupancy[..., None], 1.3)
    params = RateMapParams(smoothing_bins=1.3, min_occupancy_s=0.0)
    rates = rate_maps(track, SpikeTrains.of(trains), ARENA, params).rates
    np.testing.assert_array_equal(np.isnan(rates[..., 1]), occupancy == 0)
    seen = occupancy > 0
    np.testing.assert_allclose(rates[seen], expected[seen], atol=1e-12)

    # mec 9: mean spike count of a sample / 0.02 s, NaN -> 0, sigma 1 bin.
    legacy = RateMapParams(smoothing_bins=1, legacy=True)
    rates = rate_maps(track, SpikeTrains.of(trains), ARENA, legacy).rates
    ratio = np.divide(
        spikes, occupancy[..., None], where=seen[..., None], out=np.zeros_like(spikes)
    )
    np.testing.assert_allclose(rates, gaussian_sums(ratio, 1.0), atol=1e-12)


def test_smoothing_apart_keeps_an_even_rate_even_at_walls_and_gaps_but_that_of_the_ratio_does_not():
    rng = np.random.default_rng(1)
    positions = rng.uniform(0, 1, (200_000, 2))
    positions = positions[np.hypot(*(positions - 0.5).T) < 0.5]
    track = Track(0.02 * np.arange(len(positions)), positions)
    arena = Rectangle(min_x=0, max_x=1, min_y=0, max_y=1)
    rates = rate_maps(track, SpikeTrains.of([track.t]), arena).rates[..., 0]
    visited = np.isfinite(rates)
    np.testing.assert_allclose(rates[visited], 50)
    radius = np.hypot(*np.moveaxis(Bins.of(arena).centres - 0.5, -1, 0))
    assert visited[radius < 0.5].all() and not visited[radius > 0.54].any()
    legacy = rate_maps(track, SpikeTrains.of([track.t]), arena, RateMapParams(legacy=True)).rates
    assert np.isfinite(legacy).all() and legacy[0, 10, 0] < 35 and legacy[0, 0, 0] > 0


def test_a_track_outside_the_bins_is_refused():
    track, trains = session()
    in_cm = Track(track.t, 1000 + track.positions)
    with pytest.raises(ValueError, match="check the units"):
        rate_maps(in_cm, SpikeTrains.of(trains), ARENA)


@pytest.mark.parametrize("device", ["cpu"] + ["cuda"] * torch.cuda.is_available())
def test_streamed_maps_are_the_means_of_scipy(device):
    rng = np.random.default_rng(2)
    bins = Bins.of(Rectangle(width=2.2, height=1.0))
    on_edges = np.stack([bins.x_edges, np.resize(bins.y_edges, len(bins.x_edges))], -1)
    on_edges[-1] = bins.x_edges[-1], bins.y_edges[-1]
    positions = np.concatenate([on_edges, rng.uniform([-1.2, -0.6], [1.2, 0.6], (1000, 2))])
    activations = rng.normal(size=(len(positions), 7))
    sums = ModelRateMaps(bins, 7, device)
    for part in np.array_split(np.arange(len(positions)), 5):
        sums.add(torch.as_tensor(positions[part]), torch.as_tensor(activations[part]))
    expected, *_ = stats.binned_statistic_2d(
        *positions.T, activations.T, "mean", [bins.x_edges, bins.y_edges]
    )
    assert np.isnan(expected).any()
    np.testing.assert_allclose(sums.maps().cpu(), np.moveaxis(expected, 0, 2), atol=1e-12)
    counts = np.bincount(bins.index(positions) + 1, minlength=bins.size + 1)[1:]
    np.testing.assert_array_equal(sums.counts.cpu().ravel(), counts)


def test_batches_of_walks_and_single_precision_are_summed_in_double_precision():
    bins = Bins.of(Rectangle(width=1, height=1), bin_cm=100)
    sums = ModelRateMaps(bins, 2)
    values = torch.tensor([0.1, 16.0]).expand(50, 20, 2)
    for _ in range(300):
        sums.add(torch.zeros(50, 20, 2), values)
    exact = np.array([np.float32(0.1), 16.0], np.float64)
    np.testing.assert_allclose(sums.maps().numpy()[0, 0], exact, rtol=1e-12)
    assert sums.counts.item() == 300_000


@pytest.mark.parametrize(
    ("positions", "units"), [((4, 3), (4, 2)), ((4, 2), (3, 2)), ((4, 2), (4, 3))]
)
def test_activations_that_do_not_fit_are_named(positions, units):
    sums = ModelRateMaps(Bins.of(ARENA), 2)
    with pytest.raises(ValueError, match=r"activations \(..., 2\)"):
        sums.add(torch.zeros(positions), torch.zeros(units))


@pytest.mark.shared
def test_golden_maps_are_functions_of_our_maps_of_what_their_network_was_fed(shared):
    """The network's weights are not at hand, but it was hardly trained and is almost linear.

    Its hidden state is then a decayed sum of the initial code and the velocities, so that maps of
    such sums predict the golden maps; not if they are transposed or shifted by a single bin.
    """
    golden = np.load(shared / "golden/mec/ratemaps_ng64.npz")["box1.0|pre_g"].reshape(400, -1)
    centres = np.load(shared / "golden/mec/place_cells.npz")["us_box1.0"]
    box = Rectangle(width=1.0, height=1.0)
    bins = Bins.of(box)
    decay = 1 / (1 + np.exp(-1.0))  # of the gate at its bias
    sums = ModelRateMaps(bins, len(centres) + 3)
    for seed in range(10):
        positions, steps = walk(box, MotionParams(), 200, 21, np.random.RandomState(seed))
        square = ((positions[:, 1, None] - centres) ** 2).sum(-1)
        code = np.subtract(*(softmax(-square / (2 * k * 0.12**2)) for k in (1, 2)))
        code += np.abs(code.min(1, keepdims=True))
        state = np.hstack(
            [code / code.sum(1, keepdims=True), np.zeros((200, 2)), np.ones((200, 1))]
        )
        for t in range(1, 21):
            state *= decay
            state[:, -3:-1] += steps[:, t]
            sums.add(torch.as_tensor(positions[:, t + 1]), torch.as_tensor(state))
    maps = sums.maps().numpy()

    def explained(features):
        """Median R2 over units on a fifth of the bins, of a ridge fit to the others."""
        features = features.reshape(400, -1)
        test = np.random.default_rng(0).permutation(400) < 80
        x = (features - features[~test].mean(0)) / features[~test].std(0)
        y = golden - golden[~test].mean(0)
        gram = x[~test].T @ x[~test] + np.eye(x.shape[1])
        error = y[test] - x[test] @ np.linalg.solve(gram, x[~test].T @ y[~test])
        return np.median(1 - (error**2).sum(0) / (y[test] ** 2).sum(0))

    assert explained(maps) > 0.95
    for wrong in (maps.transpose(1, 0, 2), np.roll(maps, 1, 0), np.roll(maps, 1, 1)):
        assert explained(wrong) < 0.75


def softmax(values):
    weights = np.exp(values - values.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.shared
def test_published_arenas_and_layout(shared):
    golden = np.load(shared / "golden/mec/ratemaps_ng64.npz")
    for side in (2.2, 1.0):
        for legacy in (False, True):
            bins = Bins.of(Rectangle(width=side, height=side), legacy=legacy)
            assert (*bins.shape, 64) == golden[f"box{side}|g"].shape


def test_cells_do_not_leak_into_each_other():
    track, trains = session()
    together = rate_maps(track, SpikeTrains.of(trains), ARENA).rates
    for cell, train in enumerate(trains):
        alone = rate_maps(track, SpikeTrains.of([train]), ARENA).rates
        np.testing.assert_allclose(together[..., cell], alone[..., 0], atol=1e-12)
