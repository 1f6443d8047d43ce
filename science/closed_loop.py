"""The closed loop: match cells across scans, build confusion matrices, test their diagonal.

Orientation, everywhere in this module: rows are neurons, columns are images, and column j holds
responses to the image made for neuron j. The diagonal is each neuron's response to its own image.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations
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

Scaling = Literal["raw", "normalized", "zscored"]

PERMUTATION_CHUNK = 1000


class MatchParams(Params):
    """How cells of one scan are matched to cells of another.

    Attributes
    ----------
    max_distance : float or None
        Largest distance of a match, um; 10 um is the published filter (microns_vei 10.3).
        None: no limit.
    one_to_one : bool
        Give each target cell to at most one source cell.
    """

    max_distance: float | None = Field(10.0, gt=0)
    one_to_one: bool = True


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
    """

    target: int
    n_votes: int
    mean_distance: float


@dataclass(frozen=True)
class Confusion:
    """Responses of u neurons to the images made for them, rows neurons, columns images.

    Attributes
    ----------
    mean : float64, (u, u)
        Mean over repeats; NaN in the column of an image that was not shown.
    variance : float64, (u, u)
        Population variance over repeats (ddof 0); NaN as above.
    n : int64, (u, u)
        Number of repeats.
    """

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    n: NDArray[np.int64]


@dataclass(frozen=True)
class Diagonal:
    """Responses of u neurons to their own images.

    Attributes
    ----------
    response : float64, (u,)
        Mean over repeats; NaN where the image was not shown.
    sem : float64, (u,)
        Standard error with the sample variance; NaN for fewer than two repeats.
    row_max : bool, (u,)
        No other image drives the neuron more than its own.
    """

    response: NDArray[np.float64]
    sem: NDArray[np.float64]
    row_max: NDArray[np.bool_]


@dataclass(frozen=True)
class PermutationResult:
    """Test that the diagonal of a confusion matrix differs from the rest.

    Attributes
    ----------
    statistic : float
        mean(diagonal) - mean(off-diagonal) of the row-normalised matrix.
    p : float
        Two-sided p value, (1 + #{|T*| >= |T|}) / (1 + n_permutations).
        Both are NaN for fewer than two neurons, and no permutation is drawn.
    n : int
        Neurons that entered.
    n_dropped : int
        Neurons left out: own image not shown, row not finite, or row maximum not positive.
    n_permutations : int
        Permutations compared; all n! - 1 others when there are no more than asked for.
    """

    statistic: float
    p: float
    n: int
    n_dropped: int
    n_permutations: int


def match_nearest(
    source_xyz: ArrayLike, target_xyz: ArrayLike, params: MatchParams
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Match each source cell to a nearby target cell (microns_vei 10.2, with cap and uniqueness).

    Without `one_to_one` each source gets its nearest target. With it, the assignment minimises the
    summed distance, where a source left unmatched costs `max_distance`; so a close pair is not
    broken up to gain a second, distant one. Without a cap as many cells as possible are matched,
    from a dense (n, m) cost matrix.

    Parameters
    ----------
    source_xyz : float, (n, 3)
        Positions in the common stack frame, um.
    target_xyz : float, (m, 3)
        Positions in the same frame, um.
    params : MatchParams
        Cap and uniqueness.

    Returns
    -------
    index : int64, (n,)
        Target of each source, -1 for none.
    distance : float64, (n,)
        Distance, um; NaN for none.

    Raises
    ------
    ValueError
        Positions not (cells, 3) or not finite.
    """
    source, target = _positions(source_xyz, "source_xyz"), _positions(target_xyz, "target_xyz")
    index = np.full(len(source), -1, dtype=np.int64)
    if len(source) and len(target):
        if not params.one_to_one:
            distance, index = KDTree(target).query(source)
            if params.max_distance is not None:
                index = np.where(distance <= params.max_distance, index, -1)
        elif params.max_distance is None:
            rows, columns = linear_sum_assignment(cdist(source, target))
            index[rows] = columns
        else:
            index = _assign_within(source, target, params.max_distance)
    matched = index >= 0
    distance = np.full(len(source), np.nan)
    distance[matched] = np.linalg.norm(source[matched] - target[index[matched]], axis=1)
    return index.astype(np.int64), distance


def majority_match(votes: Iterable[tuple[int, int, float]]) -> dict[int, BestMatch]:
    """Settle on the match that most stacks agree on (microns_vei 10.3).

    Ties go to the smaller mean distance, then to the smaller target. Sources vote independently:
    two may settle on one target, even when each stack was matched one to one.

    Parameters
    ----------
    votes : iterable of (source, target, distance)
        Matches found in the single stacks; distances in um.

    Returns
    -------
    dict of int to BestMatch
        The match of each source, sources in ascending order.
    """
    distances: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for source, target, distance in votes:
        distances[source][target].append(distance)
    best = {}
    for source, candidates in sorted(distances.items()):
        ranked = ((-len(d), sum(d) / len(d), target) for target, d in candidates.items())
        negative_votes, mean_distance, target = min(ranked)
        best[source] = BestMatch(target, -negative_votes, mean_distance)
    return best


def scale_responses(responses: ArrayLike, scaling: Scaling) -> NDArray[np.float64]:
    """Scale each unit's responses over all trials of the scan (microns_vei 10.4 step 3).

    Parameters
    ----------
    responses : float, (trials, units)
        Single-trial responses.
    scaling : {"raw", "normalized", "zscored"}
        As they are; divided by the sample standard deviation (ddof 1); or z-scored with it.

    Returns
    -------
    float64, (trials, units)
        A unit whose response never varies has no scale: its column is NaN unless raw.

    Raises
    ------
    ValueError
        Unknown scaling, not (trials, units), fewer than two trials to scale, or not finite.
    """
    responses = _responses(responses)
    if scaling not in ("raw", "normalized", "zscored"):
        raise ValueError(f"scaling must be 'raw', 'normalized' or 'zscored', got {scaling!r}")
    if scaling == "raw":
        return responses.copy()
    if len(responses) < 2:
        raise ValueError(f"scaling needs at least 2 trials, got {len(responses)}")
    std = responses.std(axis=0, ddof=1)
    std[np.ptp(responses, axis=0) == 0] = np.nan  # the std of a constant may round to above 0
    centre = responses.mean(axis=0) if scaling == "zscored" else 0.0
    return (responses - centre) / std


def confusion(responses: ArrayLike, image_unit: ArrayLike) -> Confusion:
    """Average repeated responses into a confusion matrix (microns_vei 10.4 step 6).

    Parameters
    ----------
    responses : float, (trials, units)
        Scaled responses of the matched neurons; NaN columns give NaN rows.
    image_unit : int, (trials,)
        Column of `responses` for whose neuron the image was made, -1 for any other image.

    Returns
    -------
    Confusion
        Rows neurons, columns images.

    Raises
    ------
    ValueError
        Shapes that do not fit, or an index outside -1..units-1.
    """
    responses, image_unit = np.asarray(responses, dtype=np.float64), np.asarray(image_unit)
    if responses.ndim != 2 or image_unit.shape != responses.shape[:1]:
        raise ValueError(
            "need responses (trials, units) and one image_unit per trial, got shapes "
            f"{responses.shape} and {image_unit.shape}"
        )
    units = responses.shape[1]
    if not np.issubdtype(image_unit.dtype, np.integer) or np.any(
        (image_unit < -1) | (image_unit >= units)
    ):
        raise ValueError(f"image_unit must hold integers from -1 to {units - 1}")
    shown = image_unit >= 0
    responses, image_unit = responses[shown], image_unit[shown]
    trials = np.arange(len(image_unit))
    sums = csr_array((np.ones(len(trials)), (image_unit, trials)), shape=(units, len(trials)))
    count = np.bincount(image_unit, minlength=units)
    repeats = np.where(count > 0, count, np.nan)[:, None]
    mean = (sums @ responses) / repeats
    variance = (sums @ (responses - mean[image_unit]) ** 2) / repeats
    return Confusion(mean.T, variance.T, np.tile(count, (units, 1)))


def pool(confusions: list[Confusion]) -> Confusion:
    """Pool the confusion matrices of several scans as if their trials were one (microns_vei 10.5).

    Parameters
    ----------
    confusions : list of Confusion, each (u, u)
        The same neurons in the same order; entries without repeats do not contribute.

    Returns
    -------
    Confusion
        Equal to the matrix of the concatenated trials.

    Raises
    ------
    ValueError
        Nothing to pool, or matrices of different size.
    """
    if len({c.mean.shape for c in confusions}) != 1:
        raise ValueError("pooling needs at least one confusion matrix, all of one size")
    n = np.stack([c.n for c in confusions])
    total = n.sum(0)
    repeats = np.where(total > 0, total, np.nan)
    means = np.stack([np.where(c.n > 0, c.mean, 0) for c in confusions])
    variances = np.stack([np.where(c.n > 0, c.variance, 0) for c in confusions])
    mean = (n * means).sum(0) / repeats
    variance = (n * (variances + (means - mean) ** 2)).sum(0) / repeats
    return Confusion(mean, variance, total)


def diagonal(matrix: Confusion) -> Diagonal:
    """Read off each neuron's response to its own image (microns_vei 10.6).

    Parameters
    ----------
    matrix : Confusion, (u, u)
        Rows neurons, columns images.

    Returns
    -------
    Diagonal
    """
    response, variance, n = (np.diag(a).copy() for a in (matrix.mean, matrix.variance, matrix.n))
    others = np.where(np.isnan(matrix.mean), -np.inf, matrix.mean)
    return Diagonal(
        response=response,
        sem=np.sqrt(variance / np.where(n > 1, n - 1, np.nan)),
        row_max=response >= others.max(axis=1, initial=-np.inf),
    )


def permutation_test(
    matrix: ArrayLike, n_permutations: int = 10_000, seed: int = 0
) -> PermutationResult:
    """Two-sided permutation test of the diagonal of a confusion matrix (microns_vei 10.7).

    Each neuron's row is divided by its maximum; T = mean(diagonal) - mean(off-diagonal); image
    labels (columns) are permuted. The total of the matrix does not change under a permutation, so
    T* depends on it only through the sum of the n entries it puts on the diagonal. If there are no
    more than `n_permutations` other permutations, all are enumerated and p is exact.

    Parameters
    ----------
    matrix : float, (u, u)
        Mean responses, rows neurons, columns images (`Confusion.mean`).
    n_permutations : int
        Random permutations, >= 1.
    seed : int
        Seed of the permutations.

    Returns
    -------
    PermutationResult

    Raises
    ------
    ValueError
        Matrix not square, or no permutations asked for.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"the confusion matrix must be square, got shape {matrix.shape}")
    if n_permutations < 1:
        raise ValueError(f"n_permutations must be at least 1, got {n_permutations}")
    scaled = _row_normalised(matrix)
    n = len(scaled)
    if n < 2:
        return PermutationResult(math.nan, math.nan, n, len(matrix) - n, 0)
    expected = scaled.sum() / n  # of the diagonal sum, over all permutations
    observed = np.trace(scaled) - expected
    permuted = _permuted_diagonal_sums(scaled, n_permutations, seed) - expected
    # Sums in another order differ by rounding: without slack, ties would be decided by chance.
    slack = 1e-12 * np.abs(scaled).sum()
    extreme = np.count_nonzero(np.abs(permuted) >= abs(observed) - slack)
    return PermutationResult(
        statistic=float(observed / (n - 1)),
        p=(1 + extreme) / (1 + len(permuted)),
        n=n,
        n_dropped=len(matrix) - n,
        n_permutations=len(permuted),
    )


def _positions(xyz: ArrayLike, name: str) -> NDArray[np.float64]:
    xyz = np.asarray(xyz, dtype=np.float64)
    if xyz.ndim != 2 or xyz.shape[1] != 3 or not np.isfinite(xyz).all():
        raise ValueError(f"{name} must be finite positions (cells, 3), got shape {xyz.shape}")
    return xyz


def _responses(responses: ArrayLike) -> NDArray[np.float64]:
    responses = np.asarray(responses, dtype=np.float64)
    if responses.ndim != 2:
        raise ValueError(f"responses must be (trials, units), got shape {responses.shape}")
    bad = np.flatnonzero(~np.isfinite(responses).all(axis=0))
    if bad.size:
        raise ValueError(f"responses of units {bad.tolist()} are not finite: drop those trials")
    return responses


def _assign_within(
    source: NDArray[np.float64], target: NDArray[np.float64], cap: float
) -> NDArray[np.int64]:
    """One-to-one assignment (n,) of least total cost; a private dummy target costs `cap`."""
    n, m = len(source), len(target)
    near = KDTree(source).sparse_distance_matrix(KDTree(target), cap, output_type="ndarray")
    rows = np.concatenate([near["i"], np.arange(n)])
    columns = np.concatenate([near["j"], m + np.arange(n)])
    # A sparse zero is no edge; adding 1 to every edge leaves the best assignment the same.
    costs = 1 + np.concatenate([near["v"], np.full(n, cap)])
    graph = csr_array((costs, (rows, columns)), shape=(n, m + n))
    sources, assigned = min_weight_full_bipartite_matching(graph)
    index = np.empty(n, dtype=np.int64)
    index[sources] = np.where(assigned < m, assigned, -1)
    return index


def _row_normalised(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide rows by their maximum, then keep usable neurons in both rows and columns."""
    shown = ~np.isnan(matrix).all(axis=0)
    largest = np.where(shown, matrix, -np.inf).max(axis=1, initial=-np.inf)
    finite = (np.isfinite(matrix) | ~shown).all(axis=1)
    keep = shown & finite & (largest > 0)
    return matrix[np.ix_(keep, keep)] / largest[keep, None]


def _permuted_diagonal_sums(
    scaled: NDArray[np.float64], n_permutations: int, seed: int
) -> NDArray[np.float64]:
    """Sum of the entries each permutation of the columns puts on the diagonal."""
    n = len(scaled)
    rows = np.arange(n)
    if n <= 20 and math.factorial(n) - 1 <= n_permutations:
        others = np.array(list(permutations(range(n)))[1:])  # the first is the identity
        return scaled[rows, others].sum(axis=1)
    rng = np.random.default_rng(seed)
    sums = []
    for start in range(0, n_permutations, PERMUTATION_CHUNK):
        labels = np.tile(rows, (min(PERMUTATION_CHUNK, n_permutations - start), 1))
        sums.append(scaled[rows, rng.permuted(labels, axis=1)].sum(axis=1))
    return np.concatenate(sums)
