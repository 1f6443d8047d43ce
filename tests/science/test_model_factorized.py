"""Factorised readout against direct sums over the map."""

import pytest
import torch
import torch.nn.functional as F

from science.model.readouts.factorized import FactorizedReadout, FactorizedReadoutConfig

SHAPE = (3, 5, 9)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def readout_of(n_units=7, map_shape=SHAPE, **parameters):
    readout = FactorizedReadout(FactorizedReadoutConfig(**parameters), map_shape, n_units)
    with torch.no_grad():
        for seed, parameter in enumerate(readout.parameters()):
            parameter.copy_(random(*parameter.shape, seed=seed))
    return readout


def direct(readout, maps):
    kernels = torch.einsum("nhw,nc->nchw", readout.spatial, readout.features)
    return torch.einsum("bchw,nchw->bn", maps, kernels) + readout.bias


def test_response_is_mask_times_features_on_the_map():
    readout, maps = readout_of(), random(4, *SHAPE)
    torch.testing.assert_close(readout(maps), direct(readout, maps), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shifts", [1, 4])
def test_a_shift_moves_the_mask_over_the_map(shifts):
    """The map seen through grid_sample, displaced by the eye, zero outside."""
    readout, maps = readout_of(), random(4, *SHAPE)
    shift = 0.3 * random(shifts, 2, seed=9)
    identity = torch.eye(2).expand(4, 2, 2)
    affine = torch.cat([identity, shift[..., None].expand(4, 2, 1)], dim=2)
    grid = F.affine_grid(affine, list(maps.shape), align_corners=True)
    moved = F.grid_sample(maps, grid, align_corners=True)
    torch.testing.assert_close(readout(maps, shift), direct(readout, moved), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("positive", [False, True])
def test_initial_values(positive):
    readout = FactorizedReadout(
        FactorizedReadoutConfig(positive=positive, init_sd=0.01), (16, 20, 20), 50
    )
    means = torch.linspace(0, 3, 50)
    readout.initialize(means, torch.Generator().manual_seed(0))
    torch.testing.assert_close(readout.bias, means - 1)
    for weights in (readout.spatial, readout.features):
        assert weights.square().mean().sqrt().item() == pytest.approx(0.01, rel=0.1)
        assert (weights.min() >= 0) == positive


def test_regularizer_is_the_mean_absolute_weight_of_the_kernels():
    readout = readout_of(gamma=2.0)
    kernels = torch.einsum("nhw,nc->nchw", readout.spatial, readout.features)
    terms = readout.regularizers()
    torch.testing.assert_close(terms.pop("readout_kernels"), 2 * kernels.abs().mean())
    assert not terms


def test_positions_are_the_places_of_the_masks():
    readout = readout_of(n_units=4)
    with torch.no_grad():
        readout.spatial.zero_()
        readout.spatial[0, 0, 8] = -2.0  # top right: x = 1, y = -1
        readout.spatial[1, 2, 4] = 0.5
        readout.spatial[2, 4, 0] = readout.spatial[2, 4, 4] = 1.0
    expected = torch.tensor([[1.0, -1.0], [0.0, 0.0], [-0.5, 1.0], [torch.nan, torch.nan]])
    torch.testing.assert_close(readout.positions(), expected, equal_nan=True)


def test_positive_weights_stay_positive():
    readout = readout_of(positive=True)
    before = [readout.spatial.detach().clone(), readout.features.detach().clone()]
    readout.constrain()
    for weights, old in zip((readout.spatial, readout.features), before, strict=True):
        torch.testing.assert_close(weights.detach(), old.clamp(min=0))
        assert old.min() < 0
