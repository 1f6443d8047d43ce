"""Blind source separation in changing contexts (naumann22 1, 3 and 4)."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from science.feedback.contexts import ContextParams, RandomSource, contexts
from science.feedback.sources import ChordParams, Sources, n_sources, sources
from science.params import NonNegative, Params


class FeedbackTask(Params):
    """What is mixed, how, and how much of it a network sees.

    Attributes
    ----------
    sources : SineParams, ChordParams or WaveParams
        If there are more than outputs, every batch has some of them, drawn at random.
    contexts : ContextParams
        How they are mixed.
    n_inputs, n_outputs : int
        Mixtures and sources that a network sees and returns.
    n_steps : int
        In a context, one per sample.
    noise : float
        Standard deviation of what is added to every input.
    """

    sources: Sources = ChordParams()
    contexts: ContextParams = ContextParams()
    n_inputs: int = Field(2, ge=1)
    n_outputs: int = Field(2, ge=1)
    n_steps: int = Field(1000, ge=1)
    noise: NonNegative = 0.001

    @model_validator(mode="after")
    def _enough_sources(self) -> "FeedbackTask":
        if (n := n_sources(self.sources)) < self.n_outputs:
            raise ValueError(f"{self.n_outputs} outputs need as many sources, there are {n}")
        return self

    @cached_property
    def record(self) -> NDArray[np.float32]:
        """All sources, (n_samples, n_sources)."""
        return sources(self.sources)


@dataclass(frozen=True)
class Batch:
    """A context per trial, the same sources in all of them.

    Attributes
    ----------
    mixing : float32, (b, i, o)
    targets : float32, (t, o)
    inputs : float32, (b, t, i)
        With noise.
    """

    mixing: Tensor
    targets: Tensor
    inputs: Tensor


def draw_batch(task: FeedbackTask, n_contexts: int, rng: RandomSource) -> Batch:
    """Draw contexts, a segment of the sources, and noise.

    Parameters
    ----------
    task : FeedbackTask
        What is drawn.
    n_contexts : int
        Trials.
    rng : Generator or RandomState
        Of all that is drawn.
    """
    mixing = contexts(n_contexts, task.contexts, (task.n_inputs, task.n_outputs), rng)
    targets = draw_segment(task.record, task.n_steps, task.n_outputs, rng)
    return Batch(torch.tensor(mixing), torch.tensor(targets), mix(targets, mixing, task.noise, rng))


def draw_segment(
    record: NDArray[np.float32], n_steps: int, n_outputs: int, rng: RandomSource
) -> NDArray[np.float32]:
    """Draw a segment of every source, each with a start of its own.

    Parameters
    ----------
    record : float32, (n_samples, n_sources)
        A record that is not longer than the segment is rolled, and repeated to its length.
    n_steps, n_outputs : int
        Length; sources, a random subset in their order if there are more.
    rng : Generator or RandomState
        A ``RandomState`` has the starts in the original's order: one call for all sources.

    Returns
    -------
    float32, (n_steps, n_outputs)
    """
    n_samples, n_given = record.shape
    chosen = np.arange(n_given)
    if n_given > n_outputs:
        chosen = np.sort(rng.permutation(n_given)[:n_outputs])
    n_starts = n_samples - n_steps if n_samples > n_steps else n_samples
    draw = rng.integers if isinstance(rng, np.random.Generator) else rng.randint
    return segment(record[:, chosen], draw(0, n_starts, n_outputs), n_steps)


def segment(
    record: NDArray[np.float32], starts: NDArray[np.integer], n_steps: int
) -> NDArray[np.float32]:
    """Return (n_steps, n_sources) of a record from a start per source, which goes on as a ring."""
    times = (np.arange(n_steps)[:, None] + starts) % len(record)
    return np.take_along_axis(record, times, 0)


def mix(
    targets: NDArray[np.float32], mixing: NDArray[np.float32], noise: float, rng: RandomSource
) -> Tensor:
    """Mix sources, (..., t, o), in contexts, (..., i, o), and add noise: float32, (..., t, i)."""
    inputs = targets @ np.swapaxes(mixing, -1, -2)
    return torch.tensor(inputs + noise * rng.standard_normal(inputs.shape), dtype=torch.float32)
