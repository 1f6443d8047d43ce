"""What the MEIs of a gallery can be sorted by."""

from typing import Any

import numpy as np
import pandas as pd

from schemas.mei import MEI, UnitSelection
from schemas.reliability import Oracle
from science.image_statistics import symmetry_indices

SCORES = {
    "validation correlation": "of the ensemble's predictions with single trials",
    "activation": "response of the ensemble to the MEI, scaled responses",
    "oracle": "correlation of a trial with the mean of the other trials of its image",
    "cosine with the truth": "of MEI and true filter, or plane of the quadrature pair, in the mask",
    "contrast": "standard deviation of the MEI's pixels, grey levels",
    "mask size": "pixels whose mask is above one half",
    "reduction ratio": "what is left of the activation under the mask",
    "agreement of starts": "mean correlation of the MEIs that started elsewhere",
    "orientedness": "symmetry index 1 of the MEI: 1 for a grating, 0 without an orientation",
    "MEI / optimal Gabor": "ratio of the model's responses at equal mean and contrast",
    "MEI / best Gabor": "the same, with the best Gabor of the grid",
    "MEI / best natural image": "the same, with the best training image",
    "MEI / linear MEI": "the same, with the MEI of the linear model",
    "true MEI / optimal Gabor": "ratio of the true responses at equal mean and contrast",
}
"""Name and meaning; the first is what a gallery is sorted by unless a reader chooses another."""

_RATIOS = {
    "MEI / optimal Gabor": ("model_ratio", "optimal_gabor"),
    "MEI / best Gabor": ("model_ratio", "best_gabor"),
    "MEI / best natural image": ("model_ratio", "natural"),
    "MEI / linear MEI": ("model_ratio", "linear_mei"),
    "true MEI / optimal Gabor": ("true_ratio", "optimal_gabor"),
}


def scores(units: pd.DataFrame, key: dict[str, Any], relative: pd.DataFrame) -> pd.DataFrame:
    """Collect the scores of units that have an MEI.

    Parameters
    ----------
    units : DataFrame
        Of `pipeline.truth.mei_truth`, of one run, with an MEI each.
    key : dict
        Of the run.
    relative : DataFrame
        Of `pipeline.truth.relative_responses`, of one plan or empty.

    Returns
    -------
    DataFrame
        A column for each of `SCORES`, float, NaN where unknown; rows as of `units`.
    """
    made = _by_unit(MEI.Unit & key, "mei_contrast", "start_agreement")
    selection = (UnitSelection & key).proj("oracle_hash").to_dicts(limit=1)
    oracle = _by_unit(Oracle.UnitScores & selection, "oracle")
    masks = units.mei_mask.map(
        lambda mask: np.count_nonzero(mask > 0.5) if isinstance(mask, np.ndarray) else np.nan
    )
    index = units.unit_index
    found = {
        "validation correlation": units.ensemble_validation_corr,
        "activation": units.mei_activation,
        "oracle": index.map(oracle.oracle),
        "cosine with the truth": units.cosine.fillna(units.plane_cosine),
        "contrast": index.map(made.mei_contrast),
        "mask size": masks,
        "reduction ratio": units.reduction_ratio,
        "agreement of starts": index.map(made.start_agreement),
        "orientedness": symmetry_indices(np.stack(units.mei.tolist()), [1])[:, 0],
    }
    for name, (column, control) in _RATIOS.items():
        of_control = relative[relative.image_kind == control].set_index("unit_index")[column]
        found[name] = 1 / index.map(of_control.astype(float))
    return pd.DataFrame(found, units.index, dtype=float)[list(SCORES)]


def _by_unit(query: Any, *columns: str) -> pd.DataFrame:
    rows = query.proj(*columns).to_dicts()
    table = pd.DataFrame(rows, columns=["unit_index", *columns]).set_index("unit_index")
    return table.astype(float)
