"""Trained models without their datasets: load them by key, ask them about any images."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.model import Ensemble, TrainedModel, ensemble_weights, load_model
from science.model.readback import respond_to
from science.model.weights import TrainedEnsemble


def load(key: dict[str, Any]) -> TrainedEnsemble:
    """Load a trained network or an ensemble; needs no dataset.

    Parameters
    ----------
    key : dict
        Restricts `Ensemble`, or with a `seed` `TrainedModel`, to one row.

    Raises
    ------
    LookupError
        If it is not one row.
    ValueError
        If the stored weights are damaged.
    """
    table = TrainedModel if "seed" in key else Ensemble
    rows = (table & key).keys()
    if len(rows) != 1:
        raise LookupError(f"{len(rows)} rows of {table.__name__} match {key}: give a complete key")
    if table is TrainedModel:
        return load_model((TrainedModel & rows[0]).fetch1("weights_sha256"))
    return load_model(*ensemble_weights(rows[0]))


def predict(key: dict[str, Any], images: NDArray[np.generic]) -> NDArray[np.float32]:
    """Predict the responses of all units of a model to any images.

    Parameters
    ----------
    key : dict
        As of `load`.
    images : (n, h, w)
        Grey levels, 0 to 255, of the model's aspect ratio.

    Returns
    -------
    float32, (n, n_units)
        In the units of the recorded responses, columns by `unit_index`; the eye at its mean
        position, behaviour without influence.
    """
    return respond_to(load(key), images)
