"""The table reference is what the definitions say, and what the server has."""

import re
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import datajoint as dj

from pipeline.settings import Settings
from schemas.graph import MODULES, tables
from schemas.operations import CodeVersion
from schemas.page import meaning_of, page
from schemas.page_definitions import (
    definition_of,
    masters,
    name_in_sql,
    name_of,
    parents_of,
    schema_of,
)
from schemas.page_meanings import MEANINGS
from schemas.page_picture import edges

DOCS = Path(__file__).parents[2] / "docs"
TABLES = tables()


def anchor(heading):
    """Return what a heading is linked by, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_page_is_what_the_definitions_say():
    assert (DOCS / "tables.md").read_text() == page(), "python -m schemas.page > docs/tables.md"


def test_every_row_and_every_attribute_is_explained():
    for name, table in TABLES.items():
        definition = definition_of(table)
        assert definition.comment or table.__doc__, name
        for attribute in definition.attributes:
            assert meaning_of(table, attribute), f"{name}.{attribute.name}"


def test_nothing_is_explained_beside_the_definition_that_says_so_itself():
    for name, meanings in MEANINGS.items():
        silent = {a.name for a in definition_of(TABLES[name]).attributes if not a.comment}
        assert set(meanings) <= silent, name


def test_every_link_leads_to_one_heading():
    text = page()
    anchors = [anchor(line.lstrip("# ")) for line in text.splitlines() if line.startswith("#")]
    assert len(set(anchors)) == len(anchors)
    links = re.findall(r"\]\(#([^)]+)\)", text)
    assert len(links) > len(TABLES)
    assert set(links) <= set(anchors)
    files = re.findall(r"\]\(([^#)]+)\)", text)
    assert all((DOCS / file).exists() for file in files)


def test_every_schema_has_a_section_and_a_diagram_of_its_tables():
    sections = re.split(r"^## Schema ", page(), flags=re.MULTILINE)[1:]
    assert len(sections) == len(MODULES)
    for module, section in zip(MODULES, sections, strict=True):
        (diagram,) = re.findall(r"```mermaid\n(.*?)```", section, re.DOTALL)
        own = [name for name, table in TABLES.items() if table.__module__ == module.__name__]
        explained = re.findall(r"^#{3,4} `([\w.]+)`$", section, re.MULTILINE)
        assert sorted(explained) == sorted(own)
        drawn = set(re.findall(r"^  (\w+):::", diagram, re.MULTILINE))
        assert {name for name in own if "." not in name} <= drawn


def test_the_server_has_what_is_read_from_the_definitions(tables):
    names = {place(table): name for name, table in TABLES.items()}
    columns, keys, references = defaultdict(dict), defaultdict(list), defaultdict(set)
    for *where, column, nullable, comment in ask(
        "SELECT table_schema, table_name, column_name, is_nullable, column_comment "
        "FROM information_schema.columns"
    ):
        if tuple(where) in names and not column.startswith("_"):
            said = comment.split(":", 2)[-1].strip()
            columns[names[tuple(where)]][column] = nullable == "YES", said
    for *where, constraint, column, schema, parent in ask(
        "SELECT table_schema, table_name, constraint_name, column_name, referenced_table_schema, "
        "referenced_table_name FROM information_schema.key_column_usage ORDER BY ordinal_position"
    ):
        if tuple(where) in names and constraint == "PRIMARY":
            keys[names[tuple(where)]].append(column)
        elif tuple(where) in names and parent:
            references[names[tuple(where)]].add(names[schema, parent])
    for name, table in TABLES.items():
        definition = definition_of(table)
        assert list(definition.key) == keys[name]
        assert {name_of(reference.parent) for reference in definition.references} == (
            references[name]
        )
        foreign = {a for reference in definition.references for a in reference.attributes}
        assert foreign | {a.name for a in definition.attributes} == columns[name].keys()
        for attribute in definition.attributes:
            nullable, said = columns[name][attribute.name]
            assert nullable == attribute.nullable
            assert attribute.comment.startswith(said)  # the server's ends with the line


def test_the_page_is_the_same_with_a_database(tables):
    assert (DOCS / "tables.md").read_text() == page()


def place(table):
    """Return schema and name of a table on the server."""
    return Settings().prefix + schema_of(table), name_in_sql(table)


def ask(sql):
    return dj.conn().query(sql).fetchall()


def test_the_picture_shows_every_table_and_every_arrow():
    root = ElementTree.parse(DOCS / "images" / "tables.svg").getroot()
    titles = {kind: set() for kind in ("node", "edge")}
    for group in root.iter("{http://www.w3.org/2000/svg}g"):
        if (kind := group.get("class")) in titles:
            titles[kind].add(group[0].text)
    repeat = "python -m schemas.page_picture docs/images/tables.svg"
    assert titles["node"] == {name_of(table) for table in masters()}, repeat
    assert titles["edge"] == {f"{name_of(p)}->{name_of(c)}" for p, c in edges()}, repeat


def test_what_the_picture_leaves_out_is_said_by_what_it_shows():
    above, shown = {table: set() for table in masters()}, edges()
    for table in above:
        waiting = [table]
        while waiting:
            child = waiting.pop()
            new = {p for p, c in shown if c is child} - above[table]
            above[table] |= new
            waiting += new
    for table in above:
        assert set(parents_of(table)) - {CodeVersion} <= above[table]
    assert all(table not in ancestors for table, ancestors in above.items())
