"""The closed loop in the report: figures of small arrays, views of the miniature, the page."""

import re
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from miniature import DAY_2, DAY_3, STIMULUS
from sketchbook import watched
from test_report import Reader, bars, empty_page, full_loop, written

from pipeline.report import loop_figures
from pipeline.report.album import Album
from pipeline.report.loop import KINDS, aligned, loops
from pipeline.report.loop_figures import (
    Pairing,
    calibrations,
    confusions,
    match_quality,
    pairs,
    population,
)
from pipeline.report.page import Block, LoopView
from pipeline.report.render import render
from pipeline.report.style import MAIN, SECOND
from pipeline.truth import closed_loop_results, kind_results, match_results
from schemas.cell_match import BestProximityCellMatch, CellMatchOracleCorrelation, LoopPool
from schemas.closed_loop import ConfusionMatrix, DiagonalTest
from schemas.monitor import ClosestCalibration, ProcessedMonitorCalibration
from schemas.recording import VirtualAnimal
from schemas.stimulus import StimulusSet

NAN = np.nan
KIND_OF = {name: kind for kind, name in KINDS.items()}


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


# ---------------------------------------------------------------- figures


def matrices_of(figure):
    return [ax.images[0].get_array().filled(NAN) for ax in figure.axes if ax.images]


def test_rows_of_confusion_matrices_are_divided_by_their_maximum(rng):
    mean = rng.uniform(0.5, 9, (5, 5))
    mean[1] = 0  # never answered
    mean[2] = NAN
    mean[:, 3] = NAN  # never shown
    (shown,) = matrices_of(written(confusions({"a": mean})))
    np.testing.assert_allclose(shown[0, [0, 1, 2, 4]], mean[0, [0, 1, 2, 4]] / np.nanmax(mean[0]))
    assert np.nanmax(shown[[0, 3, 4]], axis=1) == pytest.approx([1, 1, 1])
    assert np.isnan(shown[[1, 2]]).all()
    assert np.isnan(shown[:, 3]).all()


def test_all_confusion_matrices_have_one_colour_scale():
    positive, negative = np.eye(2), np.array([[2.0, -1.0], [0.0, 1.0]])
    figure = written(confusions({"a": positive, "b": negative}))
    assert [ax.images[0].get_clim() for ax in figure.axes[:2]] == [(-0.5, 1)] * 2
    assert [ax.get_title(loc="left") for ax in figure.axes[:2]] == ["a", "b"]


@pytest.mark.parametrize("n", range(1, 7))
def test_up_to_six_kinds_have_panels_in_a_row_or_two(rng, n):
    figure = written(confusions({str(i): rng.uniform(0, 1, (3, 3)) for i in range(n)}))
    assert len(matrices_of(figure)) == n
    assert figure.get_figwidth() <= 10.4
    boxes = [ax.get_position() for ax in figure.axes[:n]]
    assert len({round(box.y0, 3) for box in boxes}) == (1 if n <= 4 else 2)


def test_confusion_matrices_of_nothing_known_have_a_figure():
    assert np.isnan(matrices_of(written(confusions({"a": np.full((2, 2), NAN)})))[0]).all()


def test_wrong_matches_are_drawn_apart():
    right = [True, True, False, True]
    (ax,) = written(match_quality(np.array([1.0, 2, 3, 4]), right, None)).axes
    assert bars(ax) == 4
    assert legend_of(ax) == ["right", "wrong"]


def test_matches_of_a_real_recording_are_neither_right_nor_wrong():
    (ax,) = written(match_quality(np.array([1.0, 2]), [None, None], None)).axes
    assert legend_of(ax) == ["truth unknown"]


def test_correlations_of_matches_are_drawn_against_those_of_all_other_pairs():
    correlations = np.array([[0.9, 0.1, 0.2], [0.0, 0.8, -0.3], [NAN, NAN, NAN]])
    figure = written(match_quality(np.ones(3), [None] * 3, correlations))
    ax = figure.axes[1]
    assert legend_of(ax) == ["other pairs (4)", "matched cells (2)"]
    heights = np.array([bar.get_height() for bar in ax.patches])
    assert sorted(heights[heights > 0]) == pytest.approx([0.25] * 4 + [0.5] * 2)
    matched = [bar.get_x() for bar in ax.patches if bar.get_height() == 0.5]
    assert min(matched) > 0.7


@pytest.mark.parametrize("n", [1, 3])
def test_correlations_that_are_nowhere_known_have_no_panel(n):
    unknown = np.full((n, n), NAN)
    assert len(written(match_quality(np.ones(n), [True] * n, unknown)).axes) == 1


def test_a_single_match_has_no_other_pair():
    figure = written(match_quality(np.ones(1), [True], np.array([[0.5]])))
    assert legend_of(figure.axes[1]) == ["matched cells (1)"]


def test_calibrations_go_through_what_was_measured():
    pixels = np.linspace(0, 255, 6)
    measured = {"a": (pixels, pixels**2 / 1000), "b": (pixels, pixels / 10 + 1)}
    (ax,) = written(calibrations(measured)).axes
    for i, (x, y) in enumerate(measured.values()):
        curve, points = ax.lines[2 * i], ax.lines[2 * i + 1]
        np.testing.assert_allclose(points.get_xydata(), np.column_stack([x, y]))
        np.testing.assert_allclose(np.interp(x, *curve.get_data()), y, atol=1e-9)
    assert legend_of(ax) == ["a", "b"]


def drawn_population(ax):
    """Return low, high and mean of each kind."""
    lines = [line.get_xdata() for line in ax.lines]
    return [(*lines[i], float(lines[i + 1][0])) for i in range(0, len(lines), 2)]


def test_means_are_over_the_cells_that_were_shown_all_kinds(rng):
    responses = rng.gamma(2, 1, (2, 200))
    responses[0, 0], responses[1, 1] = NAN, 1e9
    responses[0, 1] = NAN
    (ax,) = written(population(dict(zip("ab", responses, strict=True)), "SD")).axes
    assert "198 cells" in ax.get_xlabel()
    for (low, high, mean), values in zip(drawn_population(ax), responses[:, 2:], strict=True):
        sem = values.std() / np.sqrt(198)
        assert mean == pytest.approx(values.mean())
        assert low == pytest.approx(mean - 1.96 * sem, abs=0.2 * sem)
        assert high == pytest.approx(mean + 1.96 * sem, abs=0.2 * sem)


def test_kinds_without_a_cell_in_common_still_have_a_figure():
    (ax,) = written(population({"a": np.array([1, NAN]), "b": np.array([NAN, 1])}, "SD")).axes
    assert drawn_population(ax) == []
    assert "0 cells" in ax.get_xlabel()


def test_cells_that_prefer_a_kind_are_coloured():
    first, other = np.array([5.0, 1, 2, NAN]), np.array([1.0, 4, 2, 3])
    pair = Pairing(("MEI", "Gabor"), first, other, np.array([1, -1, 0, 0]))
    (ax,) = written(pairs([pair])).axes
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Gabor", "MEI")
    drawn = {to_hex(c.get_facecolor()[0]): c.get_offsets().tolist() for c in ax.collections}
    assert drawn[MAIN] == [[1, 5]]
    assert drawn[SECOND] == [[4, 1]]
    assert [[2, 2]] in drawn.values()
    assert legend_of(ax) == ["1 neither", "1 more", "1 less"]
    assert ax.get_xlim() == ax.get_ylim()


@pytest.mark.parametrize("n", [1, 3, 5])
def test_pairs_of_unknown_responses_have_a_figure(n):
    unknown = np.full(3, NAN)
    figure = written(pairs([Pairing(("a", "b"), unknown, unknown, np.zeros(3, int))] * n))
    assert sum(ax.axison for ax in figure.axes) == n


# ---------------------------------------------------------------- views of the miniature


@pytest.fixture
def view(populated, tmp_path):
    return lambda: loops(populated.training_set, Album(Path(mkdtemp(dir=tmp_path))))


def test_every_later_recording_is_described(populated, view):
    found = view()
    assert [(r.scan, r.day) for r in found.recordings] == [("1-2-1", 2), ("1-3-1", 3)]
    items = pd.DataFrame((StimulusSet.Item & populated.stimulus).to_dicts())
    for recording, key in zip(found.recordings, (DAY_2, DAY_3), strict=True):
        kinds = {KINDS[kind]: kind for kind in KINDS if kind in STIMULUS.kinds}
        assert [found["name"] for found in recording.stimulus.kinds] == list(kinds)
        for shown in recording.stimulus.kinds:
            of = items[items.stimulus_kind == kinds[shown["name"]]]
            assert shown["n"] == len(of)
            assert shown["contrast"] == pytest.approx(np.mean(of.shown_contrast))
            assert shown["n_unreached"] == sum(not reached for reached in of.display_reached)
        fit = ProcessedMonitorCalibration.GammaFit & (ClosestCalibration & key)
        assert recording.monitor.gamma == fit.fetch1("gamma")
        assert recording.monitor.other is None
        assert recording.curves


def test_matches_are_described_by_votes_and_correlations(view):
    for recording, key in zip(view().recordings, (DAY_2, DAY_3), strict=True):
        (match,) = recording.matches
        assert match.result == match_results(key).to_dict("records")[0]
        votes = (BestProximityCellMatch.Unit & key).to_arrays("n_votes").tolist()
        assert match.votes == {n: votes.count(n) for n in set(votes)}
        assert sum(match.statuses.values()) == len(votes)
        matrix = (CellMatchOracleCorrelation & key).fetch1("match_correlations")
        others = [matrix[i, j] for i, j in np.ndindex(matrix.shape) if i != j]
        medians = np.nanmedian(np.diag(matrix)), np.nanmedian(others)
        assert match.median_correlations == pytest.approx(medians)


def test_pools_come_alone_and_then_together(view):
    found = view()
    assert [pool.scans for pool in found.pools] == [["1-2-1"], ["1-3-1"], ["1-2-1", "1-3-1"]]
    for pool in found.pools:
        assert [s.scaling for s in pool.scalings] == ["normalized", "raw", "zscored"]
        kinds = [r["stimulus_kind"] for r in pool.scalings[0].results]
        assert kinds == [kind for kind in KINDS if kind in STIMULUS.kinds]
        assert len(pool.comparisons) == 2
    last = (LoopPool & "n_pooled = 2").fetch1("KEY")
    wanted = last | {"response_scaling": "normalized", "stimulus_kind": "mei"}
    assert found.own_mei["row_max_fraction"] == closed_loop_results(wanted).row_max_fraction[0]
    tests = kind_results(last | {"response_scaling": "normalized"})
    assert {(t["stimulus_kind"], t["other_kind"]) for t in found.pools[2].scalings[0].tests} == set(
        zip(tests.stimulus_kind, tests.other_kind, strict=True)
    )


@pytest.fixture
def drawn():
    """Collects what the figures of the loop are made of, by name."""
    with watched({loop_figures: ("confusions", "population", "pairs")}) as calls:
        yield calls


def test_the_drawn_matrices_are_those_of_the_tables(populated, view, drawn):
    view()
    key = (LoopPool & "n_pooled = 2").fetch1("KEY") | {"response_scaling": "normalized"}
    (matrices,) = drawn["confusions"][2]
    for title, matrix in matrices.items():
        kind = {"stimulus_kind": KIND_OF[title.split("\n")[0]]}
        np.testing.assert_array_equal(
            matrix, (ConfusionMatrix & key & kind).fetch1("confusion_mean")
        )
        results = closed_loop_results(key | kind)
        assert title.endswith(f"n = {results.n_shown[0]}, p = {results.permutation_p[0]:.1g}")


def test_cells_are_coloured_by_their_own_test(populated, view, drawn):
    view()
    key = (LoopPool & "n_pooled = 2").fetch1("KEY") | {"response_scaling": "normalized"}
    (pairings,) = drawn["pairs"][2]
    tests = kind_results(key).set_index(["stimulus_kind", "other_kind"])
    n_coloured = 0
    for pairing in pairings:
        first, other = (KIND_OF[name] for name in pairing.names)
        of_pair = key | {"stimulus_kind": first, "other_kind": other}
        units = (DiagonalTest.Unit & of_pair).to_dicts(order_by="unit_index")
        differences = [u["difference"] for u in units]
        np.testing.assert_allclose(pairing.first - pairing.other, differences)
        sure = [u["welch_q"] is not None and u["welch_q"] < 0.05 for u in units]
        np.testing.assert_array_equal(pairing.better, np.sign(differences) * sure)
        assert np.sum(pairing.better == 1) == tests.n_first_better[first, other]
        n_coloured += sum(sure)
    assert n_coloured


def test_matrices_of_other_units_are_drawn_in_the_same_places():
    a = pd.DataFrame([[1.0, 2], [3, 4]], [2, 5], [2, 5])
    b = pd.DataFrame([[9.0]], [3], [3])
    found = aligned({"a": a, "b": b})
    expected = [[1, NAN, 2], [NAN, NAN, NAN], [3, NAN, 4]]
    np.testing.assert_array_equal(found["a"], expected)
    assert found["b"].loc[3, 3] == 9
    assert found["b"].notna().sum().sum() == 1


def test_a_training_set_whose_images_were_never_shown_has_no_loop(populated, tmp_path):
    assert loops({"training_set_hash": "none"}, Album(tmp_path)) is None


# ---------------------------------------------------------------- views of less


@pytest.fixture
def without(populated):
    """Delete rows of a table until the test is over."""
    deleted = []

    def delete(rows):
        deleted.append((rows, rows.to_dicts()))
        rows.delete_quick()

    yield delete
    for rows, content in reversed(deleted):
        rows.insert(content, allow_direct_insert=True)


@pytest.fixture
def changed(populated):
    """Change columns of a row until the test is over."""
    originals = []

    def change(table, key, **values):
        row = (table & key).fetch1()
        key = {name: row[name] for name in table.primary_key}
        originals.append((table, key | {name: row[name] for name in values}))
        table.update1(key | values)

    yield change
    for table, original in reversed(originals):
        table.update1(original)


def text_of(view):
    """Return the text of the section."""
    html = render(replace(empty_page(), blocks=[Block("ab" * 8, [], 16, loops=view)]))
    Reader(html)
    section = html[html.index('<section id="loop-') : html.index('<section id="provenance-')]
    words = re.sub(r"<[^>]+>|&nbsp;|\s", " ", section)
    return re.sub(r" +(?=[ ,;.:)])", "", words)


def test_a_recording_of_an_unknown_monitor_says_so(view, without):
    without(ClosestCalibration & DAY_2)
    recordings = view().recordings
    assert [r.monitor is None for r in recordings] == [True, False]
    assert recordings[0].curves is None
    assert text_of(view()).count("No calibration of its monitor is known.") == 1


def test_a_source_of_an_unknown_monitor_has_no_curves(view, without):
    without(ClosestCalibration & {"session": 1})
    assert [r.curves for r in view().recordings] == [None, None]
    assert view().recordings[0].monitor


def test_images_made_for_another_calibration_are_pointed_at(populated, view, changed):
    earlier = (StimulusSet & populated.stimulus).fetch1("source_calibrated_at")
    changed(StimulusSet(), populated.stimulus, calibrated_at=earlier)
    assert "The images were made for another calibration: virtual-1, calibrated" in text_of(view())


def test_images_made_in_grey_levels_are_made_for_any_calibration(populated, view, changed):
    changed(StimulusSet(), populated.stimulus, rig=None, calibrated_at=None)
    assert view().recordings[0].monitor.other is None


def test_recordings_without_images_in_common_are_matched_by_place_alone(view, changed):
    n = len((CellMatchOracleCorrelation & DAY_2).fetch1("match_correlations"))
    unknown = {"match_correlations": np.full((n, n), NAN), "n_shared_images": 0}
    changed(CellMatchOracleCorrelation(), DAY_2, **unknown)
    first, second = view().recordings
    assert first.matches[0].median_correlations is None
    assert second.matches[0].median_correlations
    assert text_of(view()).count("The recordings repeated no images in common") == 1


def test_real_recordings_are_neither_right_nor_wrong(view, without):
    without(VirtualAnimal & [DAY_2, DAY_3])
    found = view()
    assert not any(match.has_truth for r in found.recordings for match in r.matches)
    assert not any(pool.has_truth for pool in found.pools)
    assert "rightly" not in text_of(found)


# ---------------------------------------------------------------- page


def test_the_numbers_of_the_loop_are_on_the_page():
    text = text_of(full_loop("said"))
    assert "5 of 16 modelled cells were found again, 4 of them rightly: 80 % of the 5" in text
    assert "3 of 3 stacks agree on 4, 2 on 1; median distance 3.0 µm" in text
    assert "1.5 h before the recording: gamma 1.80, black 0.10 and white 30.1 cd/m²" in text
    assert "75 % respond to no other MEI more than to their own" in text
    assert "Matches: 3 said, 2 saids (3 of the 3 that count are right)" in text
    assert "0.50 (0.40 to 0.60)" in text
    assert "Responses in recordings 1-2-1, 1-3-1 pooled, days 2, 3" in text


def test_what_is_not_known_is_not_on_the_page():
    view = full_loop("said")
    unknown = dict.fromkeys(view.recordings[0].matches[0].result, NAN)
    unknown |= {"n_stacks": 1, "n_matched": 0}
    match = replace(
        view.recordings[0].matches[0],
        result=unknown,
        median_distance=NAN,
        votes={},
        statuses={},
        median_correlations=None,
        picture=None,
    )
    recording = replace(view.recordings[0], monitor=None, curves=None, matches=[match])
    result = view.pools[0].scalings[0].results[0]
    result = dict.fromkeys(result, NAN) | {"stimulus_kind": "mei", "name": "MEI", "n_shown": 0}
    scaling = replace(view.pools[0].scalings[0], results=[result], tests=[])
    pool = replace(view.pools[0], scalings=[scaling], confusion=None, comparisons=[])
    text = text_of(LoopView([recording], [pool]))
    assert "0 of 16 modelled cells were found again." in text
    assert "How alike matched cells answer is not computed yet." in text
    assert not re.search("nan|rightly|rank-biserial|None", text)


def test_what_is_not_computed_yet_is_said():
    view = full_loop("said")
    recordings = [replace(view.recordings[0], matches=[])]
    pools = [replace(view.pools[0], scalings=[], confusion=None, comparisons=[])]
    text = text_of(LoopView(recordings, pools))
    assert "Its cells are not matched yet." in text
    assert "Its confusion matrices are not computed yet." in text
    assert "No confusion matrix is asked for yet." in text_of(LoopView(recordings, []))


def test_the_card_shows_the_largest_pool_with_meis():
    view = full_loop("said")
    assert view.own_mei is view.pools[2].scalings[0].results[0]
    html = render(replace(empty_page(), blocks=[Block("ab" * 8, [], 16, loops=view)]))
    assert "75\u202f%</b><span>of re-recorded cells prefer their own MEI" in html
    gabors = [
        replace(s, results=[s.results[0] | {"stimulus_kind": "gabor"}])
        for s in view.pools[0].scalings
    ]
    without = LoopView(view.recordings, [replace(view.pools[0], scalings=gabors)])
    assert without.own_mei is None
    html = render(replace(empty_page(), blocks=[Block("ab" * 8, [], 16, loops=without)]))
    assert "re-recorded" not in html
