"""Training against the same network written with plain layers, a DataLoader and an Adam loop."""

from itertools import islice

import numpy as np
import pytest
import torch

from benchmarks import plain_model
from science.dataset import ImageDataset, Normalization, Recording
from science.model import ImageModelConfig, PyramidReadoutConfig, StackedCoreConfig, TrainConfig
from science.model.fitting import fit

CONFIG = ImageModelConfig(
    core=StackedCoreConfig(hidden_channels=3, layers=3, input_kern=5, hidden_kern=3),
    readout=PyramidReadoutConfig(scale_n=2),
)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def dataset(n_train=50, n_validation=20, n_units=4):
    """Units that respond to single pixels, with noise."""
    rng = np.random.default_rng(0)
    n_images = n_train + n_validation
    frames = rng.uniform(0, 255, (n_images, 12, 16)).astype(np.float32)
    responses = rng.poisson(frames[:, 5:7, 6:8].reshape(n_images, -1)[:, :n_units] / 25)
    tiers = np.repeat(["train", "validation"], [n_train, n_validation])
    recording = Recording(frames, tiers, np.arange(n_images), responses.astype(np.float32))
    recordings = {"a": recording}
    return ImageDataset(recordings, Normalization.of(recordings), [("a", i) for i in range(4)])


def test_the_reference_of_the_benchmark_learns_the_same_curve():
    train_config = TrainConfig(batch_size=20, schedule=(0.02, 0.005), max_epoch=20, patience=2)
    result = fit(dataset(), CONFIG, train_config, seed=3)
    reference = list(plain_model.training(dataset(), CONFIG, train_config, seed=3))
    curve = [(record.train_loss, record.score) for record in result.curve]
    # both stopped early, in the second stage, after the same epochs
    assert len(curve) < 20 and result.curve[-1].learning_rate == 0.005
    np.testing.assert_allclose(curve, reference, rtol=1e-4, atol=1e-5)


def test_other_batches_make_another_curve():
    train_config = TrainConfig(batch_size=20)
    one, other = (
        np.array(list(islice(plain_model.training(dataset(), CONFIG, train_config, seed), 3)))
        for seed in (3, 4)
    )
    assert np.abs(one - other).max() > 0.01
