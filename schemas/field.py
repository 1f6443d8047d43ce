"""Receptive fields: of the model's units by their gradient, of recorded units by regression."""

from typing import Any

import datajoint as dj
import numpy as np
import torch
from numpy.typing import NDArray

from schemas.controls import ControlPlan, FieldMethod
from schemas.dataset import TargetDataset
from schemas.loading import load_dataset
from schemas.mei import MEI, MEIMethod, UnitSelection, block_columns, load_block, unit_seed
from schemas.rows import nullable
from science.dataset import ImageDataset
from science.gradient_field import gradient_fields
from science.mei import MEIParams, ascend
from science.regression_field import (
    ImageResponses,
    RegressionFieldParams,
    RegressionFields,
    regression_fields,
)

schema = dj.Schema()


@schema
class GradientField(dj.Computed):
    definition = """
    # Receptive fields of the model's units: the gradient at grey, and the image it prefers
    -> MEI
    """

    class Unit(dj.Part):
        """A unit and the gradient of its response."""

        definition = """
        -> master
        -> UnitSelection.Unit
        ---
        point_rf : <blob>               # float32, (h, w), response per z-scored grey value
        gradient_mei : <blob>           # float32, (h, w), MEI of <image, point_rf>, grey values
        gradient_mei_activation : float64   # of the ensemble
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """MEIs whose controls were asked for."""
        return dj.U(*self.primary_key) & (MEI.proj() * ControlPlan)

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        return MEIMethod.params(key), *block_columns(key)

    def make_compute(
        self,
        key: dict[str, Any],
        params: MEIParams,
        units: list[int],
        columns: list[tuple[str, int]],
        weights: list[str],
    ) -> tuple[Any, ...]:
        block = load_block(weights, columns)
        shape, device = block.model.image_shape, block.device
        fields = gradient_fields(block.respond, shape, len(units), device)
        on_device = torch.as_tensor(fields, device=device)
        preferred = ascend(
            lambda images, chosen: (images[:, 0] * on_device[chosen]).sum((-2, -1)),
            [unit_seed(key, unit) for unit in units],
            shape,
            *block.statistics,
            params,
            device,
        )
        responses = block.responses(torch.as_tensor(preferred.images))
        return units, fields, preferred.images, responses

    def make_insert(
        self,
        key: dict[str, Any],
        units: list[int],
        fields: NDArray[np.float32],
        images: NDArray[np.float32],
        responses: NDArray[np.float32],
    ) -> None:
        self.insert1(key)
        self.Unit.insert(
            key
            | {
                "unit_index": unit,
                "point_rf": fields[i],
                "gradient_mei": images[i],
                "gradient_mei_activation": float(responses[i]),
            }
            for i, unit in enumerate(units)
        )


@schema
class RegressionField(dj.Computed):
    definition = """
    # Receptive fields of recorded units by smooth linear regression, without any model
    -> TargetDataset
    -> FieldMethod
    """

    class Unit(dj.Part):
        """A unit and its regression weights."""

        definition = """
        -> master
        -> TargetDataset.Unit
        ---
        regression_rf = null : <blob>       # float32, (h, w), per z-scored grey value
        field_lambda = null : float64       # smoothness, the best on the validation tier
        field_validation_corr = null : float64
        field_test_corr = null : float64    # with mean responses to the test images
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Datasets whose fields were asked for."""
        return dj.U(*self.primary_key) & (TargetDataset.proj() * ControlPlan)

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        return FieldMethod.params(key), (TargetDataset & key).fetch1("dataset_digest")

    def make_compute(
        self, key: dict[str, Any], params: RegressionFieldParams, digest: str
    ) -> tuple[Any, ...]:
        dataset = load_dataset(key, digest)
        fields = {name: _fields(dataset, name, params) for name in dataset.recordings}
        return ([_field_columns(fields[name], i) for name, i in dataset.columns],)

    def make_insert(self, key: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        self.insert1(key)
        self.Unit.insert(
            nullable(key | {"unit_index": unit} | row) for unit, row in enumerate(rows)
        )


def _fields(dataset: ImageDataset, name: str, params: RegressionFieldParams) -> RegressionFields:
    train, validation, test = (_shown(dataset, name, t) for t in ("train", "validation", "test"))
    return regression_fields(train, validation, params, test if len(test.images) > 1 else None)


def _shown(dataset: ImageDataset, name: str, tier: str) -> ImageResponses:
    inputs, means = dataset.image_means(name, tier)
    return ImageResponses(inputs[:, 0], means)


def _field_columns(fields: RegressionFields, i: int) -> dict[str, Any]:
    known = bool(np.isfinite(fields.fields[i]).all())
    tested = fields.test_correlation
    return {
        "regression_rf": fields.fields[i] if known else None,
        "field_lambda": float(fields.lambdas[i]),
        "field_validation_corr": float(fields.validation_correlation[i]),
        "field_test_corr": None if tested is None else float(tested[i]),
    }
