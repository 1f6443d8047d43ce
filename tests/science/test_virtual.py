from dataclasses import fields

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from science.natural_images import natural_images
from science.virtual import (
    SessionDesign,
    VirtualAnimal,
    VirtualAnimalParams,
    first_day,
    shared_gain,
    shuffled_presentation,
)

HEIGHT, WIDTH = 24, 40
SMALL = {"n_simple": 5, "n_complex": 5, "n_undriven": 2}


@pytest.fixture(scope="module")
def animal():
    return VirtualAnimal(VirtualAnimalParams(), seed=1)


@pytest.fixture(scope="module")
def images():
    return natural_images(1500, HEIGHT, WIDTH, seed=0)


def gratings(direction, wavelength, phases, contrast=1.0):
    """Full-field gratings, pixels; direction of the wave from +column towards +row."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    distance = columns * np.cos(direction) + rows * np.sin(direction)
    angle = 2 * np.pi * distance / wavelength + np.asarray(phases)[:, None, None]
    return 127.5 * (1 + contrast * np.cos(angle))


def cells_of(animal, kind):
    return np.flatnonzero(animal.kind == kind)


# ---------------------------------------------------------------- cells


def test_numbers_of_cells(animal):
    kinds, numbers = np.unique(animal.kind, return_counts=True)
    assert dict(zip(kinds, numbers, strict=True)) == {"simple": 32, "complex": 32, "undriven": 8}


def test_filters_have_zero_mean_and_unit_norm(animal):
    driven = animal.kind != "undriven"
    for filters in (animal.filters, animal.quadrature):
        assert filters.shape == (72, HEIGHT, WIDTH)
        assert filters.dtype == np.float32
        assert np.abs(filters.mean((1, 2))).max() < 1e-7
        assert np.allclose(np.linalg.norm(filters[driven], axis=(1, 2)), 1, atol=1e-6)
        assert not filters[~driven].any()


def test_receptive_fields_are_distinct_whatever_the_phase(animal):
    driven = np.flatnonzero(animal.kind != "undriven")
    pairs = np.stack([animal.filters[driven], animal.quadrature[driven]], 1).reshape(64, 2, -1)
    bases = np.linalg.qr(np.swapaxes(pairs, 1, 2).astype(float))[0]
    products = np.einsum("apk,bpl->abkl", bases, bases)
    cosines = np.linalg.svd(products, compute_uv=False)[..., 0]
    np.fill_diagonal(cosines, 0)
    # orthonormal bases allow slightly more than the pairs, which are not quite orthogonal
    assert cosines.max() < animal.params.max_overlap + 0.1
    flat = animal.filters[driven].reshape(64, -1)
    assert np.abs(flat @ flat.T - np.eye(64)).max() <= animal.params.max_overlap + 1e-6


def test_receptive_fields_lie_inside_the_image(animal):
    energy = animal.filters**2 + animal.quadrature**2
    energy = energy[animal.kind != "undriven"]
    energy /= energy.sum((1, 2), keepdims=True)
    row = (energy.sum(2) * np.arange(HEIGHT)).sum(1)
    column = (energy.sum(1) * np.arange(WIDTH)).sum(1)
    assert row.min() > 5
    assert row.max() < HEIGHT - 6
    assert column.min() > 5
    assert column.max() < WIDTH - 6


def test_cell_bodies_keep_their_distance_and_areas_and_layers_follow_from_place(animal):
    gaps = np.linalg.norm(animal.positions[:, None] - animal.positions, axis=2)
    assert gaps[~np.eye(72, dtype=bool)].min() >= 15
    x, _, depth = animal.positions.T
    assert x[animal.brain_area == "V1"].max() < x[animal.brain_area == "LM"].min()
    assert depth[animal.layer == "L2/3"].max() < depth[animal.layer == "L4"].min()
    assert depth[animal.layer == "L4"].max() < depth[animal.layer == "L5"].min()


def test_seed_and_parameters_determine_everything(animal, images):
    again = VirtualAnimal(VirtualAnimalParams(), seed=1)
    assert np.array_equal(again.filters, animal.filters)
    assert np.array_equal(again.positions, animal.positions)
    assert np.array_equal(again.kind, animal.kind)
    assert np.array_equal(again.rates(images[:5]), animal.rates(images[:5]))
    other = VirtualAnimal(VirtualAnimalParams(), seed=2)
    assert not np.array_equal(other.filters, animal.filters)


# ---------------------------------------------------------------- rates


def test_mean_rates_over_fresh_natural_images(animal, images):
    rates = animal.rates(images)
    mean = rates.mean(0)
    assert mean.min() > 0.8
    assert mean.max() < 3.6
    sampling = rates.std(0) * np.sqrt(1 / 512 + 1 / 1500)  # of calibration and of these images
    assert np.all(np.abs(mean - animal.mean_rates) < 5 * sampling + 1e-9)
    assert (mean / animal.mean_rates).mean() == pytest.approx(1, abs=0.06)


def test_rates_follow_the_model_equation(images):
    """Recomputed cell by cell from the documented equation, up to the amplitude."""
    animal = VirtualAnimal(VirtualAnimalParams(exponent=2, baseline_fraction=0.2, **SMALL), seed=0)
    contrast = images.astype(float) / 127.5 - 1
    calibration = natural_images(512, HEIGHT, WIDTH, 20190331) / 127.5 - 1
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    rates = animal.rates(images)
    for cell in np.flatnonzero(animal.kind != "undriven"):
        g = animal.gabors
        variance = 2.5**2 * g.sigma_u[cell] * g.sigma_v[cell]
        pool = np.exp(-((columns - g.x[cell]) ** 2 + (rows - g.y[cell]) ** 2) / (2 * variance))

        def drive(x, cell=cell, pool=pool):
            even = (x * animal.filters[cell]).sum((1, 2))
            odd = (x * animal.quadrature[cell]).sum((1, 2))
            top = even if animal.kind[cell] == "simple" else np.hypot(even, odd)
            return top / np.sqrt(0.1**2 + (pool * x**2).sum((1, 2)) / pool.sum())

        rms = np.sqrt((drive(calibration) ** 2).mean())
        evoked = (0.2 * np.log1p(np.exp(drive(contrast) / rms / 0.2))) ** 2
        excess = rates[:, cell] - 0.2 * animal.mean_rates[cell]
        assert np.allclose(excess / excess.mean(), evoked / evoked.mean(), rtol=1e-5)


def test_rates_take_views_and_read_only_arrays(animal, images):
    shown = images[:6].copy()
    shown.flags.writeable = False
    expected = animal.rates(images[:6])[::-1]
    assert np.allclose(animal.rates(shown[::-1]), expected, rtol=1e-12)


def test_undriven_cells_ignore_the_image(animal, images):
    rates = animal.rates(images)
    ignoring = rates.std(0) < 1e-12
    assert np.array_equal(ignoring, animal.kind == "undriven")
    assert np.allclose(rates[0, ignoring], animal.mean_rates[ignoring])


def test_drifting_gratings_tell_simple_from_complex(animal):
    """F1 / F0 above 1 for simple, below 1 for complex cells (Skottun et al. 1991)."""
    phases = np.arange(16) * 2 * np.pi / 16
    for cell in np.flatnonzero(animal.kind != "undriven"):
        shown = gratings(animal.gabors.direction[cell], animal.gabors.wavelength[cell], phases)
        spectrum = np.abs(np.fft.rfft(animal.rates(shown)[:, cell])) / 16
        modulation = 2 * spectrum[1] / spectrum[0]
        if animal.kind[cell] == "simple":
            assert modulation > 1.2
        else:
            assert modulation < 0.3


def test_preferred_orientation_is_that_of_the_gabor(animal):
    directions = np.arange(36) * np.pi / 36
    phases = np.arange(8) * 2 * np.pi / 8
    for cell in np.flatnonzero(animal.kind != "undriven"):
        wavelength = animal.gabors.wavelength[cell]
        shown = np.concatenate([gratings(d, wavelength, phases) for d in directions])
        tuning = animal.rates(shown)[:, cell].reshape(36, 8).max(1)
        error = directions[tuning.argmax()] - animal.gabors.direction[cell]
        assert abs((error + np.pi / 2) % np.pi - np.pi / 2) < np.radians(13)
        assert tuning.min() < 0.5 * tuning.max()


def test_contrast_saturates_and_the_surround_suppresses(animal):
    """Divisive normalisation (Heeger 1992; Carandini & Heeger 2012)."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    for cell in cells_of(animal, "complex"):
        g = animal.gabors
        shown = gratings(g.direction[cell], g.wavelength[cell], [0])[0] - 127.5
        near = np.hypot(columns - g.x[cell], rows - g.y[cell]) < 3 * g.sigma_v[cell]
        stimuli = [shown / 8, shown / 4, shown / 2, shown, shown * near]
        low, middle, high, full, centre = animal.rates(127.5 + np.array(stimuli))[:, cell]
        assert low < middle < high < full < centre
        assert (middle - low) / (1 / 8) > 3 * (full - high) / (1 / 2)


def test_most_exciting_image_of_a_simple_cell_is_its_filter(animal):
    start = torch.Generator().manual_seed(0)
    noise = torch.randn(72, HEIGHT, WIDTH, generator=start, dtype=torch.float64)
    pixels = (127.5 + 10 * noise).requires_grad_()
    optimizer = torch.optim.Adam([pixels], lr=3.0)
    for _ in range(500):
        own = animal.rates_tensor(pixels).diagonal()
        optimizer.zero_grad()
        (-own.log().sum()).backward()
        optimizer.step()
        with torch.no_grad():
            pixels.clamp_(0, 255)
    best = pixels.detach().numpy() - 127.5
    best /= np.linalg.norm(best, axis=(1, 2), keepdims=True)
    even = (best * animal.filters).sum((1, 2))
    odd = (best * animal.quadrature).sum((1, 2))
    assert even[animal.kind == "simple"].min() >= 0.95
    assert np.hypot(even, odd)[animal.kind == "complex"].min() >= 0.95
    own = animal.rates(pixels.detach().numpy()).diagonal()
    rivals = animal.rates(natural_images(1000, HEIGHT, WIDTH, seed=9)).max(0)
    assert (own > rivals)[animal.kind != "undriven"].all()


def test_wrong_image_size_raises(animal):
    with pytest.raises(ValueError, match="this animal sees"):
        animal.rates(np.zeros((3, 20, 20)))
    assert animal.rates(np.zeros((0, HEIGHT, WIDTH))).shape == (0, 72)


# ---------------------------------------------------------------- trials


def test_without_shared_gain_counts_are_poisson_and_independent(images):
    animal = VirtualAnimal(VirtualAnimalParams(gain_cv=0, **SMALL), seed=0)
    counts = animal.session(1).record(images, np.full(4000, 7), seed=0)
    assert counts.dtype == np.float32
    assert np.array_equal(counts, np.rint(counts))
    rates = animal.rates(images[7:8])[0]
    assert np.all(np.abs(counts.mean(0) - rates) < 4.5 * np.sqrt(rates / 4000))
    fano = counts.var(0, ddof=1) / counts.mean(0)
    assert np.all(np.abs(fano - 1) < 4.5 * np.sqrt((2 + 1 / rates) / 4000))
    correlation = np.corrcoef(counts.T)[~np.eye(12, dtype=bool)]
    assert np.abs(correlation).max() < 4.5 / np.sqrt(4000)


def test_shared_gain_adds_the_predicted_covariance(images):
    """cov(i, j) = rate_i rate_j cv**2, on the diagonal plus the rate."""
    params = VirtualAnimalParams(gain_cv=0.5, gain_autocorrelation=0, **SMALL)
    animal = VirtualAnimal(params, seed=0)
    counts = animal.session(1).record(images, np.full(20000, 7), seed=0)
    rates = animal.rates(images[7:8])[0]
    expected = np.outer(rates, rates) * 0.25
    off = ~np.eye(12, dtype=bool)
    covariance = np.cov(counts.T)
    assert covariance[off].sum() == pytest.approx(expected[off].sum(), rel=0.15)
    assert covariance.trace() == pytest.approx((rates + expected.diagonal()).sum(), rel=0.15)


def test_gain_has_the_asked_moments():
    gain = shared_gain(200_000, 0.3, 0.6, np.random.default_rng(0))
    assert gain.mean() == pytest.approx(1, abs=0.01)
    assert gain.std() == pytest.approx(0.3, rel=0.03)
    assert np.corrcoef(np.log(gain[1:]), np.log(gain[:-1]))[0, 1] == pytest.approx(0.6, abs=0.02)
    starts = [shared_gain(1, 0.3, 0.6, np.random.default_rng(seed))[0] for seed in range(2000)]
    assert np.std(np.log(starts)) == pytest.approx(np.std(np.log(gain)), rel=0.1)


def test_trials_answer_the_image_they_show(animal, images):
    session = animal.session(1)
    order = shuffled_presentation(np.full(200, 30), seed=0)
    counts = session.record(images[:200], order, seed=0)
    means = np.array([counts[order == image].mean(0) for image in range(200)])
    rates = animal.rates(images[:200])
    for cell in np.flatnonzero(animal.kind != "undriven"):
        assert np.corrcoef(means[:, cell], rates[:, cell])[0, 1] > 0.9


def test_noise_is_a_matter_of_the_seed(animal, images):
    order = np.arange(50)
    session = animal.session(1)
    first = session.record(images, order, seed=0)
    assert np.array_equal(first, session.record(images, order, seed=0))
    assert not np.array_equal(first, session.record(images, order, seed=1))


@pytest.mark.parametrize("presentation", [[[0, 1]], [0.5, 1.0], [-1, 0], [0, 5]])
def test_bad_presentations_raise(animal, images, presentation):
    with pytest.raises(ValueError, match="presentation"):
        animal.session(1).record(images[:5], np.array(presentation), seed=0)


# ---------------------------------------------------------------- days


def test_first_day_finds_every_cell_in_place(animal):
    session = animal.session(1)
    assert np.array_equal(session.unit_ids, np.arange(1, 73))
    assert np.array_equal(session.cells, np.arange(72))
    assert np.array_equal(session.positions, animal.positions)
    assert np.array_equal(session.drift, np.ones(72))


def test_second_day_permutes_loses_and_moves_cells(animal):
    session = animal.session(2)
    assert len(session.cells) == 72 - round(0.05 * 72)
    assert len(set(session.cells)) == len(session.cells)
    assert (session.cells == np.arange(len(session.cells))).sum() < 10
    assert sorted(session.unit_ids) == list(range(1, len(session.cells) + 1))
    moved = session.positions - animal.positions[session.cells]
    assert moved.std() == pytest.approx(2.0, rel=0.2)
    assert abs(moved.mean()) < 0.6
    assert np.array_equal(session.brain_area, animal.brain_area[session.cells])
    assert np.array_equal(session.layer, animal.layer[session.cells])


def test_units_of_the_second_day_answer_as_their_cells(animal, images):
    session = animal.session(2)
    counts = session.record(images[:40], np.repeat(np.arange(40), 100), seed=0)
    rates = animal.rates(images[:40])[:, session.cells]
    ratio = counts.mean(0) / rates.mean(0)
    error = 5 / np.sqrt(rates.mean(0) * 4000) + 0.05  # Poisson, and the shared gain
    assert np.all(np.abs(ratio - session.drift) < error * session.drift)
    assert 0.1 < session.drift.std() < 0.3


def test_days_differ_from_each_other_and_repeat_themselves(animal):
    assert not np.array_equal(animal.session(2).cells, animal.session(3).cells)
    first, second = animal.session(2), animal.session(2)
    for name in ("unit_ids", "cells", "positions", "drift"):
        assert np.array_equal(getattr(first, name), getattr(second, name))


def test_day_zero_raises(animal):
    with pytest.raises(ValueError, match="days count from 1"):
        animal.session(0)


def test_first_day_shows_every_image_as_often_as_designed():
    design = SessionDesign(n_train=40, n_validation=10, n_test=6, repeats=12)
    images, presentation = first_day(design, HEIGHT, WIDTH, seed=5)
    assert images.shape == (design.n_images, HEIGHT, WIDTH) == (56, HEIGHT, WIDTH)
    assert presentation.shape == (design.n_trials,) == (122,)
    assert np.array_equal(np.bincount(presentation), [1] * 50 + [12] * 6)
    assert np.abs(np.diff(presentation)).mean() > 5  # shuffled, not in blocks


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    "wrong",
    [
        {"gain_cv": -0.1},
        {"missing_fraction": 1.0},
        {"wavelength_low": 9, "wavelength_high": 6},
        {"mean_rate_low": 5},
        {"n_simple": 0, "n_complex": 0, "n_undriven": 0},
        {"border": 12},
        {"n_simpel": 3},
    ],
)
def test_bad_parameters_raise(wrong):
    with pytest.raises(ValidationError):
        VirtualAnimalParams(**wrong)


def test_too_many_receptive_fields_raise():
    with pytest.raises(ValueError, match="distinct receptive fields"):
        VirtualAnimal(VirtualAnimalParams(height=16, width=16, border=6, n_simple=300), seed=0)


def test_too_many_cells_for_the_volume_raise():
    with pytest.raises(ValueError, match="min_spacing_um"):
        VirtualAnimal(
            VirtualAnimalParams(n_simple=0, n_complex=0, n_undriven=2000, min_spacing_um=50), 0
        )


def test_one_kind_of_cell_is_enough(images):
    animal = VirtualAnimal(VirtualAnimalParams(n_simple=0, n_complex=3, n_undriven=0), seed=0)
    assert animal.rates(images[:4]).shape == (4, 3)
    blind = VirtualAnimal(VirtualAnimalParams(n_simple=0, n_complex=0, n_undriven=3), seed=0)
    assert np.allclose(blind.rates(images[:4]), blind.mean_rates)
    assert np.isnan([getattr(blind.gabors, field.name) for field in fields(blind.gabors)]).all()
