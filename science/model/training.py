"""Training of image networks: Poisson loss, validation correlation.

Follows microns_vei 8.3 with its defects fixed: every training sample is used once per epoch.
"""

from collections.abc import Iterator, Mapping
from itertools import zip_longest

import torch
from torch import Tensor

from science.model.config import ImageModelConfig, TrainConfig
from science.model.locate import locate
from science.model.network import ImageNetwork, predict
from science.model.trials import TrialData, check_trials
from science.training import identity


class ImageTrainee:
    """Networks of one architecture, and the recordings that train them.

    Parameters
    ----------
    config : ImageModelConfig
        Architecture.
    train_config : TrainConfig
        Batch size, learning rates, early stopping on the validation correlation.
    train, validation : mapping of str to TrialData
        Trials by readout key, the same keys in both.
    device : torch.device or str
        Where to train; all data are moved there.

    Raises
    ------
    ValueError
        If the trials are empty, inconsistent, not finite or lack what the network needs.
    """

    def __init__(
        self,
        config: ImageModelConfig,
        train_config: TrainConfig,
        train: Mapping[str, TrialData],
        validation: Mapping[str, TrialData],
        device: torch.device | str = "cpu",
    ) -> None:
        check_trials(train, validation, config)
        self._config, self._batch_size = config, train_config.batch_size
        self.identity = identity(config=config, train_config=train_config)
        self.schedule = train_config.stages
        self._train = {key: trials.to(device) for key, trials in train.items()}
        self._validation = {key: trials.to(device) for key, trials in validation.items()}

    def build(self, generator: torch.Generator) -> ImageNetwork:
        """Return the initial network for the shapes of the trials, drawn on the CPU."""
        first = next(iter(self._train.values())).images
        n_units = {key: trials.responses.shape[1] for key, trials in self._train.items()}
        network = ImageNetwork(self._config, tuple(first.shape[-2:]), n_units)
        means = {key: trials.responses.mean(0).cpu() for key, trials in self._train.items()}
        network.initialize(means, generator)
        if getattr(self._config.readout, "start", None) == "located":
            for key, trials in self._train.items():
                network.place(key, locate(trials.images, trials.responses))
        return network.to(first.device)

    def optimizer(self, network: ImageNetwork, learning_rate: float) -> torch.optim.Adam:
        """Return a fresh Adam."""
        return torch.optim.Adam(network.parameters(), lr=learning_rate)

    def run_epoch(
        self, network: ImageNetwork, optimizer: torch.optim.Adam, generator: torch.Generator
    ) -> dict[str, float]:
        """Use every training trial once."""
        return run_epoch(network, optimizer, self._train, self._batch_size, generator)

    def score(self, network: ImageNetwork) -> float:
        """Return the validation correlation."""
        return validation_correlation(network, self._validation)


def poisson_loss(prediction: Tensor, response: Tensor) -> Tensor:
    """Mean of ``prediction - response log(prediction)``, the Poisson loss less its constant.

    Parameters
    ----------
    prediction : Tensor
        float32, (b, n_units), >= 0.
    response : Tensor
        float32, (b, n_units), real-valued.

    Returns
    -------
    Tensor
        float32, scalar.
    """
    return (prediction - response * torch.log(prediction + 1e-12)).mean()


def run_epoch(
    network: ImageNetwork,
    optimizer: torch.optim.Optimizer,
    train: Mapping[str, TrialData],
    batch_size: int,
    generator: torch.Generator,
) -> dict[str, float]:
    """Use every training trial once, one gradient step per batch.

    Parameters
    ----------
    network : ImageNetwork
        Changed in place.
    optimizer : torch.optim.Optimizer
        Over the network's parameters.
    train : mapping of str to TrialData
        Trials on the device of the network.
    batch_size : int
        Images per step.
    generator : torch.Generator
        CPU source of the order of trials, and of what a readout draws.

    Returns
    -------
    dict of str to float
        Mean over steps of the Poisson loss (``"poisson"``) and of every term of the regulariser.
    """
    network.train()
    steps = []
    n_trials = {key: len(trials.images) for key, trials in train.items()}
    for key, index in round_robin(n_trials, batch_size, generator):
        trials = train[key].take(index.to(train[key].images.device))
        prediction = network(trials.images, key, trials.behavior, trials.pupil_center, generator)
        terms = {"poisson": poisson_loss(prediction, trials.responses)}
        terms |= network.regularizers(key)
        values = torch.stack(list(terms.values()))
        optimizer.zero_grad()
        values.sum().backward()
        optimizer.step()
        network.constrain()
        steps.append(values.detach())
    return dict(zip(terms, torch.stack(steps).mean(0).tolist(), strict=True))


def round_robin(
    n_trials: Mapping[str, int], batch_size: int, generator: torch.Generator
) -> Iterator[tuple[str, Tensor]]:
    """Shuffled batches of all recordings in turns, until every trial was used once.

    Parameters
    ----------
    n_trials : mapping of str to int
        Trials of every recording.
    batch_size : int
        Trials per batch; the last batch of a recording may be smaller.
    generator : torch.Generator
        Source of the order.

    Yields
    ------
    str, Tensor
        Readout key and int64 indices of trials, (<= batch_size,).
    """
    batches = [torch.randperm(n, generator=generator).split(batch_size) for n in n_trials.values()]
    for turn in zip_longest(*batches):
        for key, index in zip(n_trials, turn, strict=True):
            if index is not None:
                yield key, index


def validation_correlation(network: ImageNetwork, trials: Mapping[str, TrialData]) -> float:
    """Single-trial correlation, averaged over all units of all recordings.

    Parameters
    ----------
    network : ImageNetwork
        Evaluated in evaluation mode.
    trials : mapping of str to TrialData
        Trials on the device of the network.

    Returns
    -------
    float
        In [-1, 1]. A unit whose response or prediction is constant counts as 0, so that a dead
        unit lowers the objective; NaN if a prediction is not finite.
    """
    scores = []
    for key, data in trials.items():
        predicted = predict(network, data.images, key, data.behavior, data.pupil_center)
        pair = torch.stack([predicted, data.responses]).double()
        constant = (pair.amax(1) == pair.amin(1)).any(0)
        pair = pair - pair.mean(1, keepdim=True)
        corr = (pair[0] * pair[1]).sum(0) / pair.square().sum(1).prod(0).sqrt()
        scores.append(corr.masked_fill(constant, 0.0))
    return torch.cat(scores).mean().item()
