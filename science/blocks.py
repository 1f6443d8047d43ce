"""Long computations in blocks that fit into memory."""

from collections.abc import Iterator

BLOCK_VALUES = 2**22
"""Numbers held at a time in one array, 32 MB as float64."""


def blocks(n_items: int, values_per_item: int) -> Iterator[slice]:
    """Yield slices of items, at least one each, whose values together stay within the limit."""
    size = max(1, BLOCK_VALUES // max(1, values_per_item))
    for start in range(0, n_items, size):
        yield slice(start, min(start + size, n_items))
