"""Plain SQL views of what people ask for, in a database schema of their own.

One file per view: the first lines say what a row is, the comment of a column what it holds. A
table is named in it by its class, as ``[MEI.Unit]``. Columns have the names of the attributes.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import datajoint as dj

from schemas.configuration import Configuration

TOPICS = {
    "What was recorded": ("scans", "units", "trials"),
    "Data and models": (
        "training_sets",
        "oracles",
        "models",
        "learning_curves",
        "ensembles",
        "unit_scores",
        "seed_unit_scores",
    ),
    "Most exciting inputs": (
        "meis",
        "masks",
        "diverse_meis",
        "surrounds",
        "gabors",
        "comparisons",
    ),
    "The closed loop": (
        "monitor_calibrations",
        "stimulus_items",
        "cell_matches",
        "confusion_diagonal",
        "permutation_tests",
        "diagonal_tests",
    ),
    "Navigation, codes, feedback": (
        "rate_maps",
        "model_rate_maps",
        "neural_fits",
        "consistencies",
        "rate_distortion",
        "efficient_codes",
        "coding_exponents",
        "limen_comparisons",
        "context_tests",
        "population_clarities",
        "freeze_pairs",
        "context_decodings",
        "feedback_controls",
    ),
    "How it was computed": ("configurations", "code_versions", "jobs", "workers"),
}
"""All views, in the order in which they are explained."""

COLUMN = re.compile(r"^  .*?(?P<name>\w+),?\s+-- (?P<meaning>.+)$", re.MULTILINE)
Tables = Mapping[str, type[dj.Table]]


@dataclass(frozen=True)
class View:
    """A view as its file says it.

    Attributes
    ----------
    name : str
    meaning : str
        Of a row.
    columns : dict
        What each holds.
    query : str
        SQL, with the class names of tables.
    """

    name: str
    meaning: str
    columns: dict[str, str]
    query: str

    @classmethod
    def read(cls, name: str) -> "View":
        """Read the file of a view."""
        text = (Path(__file__).parent / f"{name}.sql").read_text()
        head, select, query = text.partition("SELECT\n")
        columns = query.partition("\nFROM ")[0]
        return cls(
            name,
            " ".join(line.removeprefix("-- ") for line in head.splitlines()),
            {found["name"]: found["meaning"] for found in COLUMN.finditer(columns)},
            select + query.strip(),
        )


VIEWS = {name: View.read(name) for names in TOPICS.values() for name in names}


def schema_of_views(prefix: str) -> str:
    """Return the name of the database schema of the views."""
    return f"{prefix}views"


def statements(prefix: str, tables: Tables) -> Iterator[str]:
    """Yield the SQL that makes the views, new or again.

    Parameters
    ----------
    prefix : str
        What the names of the schemas begin with.
    tables : mapping
        All tables by class name, parts as ``MEI.Unit``; bound to their database schemas.
    """
    meant = sources(tables)
    for view in VIEWS.values():
        query = with_sources(view.query, meant)
        # With the rights of who reads, not of who ran `init`.
        yield (
            f"CREATE OR REPLACE SQL SECURITY INVOKER VIEW "
            f"`{schema_of_views(prefix)}`.`{view.name}` AS {query}"
        )


def sources(tables: Tables) -> dict[str, str]:
    """Return the SQL that the names in brackets stand for.

    Of tables; of the job tables of computed ones, as ``[jobs of MEI]``, and of what `jobs` shows of
    such a job, as ``[job of MEI]``; of all rows of a kind.
    """
    found = {name: table.full_table_name for name, table in tables.items()}
    for name, table in tables.items():
        if _is_computed(table):
            found[f"jobs of {name}"] = _jobs(table)
            found[f"job of {name}"] = _job(name, table)
    found["every configuration"] = _every_configuration(tables)
    found["every job"] = _every_job(tables)
    return found


def with_sources(query: str, meant: Mapping[str, str]) -> str:
    """Return a query with the names in its brackets replaced by what they stand for."""
    return re.sub(r"\[([\w. ]+)\]", lambda match: meant[match[1]], query)


def _every_configuration(tables: Tables) -> str:
    columns = {
        name: table.params_column
        for name, table in tables.items()
        if issubclass(table, Configuration)
    }
    return _union(
        f"SELECT '{name}' AS configuration_table, {tables[name].primary_key[0]} AS "
        f"configuration_hash, {params} AS params FROM {tables[name].full_table_name}"
        for name, params in (columns | {"ModelConfig": "model_params"}).items()
    )


def _every_job(tables: Tables) -> str:
    return _union(
        f"SELECT {_job(name, table)} FROM {_jobs(table)}"
        for name, table in tables.items()
        if _is_computed(table)
    )


def _job(name: str, table: type[dj.Table]) -> str:
    return (
        f"'{name}' AS job_table, {_json(table.primary_key)} AS job_key, status, priority, "
        "scheduled_time, reserved_time, completed_time, duration, error_message, host, pid"
    )


def _jobs(table: type[dj.Table]) -> str:
    return table.full_table_name.replace(".`__", ".`~~")


def _is_computed(table: type[dj.Table]) -> bool:
    return issubclass(table, dj.Computed) and not issubclass(table, dj.Part)


def _json(names: list[str]) -> str:
    pairs = ", ".join(f"'{name}', `{name}`" for name in names)
    return f"JSON_OBJECT({pairs})"


def _union(selects: Iterator[str]) -> str:
    return f"({' UNION ALL '.join(selects)})"
