"""Networks of one architecture as one program, all tensors with a leading axis of networks."""

import math
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.overrides import TorchFunctionMode

from science.model.network import ImageNetwork

MOMENTS = ("exp_avg", "exp_avg_sq")  # of the gradient, as torch.optim.Adam calls them


class NetworkStack:
    """Copies of the networks and of the states of their optimisers, stacked.

    Parameters
    ----------
    networks : sequence of ImageNetwork
        Of one architecture, on one device.
    optimizers : sequence of Adam
        Of every network over all its parameters; only their learning rates may differ.
    """

    def __init__(
        self, networks: Sequence[ImageNetwork], optimizers: Sequence[torch.optim.Adam]
    ) -> None:
        self._networks = networks
        self._caller = _Caller(networks[0])
        self._parameters, buffers = stack_module_state(list(networks))
        stored = networks[0].state_dict()  # the other buffers are constants
        self._buffers = {name: value for name, value in buffers.items() if name in stored}
        options = [optimizer.param_groups[0] for optimizer in optimizers]
        self._rates = tuple(option["lr"] for option in options)
        self._betas, self._eps = options[0]["betas"], options[0]["eps"]
        self._states: dict[str, list[dict[str, Tensor]]] = {n: [] for n in self._parameters}
        for network, optimizer in zip(networks, optimizers, strict=True):
            for name, parameter in network.named_parameters():
                state = optimizer.state[parameter]
                if not state:
                    state["step"] = torch.tensor(0.0)
                    state |= {moment: torch.zeros_like(parameter) for moment in MOMENTS}
                self._states[name].append(state)
        self._n_steps = {k: tuple(int(s["step"]) for s in own) for k, own in self._states.items()}
        self._moments = {
            name: [torch.stack([state[moment] for state in own]) for moment in MOMENTS]
            for name, own in self._states.items()
        }

    def each(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of a network, for every network with its own slice of the arguments.

        Parameters
        ----------
        function : callable
            Of an `ImageNetwork` and `arguments`; changes of parameters and buffers stay.
        *arguments
            Tensors with the axis of networks first, in containers if need be.

        Returns
        -------
        Any
            What the function returns, its tensors with the axis of networks first.
        """

        def call(state: dict[str, Tensor], *arguments: Any) -> Any:
            state = {f"network.{name}": value for name, value in state.items()}
            return functional_call(self._caller, state, (function, *arguments))

        with _Replacements(), warnings.catch_warnings():
            # What has no rule for vmap (clamp_) is run network by network.
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
            return torch.vmap(call)(self._parameters | self._buffers, *arguments)

    @torch.no_grad()
    def step(self, loss: Tensor) -> None:
        """Take for every network the step of `torch.optim.Adam`.

        Parameters
        ----------
        loss : Tensor
            Scalar, sum of all networks' losses.
        """
        gradients = torch.autograd.grad(loss, list(self._parameters.values()), allow_unused=True)
        for (name, parameter), gradient in zip(self._parameters.items(), gradients, strict=True):
            if gradient is None:  # of another recording
                continue
            self._n_steps[name] = tuple(n + 1 for n in self._n_steps[name])
            rate, scale = (
                value.view(-1, *[1] * (parameter.ndim - 1))
                for value in _corrections(
                    self._rates, self._betas, self._n_steps[name], parameter.device
                )
            )
            mean, square = self._moments[name]
            mean.lerp_(gradient, 1 - self._betas[0])
            square.mul_(self._betas[1]).addcmul_(gradient, gradient, value=1 - self._betas[1])
            parameter -= rate * mean / (square.sqrt() * scale + self._eps)

    @torch.no_grad()
    def write_back(self) -> None:
        """Bring networks and optimisers to the state of the stack."""
        tensors = self._parameters | self._buffers
        for i, network in enumerate(self._networks):
            network.load_state_dict({name: stacked[i] for name, stacked in tensors.items()})
        for name, states in self._states.items():
            for i, state in enumerate(states):
                state["step"].fill_(self._n_steps[name][i])
                for moment, stacked in zip(MOMENTS, self._moments[name], strict=True):
                    state[moment].copy_(stacked[i])


@lru_cache(maxsize=8)
def _corrections(
    rates: tuple[float, ...],
    betas: tuple[float, float],
    n_steps: tuple[int, ...],
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Of every network the unbiased learning rate and the factor of the root mean square."""
    rate = [r / (1 - betas[0] ** n) for r, n in zip(rates, n_steps, strict=True)]
    scale = [1 / math.sqrt(1 - betas[1] ** n) for n in n_steps]
    return torch.tensor(rate, device=device), torch.tensor(scale, device=device)


class _Caller(nn.Module):
    """Lets `functional_call` reach any function of a network, not only its forward."""

    def __init__(self, network: ImageNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(self.network, *arguments)


class _Replacements(TorchFunctionMode):
    """Two functions of the networks in forms that vmap knows."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.contiguous:  # vmap has no other memory format
            return args[0].contiguous()
        if func is F.embedding_bag:
            return _WeightedRows.apply(*args, kwargs["per_sample_weights"])
        return func(*args, **(kwargs or {}))


class _WeightedRows(torch.autograd.Function):
    """Weighted sums of rows of a table: `embedding_bag`, of which vmap would make a slow loop."""

    @staticmethod
    def forward(index: Tensor, table: Tensor, weights: Tensor) -> Tensor:
        return F.embedding_bag(index, table, per_sample_weights=weights, mode="sum")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        """Save nothing: the gradient is that of `vmap`."""

    @staticmethod
    def vmap(
        info: Any, in_dims: Any, index: Tensor, table: Tensor, weights: Tensor
    ) -> tuple[Tensor, int]:
        """Put the networks' tables, (networks, rows, c), one below the other."""
        first = torch.arange(len(table), device=index.device) * table.shape[1]
        rows = (index + first[:, None, None]).flatten(0, 1)
        sums = _WeightedRows.forward(rows, table.flatten(0, 1), weights.flatten(0, 1))
        return sums.unflatten(0, (len(table), -1)), 0
