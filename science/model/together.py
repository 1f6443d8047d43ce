"""Several seeds of one network trained as one program.

All tensors get a leading axis of networks, over which `torch.vmap` runs the ordinary
`ImageNetwork`. Every member has its own order of trials, Adam, learning rate, patience and best
state, so that it learns what `science.model.training.train` learns from its seed, up to rounding.
"""

import copy
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.overrides import TorchFunctionMode

from science.model.config import ImageModelConfig, TrainConfig
from science.model.network import ImageNetwork
from science.model.readouts.gaussian import GaussianReadoutConfig
from science.model.training import (
    EpochRecord,
    Training,
    TrainingResult,
    TrialData,
    poisson_loss,
    round_robin,
    validation_correlation,
)

MOMENTS = ("exp_avg", "exp_avg_sq")  # as torch.optim.Adam calls them


def train_together(
    config: ImageModelConfig,
    train_config: TrainConfig,
    train: Mapping[str, TrialData],
    validation: Mapping[str, TrialData],
    seeds: Sequence[int],
    device: torch.device | str = "cpu",
) -> list[TrainingResult]:
    """Train a network of every seed, all at once; parameters and errors as of `Training`.

    A network that has finished is not computed any more.

    Parameters
    ----------
    seeds : sequence of int
        One per network.

    Returns
    -------
    list of TrainingResult
        In the order of the seeds, each equal to that of `train` up to rounding.

    Raises
    ------
    ValueError
        If the readout draws places while training, which members cannot do from generators of
        their own within one program.
    """
    if isinstance(config.readout, GaussianReadoutConfig):
        raise ValueError(
            "a gaussian readout draws places for every network: train its seeds one by one"
        )
    tiers = [{k: trials.to(device) for k, trials in tier.items()} for tier in (train, validation)]
    members = [_Member(config, train_config, *tiers, seed, device) for seed in seeds]
    while active := [member for member in members if not member.finished]:
        networks, optimizers, generators = zip(*(member.parts for member in active), strict=True)
        losses = run_epoch_together(
            networks, optimizers, tiers[0], train_config.batch_size, generators
        )
        for member, own_losses in zip(active, losses, strict=True):
            member.finish_epoch(own_losses)
    return [member.result() for member in members]


def run_epoch_together(
    networks: Sequence[ImageNetwork],
    optimizers: Sequence[torch.optim.Adam],
    train: Mapping[str, TrialData],
    batch_size: int,
    generators: Sequence[torch.Generator],
) -> list[dict[str, float]]:
    """Do for every network what `science.model.training.run_epoch` does.

    Parameters
    ----------
    networks : sequence of ImageNetwork
        Of one architecture; changed in place.
    optimizers : sequence of Adam
        Of every network, each with its own learning rate; their states go on.
    train : mapping of str to TrialData
        Trials on the device of the networks.
    batch_size : int
        Images per step and network.
    generators : sequence of Generator
        Of every network, for its order of trials.

    Returns
    -------
    list of dict of str to float
        For every network the mean over steps of each term of its loss.
    """
    for network in networks:
        network.train()
    parameters, buffers = stack_module_state(list(networks))
    adam = _StackedAdam(networks, optimizers, parameters)
    any_network = _Caller(networks[0])
    n_trials = {key: len(trials.images) for key, trials in train.items()}
    orders = [round_robin(n_trials, batch_size, generator) for generator in generators]
    steps = []
    for batches in zip(*orders, strict=True):
        key, _ = batches[0]
        index = torch.stack([index for _, index in batches]).to(train[key].images.device)
        fields = {k: v for k, v in vars(train[key].take(index)).items() if v is not None}
        terms = any_network.each(partial(_loss_terms, key), parameters, buffers, fields)
        values = torch.stack(list(terms.values()))
        adam.step(values.sum())
        any_network.each(_constrain, parameters, buffers)
        steps.append(values.detach())
    adam.write_back()
    for i, network in enumerate(networks):
        network.load_state_dict({k: v[i] for k, v in (parameters | buffers).items()}, strict=False)
    means = torch.stack(steps).mean(0).T.tolist()
    return [dict(zip(terms, row, strict=True)) for row in means]


def _loss_terms(key: str, network: ImageNetwork, fields: dict[str, Tensor]) -> dict[str, Tensor]:
    trials = TrialData(**fields)
    # vmap raises if a readout draws from this generator.
    prediction = network(
        trials.images, key, trials.behavior, trials.pupil_center, torch.Generator()
    )
    return {"poisson": poisson_loss(prediction, trials.responses)} | network.regularizers(key)


@torch.no_grad()
def _constrain(network: ImageNetwork) -> tuple[()]:
    network.constrain()
    return ()


class _Caller(nn.Module):
    """Calls any function of a network, with the parameters and buffers of each of a stack."""

    def __init__(self, network: ImageNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(self.network, *arguments)

    def each(
        self,
        function: Callable[..., Any],
        parameters: dict[str, Tensor],
        buffers: dict[str, Tensor],
        *arguments: Any,
    ) -> Any:
        def call(state: dict[str, Tensor], *arguments: Any) -> Any:
            state = {f"network.{name}": value for name, value in state.items()}
            return functional_call(self, state, (function, *arguments))

        with _WithoutMemoryFormat(), warnings.catch_warnings():
            # What has no rule for vmap (embedding_bag, clamp_) is run network by network.
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
            return torch.vmap(call)(parameters | buffers, *arguments)


class _WithoutMemoryFormat(TorchFunctionMode):
    """`Tensor.contiguous` in the default format: vmap knows no other."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return func(*args, **({} if func is Tensor.contiguous else kwargs or {}))


class _StackedAdam:
    """`torch.optim.Adam` over stacked parameters: a rate and a number of steps per network."""

    def __init__(
        self,
        networks: Sequence[ImageNetwork],
        optimizers: Sequence[torch.optim.Adam],
        parameters: dict[str, Tensor],
    ) -> None:
        options = [optimizer.param_groups[0] for optimizer in optimizers]
        self._rates = tuple(option["lr"] for option in options)
        self._betas, self._eps = options[0]["betas"], options[0]["eps"]
        self._parameters = parameters
        self._own = {name: [] for name in parameters}
        for network, optimizer in zip(networks, optimizers, strict=True):
            for name, parameter in network.named_parameters():
                state = optimizer.state[parameter]
                if not state:
                    state["step"] = torch.tensor(0.0)
                    state |= {moment: torch.zeros_like(parameter) for moment in MOMENTS}
                self._own[name].append(state)
        self._steps = {
            name: tuple(int(own["step"]) for own in states) for name, states in self._own.items()
        }
        self._moments = {
            name: [torch.stack([own[moment] for own in states]) for moment in MOMENTS]
            for name, states in self._own.items()
        }

    @torch.no_grad()
    def step(self, loss: Tensor) -> None:
        """Follow the gradient of the sum of all networks' losses."""
        parameters, device = self._parameters, loss.device
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
            if gradient is None:  # of another recording
                continue
            self._steps[name] = tuple(n + 1 for n in self._steps[name])
            rate, scale = (
                value.view(-1, *[1] * (parameter.ndim - 1))
                for value in _corrections(self._rates, self._betas, self._steps[name], device)
            )
            mean, square = self._moments[name]
            mean.lerp_(gradient, 1 - self._betas[0])
            square.mul_(self._betas[1]).addcmul_(gradient, gradient, value=1 - self._betas[1])
            parameter -= rate * mean / (square.sqrt() * scale + self._eps)

    def write_back(self) -> None:
        """Leave the states in the networks' own optimisers."""
        for name, states in self._own.items():
            for i, state in enumerate(states):
                state["step"].fill_(self._steps[name][i])
                for moment, stacked in zip(MOMENTS, self._moments[name], strict=True):
                    state[moment].copy_(stacked[i])


class _Member(Training):
    """A run of which the epochs are trained together with those of other seeds."""

    @property
    def parts(self) -> tuple[ImageNetwork, torch.optim.Adam, torch.Generator]:
        """Network, optimiser of the stage, and source of the order of trials."""
        return self._network, self._optimizer, self._generator

    def finish_epoch(self, losses: dict[str, float]) -> None:
        """Validate, and start the next stage if this one has ended; see `Training.run_epoch`."""
        config = self._train_config
        corr = validation_correlation(self._network, self._validation)
        loss, poisson = sum(losses.values()), losses.pop("poisson")
        rate = config.schedule[self._stage]
        self.curve.append(EpochRecord(len(self.curve) + 1, rate, loss, poisson, losses, corr))
        self._finite = math.isfinite(loss) and math.isfinite(corr)
        if self._finite and corr > self._best_corr + config.tolerance:
            self._best_state = copy.deepcopy(self._network.state_dict())
            self._best_corr, self._best_epoch, self._stale = corr, len(self.curve), 0
        else:
            self._stale += 1
        if self._stale >= config.patience:
            self._stage += 1
            if not self.finished:
                self._start_stage()


@lru_cache(maxsize=2)
def _corrections(
    rates: tuple[float, ...],
    betas: tuple[float, float],
    steps: tuple[int, ...],
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Of every network the step of Adam and the factor of its root mean square gradient."""
    rate = [r / (1 - betas[0] ** n) for r, n in zip(rates, steps, strict=True)]
    scale = [1 / math.sqrt(1 - betas[1] ** n) for n in steps]
    return torch.tensor(rate, device=device), torch.tensor(scale, device=device)
