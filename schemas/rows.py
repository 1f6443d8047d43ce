"""Numbers as the database can hold them."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def nullable(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row with NaN and infinite numbers as None: SQL has no NaN."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


def column_rows(
    key: Mapping[str, Any], columns: Mapping[str, NDArray[np.generic]]
) -> list[dict[str, Any]]:
    """Return one row per entry of arrays (n,) under a common key."""
    values = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [nullable({**key, **dict(zip(columns, row, strict=True))}) for row in values]


def unit_rows(
    key: Mapping[str, Any], columns: Mapping[str, NDArray[np.generic]]
) -> list[dict[str, Any]]:
    """Return one row per unit of a dataset from arrays in the order of `unit_index`."""
    rows = column_rows(key, columns)
    return [row | {"unit_index": index} for index, row in enumerate(rows)]
