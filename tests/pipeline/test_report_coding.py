"""Efficient codes in the report: figures of small arrays, views of small sweeps, the page."""

import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from sketchbook import Sketchbook, watched
from test_report import Reader, empty_page, full_page, written

from pipeline.any_study import read_any_study
from pipeline.coding_study import CodingStudy, register_coding
from pipeline.ingest.limens import ingest_limens
from pipeline.report import coding_figures, limen_figures, tuning_figures
from pipeline.report.coding import coding, stimulus_words
from pipeline.report.coding_figures import (
    CodeCurve,
    rate_colours,
    rate_distortion,
    summaries,
    training_curves,
)
from pipeline.report.coding_page import CodedStimulusView, CodingView, LimensView, SweepView
from pipeline.report.limen_figures import PredictedLimens, limens
from pipeline.report.picture import Picture
from pipeline.report.render import render
from pipeline.report.style import MAIN, SECOND
from pipeline.report.tuning_figures import (
    DecodedCodes,
    FittedLaw,
    StimulusAxis,
    TunedCode,
    couplings,
    decoding,
    power_laws,
    tuning,
)
from schemas.coding import CodeAnalysis, CodeAnalysisPlan
from schemas.coding_sweep import CodingExponents, CodingSweep, RateDistortion
from schemas.dataset import TrainingSet
from schemas.limens import LimenComparison, LimenComparisonPlan, LimenStudy
from schemas.model import TrainedModel, TrainingPlan
from science.coding import FrequencyStimulus, LogNormalStimulus, MixtureStimulus, SpeedStimulus

# the package has a function of that name
module = import_module("pipeline.report.coding")

NAN = np.nan
STUDIES = Path(__file__).parents[2] / "pipeline" / "studies"
PICTURE = Picture("figures/x-0123456789.png", "a figure", 400)
X = np.geomspace(0.1, 10, 7)
AXIS = StimulusAxis("frequency", "kHz", X, 1 / X, (0.1, 10.0), True)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def texts(axis):
    return [text.get_text() for text in axis]


# ---------------------------------------------------------------- figures


def swept(shift=0.0):
    """Two seeds of two target rates, the second seed further from the ideal line."""
    rate, excess = np.array([1.0, 1.2, 2.0, 2.2]), shift + np.array([0.1, 0.3, 0.2, 0.4])
    columns = {"sweep_target_rate": [1.1, 1.1, 2.1, 2.1], "analysed_rate": rate, "excess": excess}
    columns |= {"analysed_distortion": 2.5 + excess - rate, "on_front": [1, 1, 1, 0]}
    return pd.DataFrame(columns | dict.fromkeys(coding_figures.SUMMARIES, rate + 1))


def test_codes_lie_above_the_ideal_line():
    plane, above = written(rate_distortion({"a": swept(), "b": swept(0.5)}, 2.5)).axes
    (ideal,) = [line for line in plane.lines if line.get_linestyle() == "--" and len(line._x)]
    assert ideal.get_ydata() + ideal.get_xdata() == pytest.approx([2.5, 2.5])
    for ax, value in ((plane, [1.6, 1.6, 0.7, 0.7]), (above, [0.1, 0.3, 0.2, 0.4])):
        codes = next(line for line in ax.lines if line.get_linestyle() == "None" and len(line._x))
        np.testing.assert_allclose(codes.get_xydata(), np.c_[[1.0, 1.2, 2.0, 2.2], value])
        means = ax.containers[0].lines[0].get_xydata()
        np.testing.assert_allclose(means, [[1.1, np.mean(value[:2])], [2.1, np.mean(value[2:])]])
    front = [line for line in above.lines if line.get_markeredgewidth() == 0.9]
    assert front[0].get_ydata().tolist() == pytest.approx([0.1, 0.3, 0.2])
    assert {to_hex(line.get_color()) for line in front} == {MAIN, SECOND}
    names = ["no other code is better", "ideal: D = H \u2212 R", "a", "b"]
    assert texts(plane.get_legend().get_texts()) == names


def test_a_single_seed_has_no_spread_and_information_is_held_against_the_rate():
    axes = written(summaries({"a": swept()[::2]})).axes
    assert len(axes) == len(coding_figures.SUMMARIES)
    means, _, spread = axes[0].containers[0].lines
    np.testing.assert_allclose(means.get_xydata(), [[1, 2], [2, 3]])
    assert [np.ptp(path, axis=0).max() for path in spread[1].get_segments()] == [0, 0]
    (diagonal,) = [line for line in axes[0].lines if line.get_linestyle() == "--"]
    np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())


def test_training_is_drawn_beside_its_target():
    curves = [
        CodeCurve(t, np.array([[5.0, 3, 2], [0.5, 0.7, t], [1, 0.5, NAN]])) for t in (2.0, 1.0)
    ]
    rate, distortion, multiplier = written(training_curves(curves)).axes
    colours = rate_colours([1.0, 2.0])
    assert len(set(colours.values())) == 2 and list(colours) == [1.0, 2.0]
    for ax, values in ((rate, [0.5, 0.7, 1]), (distortion, [5, 3, 2]), (multiplier, [1, 0.5, NAN])):
        first = next(line for line in ax.lines if line.get_linestyle() == "-")
        np.testing.assert_array_equal(first.get_xydata(), np.c_[[1, 2, 3], values])
        assert to_hex(first.get_color()) == colours[1.0] and ax.get_xscale() == "log"
    targets = [line.get_ydata()[0] for line in rate.lines if line.get_linestyle() == "--"]
    assert targets == [1, 2]


def test_tuning_curves_stand_over_the_seeds_preferred_stimuli(rng):
    probability = rng.uniform(size=(7, 3))
    preferred = {4: np.array([0.2, 1, 3]), 2: np.array([0.3, 0.9, 4])}
    codes = [TunedCode("low", probability, preferred), TunedCode("high", probability, {4: X[:3]})]
    axes = written(tuning(AXIS, codes)).axes
    assert len(axes) == 4 and axes[0].get_title(loc="left") == "low"
    drawn = np.stack([line.get_ydata() for line in axes[0].lines], 1)
    np.testing.assert_array_equal(drawn, probability)
    ticks = [c.get_offsets().tolist() for c in axes[2].collections]
    assert ticks == [[[0.2, 0], [1, 0], [3, 0]], [[0.3, 1], [0.9, 1], [4, 1]]]
    assert texts(axes[2].get_yticklabels()) == ["4", "2"]
    assert axes[2].get_xlabel() == "frequency (kHz)" and axes[2].get_xscale() == "log"
    assert axes[0].get_xlim() == (0.1, 10)


def test_errors_are_medians_over_seeds_beside_the_bound(rng):
    posterior = rng.uniform(1, 2, (3, 7))
    bound = np.where(X > 5, np.inf, 0.5 * posterior)
    code = DecodedCodes("1 nats", posterior, posterior + 1, bound, posterior / 10)
    law, ax = written(decoding(AXIS, 4.0, [code])).axes
    found = {line.get_label(): line.get_ydata() for line in ax.lines}
    np.testing.assert_allclose(found["decoded mean"], np.median(posterior, 0))
    np.testing.assert_allclose(found["draw from the decoded law"], np.median(posterior, 0) + 1)
    np.testing.assert_allclose(found["Cram\u00e9r-Rao bound"], np.median(bound, 0))
    assert found["variance of the stimulus"] == [4, 4]
    np.testing.assert_array_equal([line.get_ydata() for line in law.lines], posterior / 10)
    assert ax.get_ylabel() == "squared error (kHz\u00b2)"


def test_power_laws_are_drawn_through_what_they_were_fitted_to():
    prior = np.array([0.1, 0.2, 0.4, 0.8])
    kept = np.array([True, True, True, False])
    fitted = FittedLaw(prior, 3 * prior**-0.5, kept, -0.5, 3.0, (-0.6, -0.4))
    unknown = FittedLaw(prior, prior, np.zeros(4, bool))
    axes = written(power_laws({"a": {"width": fitted}, "b": {"width": unknown}})).axes
    out, points, line = axes[0].lines
    np.testing.assert_array_equal(out.get_xydata(), [[0.8, fitted.value[3]]])
    assert points.get_xdata().tolist() == [0.1, 0.2, 0.4]
    np.testing.assert_allclose(line.get_ydata(), fitted.value[[0, 2]])
    words = "exponent \u22120.50 (\u22120.60 to \u22120.40)"
    assert axes[0].get_title(loc="right") == words
    assert len(axes[1].lines) == 2 and axes[1].get_title(loc="left") == "b"


def test_couplings_share_a_scale_around_zero():
    values = np.array([[0, -3.0], [-3, 0]])
    first, second, bar = written(couplings({"a": values, "b": values / 3})).axes
    assert first.images[0].get_clim() == second.images[0].get_clim() == (-3, 3)
    assert texts(first.get_xticklabels()) == ["1", "2"] and bar.get_ylabel() == "coupling J"


def test_limens_of_listeners_stand_in_both_panels():
    listeners = {"listener 1": (np.array([200.0, 2000]), np.array([1.0, 9]))}
    frequencies = np.array([125.0, 1000, 8000])
    predicted = PredictedLimens(1.5, {"a": frequencies / 100, "b": frequencies / 50})
    axes = written(limens(listeners, frequencies, [predicted], frequencies / 80)).axes
    for ax, kind, scale in zip(axes, "ab", (100, 50), strict=True):
        own, classical, points = ax.lines
        np.testing.assert_allclose(own.get_ydata(), frequencies / scale)
        np.testing.assert_allclose(classical.get_ydata(), frequencies / 80)
        assert points.get_xydata().tolist() == [[200, 1], [2000, 9]]
        assert ax.get_title(loc="left") == kind


@pytest.mark.parametrize(
    ("stimulus", "words"),
    [
        (LogNormalStimulus(), "log-normal stimulus, logarithm 1 \u00b1 1"),
        (MixtureStimulus(), "stimulus from a mixture of 3 normal laws"),
        (FrequencyStimulus(), "acoustic frequency, 0.025 to 25 kHz"),
        (SpeedStimulus(), "retinal speed, 0.32 to 25"),
    ],
)
def test_stimuli_are_told_in_words(stimulus, words):
    assert stimulus_words(stimulus) == words


# ---------------------------------------------------------------- views of small sweeps

MINIATURE = read_any_study(STUDIES / "coding_miniature.toml")
EPOCHS = MINIATURE.training.n_epochs
HEARING = {
    "task": {"stimulus": {"type": "frequency"}, "n_train": 200, "n_test": 50},
    "training": {"target_rates": (0.4, 0.8), "n_epochs": 6, "learning_rate": 0.02},
    "networks": {
        "codes": {
            "seeds": (3,),
            "config": {"n_neurons": 3, "n_hidden": 8},
            "grid": {"word_prior": ("ising", "bernoulli")},
        }
    },
    "analysis": {"n_stimuli": 400, "window": 20, "n_grid": 60},
    "limens": ("heard",),
}
HEARD = "subject,frequency_hz,limen_hz\n1,250,0.7\n1,1000,1.5\n2,1000,2\n2,4000,9\n"


@pytest.fixture(scope="module")
def studies(tables, tmp_path_factory):
    """A sweep of the miniature, and two of frequency beside two listeners."""
    path = tmp_path_factory.mktemp("limens") / "heard.csv"
    path.write_text(HEARD)
    ingest_limens(path, "heard")
    asked = [MINIATURE, CodingStudy.model_validate(HEARING)]
    made = [register_coding(study) for study in asked]
    own = [study["training_set"] for study in made]
    steps = (TrainedModel, CodeAnalysis, RateDistortion, CodingExponents, LimenComparison)
    for table in steps:
        table.populate(own)
    yield made
    forget(own)


def forget(own):
    """Delete what was made, and nothing of which anything else depends on: so quickly."""
    for table in (
        *(LimenComparison.Target, LimenComparison, LimenComparisonPlan),
        *(CodingExponents.PowerLaw, CodingExponents),
        *(RateDistortion.Point, RateDistortion.Target, RateDistortion),
        *(CodingSweep.Member, CodingSweep.Target, CodingSweep),
        *(CodeAnalysis.Neuron, CodeAnalysis.Code, CodeAnalysis, CodeAnalysisPlan),
        *(TrainedModel.Code, TrainedModel.Epoch, TrainedModel, TrainingPlan, TrainingSet),
    ):
        (table & own).delete_quick()
    for table in (LimenStudy.Limen, LimenStudy):
        (table & {"limen_study": "heard"}).delete_quick()


@pytest.fixture(scope="module")
def drawn():
    """Collects what figures are made of, by name."""
    functions = {
        coding_figures: ("rate_distortion", "training_curves"),
        tuning_figures: ("tuning", "decoding", "power_laws", "couplings"),
        limen_figures: ("limens",),
    }
    with watched(functions) as calls:
        yield calls


@pytest.fixture(scope="module")
def views(studies, drawn):
    """What the report says of the codes of log-normal stimuli, and of frequency."""
    view = coding(Sketchbook())
    by_name = {stimulus.stimulus.split()[0]: stimulus for stimulus in view.stimuli}
    assert view.n_codes >= 10
    return by_name["log-normal"], by_name["acoustic"]


def own(study, name):
    """Return the codes of a sweep by target, from SQL alone."""
    sweep = study["sweeps"][name]
    codes = CodeAnalysis.Code * RateDistortion.Point * CodingSweep.Target & sweep
    return pd.DataFrame(codes.to_dicts(order_by=["sweep_target_rate", "seed"]))


def test_sweeps_are_described_by_what_sql_says(studies, views):
    view, _ = views
    assert (view.n_train, view.entropy) == (500, pytest.approx(2.41894, abs=1e-5))
    (sweep,) = view.sweeps
    assert sweep.label == "Ising prior, 4 neurons"
    assert (sweep.n_neurons, sweep.word_prior, sweep.n_epochs) == (4, "Ising", EPOCHS)
    assert (sweep.seeds, sweep.n_codes, sweep.n_trained, sweep.n_nonfinite) == ([1, 2], 6, 6, 0)
    codes = own(studies[0], "ising")
    for row, (target, of) in zip(sweep.targets, codes.groupby("sweep_target_rate"), strict=True):
        assert (row["target_rate"], row["n"]) == (target, 2)
        for name, column in (
            ("rate", "analysed_rate"),
            ("distortion", "analysed_distortion"),
            ("excess", "excess"),
            ("mutual_information", "mutual_information"),
            ("posterior_mse", "posterior_mse"),
            ("mean_width", "mean_width"),
        ):
            assert row[name] == pytest.approx(of[column].mean()), name
        assert row["excess_sd"] == pytest.approx(of.excess.std())
    assert sweep.best["excess"] == min(row["excess"] for row in sweep.targets)
    laws = CodingExponents.PowerLaw * CodingSweep.Target & studies[0]["sweeps"]["ising"]
    assert laws
    for law in laws.to_dicts():
        (row,) = [r for r in sweep.laws if r["target_rate"] == law["sweep_target_rate"]]
        assert row[law["coding_relation"]]["exponent"] == law["exponent"]
    assert not sweep.with_intervals  # of two seeds


def test_all_codes_of_a_stimulus_share_a_plane(studies, views, drawn):
    (planes,) = [call for call in drawn["rate_distortion"] if len(call[0]) == 2]
    names = ["Ising prior, 3 neurons", "Bernoulli prior, 3 neurons"]
    assert set(planes[0]) == set(names)
    assert planes[1] == pytest.approx(FrequencyStimulus().entropy())
    assert {len(codes) for codes in planes[0].values()} == {2}
    assert views[1].rate_distortion.src == "rate-distortion.png"
    excess = [planes[0][sweep.label].excess.mean() for sweep in views[1].sweeps]
    assert excess == sorted(excess)


def test_the_training_of_the_first_seed_is_drawn(studies, views, drawn):
    (curves,) = next(call for call in drawn["training_curves"] if len(call[0]) == 3)
    key = studies[0]["plans"]["ising"][0] | {"seed": 1}
    rows = (TrainedModel.Code & key).to_dicts(order_by="target_rate")
    for curve, row in zip(curves, rows, strict=True):
        assert curve.target_rate == row["target_rate"]
        assert curve.values.shape == (3, EPOCHS)
        last = [row["train_distortion"], row["train_rate"]]
        assert curve.values[:2, -1].tolist() == pytest.approx(last)


def test_tuning_is_that_of_the_stored_neurons(studies, views, drawn):
    axis, codes = next(call for call in drawn["tuning"] if len(call[1]) == 3)
    assert [code.title for code in codes] == ["0.5 nats", "1 nats", "1.5 nats"]
    rows = own(studies[0], "ising")
    for code, (_, of) in zip(codes, rows.groupby("sweep_target_rate"), strict=True):
        assert list(code.preferred) == [1, 2]
        for row in of.to_dict("records"):
            key = {name: row[name] for name in CodeAnalysis.Code.primary_key}
            columns = ("preferred_stimulus", "stimulus_width", "tuning_amplitude")
            neurons = (CodeAnalysis.Neuron & key).to_arrays(*columns, order_by="neuron_rank")
            c, w, a = (np.asarray(column, float) for column in neurons)
            assert code.preferred[row["seed"]].tolist() == c.tolist()
            if row["seed"] == 1:
                odds = a * np.exp(-0.5 * ((axis.x[:, None] - c) / w) ** 2)
                np.testing.assert_allclose(code.spike_probability, odds / (1 + odds), atol=1e-6)


def test_decoding_and_couplings_are_the_stored_curves(studies, views, drawn):
    axis, variance, codes = next(call for call in drawn["decoding"] if len(call[2]) == 3)
    assert variance == pytest.approx(34.513, abs=1e-3)
    rows = own(studies[0], "ising")
    for code, (_, of) in zip(codes, rows.groupby("sweep_target_rate"), strict=True):
        np.testing.assert_array_equal(code.posterior, np.stack(of.posterior_error))
        np.testing.assert_array_equal(code.sampling, np.stack(of.sampling_error))
        np.testing.assert_array_equal(code.bound, np.stack(of.cramer_rao_bound))
        assert code.posterior.shape == (2, len(axis.x))
        assert (code.bound <= code.posterior * (1 + 1e-9)).all()
    ((shown,),) = [call for call in drawn["couplings"] if "1.5 nats" in call[0]]
    np.testing.assert_array_equal(shown["1.5 nats"], rows.couplings.to_numpy()[-2])
    assert len(drawn["couplings"]) == len(drawn["tuning"]) - 1  # a Bernoulli prior has none


def test_drawn_power_laws_fit_what_they_keep(studies, views, drawn):
    ((columns,),) = [call for call in drawn["power_laws"] if "1.5 nats" in call[0]]
    laws = CodingExponents.PowerLaw * CodingSweep.Target & studies[0]["sweeps"]["ising"]
    for row in (laws & "coding_relation = 'width'").to_dicts():
        law = columns[f"{row['sweep_target_rate']:g} nats"]["width of tuning"]
        assert law.kept.sum() == row["n_law_points"] and law.exponent == -row["exponent"]
        slope, offset = np.polyfit(np.log(law.prior[law.kept]), np.log(law.value[law.kept]), 1)
        assert (slope, np.exp(offset)) == pytest.approx((law.exponent, law.prefactor))
    density = columns["1.5 nats"]["density of preferred stimuli"]
    assert density.exponent == pytest.approx(
        (laws & "coding_relation = 'density'" & "target_index = 2").fetch1("exponent")
    )
    slope = np.polyfit(np.log(density.prior[density.kept]), np.log(density.value[density.kept]), 1)
    assert slope[0] == pytest.approx(density.exponent, abs=0.05)  # of fewer points


def test_limens_are_those_of_the_comparison(studies, views, drawn):
    heard = views[1].limens
    assert len(heard) == 2 and {len(view.rows) for view in heard} == {5}
    assert (heard[0].study, heard[0].n_limens, heard[0].n_listeners) == ("heard", 4, 2)
    for view, call in zip(heard, drawn["limens"], strict=True):
        name = {"Ising": "codes.0", "Bernoulli": "codes.1"}[view.label.split()[0]]
        key = studies[1]["sweeps"][name]
        rows = LimenComparison.Target * CodingSweep.Target & key
        for row in rows.to_dicts():
            kind = {"sampling": "draw from the decoded law", "posterior": "decoded mean"}
            text = f"{row['sweep_target_rate']:g} nats, {kind[row['error_kind']]}"
            (shown,) = [r for r in view.rows if r["name"] == text]
            assert shown["slope"] == row["limen_slope"]
            assert np.log(shown["factor"]) == pytest.approx(row["limen_log_error"])
        listeners, frequencies, predictions, classical = call
        assert {n: at.tolist() for n, (at, _) in listeners.items()} == {
            "listener 1": [250, 1000],
            "listener 2": [1000, 4000],
        }
        # scaled so that the logarithms of limen over prediction are 0 on average
        at, measured = np.concatenate(list(listeners.values()), axis=1)
        for curve in (classical, *(c for p in predictions for c in p.limens.values())):
            ratio = np.log(measured / np.interp(at, frequencies, curve))
            assert ratio.mean() == pytest.approx(0, abs=5e-3)


def test_codes_that_are_not_finite_or_not_analysed_are_said(studies, views, monkeypatch):
    sweep = studies[0]["sweeps"]["ising"]
    code = (TrainedModel.Code & studies[0]["plans"]["ising"]).keys(order_by="KEY")[0]
    (CodingExponents.PowerLaw & sweep).delete_quick()
    (CodingExponents & sweep).delete_quick()
    for part in (RateDistortion.Point, RateDistortion.Target, RateDistortion):
        (part & sweep).delete_quick()
    TrainedModel.Code.update1(code | {"code_status": "nonfinite"})
    monkeypatch.setattr(module, "CodingSweep", CodingSweep & sweep)
    try:
        view = coding(Sketchbook())
    finally:
        TrainedModel.Code.update1(code | {"code_status": "ok"})
        RateDistortion.populate(sweep)
        CodingExponents.populate(sweep)
    (stimulus,) = view.stimuli
    assert stimulus.rate_distortion is None and stimulus.sweeps[0].n_nonfinite == 1
    assert stimulus.sweeps[0].targets == [] and stimulus.sweeps[0].training
    text = text_of(CodingView([stimulus]))
    assert "1 not finite" in text
    assert "These codes are not all trained and analysed yet" in text


def test_without_codes_there_is_no_view(tables, monkeypatch):
    monkeypatch.setattr(module, "CodingSweep", CodingSweep & False)
    assert coding(Sketchbook()) is None


# ---------------------------------------------------------------- page


def full_view(text):
    """Return a view of everything that says `text`."""
    target = {"target_rate": 1.2, "n": 3, "rate": 1.19, "distortion": 1.25, "excess": 0.0214}
    target |= {"excess_sd": NAN, "mutual_information": 1.187, "word_prior_entropy": 2.9}
    target |= {"posterior_mse": 14.5, "sampling_mse": 25.9, "mean_width": 0.8}
    law = {"exponent": 0.59, "low": 0.5, "high": 0.7, "correlation": -0.77}
    laws = {"target_rate": 1.2, "error": law, "width_density": law}
    parts = (text, 8, text, text, text, [1, 2], 1, 3, 2, 1, 700)
    missed = target | {"target_rate": 2.6, "rate": 2.31, "excess": 0.4}
    sweep = SweepView(*parts, [target, missed], [laws], PICTURE, [PICTURE])
    row = {"name": text, "factor": 1.37}
    for name, value in (("slope", 1.05), ("correlation", 0.986)):
        row |= {name: value, f"{name}_low": NAN, f"{name}_high": NAN}
    limen_view = LimensView(text, text, 24, 3, [row], PICTURE)
    stimulus = CodedStimulusView(
        text, 2.41894, 34.51, 2000, [sweep, sweep], PICTURE, PICTURE, [limen_view]
    )
    return CodingView([stimulus])


def text_of(view):
    html = render(replace(empty_page(), coding=view))
    Reader(html)
    words = re.sub(r"<[^>]+>|&nbsp;|\s", " ", html)
    return re.sub(" +", " ", re.sub(r" +(?=[ ,;.:)])", "", words))


def test_the_numbers_are_on_the_page():
    text = text_of(full_view("said"))
    for words in (
        "2 Efficient codes",
        "0.021 nats above the ideal line at 1.2 nats",
        "Entropy 2.419 nats, variance 34.51; every seed draws 2 000 stimuli to train on.",
        "said 8 said said said 2 1 2 of 3 1 not finite 700",
        "their distortion is 1.250 nats at a rate of 1.190, together 0.021 nats above the entropy",
        "Not at their target: codes of 2.6 nats (rate 2.31).",
        "1.2 3 1.190 1.250 0.021 \u2013 1.187 2.90 14.50 25.90 0.80",
        "1.2 \u2013 \u2013 0.59 (0.50 to 0.70) \u22120.77 \u2013 \u2013",
        "24 frequency difference limens of 3 listeners (said)",
        "agreement here may be circular",
        "said 1.05 0.99 1.37",
        "3 Reading on",
    ):
        assert words in text, words
    assert "No training set has been registered yet" not in text


def test_whatever_comes_from_the_database_is_escaped():
    html = render(replace(empty_page(), coding=full_view("<i>&")))
    Reader(html)
    assert "<i>" not in html.lower() and "&lt;i&gt;&amp;" in html


def test_a_page_without_codes_says_nothing_of_them():
    html = render(full_page("plain"))
    assert "Efficient codes" not in html
    with_codes = render(replace(full_page("plain"), coding=full_view("x")))
    elements = Reader(with_codes).elements
    anchors = {a["id"] for _, a in elements if "id" in a}
    targets = {a["href"][1:] for tag, a in elements if tag == "a" and a["href"].startswith("#")}
    assert "codes" in targets <= anchors
