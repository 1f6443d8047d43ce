"""Virtual rats: their rates against closed forms, what is recorded of them against their truth."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats
from scipy.special import i0, i1

from science.navigation.bins import Bins
from science.navigation.border_score import border_scores
from science.navigation.grid_score import grid_scores
from science.navigation.head_direction import direction_tuning, head_direction_scores
from science.navigation.motion import RAT, walk
from science.navigation.rate_maps import RateMapParams, rate_maps
from science.navigation.rectangle import Rectangle
from science.navigation.shuffles import ShuffleParams, shuffle_test
from science.navigation.spatial_information import spatial_information
from science.navigation.track import SpikeTrains, Track
from science.navigation.virtual_rats import KINDS, WALLS, VirtualRat, VirtualRatParams

BOX = Rectangle(width=1.2, height=1.0)


def scattered(n, arena, seed=0):
    """Places and headings everywhere alike, as if the animal jumped."""
    low, high = arena.corners
    rng = np.random.default_rng(seed)
    return Track(0.02 * np.arange(n), rng.uniform(low, high, (n, 2)), rng.uniform(-np.pi, np.pi, n))


def walked(minutes, arena, seed=0):
    """A walk as of a rat."""
    n = round(minutes * 60 / RAT.dt)
    positions, steps = (part[0] for part in walk(arena, RAT, 1, n, np.random.default_rng(seed)))
    return Track(RAT.dt * np.arange(n), positions[:-1], np.arctan2(*steps.T[::-1]))


def test_a_rat_is_its_seed_and_has_the_cells_asked_for():
    params = VirtualRatParams(arena=BOX, n_grid=7, n_border=5, n_place=0)
    rat = VirtualRat.of(params, 1)
    counts = {kind: int((rat.kinds == kind).sum()) for kind in KINDS}
    assert counts == {
        "grid": 7, "border": 5, "place": 0, "head_direction": 4, "conjunctive": 4, "untuned": 4
    }  # fmt: skip
    track = scattered(50, BOX)
    rates = rat.rates(track.positions, track.heading)
    again = VirtualRat.of(params, 1).rates(track.positions, track.heading)
    np.testing.assert_array_equal(rates, again)
    other = VirtualRat.of(params, 2).rates(track.positions, track.heading)
    assert (other != rates).any(0).all()
    for cell, train in enumerate(rat.record(track, 3)):
        np.testing.assert_array_equal(train, rat.record(track, 3)[cell])


def test_grid_cells_fire_most_at_a_hexagonal_lattice():
    rat = VirtualRat.of(VirtualRatParams(n_conjunctive=0, n_head_direction=0), 4)
    for cell in np.flatnonzero(rat.kinds == "grid"):
        angles = rat.orientations[cell] + np.arange(6) * np.pi / 3
        around = rat.spacings[cell] * np.stack([np.cos(angles), np.sin(angles)], -1)
        fields = rat.centres[cell] + np.concatenate([[[0, 0]], around, around[:1] + around[1:2]])
        peak = rat.baselines[cell] + rat.peaks[cell]
        np.testing.assert_allclose(rat.rates(fields)[:, cell], peak)
        between = rat.centres[cell] + (around + np.roll(around, -1, 0)) / 3
        trough = rat.baselines[cell] + rat.peaks[cell] * np.exp(0.7 * (-1.5 - 3))
        np.testing.assert_allclose(rat.rates(between)[:, cell], trough)
    assert len(np.unique(rat.spacings[rat.modules >= 0])) == 3
    for module in range(3):
        assert len(np.unique(rat.orientations[rat.modules == module])) == 1


def test_other_cells_fire_as_they_are_defined():
    params = VirtualRatParams(arena=BOX, baseline=0.5)
    rat = VirtualRat.of(params, 5)
    positions = np.array([[-0.6, 0.1], [0.6, 0.1], [0.2, -0.5], [0.2, 0.5], [-0.7, 0.0]])
    rates = (rat.rates(positions, np.zeros(5)) - rat.baselines) / rat.peaks
    for cell in np.flatnonzero(rat.kinds == "border"):
        wall = rat.walls[cell]
        assert rates[wall, cell] == pytest.approx(1)
        assert rates[wall ^ 1, cell] == pytest.approx(
            np.exp(-[1.2, 1.0][wall // 2] / 0.08), abs=1e-12
        )
    assert sorted(rat.walls[rat.walls >= 0]) == [0, 1, 2, 3] and WALLS[0] == "min_x"
    assert rates[4, np.flatnonzero(rat.walls == 0)] == pytest.approx(1)  # beyond the soft wall
    place = np.flatnonzero(rat.kinds == "place")[0]
    squared = ((positions - rat.centres[place]) ** 2).sum(-1)
    np.testing.assert_allclose(rates[:, place], np.exp(-squared / (2 * 0.12**2)), atol=1e-12)
    heads = np.flatnonzero(rat.kinds == "head_direction")[0]
    turns = np.linspace(-np.pi, np.pi, 9)
    at = rat.rates(np.zeros((9, 2)), rat.preferred[heads] + turns)[:, heads]
    expected = np.exp(rat.concentrations[heads] * (np.cos(turns) - 1))
    np.testing.assert_allclose((at - 0.5) / rat.peaks[heads], expected)
    untuned = rat.kinds == "untuned"
    np.testing.assert_allclose(rates[:, untuned], 1)
    assert (rat.baselines[untuned] == 0).all()


def test_spikes_are_poisson_at_the_rate_of_the_moment():
    """Given its length, a train is a sample of the density rate / sum of rates: time rescaled."""
    rat = VirtualRat.of(VirtualRatParams(arena=BOX), 6)
    track = scattered(60_000, BOX)
    expected = rat.rates(track.positions, track.heading) * 0.02
    trains = rat.record(track, 7)
    counts = np.array([len(train) for train in trains])
    z = (counts - expected.sum(0)) / np.sqrt(expected.sum(0))
    assert stats.kstest(z, "norm").pvalue > 0.01 and abs(z).max() < 4
    for train, share in zip(trains, expected.T, strict=True):
        assert (np.diff(train) > 0).all()
        edges = np.append(track.t - 0.01, track.t[-1] + 0.01)
        done = np.interp(train, edges, np.append(0, np.cumsum(share)))
        assert stats.kstest(np.diff(done), "expon").pvalue > 1e-4


def test_rate_maps_and_tuning_converge_to_the_rate_functions():
    rat = VirtualRat.of(VirtualRatParams(arena=BOX), 8)
    bins = Bins.of(BOX)
    params = RateMapParams(smoothing_bins=0)
    grid = np.stack(np.meshgrid(*(np.arange(0.5, 8) / 8 * 0.05 - 0.025,) * 2), -1).reshape(-1, 2)
    points = (bins.centres[:, :, None] + grid).reshape(-1, 2)
    directions = (np.arange(60) + 0.5) / 60 * 2 * np.pi - np.pi
    truth = np.mean(
        [rat.rates(points, np.full(len(points), h)) for h in directions[::5]], axis=0
    ).reshape(*bins.shape, 64, -1).mean(2)  # fmt: skip
    errors = []
    for n in (30_000, 480_000):
        track = scattered(n, BOX)
        spikes = SpikeTrains.of(rat.record(track, 9))
        rates = rate_maps(track, spikes, BOX, params).rates
        errors.append(np.sqrt(np.mean((rates - truth) ** 2, (0, 1))))
    # As noisy as a Poisson process of a constant rate over the seconds in a bin, and no more.
    noise = np.sqrt(truth.mean((0, 1)) / (n * 0.02 / bins.size))
    of_place = np.isnan(rat.preferred)
    np.testing.assert_allclose(errors[1][of_place], noise[of_place], rtol=0.25)
    assert np.mean(errors[1][of_place] / noise[of_place]) == pytest.approx(1, abs=0.05)
    assert np.mean(errors[0] / errors[1]) == pytest.approx(4, rel=0.05)

    scores = head_direction_scores(direction_tuning(track, spikes)[0])
    heads = rat.kinds == "head_direction"
    kappa, baseline = rat.concentrations[heads], rat.baselines[heads] / rat.peaks[heads]
    scale = np.exp(-kappa)
    expected = i1(kappa) * scale / (i0(kappa) * scale + baseline)
    np.testing.assert_allclose(scores.score[heads], expected, atol=0.02)
    apart = np.angle(np.exp(1j * (scores.preferred - rat.preferred)))[np.isfinite(rat.preferred)]
    assert abs(apart).max() < 0.05
    assert scores.score[rat.kinds == "untuned"].max() < 0.05


@pytest.fixture(scope="module")
def recorded():
    """Ten minutes of a walking rat with twenty cells of a kind."""
    kinds = dict.fromkeys([f"n_{kind}" for kind in KINDS], 20)
    rat = VirtualRat.of(VirtualRatParams(**kinds), 10)
    track = walked(10, rat.params.arena)

    def scores(spikes):
        """Grid score, border score, information and length of the mean vector."""
        maps = rate_maps(track, spikes, rat.params.arena)
        tuning, _ = direction_tuning(track, spikes)
        return np.stack(
            [
                grid_scores(maps.rates).score,
                border_scores(maps.rates),
                spatial_information(maps.rates, maps.occupancy),
                head_direction_scores(tuning).score,
            ]
        )

    spikes = SpikeTrains.of(rat.record(track, 11))
    return rat, shuffle_test(scores, track, spikes, ShuffleParams(n_shuffles=100, seed=12))


def test_tuned_cells_stand_out_from_their_shuffles(recorded):
    rat, result = recorded
    grid, border, information, direction = result.p <= 0.05
    for kind, found, least in (
        ("grid", grid, 0.9),
        ("border", border, 0.9),
        ("place", information, 0.95),
        ("grid", information, 0.95),
        ("head_direction", direction, 0.95),
        ("conjunctive", direction, 0.95),
    ):
        assert found[rat.kinds == kind].mean() >= least, kind
    best = result.observed[:, rat.kinds == "grid"]
    assert np.median(best[0]) > 1


def test_p_of_untuned_cells_is_uniform():
    params = VirtualRatParams(
        n_grid=0, n_border=0, n_place=0, n_head_direction=0, n_conjunctive=0, n_untuned=100
    )
    rat = VirtualRat.of(params, 13)
    track = walked(5, rat.params.arena, seed=1)
    spikes = SpikeTrains.of(rat.record(track, 14))

    def scores(trains):
        maps = rate_maps(track, trains, rat.params.arena)
        tuning, _ = direction_tuning(track, trains)
        return np.stack(
            [
                grid_scores(maps.rates).score,
                spatial_information(maps.rates, maps.occupancy),
                head_direction_scores(tuning).score,
            ]
        )

    p = shuffle_test(scores, track, spikes, ShuffleParams(n_shuffles=100, seed=15)).p
    for values in p:
        assert stats.kstest(values, "uniform").pvalue > 0.01
        assert np.mean(values <= 0.05) < 0.12


def test_spacing_and_orientation_of_the_modules_are_found_in_spikes():
    rat = VirtualRat.of(VirtualRatParams(n_grid=30), 16)
    track = walked(20, rat.params.arena)
    spikes = SpikeTrains.of(rat.record(track, 17))
    found = grid_scores(rate_maps(track, spikes, rat.params.arena).rates)
    for module in range(3):
        cells = (rat.kinds == "grid") & (rat.modules == module)
        assert np.median(found.spacing[cells]) == pytest.approx(rat.spacings[cells][0], rel=0.05)
        wrong = 6 * (found.orientation[cells] - rat.orientations[cells])
        assert abs(np.rad2deg(np.median(np.angle(np.exp(1j * wrong))) / 6)) < 3


def test_what_cannot_be_recorded_is_named():
    rat = VirtualRat.of(VirtualRatParams(), 0)
    with pytest.raises(ValueError, match="8 cells are tuned to the heading"):
        rat.rates(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="positions must be"):
        rat.rates(np.zeros(3))
    lost = Track(np.arange(3.0), np.array([[0, 0], [np.nan, 0], [0, 0]]), np.zeros(3))
    with pytest.raises(ValueError, match="unknown positions"):
        rat.record(lost, 0)
    for wrong in ({"peak_low": 30.0}, {f"n_{kind}": 0 for kind in KINDS}, {"module_spacings": ()}):
        with pytest.raises(ValidationError):
            VirtualRatParams(**wrong)
