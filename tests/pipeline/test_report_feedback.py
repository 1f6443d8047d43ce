"""Feedback modulation in the report: figures of small arrays, views of a small study, the page."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from sketchbook import Sketchbook, watched
from test_report import Reader, empty_page, written

from pipeline.feedback_study import FeedbackStudy, register_feedback
from pipeline.ingest.feedback_weights import ingest_feedback_weights
from pipeline.report import (
    dependence_figures,
    feedback,
    feedback_figures,
    modulated_networks,
    subspace_figures,
)
from pipeline.report.dependence_figures import (
    Control,
    Varied,
    context_decoding,
    controls,
    dependences,
)
from pipeline.report.feedback_figures import (
    SwitchTraces,
    clarities,
    deviations,
    source_decoding,
    switch,
)
from pipeline.report.feedback_page import FeedbackView, ModulatedView
from pipeline.report.render import render
from pipeline.report.subspace_figures import FrozenPairs, phase_clouds, plane_angles, plane_corners
from schemas.dataset import TrainingSet
from schemas.feedback import (
    ContextDecoding,
    ContextDecodingPlan,
    ContextTest,
    ContextTestPlan,
    FeedbackControl,
    FeedbackControlPlan,
    FreezeExperiment,
    FreezePlan,
)
from schemas.model import TrainedModel, TrainingPlan
from science.feedback import SpatialParams, feedback_network
from science.feedback.weights import PUBLISHED_NAMES

NAN = np.nan


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def texts(axis):
    return [text.get_text() for text in axis]


# ---------------------------------------------------------------- figures


def test_a_switch_shows_everything_over_one_time(rng):
    steps = np.arange(-5, 9)
    traces = [rng.normal(size=(14, width)) for width in (2, 2, 2, 4)]
    mixing = np.array([[[0.2, 0.8], [1, 0]], [[0.5, 0.5], [0, 1]]])
    axes = written(switch(SwitchTraces(steps, *traces, mixing))).axes
    assert [ax.get_ylabel() for ax in axes] == ["sources", "inputs", "outputs", "feedback"]
    for ax, values in zip(axes, traces, strict=True):
        named = [line for line in ax.lines if not line.get_label().startswith("_")]
        np.testing.assert_array_equal([line.get_ydata() for line in named], values.T)
        np.testing.assert_array_equal(named[0].get_xdata(), steps)
    behind = axes[2].lines[1:3]  # the first one marks the change
    np.testing.assert_array_equal([line.get_ydata() for line in behind], traces[0].T)
    found = ["before: (0.20 0.80), (1.00 0.00)", "after: (0.50 0.50), (0.00 1.00)"]
    assert texts(axes[0].texts) == found


def test_populations_have_dots_and_a_median():
    networks = {
        "a": {"inputs": np.array([0.2, NAN, 0.4, 0.9]), "outputs": np.array([0.9, 1.0])},
        "b": {"inputs": np.array([0.1]), "population": np.array([NAN]), "outputs": np.ones(2)},
    }
    first, second = written(clarities(networks)).axes
    assert texts(first.get_xticklabels()) == ["inputs", "outputs"]
    assert texts(second.get_xticklabels()) == ["inputs", "population", "outputs"]
    dots = [c.get_offsets()[:, 1].tolist() for c in first.collections if len(c.get_offsets())]
    assert dots == [[0.2, 0.4, 0.9], [0.9, 1.0]]
    assert texts(first.texts) == ["0.40", "0.95"] and texts(second.texts) == ["0.10", "1.00"]


def test_what_is_worse_than_the_axis_stands_at_its_edge_with_its_true_median():
    (ax,) = source_decoding({"a": {"inputs": np.array([-3.0, -2, 0.5])}}).axes
    heights = [c.get_offsets()[:, 1].tolist() for c in ax.collections]
    assert heights == [[0.5], [-1, -1]]
    assert texts(ax.texts) == ["\u22122.00"]


def test_errors_are_means_of_bins():
    (ax,) = written(deviations({"a": np.repeat([4.0, 2, 1], 50), "short": np.arange(1.0, 8)})).axes
    long, short = (patch.get_data() for patch in ax.patches)
    np.testing.assert_allclose(long.values, np.repeat([4, 2, 1], 50).reshape(50, 3).mean(1))
    np.testing.assert_array_equal(short.values, np.arange(1, 8))
    assert long.edges[-1] == 150 and short.edges[-1] == 7


def test_dependences_are_means_and_deviations_of_the_seeds():
    lines = {
        "a": [Varied(10, np.array([0.5, 0.7, NAN])), Varied(1, np.array([0.9]))],
        "b": [Varied(100, np.array([0.1])), Varied(1, np.array([NAN]))],
    }
    (ax,) = written(dependences({"tau": lines}, "clarity")).axes
    assert texts(ax.get_xticklabels()) == ["1", "10", "100"]
    first, second = (bars.lines[0].get_xydata().tolist() for bars in ax.containers)
    np.testing.assert_allclose(first, [[0, 0.9], [1, 0.6]])
    assert second == [[2, 0.1]]
    spread = ax.containers[0].lines[2][0].get_segments()[1][:, 1]
    np.testing.assert_allclose(spread, 0.6 + np.std([0.5, 0.7], ddof=1) * np.array([-1, 1]))


def test_decoders_of_the_context_stand_side_by_side():
    found = {"context from modulation": {"linear": 0.4, "quadratic": 0.9}, "other": {"linear": -7}}
    axes = written(context_decoding({"a": found, "b": found})).axes
    assert texts(axes[0].get_yticklabels()) == list(found)
    linear, quadratic = (line for line in axes[1].lines if line.get_marker() in "oD")
    np.testing.assert_array_equal(linear.get_xdata(), [0.4, -1])
    np.testing.assert_array_equal(quadratic.get_xdata(), [0.9, NAN])


def test_controls_stand_against_a_network():
    rows = [Control("own", 0.99), Control("other", -4.2), Control("net", 0.5, 0.4, 0.2)]
    (ax,) = written(controls(rows, 0.97)).axes
    dots = [line.get_xydata()[0].tolist() for line in ax.lines if line.get_marker() in "o<"]
    assert dots == [[0.99, 0], [-1, 1], [0.5, 2]]
    (right,) = ax.child_axes
    assert texts(right.get_yticklabels()) == ["0.99", "\u22124.20", "0.50"]
    bars = [line.get_xdata() for line in ax.lines if line.get_alpha() == 0.6]
    np.testing.assert_allclose(bars[2], [0.2, 0.6])


def test_angles_are_marked_by_phase_and_side():
    same = np.array([True, False, True])
    angles = np.array([1.0, 2, NAN]), np.array([10.0, 80, 30])
    deviation = np.array([[0.1, 1, 0.2], [0.2, 2, 0.1], [0.3, 3, NAN]])
    pairs = FrozenPairs(np.array([0.1, 0.9, 0.3]), same, *angles, deviation)
    ax, beside, errors = written(plane_angles(pairs)).axes
    points = [c.get_offsets().filled(NAN).tolist() for c in ax.collections]
    assert points[1] == [[0.9, 2]] and points[2:] == [[[0.1, 10], [0.3, 30]], [[0.9, 80]]]
    assert sum(bar.get_width() for bar in beside.patches) == 5
    medians = [line.get_ydata()[0] for line in errors.lines if line.get_linewidth() == 1.8]
    np.testing.assert_allclose(medians, [0.2, 2, 0.15])


def test_planes_lie_among_their_points_and_are_seen_aslant(rng):
    normals = np.array([[0.6, 0, -0.8], [0.6, 0, -0.8], [0, -0.8, -0.6]])
    base = rng.uniform(-1, 1, (3, 40, 2))
    height = -np.einsum("pnk,pk->pn", base, normals[:, :2]) / normals[:, 2:]
    points = np.concatenate([base, height[..., None]], -1)
    axes = written(phase_clouds(points, normals)).axes
    assert len(axes) == 2
    ranges = np.ptp(points.reshape(-1, 3), axis=0)
    for part, normal in zip(points, normals, strict=True):
        corners = plane_corners(part, normal)
        np.testing.assert_allclose((corners - part.mean(0)) @ normal, 0, atol=1e-12)
        assert (corners.min(0)[:2] <= part.min(0)[:2] + 1e-12).all()
        assert (corners.max(0)[:2] >= part.max(0)[:2] - 1e-12).all()
    for ax in axes:
        assert len(ax.collections) == 4  # two clouds and their planes
        around, up = np.radians([ax.azim, ax.elev])
        sight = np.array([np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up)])
        slants = np.abs(normals * ranges @ sight) / np.linalg.norm(normals * ranges, axis=1)
        assert (slants > 0.1).all() and (slants < 0.7).all()


# ---------------------------------------------------------------- views of a small study

STUDY = FeedbackStudy.model_validate(
    {
        "task": {"n_steps": 44, "sources": {"type": "sines"}, "noise": 0.002},
        "training": {
            "learning_rate": 0.003,
            "n_epochs": 2,
            "batches_per_epoch": 3,
            "n_contexts": 4,
            "n_held_out": 3,
        },
        "networks": {
            "spatial": {
                "seeds": (3, 8),
                "freeze": True,
                "decode_context": True,
                "config": {"type": "spatial", "tau": 7, "n_hidden": 6, "n_units": 9},
                "grid": {"width": (0.3, 0.6)},
            },
            "drawn": {
                "seeds": (3,),
                "training": {"n_epochs": 0},
                "config": {"type": "spatial", "tau": 7, "n_hidden": 6, "n_units": 9},
            },
            "modulation": {"seeds": (3,), "config": {"type": "modulation", "n_hidden": 6}},
        },
        "tests": {
            "contexts": {
                "config": {"n_contexts": 5, "n_train_contexts": 2},
                "grid": {"noise": (0.002, 0.3)},
            }
        },
        "freezing": {"n_pairs": 3, "n_contexts": 3},
        "context_decoding": {"n_grid": 6, "n_runs": 4, "n_folds": 3},
        "controls": {
            "config": {
                "n_steps": 60,
                "n_fit": 30,
                "n_contexts": 3,
                "n_train_contexts": 4,
                "feedforward": {"n_batches": 5},
            },
            "grid": {"feedforward.window": (1, 4)},
        },
    }
)
TABLES = (
    (ContextTest.Context, ContextTest.Unit, ContextTest.Population, ContextTest, ContextTestPlan),
    (FreezeExperiment.Pair, FreezeExperiment, FreezePlan),
    (ContextDecoding.Score, ContextDecoding, ContextDecodingPlan),
    (FeedbackControl, FeedbackControlPlan),
    (TrainedModel.Epoch, TrainedModel.SourceLoss, TrainedModel, TrainingPlan, TrainingSet),
)


@pytest.fixture(scope="module")
def study(tables, tmp_path_factory):
    """Networks of four plans, one of them as it was drawn, and a network of others."""
    registered = register_feedback(STUDY)
    published = ingest_feedback_weights(weights(tmp_path_factory.mktemp("w")), "a paper", "sines")
    task = registered["training_set"]
    for table in (TrainedModel, ContextTest, FreezeExperiment, ContextDecoding, FeedbackControl):
        table.populate(task)
    yield registered | {"published": published[0]}
    for plan in (task, published[0]):
        for tables_of in TABLES:
            for table in tables_of:
                (table & plan).delete_quick()


def weights(folder):
    """Write weights as others publish them, of a network that nobody trained."""
    network = feedback_network(SpatialParams(tau=5, n_hidden=6, n_units=8))
    state = network.state_dict()
    arrays = {name: state[own].numpy() for name, own in PUBLISHED_NAMES.items()}
    np.savez(folder / "w.npz", tau=5.0, add=0, mix_noise=0.001, **arrays)
    return folder / "w.npz"


@pytest.fixture(scope="module")
def drawn():
    """Collects what figures are made of, by name."""
    functions = {
        modulated_networks: ("error_curves",),
        feedback_figures: ("switch", "clarities", "source_decoding", "deviations"),
        dependence_figures: ("dependences", "context_decoding", "controls"),
        subspace_figures: ("plane_angles", "phase_clouds"),
    }
    with watched(functions) as calls:
        yield calls


@pytest.fixture(scope="module")
def view(study, drawn):
    """Everything that the report says of the study, and of nothing else."""
    names = TrainingSet.primary_key
    own = [study["training_set"], {name: study["published"][name] for name in names}]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modulated_networks, "TrainingPlan", TrainingPlan & own)
        return feedback(Sketchbook())


def plan_of(study, label):
    """Return the key of the plan that has a label."""
    names = {
        "modulation \u03c4 1, sines": "modulation",
        "spatial \u03c4 7 width 0.3, sines": "spatial.0",
        "spatial \u03c4 7 width 0.6, sines": "spatial.1",
        "spatial \u03c4 7 width 0.2, sines, untrained": "drawn",
    }
    if label == "spatial \u03c4 5 width 0.2, sines, published":
        return study["published"]
    return study["plans"][names[label]]


def best_network(plan):
    """Return the key of the network of a plan with the lowest loss."""
    rows = (TrainedModel.SourceLoss & plan).to_dicts(order_by="source_loss")
    return {name: rows[0][name] for name in TrainedModel.primary_key}


def own_test(network):
    """Return the test of a network with the noise of its task."""
    return ContextTest & network & "test_noise = 0.002"


def test_plans_are_described_from_the_best_to_the_worst(study, view):
    assert len(view.plans) == 5
    lowest = []
    for plan in view.plans:
        losses = TrainedModel.SourceLoss & plan_of(study, plan.label)
        loss, silent = losses.to_arrays("source_loss", "silent_loss", order_by="seed")
        assert (plan.loss, plan.lowest, plan.highest, plan.silent) == pytest.approx(
            (loss.mean(), loss.min(), loss.max(), silent.mean())
        )
        lowest.append((loss / silent).min())
        assert len(plan.seeds) == plan.n_planned == len(loss)
    assert lowest == sorted(lowest)
    by_label = {plan.label: plan for plan in view.plans}
    spatial = by_label["spatial \u03c4 7 width 0.3, sines"]
    assert (spatial.tau, spatial.width, spatial.seeds, spatial.n_batches) == (7, 0.3, [3, 8], 6)
    assert spatial.task == "2 sines, 44 steps, noise 0.002"
    published = by_label["spatial \u03c4 5 width 0.2, sines, published"]
    assert (published.published, published.clarity) == ("a paper", {})
    assert by_label["spatial \u03c4 7 width 0.2, sines, untrained"].n_batches == 0


def test_scores_of_a_plan_are_means_of_its_seeds_in_the_test_nearest_to_the_task(study, view):
    for plan in view.plans:
        tests = ContextTest.Population * own_test(plan_of(study, plan.label))
        rows = tests.to_dicts(order_by="KEY")
        for population in plan.clarity:
            own = [row for row in rows if row["population"] == population]
            assert len(own) == len(plan.seeds)
            clarity, decoding, late = (
                np.mean([row[name] for row in own])
                for name in ("clarity_mean", "decoding_median", "deviation_end")
            )
            found = plan.clarity[population], plan.decoding[population], plan.deviation
            assert found == pytest.approx((clarity, decoding, late))
    kinds = {tuple(sorted(plan.clarity)) for plan in view.plans}
    assert kinds == {("inputs", "outputs"), ("inputs", "outputs", "population"), ()}
    assert view.populations == ["inputs", "population", "outputs"]


def test_learning_curves_are_those_of_trained_networks(study, view, drawn):
    ((tasks, _),) = drawn["error_curves"]
    curves = [curve for curve in tasks["2 sines, 44 steps, noise 0.002"] if len(curve.epochs)]
    trained = [plan for plan in view.plans if plan.n_batches]
    assert [c.name for c in curves] == [p.label for p in trained for _ in p.seeds]
    for plan in trained:
        scores = (TrainedModel.Epoch & plan_of(study, plan.label)).to_arrays(
            "epoch_score", order_by=("seed", "epoch")
        )
        found = np.concatenate([c.error for c in curves if c.name == plan.label])
        np.testing.assert_allclose(found, -scores)


def test_what_is_run_once_more_is_what_was_scored(study, view, drawn):
    ((decoding,),) = drawn["source_decoding"]
    tested = [plan.label for plan in view.plans if plan.clarity]
    assert list(decoding) == tested[:3]
    ((courses,),) = drawn["deviations"]
    for label, populations in decoding.items():
        test = own_test(best_network(plan_of(study, label)))
        for population, r2 in populations.items():
            row = (ContextTest.Population & test.proj() & {"population": population}).fetch1()
            assert len(r2) == 3
            assert np.median(r2) == pytest.approx(row["decoding_median"], rel=1e-6)
        assert courses[label].shape == (44,)
        assert courses[label].mean() == pytest.approx(test.fetch1("deviation_all"), rel=1e-6)


def test_the_switch_is_the_one_between_the_contexts_that_differ_most(study, view, drawn):
    ((traces,),) = drawn["switch"]
    best = next(plan for plan in view.plans if plan.clarity)
    test = own_test(best_network(plan_of(study, best.label)))
    mixing = [np.asarray(m) for m in (ContextTest.Context & test.proj()).to_arrays(
        "mixing", order_by="context_index"
    )]  # fmt: skip
    distances = [np.linalg.norm(a - b) for a, b in pairwise(mixing)]
    first = int(np.argmax(distances))
    np.testing.assert_array_equal(traces.mixing, mixing[first : first + 2])
    assert (traces.steps[0], traces.steps[-1]) == (-44, 43)
    for part, matrix in ((np.s_[:44], mixing[first]), (np.s_[44:], mixing[first + 1])):
        expected = traces.sources[part] @ matrix.T
        assert np.abs(traces.inputs[part] - expected).max() < 6 * 0.002


def test_clarity_is_drawn_as_it_is_stored(study, view, drawn):
    ((networks,),) = drawn["clarities"]
    assert list(networks) == [plan.label for plan in view.plans if plan.clarity]
    for label, populations in networks.items():
        test = own_test(best_network(plan_of(study, label))).proj()
        outputs = (ContextTest.Context & test).to_arrays("output_clarity", order_by="KEY")
        np.testing.assert_array_equal(populations["outputs"], outputs.astype(float))
        if "population" in populations:
            units = ContextTest.Unit & test & {"population": "population"}
            clarity = units.to_arrays("unit_clarity", order_by="population_unit")
            np.testing.assert_array_equal(populations["population"], clarity.astype(float))


def test_frozen_feedback_is_described_by_the_pairs(study, view, drawn):
    assert len(view.subspaces.networks) == 2
    for freeze, (pairs,) in zip(view.subspaces.networks, drawn["plane_angles"], strict=True):
        network = best_network(plan_of(study, freeze.label))
        assert (freeze.seed, freeze.n_pairs) == (network["seed"], 3)
        master = (FreezeExperiment & network).fetch1()
        assert (*freeze.frozen, *freeze.unfrozen) == pytest.approx(
            [master[f"{s}_angle_{p}"] for p in ("frozen", "unfrozen") for s in ("mean", "sd")]
        )
        rows = (FreezeExperiment.Pair & network).to_dicts(order_by="freeze_pair")
        np.testing.assert_array_equal(pairs.distance, [r["context_distance"] for r in rows])
        np.testing.assert_array_equal(pairs.unfrozen, [r["angle_unfrozen"] for r in rows])
        errors = [r["deviation_frozen"] for r in rows]
        assert freeze.deviations[1] == pytest.approx(np.mean(errors))
        assert freeze.analytic < 1e-3


def test_planes_are_of_the_pair_with_the_median_angle(study, view, drawn):
    (((original, frozen, unfrozen), normals),) = drawn["phase_clouds"]
    network = best_network(plan_of(study, view.subspaces.networks[0].label))
    rows = (FreezeExperiment.Pair & network).to_dicts(order_by="late_angle_unfrozen")
    median = rows[1]["late_angle_unfrozen"]
    cosine = abs(normals[0] @ normals[2]) / np.prod(np.linalg.norm(normals[[0, 2]], axis=1))
    assert np.degrees(np.arccos(cosine)) == pytest.approx(median, abs=3)  # other noise
    assert original.shape == frozen.shape == unfrozen.shape == (13, 3)  # 0.6 of 22 steps
    for points, normal in ((original, normals[0]), (frozen, normals[1]), (unfrozen, normals[2])):
        base = np.column_stack([points[:, :2], np.ones(13)])
        slopes = np.linalg.lstsq(base, points[:, 2], rcond=None)[0]
        np.testing.assert_allclose(normal[:2] / -normal[2], slopes[:2], rtol=1e-5, atol=1e-7)


def test_what_was_varied_has_a_line_for_all_that_is_the_same(study, view, drawn):
    (((panels, y)),) = drawn["dependences"]
    assert y == "clarity of the outputs"
    assert list(panels) == ["width of feedback", "noise of the inputs (sd)"]
    assert set(panels["width of feedback"]) == {
        "spatial, noise 0.002",
        "spatial, noise 0.3",
    }
    assert len(panels["noise of the inputs (sd)"]) == 4
    line = panels["width of feedback"]["spatial, noise 0.3"]
    assert [point.at for point in line] == [0.3, 0.6]
    for point, name in zip(line, ("spatial.0", "spatial.1"), strict=True):
        tests = ContextTest & study["plans"][name] & "test_noise = 0.3"
        rows = ContextTest.Population & tests.proj() & {"population": "outputs"}
        clarity = rows.to_arrays("clarity_mean", order_by="seed")
        np.testing.assert_array_equal(np.sort(point.values), np.sort(clarity.astype(float)))


def test_contexts_and_controls_are_drawn_as_they_are_stored(study, view, drawn):
    ((networks,),) = drawn["context_decoding"]
    for label, found in networks.items():
        network = best_network(plan_of(study, label))
        rows = (ContextDecoding.Score & network).to_dicts(order_by="KEY")
        assert sum(map(len, found.values())) == len(rows)
        for row in rows:
            name = f"{row['decoded_target']} from {row['decoded_layer']}"
            assert found[name][row["decoder_features"]] == row["context_r2"]
    ((rows, network),) = drawn["controls"]
    stored = (FeedbackControl & study["training_set"]).to_dicts(order_by="KEY")
    medians = {row["feedforward_median"] for row in stored}
    assert [row.name for row in rows[2:]] == [
        "feed-forward network, 1 sample", "feed-forward network, 4 samples",
    ]  # fmt: skip
    assert {row.median for row in rows[2:]} == medians
    assert rows[1].median == stored[0]["linear_other_median"]
    best = best_network(plan_of(study, next(plan.label for plan in view.plans if plan.clarity)))
    outputs = ContextTest.Population & own_test(best).proj() & {"population": "outputs"}
    assert network == outputs.fetch1("decoding_median")


def test_where_no_network_has_feedback_there_is_no_view(tables, monkeypatch):
    monkeypatch.setattr(modulated_networks, "TrainingPlan", TrainingPlan & False)
    assert feedback(Sketchbook()) is None


# ---------------------------------------------------------------- the page


def html_of(view):
    html = render(replace(empty_page(), feedback=view))
    Reader(html)
    return html


def test_the_page_says_what_was_found(view):
    html = html_of(view)
    assert "No training set has been registered yet" not in html
    for plan in view.plans:
        assert plan.label in html and f"{plan.loss:.1f}" in html
    for freeze in view.subspaces.networks:
        assert f"{freeze.unfrozen[0]:.1f} <small>" in html
    assert "trained elsewhere: a paper" in html
    assert html.count("<figure") == 4 + 1 + 1 + 2 + 3  # tests, losses, planes, angles, the rest
    assert "plane cannot\nmove when only the context changes" in html


def test_a_page_without_such_networks_has_no_section():
    html = render(empty_page())
    assert "Feedback modulation" not in html


def test_what_is_not_computed_yet_is_left_out_and_names_are_escaped():
    plan = ModulatedView(
        "<b>", "spatial", "<i>", NAN, NAN, [1], 2, 1, 0, "<u>", NAN, NAN, NAN, 9.0
    )  # fmt: skip
    html = html_of(FeedbackView([plan]))
    assert "No network is tested in new contexts yet" in html
    assert "1 of 2" in html and "1 not finite" in html
    assert "&lt;u&gt;" in html and "<u>" not in html and "<i>" not in html
    assert "Frozen and released feedback" not in html and "nan" not in html
