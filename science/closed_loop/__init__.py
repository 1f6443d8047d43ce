"""The closed loop: match cells across scans, build confusion matrices, test their diagonal.

Orientation, everywhere in this package: rows are neurons, columns are images, and column j holds
responses to the image made for neuron j. The diagonal is each neuron's response to its own image.
"""

from science.closed_loop.confusion import (
    Confusion,
    Diagonal,
    Scaling,
    confusion,
    diagonal,
    pool,
    scale_responses,
)
from science.closed_loop.diagonal_tests import (
    Estimate,
    PopulationTest,
    WelchTests,
    population_test,
    welch_tests,
)
from science.closed_loop.matching import (
    PUBLISHED_MATCH,
    BestMatch,
    MatchParams,
    majority_match,
    match_correlations,
    match_nearest,
    match_status,
)
from science.closed_loop.permutation import PermutationResult, permutation_test

__all__ = [
    "PUBLISHED_MATCH",
    "BestMatch",
    "Confusion",
    "Diagonal",
    "Estimate",
    "MatchParams",
    "PermutationResult",
    "PopulationTest",
    "Scaling",
    "WelchTests",
    "confusion",
    "diagonal",
    "majority_match",
    "match_correlations",
    "match_nearest",
    "match_status",
    "permutation_test",
    "pool",
    "population_test",
    "scale_responses",
    "welch_tests",
]
