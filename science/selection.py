"""Which units of a dataset are worth an image of their own."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from science.params import Params

Floats = NDArray[np.float64]


class SelectionParams(Params):
    """Which units of a dataset MEIs are made for.

    The filters are applied in the order of the attributes. What compares a unit with the others
    (fraction, percentiles) compares it with all units of the dataset, whatever other filters say.

    Attributes
    ----------
    edge_distance_um : float, optional
        Leave out units so near to the edge of their imaging field, um (microns_vei 9.2: 10).
    only_reliable : bool
        Keep only units whose responses depend on the image (F-test, `science.metrics`).
    min_oracle_percentile, min_variance_percentile : float, optional
        Keep units whose oracle, and whose variance of mean responses over images, lie strictly
        above this percentile of the units that have one (allen_mei 3: 60 and 50).
    top_fraction : float
        Keep units among this fraction of the units, best oracle first.
    min_spacing_um : float, optional
        Go through the units, best oracle first, and leave out each one that lies closer than this
        to one already kept of the same recording, um (microns_vei 9.2: 20).
    max_units : int, optional
        Keep at most so many.
    block_size : int
        How many units are optimised in one batch.
    """

    edge_distance_um: float | None = Field(None, ge=0.0)
    only_reliable: bool = True
    min_oracle_percentile: float | None = Field(None, ge=0.0, le=100.0)
    min_variance_percentile: float | None = Field(None, ge=0.0, le=100.0)
    top_fraction: float = Field(1.0, gt=0.0, le=1.0)
    min_spacing_um: float | None = Field(None, gt=0.0)
    max_units: int | None = Field(None, ge=1)
    block_size: int = Field(64, ge=1, le=4096)


@dataclass(frozen=True)
class Candidates:
    """The units of a dataset and what selection rules look at, in the order of their index.

    Attributes
    ----------
    ranked : int, (n_units,)
        Unit indices, best oracle first.
    reliable : bool, (n_units,)
    oracle, variance : float64, (n_units,)
        NaN where unknown.
    recording : (n_units,)
        Which recording a unit belongs to, by any label.
    position : float64, (n_units, 3)
        x, y, z in the recording's own frame, um; NaN where unknown.
    pixel : float64, (n_units, 2)
        x, y in the imaging field, px; NaN where unknown.
    field_px, field_um : float64, (n_units, 2)
        Width and height of the imaging field in px and in um; NaN where unknown.
    """

    ranked: NDArray[np.integer]
    reliable: NDArray[np.bool_]
    oracle: Floats
    variance: Floats
    recording: NDArray[np.generic]
    position: Floats
    pixel: Floats
    field_px: Floats
    field_um: Floats


def select_units(units: Candidates, params: SelectionParams) -> NDArray[np.int64]:
    """Apply a selection rule to the units of a dataset.

    Parameters
    ----------
    units : Candidates
    params : SelectionParams

    Returns
    -------
    int64, (n_selected,)
        Unit indices, best oracle first; possibly empty.

    Raises
    ------
    ValueError
        If the rule needs the place of a unit in its field or in the tissue, and it is not known.
    """
    kept = np.ones(len(units.ranked), bool)
    if params.edge_distance_um is not None:
        kept &= inside_field(units, params.edge_distance_um)
    if params.only_reliable:
        kept &= units.reliable
    kept &= _above(units.oracle, params.min_oracle_percentile)
    kept &= _above(units.variance, params.min_variance_percentile)
    best = units.ranked[: int(np.ceil(params.top_fraction * len(kept)))]
    selected = best[kept[best]]
    if params.min_spacing_um is not None:
        _refuse_unknown(units.position[selected], selected, "min_spacing_um", "um_x, um_y and um_z")
        places = units.position[selected], units.recording[selected]
        selected = selected[spaced(*places, params.min_spacing_um)]
    return np.asarray(selected[: params.max_units], np.int64)


def inside_field(units: Candidates, distance_um: float) -> NDArray[np.bool_]:
    """Whether units lie further than a distance from every edge of their imaging field.

    Parameters
    ----------
    units : Candidates
    distance_um : float

    Returns
    -------
    bool, (n_units,)
        ``|x - W / 2| < W / 2 - distance``, and so for y, each axis in px by its own scale
        (microns_vei 9.2; the original takes the scale of the height for both).

    Raises
    ------
    ValueError
        If the place of a unit or the size of its field is not known.
    """
    geometry = np.hstack([units.pixel, units.field_px, units.field_um])
    needed = "px_x and px_y, and their field px_width, px_height, um_width and um_height"
    _refuse_unknown(geometry, np.arange(len(geometry)), "edge_distance_um", needed)
    half = units.field_px / 2
    margin = distance_um * units.field_px / units.field_um
    return (np.abs(units.pixel - half) < half - margin).all(axis=1)


def spaced(position: Floats, recording: NDArray[np.generic], distance: float) -> NDArray[np.int64]:
    """Keep units, first come first served, that are not too close to one already kept.

    Parameters
    ----------
    position : float, (n, 3)
        Finite, um.
    recording : (n,)
        Units of different recordings are never close.
    distance : float
        Least distance of two kept units, um.

    Returns
    -------
    int64, (n_kept,)
        Rows of `position` in ascending order.

    Examples
    --------
    >>> spaced(np.array([[0.0, 0, 0], [5, 0, 0], [20, 0, 0]]), np.zeros(3), distance=10)
    array([0, 2])
    """
    free = np.ones(len(position), bool)
    for i in range(len(position)):  # one decides about the next
        if free[i]:
            later = slice(i + 1, None)
            near = np.linalg.norm(position[later] - position[i], axis=1) < distance
            free[later] &= ~(near & (recording[later] == recording[i]))
    return np.flatnonzero(free)


def _above(values: Floats, percentile: float | None) -> NDArray[np.bool_]:
    """Whether values lie strictly above a percentile of the known ones; all do without one."""
    known = np.isfinite(values)
    if percentile is None or not known.any():
        return np.full(len(values), percentile is None)
    return values > np.percentile(values[known], percentile)


def _refuse_unknown(values: Floats, units: NDArray[np.integer], rule: str, needed: str) -> None:
    """Raise ValueError if a unit lacks the geometry that a rule needs."""
    unknown = units[np.isnan(values).any(axis=1)]
    if len(unknown):
        raise ValueError(
            f"{rule} needs {needed}, which {len(unknown)} of {len(units)} units lack (the first "
            f"has unit_index {unknown[0]}): ingest them or leave {rule} out"
        )
