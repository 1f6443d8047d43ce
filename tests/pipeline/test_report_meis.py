"""The gallery, its scores, the comparison with controls and the pages of units."""

import io
import json
import re
from importlib import import_module

import numpy as np
import pandas as pd
import pytest

from pipeline.report import write_report
from pipeline.report.album import FIGURES, NAMES, UNITS, Album
from pipeline.report.comparison import KINDS, plans, responses
from pipeline.report.gallery import GAP, full_contrast, gallery, outline, sheet
from pipeline.report.mei_figures import relative
from pipeline.report.meis import MASKS, _masks, _runs, run_views
from pipeline.report.scores import SCORES, scores
from pipeline.report.unit_facts import facts
from pipeline.report.unit_figures import Ascent, Images, Shown, UnitPictures, unit_figure
from pipeline.report.unit_page import unit_pages
from pipeline.report.unit_rows import UnitRows, unit_rows
from pipeline.truth import comparison_truth, mei_truth, relative_responses
from schemas.comparison import ImageComparison
from schemas.controls import ControlPlan
from schemas.mei import MEI, MaskMethod
from schemas.mei_variants import DiverseMEI, SurroundMEI
from science.masks import GaussianMaskParams, ThresholdMaskParams, TightMaskParams

unit_page = import_module("pipeline.report.unit_page")

SHAPE = (24, 40)


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture
def album(tmp_path):
    return Album(tmp_path)


@pytest.fixture(scope="module")
def run(populated):
    """Key of the run with controls and variants."""
    return next(
        key for _, key in _runs(populated.training_set) if populated.plan.items() <= key.items()
    )


@pytest.fixture(scope="module")
def units(run):
    return mei_truth(run)


@pytest.fixture(scope="module")
def plan(run):
    (plan,) = plans(run)
    return plan


@pytest.fixture(scope="module")
def compared(plan):
    return comparison_truth(plan)


def written(figure):
    """Draw a figure as the report does; a warning would fail the test."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return figure


# ---------------------------------------------------------------- gallery


def test_middle_grey_is_the_centre_and_the_largest_deviation_black_or_white(rng):
    image = rng.uniform(90, 160, SHAPE)
    image[0, 0] = 20
    shown = full_contrast(image, 120.0)
    assert shown.dtype == np.uint8
    assert shown[0, 0] == 0
    np.testing.assert_allclose(shown, 127.5 + 127.5 * (image - 120) / 100, atol=0.5)
    assert (full_contrast(np.full(SHAPE, 33.0), 33.0) == 128).all()


@pytest.mark.parametrize("n", [1, 5, 12])
def test_every_image_lies_on_the_sheet_where_its_corner_says(rng, n):
    meis = list(rng.uniform(0, 255, (n, *SHAPE)))
    fields = [rng.normal(size=SHAPE) if i % 2 == 0 else None for i in range(n)]
    pixels, corners = sheet(meis, fields)
    h, w = SHAPE
    for (x, y), mei, field in zip(corners, meis, fields, strict=True):
        np.testing.assert_array_equal(pixels[y : y + h, x : x + w], full_contrast(mei, mei.mean()))
        right = pixels[y : y + h, x + w + GAP : x + 2 * w + GAP]
        assert (right == (255 if field is None else full_contrast(field, 0))).all()
    assert len(set(corners)) == n
    alone, _ = sheet(meis)
    assert alone.size < pixels.size


def test_the_outline_encloses_the_mask():
    mask = np.zeros(SHAPE)
    mask[5:9, 30:40] = 1  # up to the border
    path = outline(mask)
    points = np.array(re.findall(r"([\d.]+) ([\d.]+)", path), float)
    assert path.startswith("M") and path.count("M") == 1
    # half-way between the middles of the pixels inside and outside
    assert points.min(0).tolist() == [30, 5]
    assert points.max(0).tolist() == [40, 9]
    assert outline(np.zeros(SHAPE)) == ""


def test_tiles_have_the_scores_that_are_known(units, album):
    scored = pd.DataFrame(np.nan, units.index, list(SCORES))
    scored["activation"] = np.arange(len(units)) * 1.23456
    scored.loc[0, "contrast"] = 7.0
    shown = gallery(units, scored, {int(units.unit_index[1]): "units/x.html"}, album)
    assert list(shown.scores) == ["activation", "contrast"]
    assert shown.tiles[0].scores == {"activation": 0.0, "contrast": 7.0}
    assert shown.tiles[1].scores == {"activation": 1.235}
    assert [tile.page for tile in shown.tiles[:3]] == [None, "units/x.html", None]
    assert shown.n_pages == 1
    assert (shown.tile_width, shown.tile_height) == (2 * SHAPE[1] + GAP, SHAPE[0])
    assert (album.folder / shown.sheet.src).exists()


def test_the_scores_are_those_of_the_tables(units, run, compared):
    found = scores(units, run, relative_responses(compared))
    assert list(found) == list(SCORES)
    made = (MEI.Unit & run).to_pandas().reset_index().set_index("unit_index")
    assert found["contrast"].tolist() == made.mei_contrast[units.unit_index].tolist()
    assert found["activation"].tolist() == units.mei_activation.tolist()
    table = (ImageComparison.Response & run).proj("compared_response").to_pandas().reset_index()
    wide = table.pivot(index="unit_index", columns="image_kind", values="compared_response")
    expected = (wide.mei / wide.optimal_gabor)[units.unit_index]
    np.testing.assert_allclose(found["MEI / optimal Gabor"], expected)
    assert found["oracle"].notna().any()
    assert found["orientedness"].between(0, 1).all()


def test_scores_of_runs_without_controls_are_unknown(units, run, compared):
    found = scores(units, run, relative_responses(compared[:0]))
    ratios = [name for name in SCORES if "/" in name]
    assert found[ratios].isna().all(axis=None)
    assert found["activation"].notna().all()


# ---------------------------------------------------------------- masks


@pytest.mark.parametrize("params", [TightMaskParams(), ThresholdMaskParams(), GaussianMaskParams()])
def test_masks_of_every_type_are_described(units, album, monkeypatch, params):
    monkeypatch.setattr(MaskMethod, "params", lambda key: params)
    view = _masks(units[units.mei_status == "ok"], album)
    assert params.type in view.how.lower()
    assert params.type in view.method
    assert sum(view.statuses.values()) == len(units)


def test_every_type_of_mask_has_a_sentence():
    assert {params().type for params in MASKS} == {"tight", "threshold", "gaussian"}


# ---------------------------------------------------------------- controls


def comparison_rows(has_truth=True):
    rows = []
    for unit, kind in enumerate(["simple", "curved", None]):
        for image, ratio in (
            ("mei", 1.0),
            ("best_gabor", 0.5),
            ("natural", 40.0 if unit == 2 else 0.25),
        ):
            truth = ratio**2 if has_truth and kind else np.nan
            score = 0.8 if kind else 0.1
            rows.append((unit, image, score, kind, ratio, truth))
    columns = ["unit_index", "image_kind", "ensemble_validation_corr", "cell_kind"]
    return pd.DataFrame(rows, columns=[*columns, "model_ratio", "true_ratio"])


def test_responses_are_drawn_relative_to_the_mei():
    model, truth = written(relative(comparison_rows(), KINDS, 0.3, True)).axes
    names = [text.get_text() for text in model.get_yticklabels()]
    assert names == [KINDS["best_gabor"], KINDS["natural"]]
    low, high = model.get_xlim()
    assert low <= 0.25 < 2 <= high < 40  # what is not well predicted lies at the edge
    points = np.concatenate([c.get_offsets().data for c in model.collections])
    assert sorted(points[:, 0]) == pytest.approx([0.25, 0.25, 0.5, 0.5, 0.5, high])
    medians = [line.get_xdata()[0] for line in truth.lines[:-1]]
    assert medians == pytest.approx([0.25, 0.0625])


@pytest.mark.parametrize(
    "rows", [comparison_rows(False), comparison_rows(False)[6:], comparison_rows()[:0]]
)
def test_without_truth_there_is_one_panel_whoever_is_well_predicted(rows):
    assert len(written(relative(rows, KINDS, 0.3, False)).axes) == 1


def test_every_kind_of_image_has_words(compared):
    assert set(compared.image_kind) <= set(KINDS)


def test_the_view_of_a_run_says_what_was_compared(populated, album, monkeypatch):
    monkeypatch.setattr(unit_page, "UNIT_PAGES", 1)
    views = run_views(populated.training_set, album)
    assert [len(view.comparisons) for view in views] == [1, 0]  # the linear model is the control
    (found,) = views[0].comparisons
    assert (found.mean, found.contrast, found.n_unreached) == (120, 16, 0)
    assert found.n_units == views[0].n_meis == 10
    assert found.has_truth
    assert all(view.gallery.n_pages == 1 for view in views)


# ---------------------------------------------------------------- units


def test_rows_of_a_unit_are_all_there_is(run, plan, units):
    chosen = units.unit_index.tolist()[:4]
    found = unit_rows(run, plan, chosen)
    assert set(found) == set(chosen)
    for unit, rows in found.items():
        key = {"unit_index": unit}
        assert rows.mei["unit_index"] == rows.target["unit_index"] == unit
        assert len(rows.compared) == len(ImageComparison.Response & run & key)
        assert len(rows.diverse_images) == len(DiverseMEI.Image & run & key)
        assert len(rows.surrounds) == len(SurroundMEI.Unit & run & key)
        kind = units.set_index("unit_index").kind[unit]
        assert len(rows.filters) == {"simple": 1, "complex": 2, "undriven": 0}[kind]
        filled = (rows.mask, rows.best_gabor, rows.optimal_gabor, rows.gradient, rows.regression)
        assert all(row["unit_index"] == unit for row in filled)


def test_units_without_controls_have_rows(run):
    target = {name: value for name, value in run.items() if name != "mask_hash"}
    (rows,) = unit_rows(target, None, [(MEI.Unit & run).to_arrays("unit_index")[0]]).values()
    assert not (rows.best_gabor or rows.regression or rows.compared)
    assert rows.mei["mei"].shape == SHAPE


def test_what_is_not_there_is_not_among_the_facts(run, plan, units):
    unit = units.iloc[0]
    (rows,) = unit_rows(run, plan, [unit.unit_index]).values()
    full = facts(unit, rows)
    assert full["MEI"]["seed of the start noise"] == str(rows.mei["mei_seed"])
    assert {"Mask", "Best Gabor of the grid", "Optimal Gabor", "Regression field"} <= set(full)
    bare = facts(unit, UnitRows(rows.mei, rows.iter_n, rows.target))
    assert set(bare) == {"Unit", "MEI", "Contrast tuning", "Symmetry of the spectra"}
    assert set(bare["Symmetry of the spectra"]) == {"MEI"}
    silent = {**rows.best_gabor, "best_alive": False}
    assert (
        "alike"
        in facts(unit, UnitRows(rows.mei, 20, rows.target, best_gabor=silent))[
            "Best Gabor of the grid"
        ]["none"]
    )


def drawn_images(figure):
    return figure.axes[0].images


def test_images_at_equal_contrast_share_a_scale_and_others_have_their_own(rng):
    weak, strong = 120 + rng.uniform(-5, 5, SHAPE), 60 + rng.uniform(-50, 50, SHAPE)
    for alike in (True, False):
        group = Images("images", [Shown("a", weak), Shown("b", strong)], alike=alike)
        images = drawn_images(written(unit_figure(UnitPictures([group]))))
        (low_a, high_a), (low_b, high_b) = (image.get_clim() for image in images)
        assert (low_a + high_a) / 2 == pytest.approx(weak.mean())  # grey is the mean
        assert (low_b + high_b) / 2 == pytest.approx(strong.mean())
        assert high_b - low_b == pytest.approx(2 * np.abs(strong - strong.mean()).max())
        own = 2 * np.abs(weak - weak.mean()).max()
        assert high_a - low_a == pytest.approx(high_b - low_b if alike else own)


def test_filters_are_shown_about_zero(rng):
    field = rng.uniform(0, 1, SHAPE)
    figure = unit_figure(UnitPictures([Images("fields", [Shown("a", field)], about_zero=True)]))
    assert drawn_images(written(figure))[0].get_clim() == (-field.max(), field.max())


def test_groups_without_images_and_flat_images_do_not_fail():
    flat = Images("flat", [Shown("a", np.full(SHAPE, 120.0), mask=np.zeros(SHAPE))], alike=True)
    figure = written(unit_figure(UnitPictures([Images("none", []), flat])))
    assert len(drawn_images(figure)) == 1
    assert [text.get_text() for text in figure.axes[0].texts][:2] == ["flat", "a"]


def test_curves_are_drawn_over_their_steps_and_spectra_at_their_frequency():
    ascent = Ascent(np.arange(3) * 10, np.array([1.0, 2, np.nan]), np.array([3.0, 4, np.nan]))
    grating = 120 + 9 * np.cos(2 * np.pi * np.arange(40) / 8) * np.ones((24, 1))
    picture = UnitPictures([Images("i", [Shown("a", grating)])], ascent, {"MEI": grating})
    _, activation, contrast, spectrum = written(unit_figure(picture)).axes
    assert activation.lines[0].get_xdata().tolist() == [0, 10, 20]
    assert contrast.lines[0].get_ydata()[:2].tolist() == [3, 4]
    power = spectrum.images[0].get_array()
    left, right, *_ = spectrum.images[0].get_extent()
    peak = np.argmax(power.max(0)[20:]) + 20
    assert left + (peak + 0.5) * (right - left) / 40 == pytest.approx(1 / 8)


def test_a_table_of_responses_has_every_image_of_the_unit_once(compared):
    unit = compared.unit_index[0]
    rows = responses(compared, unit)
    stored = compared[compared.unit_index == unit].set_index("image_kind")
    assert [row["kind"] for row in rows] == [kind for kind in KINDS if kind in stored.index]
    for row in rows:
        assert row["compared_response"] == stored.compared_response[row["kind"]]
        assert row["true_ratio"] == pytest.approx(
            stored.true_response[row["kind"]] / stored.true_response["mei"]
        )


@pytest.mark.parametrize("with_controls", [True, False])
def test_only_the_first_units_have_pages(
    run, units, plan, compared, album, monkeypatch, with_controls
):
    monkeypatch.setattr(unit_page, "UNIT_PAGES", 2)
    chosen = (plan, compared) if with_controls else (None, compared[:0])
    pages = unit_pages("the run", run, units, *chosen, album)
    assert sorted(pages) == sorted(units.unit_index[:2])
    for unit, path in pages.items():
        html = (album.folder / path).read_text()
        assert f"Unit {unit}" in html and "the run" in html
        assert ("optimal Gabor" in html) == with_controls
        (figure,) = re.findall(r'src="\.\./(figures/unit-[0-9a-f]{10}\.png)"', html)
        assert (album.folder / figure).exists()
        assert "<script" not in html


# ---------------------------------------------------------------- the whole report


def test_the_report_of_the_miniature_links_to_files_that_are_there(
    populated, tmp_path, monkeypatch
):
    monkeypatch.setattr(unit_page, "UNIT_PAGES", 2)
    page = write_report(tmp_path / "report")
    html = page.read_text()
    linked = set(re.findall(r'(?:src|href)="((?:figures|units)/[^"]+)"', html))
    there = {str(path.relative_to(page.parent)) for path in page.parent.glob("units/*")}
    assert there == {path for path in linked if path.startswith("units/")}
    assert len(there) == 2 * 2  # runs and units
    assert all((page.parent / path).exists() for path in linked)
    for folder in (FIGURES, UNITS):
        assert all(NAMES[folder].fullmatch(p.name) for p in (page.parent / folder).iterdir())
    found = re.findall(r'data-scores="([^"]*)"', html)
    assert all(set(json.loads(text.replace("&#34;", '"'))) <= set(SCORES) for text in found)
    assert len(found) == 20
    assert len(html) < 300_000
    assert len(ControlPlan & populated.training_set) == 2  # that of the broken ensemble waits
