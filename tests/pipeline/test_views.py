"""The views hold what the tables hold, say so, and give nobody more than he may read."""

import json
import sys
from pathlib import Path

import datajoint as dj
import pymysql
import pytest

from pipeline.accounts import Role, open_accounts
from pipeline.address import address
from pipeline.connection import driver_connection
from pipeline.settings import Settings
from pipeline.stored_objects import schema_names
from schemas import graph
from schemas.configuration import Configuration
from schemas.graph import STEPS
from schemas.model_config import ModelConfig
from schemas.views import TOPICS, VIEWS, schema_of_views, statements
from schemas.views.page import page

ROOT = Path(__file__).parents[2]
ONE_ROW_PER_ROW_OF = {
    "scans": "Scan",
    "units": "Scan.Unit",
    "trials": "Trial",
    "training_sets": "TrainingSet",
    "oracles": "Oracle.UnitScores",
    "models": "TrainedModel",
    "learning_curves": "TrainedModel.Epoch",
    "ensembles": "Ensemble",
    "unit_scores": "Ensemble.UnitScore",
    "seed_unit_scores": "TrainedModel.UnitScore",
    "meis": "MEI.Unit",
    "masks": "MEIMask.Unit",
    "diverse_meis": "DiverseMEI.Unit",
    "surrounds": "SurroundMEI.Unit",
    "gabors": "BestGabor.Unit",
    "comparisons": "ImageComparison.Response",
    "monitor_calibrations": "ProcessedMonitorCalibration",
    "stimulus_items": "StimulusSet.Item",
    "cell_matches": "BestProximityCellMatch.Unit",
    "confusion_diagonal": "ConfusionMatrix.Diagonal",
    "permutation_tests": "PermutationTest",
    "diagonal_tests": "DiagonalTest",
    "rate_maps": "AnimalRateMap.Unit",
    "model_rate_maps": "ModelRateMap.Unit",
    "neural_fits": "NeuralFit.Cell",
    "consistencies": "InterAnimalConsistency.Cell",
    "rate_distortion": "RateDistortion.Target",
    "efficient_codes": "CodeAnalysis.Code",
    "coding_exponents": "CodingExponents.PowerLaw",
    "limen_comparisons": "LimenComparison.Target",
    "context_tests": "ContextTest",
    "population_clarities": "ContextTest.Population",
    "freeze_pairs": "FreezeExperiment.Pair",
    "context_decodings": "ContextDecoding.Score",
    "feedback_controls": "FeedbackControl",
    "code_versions": "CodeVersion",
    "workers": "Worker",
}
EMPTY_IN_THE_MINIATURE = {
    "rate_distortion",
    "efficient_codes",
    "coding_exponents",
    "limen_comparisons",
    "context_tests",
    "population_clarities",
    "freeze_pairs",
    "context_decodings",
    "feedback_controls",
    "workers",
}
EMPTY_IN_THE_DEMO = {"limen_comparisons", "workers"}
COUNTS = """
import json, sys
from pipeline.database import open_database
from pipeline.sql import read_sql
from schemas import graph

open_database()
tables = graph.tables()
counts = {
    view: (int(read_sql(f"SELECT COUNT(*) AS n FROM {view}").n[0]), len(tables[table]()))
    for view, table in json.loads(sys.argv[1]).items()
}
print(json.dumps(counts))
"""


def ask(sql, *args):
    return dj.conn().query(sql, args).fetchall()


def view(name):
    return f"`{schema_of_views(Settings().prefix)}`.`{name}`"


# --- what they say of themselves


def test_every_file_is_a_view():
    assert {f.stem for f in (ROOT / "schemas" / "views").glob("*.sql")} == set(VIEWS)
    assert sum(len(names) for names in TOPICS.values()) == len(VIEWS)


def test_the_page_is_what_the_views_say():
    assert (ROOT / "docs" / "views.md").read_text() == page(), (
        "python -m schemas.views.page > docs/views.md"
    )


def test_every_column_on_the_server_is_explained(tables):
    found = {}
    rows = ask(
        "SELECT table_name, column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = %s ORDER BY table_name, ordinal_position",
        schema_of_views(Settings().prefix),
    )
    for name, column, kind in rows:
        found.setdefault(name, []).append(column)
        assert "blob" not in kind and "binary" not in kind, f"{name}.{column} is {kind}"
    assert found == {name: list(v.columns) for name, v in VIEWS.items()}
    for v in VIEWS.values():
        assert v.meaning.endswith((".", "?")), v.name
        assert all(len(meaning) > 2 for meaning in v.columns.values()), v.name


def test_columns_have_the_names_of_attributes(tables):
    attributes = {a for table in graph.tables().values() for a in table().heading.names}
    derived = {
        f"{v.name}.{column}"
        for v in VIEWS.values()
        for column in v.columns
        if column not in attributes
    }
    assert derived == {
        "scans.ingested_by", "scans.n_excluded_trials", "scans.is_virtual",
        "training_sets.recordings", "confusion_diagonal.recordings", "permutation_tests.recordings",
        "models.computed_at", "models.compute_seconds", "meis.computed_at", "meis.compute_seconds",
        "ensembles.mean_validation_score",
        "cell_matches.source_animal_id", "cell_matches.source_session",
        "cell_matches.source_scan_idx", "cell_matches.source_unit_id",
        "configurations.configuration_table", "configurations.configuration_hash",
        "configurations.params", "jobs.job_key", "jobs.status", "jobs.priority",
        "jobs.scheduled_time", "jobs.reserved_time", "jobs.completed_time", "jobs.duration",
        "jobs.error_message", "jobs.host", "jobs.pid", "workers.silent_seconds",
    }  # fmt: skip


# --- what they hold


@pytest.mark.parametrize("name", ONE_ROW_PER_ROW_OF)
def test_a_view_has_the_rows_of_its_table(populated, name):
    table = graph.tables()[ONE_ROW_PER_ROW_OF[name]]()
    shared = [a for a in table.heading.names if a in VIEWS[name].columns and _plain(table, a)]
    columns = ", ".join(f"`{a}`" for a in shared)
    rows = sorted(map(repr, ask(f"SELECT {columns} FROM {view(name)}")))
    assert rows == sorted(map(repr, ask(f"SELECT {columns} FROM {table.full_table_name}")))
    assert rows or name in EMPTY_IN_THE_MINIATURE
    assert len(shared) > 1


def test_joins_lose_and_double_no_row_of_codes_and_networks_with_feedback(miniature_demo):
    asked = {name: ONE_ROW_PER_ROW_OF[name] for name in EMPTY_IN_THE_MINIATURE - EMPTY_IN_THE_DEMO}
    counts = json.loads(miniature_demo.run(sys.executable, "-c", COUNTS, json.dumps(asked)))
    assert set(counts) == set(asked)
    for name, (n_view, n_table) in counts.items():
        assert n_view == n_table > 0, name


def _plain(table, attribute):
    # what a view takes of another table, of the same name
    renamed = {"animal_id", "session", "scan_idx", "unit_id"}
    return attribute not in renamed or attribute in table.primary_key


def test_no_table_is_left_out_of_configurations_and_jobs(populated):
    expected = {
        (table.__name__, key)
        for table in (*Configuration.__subclasses__(), ModelConfig)
        for key in table.to_arrays(*table.primary_key)
    }
    rows = ask(f"SELECT * FROM {view('configurations')}")
    assert {row[:2] for row in rows} == expected
    assert all(isinstance(json.loads(params), dict) for *_, params in rows)
    counts = dict(ask(f"SELECT job_table, COUNT(*) FROM {view('jobs')} GROUP BY job_table"))
    expected = {step.table.__name__: len(step.instance.jobs) for step in STEPS}
    assert counts == {name: n for name, n in expected.items() if n}
    step = next(step for step in STEPS if step.table.__name__ == "MEI")
    keys = ask(f"SELECT job_key FROM {view('jobs')} WHERE job_table = 'MEI'")
    jobs = step.instance.jobs
    done = sorted(jobs.keys(), key=str)
    assert done and sorted((json.loads(key) for (key,) in keys), key=str) == done


def test_what_is_counted_for_a_recording(populated):
    scans = ask(
        "SELECT animal_id, session, scan_idx, n_units, n_trials, n_excluded_trials, is_virtual, "
        f"ingested_by FROM {view('scans')} WHERE animal_id IN (1, 101)"
    )
    tables = graph.tables()
    assert {scan[0] for scan in scans} == {1, 101}
    for animal, session, scan_idx, units, trials, excluded, virtual, by in scans:
        key = {"animal_id": animal, "session": session, "scan_idx": scan_idx}
        names = ("Scan.Unit", "Trial", "ExcludedTrial", "VirtualAnimal")
        counts = [len(tables[name] & key) for name in names]
        assert [units, trials, excluded, virtual] == counts
        assert by == dj.conn().conn_info["user"]


# --- who may read them


@pytest.fixture
def reader(tables):
    """Connection of an account that may only read."""
    name = "reads-views"
    with open_accounts() as accounts:
        made = accounts.add(name, Role.READER)
    target = address(Settings())
    password = made.password_file.read_text().strip()
    yield driver_connection(type(target)(target.host, target.port, name, password))
    with open_accounts() as accounts:
        accounts.remove(name)


def test_a_reader_reads_all_views_with_his_own_rights(reader):
    with reader.cursor() as cursor:
        for name in VIEWS:
            cursor.execute(f"SELECT * FROM {view(name)} LIMIT 1")
        with pytest.raises(pymysql.err.MySQLError):
            cursor.execute(f"UPDATE {view('code_versions')} SET device = 'x'")
        with pytest.raises(pymysql.err.MySQLError):
            cursor.execute(f"DROP VIEW {view('units')}")
    schema = schema_of_views(Settings().prefix)
    security = ask(
        "SELECT DISTINCT security_type FROM information_schema.views WHERE table_schema = %s",
        schema,
    )
    assert security == (("INVOKER",),)


# --- how they are made


def test_init_makes_again_what_is_missing_or_old(tables):
    prefix = Settings().prefix
    ask(f"DROP VIEW {view('units')}")
    ask(f"CREATE OR REPLACE VIEW {view('scans')} AS SELECT 1 AS old")
    graph.create(prefix)
    assert len(ask(f"SELECT * FROM {view('units')} LIMIT 1")) <= 1
    assert "n_units" in {row[0] for row in ask(f"DESCRIBE {view('scans')}")}


def test_init_drops_views_that_the_program_does_not_have_any_more(tables):
    schema = schema_of_views(Settings().prefix)
    ask(f"CREATE VIEW {view('of_an_older_program')} AS SELECT 1 AS one")
    ask(f"CREATE TABLE {view('somebodys_notes')} (note INT)")
    try:
        graph.create(Settings().prefix)
        there = ask(
            "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = %s",
            schema,
        )
        kinds = dict(there)
        assert {name for name, kind in kinds.items() if kind == "VIEW"} == set(VIEWS)
        assert kinds["somebodys_notes"] == "BASE TABLE"  # nobody can compute that again
    finally:
        ask(f"DROP TABLE {view('somebodys_notes')}")


def test_backups_leave_the_views_out(tables):
    # restoring makes them again: test_backup.py
    assert schema_of_views(Settings().prefix) not in schema_names(Settings().prefix)


def test_the_queries_name_tables_that_exist(tables):
    for statement in statements("any_", graph.tables()):
        assert "[" not in statement
        assert "any_views" in statement
