"""Galleries, unit pages, matrices, views and provenance say what the database says."""

import csv
import html
import math
import re
from base64 import b64decode
from io import BytesIO, StringIO
from itertools import groupby
from xml.etree import ElementTree

import numpy as np
import pytest
from miniature import DAY_1, DAY_2, RATS, all_tables
from PIL import Image

from pipeline.explain import explain
from pipeline.settings import Settings
from pipeline.sql import read_sql
from pipeline.web import create_app
from pipeline.web.briefly import SECONDS, briefly
from pipeline.web.colours import COLOURS, UNKNOWN, coloured
from pipeline.web.images import KINDS
from pipeline.web.keys import KEYS, MEI, key_of
from pipeline.web.rate_maps import CELL, LAYER, NETWORK_UNIT
from pipeline.web.reader import Reader
from schemas.closed_loop import ConfusionMatrix, DiagonalTest, PermutationTest
from schemas.comparison import ImageComparison
from schemas.dataset import TargetDataset
from schemas.gabor import BestGabor
from schemas.mei import MEI as MEITable
from schemas.mei import MEIMask, MEIMethod
from schemas.model import Ensemble
from schemas.navigation import AnimalRateMap, ModelRateMap
from schemas.recording import Scan
from schemas.reliability import Oracle
from schemas.views import VIEWS

HOSTILE = (
    "' OR '1'='1",
    "<script>alert(1)</script>",
    "1; DROP TABLE x",
    "%",
    "-1",
    "NaN",
    "9" * 5000,
)


@pytest.fixture(scope="module")
def client(populated):
    """A client of the application on the miniature."""
    reader = Reader(Settings())
    yield create_app(reader).test_client()
    reader.close()


@pytest.fixture
def page(client):
    """Fetches a page that is there, as text without escapes."""

    def fetch(path, **query):
        answer = client.get(path, query_string=query)
        assert answer.status_code == 200, answer.text
        return html.unescape(answer.text)

    return fetch


@pytest.fixture
def picture(client):
    """Fetches a PNG as an array."""

    def fetch(path, **query):
        answer = client.get(path, query_string=query)
        assert (answer.status_code, answer.mimetype) == (200, "image/png"), answer.text
        return np.asarray(Image.open(BytesIO(answer.data)))

    return fetch


def tiles(text):
    """Return the keys of the MEIs of a gallery page, in order."""
    found = re.findall(r'href="/units/1-1-1/\d+#mei-([^"]*)"', text)
    assert len(found) == text.count('class="tile"')
    return [tuple(anchor.split("-")) for anchor in found]


def tile(row):
    """Return how `tiles` names a row."""
    return tuple(str(row[name]) for name in MEI)


def every_mei():
    """Return all MEIs with the scores of their units."""
    units = MEITable.Unit.proj("mei_activation", "mei_status") * TargetDataset.Unit
    scored = units * Ensemble.UnitScore.proj("ensemble_validation_corr")
    return scored.to_dicts(order_by="KEY")


# --- keys that are written down in the code


def test_keys_are_those_of_the_tables(populated):
    tables = all_tables()
    written = KEYS | {kind.table: kind.key for kind in KINDS.values()}
    written |= {"AnimalRateMap.Unit": CELL, "ModelRateMap.Layer": LAYER}
    written |= {"ModelRateMap.Unit": NETWORK_UNIT}
    for name, key in written.items():
        assert set(key) == set(tables[name].primary_key), name
    for kind in KINDS.values():
        assert tables[kind.table]().heading[kind.column].codec is not None


# --- the gallery


def test_pages_of_the_gallery_hold_every_mei_once(page):
    rows = every_mei()
    assert len(rows) >= 10
    n_all = len(MEITable.Unit())
    pages = range(1, math.ceil(n_all / 3) + 1)
    found = [t for number in pages for t in tiles(page("/meis", size=3, page=number))]
    assert sorted(found) == sorted(map(tile, MEITable.Unit.keys()))
    assert f"of {n_all} MEIs" in page("/meis", size=3)


@pytest.mark.parametrize(
    ("sort", "column"),
    [("activation", "mei_activation"), ("correlation", "ensemble_validation_corr")],
)
def test_the_gallery_is_sorted(page, sort, column):
    values = {tile(row): row[column] for row in every_mei()}
    shown = [values[t] for t in tiles(page("/meis", sort=sort, size=200))]
    known = [-math.inf if v is None or math.isnan(v) else v for v in shown]
    assert len(known) >= 10
    assert known == sorted(known, reverse=True)
    assert len(set(known)) > 3


def test_the_gallery_is_sorted_by_unit(page):
    units = {tile(row): row["unit_id"] for row in every_mei()}
    shown = [units[t] for t in tiles(page("/meis", sort="unit", size=200))]
    assert shown == sorted(shown)


def test_filters_choose_what_they_say(page):
    rows = every_mei()
    middle = sorted(row["ensemble_validation_corr"] or 0 for row in rows)[len(rows) // 2]
    methods = {row["mei_hash"]: row for row in MEIMethod.to_dicts()}
    first = rows[0]
    ensemble = "-".join(first[name] for name in KEYS["Ensemble"])
    cases = {
        "least": (middle, lambda row: (row["ensemble_validation_corr"] or -9) >= middle),
        "excite": ("least", lambda row: methods[row["mei_hash"]]["excite"] == "least"),
        "method": (first["mei_hash"], lambda row: row["mei_hash"] == first["mei_hash"]),
        "selection": (
            first["selection_hash"],
            lambda row: row["selection_hash"] == first["selection_hash"],
        ),
        "ensemble": (
            ensemble,
            lambda row: key_of(row, KEYS["Ensemble"]) == key_of(first, KEYS["Ensemble"]),
        ),
        "recording": ("1-1-1", lambda row: row["animal_id"] == 1),
        "status": ("ok", lambda row: row["mei_status"] == "ok"),
    }
    for name, (value, chosen) in cases.items():
        expected = sorted(tile(row) for row in rows if chosen(row))
        assert sorted(tiles(page("/meis", size=200, **{name: value}))) == expected, name
    assert 0 < sum(map(cases["least"][1], rows)) < len(rows)
    assert 0 < sum(map(cases["ensemble"][1], rows)) < len(rows)
    # an animal, one that has none, and nothing at all
    assert sorted(tiles(page("/meis", size=200, recording="1"))) == sorted(map(tile, rows))
    assert tiles(page("/meis", recording="77-1-1")) == []
    dead = [tile(row) for row in rows if row["mei_status"] == "dead"]
    assert sorted(tiles(page("/meis", status="dead"))) == sorted(dead)
    assert len(tiles(page("/meis", size=200, least="", recording="", sort=""))) == len(rows)


def test_a_tile_says_what_the_database_says(page, client):
    row = max(every_mei(), key=lambda row: row["mei_activation"])
    text = page("/meis", sort="activation", size=1)
    assert f"1-1-1 unit {row['unit_id']}" in text
    assert f'href="/units/1-1-1/{row["unit_id"]}#mei-' in text
    assert f"activation {row['mei_activation']:.2f}".replace("-", "\u2212") in text
    alt = re.search(r'<img [^>]*alt="([^"]*)"', text)[1]
    assert alt.startswith(f"MEI of unit {row['unit_id']} of recording 1-1-1, most exciting")
    masks = (MEIMask.Unit & key_of(row, MEI)).to_arrays("mei_mask")
    outlined = any((mask > 0.5).any() for mask in masks)
    assert ("with the edge of its mask" in alt) == outlined
    assert bool(re.search(r'<path d="M[0-9. LM-]+"', text)) == outlined
    # the very picture that the page of the unit has
    source = b64decode(re.search(r'src="data:image/png;base64,([^"]*)"', text)[1])
    assert source == client.get("/images/mei.png", query_string=key_of(row, MEI)).data


# --- images


@pytest.mark.parametrize("kind", KINDS)
def test_a_png_is_the_stored_image(picture, client, kind):
    table = all_tables()[KINDS[kind].table]
    column = KINDS[kind].column
    for row in table.proj(column).to_dicts(order_by="KEY", limit=5):
        key, image = key_of(row, KINDS[kind].key), row[column]
        if image is None:
            assert client.get(f"/images/{kind}.png", query_string=key).status_code == 404
            continue
        centre = 0.0 if KINDS[kind].is_field else np.float64(image.mean())
        full = picture(f"/images/{kind}.png", **key)
        assert full.shape == image.shape
        farthest = np.abs(image - centre).max() or 1.0
        expected = 127.5 * (1 + (image - centre) / farthest)
        assert np.abs(full - expected).max() <= 0.51
        if not KINDS[kind].is_field:
            stored = picture(f"/images/{kind}.png", **key, grey="stored")
            assert np.abs(stored - image.clip(0, 255)).max() <= 0.5
            assert stored.std() == pytest.approx(image.std(), abs=0.6)


def test_there_are_images_of_most_kinds(populated):
    filled = [kind for kind, k in KINDS.items() if all_tables()[k.table]()]
    assert set(filled) >= {"mei", "diverse", "surround", "best_gabor", "natural", "compared"}


def test_a_picture_is_kept_by_the_browser(client):
    key = key_of(every_mei()[0], MEI)
    first = client.get("/images/mei.png", query_string=key)
    assert "immutable" in first.headers["Cache-Control"]
    again = client.get(
        "/images/mei.png", query_string=key, headers={"If-None-Match": first.headers["ETag"]}
    )
    assert (again.status_code, again.data) == (304, b"")


# --- units


def test_units_are_listed_once(page):
    n_units = len(Scan.Unit())
    found = []
    for number in range(1, math.ceil(n_units / 20) + 1):
        found += re.findall(r'href="/units/([\d-]+)/(\d+)"', page("/units", size=20, page=number))
    expected = [(f"{a}-{s}-{i}", str(u)) for a, s, i, u in map(dict.values, Scan.Unit.keys())]
    assert sorted(found) == sorted(expected)


def test_units_of_a_recording_and_the_best_first(page):
    found = re.findall(r'href="/units/([\d-]+)/(\d+)"', page("/units", recording="1-2-1", size=200))
    assert {name for name, _ in found} == {"1-2-1"}
    assert len(found) == len(Scan.Unit & DAY_2)
    text = page("/units", sort="correlation", size=1)
    best = max(Ensemble.UnitScore.to_arrays("ensemble_validation_corr"))
    assert f"{best:.2f}" in text


def test_the_page_of_a_unit(page, populated):
    row = next(r for r in every_mei() if r["model_hash"] == populated.plan["model_hash"])
    key = key_of(row, MEI)
    text = page(f"/units/1-1-1/{row['unit_id']}")
    unit = {"training_set_hash": row["training_set_hash"], "unit_index": row["unit_index"]}
    for score in (Oracle.UnitScores & unit).to_arrays("cc_max"):
        assert f">{score:.4g}<" in text
    for score in (Ensemble.UnitScore & unit).to_arrays("ensemble_test_corr"):
        assert f">{score:.2f}".replace("-", "\u2212") in text
    assert f'id="mei-{"-".join(tile(row))}"' in text
    (compared,) = (ImageComparison.Response & key & {"image_kind": "mei"}).to_dicts(limit=1)
    assert f">{compared['compared_response']:.3f}<".replace("-", "\u2212") in text
    (gabor,) = (BestGabor.Unit & unit & {"model_hash": row["model_hash"]}).to_dicts(limit=1)
    activation = f"{gabor['best_activation']:.3f}".replace("-", "\u2212")
    assert f"best Gabor of the grid, activation {activation}" in text


def test_the_page_of_a_unit_shows_every_kind_of_image_that_there_is(page):
    shown = set()
    for unit_index, rows in groupby(sorted(every_mei(), key=by_unit), by_unit):
        found = list(rows)
        if any(row["mei_status"] != "ok" for row in found):
            continue
        text = page(f"/units/1-1-1/{found[0]['unit_id']}")
        unit = {"training_set_hash": found[0]["training_set_hash"], "unit_index": unit_index}
        expected = {
            name
            for name, kind in KINDS.items()
            if all_tables()[kind.table] & unit & f"{kind.column} IS NOT NULL"
        }
        assert set(re.findall(r'src="/images/(\w+)\.png', text)) == expected
        shown |= expected
    assert shown == set(KINDS) - {"recorded_gabor"}


def by_unit(row):
    return row["unit_index"]


def test_the_page_of_a_unit_leads_to_the_loop(page, client):
    row = ConfusionMatrix.Diagonal.to_dicts(order_by="KEY", limit=1)[0]
    source = (TargetDataset.Unit & row).fetch1()
    text = page(f"/units/1-1-1/{source['unit_id']}")
    links = re.findall(r'href="(/matrices/[^"]+)"', text)
    key = [row[name] for name in ConfusionMatrix.primary_key]
    assert f"/matrices/{'/'.join(key)}" in links
    tested = DiagonalTest.Unit & key_of(source, ("training_set_hash", "unit_index"))
    assert bool(tested) == ("Benjamini-Hochberg" in text)
    # every link of the page leads somewhere
    for link in set(re.findall(r'(?:href|src)="(/(?!static)[^"]+)"', text)) - set(NOT_MINE):
        assert client.get(link).status_code == 200, link


NOT_MINE = ("/", "/jobs", "/models")


# --- matrices


def matrix_path(key):
    return "/matrices/" + "/".join(key[name] for name in ConfusionMatrix.primary_key)


def test_every_matrix_is_listed_and_has_a_page(page):
    text = page("/matrices", size=200)
    for key in ConfusionMatrix.keys(order_by="KEY"):
        assert f'href="{matrix_path(key)}"' in text
    key = ConfusionMatrix.keys(order_by="KEY", limit=1)[0]
    shown = page(matrix_path(key))
    for row in (ConfusionMatrix.Diagonal * TargetDataset.Unit & key).to_dicts():
        assert f'href="/units/1-1-1/{row["unit_id"]}"' in shown
        if row["diagonal_response"] is not None:
            assert f">{row['diagonal_response']:.3f}<".replace("-", "\u2212") in shown
    test = (PermutationTest & key).fetch1()
    if test["permutation_p"] is not None:
        assert f"p = {test['permutation_p']:.1g}" in shown
    for row in (DiagonalTest & key).to_dicts():
        assert f">{row['n_compared']}<" in shown


def test_the_heat_map_is_the_matrix(picture):
    for key in ConfusionMatrix.keys(order_by="KEY", limit=4):
        mean = (ConfusionMatrix & key).fetch1("confusion_mean")
        image = picture(f"{matrix_path(key)}.png").astype(float)
        assert image.shape == (*mean.shape, 3)
        known = np.isfinite(mean)
        # ever darker
        order = np.argsort(mean[known], kind="stable")
        assert (np.diff(image[known].sum(-1)[order]) <= 1.5).all()
        assert (image[known].sum(-1)[order[0]] > image[known].sum(-1)[order[-1]]) or (
            np.ptp(mean[known]) == 0
        )
        assert (image[~known] == UNKNOWN).all()


def test_colours_end_where_values_do():
    image = coloured(np.array([[1.0, 3.0], [np.nan, 2.0]]))
    assert (image[0, 0] == COLOURS[0]).all() and (image[0, 1] == COLOURS[-1]).all()
    assert (image[1, 0] == UNKNOWN).all()
    assert (image[1, 1] == COLOURS[len(COLOURS) // 2]).all()
    assert (coloured(np.zeros((2, 2))) == COLOURS[0]).all()
    assert (coloured(np.full((2, 2), np.nan)) == UNKNOWN).all()


# --- rate maps


def test_a_rate_map_is_the_stored_one(picture):
    key = AnimalRateMap.keys(order_by="KEY", limit=1)[0]
    stored = np.asarray((AnimalRateMap & key).fetch1("rate_maps"))
    units = (Scan.Unit & key).to_arrays("unit_id", order_by="unit_id").tolist()
    for place, unit in enumerate(units):
        image = picture("/rate-maps/cell.png", **key, unit_id=unit)
        rates = stored[..., place]
        peak = np.unravel_index(np.nanargmax(rates), rates.shape)
        # x to the right, y up
        at = (rates.shape[1] - 1 - peak[1], peak[0])
        assert image.shape == (*rates.T.shape, 3)
        assert (image[at] == COLOURS[-1]).all()
        assert ((image == UNKNOWN).all(-1) == np.isnan(rates).T[::-1]).all()


def test_galleries_of_rate_maps(page, client):
    text = page("/rate-maps", size=200)
    assert text.count('src="/rate-maps/cell.png') == len(AnimalRateMap.Unit())
    assert all(f"/units/{rat['animal_id']}-1-1/" in text for rat in RATS)
    n_units = len(ModelRateMap.Unit())
    text = page("/rate-maps/networks", size=200)
    found = re.findall(r'src="(/rate-maps/unit[^"]+)"', text)
    assert len(found) == len(set(found)) == min(n_units, 200)
    assert client.get(found[0]).mimetype == "image/png"


# --- views


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_has_a_page_with_its_rows(page, name):
    text = page(f"/views/{name}", size=200)
    assert VIEWS[name].meaning in text
    n_rows = int(read_sql(f"SELECT COUNT(*) AS n FROM {name}")["n"][0])
    body = re.search(r"<tbody>(.*?)</tbody>", text, re.S)[1]
    assert body.count("<tr>") == min(n_rows, 200)
    for column in VIEWS[name].columns:
        assert f">{column}<" in text


def csv_rows(client, name, **query):
    answer = client.get(f"/views/{name}.csv", query_string=query)
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")
    return list(csv.DictReader(StringIO(answer.text)))


def test_a_view_as_csv_is_sorted_and_chosen(client):
    every = csv_rows(client, "unit_scores")
    assert len(every) == len(Ensemble.UnitScore())
    assert list(every[0]) == list(VIEWS["unit_scores"].columns)
    down = csv_rows(client, "unit_scores", sort="ensemble_test_corr", order="down")
    values = [float(row["ensemble_test_corr"] or "-inf") for row in down]
    assert values == sorted(values, reverse=True)
    unit = every[0]["unit_id"]
    chosen = csv_rows(client, "unit_scores", unit_id=unit)
    assert chosen == [row for row in every if row["unit_id"] == unit]
    assert 0 < len(chosen) < len(every)
    assert csv_rows(client, "unit_scores", model_hash="nothing") == []
    reader = (Scan & DAY_1).fetch1("reader")
    assert len(csv_rows(client, "scans", reader=reader)) == len(Scan & {"reader": reader})


def test_pages_of_a_view_hold_every_row_once(page):
    # many rows are equal in what they are sorted by
    n_rows, found = len(MEIMask.Unit()), []
    for number in range(1, math.ceil(n_rows / 4) + 1):
        text = page("/views/masks", sort="mask_status", size=4, page=number)
        found += re.findall(r"<tr>(.*?)</tr>", text.partition("<tbody>")[2], re.S)
    assert len(found) == len(set(found)) == n_rows


def test_the_form_of_a_view_leads_to_its_condition(client):
    answer = client.get("/views/units?column=unit_id&value=3&sort=unit_id&page=2")
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/views/units?sort=unit_id&unit_id=3"
    assert client.get("/views/units?column=x&value=3").status_code == 400
    hostile = "column=unit_id&value=3&name=x&_external=1&_method=POST&_scheme=javascript"
    answer = client.get(f"/views/units?{hostile}")
    assert answer.headers["Location"] == "/views/units?unit_id=3"


def test_views_too_large_to_sort_are_shown_in_part(client, page, monkeypatch):
    monkeypatch.setattr("pipeline.web.views.MOST_SORTED", 5)
    assert "There are more than 5 rows" in page("/views/trials")
    assert client.get("/views/trials?sort=trial_idx").status_code == 400
    assert client.get("/views/trials?page=2").status_code == 400
    assert len(csv_rows(client, "scans", animal_id=1)) == 3


def test_what_is_asked_again_at_once_is_answered_as_before(monkeypatch):
    time, asked = 1_000.0, []
    monkeypatch.setattr("pipeline.web.briefly.monotonic", lambda: time)
    answer = briefly(lambda of: asked.append(of) or len(asked))
    assert [answer("a"), answer("a"), answer("b"), answer("a")] == [1, 1, 2, 1]
    time += SECONDS
    assert [answer("a"), answer("a")] == [3, 3]


# --- provenance


def test_every_leaf_names_a_checksum(page, client):
    key = MEITable.Unit.keys(order_by="KEY", limit=1)[0]
    text = page("/explain/MEI.Unit", **key)
    explanation = explain("MEI.Unit", [f"{n}={v}" for n, v in key.items()])
    sums = set(re.findall(r'<code class="sum">([0-9a-f]+)</code>', text))
    for ancestor in explanation.ancestors:
        assert f'data-table="{ancestor.table}"' in text
        recorded = {v for row in ancestor.rows for v in row.checksums.values()}
        recorded |= {ancestor.checksum} if ancestor.checksum else set()
        assert recorded <= sums
        assert recorded or ancestor.parents, ancestor.table
    drawn = client.get("/explain/MEI.Unit.svg", query_string=key)
    assert drawn.mimetype == "image/svg+xml"
    words = {e.text.split(" ")[0] for e in ElementTree.fromstring(drawn.data).iter() if e.text}
    assert {ancestor.table for ancestor in explanation.ancestors} <= words


def test_any_row_can_be_explained(page):
    for name in ("ConfusionMatrix", "TrainedModel", "Scan", "AnimalRateMap"):
        key = all_tables()[name].keys(order_by="KEY", limit=1)[0]
        assert f"a row of {name} comes from" in page(f"/explain/{name}", **key)


def test_what_is_explained_cannot_write(populated):
    from pipeline.web.provenance import only_reading

    n_scans = len(Scan())
    with only_reading(), pytest.raises(Exception, match=r"READ ONLY|read only"):
        (Scan & DAY_1).delete_quick()
    assert len(Scan()) == n_scans


# --- what is not there, and what is hostile


@pytest.mark.parametrize(
    "path",
    [
        "/units/1-1-1/99999",
        "/units/77-1-1/1",
        "/units/x/1",
        "/units/1-1-1/x",
        f"/units/{'9' * 5000}-1-1/1",
        "/matrices/0000000000000000/0000000000000000/raw/mei",
        "/matrices/0000000000000000/0000000000000000/raw/mei.png",
        "/matrices/0000000000000000/0000000000000000/raw/<script>",
        "/views/nothing",
        "/views/nothing.csv",
        "/explain/Nothing",
        "/explain/MEI.Nothing",
        "/explain/Scan?animal_id=77",
        "/images/nothing.png",
        "/rate-maps/cell.png?animal_id=1&session=1&scan_idx=1&unit_id=1"
        "&rate_map_hash=0000000000000000",
        "/meis?page=100000",
    ],
)
def test_what_is_not_there_is_a_page_that_says_so(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert 'role="alert"' in answer.text
    assert "<script>" not in answer.text.partition("</head>")[2]


FILTERS = {
    "/meis": ("recording", "ensemble", "method", "selection", "excite", "status", "least", "sort"),
    "/units": ("recording", "sort"),
    "/rate-maps": ("sort", "page", "size"),
    "/rate-maps/networks": ("sort",),
    "/matrices": ("page", "size"),
    "/views/units": ("sort", "order", "unit_id", "animal_id", "page"),
    "/views/units.csv": ("sort", "order", "unit_id"),
    "/explain/Scan": ("animal_id", "x", "animal_id=1 OR 1"),
    "/images/mei.png": (*MEI, "grey"),
    "/rate-maps/cell.png": CELL,
    "/rate-maps/unit.png": NETWORK_UNIT,
}


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: value[:12])
@pytest.mark.parametrize("path", FILTERS)
def test_hostile_parameters_are_refused(client, path, value):
    for name in FILTERS[path]:
        answer = client.get(path, query_string={name: value})
        if name in ("unit_id", "animal_id", "least", "recording") and value == "-1":
            assert answer.status_code in (200, 400, 404)
            continue
        assert answer.status_code in (400, 404), (name, answer.text)
        assert 'role="alert"' in answer.text
        assert "alert(1)</script>" not in answer.text


@pytest.mark.parametrize("path", ["/meis", "/units", "/views/units", "/rate-maps"])
def test_hostile_names_of_parameters_mean_nothing(client, path):
    for name in ("_scheme", "_method", "_anchor", "_external", "endpoint", "name", "self"):
        answer = client.get(path, query_string={name: "javascript", "size": 2})
        assert answer.status_code == 200, name
        assert f'href="{path}?{name}=javascript&amp;size=2&amp;page=2"' in answer.text
        assert "javascript:" not in answer.text


def test_hostile_words_are_escaped(client):
    for path in ("/units?area=%3Cscript%3E", "/views/units?brain_area=%3Cscript%3E1"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "<script>" not in answer.text
    assert client.get("/units", query_string={"area": "x" * 5000}).status_code == 400
    assert client.get("/views/units", query_string={"layer": "x" * 5000}).status_code == 400
