"""Long lists, page by page: which page a request asks for, and the links to the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flask import abort, request, url_for

MAX_SIZE = 200
MAX_DIGITS = 9


@dataclass(frozen=True)
class Page:
    """A part of a list.

    Attributes
    ----------
    items : sequence
        Its rows.
    number : int
        Counted from 1.
    size : int
        Rows of a full page.
    n_items : int
        Of the whole list.
    """

    items: Sequence[Any]
    number: int
    size: int
    n_items: int

    @property
    def n_pages(self) -> int:
        """How many there are; an empty list has one."""
        return max(1, -(-self.n_items // self.size))

    @property
    def first(self) -> int:
        """Place of its first row in the list, counted from 1; 0 if there is none."""
        return (self.number - 1) * self.size + 1 if self.items else 0

    @property
    def last(self) -> int:
        """Place of its last row."""
        return self.first + len(self.items) - 1 if self.items else 0

    @property
    def previous(self) -> str | None:
        """Link to the page before."""
        return self.link(self.number - 1) if self.number > 1 else None

    @property
    def next(self) -> str | None:
        """Link to the page after."""
        return self.link(self.number + 1) if self.number < self.n_pages else None

    def link(self, number: int) -> str:
        """Return the link to a page, with all that the request asks for besides."""
        asked = request.args.to_dict(flat=False) | {"page": number}
        # Not by url_for, to which `_scheme` or `endpoint` of a query string would mean something.
        address = url_for(request.endpoint, **(request.view_args or {}))
        return f"{address}?{urlencode(asked, doseq=True)}"


@dataclass(frozen=True)
class Window:
    """Which rows of a list a request asks for.

    Attributes
    ----------
    number : int
        Of the page, counted from 1.
    size : int
        Rows of a page.
    """

    number: int
    size: int

    @property
    def sql(self) -> dict[str, int]:
        """Values for ``LIMIT :limit OFFSET :offset``."""
        return {"limit": self.size, "offset": (self.number - 1) * self.size}

    def page(self, items: Sequence[Any], n_items: int) -> Page:
        """Return the page with its rows; one beyond the end is not found (404)."""
        page = Page(items, self.number, self.size, n_items)
        if self.number > page.n_pages:
            abort(404, f"There is no page {self.number}: the last one is {page.n_pages}.")
        return page


def window(size: int = 50) -> Window:
    """Return what ``page`` and ``size`` of the query string ask for; what is no number is a 400.

    Parameters
    ----------
    size : int
        Rows of a page where the request does not say.
    """
    return Window(
        whole_number("page", 1, 10**MAX_DIGITS), whole_number("size", size, most=MAX_SIZE)
    )


def whole_number(name: str, default: int, most: int) -> int:
    """Return a parameter of the query string: a whole number from 1 to `most`, else a 400."""
    text = request.args.get(name)
    if text is None:
        return default
    is_number = text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS + 1
    if not is_number or not 1 <= int(text) <= most:
        abort(400, f"'{name}' has to be a whole number from 1 to {most}.")
    return int(text)
