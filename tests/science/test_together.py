"""Seeds trained together: the same networks as one after another."""

import math
from dataclasses import asdict

import pytest
import torch

from science.model import (
    AffineShifterConfig,
    FactorizedReadoutConfig,
    GaborCoreConfig,
    GaussianReadoutConfig,
    ImageModelConfig,
    ImageNetwork,
    MLPModulatorConfig,
    MLPShifterConfig,
    PyramidReadoutConfig,
    StackedCoreConfig,
    TrainConfig,
)
from science.model import together as together_module
from science.model.together import run_epoch_together, train_together
from science.model.training import ImageTrainee, run_epoch
from science.model.trials import TrialData
from science.training import train

CORE = StackedCoreConfig(hidden_channels=2, layers=2, input_kern=3, hidden_kern=3)
PYRAMID = PyramidReadoutConfig(scale_n=1)
BEHAVING = ImageModelConfig(
    core=CORE, readout=PYRAMID, shifter=MLPShifterConfig(), modulator=MLPModulatorConfig()
)
CONFIGS = {
    "positive": ImageModelConfig(core=CORE, readout=PyramidReadoutConfig(scale_n=1, positive=True)),
    "behaving": BEHAVING,
    "factorized": ImageModelConfig(
        core=StackedCoreConfig(**CORE.model_dump() | {"input_pool": 2}),
        readout=FactorizedReadoutConfig(positive=True, init_sd=0.1),
        shifter=AffineShifterConfig(),
    ),
    "gabor": ImageModelConfig(core=GaborCoreConfig(input_kern=3), readout=PYRAMID),
}
TRAINING = TrainConfig(batch_size=20, schedule=(0.02, 0.005), max_epoch=9, patience=2)
SEEDS = (1, 2, 3)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trials_of(n, units, seed):
    """Units that respond to the brightness of a pixel each, and noise."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 1, 8, 9, generator=generator)
    noise = torch.rand(n, units, generator=generator)
    return TrialData(
        images,
        images[:, 0, 3, 3 : 3 + units].clamp(min=0) + noise,
        torch.randn(n, 3, generator=generator),
        torch.randn(n, 2, generator=generator),
    )


def two_recordings():
    """With different numbers of trials, units and batches."""
    return (
        {"a": trials_of(40, 2, seed=0), "b": trials_of(20, 3, seed=1)},
        {"a": trials_of(30, 2, seed=2), "b": trials_of(30, 3, seed=3)},
    )


def assert_close(ours, expected):
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def networks_and_optimizers(n, config=BEHAVING):
    """Of different seeds and learning rates; all but the first have trained for an epoch."""
    train_trials, _ = two_recordings()
    networks, optimizers = [], []
    for seed in range(n):
        network = ImageNetwork(config, (8, 9), {"a": 2, "b": 3})
        generator = torch.Generator().manual_seed(seed)
        network.initialize({"a": torch.ones(2), "b": torch.ones(3)}, generator)
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01 / (seed + 1))
        if seed:
            run_epoch(network, optimizer, train_trials, 20, generator)
        networks.append(network)
        optimizers.append(optimizer)
    return networks, optimizers


def generators(n):
    return [torch.Generator().manual_seed(100 + i) for i in range(n)]


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_results_are_those_of_one_after_another(config):
    together = train_together(config, TRAINING, *two_recordings(), SEEDS)
    n_epochs = {len(ours.curve) for ours in together}
    assert len(n_epochs) > 1 and min(n_epochs) < TRAINING.max_epoch
    for seed, ours in zip(SEEDS, together, strict=True):
        expected = train(ImageTrainee(config, TRAINING, *two_recordings()), seed)
        assert_close([asdict(r) for r in ours.curve], [asdict(r) for r in expected.curve])
        assert (ours.status, ours.best_epoch) == ("ok", expected.best_epoch)
        assert ours.score == pytest.approx(expected.score, abs=1e-5)
        assert not ours.network.training
        assert_close(ours.network.state_dict(), expected.network.state_dict())


def test_an_epoch_leaves_networks_and_optimisers_as_one_after_another():
    train_trials, _ = two_recordings()
    ours, our_adams = networks_and_optimizers(3)
    expected, adams = networks_and_optimizers(3)
    losses = run_epoch_together(ours, our_adams, train_trials, 20, generators(3))
    for i, generator in enumerate(generators(3)):
        assert_close(losses[i], run_epoch(expected[i], adams[i], train_trials, 20, generator))
        assert_close(ours[i].state_dict(), expected[i].state_dict())
        assert_close(our_adams[i].state_dict()["state"], adams[i].state_dict()["state"])


def test_a_network_that_diverges_leaves_the_others_alone():
    train_trials, _ = two_recordings()
    ours, our_adams = networks_and_optimizers(2)
    (_, alone), (_, adam) = networks_and_optimizers(2)
    torch.nn.init.constant_(ours[0].readouts["a"].bias, math.nan)
    diverged, losses = run_epoch_together(ours, our_adams, train_trials, 20, generators(2))
    assert math.isnan(diverged["poisson"])
    assert_close(losses, run_epoch(alone, adam, train_trials, 20, generators(2)[1]))


def test_finished_networks_are_not_computed(monkeypatch):
    sizes = []

    def counted(networks, *arguments):
        sizes.append(len(networks))
        return run_epoch_together(networks, *arguments)

    monkeypatch.setattr(together_module, "run_epoch_together", counted)
    results = train_together(BEHAVING, TRAINING, *two_recordings(), SEEDS)
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] < sizes[0] == 3
    assert sum(sizes) == sum(len(result.curve) for result in results)


def test_a_readout_that_draws_places_is_refused():
    config = ImageModelConfig(core=CORE, readout=GaussianReadoutConfig())
    with pytest.raises(ValueError, match="train the seeds one by one"):
        train_together(config, TRAINING, *two_recordings(), SEEDS)
    networks, optimizers = networks_and_optimizers(2, config)
    with pytest.raises(RuntimeError, match="random"):
        run_epoch_together(networks, optimizers, two_recordings()[0], 20, generators(2))
