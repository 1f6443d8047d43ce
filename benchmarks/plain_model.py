"""The image network and its training the way peers write them: the reference of `training.py`.

Plain layers, a Dataset with transforms of every item and a DataLoader, after attorch and
neuralpredictors. Where those have a slow and a fast way, this takes the fast one: arrays in memory
as float32, persistent workers, a strided convolution instead of one that is sliced afterwards.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.special import ndtr
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from science.dataset import ImageDataset
from science.model import (
    ImageModelConfig,
    ImageNetwork,
    PyramidReadoutConfig,
    StackedCoreConfig,
    TrainConfig,
)


class Trial(NamedTuple):
    """One trial: grey values (h, w) and responses (n_units,)."""

    images: NDArray[np.float32]
    responses: NDArray[np.float32]


class Normalize:
    """z-score the image and scale the responses."""

    def __init__(self, mean: float, std: float, response_scale: NDArray[np.float32]) -> None:
        self.mean, self.std = np.float32(mean), np.float32(std)
        self.response_precision = 1 / response_scale

    def __call__(self, trial: Trial) -> Trial:
        """Return the normalised trial."""
        images = (trial.images - self.mean) / self.std
        return Trial(images, trial.responses * self.response_precision)


class ToTensor:
    """Turn arrays into tensors, the image with one channel."""

    def __call__(self, trial: Trial) -> tuple[Tensor, Tensor]:
        """Return image (1, h, w) and responses (n_units,)."""
        return torch.from_numpy(trial.images)[None], torch.from_numpy(trial.responses)


class TrialDataset(Dataset):
    """Trials in memory, transformed one by one when they are asked for."""

    def __init__(
        self,
        images: NDArray[np.float32],
        responses: NDArray[np.float32],
        transforms: Sequence[Callable],
    ) -> None:
        self.images, self.responses, self.transforms = images, responses, transforms

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        trial = Trial(self.images[index], self.responses[index])
        for transform in self.transforms:
            trial = transform(trial)
        return trial


class Shuffled(Sampler):
    """A permutation of all trials per epoch, drawn as `science.model.training` does."""

    def __init__(self, n_trials: int, generator: torch.Generator) -> None:
        self.n_trials, self.generator = n_trials, generator

    def __len__(self) -> int:
        return self.n_trials

    def __iter__(self) -> Iterator[int]:
        yield from torch.randperm(self.n_trials, generator=self.generator).tolist()


class GaussianLaplace(nn.Module):
    """Half the mean squared Laplacian of filters, weighted low in their centre."""

    def __init__(self, size: int, sigma: float) -> None:
        super().__init__()
        laplace = torch.tensor([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]])
        axis = torch.linspace(-1, 1, size)
        squared = axis[:, None] ** 2 + axis[None, :] ** 2
        self.register_buffer("filter", laplace[None, None])
        self.register_buffer("weight", 1 - torch.exp(-squared / (2 * sigma**2)))

    def forward(self, filters: Tensor) -> Tensor:
        """Penalise filters (out, in, k, k)."""
        n_out, n_in, k, _ = filters.shape
        laplace = F.conv2d(filters.reshape(n_out * n_in, 1, k, k), self.filter, padding=1)
        return (self.weight * laplace.pow(2)).mean() / 2


class Core(nn.Module):
    """Convolution, batch normalisation and ELU, each layer fed with the last `skip` outputs."""

    def __init__(self, config: StackedCoreConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.hidden_channels
        self.features = nn.Sequential()
        for layer in range(config.layers):
            inputs = channels * min(config.skip, layer) if layer else 1
            kernel = config.hidden_kern if layer else config.input_kern
            padding = config.hidden_kern // 2 if layer else 0
            self.features.append(
                nn.Sequential(
                    nn.Conv2d(inputs, channels, kernel, padding=padding, bias=False),
                    nn.BatchNorm2d(channels, momentum=0.1),
                    nn.ELU(),
                )
            )
        self.laplace = GaussianLaplace(config.input_kern, config.gauss_sigma)

    def forward(self, images: Tensor) -> Tensor:
        """Concatenate the outputs of all layers."""
        outputs = []
        for layer, block in enumerate(self.features):
            skipped = outputs[-min(self.config.skip, layer) :]
            outputs.append(block(torch.cat(skipped, dim=1) if layer else images))
        return torch.cat(outputs, dim=1)

    def group_sparsity(self) -> Tensor:
        """Mean norm of the hidden filters."""
        norms = [b[0].weight.pow(2).sum((2, 3)).sqrt().mean() for b in self.features[1:]]
        return sum(norms) / len(norms)

    def regularizer(self) -> Tensor:
        """Smooth input filters, sparse hidden ones."""
        smoothness = self.config.gamma_input * self.laplace(self.features[0][0].weight)
        return smoothness + self.config.gamma_hidden * self.group_sparsity()


class Pyramid(nn.Module):
    """Laplace pyramid of every map by depthwise convolutions, downsampled."""

    def __init__(self, scale_n: int) -> None:
        super().__init__()
        self.scale_n = scale_n
        gauss = np.diff(ndtr(np.arange(-2.5, 3.0)))
        kernel = np.outer(gauss, gauss) / gauss.sum() ** 2
        self.register_buffer("filter", torch.from_numpy(kernel.astype(np.float32))[None, None])

    def forward(self, maps: Tensor) -> list[Tensor]:
        """Return the high-pass levels and the low-pass rest."""
        channels = maps.shape[1]
        kernel = self.filter.expand(channels, 1, 5, 5)
        levels = []
        for _ in range(self.scale_n):
            low = F.conv2d(maps, kernel, padding=2, stride=2, groups=channels)
            even = tuple((n + 1) % 2 for n in maps.shape[-2:])
            expanded = 4 * F.conv_transpose2d(
                low, kernel, stride=2, padding=2, output_padding=even, groups=channels
            )
            levels.append(maps - expanded)
            maps = low
        return [*levels, maps]


class PyramidReadout(nn.Module):
    """Sample all levels of the pyramid at each unit's place and weight them."""

    def __init__(self, config: PyramidReadoutConfig, channels: int, n_units: int) -> None:
        super().__init__()
        self.config = config
        self.pyramid = Pyramid(config.scale_n)
        self.grid = nn.Parameter(torch.zeros(1, n_units, 1, 2))
        self.features = nn.Parameter(torch.zeros(1, channels * (config.scale_n + 1), n_units))
        self.bias = nn.Parameter(torch.zeros(n_units))

    def forward(self, maps: Tensor) -> Tensor:
        """Return (b, n_units) before the nonlinearity."""
        self.grid.data.clamp_(-1, 1)
        grid = self.grid.expand(len(maps), -1, -1, -1)
        levels = [F.grid_sample(m, grid, align_corners=True) for m in self.pyramid(maps)]
        sampled = torch.cat(levels, dim=1).squeeze(-1)
        return (sampled * self.features).sum(1) + self.bias

    def regularizer(self) -> Tensor:
        """Few features."""
        return self.config.gamma_features * self.features.abs().mean()


class PlainNetwork(nn.Module):
    """Core, readout of one recording, ELU + 1."""

    def __init__(self, config: ImageModelConfig, n_units: int) -> None:
        super().__init__()
        self.core = Core(config.core)
        channels = config.core.layers * config.core.hidden_channels
        self.readout = PyramidReadout(config.readout, channels, n_units)

    def forward(self, images: Tensor) -> Tensor:
        """Return responses (b, n_units)."""
        return F.elu(self.readout(self.core(images))) + 1

    def regularizer(self) -> Tensor:
        """Sum all penalties."""
        return self.core.regularizer() + self.readout.regularizer()

    @torch.no_grad()
    def copy_weights(self, network: ImageNetwork) -> None:
        """Take the parameters of the project's network of one recording."""
        layers = zip(self.core.features, network.core.convolutions, network.core.norms, strict=True)
        for (convolution, norm, _), own_convolution, own_norm in layers:
            convolution.weight.copy_(own_convolution.weight)
            norm.load_state_dict(own_norm.state_dict())
        (readout,) = network.readouts.values()
        self.readout.grid.copy_(readout.position[None, :, None])
        self.readout.features.copy_(readout.features.permute(1, 2, 0).flatten(0, 1)[None])
        self.readout.bias.copy_(readout.bias)


def correlation(network: PlainNetwork, loader: DataLoader) -> float:
    """Mean over units of the correlation of predicted and recorded responses."""
    network.eval()
    with torch.no_grad():
        pairs = [(network(images), responses) for images, responses in loader]
    predicted, recorded = (torch.cat(part).double().numpy() for part in zip(*pairs, strict=True))
    z = [(y - y.mean(0)) / (y.std(0) + 1e-12) for y in (predicted, recorded)]
    return float((z[0] * z[1]).mean())


def epochs(
    network: PlainNetwork, train: DataLoader, validation: DataLoader, config: TrainConfig
) -> Iterator[tuple[float, float]]:
    """Train with early stopping, a fresh Adam per learning rate; see `training`."""
    best_corr, best_state = correlation(network, validation), copy.deepcopy(network.state_dict())
    epoch = 0
    for learning_rate in config.schedule:
        network.load_state_dict(best_state)
        optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
        stale = 0
        while stale < config.patience and epoch < config.max_epoch:
            epoch += 1
            network.train()
            losses = []
            for images, responses in train:
                optimizer.zero_grad()
                predicted = network(images)
                poisson = (predicted - responses * torch.log(predicted + 1e-12)).mean()
                loss = poisson + network.regularizer()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            corr = correlation(network, validation)
            stale += 1
            if corr > best_corr + config.tolerance:
                best_corr, best_state = corr, copy.deepcopy(network.state_dict())
                stale = 0
            yield float(np.mean(losses)), corr


def training(
    dataset: ImageDataset,
    config: ImageModelConfig,
    train_config: TrainConfig,
    seed: int,
    n_workers: int = 0,
) -> Iterator[tuple[float, float]]:
    """Train on a dataset of one recording, from the weights and in the order of the project.

    Parameters
    ----------
    dataset, config, train_config, seed
        As of `science.model.fitting.fit`.
    n_workers : int
        Processes of the DataLoader.

    Yields
    ------
    float, float
        Mean loss and validation correlation of every epoch.
    """
    ((key, recording),) = dataset.recordings.items()
    generator = torch.Generator().manual_seed(seed)
    own = ImageNetwork(config, dataset.image_shape, dataset.n_units)
    own.initialize({key: torch.from_numpy(dataset.targets(key, "train")).mean(0)}, generator)
    network = PlainNetwork(config, dataset.n_units[key])
    network.copy_weights(own)

    scale = dataset.normalization
    transforms = [
        Normalize(scale.image_mean, scale.image_std, scale.response_scale[key]),
        ToTensor(),
    ]

    def loader(tier: str, sampler: Sampler | None) -> DataLoader:
        shown = recording.trials(tier)
        images = recording.frames[recording.image_index[shown]]
        return DataLoader(
            TrialDataset(images, recording.responses[shown], transforms),
            batch_size=train_config.batch_size,
            sampler=sampler,
            num_workers=n_workers,
            persistent_workers=n_workers > 0,
        )

    shuffled = Shuffled(len(recording.trials("train")), generator)
    return epochs(network, loader("train", shuffled), loader("validation", None), train_config)
