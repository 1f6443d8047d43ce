"""What is right: results beside the truth of virtual recordings. For reports and tests only.

Every statistic of the report that a test asserts on is computed here, and only here. Restrict the
queries to one ensemble, one method and one mask method where an average over units is wanted:
a unit has a row for each of them.
"""

from pipeline.truth.cells import WELL_PREDICTED
from pipeline.truth.closed_loop import (
    SIGNIFICANT_Q,
    closed_loop_results,
    kind_results,
    match_results,
    match_truth,
)
from pipeline.truth.comparison import (
    CELL_GROUPS,
    PAIRS,
    comparison_summary,
    comparison_truth,
    relative_responses,
)
from pipeline.truth.mei import (
    MARGIN,
    TRAINING_QUANTILE,
    MEISummary,
    exceeds,
    mei_truth,
    plane_cosine,
    signed_cosine,
    summarise,
)

__all__ = [
    "CELL_GROUPS",
    "MARGIN",
    "PAIRS",
    "SIGNIFICANT_Q",
    "TRAINING_QUANTILE",
    "WELL_PREDICTED",
    "MEISummary",
    "closed_loop_results",
    "comparison_summary",
    "comparison_truth",
    "exceeds",
    "kind_results",
    "match_results",
    "match_truth",
    "mei_truth",
    "plane_cosine",
    "relative_responses",
    "signed_cosine",
    "summarise",
]
