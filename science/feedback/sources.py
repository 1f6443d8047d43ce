"""Sources that feedback-modulated networks recover (naumann22 1)."""

from typing import Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import signal

from science.params import Params, Positive

SHAPES = {
    "sine": np.sin,
    "square": lambda phase: np.sign(np.sin(phase)),
    "sawtooth": signal.sawtooth,
}

Waveform = Literal["sine", "square", "sawtooth"]


class _Recorded(Params):
    """Length of a record, s, and samples per second; a network makes a step per sample."""

    duration: Positive = 2.0
    rate: Positive = 8000.0


class SineParams(_Recorded):
    """Sines.

    Attributes
    ----------
    frequencies : tuple of float
        Hz, one per source.
    """

    type: Literal["sines"] = "sines"
    frequencies: tuple[Positive, ...] = Field((100.0, 180.0), min_length=1)


class ChordParams(_Recorded):
    """Sums of sines.

    Attributes
    ----------
    chords : tuple of tuple of float
        Hz, of every source.
    normalized : bool
        Each is divided by its largest absolute value, as in the original's program, not its text.
    """

    type: Literal["chords"] = "chords"
    chords: tuple[Annotated[tuple[Positive, ...], Field(min_length=1)], ...] = Field(
        ((100.0, 125.0), (150.0, 210.0)), min_length=1
    )
    normalized: bool = True


class WaveParams(_Recorded):
    """Waves of different shapes, as in examples of independent component analysis.

    Attributes
    ----------
    waves : tuple of (shape, float)
        Shape, "sine", "square" or "sawtooth", and Hz of every source.
    """

    type: Literal["waves"] = "waves"
    waves: tuple[tuple[Waveform, Positive], ...] = Field(
        (("sine", 120.0), ("square", 80.0), ("sawtooth", 140.0)), min_length=1
    )


Sources: TypeAlias = Annotated[SineParams | ChordParams | WaveParams, Field(discriminator="type")]


def sources(params: SineParams | ChordParams | WaveParams) -> NDArray[np.float32]:
    """Return a record of all sources, (n_samples, n_sources), within -1 and 1 if normalised."""
    seconds = np.arange(0, params.duration, 1 / params.rate)

    def wave(shape: str, frequency: float) -> NDArray[np.float64]:
        return SHAPES[shape](2 * np.pi * frequency * seconds)

    if isinstance(params, SineParams):
        record = [wave("sine", frequency) for frequency in params.frequencies]
    elif isinstance(params, WaveParams):
        record = [wave(shape, frequency) for shape, frequency in params.waves]
    else:
        record = [sum(wave("sine", tone) for tone in chord) for chord in params.chords]
        if params.normalized:
            record = [chord / np.abs(chord).max() for chord in record]
    return np.stack(record, 1).astype(np.float32)


def n_sources(params: SineParams | ChordParams | WaveParams) -> int:
    """Return the number of sources."""
    parts = {"sines": "frequencies", "chords": "chords", "waves": "waves"}
    return len(getattr(params, parts[params.type]))
