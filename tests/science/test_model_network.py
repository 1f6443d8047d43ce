"""Network and ensemble: shapes, nonlinearity, units, gradients, determinism."""

import pytest
import torch

from science.model import (
    Ensemble,
    ImageModelConfig,
    ImageNetwork,
    PyramidReadoutConfig,
    StackedCoreConfig,
    TrainConfig,
    predict,
)

CONFIG = ImageModelConfig(
    core=StackedCoreConfig(hidden_channels=4, layers=2, input_kern=5, hidden_kern=3),
    readout=PyramidReadoutConfig(scale_n=2, init_range=0.8),
)
UNITS = {"group001-1-2-3-0": 5, "group001-1-2-4-0": 3}
KEY = "group001-1-2-3-0"


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network_of(seed=0, config=CONFIG):
    network = ImageNetwork(config, (12, 16), UNITS)
    means = {key: torch.linspace(1, 3, n) for key, n in UNITS.items()}
    network.initialize(means, torch.Generator().manual_seed(seed))
    with torch.no_grad():  # after training every unit differs
        for readout in network.readouts.values():
            readout.features.add_(random(*readout.features.shape, seed=seed + 1))
    return network.eval()


def test_shapes_by_recording():
    network = network_of()
    for key, n in UNITS.items():
        assert network(random(6, 1, 12, 16), key).shape == (6, n)
        assert network.positions(key).shape == (n, 2)
        assert network.positions(key).abs().max() <= 0.8


def test_a_blank_core_leaves_the_mean_response():
    network = ImageNetwork(CONFIG, (12, 16), {"a": 4})
    means = torch.tensor([1.0, 1.5, 2.0, 7.0])
    network.initialize({"a": means}, torch.Generator().manual_seed(0))
    response = network.eval()(torch.zeros(1, 1, 12, 16), "a")[0]
    torch.testing.assert_close(response, means)


def test_output_is_elu_plus_one_and_never_negative():
    network = network_of()
    images = 10 * random(50, 1, 12, 16)
    linear = network.readouts[KEY](network.core(images))
    expected = torch.where(linear > 0, linear + 1, linear.exp())
    torch.testing.assert_close(network(images, KEY), expected, rtol=1e-4, atol=1e-6)
    assert linear.min() < -1 and network(images, KEY).min() >= 0


def test_gradient_reaches_every_parameter_of_the_recording():
    network = network_of().train()
    loss = network(random(9, 1, 12, 16), KEY).square().sum()
    (loss + sum(network.regularizers(KEY).values())).backward()
    for name, parameter in network.named_parameters():
        if name.startswith("readouts") and KEY not in name:
            assert parameter.grad is None, name
        else:
            assert parameter.grad.abs().sum() > 0, name


def test_regularizers_are_named():
    names = set(network_of().regularizers(KEY))
    assert names == {"core_smoothness", "core_sparsity", "readout_features"}


def test_equal_seeds_equal_bits_and_global_state_is_left_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two, other = network_of(0).state_dict(), network_of(0).state_dict(), network_of(9)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], two[name]) for name in one)
    weight = "core.convolutions.0.weight"
    assert not torch.equal(one[weight], other.state_dict()[weight])


def test_predict_is_forward_in_evaluation_mode():
    network = network_of().train()
    images = random(10, 1, 12, 16)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    predicted = predict(network, images, KEY, batch_size=4)
    assert network.training and not predicted.requires_grad
    torch.testing.assert_close(predicted, network.eval()(images, KEY))
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_ensemble_averages_after_the_nonlinearity():
    members = [network_of(seed) for seed in range(3)]
    ensemble, images = Ensemble(members), random(4, 1, 12, 16)
    expected = sum(member(images, KEY) for member in members) / 3
    torch.testing.assert_close(ensemble(images, KEY), expected)


def test_ensemble_is_frozen_and_leaves_its_members_alone():
    member = network_of().train()
    ensemble = Ensemble([member])
    ensemble.train()
    assert not any(module.training for module in ensemble.modules())
    assert not any(parameter.requires_grad for parameter in ensemble.parameters())
    assert member.training and all(p.requires_grad for p in member.parameters())
    images = random(2, 1, 12, 16).requires_grad_()
    ensemble(images, KEY).sum().backward()
    assert images.grad.abs().sum() > 0


def test_misuse_is_named():
    network = network_of()
    with pytest.raises(ValueError, match="12, 16"):
        network(torch.zeros(1, 1, 16, 12), KEY)
    with pytest.raises(ValueError, match="no readout 'b'"):
        network(torch.zeros(1, 1, 12, 16), "b")
    with pytest.raises(ValueError, match="dot"):
        ImageNetwork(CONFIG, (12, 16), {"a.b": 1})
    with pytest.raises(ValueError, match="at least one recording"):
        ImageNetwork(CONFIG, (12, 16), {})
    with pytest.raises(ValueError, match="at least one network"):
        Ensemble([])
    with pytest.raises(ValueError, match="share"):
        Ensemble([network, ImageNetwork(CONFIG, (12, 16), {"a": 1})])


def test_configurations_survive_json_and_refuse_the_unknown():
    assert ImageModelConfig.model_validate_json(CONFIG.model_dump_json()) == CONFIG
    assert TrainConfig.model_validate_json(TrainConfig().model_dump_json()) == TrainConfig()
    with pytest.raises(ValueError, match="type"):
        ImageModelConfig.model_validate({"core": {"type": "other"}})
    with pytest.raises(ValueError, match="schedule"):
        TrainConfig(schedule=())
