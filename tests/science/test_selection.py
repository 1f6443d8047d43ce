"""Selection rules: filters one by one, spacing, geometry."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.spatial.distance import cdist

from science.reliability import rank_units
from science.selection import Candidates, SelectionParams, select_units

EVERYTHING = SelectionParams(only_reliable=False)


def candidates(oracle, seed=0, **changes):
    """Units in two recordings, in random places of fields of 200 x 100 px, 400 x 300 um."""
    oracle = np.asarray(oracle, float)
    n = len(oracle)
    rng = np.random.default_rng(seed)
    units = Candidates(
        ranked=rank_units(oracle),
        reliable=rng.random(n) < 0.5,
        oracle=oracle,
        variance=rng.gamma(2, 1, n),
        recording=np.where(rng.random(n) < 0.5, "a", "b"),
        position=rng.uniform(0, 100, (n, 3)),
        pixel=rng.uniform(0, 1, (n, 2)) * [200, 100],
        field_px=np.tile([200.0, 100.0], (n, 1)),
        field_um=np.tile([400.0, 300.0], (n, 1)),
    )
    return replace(units, **changes)


def rule(**changes):
    return EVERYTHING.model_copy(update=changes)


@given(
    scores=st.lists(st.floats(-1, 1) | st.just(float("nan")), min_size=1, max_size=30),
    fraction=st.floats(0.01, 1),
    limit=st.none() | st.integers(1, 10),
    only_reliable=st.booleans(),
    seed=st.integers(0, 100),
)
def test_fraction_and_reliability_are_what_the_rule_says(
    scores, fraction, limit, only_reliable, seed
):
    units = candidates(scores, seed)
    params = SelectionParams(top_fraction=fraction, max_units=limit, only_reliable=only_reliable)
    selected = select_units(units, params)
    best = units.ranked.tolist()[: int(np.ceil(fraction * len(scores)))]
    expected = [unit for unit in best if units.reliable[unit] or not only_reliable]
    assert selected.tolist() == expected[:limit]
    assert selected.dtype == np.int64


def test_percentiles_are_over_all_units_that_have_a_score_and_strict():
    oracle = np.array([0.1, 0.2, 0.3, 0.4, 0.5, np.nan])
    variance = np.array([5.0, 4, 3, 2, 1, 9])
    units = candidates(oracle, variance=variance)
    assert select_units(units, rule(min_oracle_percentile=50)).tolist() == [4, 3]
    assert select_units(units, rule(min_variance_percentile=50)).tolist() == [1, 0, 5]
    both = rule(min_oracle_percentile=25, min_variance_percentile=20)
    assert select_units(units, both).tolist() == [2]
    # other filters do not move a percentile
    reliable = np.array([False, False, True, True, True, True])
    both = both.model_copy(update={"only_reliable": True, "min_variance_percentile": None})
    assert select_units(replace(units, reliable=reliable), both).tolist() == [4, 3, 2]


def test_the_allen_rule_keeps_about_a_third_of_independent_scores():
    """Above the 60th and the 50th percentile: 0.4 x 0.5 of 135 if independent, 27."""
    rng = np.random.default_rng(1)
    units = candidates(rng.normal(size=135), variance=rng.normal(size=135))
    allen = rule(min_oracle_percentile=60, min_variance_percentile=50)
    selected = select_units(units, allen)
    assert (units.oracle[selected] > np.percentile(units.oracle, 60)).all()
    assert (units.variance[selected] > np.percentile(units.variance, 50)).all()
    assert len(selected) == np.count_nonzero(
        (units.oracle > np.percentile(units.oracle, 60))
        & (units.variance > np.percentile(units.variance, 50))
    )


def test_no_unit_is_above_a_percentile_when_none_has_a_score():
    units = candidates([np.nan] * 4)
    assert select_units(units, rule(min_oracle_percentile=0)).shape == (0,)


@pytest.mark.parametrize(
    ("pixel", "inside"),
    [
        # margin 10 um: 5 px of 200 in x (2 um each), 3.33 px of 100 in y (3 um each)
        ((100, 50), True),
        ((5.1, 50), True),
        ((5.0, 50), False),
        ((4.9, 50), False),
        ((194.9, 50), True),
        ((195.1, 50), False),
        ((100, 3.4), True),
        ((100, 3.3), False),
        ((100, 96.6), True),
        ((100, 96.7), False),
    ],
)
def test_the_edge_has_the_scale_of_each_axis(pixel, inside):
    units = candidates([0.5], pixel=np.array([pixel], float))
    assert select_units(units, rule(edge_distance_um=10)).tolist() == [0] * inside


@given(
    n=st.integers(1, 40),
    spacing=st.floats(1, 80),
    limit=st.none() | st.integers(1, 10),
    seed=st.integers(0, 1000),
)
def test_kept_units_are_apart_and_dropped_ones_have_a_better_neighbour(n, spacing, limit, seed):
    scores = np.random.default_rng(seed).normal(size=n)
    units = candidates(scores, seed)
    kept = select_units(units, rule(min_spacing_um=spacing)).tolist()
    near = cdist(units.position, units.position) < spacing
    near &= units.recording[:, None] == units.recording
    np.fill_diagonal(near, False)
    assert not near[np.ix_(kept, kept)].any()
    for unit in set(range(n)) - set(kept):
        assert any(near[unit, k] and scores[k] > scores[unit] for k in kept)
    assert kept == sorted(kept, key=lambda unit: -scores[unit])
    # what is filtered before does not push anyone aside; the number is limited afterwards
    params = rule(min_spacing_um=spacing, max_units=limit)
    assert select_units(units, params).tolist() == kept[:limit]
    reliable = SelectionParams(min_spacing_um=spacing)
    assert units.reliable[select_units(units, reliable)].all()


def test_a_unit_that_is_filtered_out_does_not_drop_its_neighbour():
    places = np.array([[0.0, 0, 0], [5, 0, 0]])
    units = candidates([0.9, 0.8], position=places, recording=np.array(["a", "a"]))
    units = replace(units, reliable=np.array([False, True]))
    assert select_units(units, rule(min_spacing_um=20)).tolist() == [0]
    assert select_units(units, SelectionParams(min_spacing_um=20)).tolist() == [1]


@pytest.mark.parametrize(
    ("change", "params", "message"),
    [
        ("position", {"min_spacing_um": 20}, "min_spacing_um needs um_x, um_y and um_z, which 1"),
        ("pixel", {"edge_distance_um": 10}, "edge_distance_um needs px_x and px_y.* which 1 of 3"),
        ("field_px", {"edge_distance_um": 10}, r"edge_distance_um .*\(the first has unit_index 2"),
        ("field_um", {"edge_distance_um": 10}, "ingest them or leave edge_distance_um out"),
    ],
)
def test_a_rule_that_needs_unknown_places_is_an_error(change, params, message):
    units = candidates([0.3, 0.2, 0.1])
    values = getattr(units, change).copy()
    values[2, 1] = np.nan
    units = replace(units, **{change: values})
    assert len(select_units(units, EVERYTHING)) == 3
    with pytest.raises(ValueError, match=message):
        select_units(units, rule(**params))


def test_no_unit_may_be_good_enough():
    units = candidates(np.arange(4.0), reliable=np.zeros(4, bool))
    assert select_units(units, SelectionParams(min_spacing_um=20)).shape == (0,)


@pytest.mark.parametrize(
    "wrong",
    [
        {"top_fraction": 0},
        {"top_fraction": 1.1},
        {"max_units": 0},
        {"block_size": 0},
        {"min_oracle_percentile": 101},
        {"min_variance_percentile": -1},
        {"edge_distance_um": -1},
        {"min_spacing_um": 0},
    ],
)
def test_bad_selection_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        SelectionParams.model_validate(wrong)
