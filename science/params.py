"""The base of all parameter sets, and the ranges that many of them need."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Params(BaseModel):
    """Validated parameters: immutable, hashable, finite, no unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


P = TypeVar("P", bound=Params)


def grid(base: P, choices: Mapping[str, Sequence[Any]]) -> list[P]:
    """Return all combinations of choices, each put into a copy of a parameter set.

    Parameters
    ----------
    base : Params
        Where everything else is taken from.
    choices : mapping of str to sequence
        Values by the name of the parameter, dots between levels: ``core.gamma_hidden``. The last
        one varies fastest.

    Raises
    ------
    pydantic.ValidationError
        If a name is unknown or a value out of range.

    Examples
    --------
    >>> class Network(Params):
    ...     layers: int = 1
    ...     width: int = 8
    >>> [n.width for n in grid(Network(), {"layers": [1, 2], "width": [8, 16]})]
    [8, 16, 8, 16]
    """
    return [
        _replaced(base, dict(zip(choices, values, strict=True)))
        for values in product(*choices.values())
    ]


def _replaced(base: P, values: Mapping[str, Any]) -> P:
    document = base.model_dump()
    for name, value in values.items():
        *levels, last = name.split(".")
        part = document
        for level in levels:
            part = part.setdefault(level, {})
        part[last] = value
    return type(base).model_validate(document)
