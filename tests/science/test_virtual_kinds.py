"""Driven cells that are not Gabors: what drives them, and that no Gabor drives them best."""

import numpy as np
import pytest
import torch

from science.natural_images import natural_images
from science.virtual import VirtualAnimal, VirtualAnimalParams
from science.virtual.cells import CELL_TYPES
from science.virtual.receptive_fields import Gabors, gabor_filters

HEIGHT, WIDTH = 24, 40
KINDS = ["simple", "complex", "curved", "crossed", "suppressed", "two_subunits"]
NEW = KINDS[2:]
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
FRAME_SD = 16.0  # grey levels


@pytest.fixture(scope="module")
def animal():
    return VirtualAnimal(VirtualAnimalParams(**{f"n_{kind}": 6 for kind in KINDS}), seed=1)


def cells_of(animal, kind):
    return np.flatnonzero(animal.kind == kind)


def images_of(field):
    """Show a pattern at the contrast of the frame."""
    field = np.asarray(field, float) - np.mean(field, axis=(-2, -1), keepdims=True)
    return 127.5 + FRAME_SD * field / field.std((-2, -1), keepdims=True)


def grating(gabors, cell, turn=0.0, phase=0.0):
    angle = gabors.direction[cell] + turn
    dx, dy = COLUMNS - gabors.x[cell], ROWS - gabors.y[cell]
    distance = dx * np.cos(angle) + dy * np.sin(angle)
    return np.cos(2 * np.pi * distance / gabors.wavelength[cell] + phase)


def one_gabor(**changed):
    values = {
        "x": 20.0,
        "y": 12.0,
        "direction": 0.4,
        "wavelength": 6.0,
        "phase": 1.0,
        "sigma_u": 2.5,
        "sigma_v": 3.0,
    }
    return Gabors(*(np.array([value]) for value in (values | changed).values()))


# ---------------------------------------------------------------- numbers


def test_there_are_as_many_cells_of_each_kind_as_asked_for(animal):
    kinds, numbers = np.unique(animal.kind, return_counts=True)
    found = dict(zip(kinds, numbers, strict=True))
    assert found == dict.fromkeys(KINDS, 6) | {"undriven": 8}
    assert (animal.params.n_driven, animal.params.n_cells) == (36, 44)
    assert set(animal.params.numbers) == set(CELL_TYPES)


def test_rows_written_before_there_were_other_kinds_mean_the_same_animal():
    params = VirtualAnimalParams()
    old = {k: v for k, v in params.model_dump().items() if k not in {f"n_{kind}" for kind in NEW}}
    assert VirtualAnimalParams.model_validate(old) == params
    assert [params.numbers[kind] for kind in NEW] == [0, 0, 0, 0]


@pytest.mark.parametrize("kind", NEW)
def test_one_kind_alone_is_enough(kind):
    numbers = {"n_simple": 0, "n_complex": 0, "n_undriven": 0, f"n_{kind}": 1}
    animal = VirtualAnimal(VirtualAnimalParams(**numbers), seed=0)
    rates = animal.rates(natural_images(50, HEIGHT, WIDTH, seed=0))
    assert rates.shape == (50, 1)
    assert rates.std() > 0.1 * rates.mean()


# ---------------------------------------------------------------- filters


def test_every_cell_has_the_filters_of_its_kind(animal):
    for cell, kind in enumerate(animal.kind):
        subunits = animal.subunits(cell)
        assert tuple(subunits) == CELL_TYPES[kind].roles
        found = np.array(list(subunits.values())).reshape(-1, HEIGHT, WIDTH)
        assert np.abs(found.mean((1, 2))).max(initial=0) < 1e-7
        units = found[:2]  # a surround is in units of contrast
        assert np.allclose(np.linalg.norm(units, axis=(1, 2)), 1, atol=1e-6)
        assert np.array_equal(units[:1], animal.filters[cell : cell + 1][: len(units)])


def test_the_bars_of_a_bent_gabor_are_circles():
    """With an endless envelope along the arc, a filter depends on the distance alone."""
    radius = 8.0
    gabor = one_gabor(sigma_v=1e4)
    for side in (1, -1):
        bent = gabor_filters(gabor, HEIGHT, WIDTH, np.array([side * radius]))[0][0]
        middle_x = 20.0 - side * radius * np.cos(0.4)
        middle_y = 12.0 - side * radius * np.sin(0.4)
        distance = np.hypot(COLUMNS - middle_x, ROWS - middle_y) - radius
        expected = np.exp(-((distance / 2.5) ** 2) / 2) * np.cos(
            2 * np.pi * side * distance / 6 + 1
        )
        envelope = np.exp(-((distance / 2.5) ** 2) / 2)
        expected -= envelope * expected.sum() / envelope.sum()
        np.testing.assert_allclose(bent, expected / np.linalg.norm(expected), atol=1e-4)


def test_an_endless_radius_bends_nothing():
    gabor = one_gabor()
    straight = gabor_filters(gabor, HEIGHT, WIDTH)
    bent = gabor_filters(gabor, HEIGHT, WIDTH, np.array([1e7]))
    np.testing.assert_allclose(bent, straight, atol=1e-5)


def test_curved_cells_bend_to_both_sides():
    numbers = {"n_simple": 0, "n_complex": 0, "n_undriven": 0, "n_curved": 24}
    animal = VirtualAnimal(VirtualAnimalParams(**numbers), seed=3)
    g = animal.gabors
    energy = animal.filters**2
    dx, dy = COLUMNS - g.x[:, None, None], ROWS - g.y[:, None, None]
    cosine, sine = np.cos(g.direction)[:, None, None], np.sin(g.direction)[:, None, None]
    along = np.abs(dy * cosine - dx * sine)
    # ends of the bars lie on the side of the circle's middle
    ends = ((dx * cosine + dy * sine) * energy * along).sum((1, 2)) / (energy * along).sum((1, 2))
    assert np.abs(ends).min() > 0.1
    assert 5 < (ends > 0).sum() < 19


def test_crossed_cells_prefer_two_orientations_at_right_angles(animal):
    g = animal.gabors
    for cell in cells_of(animal, "crossed"):
        tuning = [
            np.hypot(
                *((animal.filters[cell] * grating(g, cell, turn, p)).sum() for p in (0, np.pi / 2))
            )
            for turn in (0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
        ]
        assert min(tuning[0], tuning[2]) > 2 * max(tuning[1], tuning[3])


def test_subunits_are_displaced_and_of_different_orientation(animal):
    for cell in cells_of(animal, "two_subunits"):
        energy = np.array(list(animal.subunits(cell).values())) ** 2
        middles = np.array([[(e * ROWS).sum(), (e * COLUMNS).sum()] for e in energy])
        apart = np.linalg.norm(middles[0] - middles[1])
        assert apart == pytest.approx(2 * animal.gabors.sigma_v[cell], rel=0.15)
        first, second = (np.abs(np.fft.fft2(f, (64, 64))) for f in animal.subunits(cell).values())
        assert (first * second).sum() < 0.75 * np.linalg.norm(first) * np.linalg.norm(second)


# ---------------------------------------------------------------- drives


def documented_drive(animal, cell, x):
    """The formula of the module's documentation, one cell at a time."""
    g = animal.gabors
    variance = 2.5**2 * g.sigma_u[cell] * g.sigma_v[cell]
    pool = np.exp(-((COLUMNS - g.x[cell]) ** 2 + (ROWS - g.y[cell]) ** 2) / (2 * variance))
    n = np.sqrt(0.1**2 + (pool * x**2).sum((1, 2)) / pool.sum())
    r = {role: (x * f).sum((1, 2)) for role, f in animal.subunits(cell).items()}
    match animal.kind[cell]:
        case "curved" | "crossed":
            return r["filter"] / n
        case "suppressed":
            surround = 4 * np.hypot(r["surround even"], r["surround odd"])
            return np.hypot(r["centre even"], r["centre odd"]) / np.sqrt(n**2 + surround**2)
        case "two_subunits":
            halves = [(r[k] + np.hypot(r[k], 0.1) - 0.1) / 2 for k in ("first", "second")]
            return sum(halves) / n


def test_rates_follow_the_documented_formulas(animal):
    shown = natural_images(100, HEIGHT, WIDTH, seed=5)
    calibration = natural_images(512, HEIGHT, WIDTH, 20190331) / 127.5 - 1
    rates = animal.rates(shown)
    for cell in np.flatnonzero(np.isin(animal.kind, NEW)):
        rms = np.sqrt((documented_drive(animal, cell, calibration) ** 2).mean())
        drive = documented_drive(animal, cell, shown / 127.5 - 1) / rms
        evoked = (0.2 * np.log1p(np.exp(drive / 0.2))) ** 1.2
        excess = rates[:, cell] - 0.1 * animal.mean_rates[cell]
        assert np.allclose(excess / excess.mean(), evoked / evoked.mean(), rtol=1e-5)


def test_a_large_grating_drives_suppressed_cells_less_than_a_small_one():
    numbers = {f"n_{kind}": 0 for kind in KINDS} | {"n_complex": 6, "n_suppressed": 6}
    animal = VirtualAnimal(VirtualAnimalParams(**numbers, n_undriven=0), seed=2)
    g = animal.gabors
    left = {"complex": [], "suppressed": []}
    for cell in range(12):
        distance = np.hypot(COLUMNS - g.x[cell], ROWS - g.y[cell])
        same = grating(g, cell)
        small = same * (distance < 2 * g.sigma_u[cell])
        across = np.where(small == 0, grating(g, cell, np.pi / 2), small)
        shown = 127.5 + 60 * np.array([0 * same, small, same, across])
        grey, small, large, across = animal.rates(shown)[:, cell]
        left[animal.kind[cell]].append((large - grey) / (small - grey))
        if animal.kind[cell] == "suppressed":
            assert across > 1.5 * large  # it is the surround's orientation that counts
    assert max(left["suppressed"]) < 0.6
    assert np.median(left["suppressed"]) < 0.6 * np.median(left["complex"])


def test_the_surround_answers_a_grating_by_its_contrast():
    numbers = {f"n_{kind}": 0 for kind in KINDS} | {"n_suppressed": 6}
    params = VirtualAnimalParams(**numbers, n_undriven=0, height=64, width=64, border=26)
    animal = VirtualAnimal(params, seed=0)
    rows, columns = np.mgrid[:64, :64]
    for cell in range(6):
        angle, wavelength = animal.gabors.direction[cell], animal.gabors.wavelength[cell]
        distance = columns * np.cos(angle) + rows * np.sin(angle)
        shown = 0.3 * np.sqrt(2) * np.cos(2 * np.pi * distance / wavelength + cell)
        _, _, even, odd = animal.subunits(cell).values()
        assert np.hypot((even * shown).sum(), (odd * shown).sum()) == pytest.approx(0.3, rel=0.03)


def test_suppressed_cells_ignore_phase(animal):
    g = animal.gabors
    phases = np.arange(8) * 2 * np.pi / 8
    for cell in cells_of(animal, "suppressed"):
        rates = animal.rates(images_of([grating(g, cell, 0, p) for p in phases]))[:, cell]
        assert np.ptp(rates) < 0.3 * rates.mean()


def test_two_subunits_add_up_and_neither_inhibits(animal):
    grey = np.full((1, HEIGHT, WIDTH), 127.5)
    for cell in cells_of(animal, "two_subunits"):
        first, second = animal.subunits(cell).values()
        shown = images_of([first, second, first + second, -first - second])
        one, other, both, against = animal.rates(shown)[:, cell]
        assert both > 1.2 * max(one, other)
        assert against < animal.rates(grey)[0, cell] + 0.1 * both


# ---------------------------------------------------------------- best images


def frame(field):
    """Grey levels of mean 127.5 and a fixed contrast of the frame."""
    field = field - field.mean((1, 2), keepdim=True)
    return 127.5 + FRAME_SD * field / field.square().mean((1, 2), keepdim=True).sqrt()


def ascend(animal, render, start, cells, rate, n_steps):
    """Excite each cell by its own image; excess over the baseline, and the image."""
    baseline = torch.as_tensor(0.1 * animal.mean_rates)[cells]
    own = torch.arange(len(cells)), cells
    point = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([point], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    for _ in range(n_steps):
        optimizer.zero_grad()
        excess = animal.rates_tensor(frame(render(point)))[own] - baseline
        (-excess.log().sum()).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        best = frame(render(point))
        return animal.rates_tensor(best)[own] - baseline, best


def render_gabors(values):
    """Seven columns: x, y, direction, log wavelength, phase, log sigma across and along."""
    x, y, direction, wavelength, phase, across, along = values.T[..., None, None]
    dx, dy = torch.as_tensor(COLUMNS) - x, torch.as_tensor(ROWS) - y
    u = dx * direction.cos() + dy * direction.sin()
    v = dy * direction.cos() - dx * direction.sin()
    envelope = torch.exp(-((u / across.exp()) ** 2 + (v / along.exp()) ** 2) / 2)
    return envelope * torch.cos(2 * np.pi * u / wavelength.exp() + phase)


@pytest.fixture(scope="module")
def driven():
    numbers = {f"n_{kind}": 6 for kind in KINDS}
    return VirtualAnimal(VirtualAnimalParams(**numbers, n_undriven=0), seed=4)


@pytest.fixture(scope="module")
def best_image(driven):
    """Of two ascents from noise per cell, the better one."""
    n = driven.params.n_cells
    noise = torch.randn(
        2 * n, HEIGHT, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    cells = torch.arange(n).repeat(2)
    excess, images = ascend(driven, lambda pixels: pixels, noise, cells, 0.1, 250)
    excess, better = excess.view(2, n).max(0)
    return excess.numpy(), images.view(2, n, HEIGHT, WIDTH)[better, torch.arange(n)].numpy()


@pytest.fixture(scope="module")
def best_gabor(driven):
    """Search 30 000 Gabors, and refine the four best of each cell in all their parameters."""
    low = np.array([4, 4, 0, np.log(3.5), 0, 0, 0])
    high = np.array([35, 19, np.pi, np.log(16), 2 * np.pi, np.log(7), np.log(7)])
    drawn = torch.as_tensor(np.random.default_rng(0).uniform(low, high, (30_000, 7)))
    with torch.no_grad():
        rates = torch.cat([driven.rates_tensor(frame(render_gabors(d))) for d in drawn.split(2000)])
    starts = drawn[rates.topk(4, dim=0).indices.flatten()]
    step = torch.tensor([1, 1, 0.15, 0.1, 0.3, 0.1, 0.1], dtype=torch.float64)
    cells = torch.arange(driven.params.n_cells).repeat(4)
    excess, _ = ascend(driven, lambda s: render_gabors(s * step), starts / step, cells, 0.2, 120)
    return excess.view(4, -1).max(0).values.numpy()


def test_a_gabor_is_the_best_image_of_simple_and_complex_cells_only(driven, best_image, best_gabor):
    """At equal mean and contrast, by the true response above the baseline."""
    gain = best_image[0] / best_gabor
    median = {kind: np.median(gain[driven.kind == kind]) for kind in KINDS}
    assert max(median["simple"], median["complex"]) < 1 / 0.93
    assert min(median[kind] for kind in NEW) > 1.2


def test_the_best_image_of_curved_and_crossed_cells_is_their_filter(driven, best_image):
    pictures = best_image[1] - 127.5
    pictures /= np.linalg.norm(pictures, axis=(1, 2), keepdims=True)
    cosine = (pictures * driven.filters).sum((1, 2))
    assert cosine[np.isin(driven.kind, ["simple", "curved", "crossed"])].min() > 0.9


def test_the_best_image_of_suppressed_cells_opposes_the_centre(driven, best_image):
    """Its surround all but cancels what the centre sends to the suppression."""
    for cell in cells_of(driven, "suppressed"):
        even, odd, *surround = driven.subunits(cell).values()
        pair = np.stack([even, odd]).reshape(2, -1)
        best = best_image[1][cell].ravel() - 127.5
        centre = pair.T @ np.linalg.lstsq(pair.T, best, rcond=None)[0]
        suppression = [np.linalg.norm(np.reshape(surround, (2, -1)) @ x) for x in (best, centre)]
        assert suppression[0] < 0.25 * suppression[1]


def test_the_best_image_of_two_subunits_holds_both(driven, best_image):
    for cell in cells_of(driven, "two_subunits"):
        both = sum(driven.subunits(cell).values()).ravel()
        best = best_image[1][cell].ravel() - 127.5
        assert both @ best > 0.85 * np.linalg.norm(both) * np.linalg.norm(best)
