"""`inceptionloop sql`, its helper, and the cookbook: SQL and DataJoint give the same answers."""

import math
import re
import sys
from decimal import Decimal
from io import StringIO
from pathlib import Path

import datajoint as dj
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipeline.accounts import Role, open_accounts
from pipeline.address import DatabaseUnavailable, address
from pipeline.cli import app
from pipeline.commands.sql import ROWS_SHOWN
from pipeline.settings import Settings
from pipeline.sql import BadQuery, read_sql
from schemas.dataset import TargetDataset
from schemas.recording import Scan
from schemas.reliability import Oracle
from schemas.views import VIEWS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sql.md").read_text()
QUESTION = re.compile(r"^## (\d+\. .+?)\n(.*?)(?=^## |\Z)", re.M | re.S)
QUESTIONS = dict(QUESTION.findall(PAGE))
EMPTY_IN_THE_MINIATURE = "14. How far are efficient codes from the optimum at each rate?"


def call(*words, **options):
    return CliRunner().invoke(app, ["sql", *map(str, words)], **options)


def refused(*words, **options):
    """Return the one line of an error."""
    result = call(*words, **options)
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line


# --- the cookbook


def block(title, language):
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", QUESTIONS[title], re.M | re.S)
    return text


def rows(frame):
    """Return rows of plain values, numbers rounded, in an order of their own."""
    return sorted(tuple(map(plain, row)) for row in frame.itertuples(index=False, name=None))


def plain(value):
    if pd.isna(value):
        return "null"
    if isinstance(value, Decimal | float | int) or hasattr(value, "dtype"):
        return f"{float(value):.9g}" if math.isfinite(float(value)) else str(value)
    return str(value)


def test_there_are_fifteen_questions():
    assert [int(title.partition(".")[0]) for title in QUESTIONS] == list(range(1, 16))


@pytest.mark.parametrize("title", QUESTIONS)
def test_sql_and_datajoint_answer_alike(populated, title):
    frame = read_sql(block(title, "sql"))
    names = {"dj": dj}
    exec(compile(block(title, "python"), title, "exec"), names)
    answer = pd.DataFrame(names["answer"], dtype=object)
    assert len(frame) == len(answer)
    assert len(frame) or title == EMPTY_IN_THE_MINIATURE
    if len(frame):
        assert rows(frame) == rows(answer[list(frame.columns)])


def test_the_page_names_only_what_exists(populated):
    named = set(re.findall(r"(?:FROM|JOIN) ([a-z_]+)", PAGE))
    assert named <= set(VIEWS)
    assert len(named) > 12


# --- the helper


def test_values_keep_their_types(populated):
    frame = read_sql("SELECT animal_id, AVG(n_units) AS mean, MAX(ingested_at) AS latest, "
                     "MAX(reader) AS reader FROM scans GROUP BY animal_id")  # fmt: skip
    assert frame["animal_id"].dtype == "int64"
    assert frame["mean"].dtype == "float64"
    assert frame["latest"].dtype.kind == "M"
    assert set(frame["animal_id"]) >= {1, 101}


def test_parameters_are_no_part_of_the_query(populated):
    query = "SELECT COUNT(*) AS n FROM scans WHERE reader = :reader"
    assert read_sql(query, {"reader": "' OR '1' = '1"})["n"].tolist() == [0]
    (key,) = Scan.keys(limit=1)
    reader = (Scan & key).fetch1("reader")
    assert read_sql(query, {"reader": reader})["n"].tolist() == [len(Scan & {"reader": reader})]


def test_percent_and_colon_are_themselves(tables):
    assert read_sql("SELECT '%s %% :x' AS a, 7 % 4 AS b").values.tolist() == [["%s %% :x", 3]]
    frame = read_sql("SELECT '50 %' AS a, :x AS b", {"x": "100 %"})
    assert frame.values.tolist() == [["50 %", "100 %"]]


def test_no_rows_have_columns(tables):
    frame = read_sql("SELECT animal_id, n_units FROM scans WHERE 1 = 0")
    assert (list(frame.columns), len(frame)) == (["animal_id", "n_units"], 0)


def test_text_is_unicode(tables):
    assert read_sql("SELECT 'µ 😀' AS a")["a"].tolist() == ["µ 😀"]


def test_all_tables_can_be_read_by_their_own_names(populated):
    frame = read_sql("SELECT * FROM test_recording.scan")
    assert len(frame) == len(Scan())


# --- it only reads

WRITES = (
    "UPDATE test_recording.scan SET reader = 'x'",
    "DELETE FROM test_recording.scan",
    "INSERT INTO test_recording.rig (rig) VALUES ('x')",
    "DROP VIEW units",
    "CREATE TABLE test_recording.t (a INT)",
    "TRUNCATE test_recording.scan",
    "SET GLOBAL max_connections = 1",
    "SET SESSION TRANSACTION READ WRITE",
    "GRANT ALL ON *.* TO reader",
    "SHUTDOWN",
    "CALL x()",
    "/* SELECT */ DELETE FROM test_recording.scan",
    "/*! DELETE */ FROM test_recording.scan",
    "-- SELECT\nDELETE FROM test_recording.scan",
    "",
    " ; ",
    "(DELETE FROM test_recording.scan)",
)


@pytest.mark.parametrize("query", WRITES)
def test_what_does_not_read_is_refused(tables, query):
    with pytest.raises(BadQuery, match="does not only read"):
        read_sql(query)


@pytest.mark.parametrize(
    "query",
    [
        "WITH a AS (SELECT 1 AS n) DELETE test_recording.rig FROM test_recording.rig JOIN a",
        "SELECT 1; DROP VIEW units",
        "SELECT 1; SELECT 2",
        "SELECT * FROM units; --\n DELETE FROM test_recording.scan",
        "EXPLAIN ANALYZE UPDATE test_recording.scan SET reader = 'x'",
        "SELECT 1 INTO @a",
    ],
)
def test_nor_does_anything_that_begins_like_a_query(populated, query):
    before = len(Scan())
    with pytest.raises(BadQuery):
        read_sql(query)
    assert len(Scan()) == before
    assert len(read_sql("SELECT * FROM units LIMIT 1")) == 1


def test_the_server_itself_refuses_writes(tables, monkeypatch):
    """Were the first word not looked at, the transaction would be read-only all the same."""
    monkeypatch.setattr("pipeline.sql.READS", ("UPDATE", "DROP", "INSERT"))
    for query in (
        "UPDATE test_recording.scan SET reader = 'x'",
        "INSERT INTO test_recording.rig (rig) VALUES ('x')",
        "DROP VIEW units",
    ):
        with pytest.raises(BadQuery, match="READ ONLY"):
            read_sql(query)


# --- errors


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT nothing FROM units", "'nothing'"),
        ("SELECT * FROM no_such_view", "There are the views scans, units"),
        ("SELECT FROM WHERE", "syntax"),
        ("SELECT 1 / (", "syntax"),
        ("SELECT '\udcff'", "UTF-8"),
        ("UPDATE units SET layer = 1", "does not only read"),
    ],
)
def test_a_wrong_query_is_one_clear_line(tables, query, said):
    assert said in refused(query)


def test_a_server_that_does_not_answer(tables, monkeypatch):
    for name, value in (("HOST", "127.0.0.1"), ("PORT", "1"), ("USER", "eve"), ("PASS", "hush!")):
        monkeypatch.setenv(f"DJ_{name}", value)
    line = refused("SELECT 1")
    assert "no connection to the database at 127.0.0.1:1 as eve" in line
    assert "hush!" not in line


def test_without_views_it_says_what_makes_them(tables, monkeypatch):
    monkeypatch.setenv("INCEPTIONLOOP_PREFIX", "nowhere_")
    with pytest.raises(DatabaseUnavailable, match=r"'nowhere_views'.*`inceptionloop init`"):
        read_sql("SELECT 1")


def test_without_the_packages_it_says_what_installs_them(tables, monkeypatch):
    monkeypatch.setitem(sys.modules, "MySQLdb", None)
    assert "pip install 'inceptionloop[sql]'" in refused("SELECT 1")


@pytest.fixture
def as_reader(tables, monkeypatch):
    """The environment of somebody who may only read."""
    target = address(Settings())
    with open_accounts() as accounts:
        made = accounts.add("asks", Role.READER)
    environment = {
        "DJ_HOST": target.host,
        "DJ_PORT": str(target.port),
        "DJ_USER": "asks",
        "DJ_PASS": made.password_file.read_text().strip(),
    }
    with monkeypatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield patch
    with open_accounts() as accounts:
        accounts.remove("asks")


def test_a_reader_needs_no_more(as_reader):
    assert read_sql("SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1) AS a")["a"].tolist() == ["asks"]
    assert len(read_sql("SELECT * FROM scans LIMIT 1").columns) == len(VIEWS["scans"].columns)


def test_localhost_is_not_a_socket(as_reader):
    as_reader.setenv("DJ_HOST", "localhost")
    assert read_sql("SELECT 1 AS a")["a"].tolist() == [1]


def test_where_tls_is_required_nothing_goes_in_plain_text(as_reader):
    """MySQL makes itself a certificate, MariaDB 10.11 has none."""
    as_reader.setenv("DJ_USE_TLS", "true")
    try:
        frame = read_sql("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
    except DatabaseUnavailable as error:
        assert "TLS is required" in str(error)
    else:
        assert frame["Value"][0]


def test_a_certificate_that_nobody_vouches_for_is_refused(as_reader, tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    as_reader.setenv("DJ_TLS_CA", str(tmp_path / "ca.pem"))
    with pytest.raises(DatabaseUnavailable, match=r"TLS"):
        read_sql("SELECT 1")


# --- the command


def test_a_table_in_the_terminal(populated):
    result = call("SELECT animal_id, 1.5 AS a, NULL AS b, '[bold]' AS c FROM scans LIMIT 2")
    assert result.exit_code == 0, result.output
    for word in ("animal_id", "1.5", "null", "[bold]", "2 rows"):
        assert word in result.stdout


def test_what_is_too_wide_for_the_terminal_is_shown_one_by_one(populated):
    result = call("SELECT * FROM meis LIMIT 2")
    assert result.exit_code == 0, result.exception
    lines = result.stdout.splitlines()
    for column in VIEWS["meis"].columns:
        assert sum(line.split()[:1] == [column] for line in lines) == 2


def test_long_answers_are_cut_and_say_so(populated):
    n = len(read_sql("SELECT * FROM trials"))
    assert n > ROWS_SHOWN
    text = call("SELECT trial_idx FROM trials").stdout
    assert f"{n} rows, the last {n - ROWS_SHOWN} not shown: --csv" in text


def test_without_a_query_it_lists_the_views(tables):
    text = call().stdout
    assert all(name in text for name in VIEWS)


def test_a_query_from_standard_input(populated):
    assert "41" in call("-", input="SELECT 40 + 1 AS a").stdout


def test_csv_in_a_file_and_on_standard_output(populated, tmp_path):
    query = "SELECT animal_id, session, scan_idx, reader, oracle FROM scans LEFT JOIN " \
            "oracles USING (animal_id, session, scan_idx) ORDER BY 1, 2, 3, unit_id"  # fmt: skip
    file = tmp_path / "scans.csv"
    assert f"rows in {file}" in call(query, "--csv", file).stdout.replace("\n", "")
    expected = read_sql(query)
    pd.testing.assert_frame_equal(pd.read_csv(file), expected, check_dtype=False)
    text = call(query, "--csv", "-").stdout
    pd.testing.assert_frame_equal(pd.read_csv(StringIO(text)), expected, check_dtype=False)


def test_parquet_keeps_types_and_what_is_missing(populated, tmp_path):
    query = "SELECT animal_id, reader, ingested_at, oracle, 'µ' AS text, NULL AS nothing, " \
            "1.5 AS half FROM scans LEFT JOIN oracles USING (animal_id, session, scan_idx) " \
            "ORDER BY animal_id, session, scan_idx, unit_id"  # fmt: skip
    file = tmp_path / "scans.parquet"
    result = call(query, "--parquet", file)
    assert result.exit_code == 0, result.output
    types = {field.name: str(field.type) for field in pq.read_schema(file)}
    assert types.pop("ingested_at").startswith("timestamp")
    assert {name: kind.removeprefix("large_") for name, kind in types.items()} == {
        "animal_id": "int64",
        "reader": "string",
        "oracle": "double",
        "text": "string",
        "nothing": "null",
        "half": "double",
    }
    written = pq.read_table(file)
    oracles = (Scan.proj() * TargetDataset.Unit * Oracle.UnitScores).to_arrays("oracle")
    missing = sum(value is None for value in written["oracle"].to_pylist())
    assert len(written) - missing == sum(value is not None for value in oracles) > 0
    assert missing > 0  # of the later days, and the rats
    expected = read_sql(query)
    assert written["ingested_at"].to_pylist() == expected["ingested_at"].to_list()
    pd.testing.assert_frame_equal(pd.read_parquet(file), expected, check_dtype=False)


def test_without_pyarrow_it_says_what_installs_it(tables, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    file = tmp_path / "one.parquet"
    assert "pip install 'inceptionloop[parquet]'" in refused("SELECT 1", "--parquet", file)
    assert not file.exists()


def test_a_file_that_cannot_be_written(tables, tmp_path):
    for kind in ("csv", "parquet"):
        line = refused("SELECT 1", f"--{kind}", tmp_path / "no" / f"file.{kind}")
        assert "cannot be written" in line
