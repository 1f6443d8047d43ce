"""The true cells behind recorded units, and what all comparisons with them share."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from pipeline.ingest.virtual import load_animal
from schemas.recording import VirtualAnimal
from science.virtual import VirtualAnimal as VirtualMouse

WELL_PREDICTED = 0.3
"""Ensemble validation correlation (single trials) above which a unit counts as well predicted.

Fixed before the demo was tuned and not changed since. It lies more than three standard errors
(1/sqrt(n)) above chance from a hundred validation images on, and below it a model explains less
than a tenth of the single-trial variance, so that its MEI says little about the cell.
"""

SCAN = ("animal_id", "session", "scan_idx")


@dataclass(frozen=True)
class TrueCells:
    """The cells of some units of a virtual recording.

    Attributes
    ----------
    animal : science.virtual.VirtualAnimal
    cells : int64, (n,)
        Index of each unit's cell in the animal.
    drift : float64, (n,)
        Factor on its rates on the day of the recording.
    """

    animal: VirtualMouse
    cells: NDArray[np.int64]
    drift: NDArray[np.float64]

    def responses(self, images: NDArray[np.floating]) -> NDArray[np.float64]:
        """Compute the expected response of each cell to its own image.

        Parameters
        ----------
        images : float, (n, h, w)
            Grey values.

        Returns
        -------
        float64, (n,)
            Spikes a trial, gain 1.
        """
        return self.animal.rates(images)[np.arange(len(images)), self.cells] * self.drift


def true_cells(
    scan: dict[str, Any], unit_ids: ArrayLike, image_shape: tuple[int, ...]
) -> TrueCells | None:
    """Look up cells of a recording; None if it is not virtual or its cells see another size.

    Parameters
    ----------
    scan : dict
        Its key, and perhaps more.
    unit_ids : int, (n,)
    image_shape : tuple of int
        Height and width of the images that shall be shown.
    """
    if not VirtualAnimal & {a: scan[a] for a in SCAN}:
        return None
    animal, session = load_animal({a: scan[a] for a in SCAN})
    if tuple(image_shape) != animal.filters.shape[1:]:
        return None
    rows = np.searchsorted(session.unit_ids, unit_ids)
    return TrueCells(animal, session.cells[rows], session.drift[rows])


def frame(query: Any, columns: list[str]) -> pd.DataFrame:
    """Fetch rows in the order of their key, with all columns even when there are none."""
    return pd.DataFrame(query.to_dicts(order_by="KEY"), columns=columns)
