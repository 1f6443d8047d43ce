"""Every definition, read as text: types, keys, names, order. No database."""

import inspect
import os
import re
import subprocess
import sys
from collections import defaultdict

import datajoint as dj
import pytest
from miniature import all_tables

from schemas import graph

TYPES = re.compile(
    r"int(8|16|32|64)|float(32|64)|bool|json|bytes|date|datetime|datetime\(\d\)"
    r"|char\(\d+\)|varchar\(\d+\)|enum\(('[^']+'(, ?)?)+\)|decimal\(\d+, ?\d+\)"
    r"|<(blob|npy@|object@|attach@|filepath@)>"
)
NOT_IN_KEYS = re.compile(r"json|bytes|<.*|float.*")
TABLES = all_tables()
COMPUTED = {
    name: table
    for name, table in TABLES.items()
    if issubclass(table, dj.Computed | dj.Imported) and not issubclass(table, dj.Part)
}

# The same name in two tables of one module that nobody joins without renaming or projecting.
KNOWN_TWINS = {
    "readout_key": {"TargetDataset.Member", "TargetDataset.Unit"},
}


class Definition:
    """The lines of a definition: references and attributes, above and below the divider."""

    def __init__(self, table):
        lines = [line.strip() for line in table.definition.strip().splitlines()]
        lines = [line for line in lines if line and not line.startswith("#")]
        divider = lines.index("---") if "---" in lines else len(lines)
        self.references, self.attributes = ({}, {}), ({}, {})
        for number, line in enumerate(lines):
            below = number > divider
            if line.startswith("->"):
                self.references[below][line.partition("#")[0][2:].strip()] = line
            elif not line.startswith(("---", "index", "unique index")):
                name, colon, rest = line.partition(":")
                assert colon, f"{table.__name__}: '{line}' is no attribute"
                self.attributes[below][name.split("=")[0].strip()] = rest.partition("#")[0].strip()

    def parents(self, table):
        """Return the tables referred to, by name; the part's master by its own."""
        names = []
        for reference in (*self.references[0], *self.references[1]):
            path = re.sub(r"^\[.*?\]\s*", "", reference).partition(".proj")[0].strip()
            names.append(path)
        return names


DEFINITIONS = {name: Definition(table) for name, table in TABLES.items()}


def resolve(name, reference):
    """Return the class that a reference of a table names, as DataJoint finds it."""
    table = TABLES[name]
    if reference == "master":
        return TABLES[name.partition(".")[0]]
    found = sys.modules[table.__module__]
    for part in reference.split("."):
        found = getattr(found, part)
    return found


def test_there_are_tables_in_every_module():
    modules = {table.__module__ for table in TABLES.values()}
    assert modules == {module.__name__ for module in graph.MODULES}
    assert len(COMPUTED) >= 16


@pytest.mark.parametrize("name", TABLES)
def test_only_core_types_and_codecs(name):
    for part in DEFINITIONS[name].attributes:
        for attribute, kind in part.items():
            assert TYPES.fullmatch(kind), f"{attribute} : {kind}"
            assert re.fullmatch(r"[a-z][a-z0-9_]*", attribute)


@pytest.mark.parametrize("name", TABLES)
def test_keys_are_short_and_exact(name):
    for attribute, kind in DEFINITIONS[name].attributes[0].items():
        assert not NOT_IN_KEYS.fullmatch(kind), f"{attribute} : {kind} cannot be a key"


@pytest.mark.parametrize("name", COMPUTED)
def test_the_key_of_a_computed_table_is_made_of_references(name):
    definition = DEFINITIONS[name]
    assert definition.references[0]
    assert not definition.attributes[0]


@pytest.mark.parametrize("name", COMPUTED)
def test_a_computed_table_has_make_or_its_three_parts(name):
    own = vars(COMPUTED[name])
    parts = {"make_fetch", "make_compute", "make_insert"} & set(own)
    assert ("make" in own and not parts) or ("make" not in own and len(parts) == 3)


def test_the_workers_know_every_computed_table_once():
    assert sorted(step.table.__name__ for step in graph.STEPS) == sorted(COMPUTED)


def test_workers_go_from_parents_to_children():
    done = set()
    for step in graph.STEPS:
        name = step.table.__name__
        parts = [name, *(n for n in TABLES if n.startswith(f"{name}."))]
        for part in parts:
            for reference in DEFINITIONS[part].parents(part):
                parent = resolve(part, reference)
                master = getattr(parent, "_master", None) or parent
                master = TABLES[master.__qualname__.partition(".")[0]]
                if issubclass(master, dj.Computed) and master is not step.table:
                    assert master in done, f"{part} refers to {master.__name__}, which comes later"
        assert {need.__name__ for need in step.needs} <= {table.__name__ for table in done}
        done.add(step.table)


def test_modules_come_after_those_they_refer_to():
    order = [module.__name__ for module in graph.MODULES]
    for name in TABLES:
        for reference in DEFINITIONS[name].parents(name):
            parent = resolve(name, reference)
            assert order.index(parent.__module__) <= order.index(TABLES[name].__module__)


def test_no_two_tables_have_an_attribute_of_their_own_with_the_same_name():
    owners = defaultdict(set)
    for name, definition in DEFINITIONS.items():
        for part in definition.attributes:
            for attribute in part:
                owners[attribute].add(name)
    twins = {attribute: names for attribute, names in owners.items() if len(names) > 1}
    assert twins == KNOWN_TWINS


def test_nothing_is_computed_with_what_make_fetch_may_not_return():
    # DataJoint hashes what make_fetch returns element by element, twice: no arrays (ANCHORS 3.5)
    for table in COMPUTED.values():
        if "make_fetch" in vars(table):
            source = inspect.getsource(table.make_fetch)
            assert "np.asarray" not in source
            assert "load_dataset" not in source


IMPORT_ALL = """
import os, pkgutil, socket, importlib

def refuse(*arguments):
    raise AssertionError(f"connects to {arguments[1:]}")

socket.socket.connect = socket.socket.connect_ex = refuse
import science, schemas, pipeline
for package in (science, schemas, pipeline):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):  # a program, to run
            importlib.import_module(module.name)
from datajoint import instance
assert instance._singleton_connection is None
assert os.listdir() == []
"""


def test_importing_everything_connects_to_nothing_and_writes_nothing(tmp_path):
    environment = {n: v for n, v in os.environ.items() if not n.startswith(("DJ_", "INCEPTION"))}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IMPORT_ALL],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
