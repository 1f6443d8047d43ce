"""Creation of the schemas."""

import datajoint as dj
import pytest

from pipeline.settings import Settings
from schemas import graph


def test_every_schema_exists_and_has_the_jobs_of_its_computed_tables(tables):
    prefix = Settings().prefix
    existing = dj.list_schemas()
    for module in graph.MODULES:
        assert graph.schema_name(module, prefix) in existing
    assert all(step.table().jobs.is_declared for step in graph.STEPS)


def test_creating_again_changes_nothing(tables):
    def everything():
        query = (
            "SELECT table_schema, table_name, create_time FROM information_schema.tables "
            "WHERE table_schema LIKE 'test\\_%%' AND table_type = 'BASE TABLE' ORDER BY 1, 2"
        )
        return dj.conn().query(query).fetchall()

    before = everything()
    assert len(before) > 60
    graph.create(Settings().prefix)
    assert everything() == before


@pytest.fixture
def server_without_case(tables):
    """A server whose default takes 'V1' and 'v1' for the same, as MySQL's own default does."""
    dj.conn().query("SET SESSION collation_server = 'utf8mb4_general_ci'")
    yield
    dj.conn().query("SET SESSION collation_server = 'utf8mb4_bin'")


def test_names_differ_in_case_whatever_the_default_of_the_server_is(server_without_case):
    name = "test_collation"
    graph.create_schema(name)
    try:
        dj.conn().query(f"CREATE TABLE `{name}`.t (area varchar(16) PRIMARY KEY)")
        dj.conn().query(f"INSERT INTO `{name}`.t VALUES ('V1'), ('v1'), ('é'), ('e')")
        same = dj.conn().query(f"SELECT COUNT(*) FROM `{name}`.t WHERE area = 'v1'")
        assert same.fetchone() == (1,)
    finally:
        dj.conn().query(f"DROP DATABASE `{name}`")
