"""Where readouts start: at the receptive fields of known cells."""

import numpy as np
import pytest
import torch

from science.model import (
    GaussianReadoutConfig,
    ImageModelConfig,
    PyramidReadoutConfig,
    StackedCoreConfig,
    TrainConfig,
)
from science.model.locate import locate
from science.model.training import ImageTrainee
from science.model.trials import TrialData
from science.training import Training
from science.virtual import SessionDesign, VirtualAnimal, VirtualAnimalParams
from science.virtual.session import first_day

N = 600


@pytest.fixture(scope="module")
def recorded():
    """A virtual mouse, and images and noisy responses of it, scaled."""
    animal = VirtualAnimal(VirtualAnimalParams(n_simple=12, n_complex=12, n_undriven=0), 3)
    images, shown = first_day(SessionDesign(n_train=N, n_validation=0, n_test=0), 24, 40, 3)
    counts = animal.session(1).record(images, shown, seed=1)
    inputs = torch.from_numpy((images[shown] - 127.5) / 60).float()[:, None]
    return animal, TrialData(inputs, torch.from_numpy(counts / counts.std(0)))


def true_places(animal):
    return torch.tensor(np.stack([animal.gabors.x, animal.gabors.y], axis=1)).float()


def test_receptive_fields_of_simple_and_complex_cells_are_found(recorded):
    animal, trials = recorded
    error = (locate(trials.images, trials.responses) - true_places(animal)).norm(dim=1)
    assert error.median() < 1.5
    assert (error < 3).float().mean() > 0.9
    # and by what they respond to, not by where receptive fields usually are
    shuffled = trials.responses[torch.randperm(N, generator=torch.Generator().manual_seed(0))]
    lost = (locate(trials.images, shuffled) - true_places(animal)).norm(dim=1)
    assert lost.median() > 5


@pytest.mark.parametrize("readout", [PyramidReadoutConfig, GaussianReadoutConfig])
def test_readouts_start_there_when_asked(recorded, readout):
    _, trials = recorded
    core = StackedCoreConfig(hidden_channels=2, layers=1, input_kern=5)
    tiers = {"a": trials}, {"a": trials}
    places = {}
    for start in ("centre", "located"):
        config = ImageModelConfig(core=core, readout=readout(start=start))
        network = Training(ImageTrainee(config, TrainConfig(), *tiers), 0).result().network
        places[start] = network.receptive_fields("a")
    expected = locate(trials.images, trials.responses)
    torch.testing.assert_close(places["located"], expected, rtol=0, atol=1e-3)
    centre = torch.tensor([19.5, 11.5])
    assert ((places["centre"] - centre).abs() / centre).max() < 0.3
