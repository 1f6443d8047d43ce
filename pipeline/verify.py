"""Computed rows once more: what `make` would insert now, compared with what is stored."""

import platform
import random
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import datajoint as dj
import torch
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from pipeline.ancestry import ancestry, name_of
from pipeline.deviation import differing_columns, stored_rows
from pipeline.selection import BadSelection, find_table
from schemas.cache import empty_cache
from schemas.graph import STEPS, parts
from schemas.loading import forget_datasets
from schemas.model import TrainedModel, TrainingCheckpoint, load_model
from schemas.model_config import TrainConfig
from schemas.operations import CodeVersion
from schemas.store import StoreError
from science.training import TrainedElsewhere

Key = dict[str, Any]
Row = dict[str, Any]
Machine = tuple[str, int]
"""A device and its number of threads."""
SHOWN = 5
"""Rows of a part that are named one by one."""


@dataclass(frozen=True)
class Sampling:
    """Which rows of a table are verified.

    Attributes
    ----------
    n_rows : int
    seed : int
        Of the draw.
    """

    n_rows: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Verified:
    """A row, with its parts, that was computed again.

    Attributes
    ----------
    table : str
    key : dict
    differences : tuple of str
        What differs: part, row and columns.
    exact : bool
        Whether it was compared to the bit.
    """

    table: str
    key: Key
    differences: tuple[str, ...]
    exact: bool

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def described(self) -> str:
        """Say what differs."""
        lines = [f"{self.table} ({_written(self.key)})", *self.differences]
        return "\n  ".join(lines)


def verify_tables(names: Sequence[str], sampling: Sampling) -> Iterator[Verified]:
    """Verify some rows of tables.

    Parameters
    ----------
    names : sequence of str
        Of computed tables; none: all of them.
    sampling : Sampling
        Of each.

    Raises
    ------
    BadSelection
        If there is no such table, or it is not computed.
    """
    tables = [_computed(name) for name in names] or [step.table for step in STEPS]
    keys = [(table, key) for table in tables for key in _drawn(table, sampling)]
    with _nothing_kept():
        for table, key in tqdm(keys, desc="computing", unit="row", leave=False, disable=None):
            yield verify_row(table, key)


@contextmanager
def _nothing_kept() -> Iterator[None]:
    """Read from the database and the store, not what this machine or process keeps of them."""
    with empty_cache():
        _forget()
        try:
            yield
        finally:
            _forget()


def _forget() -> None:
    forget_datasets()
    load_model.cache_clear()


def _computed(name: str) -> type[dj.Computed]:
    table = find_table(name)
    if not issubclass(table, dj.Computed):
        computed = ", ".join(step.table.__name__ for step in STEPS)
        raise BadSelection(f"{name} is not computed; computed are {computed}")
    return table


def _drawn(table: type[dj.Computed], sampling: Sampling) -> list[Key]:
    rows = table()
    if table is TrainedModel:
        rows = rows & [config for config in TrainConfig.proj() if not _is_elsewhere(config)]
    keys = rows.keys(order_by="KEY")
    return random.Random(sampling.seed).sample(keys, min(sampling.n_rows, len(keys)))


def _is_elsewhere(config: Key) -> bool:
    return isinstance(TrainConfig.params(config), TrainedElsewhere)


def verify_row(table: type[dj.Computed], key: Key) -> Verified:
    """Compute a row with its parts again and compare; nothing of it is inserted.

    Parameters
    ----------
    table : type
    key : dict
    """
    machines = _machines(table, key)
    with _threads_of(machines):
        exact = _repeatable(machines)
        try:
            differences = _differences(table, key, computed_again(table, dict(key)), exact)
        except zlib.error as error:
            differences = [
                f"cannot be computed again: an array that it comes from is damaged ({error}); "
                "verify the tables before it"
            ]
        except (StoreError, ValueError) as error:
            differences = [f"cannot be computed again: {error}"]
    return Verified(table.__name__, key, tuple(differences), exact)


def _machines(table: type[dj.Computed], key: Key) -> set[Machine]:
    """Return where a row was computed; if it does not say so, where its ancestors were."""
    if "code_hash" in table().heading.names:
        versions = CodeVersion & (table & key).proj("code_hash")
    else:
        found = ancestry(table, tuple(key[name] for name in table.primary_key)).keys[CodeVersion]
        versions = CodeVersion & [{"code_hash": code_hash} for (code_hash,) in found]
    return set(zip(*versions.to_arrays("device", "n_threads"), strict=True))


def _repeatable(machines: set[Machine]) -> bool:
    """Whether results are the same to the bit here; on a GPU they never surely are."""
    here = platform.machine(), torch.get_num_threads()
    return not machines or (machines == {here} and not torch.cuda.is_available())


@contextmanager
def _threads_of(machines: set[Machine]) -> Iterator[None]:
    """Compute with as many threads as a row was computed with, if that is one number."""
    earlier, numbers = torch.get_num_threads(), {int(n_threads) for _, n_threads in machines}
    n_threads = numbers.pop() if len(numbers) == 1 else earlier
    torch.set_num_threads(n_threads)
    try:
        with threadpool_limits(n_threads):
            yield
    finally:
        torch.set_num_threads(earlier)


def computed_again(table: type[dj.Computed], key: Key) -> dict[type[dj.Table], list[Row]]:
    """Return the rows that `make` would insert into a table and its parts."""
    made: dict[type[dj.Table], list[Row]] = {}
    maker = _collecting(table, made)
    for name, part in parts(table).items():
        setattr(maker, name, _collecting(part, made))
    with _without_checkpoint(table, key):
        if hasattr(table, "make_compute"):
            fetched = maker.make_fetch(key)
            maker.make_insert(key, *maker.make_compute(key, *fetched))
        else:
            maker.make(key)
    return made


def _collecting(table: type[dj.Table], made: dict[type[dj.Table], list[Row]]) -> dj.Table:
    """Return an instance of a table that keeps what is inserted instead of inserting it."""
    rows = made[table] = []
    instance = table()
    instance.insert = lambda new, **options: rows.extend(new)
    return instance


@contextmanager
def _without_checkpoint(table: type[dj.Computed], key: Key) -> Iterator[None]:
    """Train from the start, and leave no state: of a network that is there it is of no use."""
    if table is not TrainedModel:
        yield
        return
    TrainingCheckpoint.forget(key)
    try:
        yield
    finally:
        TrainingCheckpoint.forget(key)


def _differences(
    table: type[dj.Computed], key: Key, made: dict[type[dj.Table], list[Row]], exact: bool
) -> list[str]:
    differences = []
    for part, rows in made.items():
        stored = {_key_of(part, row): row for row in stored_rows(part, key)}
        again = {_key_of(part, row): row for row in rows}
        differences += _unmatched(part, "is not stored", again.keys() - stored.keys())
        differences += _unmatched(part, "does not come out again", stored.keys() - again.keys())
        wrong = {
            row: columns
            for row in sorted(again.keys() & stored.keys())
            if (columns := differing_columns(part(), again[row], stored[row], exact))
        }
        differences += _shortened(
            f"{_described(part, row, key)}: "
            + "; ".join(f"{name} {how}" for name, how in columns.items())
            for row, columns in wrong.items()
        )
    return differences


def _unmatched(table: type[dj.Table], state: str, keys: set[tuple[Any, ...]]) -> list[str]:
    return _shortened(f"{_described(table, key, {})} {state}" for key in sorted(keys))


def _shortened(lines: Iterable[str]) -> list[str]:
    lines = list(lines)
    return lines[:SHOWN] + ([f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else [])


def _described(table: type[dj.Table], values: tuple[Any, ...], known: Key) -> str:
    """Name a row by what its master's key does not say."""
    row = dict(zip(table.primary_key, values, strict=True))
    own = {name: value for name, value in row.items() if name not in known}
    return f"{name_of(table)} ({_written(own)})" if own else name_of(table)


def _key_of(table: type[dj.Table], row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in table.primary_key)


def _written(row: Row) -> str:
    return ", ".join(f"{name}={value}" for name, value in row.items())
