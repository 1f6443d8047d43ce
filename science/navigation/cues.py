"""Landmarks: how near the rat is to each of some rectangles in the box (mec 3)."""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from science.navigation.random_source import RandomSource, choose
from science.navigation.rectangle import Rectangle
from science.params import Params

Floats = NDArray[np.float64]

PUBLISHED_CUES = tuple(
    Rectangle(center_x=x, center_y=y, width=size, height=size)
    for x, y, size in (
        (0, 0, 0.3),
        (0.35, 0.35, 0.2),
        (-0.3, -0.3, 0.1),
        (0.6, 0.5, 0.1),
        (-0.7, -0.6, 0.06),
    )
)


class CueParams(Params):
    """Cues of a box.

    Attributes
    ----------
    places : tuple of Rectangle
        Where the cues are; no two may touch. The published five by default.
    probability : float
        Fraction of the walks with cues, in [0, 1], rounded up to a whole walk.
    """

    places: tuple[Rectangle, ...] = Field(PUBLISHED_CUES, min_length=1)
    probability: float = Field(0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _disjoint(self) -> "CueParams":
        for (i, one), (j, other) in combinations(enumerate(self.places), 2):
            if one.touches(other):
                raise ValueError(f"cues {i} ({one}) and {j} ({other}) overlap or touch: move one")
        return self


def cue_inputs(
    positions: Floats, cues: CueParams, rng: RandomSource, legacy: bool = False
) -> Floats:
    """Return what walking rats see of the cues.

    Parameters
    ----------
    positions : ndarray
        float64, (n_walks, n_steps, 2), metres, where a rat is *before* each move.
    cues : CueParams
        Where the cues are, and how many walks have them.
    rng : numpy.random.Generator or numpy.random.RandomState
        Chooses the walks.
    legacy : bool
        The distance itself, in metres, as the original has it. It is 0 inside a cue, and 0 is also
        what walks without cues get, so that a network cannot tell the two apart.

    Returns
    -------
    ndarray
        float64, (n_walks, n_steps, n_cues), ``exp(-distance / 1 m)``: 1 inside the cue, above 0
        everywhere, and 0 in walks without cues.
    """
    shown = choose(len(positions), cues.probability, rng)
    inputs = np.zeros((*positions.shape[:2], len(cues.places)))
    for i, place in enumerate(cues.places):
        distance = place.distance(positions[shown])
        inputs[shown, :, i] = distance if legacy else np.exp(-distance)
    return inputs
