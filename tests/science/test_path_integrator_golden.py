"""Path integrators against numbers of the original code (mec 11 and 12)."""

import numpy as np
import pytest
import torch

from science.navigation.cues import CueParams
from science.navigation.keras_adam import KerasAdam
from science.navigation.losses import decoding_error, place_loss, weight_decay
from science.navigation.path_integrator import PathIntegrator, PathIntegratorConfig
from science.navigation.place_cells import PlaceCellParams, PlaceCells
from science.navigation.random_source import random_source
from science.navigation.task import NavigationTask, draw_batch

pytestmark = pytest.mark.shared

LAYERS = {"M": "velocity", "dense": "dense", "decoder": "decoder"}
ENCODERS = {"encoder": "encoders.0", "encoder1": "encoders.0", "encoder2": "encoders.1"}
TYPES = {"RNN": "rnn", "VanillaRNN": "vanilla_rnn", "GRU": "gru", "LSTM": "lstm", "UGRNN": "ugrnn"}
VARIANTS = [(name, activation) for name in TYPES for activation in ("relu", "tanh")]


def tensors_of(golden, prefix):
    """Variables of a Keras model as a state dict: rows are outputs, the cell's kernels apart."""
    found = {}
    for key in golden.files:
        if not key.startswith(prefix):
            continue
        layer, *_, variable = key.removeprefix(prefix).removesuffix(":0").split("/")
        value = torch.tensor(golden[key].T)
        if layer in LAYERS | ENCODERS:
            name = (LAYERS | ENCODERS)[layer]
            found[f"{name}.{'weight' if variable == 'kernel' else 'bias'}"] = value
        elif variable == "weight":
            found["cell.input.weight"], found["cell.recurrent.weight"] = value.chunk(2, 1)
        elif variable == "bias" and value.ndim == 2:
            found["cell.input.bias"], found["cell.recurrent.bias"] = value.T
        else:
            part = {"kernel": "input.weight", "bias": "input.bias"}
            found[f"cell.{part.get(variable, 'recurrent.weight')}"] = value
    return found


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "golden" / "mec"


@pytest.mark.parametrize(("name", "activation"), VARIANTS)
def test_layers_loss_and_error_of_every_cell(folder, name, activation):
    """The golden float32 values are up to 6e-7 from the exact ones, and so are ours."""
    golden = np.load(folder / "rnn_variants_forward.npz")
    config = PathIntegratorConfig(type=TYPES[name], activation=activation, n_units=16)
    network = PathIntegrator(config, n_places=32)
    network.load_state_dict(tensors_of(golden, f"{name}|{activation}|w|"))
    start, velocity, codes = (torch.tensor(golden[k]) for k in ("init_actv", "v", "targets"))
    with torch.no_grad():
        layers = network.layers(start.float(), velocity.float())
        exact = network.double().layers(start, velocity)
        loss = place_loss(exact["dc"], codes) + 1e-4 * weight_decay(network, legacy=True)
    for layer, values in exact.items():
        expected = golden[f"{name}|{activation}|{layer}"]
        np.testing.assert_allclose(values, expected, rtol=0, atol=6e-7)
        np.testing.assert_allclose(layers[layer], expected, rtol=0, atol=1e-6)
    assert loss.item() == pytest.approx(golden[f"{name}|{activation}|loss"].item(), abs=1e-6)
    places = PlaceCells(torch.tensor(golden["us"]), PlaceCellParams(n_cells=32))
    error = decoding_error(places.decode(layers["dc"]), torch.tensor(golden["pos"]))
    assert error.item() == pytest.approx(golden[f"{name}|{activation}|err"].item(), abs=1e-12)


@pytest.mark.parametrize(("name", "activation"), VARIANTS)
def test_legacy_decay_has_the_weight_that_the_original_names(folder, name, activation):
    golden = np.load(folder / "rnn_variants_forward.npz")
    variable = golden[f"{name}|{activation}|reg_weight_name"].item()
    network = PathIntegrator(PathIntegratorConfig(type=TYPES[name], n_units=16), n_places=32)
    network.load_state_dict(tensors_of(golden, f"{name}|{activation}|w|"))
    squares = np.square(golden[f"{name}|{activation}|w|{variable}"], dtype=np.float64).sum()
    assert weight_decay(network, legacy=True).item() == pytest.approx(squares, rel=1e-6)


@pytest.fixture(scope="module")
def cells(folder):
    """Place cells of the original in its box of 2.2 m."""
    centers = np.load(folder / "place_cells.npz")["us_box2.2"]
    return PlaceCells(torch.tensor(centers), PlaceCellParams())


def test_loss_and_error_of_stored_outputs(folder, cells):
    golden = np.load(folder / "ugrnn_relu_ng64_forward.npz")
    logits, positions = torch.tensor(golden["dc"]), torch.tensor(golden["pos"])
    loss = place_loss(logits, cells.encode(positions).float()).item()
    assert loss == pytest.approx(golden["loss"].item(), abs=1e-6)
    error = decoding_error(cells.decode(logits), positions).item()
    assert error == pytest.approx(golden["err_m"].item(), abs=1e-12)


@pytest.fixture(scope="module")
def cue(folder, cells):
    """Golden file, and the 20 batches on which the original was trained."""
    golden = np.load(folder / "cueugrnn_relu_ng32_20steps.npz")
    task, rng = NavigationTask(cues=CueParams(), legacy=True), random_source(99, legacy=True)
    batches = [draw_batch(task, cells, 50, rng) for _ in range(20)]
    for i, batch in enumerate(batches[:2]):
        for name, values in (
            ("v", batch.velocities),
            ("pos", batch.positions),
            ("cue", batch.cues),
        ):
            np.testing.assert_allclose(values, golden[f"b{i}|{name}"], rtol=0, atol=1e-15)
    return golden, batches


def cue_network(golden):
    network = PathIntegrator(PathIntegratorConfig(n_units=32), n_places=512, n_signals=5)
    network.load_state_dict(tensors_of(golden, "init|"))
    return network


def inputs(batch):
    return batch.initial_code.float(), batch.velocities.float(), batch.cues.float()


def loss_of(network, batch):
    """Loss of the original, and the outputs."""
    logits = network(*inputs(batch))
    loss = place_loss(logits, batch.targets.float()) + 1e-4 * weight_decay(network, legacy=True)
    return loss, logits.detach()


def test_layers_and_gradients_of_the_first_batch_with_cues(cue):
    golden, (batch, *_) = cue
    network = cue_network(golden)
    with torch.no_grad():
        layers = network.layers(*(values[:8] for values in inputs(batch)))
    blind = (golden["b0|cue"][:8] == 0).all((1, 2))
    assert 0 < blind.sum() < 8
    assert list(layers) == ["pre_g", "g", "dc"]
    for layer, values in layers.items():
        expected = golden[f"fwd0|{layer}"]
        np.testing.assert_allclose(values[blind], expected[blind], rtol=0, atol=7e-9)
        # Cues are a hundred times as large as velocities: one unit in the last place is 3e-8.
        np.testing.assert_allclose(values, expected, rtol=0, atol=5e-7)
    loss_of(network, batch)[0].backward()
    expected = tensors_of(golden, "grad0|")
    for name, parameter in network.named_parameters():
        atol = 2e-6 * expected[name].abs().max().item()
        np.testing.assert_allclose(parameter.grad, expected[name], rtol=0, atol=atol)


@pytest.mark.parametrize("fused", [False, True])
def test_20_steps_of_training_with_cues(cue, cells, fused):
    golden, batches = cue
    network = cue_network(golden)
    optimizer = KerasAdam(network.parameters(), lr=1e-4, fused=fused)
    losses, errors = [], []
    for step, batch in enumerate(batches):
        loss, logits = loss_of(network, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        errors.append(decoding_error(cells.decode(logits), batch.positions).item())
        if step == 0:
            assert_weights(network, tensors_of(golden, "after1|"))
    # 1e-6 on the machine of the specification; float32 counts in steps of 4.8e-7 here
    np.testing.assert_allclose(losses, golden["loss"], rtol=0, atol=1.5e-6)
    np.testing.assert_allclose(errors, golden["err_m"], rtol=0, atol=3e-3)
    assert_weights(network, tensors_of(golden, "final|"))


def assert_weights(network, expected):
    for name, parameter in network.named_parameters():
        np.testing.assert_allclose(parameter.detach(), expected[name], rtol=0, atol=5e-7)
