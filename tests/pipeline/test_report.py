"""The report: figures of small arrays, models of the miniature, page of plain data, files."""

import io
import re
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from sketchbook import watched

import pipeline.report as report
from pipeline.configurations import flat
from pipeline.report import figures, model_figures
from pipeline.report.album import Album
from pipeline.report.architecture import architecture, family, tell_apart, words
from pipeline.report.mei_figures import cosines, portrait, true_responses
from pipeline.report.model_figures import (
    LearningCurve,
    learning_curves,
    prediction,
    receptive_fields,
)
from pipeline.report.models import MEAN_INPUT, SCORES, labels, models
from pipeline.report.numbers import number, percent
from pipeline.report.page import (
    Block,
    ComparisonView,
    Gallery,
    LaterRecording,
    LoopView,
    MasksView,
    MatchView,
    ModelsView,
    ModelView,
    MonitorView,
    OracleView,
    Page,
    Picture,
    PoolView,
    Provenance,
    Recorded,
    RunView,
    ScalingView,
    ScanView,
    Step,
    StimulusView,
    Tile,
    UnitPage,
)
from pipeline.report.render import render, render_unit
from pipeline.truth import MEISummary
from schemas.dataset import TargetDataset
from schemas.model import Ensemble, TrainedModel
from schemas.readout import UnitReadout
from schemas.recording import AreaMembership
from science.model.config import ImageModelConfig
from science.model.registry import CORES, MODULATORS, READOUTS, SHIFTERS

# the package has a function of that name
report_models = import_module("pipeline.report.models")

WHEN = datetime(2026, 5, 4, 3, 2, tzinfo=UTC)
PICTURE = Picture("figures/x-0123456789.png", "a figure", 400)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def written(figure):
    """Draw a figure as the report does; a warning would fail the test."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    assert file.getvalue().startswith(b"\x89PNG")
    return figure


# ---------------------------------------------------------------- figures


def bars(ax):
    return sum(bar.get_height() for bar in ax.patches)


def test_units_without_a_score_are_left_out_of_the_reliability_figure():
    values = np.array([0.1, 0.5, np.nan, 0.7])
    figure = written(
        figures.reliability(values, values, values, np.array([False, True, False, True]))
    )
    assert [bars(ax) for ax in figure.axes[:3]] == [3, 3, 3]


def test_reliability_that_is_nowhere_known_still_has_a_figure():
    unknown = np.full(3, np.nan)
    written(figures.reliability(unknown, unknown, unknown, np.zeros(3, bool)))


def curve(seed, n_epochs, best_epoch=1, **terms):
    epochs = np.arange(1, n_epochs + 1)
    terms = {name: np.broadcast_to(values, n_epochs) for name, values in terms.items()}
    return LearningCurve(seed, epochs, epochs / 10, 1 / epochs, terms, best_epoch)


def drawn_lines(ax):
    return {line.get_label(): line.get_xydata() for line in ax.lines}


def test_the_kept_epoch_is_marked_on_the_learning_curve():
    seven = curve(7, 5, best_epoch=4, poisson=0.2)
    figure = written(learning_curves({"CNN": [seven, seven], "linear": [seven]}))
    assert len(figure.axes) == 6
    marker = figure.axes[0].lines[1]
    assert (marker.get_xdata().tolist(), marker.get_ydata().tolist()) == ([4], [0.4])


def test_terms_of_the_loss_are_means_over_the_seeds_that_still_train():
    long = curve(1, 3, poisson=[0.5, -0.3, -0.5], core_sparsity=[8, 4, 2], shifter=0)
    short = curve(2, 2, poisson=[0.3, -0.1], core_sparsity=[4, np.nan], shifter=0)
    _, loss, regularisers = written(learning_curves({"CNN": [long, short]})).axes
    poisson = [[1, 0.4], [2, -0.2], [3, -0.5]]
    np.testing.assert_allclose(drawn_lines(loss)["Poisson term"], poisson)
    lines = drawn_lines(regularisers)
    assert set(lines) == {"core sparsity", "shifter: zero"}
    np.testing.assert_allclose(lines["core sparsity"], [[1, 6], [2, 4], [3, 2]])
    assert np.isnan(lines["shifter: zero"][:, 1]).all()
    assert regularisers.get_yscale() == "log"


@pytest.mark.parametrize(
    ("terms", "names"),
    [
        ({}, set()),
        ({"poisson": 0.2}, set()),
        ({"poisson": np.nan, "shifter": 0}, {"shifter: zero"}),
        ({"poisson": np.nan, "shifter": np.nan}, {"shifter: not finite"}),
    ],
)
def test_a_training_without_regularisers_or_finite_loss_has_its_curve(terms, names):
    regularisers = written(learning_curves({"Gabor": [curve(1, 2, **terms)]})).axes[2]
    assert set(drawn_lines(regularisers)) == names


def test_a_training_that_ended_before_its_first_epoch_has_an_empty_curve():
    assert drawn_lines(written(learning_curves({"CNN": [curve(1, 0)]})).axes[2]) == {}


def test_the_first_two_models_are_drawn_against_each_other(rng):
    scores = {name: rng.uniform(0, 1, 9) for name in ("CNN", "linear", "third")}
    for names, n_panels in ((["CNN"], 2), (["CNN", "linear"], 3), (list(scores), 3)):
        chosen = {name: scores[name] for name in names}
        assert len(written(prediction(chosen, chosen, 0.3)).axes) == n_panels
    points = prediction(scores, scores, 0.3).axes[2].collections[0].get_offsets()
    np.testing.assert_allclose(points, np.column_stack([scores["linear"], scores["CNN"]]))


def test_predictions_that_are_nowhere_known_still_have_a_figure():
    unknown = {"CNN": np.full(4, np.nan)}
    written(prediction(unknown, unknown, 0.3))


def test_receptive_fields_are_drawn_on_the_frame_of_the_image(rng):
    centres = rng.uniform(0, 1, (10, 2)) * (63, 35)
    area = ["V1"] * 6 + ["LM"] * 4
    (ax,) = written(receptive_fields(centres, area, (36, 64))).axes
    drawn = {c.get_label(): c.get_offsets() for c in ax.collections}
    assert list(drawn) == ["LM", "V1"]
    np.testing.assert_allclose(drawn["LM"], centres[6:])
    np.testing.assert_allclose(drawn["V1"], centres[:6])
    assert ax.get_xlim() == (-0.5, 63.5)
    assert ax.get_ylim() == (35.5, -0.5)  # rows are counted from the top
    assert ax.child_axes == []


def test_the_second_axes_of_receptive_fields_are_degrees():
    width, distance = 40.0, 15.0
    degrees = tuple(
        np.degrees(np.arctan((np.arange(n + 1) - n / 2) * width / 64 / distance)) for n in (64, 36)
    )
    figure = written(receptive_fields(np.array([[31.5, 17.5]]), ["V1"], (36, 64), degrees))
    ax = figure.axes[0]
    for other, axis, middle in zip(ax.child_axes, ("xaxis", "yaxis"), (31.5, 17.5), strict=True):
        marks = getattr(other, axis)
        angles = [float(t.get_text().replace("\u2212", "-")) for t in marks.get_ticklabels()]
        assert 0 in angles
        assert len(angles) >= 3
        pixels = middle + distance * np.tan(np.radians(angles)) * 64 / width
        np.testing.assert_allclose(marks.get_ticklocs(), pixels, atol=0.1)
        assert getattr(other, axis).get_view_interval() == pytest.approx(
            getattr(ax, axis).get_view_interval()
        )


# ---------------------------------------------------------------- models


def row(**params):
    """Return a row of `ModelConfig`."""
    config = ImageModelConfig.model_validate(params)
    return {"model_family": "image", "model_params": config.model_dump(mode="json")}


def test_models_are_named_by_what_they_are():
    assert family(row()) == "CNN"
    assert family(row(core={"type": "stacked", "linear": True})) == "linear"
    assert family(row(core={"type": "gabor"})) == "Gabor"
    assert family(row(core={"type": "energy"})) == "energy CNN"
    assert family({"model_family": "coding", "model_params": {}}) == "coding"


@pytest.mark.parametrize(
    "config", [c for part in (CORES, READOUTS, SHIFTERS, MODULATORS) for c in part]
)
def test_every_registered_architecture_has_words(config):
    assert words(config())


def test_an_architecture_is_described_part_by_part():
    described = architecture(
        row(
            core={"type": "stacked", "layers": 2, "hidden_channels": 8, "linear": True},
            readout={"type": "gaussian", "positive": True},
            shifter={"type": "affine"},
            modulator={"type": "mlp", "multiplies": "response"},
        )
    )
    assert described == (
        "2 layers \u00d7 8 channels, filters 15 px then 7 px, no nonlinearity inside; "
        "Gaussian readout, weights \u2265 0; affine shifter; MLP modulator of the response"
    )
    assert architecture(row(core={"type": "gabor"})).startswith(
        "simple cells and energies of Gabor"
    )


def test_equal_descriptions_are_told_apart_by_what_differs():
    strong, weak = {"core": {"gamma": 50, "skip": 3}}, {"core": {"gamma": 5, "skip": 3}}
    other = {"core": {"gamma": 1, "skip": 1}}
    assert tell_apart(["a", "a", "b"], [strong, weak, other]) == [
        "a; core.gamma = 50",
        "a; core.gamma = 5",
        "b",
    ]


@pytest.fixture
def view(populated, tmp_path):
    return lambda: models(populated.training_set, Album(Path(tempfile.mkdtemp(dir=tmp_path))))


@pytest.fixture
def drawn():
    """Collects the arguments of two figures, by name."""
    functions = {report_models: ("learning_curves",), model_figures: ("receptive_fields",)}
    with watched(functions) as calls:
        yield calls


def test_the_table_of_models_holds_the_medians_of_the_ensemble(populated, view):
    ensembles = {ensemble.label: ensemble for ensemble in view().ensembles}
    assert set(ensembles) == {"CNN", "linear"}
    ensemble = ensembles["CNN"]
    for tier, score, name in (
        ("validation", "corr", "validation"),
        ("test", "corr", "test"),
        ("test", "corr_avg", "test_avg"),
        ("test", "cc_norm", "cc_norm"),
        ("test", "feve", "feve"),
        ("test", "oracle_fraction", "oracle_fraction"),
    ):
        column = (Ensemble.UnitScore & populated.plan).to_arrays(f"ensemble_{tier}_{score}")
        assert ensemble.medians[name] == pytest.approx(np.nanmedian(column.astype(float)))
    members = (TrainedModel & (Ensemble.Member & populated.plan)).to_arrays("validation_score")
    assert ensemble.score == pytest.approx(np.mean(members))
    assert ensemble.n_members == 2
    assert ensemble.best_of == "best nonlinear"
    assert np.isnan(ensemble.medians["mean_input"])


def test_trainings_that_failed_are_counted_and_come_last(view, drawn, monkeypatch):
    found = view()
    assert (found.n_trained, found.n_nonfinite, found.n_resumed) == (6, 3, 0)
    assert "not shown" not in found.curves.caption
    monkeypatch.setattr(report_models, "N_CURVES", 1)
    assert view().curves.caption.endswith("3 more models are not shown.")
    (both,), (alone,) = drawn["learning_curves"]
    assert next(iter(both)) == "CNN" == next(iter(alone))  # as in the table
    assert len(both) == 4
    assert [c.seed for c in alone.popitem()[1]] == [3, 8]


def test_regularisers_and_poisson_term_add_up_to_the_loss(populated, view, drawn):
    view()
    ((curves,),) = drawn["learning_curves"]
    _, loss, regularisers = written(learning_curves(curves)).axes[:3]
    assert set(drawn_lines(regularisers)) == {"core smoothness", "readout features"}
    shown = [drawn_lines(loss)["Poisson term"], *drawn_lines(regularisers).values()]
    for epoch in (1, 2, 3):
        rows = TrainedModel.Epoch & (Ensemble.Member & populated.plan).proj() & {"epoch": epoch}
        expected = rows.to_arrays("train_loss").mean()
        assert sum(y for line in shown for x, y in line if x == epoch) == pytest.approx(expected)


def test_receptive_fields_of_the_best_ensemble_are_means_over_its_members(populated, view, drawn):
    found = view()
    best, n = found.ensembles[0].label, found.ensembles[0].n_members
    assert f"{best} ensemble, mean over {n} member" in found.fields.caption
    ((centres, area, shape, degrees),) = drawn["receptive_fields"]
    plan = dict(labels(populated.training_set))[best]
    read = UnitReadout.Unit & (TrainedModel & (Ensemble.Member & plan)).proj()
    x = read.to_arrays("rf_x_px", order_by="seed, unit_index").reshape(n, -1)
    np.testing.assert_allclose(centres[:, 0], x.mean(0))
    units = (TargetDataset.Unit * AreaMembership) & populated.training_set
    assert area == units.to_arrays("brain_area", order_by="unit_index").tolist()
    assert shape == (24, 40)
    at = np.arange(41) - 0.5
    x_deg = (read & "seed = 3").to_arrays("rf_x_deg", order_by="unit_index").astype(float)
    np.testing.assert_allclose(np.interp(x[0], at, degrees[0]), x_deg, atol=0.05)


def test_images_of_different_sizes_share_a_sheet(rng):
    images = [rng.uniform(0, 255, shape) for shape in ((24, 40), (36, 64), (24, 40))]
    figure = written(figures.sample_images(images, columns=2))
    shown = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    for found, image in zip(shown, images, strict=True):
        np.testing.assert_allclose(found, image)


def test_cells_are_coloured_by_area(rng):
    xyz = rng.uniform(0, 100, (10, 3))
    area = ["V1"] * 6 + ["LM"] * 4
    above, side = written(figures.cell_positions(xyz, area)).axes
    np.testing.assert_allclose(above.collections[0].get_offsets(), xyz[6:, :2])
    np.testing.assert_allclose(side.collections[1].get_offsets(), xyz[:6, [0, 2]])


def test_mean_responses_of_all_recordings_are_counted(rng):
    figure = written(figures.mean_responses({"1-1-1": rng.gamma(2, 1, 12), "1-2-1": [0.0, 0.0]}))
    assert bars(figure.axes[0]) == 14


def test_a_flat_mei_and_an_empty_mask_can_be_drawn():
    flat_mei = np.full((24, 40), 127.0)
    for mask in (None, np.zeros((24, 40))):
        written(portrait(flat_mei, mask, np.linspace(0, 1, 100)))


def test_true_responses_put_well_predicted_units_first():
    own = np.array([5.0, np.nan, 9.0, 2.0])
    levels = np.tile([0.1, 1, 3, 4, 6], (4, 1))
    kinds = ["simple", "complex", "simple", "undriven"]
    figure = written(true_responses(own, levels, kinds, np.array([True, True, False, False])))
    drawn = {}
    for line in figure.axes[0].lines:
        if line.get_marker() == "o":
            drawn |= dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
    assert drawn[0] == 5.0
    assert np.isnan(drawn[1])
    assert (drawn[2], drawn[3]) == (9.0, 2.0)


def test_cosines_without_complex_cells_still_have_a_figure():
    figure = written(cosines([0.9, 0.8, None], [None, None, None]))
    assert bars(figure.axes[0]) == 2


def test_masks_are_counted():
    figure = written(figures.masks(np.array([10, 20, 30]), [0.8, None, 0.9], 960, 0.9))
    assert [bars(ax) for ax in figure.axes] == [3, 2]
    assert [len(ax.lines) for ax in figure.axes] == [0, 1]  # the target


def test_masks_without_a_target_or_any_ratio_have_a_figure():
    figure = written(figures.masks(np.array([0, 0]), [np.nan, None], 960, None))
    assert [bars(ax) for ax in figure.axes] == [2, 0]
    assert [len(ax.lines) for ax in figure.axes] == [0, 0]


# ---------------------------------------------------------------- page


def empty_page():
    return Page("test_", WHEN, "0.1.0")


def full_loop(text):
    """Return a closed loop of two recordings, alone and pooled, that says `text`."""
    kind = {"name": text, "n": 9, "mean": 10.0, "contrast": 2.0, "n_unreached": 1}
    stimulus = StimulusView(text, text, 10.0, 2.0, [kind])
    monitor = MonitorView(text, WHEN, -1.5, 1.8, 0.1, 30.0, text)
    counts = {"n_stacks": 3, "n_matched": 5, "n_right": 4, "n_present": 5, "recall": 0.8}
    counts |= {"n_accepted": 3, "n_accepted_right": 3, "n_shared_images": 24}
    votes, statuses = {3: 4, 2: 1}, {text: 3, f"{text}s": 2}
    match = MatchView(text, counts, 3.0, votes, statuses, (0.8, 0.1), PICTURE)
    recordings = [
        LaterRecording(f"1-{day}-1", day, stimulus, monitor, PICTURE, [match]) for day in (2, 3)
    ]
    result = {"stimulus_kind": "mei", "name": text, "n_shown": 4, "row_max_fraction": 0.75}
    result |= {"n_right": 4, "n_right_shown": 4, "right_row_max_fraction": 0.75}
    result |= {"permutation_statistic": 0.5, "statistic_low": 0.4, "statistic_high": 0.6}
    result |= {"permutation_p": 0.0001}
    test = {"first": text, "other": text, "n_compared": 4, "wilcoxon_p": 0.02}
    for name in ("response_ratio", "median_difference", "rank_biserial"):
        test |= {name: 0.5, f"{name}_low": 0.3, f"{name}_high": 0.7}
    test |= {"n_first_better": 2, "n_other_better": 1}
    scalings = [ScalingView(text, [result], [test])] * 2
    pools = [
        PoolView([f"1-{day}-1" for day in days], days, text, scalings, PICTURE, [PICTURE])
        for days in ([2], [3], [2, 3])
    ]
    return LoopView(recordings, pools)


def full_page(text):
    """Return a page on which every string of the database is `text`."""
    scan = ScanView("1-1-1", text, text, text, 5, 10, text, WHEN, True)
    oracle = OracleView(text, 5, 3, 7, {"oracle": 0.5, "fev": 0.4, "cc_max": 0.9}, PICTURE)
    medians = dict.fromkeys([*SCORES, *MEAN_INPUT], 0.4) | {"cc_norm": float("nan")}
    model = ModelView(text, text, text, 2, 0.4, medians, 0, 3, 5, 61.0)
    summary = MEISummary(2, 0.91234, 1, 0.5, 3, 2 / 3)
    tiles = [
        Tile(text, text, x, 0, "M0 0L3 4", {text: 0.5}, page)
        for x, page in ((0, "units/unit-1-0123456789.html"), (84, None))
    ]
    gallery = Gallery(PICTURE, 168, 24, 80, 24, tiles, {text: text}, 1)
    masks = MasksView(text, text, {text: 3}, 20, 960, 0.9, PICTURE)
    pair = {"first": text, "second": text, "group": text, "n_units": 9}
    pair |= {f"{a}_{b}": 0.5 for a in ("model", "true") for b in ("n", "ratio", "larger", "p")}
    comparison = ComparisonView(text, 111, 16, 9, 1, 9, True, PICTURE, [pair, pair])
    pictures = [PICTURE, PICTURE]
    run = RunView(text, 4, 1, 1, gallery, summary, pictures, masks, [comparison, comparison])
    loop = full_loop(text)
    step = Step(text, text, text, {text: text}, {text: text})
    ancestors = Provenance(text, PICTURE, [step], [{"seed": text}], [{"code": text}])
    block = Block(
        text,
        [text],
        5,
        {"train": 8, "validation": 1, "test": 1},
        [oracle],
        ModelsView([model], 3, 1, 0, 0, PICTURE, PICTURE, PICTURE),
        [run],
        loop,
        ancestors,
    )
    recorded = Recorded([scan], [PICTURE], [replace(PICTURE, caption=text, alt=text)])
    return Page(text, WHEN, text, recorded, [block, block], None, text, text)


class Reader(HTMLParser):
    """Collects elements and checks that they are closed in order."""

    VOID = {"meta", "img", "br"}

    def __init__(self, html):
        super().__init__()
        self.open, self.elements = [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_page_without_data_says_so():
    html = render(empty_page())
    assert "No recording has been ingested yet." in html
    assert "No training set has been registered yet" in html
    Reader(html)


def test_every_section_of_a_training_set_without_results_says_so():
    html = render(replace(empty_page(), blocks=[Block("ab" * 8, ["1-1-1"], None)]))
    for sentence in (
        "The reliability of these units is not computed yet.",
        "No model of this training set is trained yet.",
        "There are no MEIs of this training set yet.",
        "There are no masks of these MEIs yet.",
        "These MEIs are not compared with Gabors",
        "No recording that showed the MEIs of this training set is compared",
        "There is no MEI of this training set yet whose ancestors",
        "The diagram needs graphviz",
    ):
        assert sentence in html
    Reader(html)


def test_a_real_recording_has_no_truth_and_says_so():
    run = full_page("plain").blocks[0].runs[0]
    comparison = replace(run.comparisons[0], has_truth=False)
    run = replace(run, summary=None, truth=[], comparisons=[comparison])
    html = render(replace(empty_page(), blocks=[Block("ab" * 8, [], 5, runs=[run])]))
    assert "The true receptive fields are not known" in html
    assert "The true responses are not known" in html
    assert not re.search("signed cosine|true receptive field;|Gabor cells are|>truth<", html)
    Reader(html)


def test_units_without_an_mei_are_counted_by_what_is_wrong():
    run = RunView("CNN", 9, 2, 3, None, None, [], None)
    html = render(replace(empty_page(), blocks=[Block("ab" * 8, [], 9, runs=[run])]))
    text = " ".join(html.split())
    assert (
        "<p>4 MEIs (CNN); 2 more units could not be driven; the responses of 3 more did not" in text
    )


def test_what_the_database_says_is_escaped():
    hostile = "</td><script>alert('1')</script>\"'&"
    unit = UnitPage(hostile, hostile, PICTURE, {hostile: {hostile: hostile}}, [])
    for html, n_scripts in ((render(full_page(hostile)), 1), (render_unit(unit), 0)):
        assert "<script>alert" not in html
        assert "&lt;script&gt;alert(" in html
        elements = Reader(html).elements
        assert [tag for tag, _ in elements].count("script") == n_scripts  # that sorts galleries
        assert all(len(attributes) <= 5 for _, attributes in elements)


def test_the_page_needs_no_network_and_describes_its_figures():
    html = render(full_page("plain"))
    assert not re.search(r"https?://|@import|url\(", html)
    assert all(
        "src" not in attributes for tag, attributes in Reader(html).elements if tag == "script"
    )
    images = [attributes for tag, attributes in Reader(html).elements if tag == "img"]
    assert images
    assert all(i["src"].startswith("figures/") and i["alt"] for i in images)


def test_every_training_set_has_its_own_block():
    blocks = [Block(name * 16, ["1-1-1"], None) for name in "ab"]
    elements = Reader(render(replace(empty_page(), blocks=blocks))).elements
    anchors = {attributes["id"] for _, attributes in elements if "id" in attributes}
    targets = {a["href"][1:] for tag, a in elements if tag == "a" and a["href"].startswith("#")}
    assert {"a" * 16, "b" * 16} <= targets <= anchors


def test_the_numbers_are_on_the_page():
    html = re.sub(r"[ \n]+", " ", render(full_page("plain")))
    assert "median signed cosine 0.912" in html
    assert f"{percent(2 / 3)}</b> of the 3 well predicted" in html
    assert '<b class="key">75\u202f%</b> respond to no other MEI more' in html


def test_scores_with_mean_inputs_are_shown_where_a_model_has_them():
    page = full_page("plain")
    (shown,) = page.blocks[0].models.ensembles
    without = replace(shown, medians=shown.medians | {"mean_input": float("nan")})
    for ensembles, there in (([shown, without], True), ([without], False)):
        view = replace(page.blocks[0].models, ensembles=ensembles)
        html = render(replace(page, blocks=[replace(page.blocks[0], models=view)]))
        assert ("test, mean inputs" in html) == there
        Reader(html)


def test_resumptions_and_failed_trainings_are_said_in_a_line():
    page = full_page("plain")
    view = replace(page.blocks[0].models, n_trained=8, n_resumed=2, n_resumptions=5, n_nonfinite=1)
    html = render(replace(page, blocks=[replace(page.blocks[0], models=view)]))
    line = re.sub(r"<[^>]+>|\s+", " ", html)
    line = re.sub(" +", " ", line)
    assert (
        "8 networks trained; 2 went on from a checkpoint after being killed, 5 times in all" in line
    )
    assert "1 did not stay finite and belongs to no ensemble" in line


def test_numbers_are_written_for_reading():
    assert number(None) == number(float("nan")) == "\u2013"
    assert number(1234567) == "1\u202f234\u202f567"
    assert number(-0.456) == "\u22120.46"
    assert number(-0.001) == "0.00"
    assert percent(0.666) == "67\u202f%"


def test_nested_parameters_are_written_flat():
    assert flat({"core": {"layers": 3, "deep": {"x": None}}, "rate": [0.1]}) == {
        "core.layers": "3",
        "core.deep.x": "none",
        "rate": "[0.1]",
    }


# ---------------------------------------------------------------- files


@pytest.fixture
def make(monkeypatch):
    """Make `write_report` write a page of one figure of the given number."""

    def page_of(n):
        def page(album):
            picture = album.add("masks", figures.masks(np.arange(n), [0.5], 10, None), "alt")
            scans = full_page("x").recorded.scans
            return replace(empty_page(), recorded=Recorded(scans, [picture]))

        monkeypatch.setattr(report, "_page", page)

    return page_of


def test_a_second_report_replaces_the_first_and_nothing_else(tmp_path, make):
    folder = tmp_path / "deep" / "report"
    make(3)
    assert report.write_report(folder) == folder / "index.html"
    old = {path.name for path in (folder / "figures").iterdir()}
    (folder / "notes.txt").write_text("mine")
    (folder / "figures" / "mine.png").write_text("mine")
    make(5)
    report.write_report(folder)
    new = {path.name for path in (folder / "figures").iterdir()} - {"mine.png"}
    assert len(old) == len(new) == 1
    assert old.isdisjoint(new)
    assert new.pop() in (folder / "index.html").read_text()
    assert (folder / "notes.txt").read_text() == "mine"
    assert [path.name for path in folder.parent.iterdir()] == ["report"]


def test_a_report_that_fails_leaves_the_old_one_whole(tmp_path, make, monkeypatch):
    make(3)
    page = report.write_report(tmp_path / "report")
    before = {path: path.read_bytes() for path in page.parent.rglob("*") if path.is_file()}

    def full_disk(album):
        album.add("masks", figures.masks(np.arange(9), [0.5], 10, None), "alt")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "_page", full_disk)
    with pytest.raises(OSError, match="No space left"):
        report.write_report(tmp_path / "report")
    assert {p: p.read_bytes() for p in page.parent.rglob("*") if p.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_a_page_of_somebody_else_is_not_overwritten(tmp_path, make):
    make(3)
    (tmp_path / "index.html").write_text("<html>my home page</html>")
    with pytest.raises(report.NoReportFolder, match="would be lost"):
        report.write_report(tmp_path)
    assert (tmp_path / "index.html").read_text() == "<html>my home page</html>"
    with pytest.raises(report.NoReportFolder, match="is a file"):
        report.write_report(tmp_path / "index.html")
