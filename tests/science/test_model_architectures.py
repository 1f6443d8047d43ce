"""Every combination of core, readout, shifter and modulator of the registry."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F

from science.model import Ensemble, ImageModelConfig, ImageNetwork
from science.model.own_units import OwnUnits
from science.model.registry import CORES, MODULATORS, READOUTS, SHIFTERS
from science.model.weights import pack, unpack

SHAPE, UNITS = (20, 24), {"a": 5, "b": 3}
PARTS = (CORES, READOUTS, [*SHIFTERS, None], [*MODULATORS, None])
CONFIGS = [
    ImageModelConfig(
        core=core(),
        readout=readout(),
        shifter=shifter and shifter(),
        modulator=modulator and modulator(),
    )
    for core, readout, shifter, modulator in product(*PARTS)
]
MOVED = [config for config in CONFIGS if config.shifter]
MODULATED = [config for config in CONFIGS if config.modulator and not config.shifter]
every = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: name_of(config))


def name_of(config):
    parts = (config.core, config.readout, config.shifter, config.modulator)
    return "-".join(part.type if part else "none" for part in parts)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network_of(config, seed=0):
    """Network whose parameters all differ from one another, as after training."""
    network = ImageNetwork(config, SHAPE, UNITS)
    means = {key: torch.linspace(1, 2, n) for key, n in UNITS.items()}
    network.initialize(means, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for index, parameter in enumerate(network.parameters()):
            parameter.add_(0.1 * random(*parameter.shape, seed=index))
        network.constrain()
    return network.eval()


def trials(n=6):
    return random(n, 1, *SHAPE), random(n, 3, seed=1).abs(), random(n, 2, seed=2)


@every
def test_gradient_of_the_response_reaches_every_parameter_from_the_start(config):
    network = ImageNetwork(config, SHAPE, UNITS).train()
    images, behavior, pupil_center = trials()
    response = network(images, "a", behavior, pupil_center, torch.Generator().manual_seed(0))
    assert response.shape == (6, 5) and response.min() >= 0
    (response * random(*response.shape, seed=3)).sum().backward()
    for name, parameter in network.named_parameters():
        if ".b." in name:
            assert parameter.grad is None, name
        else:
            assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, name


@every
def test_all_initial_values_come_from_the_generator(config):
    states = []
    for global_seed, seed in ((1, 5), (2, 5), (1, 6)):
        torch.manual_seed(global_seed)
        network = ImageNetwork(config, SHAPE, UNITS)
        means = {key: torch.ones(n) for key, n in UNITS.items()}
        network.initialize(means, torch.Generator().manual_seed(seed))
        states.append(network.state_dict())
    one, two, other = states
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


@every
def test_regularizers_vanish_with_the_weights_and_keep_finite_gradients(config):
    network = network_of(config).train()
    terms = network.regularizers("a")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    zero = network.regularizers("a")
    assert set(zero) == set(terms)
    assert all(value == 0 for value in zero.values())
    sum(zero.values()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


@every
def test_every_term_is_weighted_by_a_gamma(config):
    """With all gammas at zero nothing is left, with all at one everything counts."""

    def terms(gamma):
        parts = {
            part: {
                **values,
                **{name: gamma for name in values if name.startswith("gamma")},
            }
            for part, values in config.model_dump().items()
            if values
        }
        return network_of(ImageModelConfig.model_validate(parts)).regularizers("a")

    off, on = terms(0.0), terms(1.0)
    assert set(off) == set(on)
    assert all(value == 0 for value in off.values())
    assert all(value > 0 for value in on.values())


@every
def test_own_units_are_the_chosen_entries_of_forward_at_rest(config):
    networks, (images, *_) = [network_of(config), network_of(config, 1)], trials()
    columns = [("a", 0), ("b", 2), ("a", 4), ("a", 4), ("b", 0), ("a", 3)]
    expected_of, own = Ensemble(networks), OwnUnits(Ensemble(networks), columns)

    def forward(images):
        rows = {key: expected_of(images, key) for key in UNITS}
        return torch.stack([rows[key][:, unit] for key, unit in columns], dim=1)

    def gradient(respond):
        leaf = images.clone().requires_grad_()
        responses = respond(leaf)
        return responses.detach(), torch.autograd.grad(responses.sum(), leaf)[0]

    close = {"rtol": 1e-3, "atol": 1e-4}
    torch.testing.assert_close(own.all(images), forward(images), **close)
    for got, expected in zip(gradient(own), gradient(lambda i: forward(i).diagonal()), strict=True):
        torch.testing.assert_close(got, expected, **close)
    torch.testing.assert_close(
        own(images[:3], torch.tensor([5, 1, 1])), forward(images[:3])[[0, 1, 2], [5, 1, 1]], **close
    )


@every
def test_configuration_and_weights_survive_storage(config):
    assert ImageModelConfig.model_validate_json(config.model_dump_json()) == config
    network = network_of(config)
    copy, _ = unpack(pack(network, {}))
    assert copy.config == config
    assert torch.equal(copy(*_ordered(trials())), network(*_ordered(trials())))


def _ordered(parts):
    images, behavior, pupil_center = parts
    return images, "a", behavior, pupil_center


@pytest.mark.parametrize("config", MOVED, ids=name_of)
def test_without_an_eye_the_eye_is_at_its_mean_and_still_shifts(config):
    network, (images, *_) = network_of(config), trials()
    at_rest = network(images, "a")
    at_zero = network(images, "a", pupil_center=torch.zeros(6, 2))
    torch.testing.assert_close(at_rest, at_zero, rtol=1e-4, atol=1e-5)
    moved = network(images, "a", pupil_center=random(6, 2, seed=4))
    assert not torch.allclose(at_rest, moved, atol=1e-4)
    shift = network.shifters["a"](torch.zeros(1, 2))
    assert shift.abs().min() > 1e-3
    readout = network.readouts["a"]
    torch.testing.assert_close(network.positions("a"), readout.positions() + shift)
    expected = F.elu(readout(network.core(images), shift)) + 1
    torch.testing.assert_close(at_rest, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", MODULATED, ids=name_of)
def test_the_gain_multiplies_the_linear_response_with_its_bias(config):
    network, (images, behavior, _) = network_of(config), trials()
    linear = network.readouts["a"](network.core(images))
    gain = network.modulators["a"](behavior)
    assert gain.std() > 0.05 and linear.abs().min() > 1e-4
    expected = F.elu(linear * gain) + 1
    torch.testing.assert_close(network(images, "a", behavior), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network(images, "a"), F.elu(linear) + 1, rtol=1e-4, atol=1e-5)


def test_only_shifters_and_modulators_need_behavior():
    for config in CONFIGS:
        assert config.needs_behavior == (config.shifter is not None or config.modulator is not None)
