"""Rectangles along the axes: the arena, the cues in it, the reward zone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, model_validator

from science.params import Params, Positive

Floats = NDArray[np.float64]

_LENGTH = TypeAdapter(Positive | None)
_NUMBER = TypeAdapter(float | None)


class Rectangle(Params):
    """Rectangle along the axes, in metres.

    Give either its limits or its size, ``Rectangle(width=2.2, height=2.2, center_x=0, center_y=0)``
    (the centre is the origin where none is given); where both are given they must agree.

    Attributes
    ----------
    min_x, max_x, min_y, max_y : float
        Limits; only these are kept, whatever they were made from.
    """

    min_x: float
    max_x: float
    min_y: float
    max_y: float

    @model_validator(mode="before")
    @classmethod
    def _limits(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        given = dict(given)
        for axis, size in (("x", "width"), ("y", "height")):
            low, high, centre = f"min_{axis}", f"max_{axis}", f"center_{axis}"
            length = _LENGTH.validate_python(given.pop(size, None))
            middle = _NUMBER.validate_python(given.pop(centre, None))
            limits = [_NUMBER.validate_python(given.get(name)) for name in (low, high)]
            if limits == [None, None] and length is not None:
                middle = middle or 0.0
                given |= {low: middle - length / 2, high: middle + length / 2}
            elif None in limits:
                raise ValueError(f"give both {low} and {high}, or {size}")
            elif length is not None and not np.isclose(limits[1] - limits[0], length):
                raise ValueError(f"{low} and {high}, {limits}, contradict {size}, {length}")
            elif middle is not None and not np.isclose(sum(limits) / 2, middle):
                raise ValueError(f"{low} and {high}, {limits}, contradict {centre}, {middle}")
        return given

    @model_validator(mode="after")
    def _has_area(self) -> "Rectangle":
        if not (self.min_x < self.max_x and self.min_y < self.max_y):
            raise ValueError(f"{self} has no area: each minimum must be below its maximum")
        return self

    @property
    def width(self) -> float:
        """Extent in x, metres."""
        return self.max_x - self.min_x

    @property
    def height(self) -> float:
        """Extent in y, metres."""
        return self.max_y - self.min_y

    @property
    def center(self) -> Floats:
        """Its middle, float64, (2,)."""
        return np.array([self.min_x + self.max_x, self.min_y + self.max_y]) / 2

    @property
    def corners(self) -> Floats:
        """The lower left and the upper right corner, float64, (2, 2)."""
        return np.array([[self.min_x, self.min_y], [self.max_x, self.max_y]])

    def holds(self, other: "Rectangle", margin_x: float = 0.0, margin_y: float = 0.0) -> bool:
        """Whether another rectangle lies inside, edges included, and keeps margins from them."""
        return bool(
            self.min_x + margin_x <= other.min_x
            and other.max_x <= self.max_x - margin_x
            and self.min_y + margin_y <= other.min_y
            and other.max_y <= self.max_y - margin_y
        )

    def touches(self, other: "Rectangle") -> bool:
        """Whether the two share a point; a common edge counts."""
        return bool(
            self.min_x <= other.max_x
            and other.min_x <= self.max_x
            and self.min_y <= other.max_y
            and other.min_y <= self.max_y
        )

    def contains(self, points: Floats) -> NDArray[np.bool_]:
        """Whether points (..., 2) lie inside, edges included; bool, (...)."""
        low, high = self.corners
        return ((points >= low) & (points <= high)).all(-1)

    def distance(self, points: Floats) -> Floats:
        """Distance of points (..., 2) from the rectangle; float64, (...), metres, 0 inside."""
        low, high = self.corners
        outside = np.maximum(np.maximum(low - points, points - high), 0.0)
        return np.hypot(outside[..., 0], outside[..., 1])

    def __str__(self) -> str:
        return f"x {self.min_x:g} to {self.max_x:g} m, y {self.min_y:g} to {self.max_y:g} m"
