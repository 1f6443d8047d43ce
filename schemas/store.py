"""Arrays of the object store, checked as they are read."""

from copy import copy

import numpy as np
from numpy.typing import ArrayLike, NDArray

from science.digest import array_digest


def intact(stored: ArrayLike, digest: str, what: str) -> NDArray[np.generic]:
    """Load an array from the store.

    Raises
    ------
    ValueError
        If it is not what was stored.
    """
    # A reference keeps what it has loaded as long as its row lives: only a copy of it does here.
    array = np.asarray(copy(stored))
    if array_digest(array) != digest:
        raise ValueError(f"the {what} in the store are damaged: delete their row and compute again")
    return array
