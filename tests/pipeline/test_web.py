"""The status page: says what the database says, only reads, and takes whatever it is asked."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from html import unescape
from io import BytesIO
from urllib.error import HTTPError
from urllib.request import urlopen

import datajoint as dj
import numpy as np
import pytest
import sqlalchemy
from flask import template_rendered
from miniature import SEEDS, study
from PIL import Image
from table_digests import table_digests
from typer.testing import CliRunner
from werkzeug.exceptions import NotFound

from pipeline.accounts import Role, open_accounts
from pipeline.address import DatabaseUnavailable, address
from pipeline.cli import app as command
from pipeline.settings import Settings
from pipeline.status import status
from pipeline.study import register
from pipeline.web import create_app
from pipeline.web import reader as reading
from pipeline.web.paging import Page
from pipeline.web.pictures import png
from pipeline.web.progress import Progress
from pipeline.web.reader import Reader
from schemas.dataset import TargetDataset
from schemas.graph import STEPS
from schemas.model import ModelConfig, TrainedModel
from schemas.operations import CodeVersion, Pause, Worker

LINK = re.compile(r'(?:href|src)="([^"#]*)"')
ADDRESSES_PER_KIND = 3
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def app(populated):
    reader = Reader(Settings())
    yield create_app(reader)
    reader.close()


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def shown(app):
    """What templates were given, in the order of the requests."""
    given = []

    def note(sender, template, context, **extra):
        given.append(context)

    with template_rendered.connected_to(note, app):
        yield given


def text_of(response):
    """Return the text of a page without its tags, in one line."""
    page = re.sub(r"<(script|style|title).*?</\1>", "", response.text, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page)).split())


def endpoint_of(adapter, path):
    try:
        return adapter.match(path.partition("?")[0])[0]
    except NotFound:
        return None


def crawl(app):
    """Follow all links from the first page, a few of each kind; return status by address."""
    client, adapter = app.test_client(), app.url_map.bind("localhost")
    found, waiting, per_kind = {}, ["/"], {}
    while waiting:
        path = waiting.pop(0)
        if path in found or not path.startswith("/"):
            continue
        endpoint = endpoint_of(adapter, path)
        kind = (endpoint, tuple(sorted(re.findall(r"[?&](\w+)=", path))))
        per_kind[kind] = per_kind.get(kind, 0) + 1
        if per_kind[kind] > ADDRESSES_PER_KIND:
            continue
        response = client.get(path, buffered=True)
        found[path] = (endpoint, response.status_code)
        if response.mimetype == "text/html":
            waiting += map(unescape, LINK.findall(response.text))
    return found


# --- all pages


def test_every_page_is_linked_answers_and_changes_nothing(app):
    def query(text, args=()):
        return dj.conn().query(text, args).fetchall()

    before = table_digests(query, Settings().prefix)
    found = crawl(app)
    assert {path: code for path, (_, code) in found.items() if code != 200} == {}
    kinds = {rule.endpoint for rule in app.url_map.iter_rules()}
    assert {endpoint for endpoint, _ in found.values()} == kinds
    assert table_digests(query, Settings().prefix) == before


def test_pages_are_whole_html_with_landmarks(app, client):
    for path in crawl(app):
        response = client.get(path, buffered=True)
        if response.mimetype != "text/html":
            continue
        for part in ('<html lang="en">', "<main", "<nav", "<h1", 'href="#main"', "</html>"):
            assert part in response.text, path
        assert len(re.findall(r"<h1[ >]", response.text)) == 1, path
        for table in re.findall(r"<table.*?</table>", response.text, re.S):
            assert "<caption>" in table, path
            assert all("scope=" in th for th in re.findall(r"<th[ >][^>]*>", table)), path
        # the policy forbids what is written in the page itself
        assert not re.search(r'<script(?! src=)|<style| style="| on\w+="', response.text), path
        assert "None" not in text_of(response), path


HEADERS = {
    "Content-Security-Policy": "default-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


@pytest.mark.parametrize("path", ["/", "/jobs", "/nothing", "/jobs?page=-1", "/static/style.css"])
def test_headers_protect_the_reader(client, path):
    response = client.get(path, buffered=True)
    for name, value in HEADERS.items():
        assert value in response.headers[name]
    policy = response.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "localhos"])
def test_only_this_machine_is_asked_for(client, host):
    for headers in ({"Host": host}, {"Host": f"{host}:8000"}):
        response = client.get("/", headers=headers)
        assert response.status_code == 400
        assert "jobs done" not in response.text


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9000", "[::1]:8000", "127.8.9.1"])
def test_this_machine_has_several_names(client, host):
    assert client.get("/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["", "a b", "<x>", "[::1", ":::::"])
def test_a_host_that_is_none_is_refused(client, host):
    response = client.get("/", headers={"Host": host})
    assert response.status_code == 400
    assert "<x>" not in response.text


def test_beyond_the_loopback_any_name_will_do(app, populated):
    reader = Reader(Settings())
    client = create_app(reader, loopback_only=False).test_client()
    assert client.get("/models", headers={"Host": "lab.example"}).status_code == 200
    reader.close()


# --- only reads


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_no_page_takes_anything(app, client, method):
    for path in [*crawl_paths(app), "/nothing"]:
        response = client.open(path, method=method, data={"a": "b"})
        assert response.status_code == 405, path
        assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD"}


def crawl_paths(app):
    return sorted({rule.rule for rule in app.url_map.iter_rules() if not rule.arguments})


WRITES = (
    "INSERT INTO [Pause] (pause_reason, paused_by) VALUES ('x', 'x')",
    "UPDATE [Worker] SET n_done = 1",
    "DELETE FROM [jobs of MEI]",
    "REPLACE INTO [Pause] (pause_reason, paused_by) VALUES ('x', 'x')",
    "DROP TABLE [TrainedModel.Epoch]",
    "DROP VIEW units",
    "TRUNCATE TABLE [Worker]",
    "CREATE TABLE t (a INT)",
    "ALTER TABLE [Worker] ADD COLUMN x INT",
)


@pytest.mark.parametrize("query", WRITES)
def test_the_server_refuses_to_write_for_the_page(app, query):
    """With the account of the administrator, which may do all of it."""
    ask = app.extensions["reader"]
    with pytest.raises(sqlalchemy.exc.DBAPIError, match="READ ONLY"):
        ask.rows(query)
    with app.test_request_context(), pytest.raises(sqlalchemy.exc.DBAPIError, match="READ ONLY"):
        ask.rows(query)


def test_one_question_is_one_statement(app):
    with pytest.raises(sqlalchemy.exc.DBAPIError):
        app.extensions["reader"].rows("SELECT 1; SELECT 2")


# --- what nobody should ask for

HOSTILE = (
    "' OR '1'='1",
    "'; DROP VIEW units; --",
    "1) OR (1=1",
    SCRIPT,
    '"><img src=x onerror=alert(1)>',
    "-1",
    "0",
    "1.5",
    "NaN",
    "1e9",
    "1_0",
    "٣",
    str(10**9),
    str(10**30),
    "%00",
    "\x00",
    "../../etc/passwd",
    "{{ 7 * 7 }}",
    "[MEI]",
    ":name",
    "x" * 5000,
)
PARAMETERS = {
    "/": ("page",),
    "/jobs": ("page", "size", "table", "status"),
    "/models": ("page", "size", "model_family", "core_type", "training_status"),
}


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_parameters_are_refused_and_never_echoed_raw(client, value):
    for path, names in PARAMETERS.items():
        for name in names:
            response = client.get(path, query_string={name: value})
            assert response.status_code in ((200,) if path == "/" else (400, 404)), (path, name)
            assert "<script>alert" not in response.text
            assert "<img src=x" not in response.text
            assert "Traceback" not in response.text


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_addresses_are_not_found(client, value):
    for path in (f"/models/{value}/b/c/1", f"/models/a/b/c/{value}", f"/{value}"):
        response = client.get(path.replace("\x00", "%00"))
        assert response.status_code in (400, 404, 308), path
        assert "<script>alert" not in response.text


def test_what_is_not_there_is_a_page_that_says_so(client):
    response = client.get("/models/0/0/0/1")
    assert response.status_code == 404
    assert "There is no such trained network." in text_of(response)
    assert "There is nothing at /no/such/page." in text_of(client.get("/no/such/page"))
    assert "the last one is" in text_of(client.get("/jobs?page=999999"))


# --- without a database


def test_without_a_database_every_page_says_so_in_a_line(populated, monkeypatch):
    for name, value in (("HOST", "127.0.0.1"), ("PORT", "1"), ("USER", "eve"), ("PASS", "hush!")):
        monkeypatch.setenv(f"DJ_{name}", value)
    client = create_app(Reader(Settings())).test_client()
    for path in ("/", "/jobs", "/jobs/times", "/models", "/models/a/b/c/1", "/meis", "/units"):
        response = client.get(path)
        assert response.status_code == 503, path
        assert "no connection to the database at 127.0.0.1:1 as eve" in text_of(response)
        assert "Traceback" not in response.text
        assert "hush!" not in response.text


def test_a_question_that_takes_too_long_is_given_up(populated, monkeypatch):
    monkeypatch.setattr(reading, "STATEMENT_SECONDS", 1)
    ask = Reader(Settings())
    begin = time.monotonic()
    columns = "information_schema.columns"
    with pytest.raises(DatabaseUnavailable, match="not in time"):
        ask.rows(f"SELECT COUNT(*) FROM {columns} a, {columns} b, {columns} c WHERE RAND() > 2")
    assert time.monotonic() - begin < 10
    assert ask.one("SELECT 1 AS a") == {"a": 1}
    ask.close()


def test_a_broken_page_shows_no_stack(app, monkeypatch, caplog):
    def broken(*args, **kwargs):
        raise KeyError("secret")

    monkeypatch.setattr("pipeline.web.models.window", broken)
    response = app.test_client().get("/models")
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "secret" in caplog.text


def test_connections_are_given_back(app, client):
    for _ in range(3 * reading.CONNECTIONS):
        assert client.get("/models").status_code == 200
        assert client.get("/models/0/0/0/1").status_code == 404


# --- the overview


def same(found, expected):
    for one, other in zip(found, expected, strict=True):
        a, b = vars(one).copy(), vars(other).copy()
        assert a.pop("mean_seconds") == pytest.approx(b.pop("mean_seconds"))
        assert a == b


def test_the_counts_are_those_of_the_status(app):
    same(Progress(app.extensions["reader"]).snapshot().tables, status())


def test_so_they_are_with_work_to_do(app, recordings):
    register(study(), [recordings.insert(931)])
    found, expected = Progress(app.extensions["reader"]).snapshot(), status()
    same(found.tables, expected)
    assert found.total("pending") > 0
    assert found.total("blocked") > len(SEEDS)
    assert found.seconds_left is None
    assert found.seconds_of_work > 1
    # a new one: counts are shown again for a while
    text = text_of(create_app(app.extensions["reader"]).test_client().get("/"))
    assert "waits for" in text
    assert "No worker is alive" in text


def test_the_overview_names_all_tables(client):
    text = text_of(client.get("/"))
    for step in STEPS:
        assert re.search(rf"\b{step.table.__name__}\b", text)


@pytest.fixture
def at_work():
    """Two workers, one of which is dead, in a pause."""
    now = dj.conn().query("SELECT UTC_TIMESTAMP, UTC_TIMESTAMP - INTERVAL 5 MINUTE").fetchone()
    hosts = ("machine-a", f"machine-b{SCRIPT}")
    for host, beat, at in zip(hosts, now, ("MEI", ""), strict=True):
        Worker.insert1({"worker_host": host, "worker_pid": 17, "heartbeat": beat, "at_work_on": at,
                        "n_done": 1234})  # fmt: skip
    Pause.insert1({"pause_reason": f"backup {SCRIPT}", "paused_by": "somebody"})
    yield
    Pause.delete_quick()
    (Worker & "worker_pid = 17").delete_quick()


def test_workers_and_pauses_are_shown(client, at_work):
    response = client.get("/")
    text = text_of(response)
    assert SCRIPT not in response.text
    assert f"machine-b{SCRIPT}" in unescape(response.text)
    assert re.search(r"machine-a 17 \d+(\.\d)? m?s ago MEI", text)
    assert re.search(r"17 5 min \d+ s ago, dead", text)
    assert "Paused by somebody" in text
    assert "1 234" in text


# --- jobs


@pytest.fixture
def failed_jobs(populated):
    """Jobs that failed with a message and a stack that try to be more than text."""
    jobs = TargetDataset().jobs
    keys = [{"training_set_hash": f"{n:016x}"} for n in range(1, 4)]
    stack = f"Traceback (most recent call last):\n  {SCRIPT}\nValueError: no"
    for key in keys:
        jobs.insert1(key | {"status": "error", "priority": 5, "error_message": f"no {SCRIPT}",
                            "error_stack": stack, "host": "h", "pid": 1,
                            "completed_time": "2031-01-01"})  # fmt: skip
    yield keys
    (jobs & keys).delete_quick()


def test_errors_are_shown_with_their_stacks(client, failed_jobs):
    for path in ("/jobs?status=error", "/jobs?table=TargetDataset&status=error", "/jobs"):
        response = client.get(path)
        assert SCRIPT not in response.text
        text = text_of(response)
        assert text.count(f"no {SCRIPT}") == len(failed_jobs)
        assert f"Traceback (most recent call last): {SCRIPT} ValueError: no" in text
        assert "training_set_hash=0000000000000001" in text
    assert f"no {SCRIPT}" in text_of(client.get("/"))
    assert SCRIPT not in client.get("/").text
    assert "No jobs" in text_of(client.get("/jobs?table=MEI&status=error"))


def test_paging_covers_every_job_once(client, shown):
    pages, path = [], "/jobs?size=7&status=success"
    while path:
        response = client.get(path)
        pages.append(shown[-1]["page"])
        path = next(map(unescape, re.findall(r'href="([^"]*)" rel="next"', response.text)), None)
    found = [(j["job_table"], json.dumps(j["key"])) for page in pages for j in page.items]
    assert len(found) == len(set(found)) == pages[0].n_items
    assert pages[0].n_items == sum(len(step.instance.jobs.completed) for step in STEPS)
    times = [job["latest"] for page in pages for job in page.items]
    assert times == sorted(times, reverse=True)


def test_a_filter_of_jobs_filters(client, shown):
    client.get("/jobs?table=TrainedModel&status=success&size=200")
    page = shown[-1]["page"]
    assert {job["job_table"] for job in page.items} == {"TrainedModel"}
    expected = TrainedModel().jobs.completed.to_dicts()
    key = TrainedModel.primary_key
    assert sorted(tuple(j["key"][a] for a in key) for j in page.items) == sorted(
        tuple(j[a] for a in key) for j in expected
    )
    by_key = {tuple(j[a] for a in key): j for j in expected}
    for job in page.items:
        assert job["duration"] == by_key[tuple(job["key"][a] for a in key)]["duration"]


def test_job_times_are_those_of_the_jobs(client, shown):
    client.get("/jobs/times")
    found = {h.table: h for h in shown[-1]["histograms"]}
    for step in STEPS:
        durations = np.sort(step.instance.jobs.completed.to_arrays("duration"))
        assert (step.table.__name__ in found) == (len(durations) > 0)
        if len(durations):
            h = found[step.table.__name__]
            assert h.n == len(durations)
            assert h.longest == pytest.approx(durations[-1])
            assert h.total == pytest.approx(durations.sum())
            # the smallest that a half, or nine tenths, of the jobs do not exceed
            for value, share in ((h.median, 0.5), (h.p90, 0.9)):
                assert value == pytest.approx(durations[int(np.ceil(share * h.n)) - 1])
            assert len(h.bars) == len(np.unique(np.floor(4 * np.log10(durations.clip(1e-3)))))


# --- models


def test_models_are_listed_and_filtered(client, shown):
    for family in ("image", "navigation", "coding"):
        client.get(f"/models?model_family={family}&size=200")
        expected = TrainedModel * ModelConfig & {"model_family": family}
        key = TrainedModel.primary_key
        found = shown[-1]["page"].items
        assert sorted(tuple(m[a] for a in key) for m in found) == sorted(
            tuple(m[a] for a in key) for m in expected.to_dicts()
        )
    client.get("/models?training_status=nonfinite")
    assert shown[-1]["page"].n_items == len(TrainedModel & "training_status = 'nonfinite'") > 0


def test_a_model_has_its_curve_scores_and_origin(client, shown, populated):
    network = TrainedModel & populated.plan & {"seed": SEEDS[0]}
    key, row = network.keys()[0], network.fetch1()
    path = "/".join(str(key[a]) for a in ("training_set_hash", "model_hash", "train_hash", "seed"))
    text = text_of(client.get(f"/models/{path}"))
    epochs = (TrainedModel.Epoch & key).to_dicts(order_by="epoch")
    loss, score = shown[-1]["curve"].panels
    for panel, values in (
        (loss, [e["train_loss"] for e in epochs]),
        (score, [e["epoch_score"] for e in epochs]),
    ):
        drawn = np.array(re.findall(r"[ML](\S+) (\S+)", panel.path), float)
        assert len(drawn) == len(epochs) == row["n_epochs"]
        assert np.all(np.diff(drawn[:, 0]) > 0)
        # upwards is larger
        assert np.corrcoef(-drawn[:, 1], values)[0, 1] == pytest.approx(1, abs=1e-3)
    assert loss.best[0] == score.best[0] == drawn[row["best_epoch"] - 1, 0]
    scores = (TrainedModel.UnitScore & key).to_arrays("test_corr")
    assert f"correlation, single trials {shown[-1]['scores']['validation_corr']:.3f}" in text
    assert shown[-1]["scores"]["test_corr"] == pytest.approx(np.nanmean(scores))
    code = (CodeVersion & {"code_hash": row["code_hash"]}).fetch1()
    for word in (row["weights_sha256"], code["torch_version"], code["device"], "core.input_kern 7"):
        assert word in text


def test_a_network_that_did_not_stay_finite_says_so(client, populated):
    (key, *_) = (TrainedModel & "training_status = 'nonfinite'").keys()
    path = "/".join(str(key[a]) for a in ("training_set_hash", "model_hash", "train_hash", "seed"))
    assert "did not stay finite" in text_of(client.get(f"/models/{path}"))


# --- pages and pictures


def test_pages_of_a_list(app):
    with app.test_request_context("/jobs?table=MEI&page=2"):
        page = Page(range(10), 2, 10, 35)
        assert (page.first, page.last, page.n_pages) == (11, 20, 4)
        assert page.next == "/jobs?table=MEI&page=3"
        assert page.previous == "/jobs?table=MEI&page=1"
        assert Page(range(5), 4, 10, 35).next is None
        empty = Page([], 1, 10, 0)
        assert (empty.n_pages, empty.first, empty.last, empty.next) == (1, 0, 0, None)


def test_a_picture_of_bytes_has_those_bytes():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    assert np.array_equal(np.asarray(Image.open(BytesIO(png(image)))), image)
    colour = np.stack([image] * 3, axis=-1)
    assert np.array_equal(np.asarray(Image.open(BytesIO(png(colour)))), colour)


def test_other_values_are_scaled():
    def grey(image, *limits):
        return np.asarray(Image.open(BytesIO(png(np.array(image), *limits)))).tolist()

    assert grey([[-1.0, 1.0]]) == [[0, 255]]
    assert grey([[0.0, 51.0, 255.0, 300.0]], 0, 255) == [[0, 51, 255, 255]]
    assert grey([[2.0, 2.0]]) == [[128, 128]]
    assert grey([[0.0, np.nan, 1.0, np.inf]]) == [[0, 128, 255, 128]]
    assert grey([[np.nan]]) == [[128]]
    for wrong in (np.zeros(3), np.zeros((0, 3)), np.zeros((2, 2, 4))):
        with pytest.raises(ValueError, match="shape"):
            png(wrong)


# --- the command


def refused(*words):
    result = CliRunner().invoke(command, ["web", *words])
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line


def test_a_port_that_is_taken_is_one_line(populated):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"cannot listen at 127.0.0.1, port {port}: Address already in use" in refused(
            "--port", port
        )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2"])
def test_the_network_is_refused_unless_asked_for(populated, host):
    assert "--no-password" in refused("--host", host, "--port", "0")


def test_a_host_that_is_none_is_one_line(populated):
    assert "cannot listen" in refused("--host", "no.such.host.invalid", "--no-password")


@pytest.fixture
def as_reader(populated, database):
    """The environment of somebody who may only read."""
    target = address(Settings())
    with open_accounts() as accounts:
        made = accounts.add("looks", Role.READER)
    yield os.environ | {
        "DJ_HOST": target.host,
        "DJ_PORT": str(target.port),
        "DJ_USER": "looks",
        "DJ_PASS": made.password_file.read_text().strip(),
    }
    with open_accounts() as accounts:
        accounts.remove("looks")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_reader_can_start_it_and_end_it(as_reader, end):
    words = [sys.executable, "-m", "pipeline.cli", "web", "--port", "0"]
    with subprocess.Popen(words, env=as_reader, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = re.match(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())[0]
            with urlopen(url) as answer:
                assert answer.status == 200
                assert "jobs done" in answer.read().decode()
            with pytest.raises(HTTPError, match="404"):
                urlopen(f"{url}nothing")
            process.send_signal(end)
            assert process.wait(10) == 0
        finally:
            process.kill()
