"""Later days of a virtual animal: stacks to register to, and a monitor whose gamma changes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

from science.closed_loop import MatchParams, majority_match, match_nearest
from science.natural_images import natural_images
from science.virtual import VirtualAnimal, VirtualAnimalParams, VirtualMonitor
from science.virtual.params import VOLUME_UM

CELLS = {"n_simple": 5, "n_complex": 5, "n_undriven": 2}
BLIND = {"n_simple": 0, "n_complex": 0}
EXACT = {"registration_shift_um": 0, "registration_rotation_deg": 0}
IN_PLACE = {"position_jitter_um": 0, "missing_fraction": 0}
SHIFT_UM, ROTATION_DEG = 1.5, 0.5
MIDDLE_UM = VOLUME_UM.mean(axis=1)


def blind(seed=0, n=60, **params):
    return VirtualAnimal(VirtualAnimalParams(n_undriven=n, **BLIND, **params), seed)


def fitted(source, target):
    """Rigid transform target = R (source - MIDDLE_UM) + t by Kabsch: R (3, 3), t (3,)."""
    source = source - MIDDLE_UM
    rotation, _ = Rotation.align_vectors(target - target.mean(0), source - source.mean(0))
    return rotation.as_matrix(), target.mean(0) - rotation.apply(source.mean(0))


@pytest.fixture(scope="module")
def registrations():
    """Errors of 20 stacks on 20 days as (day, stack, 6): rotation vector, degrees; shift, um."""
    errors = {"registration_shift_um": SHIFT_UM, "registration_rotation_deg": ROTATION_DEG}
    animal, exact = blind(n_stacks=20, **errors), blind(n_stacks=20, **EXACT)
    found = np.empty((20, 20, 6))
    for day, stack in np.ndindex(20, 20):
        session = animal.session(day + 1)
        frame, origin = fitted(session.positions, exact.session(day + 1).stack_positions(stack + 1))
        turned, middle = fitted(session.positions, session.stack_positions(stack + 1))
        tilt = Rotation.from_matrix(frame.T @ turned).as_rotvec(degrees=True)
        found[day, stack] = *tilt, *(frame.T @ (middle - origin))
    return found


# ---------------------------------------------------------------- stacks


@pytest.mark.parametrize("day", [1, 2, 5])
def test_stack_coordinates_are_a_rigid_transform_of_what_was_measured(day):
    session = blind(registration_rotation_deg=3, registration_shift_um=20).session(day)
    for stack in (1, 2, 3):
        there = session.stack_positions(stack)
        assert there.shape == session.positions.shape
        assert there.dtype == np.float64
        np.testing.assert_allclose(pdist(there), pdist(session.positions), rtol=1e-9)
        matrix, shift = fitted(session.positions, there)
        mapped = (session.positions - MIDDLE_UM) @ matrix.T + shift
        np.testing.assert_allclose(mapped, there, atol=1e-8)  # no mirror image


def test_frames_are_turned_about_z_and_displaced_by_hundreds_of_um():
    angles, offsets = [], []
    for seed in range(2):
        session = blind(seed, 20, n_stacks=20, **EXACT).session(1)
        for stack in range(1, 21):
            matrix, origin = fitted(session.positions, session.stack_positions(stack))
            np.testing.assert_allclose(matrix[2], [0, 0, 1], atol=1e-9)
            angles.append(np.arctan2(matrix[1, 0], matrix[0, 0]))
            offsets.append(origin - MIDDLE_UM)
    assert np.abs(np.mean(np.exp(1j * np.array(angles)))) < 0.4  # any angle; p = 0.002
    assert len(np.unique(np.round(angles, 6))) == 40
    assert np.all(np.std(offsets, axis=0) > 200)
    assert np.abs(offsets).max() < 1000


def test_all_days_share_a_frame_where_registration_is_exact():
    animal = blind(**EXACT, **IN_PLACE)
    first, later = animal.session(1), animal.session(4)
    assert not np.array_equal(first.cells, later.cells)
    for stack in (1, 2, 3):
        here = first.stack_positions(stack)[later.cells]
        np.testing.assert_allclose(later.stack_positions(stack), here, atol=1e-9)


def test_registration_errs_as_much_as_asked(registrations):
    """The sd of a normal sample of 400 has a standard error of sd / sqrt(800)."""
    deviation = registrations.std(axis=(0, 1))
    asked = np.repeat([ROTATION_DEG, SHIFT_UM], 3)
    assert np.all(np.abs(deviation / asked - 1) < 4.5 / np.sqrt(800))
    assert np.all(np.abs(registrations.mean(axis=(0, 1)) / asked) < 4.5 / np.sqrt(400))


def test_registration_errors_of_days_stacks_and_axes_are_independent(registrations):
    z = registrations / np.repeat([ROTATION_DEG, SHIFT_UM], 3)
    pairs = {
        "next stack": (z[:, :-1], z[:, 1:]),
        "next day": (z[:-1], z[1:]),  # the first one too: it has errors of its own
        "next axis": (z, np.roll(z, 1, axis=-1)),
    }
    for name, (a, b) in pairs.items():
        assert abs((a * b).mean()) < 4.5 / np.sqrt(a.size), name
    assert len(np.unique(registrations.round(9))) == registrations.size


def test_a_cell_lies_nearly_at_the_same_place_of_a_stack_on_both_days():
    """Per axis: the jitter of day 2, and shift and rotation errors of both days."""
    squared, lever = [], []
    for seed in range(4):
        animal = blind(seed, n_stacks=20)
        first, later = animal.session(1), animal.session(2)
        for stack in range(1, 21):
            moved = later.stack_positions(stack) - first.stack_positions(stack)[later.cells]
            squared.append((moved**2).sum(1).mean())
        lever.append(((first.positions - MIDDLE_UM) ** 2).sum(1).mean())
    expected = 3 * 2.0**2 + 2 * (3 * 1.0**2 + 2 * np.radians(0.2) ** 2 * np.mean(lever))
    assert np.mean(squared) == pytest.approx(expected, rel=0.12)


def test_stack_coordinates_depend_on_nothing_but_animal_day_and_stack():
    few, many, other = blind(n_stacks=2), blind(n_stacks=9), blind(seed=1, n_stacks=2)
    for day in (1, 2):
        once = few.session(day).stack_positions(2)
        many.session(day).stack_positions(7)
        assert np.array_equal(once, few.session(day).stack_positions(2))
        assert np.array_equal(once, many.session(day).stack_positions(2))
    frames = [a.session(1).stack_positions(2) - a.positions for a in (few, other)]
    assert np.abs(frames[0].mean(0) - frames[1].mean(0)).min() > 1


@pytest.mark.parametrize("stack", [-1, 0, 4])
def test_there_are_no_other_stacks(stack):
    with pytest.raises(ValueError, match="stacks 1 to 3"):
        blind().session(1).stack_positions(stack)


def test_at_least_98_percent_of_cells_find_themselves_by_default():
    right = matched = present = 0
    for seed in range(5):
        animal = blind(seed, n=400)
        first, later = animal.session(1), animal.session(2)
        votes = []
        for stack in (1, 2, 3):
            places = first.stack_positions(stack), later.stack_positions(stack)
            index, distance = match_nearest(*places, MatchParams())
            found = np.flatnonzero(index >= 0)
            votes += zip(found.tolist(), index[found].tolist(), distance[found], strict=True)
        best = majority_match(votes)
        right += sum(first.cells[s] == later.cells[m.target] for s, m in best.items())
        matched += len(best)
        present += len(later.cells)
    assert right >= 0.98 * matched
    assert right >= 0.98 * present


# ---------------------------------------------------------------- monitors


def test_a_monitor_follows_its_power_law():
    monitor = VirtualMonitor(amplitude=30, gamma=2, offset=0.5)
    np.testing.assert_allclose(monitor.luminance([0, 51, 127.5, 255]), [0.5, 1.7, 8, 30.5])
    np.testing.assert_allclose(
        monitor.pixels([0, 0.5, 1.7, 8, 30.5, 99]), [0, 0, 51, 127.5, *[255] * 2]
    )


@given(st.floats(1, 500), st.floats(0.5, 3), st.floats(0, 1))
def test_pixels_and_luminance_are_inverse(amplitude, gamma, offset):
    monitor = VirtualMonitor(amplitude, gamma, offset)
    pixels = np.linspace(1, 255, 60).reshape(5, 12)
    np.testing.assert_allclose(monitor.pixels(monitor.luminance(pixels)), pixels, atol=1e-5)


@pytest.mark.parametrize("wrong", [[-1.0], [256], [np.nan, 3]])
def test_a_monitor_shows_no_other_pixel_values(wrong):
    with pytest.raises(ValueError, match="0 to 255"):
        VirtualMonitor(30, 2, 0).luminance(wrong)


@pytest.mark.parametrize("wrong", [(0, 2, 0), (30, 0, 0), (30, 2, -1), (np.nan, 2, 0)])
def test_impossible_monitors_raise(wrong):
    with pytest.raises(ValueError, match="must be above 0"):
        VirtualMonitor(*wrong)


def test_luminance_that_is_nan_has_no_pixel_value():
    with pytest.raises(ValueError, match="NaN"):
        VirtualMonitor(30, 2, 0).pixels([1, np.nan])


@pytest.mark.parametrize("monitor", [VirtualMonitor(32, 1.7, 0.1), VirtualMonitor(5, 4, 20)])
def test_a_measured_curve_rises_and_errs_by_its_noise(monitor):
    """The second monitor is so flat that errors swap neighbours."""
    errors = []
    for seed in range(200):
        pixel_value, luminance = monitor.measured(seed)
        assert np.array_equal(pixel_value, np.arange(0, 256, 15.0))
        assert pixel_value.dtype == luminance.dtype == np.float64
        assert np.all(np.diff(luminance) > 0)
        errors.append(luminance / monitor.luminance(pixel_value) - 1)
    assert np.abs(errors).max() < 0.003 * 5
    assert np.std(np.array(errors)[:, -1]) == pytest.approx(0.003, rel=0.2)
    assert np.array_equal(monitor.measured(3)[1], luminance) == (seed == 3)
    assert np.array_equal(monitor.measured(3)[1], monitor.measured(3)[1])


# ---------------------------------------------------------------- what the eye gets


@pytest.fixture(scope="module")
def animal():
    return VirtualAnimal(VirtualAnimalParams(later_monitor_gamma=2.1, **CELLS), seed=1)


@pytest.fixture(scope="module")
def images():
    return natural_images(40, 24, 40, seed=0)


def evoked(session, images):
    """Expected spikes of every cell and image where gain and drift do not vary."""
    trials = session.trials(images, np.arange(len(images)), seed=0)
    rates = np.empty((len(images), session.animal.params.n_cells))
    rates[:, session.cells] = trials.expected / trials.gain[:, None] / session.drift
    return rates


def test_monitors_have_the_gamma_of_their_day(animal):
    assert animal.session(1).monitor == VirtualMonitor(32, 1.7, 0.1)
    assert animal.session(2).monitor == animal.session(3).monitor == VirtualMonitor(32, 2.1, 0.1)
    assert animal.session(1).monitor.luminance(127.5) == pytest.approx(10, rel=0.02)
    steady = VirtualAnimal(VirtualAnimalParams(**CELLS), seed=1)
    assert steady.session(2).monitor == steady.session(1).monitor


def test_the_eye_sees_images_of_the_first_monitor_as_they_are(animal, images):
    """So that nothing changes for recordings made before there were monitors."""
    steady = VirtualAnimal(VirtualAnimalParams(**CELLS), seed=1)
    beyond = images - 300.0  # was never checked
    for session in (animal.session(1), steady.session(1), steady.session(2)):
        for shown in (images, images.astype(np.float32), beyond):
            seen = session.seen(shown)
            assert seen.dtype == np.float64
            assert np.array_equal(seen, shown)
    order = np.arange(len(images))
    expected = steady.rates(images)[:, steady.session(2).cells] * steady.session(2).drift
    trials = steady.session(2).trials(images, order, seed=0)
    assert np.array_equal(trials.expected, expected * trials.gain[:, None])


def test_monitors_and_stacks_leave_the_cells_and_their_noise_alone(images):
    plain = VirtualAnimal(VirtualAnimalParams(**CELLS), seed=1)
    added = {"n_stacks": 7, "registration_shift_um": 9, "later_monitor_gamma": 2.5}
    other = VirtualAnimal(VirtualAnimalParams(**CELLS, **added), seed=1)
    order = np.arange(len(images))
    for day in (1, 2):
        a, b = plain.session(day), other.session(day)
        for name in ("unit_ids", "cells", "positions", "drift"):
            assert np.array_equal(getattr(a, name), getattr(b, name))
        first, second = a.trials(images, order, 3), b.trials(images, order, 3)
        assert np.array_equal(first.gain, second.gain)
        assert np.array_equal(first.counts, second.counts) == (day == 1)


def test_images_inverted_through_the_later_monitor_evoke_what_they_did(animal, images):
    """Between the monitors lies x**(2.1 / 1.7), whose slope makes rounding errors grow."""
    first, later = animal.session(1), animal.session(2)
    driven = later.cells[animal.kind[later.cells] != "undriven"]
    before = evoked(first, images)[:, driven]
    inverted = later.monitor.pixels(first.monitor.luminance(images))
    np.testing.assert_allclose(evoked(later, inverted)[:, driven], before, rtol=1e-9)

    rounded = np.rint(inverted).astype(np.uint8)
    assert np.abs(later.seen(rounded) - images).max() < 0.5 * 2.1 / 1.7 + 1e-9
    error, uncorrected = (
        np.abs(evoked(later, shown)[:, driven] / before - 1).mean() for shown in (rounded, images)
    )
    assert error < 0.01
    assert uncorrected > 10 * error


@pytest.mark.parametrize("day", [1, 2])
@pytest.mark.parametrize("k", [2, 4])
def test_enlarged_images_evoke_what_the_small_ones_do(animal, images, day, k):
    session = animal.session(day)
    large = np.kron(images, np.ones((1, k, k), np.uint8))
    np.testing.assert_allclose(session.seen(large), session.seen(images), atol=1e-9)
    order = np.arange(len(images))
    small, same = (session.trials(shown, order, seed=0).expected for shown in (images, large))
    np.testing.assert_allclose(same, small, rtol=1e-9)


def test_the_eye_averages_light_not_pixel_values(animal):
    """A checkerboard of black and white is as bright as the grey of half the light."""
    board = np.tile([[0, 255], [255, 0]], (1, 24, 40)).reshape(1, 48, 80)
    for day in (1, 2):
        expected = 255 * 0.5 ** (1 / 1.7)  # of the day-1 monitor, whatever the later gamma is
        np.testing.assert_allclose(animal.session(day).seen(board), expected)
    stripes = np.zeros((1, 48, 80), np.uint8)
    stripes[:, :, 20:40] = 255  # columns 10 to 19 of the eye
    seen = animal.session(2).seen(stripes)
    np.testing.assert_allclose(seen[0, :, 10:20], 255)
    assert seen.sum() == pytest.approx(24 * 10 * 255)


@pytest.mark.parametrize("size", [(23, 40), (24, 80), (48, 40), (12, 20), (40, 24), (0, 0), (24,)])
def test_images_of_another_size_raise(animal, size):
    with pytest.raises(ValueError, match=r"24, 40\), or k times .* k = 2, 3"):
        animal.session(1).seen(np.zeros((3, *size)))


def test_pixel_values_that_a_changed_monitor_cannot_show_raise(animal):
    with pytest.raises(ValueError, match="-3 to 260"):
        animal.session(2).record(np.full((2, 24, 40), [[[-3]], [[260]]]), np.arange(2), seed=0)


def test_no_images_are_seen_as_none(animal):
    assert animal.session(2).seen(np.zeros((0, 48, 80))).shape == (0, 24, 40)


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_stacks": 0},
        {"n_stacks": 21},
        {"registration_shift_um": -1},
        {"registration_rotation_deg": -1},
        {"monitor_gamma": 0},
        {"later_monitor_gamma": 0},
        {"monitor_amplitude": 0},
        {"monitor_offset": -0.1},
    ],
)
def test_impossible_days_raise(wrong):
    with pytest.raises(ValidationError):
        VirtualAnimalParams(**wrong)


def test_parameters_stored_before_there_were_stacks_and_monitors_still_read():
    stored = VirtualAnimalParams().model_dump(mode="json")
    new = [name for name in stored if "monitor" in name or "stack" in name or "registr" in name]
    assert len(new) == 7
    old = {name: value for name, value in stored.items() if name not in new}
    assert VirtualAnimalParams.model_validate(old) == VirtualAnimalParams()
