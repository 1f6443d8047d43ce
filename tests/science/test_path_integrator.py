"""Path integrators against the equations written out, PyTorch's own cells, and what they learn."""

from itertools import product
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from science.navigation.cells import ACTIVATIONS, CELLS, Activation
from science.navigation.keras_adam import KerasAdam
from science.navigation.losses import (
    decoding_error,
    place_loss,
    position_loss,
    weight_decay,
)
from science.navigation.motion import MotionParams
from science.navigation.path_integrator import PathIntegrator, PathIntegratorConfig
from science.navigation.place_cells import PlaceCellParams
from science.navigation.random_source import random_source
from science.navigation.rectangle import Rectangle
from science.navigation.task import NavigationTask, draw_batch
from science.navigation.weights import pack, unpack

TYPES = get_args(PathIntegratorConfig.model_fields["type"].annotation)
CONFIGS = [
    PathIntegratorConfig(type=name, activation=activation, signals=signals, n_units=6)
    for name, activation, signals in product(TYPES, ACTIVATIONS, ("encoded", "concatenated"))
]
every = pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.type}-{c.activation}")


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def perturbed(config, n_places=5, n_signals=3):
    """Network in float64 whose parameters, biases too, all differ."""
    network = PathIntegrator(config, n_places, n_signals).double()
    with torch.no_grad():
        for seed, parameter in enumerate(network.parameters()):
            parameter.add_(0.3 * random(*parameter.shape, seed=seed))
    return network


def inputs(n=4, n_steps=7, n_places=5, n_signals=3):
    return random(n, n_places), random(n, n_steps, 2, seed=1), random(n, n_steps, n_signals, seed=2)


def written_out(network, start, velocity, signals):
    """Layers by the equations of mec 5, one step after another under autograd."""
    config, cell = network.config, network.cell
    act, sigmoid = ACTIVATIONS[config.activation], torch.sigmoid
    w_in, w_rec = cell.input.weight, cell.recurrent.weight
    h, *others = (encoder(start) for encoder in network.encoders)
    states = []
    for t in range(velocity.shape[1]):
        u = velocity[:, t]
        if config.type == "rnn":
            u = torch.cat([u, signals[:, t]], 1)
        elif config.signals == "encoded":
            u = network.velocity(torch.cat([u, signals[:, t]], 1))
        else:
            u = torch.cat([network.velocity(u), signals[:, t]], 1)
        if config.type in ("rnn", "vanilla_rnn"):
            h = act(u @ w_in.T + h @ w_rec.T)
        elif config.type == "ugrnn":
            z = torch.cat([u, h], 1) @ torch.cat([w_in, w_rec], 1).T + cell.input.bias
            gate, candidate = sigmoid(z[:, :6] + 1), act(z[:, 6:])
            h = gate * h + (1 - gate) * candidate
        elif config.type == "gru":
            x, r = cell.input(u).split(6, 1), cell.recurrent(h).split(6, 1)
            z = sigmoid(x[0] + r[0])
            h = z * h + (1 - z) * act(x[2] + sigmoid(x[1] + r[1]) * r[2])
        else:
            i, f, c, o = (cell.input(u) + h @ w_rec.T).split(6, 1)
            others = [sigmoid(f) * others[0] + sigmoid(i) * act(c)]
            h = sigmoid(o) * act(others[0])
        states.append(h)
    pre_g = torch.stack(states, 1)
    g = act(network.dense(pre_g)) if network.dense is not None else pre_g
    layers = {"pre_g": pre_g, "g": g, "dc": network.decoder(g)}
    return {name: layers[name] for name in network.layer_names}


@every
def test_layers_and_all_gradients_are_those_of_the_equations(config):
    network = perturbed(config)
    leaves = [value.requires_grad_() for value in inputs()]
    leaves += network.parameters()
    results = []
    for layers in (network.layers(*leaves[:3]), written_out(network, *leaves[:3])):
        total = sum((random(*v.shape, seed=9) * v.square()).sum() for v in layers.values())
        results.append((layers, torch.autograd.grad(total, leaves)))
    (ours, own_gradients), (expected, gradients) = results
    assert list(ours) == list(expected) == list(network.layer_names)
    for name, values in expected.items():
        torch.testing.assert_close(ours[name], values, rtol=1e-12, atol=1e-12)
    for own, gradient in zip(own_gradients, gradients, strict=True):
        assert gradient.abs().max() > 0
        torch.testing.assert_close(own, gradient, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("name", "order", "reference"),
    [("gru", (1, 0, 2), nn.GRU), ("lstm", (0, 1, 2, 3), nn.LSTM), ("vanilla_rnn", (0,), nn.RNN)],
)
def test_cells_with_tanh_are_those_of_pytorch(name, order, reference):
    network = perturbed(PathIntegratorConfig(type=name, activation="tanh", n_units=6), n_signals=0)
    start, velocity, _ = inputs()
    cell, other = network.cell, reference(6, 6, batch_first=True).double()
    with torch.no_grad():
        for theirs, own in (
            (other.weight_ih_l0, cell.input.weight),
            (other.weight_hh_l0, cell.recurrent.weight),
            (other.bias_ih_l0, cell.input.bias),
            (other.bias_hh_l0, cell.recurrent.bias),
        ):
            theirs.zero_()
            if own is not None:
                theirs.copy_(torch.cat([own.chunk(len(order))[i] for i in order]))
        first = [encoder(start)[None] for encoder in network.encoders]
        expected, _ = other(network.velocity(velocity), first[0] if len(first) == 1 else first)
        (pre_g,) = network.layers(start, velocity, names=["pre_g"]).values()
    torch.testing.assert_close(pre_g, expected)


def test_registry_and_configuration_name_the_same():
    assert set(TYPES) == set(CELLS)
    assert set(get_args(Activation)) == set(ACTIVATIONS)
    for config in CONFIGS:
        assert PathIntegratorConfig.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValueError, match="ugrnn"):
        PathIntegratorConfig(type="banino")


def test_layers_are_computed_once_and_only_if_needed():
    network = PathIntegrator(PathIntegratorConfig(n_units=6), n_places=5)
    start, velocity, _ = (value.float() for value in inputs())
    calls = []
    for name, module in network.named_modules():
        module.register_forward_hook(lambda *_, name=name: calls.append(name))
    for names, needed in (
        (["pre_g"], []),
        (["g"], ["dense"]),
        (["dc", "g"], ["dense", "decoder"]),
        (None, ["dense", "decoder"]),
    ):
        calls.clear()
        found = network.layers(start, velocity, names=names)
        assert list(found) == list(names or ("pre_g", "g", "dc"))
        assert calls == ["encoders.0", *needed]
    torch.testing.assert_close(network(start, velocity), found["dc"], rtol=0, atol=0)


@pytest.mark.parametrize("name", TYPES)
def test_first_weights_are_glorot_uniform_and_biases_zero(name):
    state = torch.random.get_rng_state()
    network = PathIntegrator(PathIntegratorConfig(type=name, n_units=40), 30, n_signals=2)
    network.initialize(torch.Generator().manual_seed(5))
    assert (torch.random.get_rng_state() == state).all()
    again = PathIntegrator(network.config, 30, n_signals=2)
    assert (again.cell.recurrent.weight != network.cell.recurrent.weight).any()
    again.initialize(torch.Generator().manual_seed(5))
    for (key, weight), other in zip(network.named_parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(weight, other, rtol=0, atol=0)
        if weight.ndim == 2:
            fans = 160 if name == "ugrnn" and key.startswith("cell") else sum(weight.shape)
            limit = (6 / fans) ** 0.5
            assert weight.abs().max() < limit
            assert weight.abs().max() > 0.9 * limit
            assert weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.15)
        elif (name, key) == ("lstm", "cell.input.bias"):
            assert weight.tolist() == [0] * 40 + [1] * 40 + [0] * 80
        else:
            assert (weight == 0).all()
    assert (name == "rnn") == all(weight.ndim == 2 for weight in network.parameters())


@every
def test_packed_weights_make_the_same_network(config):
    network = perturbed(config).float()
    task = NavigationTask(arena=Rectangle(width=1.5, height=0.7), n_steps=7)
    data = pack(network, task)
    other, unpacked = unpack(data)
    values = [value.float() for value in inputs()]
    assert unpacked == task and other.config == config
    torch.testing.assert_close(other(*values), network(*values), rtol=0, atol=0)
    with pytest.raises(ValueError, match="altered"):
        unpack(data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": torch.zeros(3, 5)}, r"start has the shape \(3, 5\).* \(4, 5\)"),
        ({"velocity": torch.zeros(4, 7, 3)}, r"velocity has the shape .* takes \(4, 7, 2\)"),
        ({"velocity": torch.zeros(4, 2)}, "velocity has the shape"),
        ({"signals": None}, r"signals has the shape None.* \(4, 7, 3\)"),
        ({"signals": torch.zeros(4, 6, 3)}, r"signals has the shape \(4, 6, 3\)"),
        ({"names": ["pre_g", "grid"]}, "no layers .'grid'.*pre_g"),
    ],
)
def test_bad_input_is_named(change, message):
    network = PathIntegrator(PathIntegratorConfig(n_units=6), n_places=5, n_signals=3)
    values = dict(zip(("start", "velocity", "signals"), inputs(), strict=True))
    with pytest.raises(ValueError, match=message):
        network.layers(**values | change)


def test_bad_networks_and_losses_are_refused():
    config = PathIntegratorConfig(n_units=6)
    with pytest.raises(ValueError, match="0 places"):
        PathIntegrator(config, 0)
    with pytest.raises(ValueError, match="signals"):
        PathIntegrator(config, 5).layers(*inputs())
    with pytest.raises(ValueError, match="pre_g"):
        PathIntegrator(PathIntegratorConfig(type="rnn"), 5).layers(*inputs()[:2], names=["pre_g"])
    with pytest.raises(ValueError, match=r"logits have the shape \(4, 7, 5\).*\(4, 1, 5\)"):
        place_loss(torch.zeros(4, 7, 5), torch.zeros(4, 1, 5))
    with pytest.raises(ValueError, match="positions"):
        position_loss(torch.zeros(4, 7, 2), torch.zeros(4, 2))


def test_losses_by_hand():
    codes = torch.softmax(random(4, 7, 5), -1)
    entropy = -(codes * codes.log()).sum(-1).mean()
    assert place_loss(codes.log() + 3, codes).item() == pytest.approx(entropy.item())
    assert place_loss(torch.zeros(4, 7, 5).double(), codes).item() == pytest.approx(np.log(5))
    positions = random(4, 7, 2)
    shifted = positions + torch.tensor([0.3, -0.4])
    assert position_loss(shifted, positions).item() == pytest.approx(0.125)
    assert decoding_error(shifted, positions).item() == pytest.approx(0.5)


@pytest.mark.parametrize("name", TYPES)
def test_weight_decay_is_of_the_recurrent_weights_by_default(name):
    network = perturbed(PathIntegratorConfig(type=name, n_units=6))
    recurrent, cell = network.cell.recurrent.weight, network.cell
    assert weight_decay(network).item() == pytest.approx((recurrent**2).sum().item())
    legacy = cell.input.bias if name == "ugrnn" else recurrent
    assert weight_decay(network, legacy=True).item() == pytest.approx((legacy**2).sum().item())


@pytest.mark.parametrize("fused", [False, True])
def test_adam_of_keras_by_its_formula_and_after_a_resumption(fused):
    gradients = random(30, 8) * 10 ** torch.linspace(-10, -3, 8, dtype=torch.float64)
    expected, m, v = random(8, seed=1), 0, 0
    weight = nn.Parameter(expected.clone())
    optimizer = KerasAdam([weight], lr=1e-2, fused=fused)
    for t, gradient in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        rate = 1e-2 * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t)
        expected = expected - rate * m / (v.sqrt() + 1e-7)
        weight.grad = gradient.clone()
        optimizer.step()
        torch.testing.assert_close(weight.detach(), expected, rtol=1e-12, atol=1e-12)
        if t == 10:  # as Training.resume does: the state alone, into a new optimiser
            state = optimizer.state_dict()["state"]
            optimizer = KerasAdam([weight], lr=1e-2, fused=fused)
            optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


@pytest.mark.parametrize("name", TYPES)
def test_a_small_network_learns_to_integrate_its_path(name):
    """Better than a guess, and than the place where it started."""
    task = NavigationTask(
        arena=Rectangle(width=1, height=1),
        motion=MotionParams(speed_scale=3, border=0.1),
        code=PlaceCellParams(n_cells=64, surround=False),
        n_steps=12,
    )
    code, rng = task.place_code(), random_source(0)
    network = PathIntegrator(PathIntegratorConfig(type=name, n_units=64), code.n_outputs)
    optimizer = KerasAdam(network.parameters(), lr=3e-3, fused=True)
    for _ in range(300):
        batch = draw_batch(task, code, 100, rng)
        loss = place_loss(network(batch.initial_code, batch.velocities), batch.targets)
        optimizer.zero_grad()
        (loss + 1e-6 * weight_decay(network)).backward()
        optimizer.step()
    batch = draw_batch(task, code, 500, rng)
    with torch.no_grad():
        decoded = code.decode(network(batch.initial_code, batch.velocities))
    error = decoding_error(decoded, batch.positions)
    guess = decoding_error(batch.positions.roll(1, 0), batch.positions)
    at_start = code.decode(batch.initial_code)[:, None].expand_as(batch.positions)
    stay = decoding_error(at_start, batch.positions)
    assert error < 0.25 * guess
    assert error < 0.5 * stay
