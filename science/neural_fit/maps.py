"""From the parameters of a map to predictions: the only way that fits take."""

from collections.abc import Callable
from math import inf

import numpy as np
from sklearn import linear_model
from sklearn.base import MultiOutputMixin

from science.neural_fit.coordinate_descent import elastic_net_weights
from science.neural_fit.one_to_one import best_source, best_sources, train_correlations
from science.neural_fit.params import (
    LinearMapParams,
    MapParams,
    OneToOneMapParams,
    PlsMapParams,
)
from science.neural_fit.pls import pls_predictions
from science.neural_fit.responses import Floats, Source, SourceSplit, TargetSplit
from science.neural_fit.ridge import ridge

# Predictions at the test bins (n_test, n_cells), less a constant per cell: scores are blind to it.
Predict = Callable[[TargetSplit], Floats]


def predictor(params: MapParams, part: SourceSplit) -> Predict:
    """Prepare what depends on the source alone; returns what then fits and predicts any targets."""
    if isinstance(params, PlsMapParams):
        return lambda y: pls_predictions(part, y.train, params.n_components, params.scale)
    if isinstance(params, OneToOneMapParams):
        return _one_to_one(params, part)
    return _linear(params, part)


def _linear(params: LinearMapParams, part: SourceSplit) -> Predict:
    kind, kwargs = params.regression_type, params.regression_kwargs
    alpha = kwargs.get("alpha", 1.0)
    if kind == "Ridge" and set(kwargs) <= {"alpha"} and _positive(alpha):
        predict = ridge(part, alpha)
        return lambda y: predict(y.train)
    if kind == "ElasticNet" and set(kwargs) <= {"alpha", "l1_ratio"} and _positive(alpha):
        l1_ratio = kwargs.get("l1_ratio", 0.5)
        return lambda y: part.test @ elastic_net_weights(part, y.train, alpha, l1_ratio)
    if kind == "Lasso" and set(kwargs) <= {"alpha"} and _positive(alpha):
        return lambda y: part.test @ elastic_net_weights(part, y.train, alpha, 1.0)
    return lambda y: _fitted_by_sklearn(params, part, y)


def _positive(alpha: object) -> bool:
    """Whether the programs here are for it; scikit-learn explains what is wrong with the others."""
    return isinstance(alpha, int | float) and 0 < alpha < inf


def _fitted_by_sklearn(params: LinearMapParams, part: SourceSplit, target: TargetSplit) -> Floats:
    kind = getattr(linear_model, params.regression_type)
    responses, split = part.source.responses, part.split
    # not centred: without an intercept, or for a model of counts, that would be another fit
    train, test, truth = responses[split.train], responses[split.test], target.raw
    if issubclass(kind, MultiOutputMixin):
        return kind(**params.regression_kwargs).fit(train, truth).predict(test)
    fits = [kind(**params.regression_kwargs).fit(train, cell) for cell in truth.T]
    return np.stack([fit.predict(test) for fit in fits], axis=1)


def _one_to_one(params: OneToOneMapParams, part: SourceSplit) -> Predict:
    def predict(target: TargetSplit) -> Floats:
        correlations = train_correlations(part, target.train)
        if params.identity:
            return part.test[:, best_source(correlations)]
        predictions = np.full((len(part.test), target.n_cells), np.nan)
        # each cell has source cells of its own
        for cell, chosen in enumerate(best_sources(correlations, params.percentile).T):
            if chosen.any():
                own = SourceSplit(Source(part.source.responses[:, chosen]), part.split)
                predictions[:, [cell]] = predictor(params.regression, own)(target.of_cells([cell]))
        return predictions

    return predict
