"""When images were on the screen, and which part of the activity answers them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from science.preprocessing import PreprocessingParams

Floats = NDArray[np.float64]

LONGER = 0.05  # s, by which images may outlast the window (microns_vei 4.6.5)


@dataclass(frozen=True)
class Presentations:
    """Onset and offset of each trial, s; NaN where unknown: float64, (n_trials,) each."""

    onset: Floats
    offset: Floats

    @classmethod
    def of(
        cls,
        onset: Sequence[float | None],
        offset: Sequence[float | None],
        n_flips: Sequence[int | None],
    ) -> "Presentations":
        """Collect the times of trials, s; None where unknown.

        Raises
        ------
        ValueError
            If the numbers of flips differ: malformed trials have not been excluded.
        """
        protocols = sorted({n for n in n_flips if n is not None})
        if len(protocols) > 1:
            raise ValueError(
                f"trials have unequal numbers of flips ({protocols}): insert the malformed ones "
                "into ExcludedTrial"
            )
        return cls(np.array(onset, np.float64), np.array(offset, np.float64))

    def take(self, kept: NDArray[np.bool_]) -> "Presentations":
        """Return some of the trials."""
        return Presentations(self.onset[kept], self.offset[kept])

    def window(self, params: PreprocessingParams) -> Floats:
        """Return from when to when a trial's response lasts, s: float64, (2, n_trials)."""
        if params.window == "presentation":
            return np.stack([self.onset, self.offset])
        start = self.onset + params.offset
        return np.stack([start, start + params.duration])

    def centre(self, params: PreprocessingParams) -> Floats:
        """Return when traces, pupil and running are sampled, s: float64, (n_trials,).

        It is the middle of the window: onset + offset + duration / 2 (microns_vei 4.6.7).
        """
        return self.window(params).mean(axis=0)

    def span(self, params: PreprocessingParams) -> tuple[Floats, Floats]:
        """Return from when to when a trial needs its traces, s: two of float64, (n_trials,).

        Raises
        ------
        ValueError
            If the window is not fixed, or images were longer on the screen than it lasts (4.6.5).
        """
        if params.window != "fixed":
            raise ValueError("traces need a window of fixed duration: set window = 'fixed'")
        shown = self.offset - self.onset
        typical = np.median(shown[np.isfinite(shown)]) if np.isfinite(shown).any() else 0.0
        if typical >= params.duration + LONGER:
            raise ValueError(
                f"images were on the screen for {typical:.3g} s, longer than the window of "
                f"{params.duration:.3g} s: set a duration that covers them"
            )
        return self.onset, np.fmax(self.offset, self.centre(params))
