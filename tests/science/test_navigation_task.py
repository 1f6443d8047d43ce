"""The navigation task against the original's numbers, closed forms and plain loops (mec 2 to 4)."""

import json
import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.special import softmax

from science.navigation import (
    PUBLISHED_CUES,
    CueParams,
    MotionParams,
    NavigationTask,
    PlaceCellParams,
    PositionParams,
    Rectangle,
    RewardParams,
    cue_inputs,
    draw_batch,
    place_cell_centers,
    random_source,
    seek_reward,
    trajectories,
    walk,
)

BOX = Rectangle(width=2.2, height=2.2)
SMALL = Rectangle(width=1.0, height=1.0)
KINDS = {"plain": {}, "cue": {"cues": CueParams()}, "reward": {"reward": RewardParams()}}


@pytest.fixture(scope="module")
def golden(shared):
    def load(name):
        with np.load(shared / "golden" / "mec" / name) as arrays:
            return dict(arrays)

    return load


def xy(arrays, *names):
    return np.stack([arrays[name] for name in names], axis=-1)


# --- walks, cues, rewards


@pytest.mark.shared
@pytest.mark.parametrize(
    ("kind", "seed", "box"),
    [(kind, seed, BOX) for kind in KINDS for seed in range(3)]
    + [("smallbox0.6", 7, Rectangle(width=0.6, height=0.6))],
)
def test_legacy_walks_cues_and_rewards_are_those_of_the_original(golden, kind, seed, box):
    prefix = f"{kind}|seed{seed}|"
    expected = {
        name.removeprefix(prefix): values
        for name, values in golden("trajectories.npz").items()
        if name.startswith(prefix)
    }
    n_walks = len(expected["init_x"])
    task = NavigationTask(arena=box, legacy=True, **KINDS.get(kind, {}))
    ours = trajectories(task, n_walks, random_source(seed, legacy=True))
    if kind == "reward":
        velocities = xy(expected, "ego_v_x", "ego_v_y")
        np.testing.assert_array_equal(ours.rewards, expected["rewards"])
    else:
        heading, speed = expected["target_hd"], expected["ego_v"]
        velocities = np.stack([speed * np.cos(heading), speed * np.sin(heading)], axis=-1)
        assert ours.rewards is None
    if kind == "cue":
        np.testing.assert_allclose(ours.cues, expected["cue_inputs"], rtol=0, atol=4.5e-16)
    else:
        assert ours.cues is None
    start = xy(expected, "init_x", "init_y")[:, 0]
    np.testing.assert_allclose(ours.start, start, rtol=0, atol=4e-16)
    np.testing.assert_allclose(ours.velocities, velocities, rtol=0, atol=4e-16)
    targets = xy(expected, "target_x", "target_y")
    np.testing.assert_allclose(ours.positions, targets, rtol=0, atol=4e-16)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_positions_are_the_start_plus_the_velocities_so_far(kind, legacy):
    task = NavigationTask(legacy=legacy, n_steps=12, **KINDS[kind])
    drawn = trajectories(task, 50, random_source(1, legacy))
    reached = drawn.start[:, None] + drawn.velocities.cumsum(1)
    np.testing.assert_allclose(drawn.positions, reached, rtol=0, atol=1e-14)
    again = trajectories(task, 50, random_source(1, legacy))
    np.testing.assert_array_equal(drawn.positions, again.positions)
    other = trajectories(task, 50, random_source([1, 1], legacy))
    assert not np.isin(other.velocities, drawn.velocities).any()


def distance_by_hand(point, place):
    nearest_x = min(max(point[0], place.min_x), place.max_x)
    nearest_y = min(max(point[1], place.min_y), place.max_y)
    return math.dist(point, (nearest_x, nearest_y))


def test_cues_tell_how_near_they_are_before_each_step():
    task = NavigationTask(cues=CueParams(probability=0.3), n_steps=5)
    drawn = trajectories(task, 41, random_source(0))
    assert drawn.cues.shape == (41, 5, 5)
    shown = drawn.cues.any((1, 2))
    assert shown.sum() == math.ceil(0.3 * 41)
    assert (drawn.cues[shown] > 0).all() and (drawn.cues[shown] <= 1).all()
    before = np.concatenate([drawn.start[:, None], drawn.positions[:, :-1]], axis=1)
    for i in np.flatnonzero(shown):
        expected = [
            [math.exp(-distance_by_hand(point, place)) for place in PUBLISHED_CUES]
            for point in before[i]
        ]
        np.testing.assert_allclose(drawn.cues[i], expected, rtol=1e-12)


def test_no_cue_differs_from_inside_a_cue_except_in_the_original():
    inside = np.zeros((4, 1, 2))
    cues = CueParams(places=(Rectangle(width=0.2, height=0.2),), probability=0.5)
    assert sorted(cue_inputs(inside, cues, random_source(0)).ravel()) == [0, 0, 1, 1]
    assert not cue_inputs(inside, cues, random_source(0), legacy=True).any()


def test_rewarded_rats_run_straight_to_the_zone_and_stay():
    task = NavigationTask(reward=RewardParams(probability=0.25, n_approach=4), n_steps=9)
    drawn = trajectories(task, 30, random_source(2))
    rewarded = drawn.rewards.any(1)
    assert rewarded.sum() == math.ceil(0.25 * 30)
    runs = drawn.velocities[rewarded, :4]
    np.testing.assert_array_equal(runs, np.repeat(runs[:, :1], 4, axis=1))
    np.testing.assert_allclose(drawn.positions[rewarded, 3], 0.75, rtol=0, atol=1e-14)
    assert (drawn.rewards[rewarded, 4] == 1).all()
    before = np.concatenate([drawn.start[:, None], drawn.positions[:, :-1]], axis=1)
    in_zone = (np.abs(before - 0.75) <= 0.1).all(-1)
    np.testing.assert_array_equal(drawn.rewards, in_zone & rewarded[:, None])
    assert drawn.rewards[rewarded, 4:].mean() > 0.9


def test_rats_without_reward_wander_on_and_nothing_is_changed_in_place():
    rng = random_source(3)
    wandering = walk(BOX, MotionParams(), 20, 10, rng)
    before = wandering.positions.copy()
    after = seek_reward(wandering, RewardParams(probability=0.5), MotionParams(), rng)
    np.testing.assert_array_equal(wandering.positions, before)
    same = (after.walk.positions == before).all((1, 2))
    assert same.sum() == 10
    np.testing.assert_array_equal(after.walk.velocities[same], wandering.velocities[same])
    assert not after.rewards[same].any()


@pytest.mark.shared
def test_rewards_are_as_frequent_as_in_the_original(shared):
    stats = json.loads((shared / "golden" / "mec" / "motion_stats.json").read_text())
    drawn = trajectories(NavigationTask(reward=RewardParams()), 4000, random_source(4))
    assert drawn.rewards.mean() == pytest.approx(stats["reward_frac_timesteps"], abs=0.005)
    assert drawn.rewards.any(1).mean() == stats["reward_frac_episodes_any"]


# --- place cells


@pytest.mark.shared
def test_place_cells_are_those_of_the_original(golden):
    cells = golden("place_cells.npz")
    task = NavigationTask(legacy=True)
    code = task.place_code(cells["us_unit"], torch.float64)
    np.testing.assert_allclose(code.centers, cells["us_box2.2"], rtol=0, atol=1e-15)
    positions = torch.from_numpy(cells["pos"])
    activity = code.encode(positions)
    np.testing.assert_allclose(activity, cells["act_DoG"], rtol=0, atol=6e-17)
    decoded = code.decode(activity)
    np.testing.assert_allclose(decoded, cells["decoded_pos_k3_from_act_DoG"], rtol=0, atol=1.2e-16)
    gauss = task.model_copy(update={"code": PlaceCellParams(surround=False)})
    # Values up to 0.5: one unit in the last place is 6e-17.
    activity = gauss.place_code(cells["us_unit"], torch.float64).encode(positions)
    np.testing.assert_allclose(activity, cells["act_gauss"], rtol=0, atol=1.2e-16)
    single = task.place_code(cells["us_unit"]).encode(positions)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, cells["act_DoG"], rtol=1e-4, atol=2e-8)


@pytest.mark.shared
def test_elsewhere_the_place_cells_stay_and_those_of_the_original_stretch(golden):
    cells = golden("place_cells.npz")
    uniforms, centers = cells["us_unit"], cells["us_box2.2"]
    stretched = NavigationTask(legacy=True).elsewhere(SMALL).place_code(uniforms, torch.float64)
    np.testing.assert_allclose(stretched.centers, cells["us_box1.0"], rtol=0, atol=1e-15)
    kept = NavigationTask().elsewhere(SMALL)
    assert kept.arena == SMALL
    same = kept.place_code(uniforms, torch.float64).centers
    np.testing.assert_allclose(same, centers, rtol=0, atol=1e-15)
    assert kept.elsewhere(Rectangle(width=3, height=3)).tiled == BOX


@pytest.mark.parametrize(("legacy", "stretch"), [(False, 1), (True, 1 / 2.2)])
def test_codes_elsewhere_are_known_to_the_network_except_in_the_original(legacy, stretch):
    task = NavigationTask(legacy=legacy)
    centers = task.place_code().centers
    torch.testing.assert_close(task.elsewhere(SMALL).place_code().centers, stretch * centers)
    twice = task.elsewhere(SMALL).elsewhere(BOX)
    torch.testing.assert_close(twice.place_code().centers, centers)


def test_three_cells_tell_the_position():
    cells = NavigationTask(code=PlaceCellParams(n_cells=5)).place_code()
    logits = torch.tensor([[5.0, -1.0, 4.0, 0.0, 3.0], [0.0, 1.0, 2.0, 3.0, -9.0]])
    expected = [cells.centers[[0, 2, 4]].mean(0), cells.centers[[1, 2, 3]].mean(0)]
    torch.testing.assert_close(cells.decode(logits), torch.stack(expected))


def test_the_code_is_a_difference_of_softmaxes():
    params = PlaceCellParams(n_cells=40, field_width=0.2, surround_scale=3, seed=5)
    task = NavigationTask(code=params)
    code = task.place_code(dtype=torch.float64)
    positions = np.random.default_rng(0).uniform(-1.1, 1.1, (3, 4, 2))
    activity = code.encode(torch.from_numpy(positions)).numpy()
    assert activity.shape == (3, 4, 40)
    for i, j in np.ndindex(3, 4):
        squared = np.square(code.centers.numpy() - positions[i, j]).sum(1)
        expected = softmax(-squared / 0.08) - softmax(-squared / 0.24)
        expected -= expected.min()
        np.testing.assert_allclose(activity[i, j], expected / expected.sum(), atol=1e-15)
    assert (activity >= 0).all()
    np.testing.assert_allclose(activity.sum(-1), 1, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_from_all_place_cells_the_code_is_uniform(dtype):
    code = NavigationTask().place_code(dtype=dtype)
    activity = code.encode(torch.tensor([[1e4, 0.0], [0.0, 30.0], [0.0, 3.0]], dtype=dtype))
    np.testing.assert_allclose(activity[0], 1 / 512, rtol=1e-6)
    torch.testing.assert_close(activity.sum(-1), torch.ones(3, dtype=dtype))
    assert (activity >= 0).all()


def test_centers_fill_the_box_and_are_reproducible():
    box = Rectangle(min_x=1, max_x=2, min_y=-5, max_y=-1)
    params = PlaceCellParams(n_cells=20_000, seed=1)
    centers = place_cell_centers(params, box)
    assert box.contains(centers).all()
    np.testing.assert_allclose(centers.mean(0), [1.5, -3], atol=0.03)
    np.testing.assert_allclose(centers.std(0), np.array([1, 4]) / np.sqrt(12), rtol=0.02)
    np.testing.assert_array_equal(centers, place_cell_centers(params, box))
    assert (centers != place_cell_centers(PlaceCellParams(n_cells=20_000), box)).any()


def test_the_entropy_of_the_targets_leaves_little_to_learn():
    """mec 4: 6.1443 nats against ln 512 = 6.2383."""
    batch = draw_batch(task := NavigationTask(), task.place_code(), 200, random_source(0))
    entropy = torch.special.entr(batch.targets.double()).sum(-1).mean()
    assert entropy == pytest.approx(6.1443, abs=0.005)


@pytest.mark.parametrize("surround", [False, True])
def test_a_decoded_position_is_close_to_the_true_one(surround):
    """512 cells on 4.84 m^2: the third nearest is about 10 cm away."""
    task = NavigationTask(code=PlaceCellParams(surround=surround))
    code = task.place_code()
    batch = draw_batch(task, code, 200, random_source(0))
    error = (code.decode(batch.targets) - batch.positions).norm(dim=-1)
    assert error.median() == pytest.approx(0.038, abs=0.005)
    assert (error > 0.3).float().mean() <= 0.01 * surround


# --- batches


@pytest.mark.shared
def test_a_batch_is_that_of_the_original(golden):
    expected = golden("trajectories.npz")
    cells = golden("place_cells.npz")
    task = NavigationTask(legacy=True)
    code = task.place_code(cells["us_unit"], torch.float64)
    # The second batch of a generator of seed 0.
    batch = draw_batch(task, code, 4, random_source(1, legacy=True))
    velocities, positions = (expected[f"getbatch2|seed0|{name}"] for name in ("v", "pos"))
    np.testing.assert_allclose(batch.velocities, velocities, rtol=0, atol=4e-16)
    np.testing.assert_allclose(batch.positions, positions, rtol=0, atol=4e-16)
    np.testing.assert_allclose(
        batch.initial_code.sum(-1), expected["getbatch2|seed0|init_actv_sum"], atol=1e-14
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_walks", [1, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_has_the_walks_and_their_codes(kind, n_walks, dtype):
    task = NavigationTask(code=PlaceCellParams(n_cells=30), n_steps=9, **KINDS[kind])
    code = task.place_code(dtype=dtype)
    batch = draw_batch(task, code, n_walks, random_source(0))
    drawn = trajectories(task, n_walks, random_source(0))
    tolerance = {"rtol": 0, "atol": 1e-7 if dtype == torch.float32 else 0}
    np.testing.assert_allclose(batch.velocities, drawn.velocities, **tolerance)
    np.testing.assert_allclose(batch.positions, drawn.positions, **tolerance)
    assert batch.initial_code.shape == (n_walks, code.n_outputs)
    assert batch.targets.shape == (n_walks, 9, code.n_outputs)
    torch.testing.assert_close(
        batch.initial_code, code.encode(torch.tensor(drawn.start, dtype=dtype))
    )
    torch.testing.assert_close(batch.targets, code.encode(batch.positions))
    for ours, expected in ((batch.cues, drawn.cues), (batch.rewards, drawn.rewards)):
        assert (ours is None) == (expected is None)
        if ours is not None:
            assert ours.dtype == dtype
            np.testing.assert_allclose(ours, expected, **tolerance)
    assert {batch.velocities.dtype, batch.targets.dtype, batch.initial_code.dtype} == {dtype}


def test_the_position_task_asks_for_the_position():
    task = NavigationTask(code=PositionParams())
    code = task.place_code()
    batch = draw_batch(task, code, 3, random_source(0))
    assert code.n_outputs == 2
    assert batch.initial_code.shape == (3, 2)
    torch.testing.assert_close(batch.targets, batch.positions)
    torch.testing.assert_close(code.decode(batch.targets), batch.positions)


def test_a_task_survives_its_document():
    task = NavigationTask(cues=CueParams(), code=PositionParams(), tiled=SMALL)
    assert NavigationTask.model_validate_json(task.model_dump_json()) == task
    assert hash(task) == hash(task.model_copy())


@pytest.mark.shared
def test_defaults_are_the_published_ones(shared):
    constants = json.loads((shared / "golden" / "mec" / "constants.json").read_text())
    cues = constants["CUE_2D_INPUT_KWARGS"]
    assert CueParams() == CueParams(places=cues["cue_extents"], probability=cues["cue_prob"])
    reward = constants["REWARD_KWARGS"]
    assert RewardParams() == RewardParams(
        zone={axis: reward[f"reward_zone_{axis}"] for axis in ("min_x", "max_x", "min_y", "max_y")},
        probability=reward["reward_zone_prob"],
        n_approach=reward["reward_zone_navigate_timesteps"],
    )
    assert RewardParams().zone.width == pytest.approx(reward["reward_zone_size"])
    options = constants["configure_options_defaults"]
    task = NavigationTask()
    assert task.arena == Rectangle(width=options["box_width"], height=options["box_height"])
    assert task.n_steps == options["sequence_length"]
    assert task.code == PlaceCellParams(
        n_cells=options["Np"],
        field_width=options["place_cell_rf"],
        surround=options["DoG"],
        surround_scale=options["surround_scale"],
    )


# --- what is refused

CORNER = Rectangle(center_x=1.1, center_y=0, width=0.2, height=0.2)
OVERLAP = (
    Rectangle(width=0.2, height=0.2),
    Rectangle(center_x=0.2, center_y=0, width=0.2, height=0.2),
)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NavigationTask(cues=CueParams(places=(CORNER,))), "cue 0 .* is not inside"),
        (lambda: NavigationTask(cues=CueParams()).elsewhere(SMALL), "cue 3 .* is not inside"),
        (lambda: CueParams(places=OVERLAP), "cues 0 .* and 1 .* overlap or touch"),
        (lambda: CueParams(places=()), "at least 1"),
        (lambda: CueParams(probability=1.1), "probability"),
        (lambda: NavigationTask(arena=SMALL, reward=RewardParams()), "does not keep 0.15 m"),
        (lambda: NavigationTask(n_steps=7, reward=RewardParams()), "too few for a run of 7"),
        (lambda: NavigationTask(cues=CueParams(), reward=RewardParams()), "not both"),
        (lambda: RewardParams(zone={"min_x": 0, "max_x": 1, "width": 0.2, "height": 1}), "width"),
        (lambda: PlaceCellParams(n_cells=0), "n_cells"),
        (lambda: PlaceCellParams(surround_scale=1), "surround_scale"),
        (lambda: NavigationTask(n_steps=0), "n_steps"),
        (lambda: place_cell_centers(PlaceCellParams(), BOX, np.zeros((3, 2))), "512 place cells"),
        (lambda: place_cell_centers(PlaceCellParams(n_cells=3), BOX, np.full((3, 2), 2)), "0, 1"),
        (lambda: trajectories(NavigationTask(), 0, random_source(0)), "at least one walk"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_walks_too_short_for_the_reward_are_refused():
    wandering = walk(BOX, MotionParams(), 2, 7, random_source(0))
    with pytest.raises(ValueError, match="too short for a run of 7 steps"):
        seek_reward(wandering, RewardParams(), MotionParams(), random_source(0))


def test_unknown_names_are_refused():
    with pytest.raises(ValidationError, match="box_width"):
        NavigationTask(box_width=2.2)
