"""Columns of a table as Parquet holds them: real types, arrays as lists with their shapes."""

from collections.abc import Mapping, Sequence
from typing import Any

import datajoint as dj
import numpy as np
from datajoint.codecs import decode_attribute
from numpy.typing import NDArray

from pipeline.export.arrow import pa
from pipeline.export.manifest import SHAPE, Column

Attribute = dj.heading.Attribute
Elements = Mapping[str, np.dtype[Any]]
"""Column of arrays to the type of their elements."""

TYPES = {
    **dict.fromkeys(("bool",), pa.bool_()),
    **dict.fromkeys(("int8", "tinyint"), pa.int8()),
    **dict.fromkeys(("int16", "smallint"), pa.int16()),
    **dict.fromkeys(("int32", "int"), pa.int32()),
    **dict.fromkeys(("int64", "bigint"), pa.int64()),
    **dict.fromkeys(("float32", "float"), pa.float32()),
    **dict.fromkeys(("float64", "double"), pa.float64()),
    **dict.fromkeys(("char", "varchar", "enum", "json"), pa.string()),
    **dict.fromkeys(("bytes", "longblob"), pa.binary()),
    "date": pa.date32(),
    "datetime": pa.timestamp("us"),
}
"""By the name of a type in a definition, or of an inherited key in the database."""


def is_file(attribute: Attribute) -> bool:
    """Whether the values of a column lie in the store."""
    return attribute.codec is not None and attribute.store is not None


def is_array(attribute: Attribute) -> bool:
    """Whether the values of a column are arrays in the database."""
    return attribute.codec is not None and attribute.store is None


def decoded(attribute: Attribute, value: Any) -> Any:
    """Return a value of a column that is not in the store; documents as the server writes them."""
    if value is None:
        return None
    if is_array(attribute):
        return np.asarray(decode_attribute(attribute, value))
    return bool(value) if attribute.original_type == "bool" else value


def element_types(
    attributes: Mapping[str, Attribute], values: Mapping[str, Sequence[Any]], known: Elements
) -> dict[str, np.dtype[Any]]:
    """Return the types that hold all elements of columns of arrays, and those known before."""
    found = dict(known)
    for name in filter(lambda name: is_array(attributes[name]), attributes):
        types = {value.dtype for value in values[name] if value is not None}
        if name in known:
            types.add(known[name])
        if types:
            found[name] = np.result_type(*types).newbyteorder("=")
    return found


def arrow_schema(attributes: Mapping[str, Attribute], elements: Elements) -> pa.Schema:
    """Return the columns as Arrow knows them."""
    fields = []
    for name, attribute in attributes.items():
        if is_array(attribute):
            fields += [(name, pa.list_(_element(elements.get(name)))), (name + SHAPE, SHAPES)]
        else:
            fields.append((name, _type(attribute)))
    return pa.schema(fields)


SHAPES = pa.list_(pa.int64())


def arrow_columns(
    attributes: Mapping[str, Attribute], values: Mapping[str, Sequence[Any]], elements: Elements
) -> list[pa.Array]:
    """Return values as columns of `arrow_schema`."""
    columns = []
    for name, attribute in attributes.items():
        if is_array(attribute):
            arrays = values[name]
            element = _element(elements.get(name))
            flat = [None if a is None else a.reshape(-1).astype(elements[name]) for a in arrays]
            columns.append(_lists(flat, element))
            columns.append(pa.array([None if a is None else a.shape for a in arrays], SHAPES))
        else:
            columns.append(pa.array(values[name], _type(attribute)))
    return columns


def _lists(flat: Sequence[NDArray[Any] | None], element: pa.DataType) -> pa.Array:
    """Return arrays of one dimension as lists; NaN stays what it is."""
    filled = [values for values in flat if values is not None]
    joined = pa.array([], element)
    if filled:
        joined = pa.array(np.concatenate(filled), element, from_pandas=False)
    offsets = np.cumsum([0] + [0 if values is None else len(values) for values in flat])
    missing = pa.array([values is None for values in flat])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), joined, mask=missing)


def described(attributes: Mapping[str, Attribute], elements: Elements) -> dict[str, Column]:
    """Return what the manifest says of columns."""
    return {
        name: Column(
            kind=_kind(attribute),
            type=_named_type(attribute, elements.get(name)),
            comment=attribute.comment,
        )
        for name, attribute in attributes.items()
    }


def _kind(attribute: Attribute) -> str:
    if is_file(attribute):
        return "file"
    if is_array(attribute):
        return "array"
    return "document" if attribute.json else "value"


def _named_type(attribute: Attribute, element: np.dtype[Any] | None) -> str:
    if is_file(attribute):
        return attribute.codec.name
    return str(_element(element) if is_array(attribute) else _type(attribute))


def _type(attribute: Attribute) -> pa.DataType:
    if is_file(attribute):
        return pa.string()
    return TYPES[(attribute.original_type or attribute.type).partition("(")[0]]


def _element(dtype: np.dtype[Any] | None) -> pa.DataType:
    if dtype is None:  # no row has an array
        return pa.null()
    return pa.string() if dtype.kind == "U" else pa.from_numpy_dtype(dtype)
