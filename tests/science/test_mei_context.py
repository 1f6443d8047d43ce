"""Diverse exciting inputs and surrounds of cells whose invariances are known."""

import numpy as np
import pytest

from science.masks import TightMaskParams, tight_mask
from science.mei import InceptionLoop, ascend
from science.mei.diverse import DiverseParams, diversify
from science.mei.surround import SurroundParams, surrounds
from science.virtual import VirtualAnimal, VirtualAnimalParams

MEAN, STD = 120.0, 45.0


@pytest.fixture(scope="module")
def cells():
    """A virtual animal's true responses, its MEIs and their masks."""
    animal = VirtualAnimal(VirtualAnimalParams(n_simple=4, n_complex=4, n_undriven=0), 3)

    def respond(images, units):
        rates = animal.rates_tensor(images[:, 0] * STD + MEAN)
        return rates.gather(1, units[:, None])[:, 0].float()

    params = InceptionLoop(iter_n=150, step_gain=0.5)
    meis = ascend(respond, range(8), (24, 40), MEAN, STD, params).images
    masks = tight_mask(respond, meis, MEAN, STD, TightMaskParams()).masks
    return animal, respond, meis, masks


def test_diverse_inputs_show_the_invariance_of_complex_cells_and_keep_the_response(cells):
    animal, respond, meis, masks = cells
    result = diversify(respond, meis, masks, range(8), MEAN, STD, DiverseParams())
    assert result.images.shape == (8, 6, 24, 40)
    assert result.kept.all()
    true = [animal.rates(images)[:, i] for i, images in enumerate(result.images)]
    np.testing.assert_allclose(result.activations, true, rtol=1e-3)
    assert (result.activations >= 0.83 * result.mei_activations[:, None]).all()
    simple, complex_ = (result.correlation[animal.kind == k] for k in ("simple", "complex"))
    # Six images cannot have a mean correlation below -1/5.
    assert complex_.max() < 0 and simple.min() > 0.5
    outside = masks < 1e-3
    level = np.broadcast_to(meis.mean((1, 2))[:, None, None, None], result.images.shape)
    blank = np.broadcast_to(outside[:, None], result.images.shape)
    np.testing.assert_allclose(result.images[blank], level[blank], atol=0.5)


def test_phases_of_a_complex_cell_go_round(cells):
    animal, respond, meis, masks = cells
    result = diversify(respond, meis, masks, range(8), MEAN, STD, DiverseParams(n_images=4))
    for unit in np.flatnonzero(animal.kind == "complex"):
        deviation = result.images[unit] - result.images[unit].mean((1, 2), keepdims=True)
        even = (deviation * animal.filters[unit]).sum((1, 2))
        odd = (deviation * animal.quadrature[unit]).sum((1, 2))
        phases = np.sort(np.angle(even + 1j * odd))
        assert np.diff(phases).max() > np.pi / 4 and np.ptp(phases) > np.pi / 2


def test_surrounds_change_the_response_and_not_the_centre(cells):
    animal, respond, meis, masks = cells
    most, least = (
        surrounds(respond, meis, masks, range(8), MEAN, STD, SurroundParams(excite=excite))
        for excite in ("most", "least")
    )
    assert most.alive.all() and least.alive.all()
    assert (most.activations > 1.1 * most.centre_activations).all()
    assert (least.activations < 0.6 * least.centre_activations).all()
    true = np.diagonal(animal.rates(least.images))
    np.testing.assert_allclose(least.activations, true, rtol=1e-3)
    inside = masks > 1 - 1e-4
    level = meis.mean((1, 2))[:, None, None]
    masked = level + masks * (meis - level)
    np.testing.assert_allclose(most.images[inside], masked[inside], atol=0.05)
    outside = (1 - masks) * (least.images - level)
    assert (outside.std((1, 2)) <= 0.25 * STD * 1.001).all()
    assert (outside.std((1, 2)) >= 0.25 * STD * 0.5).all()


def test_bad_input_is_named(cells):
    _, respond, meis, masks = cells
    arguments = (MEAN, STD, DiverseParams())
    with pytest.raises(ValueError, match="do not fit together"):
        diversify(respond, meis, masks[:3], range(8), *arguments)
    with pytest.raises(ValueError, match=r"units \[2\] of the block are flat"):
        flat = meis.copy()
        flat[2] = 111
        diversify(respond, flat, masks, range(8), *arguments)
    with pytest.raises(ValueError, match="no surround"):
        surrounds(respond, meis, masks * 0 + 1, range(8), MEAN, STD, SurroundParams())
