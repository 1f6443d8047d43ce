"""Tables and images as NWB has them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from hdmf.common import DynamicTable, VectorData
from numpy.typing import NDArray
from pynwb.base import ImageReferences, Images
from pynwb.image import GrayscaleImage

Table = TypeVar("Table", bound=DynamicTable)
Rows = Sequence[Mapping[str, Any]]
ORDER = "order_of_images"


def table(
    name: str,
    description: str,
    rows: Rows,
    meanings: Mapping[str, str],
    kind: type[Table] = DynamicTable,
) -> Table:
    """Return rows as a table; what is null is NaN or an empty text.

    Parameters
    ----------
    name, description : str
    rows : sequence of mapping
    meanings : mapping
        Columns to take of them, in order, to what each means.
    kind : type
        Class of the table.
    """
    columns = [
        VectorData(name=column, description=meaning, data=_data([row[column] for row in rows]))
        for column, meaning in meanings.items()
    ]
    return kind(name=name, description=description, columns=columns, colnames=list(meanings))


def _data(values: Sequence[Any]) -> NDArray[Any] | list[str]:
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, str) for value in known):
        return [value or "" for value in values]
    if len(known) == len(values):
        return np.array(values)
    return np.array([np.nan if value is None else value for value in values], np.float64)


def images(
    name: str, description: str, pixels: Iterable[tuple[str, NDArray[np.generic]]]
) -> Images:
    """Return images (h, w) by their names; tables know them by their place in `order_of_images`."""
    made = [GrayscaleImage(name=called, data=image) for called, image in pixels]
    order = ImageReferences(name=ORDER, data=made)
    about = f"{description} Arrays are (height, width)."
    return Images(name=name, description=about, images=made, order_of_images=order)
