import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import pearsonr

from science.closed_loop import (
    PUBLISHED_MATCH,
    BestMatch,
    MatchParams,
    majority_match,
    match_correlations,
    match_nearest,
    match_status,
)

NEAREST = MatchParams(max_distance=None, one_to_one=False)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("cap", [None, 10.0])
@pytest.mark.parametrize("one_to_one", [False, True])
def test_jittered_cells_are_found_again(rng, cap, one_to_one):
    grid = np.stack(np.meshgrid(*3 * [np.arange(6) * 20.0]), -1).reshape(-1, 3)
    order = rng.permutation(len(grid))
    jittered = grid[order] + rng.uniform(-3, 3, grid.shape)
    params = MatchParams(max_distance=cap, one_to_one=one_to_one)
    index, distance = match_nearest(grid, jittered, params)
    np.testing.assert_array_equal(index, np.argsort(order))
    np.testing.assert_allclose(distance, np.linalg.norm(grid - jittered[index], axis=1))


def test_cap_is_inclusive_and_coincident_cells_match():
    source = [[0, 0, 0], [100, 0, 0], [200, 0, 0]]
    target = [[0, 0, 0], [110, 0, 0], [210.1, 0, 0]]
    for one_to_one in (False, True):
        params = MatchParams(max_distance=10, one_to_one=one_to_one)
        index, distance = match_nearest(source, target, params)
        assert index.tolist() == [0, 1, -1]
        np.testing.assert_allclose(distance, [0, 10, np.nan])


def test_two_sources_share_a_target_only_if_allowed():
    source, target = [[0, 0, 0], [1, 0, 0]], [[0.2, 0, 0]]
    assert match_nearest(source, target, NEAREST)[0].tolist() == [0, 0]
    for cap in (None, 10.0):
        index, _ = match_nearest(source, target, MatchParams(max_distance=cap))
        assert index.tolist() == [0, -1]


def test_close_pair_is_not_broken_up_for_a_distant_one():
    source, target = [[0, 0, 0], [-8, 0, 0]], [[1, 0, 0], [9.5, 0, 0]]
    assert match_nearest(source, target, MatchParams())[0].tolist() == [0, -1]


def test_assignment_equals_a_dense_solution(rng):
    source, target = rng.uniform(0, 40, (60, 3)), rng.uniform(0, 40, (50, 3))
    cap = 8.0
    index, _ = match_nearest(source, target, MatchParams(max_distance=cap))
    cost = np.where((d := cdist(source, target)) <= cap, d, 1e6)
    rows, columns = linear_sum_assignment(np.hstack([cost, np.full((60, 60), cap)]))
    expected = np.where(columns < 50, columns, -1)[np.argsort(rows)]
    np.testing.assert_array_equal(index, expected)
    assert 0 < (index < 0).sum() < 60


@pytest.mark.parametrize("params", [NEAREST, MatchParams(), MatchParams(max_distance=None)])
def test_nothing_to_match(params):
    assert match_nearest(np.empty((0, 3)), np.ones((2, 3)), params)[0].shape == (0,)
    index, distance = match_nearest(np.ones((2, 3)), np.empty((0, 3)), params)
    assert index.tolist() == [-1, -1] and np.isnan(distance).all()


def test_bad_positions_are_named():
    with pytest.raises(ValueError, match="target_xyz"):
        match_nearest(np.ones((2, 3)), [[1, 2, np.nan]], NEAREST)
    with pytest.raises(ValueError, match="source_xyz"):
        match_nearest(np.ones((2, 2)), np.ones((2, 3)), NEAREST)


@pytest.mark.parametrize("max_distance", [None, 1e4])
def test_an_assignment_beyond_memory_is_refused(rng, max_distance):
    source, target = rng.uniform(0, 300, (2, 4001, 3))
    with pytest.raises(ValueError, match=r"16008001 pairs of cells.*smaller max_distance"):
        match_nearest(source, target, MatchParams(max_distance=max_distance))


def cells(rng, layout):
    """10 000 cells, 15 um apart, or at random with 30 others within 10 um of each."""
    if layout == "spaced":
        return np.stack(np.meshgrid(*3 * [15.0 * np.arange(22)]), -1).reshape(-1, 3)[:10_000]
    return rng.uniform(0, 5 * 10_000 ** (1 / 3), (10_000, 3))


@pytest.mark.parametrize("one_to_one", [False, True])
@pytest.mark.parametrize(("layout", "right"), [("spaced", 0.99), ("dense", 0.2)])
def test_ten_thousand_cells_take_seconds(rng, layout, right, one_to_one):
    source = cells(rng, layout)
    order = rng.permutation(len(source))
    target = source[order] + rng.normal(0, 2, source.shape)
    start = time.process_time()
    index, _ = match_nearest(source, target, MatchParams(one_to_one=one_to_one))
    assert time.process_time() - start < 5
    assert np.mean(index == np.argsort(order)) > right
    assert not one_to_one or np.bincount(index[index >= 0]).max() == 1


def test_published_filters():
    assert PUBLISHED_MATCH.max_mean_distance == 10.0 and PUBLISHED_MATCH.min_correlation == 0.42
    for wrong in ({"min_correlation": 1.1}, {"max_mean_distance": 0.0}):
        with pytest.raises(ValidationError):
            MatchParams(**wrong)


# Votes -------------------------------------------------------------------------------------------

VOTES = [
    (7, 1, 2.0), (7, 1, 9.0), (7, 2, 0.5),  # two stacks outvote a closer one
    (3, 5, 4.0), (3, 4, 3.0),  # a tie goes to the smaller distance
    (9, 8, 1.0), (9, 6, 1.0),  # and then to the smaller target
    (4, 8, 2.5),
]  # fmt: skip


def test_majority_settles_matches_and_ties():
    best = majority_match(VOTES)
    assert list(best) == [3, 4, 7, 9]
    assert best[7] == BestMatch(1, 2, 5.5, runner_up=2, runner_up_votes=1, runner_up_distance=0.5)
    assert best[3] == BestMatch(4, 1, 3.0, runner_up=5, runner_up_votes=1, runner_up_distance=4.0)
    assert (best[9].target, best[9].runner_up) == (6, 8)
    assert (best[4].target, best[4].runner_up, best[4].runner_up_votes) == (8, None, 0)
    assert np.isnan(best[4].runner_up_distance)


def test_ties_are_not_decided_by_rounding():
    votes = [(1, 4, d) for d in (0.1, 0.2, 0.3)] + [(1, 5, d) for d in (0.3, 0.2, 0.1)]
    assert majority_match(votes)[1].target == 4


def test_a_target_goes_to_the_source_with_more_votes():
    votes = [
        (1, 10, 5.0), (1, 10, 5.0),  # keeps 10 by its votes
        (2, 10, 1.0), (2, 11, 4.0),  # loses 10, is left with its second choice
        (3, 11, 6.0),  # loses 11 to it by distance, and has nothing else
        (4, 12, 2.0), (5, 12, 2.0),  # a tie goes to the smaller source
    ]  # fmt: skip
    best = majority_match(votes, one_to_one=True)
    assert {source: match.target for source, match in best.items()} == {1: 10, 2: 11, 4: 12}
    assert (best[2].runner_up, best[2].runner_up_votes, best[2].runner_up_distance) == (10, 1, 1.0)
    shared = majority_match(votes)
    assert [match.target for match in shared.values()] == [10, 10, 11, 12, 12]


drawn_votes = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.sampled_from([0.1, 0.2, 0.3, 1.0, 7.5])),
    max_size=30,
)


@given(drawn_votes, st.booleans(), st.randoms(use_true_random=False))
def test_the_order_of_votes_does_not_matter(votes, one_to_one, random):
    shuffled = random.sample(votes, len(votes))
    assert repr(majority_match(shuffled, one_to_one)) == repr(majority_match(votes, one_to_one))


@given(drawn_votes)
def test_no_two_cells_would_rather_have_each_other(votes):
    best = majority_match(votes, one_to_one=True)
    source_of = {match.target: source for source, match in best.items()}
    assert len(source_of) == len(best)
    for source, target in {(s, t) for s, t, _ in votes}:
        own = [d for s, t, d in votes if (s, t) == (source, target)]
        quality = (-len(own), round(sum(own) / len(own), 9))

        def worse(match, other, own, quality=quality):
            rank = (-match.n_votes, round(match.mean_distance, 9), other)
            return (*quality, own) < rank

        source_prefers = source not in best or worse(best[source], best[source].target, target)
        rival = source_of.get(target)
        target_prefers = rival is None or worse(best[rival], rival, source)
        assert not (source_prefers and target_prefers)


def test_a_vote_without_a_distance_is_refused():
    with pytest.raises(ValueError, match="distance of 3 and 4 is nan"):
        majority_match([(3, 4, np.nan)])


# Correlation of responses ------------------------------------------------------------------------


def test_correlations_of_matches_equal_scipy(rng):
    signal = rng.standard_normal((40, 5))
    source = 3 + signal + 0.3 * rng.standard_normal((40, 5))
    target = 1e3 + 50 * signal[:, :4]
    source[:, 2] = 0.1  # silent
    result = match_correlations(source, target)
    assert result.shape == (5, 4) and np.isnan(result[2]).all()
    for i, j in np.argwhere(np.isfinite(result)):
        assert result[i, j] == pytest.approx(pearsonr(source[:, i], target[:, j])[0], abs=1e-12)
    assert np.isfinite(result[[0, 1, 3, 4]]).all() and np.diag(result)[[0, 1, 3]].min() > 0.9


def test_responses_that_cannot_be_correlated_are_named():
    with pytest.raises(ValueError, match="at least 3"):
        match_correlations(np.eye(2), np.eye(2))
    with pytest.raises(ValueError, match="of the target are not finite"):
        match_correlations(np.eye(3), np.full((3, 3), np.nan))
    with pytest.raises(ValueError, match=r"\(3, 3\) and \(4, 4\)"):
        match_correlations(np.eye(3), np.eye(4))


# Filters after the vote --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("distance", "correlation", "expected"),
    [
        (10.0, 0.42, "accepted"),
        (10.1, 0.9, "distant"),
        (3.0, 0.41, "unlike"),
        (3.0, np.nan, "unmeasured"),
        (10.1, np.nan, "distant"),
    ],
)
def test_the_published_filters(distance, correlation, expected):
    assert match_status(PUBLISHED_MATCH, distance, correlation) == expected
    assert match_status(MatchParams(), distance, correlation) == "accepted"
