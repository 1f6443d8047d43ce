"""Feedback-modulated networks against the plain loop and numbers of the original (naumann22 2)."""

import copy

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from benchmarks.feedback import plain
from science.feedback import (
    DaleParams,
    DirectParams,
    FeedbackTask,
    ModulationParams,
    SpatialParams,
    State,
    UnmixingParams,
    feedback_config,
    feedback_network,
    from_published,
    kernel_width,
    modulation_kernel,
    pack,
    rollout_together,
    source_loss,
    unpack,
)
from science.feedback.weights import PUBLISHED_NAMES

SMALL = {"n_hidden": 10}
WIDE = {**SMALL, "n_units": 12, "tau": 10.0}
DALE = {**WIDE, "n_lower": 8}
LEARNED = {"learn_baseline": True, "learn_readout": True}
CONFIGS = {
    "unmixing": UnmixingParams(**SMALL),
    "modulation_tau1": ModulationParams(**SMALL),
    "modulation_tau20_add": ModulationParams(**SMALL, tau=20, additive=True, weight_sd=0.1),
    "modulation_input_x": ModulationParams(**SMALL, reads="x", tau=5),
    "modulation_input_y": ModulationParams(**SMALL, reads="y", tau=5),
    "spatial": SpatialParams(**WIDE, **LEARNED),
    "dale_target0": DaleParams(**DALE, **LEARNED, learn_input=True),
    "dale_target1": DaleParams(**DALE, **LEARNED, learn_input=True, target="excitation"),
    "dale_target2": DaleParams(**DALE, **LEARNED, learn_input=True, target="inhibition"),
}
PUBLISHED = ["modulation_chords", "spatial_chords", "spatial_sines"]


def randn(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def drawn(config, seed=1):
    network = feedback_network(config)
    network.initialize(torch.Generator().manual_seed(seed))
    return network.double()


def some_state(network, n_trials):
    """A state that no rollout from 0 would reach."""
    zero = network.initial_state(n_trials, torch.Generator().manual_seed(2), 0.1)
    values = (randn(10 + i, *part.shape) for i, part in enumerate(zero[:3]))
    return State(*values, zero.gain)


def gradients(network, outputs, feedback):
    network.zero_grad()
    (
        (outputs * randn(5, *outputs.shape)).sum() + (feedback * randn(6, *feedback.shape)).sum()
    ).backward()
    return {name: p.grad.clone() for name, p in network.named_parameters()}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_rollout_is_the_plain_loop_with_its_gradients(name):
    network, inputs = drawn(CONFIGS[name]), randn(3, 3, 37, 2)
    state = some_state(network, 3)
    found = network(inputs, state)
    outputs, feedback, after = plain(network, inputs, state)
    torch.testing.assert_close(found.outputs, outputs, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.feedback, feedback, rtol=0, atol=1e-12)
    for part, expected in zip(found.state, after, strict=True):
        torch.testing.assert_close(part, expected.detach(), rtol=0, atol=1e-12)
    expected = gradients(network, outputs, feedback)
    assert any(value.abs().max() > 1 for value in expected.values())
    for name, value in gradients(network, found.outputs, found.feedback).items():
        atol = 1e-12 * max(1.0, expected[name].abs().max().item())
        torch.testing.assert_close(value, expected[name], rtol=0, atol=atol)


@pytest.mark.parametrize("name", ["modulation_tau20_add", "spatial", "dale_target1"])
def test_networks_together_are_the_networks_alone(name):
    networks = [drawn(CONFIGS[name], seed) for seed in (1, 2, 3)]
    networks[1] = drawn(CONFIGS[name].model_copy(update={"tau": 2.0}), 2)
    inputs = randn(3, 3, 4, 20, 2)
    states = [some_state(network, 4) for network in networks]
    found = rollout_together(networks, inputs, states)
    loss = sum(i * r.outputs.square().sum() + r.feedback.sum() for i, r in enumerate(found, 1))
    together = torch.autograd.grad(loss, [p for n in networks for p in n.parameters()])
    alone = []
    for i, (network, each, state) in enumerate(zip(networks, inputs, states, strict=True), 1):
        one = network(each, state)
        loss = i * one.outputs.square().sum() + one.feedback.sum()
        alone += torch.autograd.grad(loss, list(network.parameters()))
        for part, expected in zip(found[i - 1].state, one.state, strict=True):
            torch.testing.assert_close(part, expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(found[i - 1].outputs, one.outputs, rtol=0, atol=1e-12)
    for value, expected in zip(together, alone, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["modulation_tau20_add", "spatial", "dale_target0"])
def test_frozen_steps_and_activity_against_single_steps(name):
    """Held is the modulation, in "dale" networks the gain alone; the LSTM goes on."""
    network, inputs = drawn(CONFIGS[name]), randn(3, 2, 30, 2)
    before = state = some_state(network, 2)
    frozen = torch.zeros(30, dtype=torch.bool)
    frozen[[0, 1, *range(8, 15)]] = True
    outputs, states = [], []
    for t in range(30):
        y, _, after = plain(network, inputs[:, t : t + 1], state)
        if frozen[t]:
            held = "gain" if network.n_gains else "modulation"
            after = after._replace(**{held: getattr(state, held)})
        outputs.append(y)
        states.append(state := after)
    found = network(inputs, before, frozen)
    torch.testing.assert_close(found.outputs, torch.cat(outputs, 1), rtol=0, atol=1e-12)
    for part, expected in zip(found.state, state, strict=True):
        torch.testing.assert_close(part, expected.detach(), rtol=0, atol=1e-12)
    nothing = torch.zeros(1, requires_grad=True)
    expected = gradients(network, torch.cat(outputs, 1), nothing)
    for key, value in gradients(network, found.outputs, nothing).items():
        torch.testing.assert_close(value, expected[key], rtol=1e-11, atol=1e-11)
    activity = network.activity(inputs, found.feedback, before, frozen)
    modulation = torch.stack([s.modulation for s in states], 1)
    torch.testing.assert_close(
        activity["m" if "m" in activity else "w"], modulation, rtol=0, atol=1e-12
    )
    if network.n_gains:
        gains = torch.stack([s.gain for s in states], 1)
        torch.testing.assert_close(activity["p"], gains, rtol=0, atol=1e-12)
    if "z" in activity:
        read_out = activity["z"] @ network.Wro.T
        torch.testing.assert_close(read_out, found.outputs, rtol=0, atol=1e-12)


def test_a_direct_network_is_an_lstm_and_a_readout():
    network, inputs = drawn(DirectParams(n_hidden=6)), randn(3, 2, 9, 2)
    hidden = memory = torch.zeros(2, 6, dtype=torch.float64)
    expected = []
    for x in inputs.unbind(1):
        hidden, memory = torch.lstm_cell(x, (hidden, memory), *network.lstm.parameters())
        expected.append(network.readout(hidden))
    first = network(inputs[:, :4])
    second = network(inputs[:, 4:], first.state)
    outputs = torch.cat([first.outputs, second.outputs], 1)
    torch.testing.assert_close(outputs, torch.stack(expected, 1), rtol=0, atol=1e-14)
    torch.testing.assert_close(second.state.memory, memory.detach(), rtol=0, atol=1e-14)


def test_the_first_output_of_a_network_without_history_is_0():
    for name in ("unmixing", "modulation_tau1", "spatial"):
        outputs = drawn(CONFIGS[name])(randn(0, 2, 3, 2)).outputs
        assert (outputs[:, 0] == 0).all() and (outputs[:, 2] != 0).all()


@pytest.mark.parametrize("target", ["output", "excitation", "inhibition"])
def test_weights_are_drawn_as_specified(target):
    config = DaleParams(n_units=400, n_lower=300, target=target)
    network = feedback_network(config)
    assert network.n_inhibitory == 150
    limit = 100**-0.5
    for parameter in (*network.lstm.parameters(), *network.readout.parameters()):
        assert 0.8 * limit < parameter.abs().max() <= limit
    excite, inhibit = {"output": (20, 20), "excitation": (20, 10), "inhibition": (10, 20)}[target]
    # mean of |N(1, s)|: 1.0170 for s = 0.5, 1.1666 for s = 1
    assert network.w0.mean().item() * 400 == pytest.approx(1.0170 * excite, rel=0.01)
    expected = 1.1666 * 1.0170 * inhibit
    assert network.w_inh.mean().item() * 400 == pytest.approx(expected, rel=0.02)
    assert (network.w0 >= 0).all() and (network.w_inh >= 0).all()
    for weight in (network.wx, network.Wro):
        assert weight.std().item() == pytest.approx(0.5, rel=0.1)
    spatial = feedback_network(SpatialParams(n_units=2000))
    for weight in (spatial.w0, spatial.Wro):
        assert weight.std().item() == pytest.approx(0.5, rel=0.05)
    assert not spatial.initial_state(3).gain.numel()
    gain = network.initial_state(50, torch.Generator().manual_seed(0), 0.1).gain
    assert gain.mean().item() == pytest.approx(0.5, abs=0.01)
    assert gain.std().item() == pytest.approx(0.1, rel=0.05)
    assert torch.equal(network.initial_state(1).gain, torch.full((1, 400), 0.5))


def test_networks_are_drawn_from_their_generator_only():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for config in (*CONFIGS.values(), DirectParams()):
        one, two, other = (drawn(config, seed).state_dict() for seed in (4, 4, 5))
        assert all(torch.equal(one[name], two[name]) for name in one)
        changed = {name for name in one if not torch.equal(one[name], other[name])}
        assert changed == set(one) - {"Wm"}
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_learned_is_a_parameter_and_the_rest_is_stored_too():
    network = feedback_network(DaleParams(**DALE, learn_input=True))
    names = {name for name, _ in network.named_parameters()}
    assert "wx" in names and not names & {"w0", "Wro", "w_inh", "Wm"}
    assert {"w0", "Wro", "w_inh", "Wm"} <= set(network.state_dict())


@pytest.mark.parametrize("name", CONFIGS)
def test_packed_networks_do_the_same(name):
    task = FeedbackTask(noise=0.1)
    network = drawn(CONFIGS[name]).float()
    found, its_task = unpack(data := pack(network, task))
    assert data == pack(found, its_task) and its_task == task and found.config == network.config
    inputs = randn(0, 2, 5, 2).float()
    assert torch.equal(found(inputs).outputs, network(inputs).outputs)
    assert found.readout.weight.requires_grad
    with pytest.raises(ValueError, match=r"altered|truncated"):
        unpack(data[:-1])


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "golden" / "naumann"


@pytest.mark.shared
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_do_what_they_did(folder, name):
    """The specification names 1e-14 for outputs in float64, 2.1e-6 between the precisions."""
    golden = np.load(folder / f"forward_parity_{name}.npz")
    network = from_published(np.load(folder / f"weights_{name}.npz"))
    assert network.config.tau == (1 if name == "modulation_chords" else 100)
    for precision, atol in (("f32", 2.1e-6), ("f64", 1e-14)):
        dtype = torch.float32 if precision == "f32" else torch.float64
        inputs = torch.tensor(golden[f"x_{precision}"], dtype=dtype)[None]
        with torch.no_grad():
            found = network.to(dtype)(inputs)
        np.testing.assert_allclose(found.outputs[0], golden["y_f64"], rtol=0, atol=atol)
    # not outputs: values of up to 40, of which the last digits are 1e-14
    np.testing.assert_allclose(found.feedback[0], golden["net_f64"], rtol=1e-12, atol=2e-13)
    last = golden["w_or_m_last_f64"]
    np.testing.assert_allclose(found.state.modulation[0], last, rtol=0, atol=1e-14)
    zero, nothing = network.initial_state(1), torch.zeros(900, dtype=torch.bool)
    activity = network.activity(inputs, found.feedback, zero, nothing)
    states = next(iter(activity.values()))[0, ::50].detach()
    np.testing.assert_allclose(states, golden["w_or_m_every50_f64"], rtol=0, atol=1e-13)
    hidden = found.hidden[0, ::50]
    np.testing.assert_allclose(hidden, golden["hidden_every50_f64"], rtol=0, atol=1e-13)
    sources = torch.tensor(golden["s"]).double().unflatten(0, (3, 300))
    for i, outputs in enumerate(found.outputs[0].unflatten(0, (3, 300))):
        loss = source_loss(outputs[None], sources[i]).item()
        assert loss == pytest.approx(golden["loss_per_context_f64"][i], rel=1e-12)


@pytest.mark.shared
@pytest.mark.parametrize("name", CONFIGS)
def test_random_networks_do_what_they_did(folder, name):
    golden = np.load(folder / "forward_parity_random_variants.npz")
    own = {**PUBLISHED_NAMES, "wx": "wx", "w_inh": "w_inh"}
    arrays = {
        own[key.removeprefix(f"{name}/param/")]: torch.tensor(golden[key])
        for key in golden.files
        if key.startswith(f"{name}/param/")
    }
    if name == "unmixing":
        del arrays["w0"]  # of no use to it
    network = feedback_network(CONFIGS[name]).double()
    network.load_state_dict(arrays)
    state = network.initial_state(2)
    if name.startswith("dale"):
        state = state._replace(gain=torch.tensor(golden[f"{name}/p_init"])[:, 0])
    inputs = torch.tensor(golden[f"{name}/x"]).transpose(0, 1)
    with torch.no_grad():
        found = network(inputs, state)
    expected = golden[f"{name}/y"].swapaxes(0, 1)
    np.testing.assert_allclose(found.outputs, expected, rtol=0, atol=1e-14)
    expected = golden[f"{name}/net"].swapaxes(0, 1)
    np.testing.assert_allclose(found.feedback, expected, rtol=0, atol=1e-14)
    for part, key in ((found.state.hidden, "h_last"), (found.state.memory, "c_last")):
        np.testing.assert_allclose(part, golden[f"{name}/{key}"][0], rtol=0, atol=1e-14)


@pytest.mark.shared
def test_kernels_are_those_of_the_original(folder):
    golden = np.load(folder / "forward_parity_random_variants.npz")
    keys = [key for key in golden.files if key.startswith("kernel/")]
    assert len(keys) == 7
    for key in keys:
        width, expected = float(key.split("_")[2]), golden[key]
        found = modulation_kernel(*expected.shape, width)
        atol = 1e-14 if expected.dtype == np.float64 else 6e-8
        np.testing.assert_allclose(found, expected, rtol=0, atol=atol)
        assert kernel_width(torch.tensor(expected)) == width


@pytest.mark.parametrize("n_units", [10, 11])
def test_kernels_have_maxima_of_1_and_boxes_leave_the_rest_out(n_units):
    kernel = modulation_kernel(n_units, 4, 0.3)
    assert torch.equal(kernel.amax(0), torch.ones(4, dtype=torch.float64))
    boxes = modulation_kernel(n_units, 4, 0)
    assert boxes.sum(0).tolist() == [2.0] * 4 and boxes[8:].sum() == 0
    assert boxes.sum(1).max() == 1


def test_bad_input():
    for tau in (0.5, 0.0, -1.0):
        with pytest.raises(ValidationError, match="below one step"):
            SpatialParams(tau=tau)
    with pytest.raises(ValidationError, match="expected tags"):
        feedback_config({"type": "hopfield"})
    assert feedback_config({"type": "spatial", "tau": 3}) == SpatialParams(tau=3)
    with pytest.raises(ValueError, match=r"no kernel of width 0\.2 from 4 signals to 3 units"):
        feedback_network(SpatialParams(n_units=3))
    with pytest.raises(ValueError, match="no inhibitory unit"):
        feedback_network(DaleParams(n_lower=2, inhibitory_fraction=0.1))
    with pytest.raises(ValueError, match="0 inputs"):
        feedback_network(UnmixingParams(), 0, 2)
    network = feedback_network(CONFIGS["spatial"])
    for shape in ((4, 5, 3), (4, 0, 2)):
        with pytest.raises(ValueError, match=r"expected \(1, trials, steps, 2\)"):
            network(torch.zeros(shape))
    with pytest.raises(ValueError, match="only networks of one class, with feedback"):
        rollout_together([feedback_network(DirectParams())] * 2, torch.zeros(2, 4, 5, 2))
    other = feedback_network(CONFIGS["spatial"].model_copy(update={"n_hidden": 9}))
    with pytest.raises(ValueError, match="widths are equal"):
        rollout_together([network, other], torch.zeros(2, 4, 5, 2))
    with pytest.raises(ValueError, match="no kernel on a ring"):
        kernel_width(torch.tensor([[1.0, 0.3], [0.5, 0.2], [0.1, 0.9]]))


def test_incomplete_published_weights():
    with pytest.raises(ValueError, match="a published network has no Wro, add"):
        from_published(dict.fromkeys({*PUBLISHED_NAMES, "tau"} - {"Wro"}, 0))


def test_rollouts_leave_the_network_as_it_was():
    network = drawn(CONFIGS["spatial"])
    before = copy.deepcopy(network.state_dict())
    state = some_state(network, 2)
    kept = State(*(part.clone() for part in state))
    network(randn(0, 2, 20, 2), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(torch.equal(part, old) for part, old in zip(state, kept, strict=True))
