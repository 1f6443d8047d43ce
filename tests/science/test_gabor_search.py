import numpy as np
import pytest
import torch
from pydantic import ValidationError

from science.contrast import ContrastTarget, match_contrast
from science.gabor_ascent import OptimalGaborParams, optimal_gabors
from science.gabor_search import best_gabors
from science.gabors import GaborLimits, GaborRange, gabor_patches

MEAN, STD = 111.3, 60.9
CONTRAST = ContrastTarget()
COARSE = GaborRange(
    phases=(0, 90, 180, 270),
    wavelengths=(5, 7, 10, 15),
    orientations=(0, 45, 90, 135),
    sigmas=(2, 4, 7),
    dys=(-0.25, 0, 0.25),
    dxs=(-0.3, -0.15, 0, 0.15, 0.3),
)
SHAPES = pytest.mark.parametrize("shape", [(36, 64), (24, 40)])


def shown(patches):
    """What the model sees of patches at equal mean and contrast."""
    return ((match_contrast(patches, CONTRAST).images - MEAN) / STD).unsqueeze(1)


def random_gabors(n, seed=0):
    """Gabors like those of V1, between the points of any grid."""
    rng = np.random.default_rng(seed)
    wavelength = rng.uniform(5, 14, n)
    sigma = np.clip(wavelength * rng.uniform(0.35, 0.6, n), 2.2, 8)
    columns = [rng.uniform(0, 360, n), wavelength, rng.uniform(0, 180, n), sigma]
    return torch.tensor(np.stack([*columns, *rng.uniform(-0.25, 0.25, (2, n))], 1)).float()


def linear(filters):
    """The two responders of linear units, which are differentiable and see all units."""
    return (
        lambda z: (z[:, 0] * filters).sum((-2, -1)),
        lambda z: z.flatten(1) @ filters.flatten(1).T,
    )


def energy(gabors, shape):
    """The two responders of units that do not care for the phase."""
    quarter = gabors.new_tensor([90, 0, 0, 0, 0, 0])
    pair = [linear(gabor_patches(gabors + shift, shape)) for shift in (0 * quarter, quarter)]
    return tuple(
        lambda z, i=i: (pair[0][i](z) ** 2 + pair[1][i](z) ** 2 + 1e-9).sqrt() for i in (0, 1)
    )


def errors(found, truth, shape):
    """Distance in orientation (degrees), relative wavelength, and place (pixels)."""
    found, truth = np.asarray(found, float), truth.double().numpy()
    orientation = np.abs((found[:, 2] - truth[:, 2] + 90) % 180 - 90)
    wavelength = np.abs(found[:, 1] / truth[:, 1] - 1)
    return orientation, wavelength, np.hypot(*((found - truth)[:, 4:] * shape).T)


@SHAPES
def test_a_gabor_of_the_grid_is_found_exactly(shape):
    index = torch.randperm(len(COARSE), generator=torch.Generator().manual_seed(1))[:40]
    truth = COARSE.parameters(index, shape)
    # Matched as it is shown, such a Gabor is the best of all images, not only of the grid.
    filters = match_contrast(gabor_patches(truth, shape), CONTRAST).images - CONTRAST.mean
    filters /= filters.square().sum((1, 2), keepdim=True).sqrt()
    _, respond_all = linear(filters)
    done = []
    result = best_gabors(
        respond_all, COARSE, shape, MEAN, STD, CONTRAST, batch_size=700, on_batch=done.append
    )
    np.testing.assert_allclose(result.parameters, truth, atol=1e-5)
    assert done == [700, 1400, 2100, 2800, 2880] and len(COARSE) == 2880
    assert result.alive.all()
    np.testing.assert_allclose(result.images.mean((1, 2)), 111, rtol=1e-3)
    np.testing.assert_allclose(result.images.std((1, 2)), 16, rtol=1e-3)
    own = respond_all(torch.tensor((result.images - MEAN) / STD)[:, None]).diagonal()
    np.testing.assert_allclose(result.activations, own, rtol=1e-5)


def test_the_search_is_that_of_all_gabors_at_once_whatever_the_batch():
    shape = (24, 40)
    _, respond_all = energy(random_gabors(10), shape)
    everything = COARSE.parameters(torch.arange(len(COARSE)), shape)
    responses = respond_all(shown(gabor_patches(everything, shape)))
    for batch_size in (1000, 5000):
        result = best_gabors(respond_all, COARSE, shape, MEAN, STD, CONTRAST, batch_size)
        np.testing.assert_allclose(result.activations, responses.amax(0), rtol=1e-5)
        # Opposite phases drive an energy unit alike, so only the rest is unique.
        place = everything[responses.argmax(0)]
        np.testing.assert_allclose(result.parameters[:, 1:], place[:, 1:], atol=1e-5)


@SHAPES
def test_the_best_of_all_gabors_beats_the_grid_and_is_the_true_one(shape):
    truth = random_gabors(40)
    filters = gabor_patches(truth, shape)
    respond, respond_all = linear(filters)
    grid = best_gabors(respond_all, COARSE, shape, MEAN, STD, CONTRAST)
    done = []
    best = optimal_gabors(respond, grid.parameters, shape, MEAN, STD, CONTRAST, on_step=done.append)
    assert done == list(range(1, 3 * 51 + 1))
    assert (best.activations >= grid.activations * (1 - 1e-6)).all()
    assert np.median(best.activations / grid.activations) > 1.1
    assert (best.activations >= 0.995 * respond(shown(filters)).numpy()).all()
    orientation, wavelength, distance = errors(best.parameters, truth, shape)
    assert (orientation < 15).all() and (wavelength < 0.25).all() and (distance < 2).all()
    assert np.median(orientation) < 1 and np.median(distance) < 0.3
    np.testing.assert_allclose(best.images.mean((1, 2)), 111, rtol=1e-3)
    np.testing.assert_allclose(best.images.std((1, 2)), 16, rtol=1e-3)
    own = respond(torch.tensor((best.images - MEAN) / STD)[:, None])
    np.testing.assert_allclose(best.activations, own, rtol=1e-4)


def test_energy_units_have_a_place_and_an_orientation_but_any_phase():
    shape = (24, 40)
    truth = random_gabors(20, seed=3)
    respond, respond_all = energy(truth, shape)
    grid = best_gabors(respond_all, COARSE, shape, MEAN, STD, CONTRAST)
    params = OptimalGaborParams(n_starts=0)
    found = []
    for phase in (0, 90):
        starts = grid.parameters.copy()
        starts[:, 0] += phase
        found.append(optimal_gabors(respond, starts, shape, MEAN, STD, CONTRAST, params=params))
        orientation, wavelength, distance = errors(found[-1].parameters, truth, shape)
        assert (orientation < 15).all() and (wavelength < 0.25).all() and (distance < 2).all()
    np.testing.assert_allclose(found[0].activations, found[1].activations, rtol=0.02)
    apart = np.abs((found[0].parameters[:, 0] - found[1].parameters[:, 0] + 180) % 360 - 180)
    assert np.median(apart) > 30


def test_random_starts_find_what_a_bad_start_misses():
    shape = (24, 40)
    truth = random_gabors(20, seed=4)
    respond, _ = linear(gabor_patches(truth, shape))
    bad = truth.clone()
    bad[:, 1] = 20  # far too coarse, and across
    bad[:, 2] += 90
    fits = [
        optimal_gabors(
            respond, bad, shape, MEAN, STD, CONTRAST, params=OptimalGaborParams(n_starts=n)
        )
        for n in (0, 8)
    ]
    assert (fits[1].activations >= fits[0].activations).all()
    best = respond(shown(gabor_patches(truth, shape))).numpy()
    close = [(fit.activations > 0.99 * best).mean() for fit in fits]
    assert close[1] > 0.9 > close[0]
    several = optimal_gabors(
        respond,
        torch.stack([bad, truth], dim=1),
        shape,
        MEAN,
        STD,
        CONTRAST,
        params=OptimalGaborParams(n_starts=0),
    )
    assert (several.activations >= best * (1 - 1e-6)).all()


def test_limits_hold_and_are_reached():
    shape = (36, 64)
    truth = torch.tensor([[30, 3.0, 20, 1.5, 0.45, 0], [60, 12, 70, 14, 0, -0.1]])
    respond, _ = linear(gabor_patches(truth, shape))
    starts = torch.tensor([[30, 4, 20, 2, 0.3, 0], [60, 20, 70, 9, 0, -0.1]])
    found = optimal_gabors(respond, starts, shape, MEAN, STD, CONTRAST).parameters
    assert (found[:, 1] >= 4).all() and (found[:, 1] <= 20).all()
    assert (found[:, 3] >= 2 - 1e-6).all() and (found[:, 3] <= 9 + 1e-6).all()
    assert np.abs(found[:, 4:]).max() <= 0.35 + 1e-6
    assert found[0, 4] == pytest.approx(0.35, abs=1e-3)
    assert found[1, 3] == pytest.approx(9, abs=0.05)
    wide = GaborLimits(wavelength=(3, 30), sigma=(1, 15), shift=0.5)
    found = optimal_gabors(respond, starts, shape, MEAN, STD, CONTRAST, limits=wide).parameters
    assert (errors(found, truth, shape)[2] < 2).all()


def test_units_do_not_depend_on_the_block():
    shape = (24, 40)
    filters = gabor_patches(random_gabors(3), shape)
    starts = random_gabors(3, seed=8)
    block = optimal_gabors(linear(filters)[0], starts, shape, MEAN, STD, CONTRAST)
    for i in range(3):
        own = slice(i, i + 1)
        alone = optimal_gabors(linear(filters[own])[0], starts[own], shape, MEAN, STD, CONTRAST)
        assert alone.activations[0] == pytest.approx(block.activations[i], rel=1e-4)
        np.testing.assert_allclose(alone.images[0], block.images[i], atol=0.5)


def test_dead_units_are_flagged():
    shape = (24, 40)
    filters = gabor_patches(random_gabors(3), shape)
    filters[1] = 0
    respond, respond_all = linear(filters)
    grid = best_gabors(lambda z: respond_all(z) + 2, COARSE, shape, MEAN, STD, CONTRAST)
    assert grid.alive.tolist() == [True, False, True]
    best = optimal_gabors(lambda z: respond(z) + 2, grid.parameters, shape, MEAN, STD, CONTRAST)
    assert best.alive.tolist() == [True, False, True]
    assert grid.activations[1] == best.activations[1] == 2


def test_bad_input_is_named():
    shape = (24, 40)
    filters = gabor_patches(random_gabors(3), shape)
    respond, respond_all = linear(filters)
    starts = random_gabors(3)
    nan = torch.tensor([0, torch.nan, 0])

    def search(responder=respond_all, contrast=CONTRAST, batch_size=2000, std=STD):
        return best_gabors(responder, COARSE, shape, MEAN, std, contrast, batch_size)

    def climb(responder=respond, starts=starts, contrast=CONTRAST):
        return optimal_gabors(responder, starts, shape, MEAN, STD, contrast)

    with pytest.raises(ValueError, match=r"units \[1\] of the block are not finite"):
        search(lambda z: respond_all(z) + nan)
    with pytest.raises(ValueError, match=r"units \[1\] of the block are not finite"):
        climb(lambda z: respond(z) + nan)
    with pytest.raises(ValueError, match=r"\(2000, n_units\), got \(2000,\)"):
        search(lambda z: respond_all(z)[:, 0])
    with pytest.raises(ValueError, match=r"shape \(3,\), got \(3, 3\)"):
        climb(respond_all)
    with pytest.raises(ValueError, match="not differentiable"):
        climb(lambda z: respond(z.detach()))
    impossible = ContrastTarget(mean=1, std=15.93)
    with pytest.raises(ValueError, match="ask for less contrast"):
        search(contrast=impossible)
    with pytest.raises(ValueError, match="ask for less contrast"):
        climb(contrast=impossible)
    with pytest.raises(ValueError, match="batch_size"):
        search(batch_size=0)
    with pytest.raises(ValueError, match="std > 0"):
        search(std=0)
    outside = starts.clone()
    outside[2, 1], outside[0, 5] = 21, torch.nan
    with pytest.raises(ValueError, match=r"units \[0, 2\] are outside the limits"):
        climb(starts=outside)
    for wrong in (starts[0], starts[:, :5], starts[:0]):
        with pytest.raises(ValueError, match=r"\(m, 6\) or \(m, k, 6\)"):
            climb(starts=wrong)
    for bad in ({"steps": 0}, {"learning_rate": 0}, {"n_starts": -1}):
        with pytest.raises(ValidationError):
            OptimalGaborParams(**bad)
