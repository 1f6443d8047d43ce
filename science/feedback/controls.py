"""Controls without feedback: maps that are fixed once they have been fitted."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import skip_init

from science.feedback.linear_map import LinearMap, fit_linear_map, r_squared
from science.params import Params, Positive

Floats = NDArray[np.float64]


def linear_control(inputs: ArrayLike, sources: ArrayLike, n_fit: int = 1024) -> Floats:
    """Fit a linear map in every context, and test it in all of them (naumann22 5).

    Parameters
    ----------
    inputs : array_like
        float, (n_contexts, n_samples, n_inputs), mixed sources.
    sources : array_like
        float, (n_contexts, n_samples, n_sources).
    n_fit : int
        First samples of each context, to which its map is fitted; the others test.

    Returns
    -------
    ndarray
        float64, (n_contexts, n_contexts, n_sources), R2 of the map of the first axis in the context
        of the second: near 1 on the diagonal, anything below elsewhere.

    Raises
    ------
    ValueError
        If shapes do not fit, values are not finite, or fewer than two samples are left to test.
    """
    inputs, sources = _checked(inputs, sources)
    if not 0 < n_fit <= inputs.shape[1] - 2:
        raise ValueError(
            f"n_fit={n_fit} of {inputs.shape[1]} samples of a context must leave two to test"
        )
    fitted = fit_linear_map(inputs[:, :n_fit], sources[:, :n_fit])
    each = LinearMap(fitted.weights[:, None], fitted.intercept[:, None])
    decoded = each(inputs[:, n_fit:])
    return r_squared(np.broadcast_to(sources[:, n_fit:], decoded.shape), decoded)


class FeedforwardParams(Params):
    """A feed-forward network without modulation, and how it is trained (naumann22 5)."""

    window: int = Field(
        1, ge=1, description="samples it sees, the last one that of the sources; published 1 to 150"
    )
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (32, 16, 8)
    n_batches: int = Field(5000, ge=1)
    batch_size: int = Field(32, ge=1)
    learning_rate: Positive = 1e-3
    seed: int = Field(0, ge=0, description="of initial weights and of the order of samples")


class Mixtures(NamedTuple):
    """Sources and what is heard of them.

    Attributes
    ----------
    inputs : float, (n_contexts, n_samples, n_inputs)
    sources : float, (n_contexts, n_samples, n_sources)
    """

    inputs: NDArray[np.floating]
    sources: NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class FeedforwardControl:
    """A trained control.

    Attributes
    ----------
    network : nn.Sequential
        From (..., n_inputs * window), the samples of one input after those of another, to
        (..., n_sources), float32.
    losses : ndarray
        float64, (n_batches,), mean squared error.
    r2 : ndarray
        float64, (n_test_contexts, n_sources).
    """

    network: nn.Sequential
    losses: Floats
    r2: Floats


def feedforward_control(
    train: Mixtures,
    test: Mixtures,
    params: FeedforwardParams | None = None,
    device: torch.device | str = "cpu",
) -> FeedforwardControl:
    """Train a network of rectified layers over many contexts, and test it in others.

    A sample of a batch is a window that ends at a random time of a random context; windows do not
    reach over a change of context.

    Parameters
    ----------
    train, test : Mixtures
        Of different contexts.
    params : FeedforwardParams, optional
    device : torch.device or str
        Where the network is trained.

    Returns
    -------
    FeedforwardControl

    Raises
    ------
    ValueError
        If shapes do not fit, values are not finite, or contexts are shorter than a window and one
        sample.
    """
    params = params or FeedforwardParams()
    generator = torch.Generator().manual_seed(params.seed)
    windows, targets = _windows(train, params.window, device)
    tested, truth = _windows(test, params.window, device)
    if (windows.shape[-2:], targets.shape[-1]) != (tested.shape[-2:], truth.shape[-1]):
        raise ValueError("contexts to train and to test differ in their inputs or sources")
    sizes = (windows[0, 0].numel(), *params.hidden, targets.shape[-1])
    network = _rectified_layers(sizes, generator).to(device)
    optimizer = torch.optim.Adam(network.parameters(), params.learning_rate, fused=True)
    losses = []
    for _ in range(params.n_batches):
        context, time = (
            torch.randint(size, (params.batch_size,), generator=generator).to(device)
            for size in windows.shape[:2]
        )
        outputs = network(windows[context, time].flatten(1))
        loss = nn.functional.mse_loss(outputs, targets[context, time])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    with torch.no_grad():
        decoded = torch.stack([network(context.flatten(1)) for context in tested])
    return FeedforwardControl(
        network.eval(),
        torch.stack(losses).double().cpu().numpy(),
        r_squared(truth.cpu().numpy(), decoded.cpu().numpy()),
    )


def _windows(mixtures: Mixtures, window: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Windows (n_contexts, n_windows, n_inputs, window), a view, and sources at their ends."""
    inputs, sources = (
        torch.as_tensor(values, dtype=torch.float32, device=device)
        for values in _checked(*mixtures)
    )
    if inputs.shape[1] <= window:
        raise ValueError(
            f"contexts of {inputs.shape[1]} samples are too short for windows of {window}"
        )
    return inputs.unfold(1, window, 1), sources[:, window - 1 :]


def _rectified_layers(sizes: tuple[int, ...], generator: torch.Generator) -> nn.Sequential:
    """Linear layers with torch's own initial distribution, drawn from a generator."""
    layers: list[nn.Module] = []
    for n_inputs, n_outputs in pairwise(sizes):
        layer = skip_init(nn.Linear, n_inputs, n_outputs)
        for parameter in layer.parameters():
            nn.init.uniform_(parameter, -(n_inputs**-0.5), n_inputs**-0.5, generator=generator)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _checked(inputs: ArrayLike, sources: ArrayLike) -> tuple[Floats, Floats]:
    inputs, sources = np.asarray(inputs, np.float64), np.asarray(sources, np.float64)
    if inputs.ndim != 3 or sources.ndim != 3 or inputs.shape[:2] != sources.shape[:2]:
        raise ValueError(
            "inputs and sources must be (n_contexts, n_samples, n) that differ in n only, got "
            f"{inputs.shape} and {sources.shape}"
        )
    if not (np.isfinite(inputs).all() and np.isfinite(sources).all()):
        raise ValueError("inputs and sources must be finite: leave out other contexts")
    return inputs, sources
