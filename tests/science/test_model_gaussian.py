"""Gaussian readout against grid_sample at its means, and the law of its draws."""

import pytest
import torch
import torch.nn.functional as F

from science.model.readouts.gaussian import GaussianReadout, GaussianReadoutConfig

SHAPE = (3, 7, 11)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def readout_of(n_units=6, map_shape=SHAPE, **parameters):
    readout = GaussianReadout(GaussianReadoutConfig(**parameters), map_shape, n_units)
    with torch.no_grad():
        readout.position.copy_(0.4 * random(n_units, 2, seed=1))
        readout.features.copy_(random(n_units, map_shape[0], seed=2))
        readout.bias.copy_(random(n_units, seed=3))
    return readout


@pytest.mark.parametrize("shifts", [0, 1, 4])
def test_without_a_generator_the_means_are_read(shifts):
    readout, maps = readout_of(), random(4, *SHAPE)
    shift = 0.3 * random(shifts, 2, seed=9) if shifts else None
    places = readout.position[None] + (0 if shift is None else shift[:, None])
    grid = places.expand(4, -1, -1)[:, :, None]
    sampled = F.grid_sample(maps, grid, align_corners=True)[..., 0]
    expected = torch.einsum("bcn,nc->bn", sampled, readout.features) + readout.bias
    torch.testing.assert_close(readout(maps, shift), expected)
    assert torch.equal(readout(maps, shift), readout(maps, shift))


def test_initial_values():
    config = GaussianReadoutConfig(init_range=0.2, init_sigma=0.25)
    readout = GaussianReadout(config, (8, 7, 11), 400)
    means = torch.linspace(0, 3, 400)
    readout.initialize(means, seeded())
    assert 0.19 < readout.position.abs().max() <= 0.2
    torch.testing.assert_close(readout.spread, torch.eye(2).mul(0.25).expand(400, 2, 2))
    torch.testing.assert_close(readout.features, torch.full((400, 8), 1 / 8))
    torch.testing.assert_close(readout(torch.zeros(2, 8, 7, 11)), (means - 1).expand(2, -1))


def coordinates():
    """A map whose channels are x and y."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 7), torch.linspace(-1, 1, 11), indexing="ij")
    return torch.stack([x, y])


def test_draws_are_gaussian_around_the_mean_with_the_spread_as_square_root_of_covariance():
    """On a map linear in x and y a feature vector reads a combination of the coordinates."""
    directions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]])
    place, spread = torch.tensor([0.1, -0.2]), torch.tensor([[0.15, 0.0], [0.1, 0.05]])
    readout = readout_of(4, (2, 7, 11))
    with torch.no_grad():
        readout.position.copy_(place)
        readout.spread.copy_(spread)
        readout.features.copy_(directions)
        readout.bias.zero_()
        n = 20_000
        draws = readout(coordinates().expand(n, -1, -1, -1), None, seeded())
        at_the_mean = readout(coordinates()[None])[0]
    torch.testing.assert_close(at_the_mean, directions @ place)
    sd = (directions @ spread).norm(dim=1)
    assert ((draws.mean(0) - at_the_mean).abs() < 4 * sd / n**0.5).all()
    torch.testing.assert_close(draws.std(0), sd, rtol=0.03, atol=0)
    kurtosis = ((draws - draws.mean(0)) / draws.std(0)).pow(4).mean(0)
    assert (kurtosis - 3).abs().max() < 0.25
    assert torch.corrcoef(draws.T)[0, 2].abs() < 0.04  # units draw their own points


def test_draws_stay_within_the_map_and_only_the_eye_leaves_it():
    readout = readout_of(1, (2, 7, 11))
    with torch.no_grad():
        readout.position.fill_(0.9)
        readout.spread.copy_(torch.eye(2))
        readout.features.copy_(torch.tensor([[1.0, 0.0]]))
        readout.bias.zero_()
    maps = coordinates().expand(500, -1, -1, -1)
    drawn = readout(maps, None, seeded())
    assert drawn.max() == 1 and drawn.min() >= -1
    assert (drawn == 1).float().mean() > 0.3  # zero, were they outside
    assert (readout(maps, torch.tensor([[3.0, 0.0]]), seeded()) == 0).all()


def test_equal_generators_equal_bits():
    readout, maps = readout_of(), random(4, *SHAPE)
    one, two, other = (readout(maps, None, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other)
    before = torch.get_rng_state()
    readout(maps, None, seeded())
    assert torch.equal(torch.get_rng_state(), before)


def test_regularizer_and_constraints():
    readout = readout_of(gamma_features=2.0, positive=True)
    terms = readout.regularizers()
    torch.testing.assert_close(terms.pop("readout_features"), 2 * readout.features.abs().mean())
    assert not terms
    with torch.no_grad():
        readout.position[0] = torch.tensor([1.7, -3.0])
    features = readout.features.detach().clone()
    readout.constrain()
    torch.testing.assert_close(readout.position[0].detach(), torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(readout.features.detach(), features.clamp(min=0))
    assert features.min() < 0
