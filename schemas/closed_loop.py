"""Responses of matched cells to the images made for them, and what they say."""

from collections import defaultdict
from typing import Any

import datajoint as dj
import numpy as np
from numpy.typing import NDArray

from schemas.cell_match import (
    BestProximityCellMatch,
    CellMatchOracleCorrelation,
    ClosedLoopScan,
    LoopPool,
    MatchMethod,
    shown_images,
)
from schemas.configuration import configuration_hash
from schemas.dataset import TargetDataset
from schemas.loading import response_block
from schemas.responses import InputResponse
from schemas.rows import nullable
from schemas.stimulus import StimulusKind, StimulusSet
from science.closed_loop import (
    Confusion,
    confusion,
    diagonal,
    permutation_test,
    pool,
    population_test,
    scale_responses,
    welch_tests,
)

schema = dj.Schema()

N_PERMUTATIONS = 10_000


@schema
class ResponseScaling(dj.Lookup):
    definition = """
    # How responses are scaled per unit, over all trials of a recording
    response_scaling : varchar(16)
    """
    contents = [{"response_scaling": s} for s in ("raw", "normalized", "zscored")]


@schema
class ConfusionPlan(dj.Manual):
    definition = """
    # A confusion matrix that someone asked for
    -> LoopPool
    -> MatchMethod
    -> ResponseScaling
    -> StimulusKind
    """


@schema
class ConfusionMatrix(dj.Computed):
    definition = """
    # Responses of matched cells to the images made for them; rows = cells, columns = images
    -> ConfusionPlan
    ---
    -> TargetDataset
    n_matrix_units : int32
    confusion_mean : <blob>             # float64, (n, n), mean over repeats
    confusion_variance : <blob>         # float64, (n, n), population variance over repeats
    confusion_n : <blob>                # int64, (n, n), repeats
    """

    class Diagonal(dj.Part):
        definition = """
        # A cell's response to its own image; which cell and image a row and column are
        -> master
        -> TargetDataset.Unit
        ---
        matrix_index : int32            # row and column in the matrices
        diagonal_n : int32              # repeats
        diagonal_response = null : float64
        diagonal_sem = null : float64
        diagonal_rank : int32           # images that drive the cell more; -1: its own not shown
        row_max : bool                  # no other image drives the cell more
        """

    class Recording(dj.Part):
        definition = """
        # A recording that was pooled, with its single trials
        -> master
        -> CellMatchOracleCorrelation
        ---
        -> InputResponse
        trial_columns : <npy@>          # int32, (k,), column of the image that each trial showed
        trial_responses : <npy@>        # float32, (k, n), scaled; NaN: cell not matched here
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Plans in all of whose recordings the cells are matched and compared."""
        wanted = ConfusionPlan * LoopPool.Member
        return ConfusionPlan - (wanted - CellMatchOracleCorrelation.proj())

    def make(self, key: dict[str, Any]) -> None:
        members = (LoopPool.Member * ClosedLoopScan & key).to_dicts(order_by="KEY")
        units = _units(key)
        made = [_trials(key, member, units) for member in members]
        training_set = _training_set(key)
        matrix = pool([confusion(responses, columns) for columns, responses in made])
        self.insert1(
            key
            | training_set
            | {
                "n_matrix_units": len(units),
                "confusion_mean": matrix.mean,
                "confusion_variance": matrix.variance,
                "confusion_n": matrix.n,
            }
        )
        self.Diagonal.insert(_diagonal_rows(key | training_set, units, matrix))
        self.Recording.insert(
            key
            | {name: member[name] for name in InputResponse.primary_key}
            | {
                "trial_columns": columns.astype(np.int32),
                "trial_responses": responses.astype(np.float32),
            }
            for member, (columns, responses) in zip(members, made, strict=True)
        )


def _training_set(key: dict[str, Any]) -> dict[str, str]:
    """Return the training set whose units the images of a pool were made for."""
    found = dj.U("training_set_hash") & (LoopPool.Member * ClosedLoopScan * StimulusSet & key)
    return found.fetch1()


def _accepted() -> dj.expression.QueryExpression:
    """Return the matches that count, with the recorded unit of each."""
    accepted = CellMatchOracleCorrelation.Unit & "match_status = 'accepted'"
    return BestProximityCellMatch.Unit.proj("matched_unit_id") & accepted.proj()


def _targets() -> dj.expression.QueryExpression:
    """Return the unshifted images of each closed-loop recording's stimulus set."""
    unshifted = StimulusSet.Item & "x_shift = 0 AND y_shift = 0"
    columns = ("stimulus_kind", "training_set_hash", "unit_index", "image_class", "image_id")
    return ClosedLoopScan.proj("stimulus_set_hash") * unshifted.proj(*columns)


def _units(key: dict[str, Any]) -> list[int]:
    """Return the units in the order of the matrix: those matched whose own image was shown."""
    targets = _targets() & {"stimulus_kind": key["stimulus_kind"]}
    shown = (_accepted() * LoopPool.Member & key) & targets
    units = (dj.U("unit_index") & shown).to_arrays("unit_index", order_by="unit_index")
    if not len(units):
        raise ValueError(
            f"none of the cells that the images of {key} were made for has a match that counts: "
            "`CellMatchOracleCorrelation.Unit` says why"
        )
    return units.tolist()


def _trials(
    key: dict[str, Any], member: dict[str, Any], units: list[int]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return what one recording contributes: the trials that showed an image of the matrix.

    Returns
    -------
    columns : int64, (k,)
        Column of the matrix. A trial whose image was made for several units comes once for each.
    responses : float64, (k, n)
        Of the matched cells, scaled over all trials of the recording; NaN: no match here.
    """
    scan = {name: member[name] for name in InputResponse.primary_key}
    index = {unit: i for i, unit in enumerate(units)}
    matches = (_accepted() & scan & {"match_hash": key["match_hash"]}).to_dicts()
    block, columns = response_block(scan)
    matched = {
        index[m["unit_index"]]: columns[m["matched_unit_id"]]
        for m in matches
        if m["unit_index"] in index
    }
    responses = np.full((len(block), len(units)), np.nan)
    responses[:, list(matched)] = scale_responses(
        block[:, list(matched.values())], key["response_scaling"]
    )
    items = _targets() & scan & {"stimulus_kind": key["stimulus_kind"]}
    made_for = defaultdict(list)
    for item in items.to_dicts(order_by="item"):
        if item["unit_index"] in index:
            made_for[item["image_class"], item["image_id"]].append(index[item["unit_index"]])
    images, shown = shown_images(scan)
    pairs = [(row, column) for row, i in enumerate(shown) for column in made_for[images[i]]]
    rows, shown_columns = np.array(pairs, np.int64).reshape(-1, 2).T
    return shown_columns, responses[rows]


def _diagonal_rows(
    key: dict[str, Any], units: list[int], matrix: Confusion
) -> list[dict[str, Any]]:
    own = diagonal(matrix)
    return [
        nullable(
            key
            | {
                "unit_index": unit,
                "matrix_index": i,
                "diagonal_n": int(matrix.n[i, i]),
                "diagonal_response": float(own.response[i]),
                "diagonal_sem": float(own.sem[i]),
                "diagonal_rank": int(own.rank[i]),
                "row_max": bool(own.row_max[i]),
            }
        )
        for i, unit in enumerate(units)
    ]


def _seed(table: str, key: dict[str, Any]) -> int:
    """Return the seed of a test: the same whenever it is computed."""
    return int(configuration_hash(table, key), 16) >> 1


@schema
class PermutationTest(dj.Computed):
    definition = """
    # Do images drive the cells they were made for more than others? Rows / maximum, not z-scores
    -> ConfusionMatrix
    ---
    permutation_statistic = null : float64  # mean diagonal - mean of the rest
    permutation_p = null : float64          # two-sided; null: fewer than two usable cells
    statistic_low = null : float64          # 95 percent interval over cells
    statistic_high = null : float64
    n_tested : int32
    n_dropped : int32                       # not shown, or constant
    n_permutations : int32
    permutation_seed : int64
    """

    def make(self, key: dict[str, Any]) -> None:
        mean = (ConfusionMatrix & key).fetch1("confusion_mean")
        seed = _seed("PermutationTest", key)
        # z-scores are comparable between cells as they are
        result = permutation_test(
            mean, N_PERMUTATIONS, seed, divide_rows=key["response_scaling"] != "zscored"
        )
        self.insert1(
            nullable(
                key
                | {
                    "permutation_statistic": result.statistic,
                    "permutation_p": result.p,
                    "statistic_low": result.low,
                    "statistic_high": result.high,
                    "n_tested": result.n,
                    "n_dropped": result.n_dropped,
                    "n_permutations": result.n_permutations,
                    "permutation_seed": seed,
                }
            )
        )


@schema
class KindPair(dj.Lookup):
    definition = """
    # Two kinds of images whose effect on the cells they were made for is compared
    -> StimulusKind
    -> StimulusKind.proj(other_kind='stimulus_kind')
    """
    contents = [
        {"stimulus_kind": kind, "other_kind": other}
        for kind, other in (
            ("mei", "linear_mei"),
            ("mei", "gabor"),
            ("mei", "natural"),
            ("mei", "masked_natural"),
            ("masked_mei", "masked_natural"),
        )
    ]


@schema
class DiagonalTest(dj.Computed):
    definition = """
    # Do cells respond more to their images of one kind than to those of another?
    -> ConfusionMatrix
    -> ConfusionMatrix.proj(other_kind='stimulus_kind')
    -> KindPair
    ---
    n_compared : int32                  # cells with both responses
    wilcoxon_w = null : float64
    wilcoxon_p = null : float64         # two-sided
    median_difference = null : float64  # first kind - other, scaled responses
    median_difference_low = null : float64      # 95 percent intervals over cells
    median_difference_high = null : float64
    rank_biserial = null : float64      # -1 to 1
    rank_biserial_low = null : float64
    rank_biserial_high = null : float64
    response_ratio = null : float64     # of the means; null: where responses are negative
    response_ratio_low = null : float64
    response_ratio_high = null : float64
    bootstrap_seed : int64
    """

    class Unit(dj.Part):
        definition = """
        # Welch test over repeats
        -> master
        -> TargetDataset.Unit
        ---
        difference = null : float64
        difference_sem = null : float64
        welch_t = null : float64
        welch_df = null : float64
        welch_p = null : float64        # two-sided
        welch_q = null : float64        # Benjamini-Hochberg, over the cells
        difference_rank : int32         # 0 = largest; -1: not known
        welch_t_rank : int32
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Pairs of kinds that both have a matrix."""
        return _pairs(ConfusionMatrix)

    def make(self, key: dict[str, Any]) -> None:
        other = key | {"stimulus_kind": key["other_kind"]}
        units, first, second = _common_diagonals(key, other)
        seed = _seed("DiagonalTest", key)
        welch = welch_tests(*first, *second)
        population = population_test(first[0], second[0], seed)
        estimates = {
            "median_difference": population.median_difference,
            "rank_biserial": population.rank_biserial,
            "response_ratio": population.ratio,
        }
        row = {
            "n_compared": population.n,
            "wilcoxon_w": population.w,
            "wilcoxon_p": population.p,
            "bootstrap_seed": seed,
        }
        for name, estimate in estimates.items():
            row |= {
                name: estimate.value,
                f"{name}_low": estimate.low,
                f"{name}_high": estimate.high,
            }
        self.insert1(nullable(key | row))
        columns = {
            "unit_index": units,
            "difference": welch.difference,
            "difference_sem": welch.sem,
            "welch_t": welch.t,
            "welch_df": welch.df,
            "welch_p": welch.p,
            "welch_q": welch.q,
            "difference_rank": welch.difference_rank,
            "welch_t_rank": welch.t_rank,
        }
        rows = zip(*(values.tolist() for values in columns.values()), strict=True)
        unit_key = key | _training_set(key)
        self.Unit.insert(nullable(unit_key | dict(zip(columns, row, strict=True))) for row in rows)


def asked_pairs() -> dj.expression.QueryExpression:
    """Return the comparisons of two kinds that the plans ask for."""
    return _pairs(ConfusionPlan)


def _pairs(matrices: type[dj.Table]) -> dj.expression.QueryExpression:
    return matrices.proj() * matrices.proj(other_kind="stimulus_kind") * KindPair


Diagonals = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]


def _common_diagonals(
    key: dict[str, Any], other: dict[str, Any]
) -> tuple[NDArray[np.int64], Diagonals, Diagonals]:
    """Return units of two matrices, and mean, variance and repeats of their own images in each."""
    indices, diagonals = [], []
    for of in (key, other):
        rows = (ConfusionMatrix.Diagonal & of).to_dicts()
        indices.append({row["unit_index"]: row["matrix_index"] for row in rows})
        matrices = (ConfusionMatrix & of).fetch1(
            "confusion_mean", "confusion_variance", "confusion_n"
        )
        diagonals.append([np.diag(matrix) for matrix in matrices])
    units = sorted(indices[0].keys() & indices[1].keys())
    first, second = (
        tuple(values[[index[unit] for unit in units]] for values in of)
        for index, of in zip(indices, diagonals, strict=True)
    )
    return np.array(units, np.int64), first, second
