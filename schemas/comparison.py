"""MEIs and their controls side by side, all at equal mean and contrast."""

from collections.abc import Iterator
from typing import Any

import datajoint as dj
import numpy as np
import torch
from numpy.typing import NDArray

from schemas import recording
from schemas.controls import LINEAR_PLAN, ContrastRule, ControlPlan
from schemas.dataset import ConditionTier, TargetDataset
from schemas.field import GradientField, RegressionField
from schemas.gabor import BestGabor, OptimalGabor
from schemas.loading import load_dataset
from schemas.mei import MEI, MEIMask, UnitSelection, block_columns, load_block, masked_meis
from schemas.model import ensemble_weights
from schemas.responses import Frame
from schemas.rows import nullable
from science.contrast import ContrastTarget, match_contrast
from science.natural_controls import NaturalImages, best_natural_images

schema = dj.Schema()

N_NATURAL_CANDIDATES = 100  # images tried in each mask; the best of them without it


@schema
class BestNaturalImage(dj.Computed):
    definition = """
    # The training image that excites a unit most at equal mean and contrast, and in its mask
    -> MEIMask
    -> ContrastRule
    """

    class Unit(dj.Part):
        """A unit and its best training image, whole and under the mask."""

        definition = """
        -> master
        -> MEIMask.Unit
        ---
        -> recording.Image
        natural_image : <blob>              # float32, (h, w), grey values 0-255
        natural_activation = null : float64
        -> recording.Image.proj(masked_image_class='image_class', masked_image_id='image_id')
        masked_natural_image : <blob>       # float32, (h, w), under the mask
        masked_natural_activation = null : float64
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Masked MEIs whose controls were asked for."""
        return dj.U(*self.primary_key) & (MEIMask.proj() * ControlPlan)

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        digest = (TargetDataset & key).fetch1("dataset_digest")
        return ContrastRule.params(key), digest, ensemble_weights(key)

    def make_compute(
        self, key: dict[str, Any], contrast: ContrastTarget, digest: str, weights: list[str]
    ) -> tuple[Any, ...]:
        units, columns, _, masks = masked_meis(key)
        if not units:
            return [], None, []
        images, names = _training_images(key, digest)
        block = load_block(weights, columns)
        found = best_natural_images(
            block.respond,
            block.respond.all,
            images,
            masks,
            *block.statistics,
            contrast,
            N_NATURAL_CANDIDATES,
            block.device,
        )
        return units, found, names

    def make_insert(
        self,
        key: dict[str, Any],
        units: list[int],
        found: NaturalImages | None,
        names: list[tuple[str, int]],
    ) -> None:
        self.insert1(key)
        self.Unit.insert(
            nullable(
                key
                | {
                    "unit_index": unit,
                    "image_class": names[found.index[i]][0],
                    "image_id": names[found.index[i]][1],
                    "natural_image": found.images[i],
                    "natural_activation": float(found.activations[i]),
                    "masked_image_class": names[found.masked_index[i]][0],
                    "masked_image_id": names[found.masked_index[i]][1],
                    "masked_natural_image": found.masked_images[i],
                    "masked_natural_activation": float(found.masked_activations[i]),
                }
            )
            for i, unit in enumerate(units)
        )


def _training_images(
    key: dict[str, Any], digest: str
) -> tuple[NDArray[np.float32], list[tuple[str, int]]]:
    """Return frames (n, h, w) of the train tier, each image once, and which images they are."""
    dataset = load_dataset(key, digest)
    images, names = {}, []
    for member in (TargetDataset.Member & key).to_dicts(order_by="KEY"):
        shown = Frame.Condition * recording.Condition * ConditionTier.Condition & member
        shown = shown & {"tier": "train"}
        frames = dataset.recordings[member["readout_key"]].frames
        for row in shown.to_dicts(order_by="frame_row"):
            name = (row["image_class"], row["image_id"])
            images.setdefault(name, frames[row["frame_row"]])
    names = list(images)
    return np.stack([images[name] for name in names]), names


@schema
class ImageKind(dj.Lookup):
    definition = """
    # What an image of a comparison is
    image_kind : varchar(24)
    """
    contents = [
        {"image_kind": kind}
        for kind in (
            "mei",
            "masked_mei",
            "best_gabor",
            "optimal_gabor",
            "natural",
            "masked_natural",
            "linear_mei",
            "gradient_mei",
            "regression_rf",
        )
    ]


@schema
class ImageComparison(dj.Computed):
    definition = """
    # The response of a unit's model to its MEI and to the controls, at equal mean and contrast
    -> ControlPlan
    -> UnitSelection.Block
    """

    class Response(dj.Part):
        """A unit's response to one kind of image."""

        definition = """
        -> master
        -> UnitSelection.Unit
        -> ImageKind
        ---
        compared_image : <blob>         # float32, (h, w), grey values 0-255
        compared_response : float64     # of the ensemble
        compared_mean : float64         # grey value
        compared_sd : float64           # pixel SD
        contrast_reached : bool         # false: the image cannot have the contrast
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Plans and blocks for which MEI, masks and all controls are there."""
        ready = (
            ControlPlan.proj()
            * UnitSelection.Block.proj()
            * MEIMask.proj()
            * OptimalGabor.proj()
            * BestNaturalImage.proj()
            * GradientField.proj()
        )
        ready = ready & (ControlPlan * RegressionField.proj()).proj()
        waiting = (ready * ControlPlan & "linear_model_hash IS NOT NULL").proj() - _linear_meis()
        return dj.U(*self.primary_key) & (ready.proj() - waiting)

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        return ContrastRule.params(key), *block_columns(key)

    def make_compute(
        self,
        key: dict[str, Any],
        contrast: ContrastTarget,
        units: list[int],
        columns: list[tuple[str, int]],
        weights: list[str],
    ) -> tuple[Any, ...]:
        images = dict(_images(key))
        block = load_block(weights, columns)
        rows = []
        for kind, image_of in images.items():
            shown = [i for i, unit in enumerate(units) if unit in image_of]
            if not shown:
                continue
            stack = torch.as_tensor(
                np.stack([image_of[units[i]] for i in shown]), dtype=torch.float32
            ).to(block.device)
            matched = match_contrast(stack, contrast)
            responses = block.responses(matched.images, shown)
            rows += [
                {
                    "unit_index": units[i],
                    "image_kind": kind,
                    "compared_image": matched.images[n].cpu().numpy(),
                    "compared_response": responses[n].item(),
                    "compared_mean": matched.mean[n].item(),
                    "compared_sd": matched.std[n].item(),
                    "contrast_reached": bool(matched.reached[n]),
                }
                for n, i in enumerate(shown)
            ]
        return (rows,)

    def make_insert(self, key: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        self.insert1(key)
        self.Response.insert(key | row for row in rows)


def _linear_meis() -> dj.expression.QueryExpression:
    """Return plans and blocks whose linear MEIs exist."""
    return (ControlPlan * MEI.proj(**LINEAR_PLAN)).proj()


def _images(key: dict[str, Any]) -> Iterator[tuple[str, dict[int, NDArray[np.float32]]]]:
    """Yield every kind of image, (h, w) by unit; units without an image of a kind are missing."""

    def column(query: Any, name: str) -> dict[int, NDArray[np.float32]]:
        rows = (query & key).proj(name).to_dicts()
        return {row["unit_index"]: row[name] for row in rows if row[name] is not None}

    units, _, meis, masks = masked_meis(key)
    level = meis.mean((1, 2), keepdims=True) if units else meis
    yield "mei", column(MEI.Unit, "mei")
    yield "masked_mei", dict(zip(units, level + masks * (meis - level), strict=True))
    yield "best_gabor", column(BestGabor.Unit, "best_gabor")
    yield "optimal_gabor", column(OptimalGabor.Unit, "optimal_gabor")
    yield "natural", column(BestNaturalImage.Unit, "natural_image")
    yield "masked_natural", column(BestNaturalImage.Unit, "masked_natural_image")
    yield "gradient_mei", column(GradientField.Unit, "gradient_mei")
    method = (ControlPlan & key).proj("field_hash")
    fields = RegressionField.Unit * UnitSelection.Unit.proj() & method
    yield "regression_rf", column(fields, "regression_rf")
    linear = (_linear_meis() * MEI.Unit.proj(**LINEAR_PLAN, linear_mei="mei")) & key
    yield "linear_mei", column(linear, "linear_mei")
