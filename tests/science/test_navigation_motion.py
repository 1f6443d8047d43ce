"""The simulated rat against a plain loop, closed forms, the original's statistics and real rats."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from science.navigation import (
    RAT,
    MotionParams,
    Rectangle,
    motion_of_track,
    near_wall,
    random_source,
    track_statistics,
    walk,
)

BOX = Rectangle(width=2.2, height=2.2)
FIELD = Rectangle(width=10_000, height=10_000)  # walls out of reach


# --- against a plain loop


def plain_walk(arena, motion, n_walks, n_steps, rng):
    """mec 3, rat by rat and step by step, with the original's draws."""
    xs = rng.uniform(arena.min_x, arena.max_x, n_walks)
    ys = rng.uniform(arena.min_y, arena.max_y, n_walks)
    headings = rng.uniform(0, 2 * math.pi, n_walks)
    turns = rng.normal(0, motion.turn_sd, (n_walks, n_steps))
    speeds = rng.rayleigh(motion.speed_scale, (n_walks, n_steps))
    paths = []
    for i in range(n_walks):
        x, y, heading = xs[i], ys[i], headings[i]
        path = [(x, y)]
        for t in range(n_steps):
            walls = [arena.max_x - x, arena.max_y - y, x - arena.min_x, y - arena.min_y]
            angle = heading % (2 * math.pi) - walls.index(min(walls)) * math.pi / 2
            angle = (angle + math.pi) % (2 * math.pi) - math.pi
            step, turn = speeds[i, t] * motion.dt, turns[i, t] * motion.dt
            if min(walls) < motion.border and abs(angle) < math.pi / 2:
                step *= motion.slowdown
                turn += math.copysign(math.pi / 2 - abs(angle), angle)
            x, y = x + step * math.cos(heading), y + step * math.sin(heading)
            heading += turn
            path.append((x, y))
        paths.append(path)
    return np.array(paths)


@given(
    width=st.floats(0.11, 1),
    height=st.floats(0.11, 1),
    border=st.floats(0.001, 0.05),
    slowdown=st.floats(0.05, 1),
    n_walks=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_legacy_walks_are_those_of_a_plain_loop(width, height, border, slowdown, n_walks, seed):
    arena = Rectangle(width=width, height=height, center_x=0.3, center_y=-2)
    motion = MotionParams(dt=0.03, turn_sd=7, speed_scale=0.6, border=border, slowdown=slowdown)
    ours = walk(arena, motion, n_walks, 30, random_source(seed, legacy=True))
    expected = plain_walk(arena, motion, n_walks, 30, np.random.RandomState(seed))
    np.testing.assert_allclose(ours.positions, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.velocities, np.diff(expected, axis=1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_walk_begins_where_it_is_told(legacy):
    rng = random_source(0, legacy)
    assert (walk(BOX, RAT, 3, 2, rng, start=[0.5, -0.5]).positions[:, 0] == [0.5, -0.5]).all()
    starts = np.arange(6).reshape(3, 2) / 10
    np.testing.assert_array_equal(walk(BOX, RAT, 3, 2, rng, starts).positions[:, 0], starts)


def test_a_rat_that_heads_for_a_wall_slows_down_and_turns_along_it():
    """Towards each wall at 30 degrees to its normal: one slow step, then along the wall."""
    motion = MotionParams(turn_sd=0, border=0.05)

    class Fixed(np.random.RandomState):
        def uniform(self, low, high, n):
            return np.arange(4) * np.pi / 2 + np.pi / 6

    start = np.array([[1.08, 0], [0, 1.08], [-1.08, 0], [0, -1.08]])
    drawn = walk(BOX, motion, 4, 2, Fixed(0), start)
    speeds = np.random.RandomState(0)
    speeds.normal(size=(4, 2))
    expected = speeds.rayleigh(motion.speed_scale, (4, 2)) * motion.dt * [0.25, 1]
    np.testing.assert_allclose(np.linalg.norm(drawn.velocities, axis=2), expected)
    directions = np.arctan2(drawn.velocities[..., 1], drawn.velocities[..., 0])
    walls = np.arange(4) * np.pi / 2
    turned = np.mod(directions - walls[:, None] + np.pi, 2 * np.pi) - np.pi
    np.testing.assert_allclose(turned, [[np.pi / 6, np.pi / 2]] * 4, atol=1e-12)


# --- statistics


@pytest.mark.parametrize("legacy", [False, True])
def test_in_the_open_field_the_statistics_are_those_of_theory(legacy):
    motion = MotionParams()
    n_walks, n_steps = 20_000, 20
    drawn = walk(FIELD, motion, n_walks, n_steps, random_source(0, legacy))
    lengths = np.hypot(drawn.velocities[..., 0], drawn.velocities[..., 1]) / motion.dt
    mean = motion.speed_scale * np.sqrt(np.pi / 2)
    assert lengths.mean() == pytest.approx(mean, rel=0.005)
    # Rayleigh: variance (2 - pi / 2) b^2, and P(speed > b) = exp(-1 / 2).
    assert lengths.std() == pytest.approx(np.sqrt(2 - np.pi / 2) * motion.speed_scale, rel=0.01)
    assert (lengths > motion.speed_scale).mean() == pytest.approx(np.exp(-0.5), abs=0.005)
    found = track_statistics(drawn.positions, motion.dt)
    turn = motion.turn_sd * motion.dt
    assert found.turn_sd == pytest.approx(turn, rel=0.01)
    cosine = np.exp(-(turn**2) / 2)
    assert found.coherence == pytest.approx(cosine, abs=0.001)
    # Mean square displacement of a correlated random walk.
    lags = np.arange(1, n_steps)
    squared = n_steps * 2 * motion.speed_scale**2
    squared += 2 * mean**2 * ((n_steps - lags) * cosine**lags).sum()
    net = drawn.positions[:, -1] - drawn.positions[:, 0]
    assert np.square(net).sum(1).mean() == pytest.approx(squared * motion.dt**2, rel=0.02)
    np.testing.assert_allclose(net.mean(0), 0, atol=0.01)
    start = drawn.positions[:, 0]
    np.testing.assert_allclose(start.mean(0), 0, atol=100)
    np.testing.assert_allclose(start.std(0), 10_000 / np.sqrt(12), rtol=0.02)


@pytest.mark.shared
@pytest.mark.parametrize("legacy", [False, True])
def test_in_the_box_the_statistics_are_those_of_the_original(shared, legacy):
    expected = json.loads((shared / "golden" / "mec" / "motion_stats.json").read_text())
    motion = MotionParams()
    drawn = walk(BOX, motion, 20_000, 21, random_source(1, legacy))
    seen = drawn.positions[:, 1:]
    found = track_statistics(seen, motion.dt)
    # 4000 walks of the original: standard errors 0.002, 0.003, 0.0005, 0.001, 0.003.
    assert found.mean_speed == pytest.approx(expected["speed_mean_m_s"], abs=0.008)
    assert found.median_speed == pytest.approx(expected["speed_median"], abs=0.012)
    assert near_wall(seen[:, 1:], BOX, 0) == pytest.approx(expected["frac_out_of_box"], abs=0.002)
    assert found.turn_sd == pytest.approx(expected["dhd_std"], abs=0.004)
    net = np.linalg.norm(seen[:, -1] - seen[:, 0], axis=1).mean()
    assert net == pytest.approx(expected["net_disp_20steps_mean_m"], abs=0.01)


def test_track_statistics_by_hand():
    square = [[0, 0], [1, 0], [1, 2], [1, 2], [0, 2]]  # right 1, up 2, rest, left 1
    found = track_statistics(square, 0.5)
    assert found.mean_speed == 2
    assert found.median_speed == 2
    assert found.turn_sd == pytest.approx(np.pi / 2)
    assert found.coherence == pytest.approx(0, abs=1e-15)
    # Straight on for 3 after 1, back for 2: weights 3 and 6.
    along = [[0, 0], [1, 0], [4, 0], [2, 0]]
    assert track_statistics(along, 1).coherence == pytest.approx((3 - 6) / 9)
    assert track_statistics([[0, 0], [1, 1], [3, 3]], 1).coherence == pytest.approx(1)
    arena = Rectangle(min_x=0, max_x=4, min_y=-1, max_y=2.5)
    assert near_wall(square, arena, 0.5) == pytest.approx(2 / 5)
    assert near_wall(square, arena, 0.6) == pytest.approx(4 / 5)
    assert near_wall([[-0.1, 0], [2, 2.6], [1, 1]], arena, 0) == pytest.approx(2 / 3)


@pytest.mark.parametrize("motion", [MotionParams(), RAT, MotionParams(dt=0.05, turn_sd=0)])
def test_motion_of_a_simulated_track_is_the_motion_that_made_it(motion):
    drawn = walk(FIELD, motion, 1, 40_000, random_source(2), start=[0, 0])
    times = 100 + motion.dt * np.arange(40_001)
    found = motion_of_track(times, drawn.positions[0], motion.dt)
    assert found.dt == motion.dt
    assert found.speed_scale == pytest.approx(motion.speed_scale, rel=0.02)
    assert found.turn_sd == pytest.approx(motion.turn_sd, rel=0.03, abs=0.001)


# --- real rats


@pytest.fixture(scope="module")
def rat(shared):
    """Times, positions, and the positions every 0.1 s, of the rat in a box of 1 m."""
    file = shared / "data" / "rat_trajectories_ratinabox" / "sargolini.npz"
    with np.load(file) as track:
        times, positions = track["t"], track["pos"].astype(np.float64)
    grid = np.arange(times[0], times[-1], RAT.dt)
    read = np.stack([np.interp(grid, times, values) for values in positions.T], axis=-1)
    return times, positions, read


ONE = Rectangle(min_x=0, max_x=1, min_y=0, max_y=1)


def lengths_of(positions):
    return np.linalg.norm(np.diff(positions, axis=-2), axis=-1)


@pytest.mark.shared
def test_the_preset_is_the_motion_of_the_real_rat(rat):
    found = motion_of_track(*rat[:2])
    assert found.speed_scale == pytest.approx(RAT.speed_scale, rel=0.002)
    assert found.turn_sd == pytest.approx(RAT.turn_sd, rel=0.002)


@pytest.mark.shared
def test_the_original_runs_eight_times_too_fast_but_turns_like_a_rat(rat):
    """RatInABox 1.15.3 with its defaults, for comparison: 0.09 m/s."""
    real, original = track_statistics(rat[2], RAT.dt), MotionParams()
    simulated = track_statistics(
        walk(ONE, original, 50, 1000, random_source(0)).positions, original.dt
    )
    assert real.mean_speed == pytest.approx(0.118, abs=0.001)
    assert 7.5 < simulated.mean_speed / real.mean_speed < 8.5
    # Spread of the heading per root of a second: 1.6 against 1.4 rad.
    assert original.turn_sd * np.sqrt(original.dt) == pytest.approx(
        RAT.turn_sd * np.sqrt(RAT.dt), rel=0.2
    )


@pytest.mark.shared
def test_the_preset_covers_as_much_ground_as_the_rat(rat):
    """Displacement in 2 s, 20 steps, which nothing was fitted to: 0.156 m."""
    real = np.linalg.norm(rat[2][20:] - rat[2][:-20], axis=1).mean()
    path = walk(ONE, RAT, 50, 6000, random_source(0)).positions
    simulated = np.linalg.norm(path[:, 20:] - path[:, :-20], axis=2).mean()
    assert simulated == pytest.approx(real, rel=0.06)
    assert track_statistics(path, RAT.dt).mean_speed == pytest.approx(
        lengths_of(rat[2]).mean() / RAT.dt, rel=0.06
    )


@pytest.mark.shared
def test_what_the_preset_does_not_have_of_the_rat(rat):
    path = walk(ONE, RAT, 50, 6000, random_source(0)).positions
    real, simulated = lengths_of(rat[2]), lengths_of(path)

    def memory(lengths):
        return np.corrcoef(lengths[..., :-1].ravel(), lengths[..., 1:].ravel())[0, 1]

    # A rat keeps its speed; the simulated one draws it anew in every step.
    assert memory(real) > 0.6
    assert abs(memory(simulated)) < 0.1
    # A rat rests and runs: its speeds vary more than a Rayleigh distribution allows.
    assert real.std() / real.mean() > 0.65
    assert simulated.std() / simulated.mean() < 0.6
    # The simulated rat slides along the walls; the head of the real one hardly touches them.
    assert near_wall(rat[2], ONE, 0.03) < 0.03
    assert near_wall(path, ONE, 0.03) > 0.09
    assert near_wall(rat[2], ONE, 0.1) == pytest.approx(0.27, abs=0.01)
    assert near_wall(path, ONE, 0.1) == pytest.approx(0.365, abs=0.02)


@pytest.mark.shared
def test_the_rat_of_a_larger_box_is_faster_and_its_tracking_jitters(shared):
    """Tanni et al. 2022, 3.5 x 2.5 m: single wrong samples dominate steps of 0.1 s."""
    file = shared / "data" / "rat_trajectories_ratinabox" / "tanni.npz"
    with np.load(file) as track:
        short, long = (motion_of_track(track["t"], track["pos"], dt) for dt in (0.1, 0.2))
    assert short.turn_sd * np.sqrt(short.dt) > 2
    assert long.turn_sd * np.sqrt(long.dt) == pytest.approx(1.28, abs=0.02)
    assert long.speed_scale > 1.5 * RAT.speed_scale


# --- rectangles and what is refused


def test_rectangles_are_known_by_their_limits():
    assert Rectangle(width=2, height=1) == Rectangle(min_x=-1, max_x=1, min_y=-0.5, max_y=0.5)
    given = Rectangle(min_x=0, max_x=1, height=3, center_y=1)
    assert (given.min_y, given.max_y, given.width, given.height) == (-0.5, 2.5, 1, 3)
    assert Rectangle(min_x=0, max_x=1, width=1, min_y=0, max_y=1) == ONE
    np.testing.assert_array_equal(ONE.center, [0.5, 0.5])


@pytest.mark.parametrize("shift", [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1)])
def test_rectangles_with_a_common_edge_or_corner_touch(shift):
    beside = Rectangle(center_x=0.5 + shift[0], center_y=0.5 + shift[1], width=1, height=1)
    apart = Rectangle(
        center_x=0.5 + 1.01 * shift[0], center_y=0.5 + 1.01 * shift[1], width=1, height=1
    )
    assert ONE.touches(beside) and not ONE.touches(apart)
    assert ONE.holds(ONE) and not ONE.holds(beside)
    assert not ONE.holds(ONE, margin_x=0.01) and not ONE.holds(ONE, margin_y=0.01)


@given(st.tuples(*[st.floats(-3, 3)] * 2))
def test_distance_from_a_rectangle_is_that_to_its_nearest_point(point):
    box = Rectangle(min_x=-1, max_x=0.5, min_y=0, max_y=2)
    nearest = np.clip(point, [-1, 0], [0.5, 2])
    distance = box.distance(np.array(point))
    assert distance == pytest.approx(np.linalg.norm(point - nearest), abs=1e-12)
    assert box.contains(np.array(point)) == (distance == 0)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"min_x": 0, "max_x": 1, "width": 2, "height": 1}, "contradict width"),
        ({"min_x": 0, "max_x": 1, "center_x": 0, "height": 1}, "contradict center_x"),
        ({"min_x": 0, "width": 2, "height": 1}, "give both min_x and max_x, or width"),
        ({"width": 2}, "give both min_y and max_y, or height"),
        ({"min_x": 1, "max_x": 0, "height": 1}, "no area"),
        ({"width": 0, "height": 1}, "greater than 0"),
        ({"width": float("nan"), "height": 1}, "greater than 0|finite"),
        ({"width": 1, "height": 1, "depth": 1}, "depth"),
        ({"width": "wide", "height": 1}, "number"),
    ],
)
def test_impossible_rectangles_are_refused(limits, message):
    with pytest.raises(ValueError, match=message):
        Rectangle(**limits)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: walk(BOX, MotionParams(border=1.2), 1, 1, random_source(0)), "narrower than two"),
        (lambda: walk(BOX, RAT, 1, 0, random_source(0)), "one step"),
        (lambda: MotionParams(dt=0), "dt"),
        (lambda: MotionParams(slowdown=0), "slowdown"),
        (lambda: track_statistics(np.zeros((2, 2)), 1), "three samples"),
        (lambda: track_statistics(np.full((5, 2), np.nan), 1), "finite"),
        (lambda: track_statistics(np.ones((5, 2)), 1), "never moves"),
        (lambda: motion_of_track([0, 1], np.zeros((3, 2))), "times must be"),
        (lambda: motion_of_track([0, 1, 1], np.zeros((3, 2))), "increase"),
        (lambda: motion_of_track(range(4), [[0, 0], [1, 0], [0, 0], [1, 0]], 1), "outlast"),
    ],
)
def test_what_cannot_move_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
