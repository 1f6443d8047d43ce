"""Rate maps of networks against walks that are drawn, run and binned one by one in the test."""

import gc
from copy import deepcopy

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats

from science.navigation import (
    CueParams,
    NavigationTask,
    PathIntegrator,
    PathIntegratorConfig,
    PlaceCellParams,
    PositionParams,
    Rectangle,
    RewardParams,
    draw_batch,
    place_cell_centers,
    trajectories,
)
from science.navigation.model_maps import ModelMapParams, model_rate_maps
from science.navigation.motion import walk
from science.navigation.place_cells import PlaceCells

BOX = Rectangle(width=2.2, height=2.2)
SMALL = Rectangle(width=1.0, height=0.8)
TASK = NavigationTask(code=PlaceCellParams(n_cells=24), n_steps=6)


def network(task, n_units=7, **changes):
    made = PathIntegrator(
        PathIntegratorConfig(n_units=n_units, **changes),
        task.place_code().n_outputs,
        task.n_signals,
    )
    made.initialize(torch.Generator().manual_seed(5))
    return made


def binned(net, arena, bin_m, batches, decode):
    """Means by scipy and the mean error, of (start code, velocities, positions) in batches."""
    positions, activity, errors = [], {}, []
    for start, velocities, at in batches:
        with torch.no_grad():
            layers = net.layers(start.float(), torch.as_tensor(velocities).float())
        for name, values in layers.items():
            activity.setdefault(name, []).append(values.flatten(0, 1).double().numpy())
        decoded = decode(layers["dc"]).numpy()
        positions.append(at.reshape(-1, 2))
        errors.append(np.hypot(*(decoded - at).reshape(-1, 2).T))
    edges = [
        np.linspace(low, high, round((high - low) / bin_m) + 1)
        for low, high in zip(*arena.corners, strict=True)
    ]
    maps = {
        name: np.moveaxis(
            stats.binned_statistic_2d(
                *np.concatenate(positions).T, np.concatenate(values).T, "mean", edges
            )[0],
            0,
            2,
        )
        for name, values in activity.items()
    }
    return maps, np.concatenate(errors).mean()


@pytest.mark.parametrize("arena", [BOX, SMALL])
def test_maps_are_means_of_the_activity_where_the_rat_is_after_each_step(arena):
    net = network(TASK)
    params = ModelMapParams(
        bin_cm=10, layers=("g", "pre_g", "dc"), n_batches=3, n_walks=40, seed=11
    )
    found = model_rate_maps(net, TASK, arena, params)

    code = TASK.place_code(dtype=torch.float64)  # of the box it was trained in
    task = NavigationTask(arena=arena, tiled=BOX, code=TASK.code, n_steps=6)
    drawn = [draw_batch(task, code, 40, np.random.default_rng([11, batch])) for batch in range(3)]
    batches = [(b.initial_code, b.velocities, b.positions.numpy()) for b in drawn]
    maps, error = binned(net, arena, 0.1, batches, code.decode)
    assert list(found.layers) == ["g", "pre_g", "dc"] and np.isnan(maps["g"]).any()
    for name, expected in maps.items():
        assert found.layers[name].dtype == np.float32
        np.testing.assert_allclose(found.layers[name], expected, rtol=0, atol=1e-6)
    assert found.decoding_error == pytest.approx(error, abs=1e-6)
    assert found.n_samples == 3 * 40 * 6
    assert found.bins.shape == maps["g"].shape[:2]


def test_legacy_maps_are_made_as_the_original_makes_them():
    """mec 7: seeds one after another, place cells stretched over the box, 22 bins for 1.15 m."""
    box = Rectangle(width=1.15, height=1.15)
    net = network(TASK)
    params = ModelMapParams(n_batches=3, n_walks=50, seed=4, legacy=True, layers=("pre_g",))
    found = model_rate_maps(net, TASK, box, params)
    cells = PlaceCells(torch.tensor(place_cell_centers(TASK.code, box)), TASK.code)
    batches = []
    for seed in (4, 5, 6):
        positions, steps = walk(box, TASK.motion, 50, 7, np.random.RandomState(seed))
        batches.append(
            (cells.encode(torch.tensor(positions[:, 1])), steps[:, 1:], positions[:, 2:])
        )
    maps, error = binned(net, box, 1.15 / 22, batches, cells.decode)
    np.testing.assert_allclose(found.layers["pre_g"], maps["pre_g"], rtol=0, atol=1e-6)
    assert found.decoding_error == pytest.approx(error, abs=1e-6)
    now = model_rate_maps(net, TASK, box, params.model_copy(update={"legacy": False}))
    assert now.layers["pre_g"].shape == (23, 23, 7) and found.bins.shape == (22, 22)


def test_a_code_that_the_network_knows_is_decoded_where_a_stretched_one_is_not():
    """A network that repeats its initial code: its error is the distance walked, in any box."""

    class Repeats(torch.nn.Module):
        n_signals = 0

        def layers(self, start, velocity, signals, names):
            return {name: start[:, None].repeat(1, velocity.shape[1], 1) for name in names}

    task = NavigationTask(n_steps=4)
    found = model_rate_maps(Repeats(), task, SMALL, ModelMapParams(n_batches=4))
    assert 0.02 < found.decoding_error < 0.15
    g = found.layers["g"]
    codes = task.place_code().encode(torch.as_tensor(found.bins.centres)).numpy()
    seen = np.isfinite(g[..., 0])
    assert np.corrcoef(g[seen].ravel(), codes[seen].ravel())[0, 1] > 0.9


def test_in_the_training_box_nothing_moves():
    net, params = network(TASK), ModelMapParams(n_batches=1)
    home = model_rate_maps(net, TASK, BOX, params)
    tiled = TASK.model_copy(update={"tiled": Rectangle(width=3, height=3)})
    for legacy in (False, True):
        own = model_rate_maps(net, tiled, BOX, params.model_copy(update={"legacy": legacy}))
        assert not np.allclose(own.layers["g"], home.layers["g"], equal_nan=True)
    spelled_out = NavigationTask(**dict(TASK) | {"tiled": BOX})
    same = model_rate_maps(net, spelled_out, BOX, params)
    np.testing.assert_array_equal(same.layers["g"], home.layers["g"])


def test_seeds_batches_and_networks_count():
    net, params = network(TASK), ModelMapParams(n_batches=2, n_walks=30)
    first, again = (model_rate_maps(net, TASK, SMALL, params).layers["g"] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    for change in ({"seed": 1}, {"n_batches": 3}):
        other = model_rate_maps(net, TASK, SMALL, params.model_copy(update=change)).layers["g"]
        assert not np.array_equal(other, first, equal_nan=True)


def test_cues_reach_the_network_at_home_and_elsewhere_if_asked_for():
    cues = CueParams(places=(Rectangle(width=0.2, height=0.2),), probability=1.0)
    task = NavigationTask(code=PositionParams(), cues=cues, n_steps=4)
    net = network(task)
    blind = deepcopy(net)
    blind.velocity.weight.data[:, -1] = 0
    for arena, empty, seen in ((BOX, True, True), (SMALL, False, True), (SMALL, True, False)):
        params = ModelMapParams(n_batches=2, n_walks=30, empty_elsewhere=empty)
        seeing, unseeing = (
            model_rate_maps(n, task, arena, params).layers["g"] for n in (net, blind)
        )
        assert np.allclose(seeing, unseeing, equal_nan=True) != seen


def test_rats_run_to_the_reward_only_where_it_is():
    task = NavigationTask(code=PositionParams(), reward=RewardParams(signalled=True))
    net, zone = network(task), (0.75, 0.75)
    arena = Rectangle(width=2.4, height=2.4)
    for box, empty, rewarded in ((BOX, True, True), (arena, False, True), (arena, True, False)):
        params = ModelMapParams(bin_cm=20, n_batches=5, layers=("dc",), empty_elsewhere=empty)
        found = model_rate_maps(net, task, box, params)
        same = NavigationTask(code=task.code, arena=box, reward=task.reward if rewarded else None)
        drawn = [trajectories(same, 200, np.random.default_rng([0, batch])) for batch in range(5)]
        at = np.concatenate([d.positions.reshape(-1, 2) for d in drawn])
        visits = np.bincount(found.bins.index(at) + 1, minlength=found.bins.size + 1)[1:]
        unknown = np.isnan(found.layers["dc"][..., 0]).ravel()
        np.testing.assert_array_equal(unknown, visits == 0)
        in_zone = visits[found.bins.index(np.array([zone]))[0]] / visits.sum()
        assert (in_zone > 0.05) == rewarded


def test_memory_does_not_depend_on_the_number_of_batches():
    net, held = network(TASK, n_units=64), []

    def hold(*_):
        alive = [item for item in gc.get_objects() if type(item) is torch.Tensor]
        held.append(sum(tensor.numel() for tensor in alive))

    net.decoder.register_forward_hook(hold)
    model_rate_maps(net, TASK, SMALL, ModelMapParams(n_batches=4, n_walks=50))
    assert len(held) == 4
    assert held[3] == held[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": ()}, "at least 1 item"),
        ({"layers": ("g", "g")}, "mapped once"),
        ({"layers": ("h",)}, "'pre_g', 'g' or 'dc'"),
        ({"n_batches": 0}, "greater than or equal to 1"),
    ],
)
def test_bad_parameters_are_named(changes, message):
    with pytest.raises(ValidationError, match=message):
        ModelMapParams(**changes)


def test_what_does_not_fit_is_named():
    params = ModelMapParams(n_batches=1, layers=("pre_g",))
    with pytest.raises(ValueError, match="no layers"):
        model_rate_maps(network(TASK, type="rnn"), TASK, BOX, params)
    cued = NavigationTask(cues=CueParams())
    with pytest.raises(ValueError, match=r"^the task does not fit .*: cue 1 .* is not inside"):
        model_rate_maps(network(cued), cued, SMALL, ModelMapParams(empty_elsewhere=False))
    with pytest.raises(ValueError, match="start has the shape"):
        model_rate_maps(network(TASK), NavigationTask(), BOX, ModelMapParams())
