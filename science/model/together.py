"""Several seeds of one network trained as one program.

Every member has its own order of trials, Adam, learning rate, patience and best state, so that it
learns what `science.training.train` learns from its seed, up to rounding.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from science.model.config import ImageModelConfig, TrainConfig
from science.model.network import ImageNetwork
from science.model.network_stack import NetworkStack
from science.model.readouts.gaussian import GaussianReadoutConfig
from science.model.training import ImageTrainee, poisson_loss, round_robin
from science.model.trials import TrialData
from science.training import Training, TrainingResult


def train_together(
    config: ImageModelConfig,
    train_config: TrainConfig,
    train: Mapping[str, TrialData],
    validation: Mapping[str, TrialData],
    seeds: Sequence[int],
    device: torch.device | str = "cpu",
) -> list[TrainingResult]:
    """Train a network from each seed, all at once; the other parameters as of `ImageTrainee`.

    A network that has finished is not computed any more.

    Parameters
    ----------
    seeds : sequence of int
        Of the networks.

    Returns
    -------
    list of TrainingResult
        In the order of the seeds, each equal to that of `train` up to rounding.

    Raises
    ------
    ValueError
        As of `ImageTrainee`, or if readout or core draw while training, which the networks of one
        program cannot do from generators of their own.
    """
    if isinstance(config.readout, GaussianReadoutConfig) or getattr(config.core, "dropout", 0):
        raise ValueError(
            "networks with a gaussian readout or dropout draw while they train and cannot be "
            "trained together: train the seeds one by one"
        )
    tiers = [{k: trials.to(device) for k, trials in tier.items()} for tier in (train, validation)]
    trainee = ImageTrainee(config, train_config, *tiers, device)
    members = [Training(trainee, seed) for seed in seeds]
    while active := [member for member in members if not member.finished]:
        networks, optimizers, generators = zip(*(member.parts for member in active), strict=True)
        losses = run_epoch_together(
            networks, optimizers, tiers[0], train_config.batch_size, generators
        )
        for member, own in zip(active, losses, strict=True):
            member.finish_epoch(own)
    return [member.result() for member in members]


def run_epoch_together(
    networks: Sequence[ImageNetwork],
    optimizers: Sequence[torch.optim.Adam],
    train: Mapping[str, TrialData],
    batch_size: int,
    generators: Sequence[torch.Generator],
) -> list[dict[str, float]]:
    """Do for every network what `science.model.training.run_epoch` does for one.

    Parameters
    ----------
    networks : sequence of ImageNetwork
        Of one architecture; changed in place.
    optimizers : sequence of Adam
        Of every network over all its parameters; only their learning rates may differ.
    train : mapping of str to TrialData
        Trials on the device of the networks.
    batch_size : int
        Images per step and network.
    generators : sequence of Generator
        Of every network, CPU source of its order of trials.

    Returns
    -------
    list of dict of str to float
        For every network the mean over steps of each term of its loss.
    """
    for network in networks:
        network.train()
    stack = NetworkStack(networks, optimizers)
    n_trials = {key: len(trials.images) for key, trials in train.items()}
    orders = [round_robin(n_trials, batch_size, generator) for generator in generators]
    steps = []
    for batches in zip(*orders, strict=True):
        keys, indices = zip(*batches, strict=True)
        trials = train[keys[0]].take(torch.stack(indices).to(train[keys[0]].images.device))
        fields = {name: value for name, value in vars(trials).items() if value is not None}
        terms = stack.each(partial(_loss_terms, keys[0]), fields)
        values = torch.stack(list(terms.values()))
        stack.step(values.sum())
        stack.each(_constrain)
        steps.append(values.detach())
    stack.write_back()
    means = torch.stack(steps).mean(0).T.tolist()
    return [dict(zip(terms, own, strict=True)) for own in means]


def _loss_terms(key: str, network: ImageNetwork, fields: dict[str, Tensor]) -> dict[str, Tensor]:
    trials = TrialData(**fields)
    generator = torch.Generator()  # vmap raises if a readout draws from it
    prediction = network(trials.images, key, trials.behavior, trials.pupil_center, generator)
    return {"poisson": poisson_loss(prediction, trials.responses)} | network.regularizers(key)


@torch.no_grad()
def _constrain(network: ImageNetwork) -> tuple[()]:
    network.constrain()
    return ()
