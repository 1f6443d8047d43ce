"""Which cell of one recording is which cell of another: by place, over stacks, by responses."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from science.params import Params

MatchStatus = Literal["accepted", "distant", "unlike", "unmeasured"]

MAX_PAIRS = 16_000_000
"""Pairs of cells that a one-to-one assignment may weigh."""

ROUNDING = 1e-12  # of a response: means over repeats that vary less do not vary


class MatchParams(Params):
    """How cells of one scan are matched to cells of another.

    Attributes
    ----------
    max_distance : float or None
        Largest distance of a match in one stack, um. None: no limit.
    one_to_one : bool
        Give each target cell to at most one source cell.
    max_mean_distance : float or None
        Largest mean distance over the stacks that agree, um, applied after the vote. None: no
        limit.
    min_correlation : float or None
        Least correlation of a cell and its match over the same natural images, in [-1, 1]. None:
        not asked for.
    """

    max_distance: float | None = Field(10.0, gt=0)
    one_to_one: bool = True
    max_mean_distance: float | None = Field(None, gt=0)
    min_correlation: float | None = Field(None, ge=-1, le=1)


PUBLISHED_MATCH = MatchParams(
    max_distance=None, one_to_one=False, max_mean_distance=10.0, min_correlation=0.42
)
"""The published filters, less a manual list of neurons (microns_vei 10.3)."""


@dataclass(frozen=True)
class BestMatch:
    """The match of one cell over several stacks.

    Attributes
    ----------
    target : int
        Matched cell.
    n_votes : int
        Stacks that agree.
    mean_distance : float
        Over those stacks, um.
    runner_up : int or None
        Best other candidate, None without one. One-to-one it may be the better one, which another
        source has taken.
    runner_up_votes : int
        Its stacks.
    runner_up_distance : float
        Mean over those stacks, um; NaN without a runner-up.
    """

    target: int
    n_votes: int
    mean_distance: float
    runner_up: int | None
    runner_up_votes: int
    runner_up_distance: float


def match_nearest(
    source_xyz: ArrayLike, target_xyz: ArrayLike, params: MatchParams
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Match each source cell to a nearby target cell (microns_vei 10.2, with cap and uniqueness).

    Without `one_to_one` each source gets its nearest target. With it, the assignment minimises the
    summed distance, where a source left unmatched costs `max_distance`; so a close pair is not
    broken up to gain a second, distant one. Without a cap as many cells as possible are matched.

    Parameters
    ----------
    source_xyz : float, (n, 3)
        Positions in the common stack frame, um.
    target_xyz : float, (m, 3)
        Positions in the same frame, um.
    params : MatchParams
        `max_distance` and `one_to_one`; the other filters come later.

    Returns
    -------
    index : int64, (n,)
        Target of each source, -1 for none.
    distance : float64, (n,)
        Distance, um; NaN for none.

    Raises
    ------
    ValueError
        Positions not (cells, 3) or not finite, or a one-to-one assignment of more than `MAX_PAIRS`
        pairs of cells within `max_distance`.

    Examples
    --------
    >>> days = [[0, 0, 0], [50, 0, 0]], [[51, 0, 0], [0, 2, 0], [0, 30, 0]]
    >>> match_nearest(*days, MatchParams(max_distance=10))
    (array([1, 0]), array([2., 1.]))
    """
    source, target = _positions(source_xyz, "source_xyz"), _positions(target_xyz, "target_xyz")
    index = np.full(len(source), -1, dtype=np.int64)
    if len(source) and len(target):
        if params.one_to_one:
            index = _assignment(source, target, params.max_distance)
        else:
            distance, index = KDTree(target).query(source)
            if params.max_distance is not None:
                index[distance > params.max_distance] = -1
    matched = index >= 0
    distance = np.full(len(source), np.nan)
    distance[matched] = np.linalg.norm(source[matched] - target[index[matched]], axis=1)
    return index, distance


def majority_match(
    votes: Iterable[tuple[int, int, float]], one_to_one: bool = False
) -> dict[int, BestMatch]:
    """Settle on the match that most stacks agree on (microns_vei 10.3).

    Candidate pairs of a source and a target are ranked by votes, then by smaller mean distance,
    smaller source and smaller target, and taken in this order while their source is free. With
    `one_to_one` their target must be free as well: the better pair keeps it, and the source that
    loses it takes the best of its other candidates whose target is free, or stays unmatched. No
    two cells would then rather have each other than what they have (a stable matching, and the
    only one). Without, sources vote independently, and two may settle on one target even when
    each stack was matched one to one.

    Parameters
    ----------
    votes : iterable of (source, target, distance)
        Matches found in the single stacks, in any order; distances in um.
    one_to_one : bool
        Give each target to at most one source.

    Returns
    -------
    dict of int to BestMatch
        The match of each source that has one, sources in ascending order.

    Raises
    ------
    ValueError
        If a distance is not finite.
    """
    distances: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for source, target, distance in votes:
        if not math.isfinite(distance):
            raise ValueError(f"the distance of {source} and {target} is {distance}: leave it out")
        distances[source][target].append(distance)
    # fmean rounds once, whatever the order: a tie stays a tie
    ranked = sorted(
        (-len(d), fmean(d), source, target)
        for source, candidates in distances.items()
        for target, d in candidates.items()
    )
    candidates = defaultdict(list)
    for pair in ranked:
        candidates[pair[2]].append(pair)
    best: dict[int, BestMatch] = {}
    taken = set()
    for pair in ranked:
        _, _, source, target = pair
        if source not in best and not (one_to_one and target in taken):
            others = (other for other in candidates[source] if other is not pair)
            best[source] = _best_match(pair, next(others, None))
            taken.add(target)
    return dict(sorted(best.items()))


def match_correlations(source: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """Correlate the responses of cells with those of their matches (microns_vei 10.8).

    Parameters
    ----------
    source : float, (n_images, n)
        Responses of source cells, averaged over repeats of each natural image.
    target : float, (n_images, m)
        Responses of matched cells to the same images in the same order.

    Returns
    -------
    float64, (n, m)
        Pearson correlation over images of source cell i and matched cell j, in [-1, 1]; NaN where
        one of them is constant. Where both are in the same order, the diagonal is the quality of
        the matches.

    Raises
    ------
    ValueError
        If the numbers of images differ or are below 3, or a response is not finite.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if source.ndim != 2 or target.ndim != 2 or len(source) != len(target):
        raise ValueError(
            "source and target must be (n_images, cells) of the same images, got shapes "
            f"{source.shape} and {target.shape}"
        )
    if len(source) < 3:
        raise ValueError(f"a match needs at least 3 shared images to be judged, got {len(source)}")
    for name, responses in (("source", source), ("target", target)):
        if not np.isfinite(responses).all():
            raise ValueError(f"responses of the {name} are not finite: leave those images out")
    return np.clip(_standardised(source).T @ _standardised(target), -1, 1)


def match_status(params: MatchParams, mean_distance: float, correlation: float) -> MatchStatus:
    """Say whether a match passes the filters that come after the vote (microns_vei 10.3).

    Parameters
    ----------
    params : MatchParams
        `max_mean_distance` and `min_correlation`; both bounds are inclusive.
    mean_distance : float
        Over the stacks that agree, um.
    correlation : float
        Of the cell and its match, as `match_correlations` gives it; NaN: not known.

    Returns
    -------
    {'accepted', 'distant', 'unlike', 'unmeasured'}
        'unmeasured': a correlation is asked for, but not known.
    """
    if params.max_mean_distance is not None and mean_distance > params.max_mean_distance:
        return "distant"
    if params.min_correlation is None:
        return "accepted"
    if math.isnan(correlation):
        return "unmeasured"
    return "accepted" if correlation >= params.min_correlation else "unlike"


def _standardised(responses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns of mean 0 and norm 1; NaN where constant but for rounding."""
    centred = responses - responses.mean(axis=0)
    constant = np.ptp(responses, axis=0) <= ROUNDING * np.abs(responses).max(axis=0)
    return centred / np.where(constant, np.nan, np.linalg.norm(centred, axis=0))


def _positions(xyz: ArrayLike, name: str) -> NDArray[np.float64]:
    xyz = np.asarray(xyz, dtype=np.float64)
    if xyz.ndim != 2 or xyz.shape[1] != 3 or not np.isfinite(xyz).all():
        raise ValueError(f"{name} must be finite positions (cells, 3), got shape {xyz.shape}")
    return xyz


def _best_match(
    pair: tuple[int, float, int, int], runner_up: tuple[int, float, int, int] | None
) -> BestMatch:
    """Take pairs of (-votes, mean distance, source, target) apart."""
    other_votes, other_distance, _, other = runner_up or (0, math.nan, None, None)
    return BestMatch(pair[3], -pair[0], pair[1], other, -other_votes, other_distance)


def _assignment(
    source: NDArray[np.float64], target: NDArray[np.float64], cap: float | None
) -> NDArray[np.int64]:
    """One-to-one assignment (n,) of least summed distance, -1 for none."""
    n, m = len(source), len(target)
    if cap is None:
        _check_pairs(n * m)
        index = np.full(n, -1, dtype=np.int64)
        rows, columns = linear_sum_assignment(cdist(source, target))
        index[rows] = columns
        return index
    sources, targets = KDTree(source), KDTree(target)
    _check_pairs(int(sources.count_neighbors(targets, cap)))
    near = sources.sparse_distance_matrix(targets, cap, output_type="ndarray")
    # Each source may instead take a target of its own that stands for none and costs `cap`.
    rows = np.concatenate([near["i"], np.arange(n)])
    columns = np.concatenate([near["j"], m + np.arange(n)])
    # A sparse zero is no edge; adding 1 to every edge leaves the best assignment the same.
    costs = 1 + np.concatenate([near["v"], np.full(n, cap)])
    graph = csr_array((costs, (rows, columns)), shape=(n, m + n))
    order, assigned = min_weight_full_bipartite_matching(graph)
    index = np.empty(n, dtype=np.int64)
    index[order] = np.where(assigned < m, assigned, -1)
    return index


def _check_pairs(n_pairs: int) -> None:
    if n_pairs > MAX_PAIRS:
        raise ValueError(
            f"one-to-one matching would weigh {n_pairs} pairs of cells, more than {MAX_PAIRS}: "
            "give a smaller max_distance"
        )
