"""The next experiment's images, written to the database with what they were made from."""

from typing import Any

import numpy as np

from pipeline.errors import UserError
from pipeline.ingest.images import register_images
from schemas.closed_loop import ClosedLoopScan, ConfusionPlan, MatchMethod
from schemas.configuration import configuration_hash
from schemas.dataset import TargetDataset
from schemas.mei import MEI
from schemas.responses import StaticScan
from schemas.stimulus import StimulusSet
from science.closed_loop import MatchParams


class NothingToShow(UserError):
    """There is no image to make a stimulus set of."""


def make_stimulus_set(plan: dict[str, Any]) -> dict[str, str]:
    """Make a stimulus set of all MEIs of an ensemble, unless it exists, and return its key.

    Parameters
    ----------
    plan : dict
        Restriction of `MEI` to one ensemble and method; usually the key of a `TrainingPlan`.

    Raises
    ------
    NothingToShow
        If there are no MEIs, or those of several ensembles or methods.
    """
    meis = (MEI.Unit & plan & "mei_status = 'ok'").to_dicts(order_by="unit_index")
    if not meis:
        raise NothingToShow(f"there are no MEIs of {plan} yet")
    made_by = {(row["model_hash"], row["mei_hash"]) for row in meis}
    if len(made_by) > 1:
        known = ", ".join(f"model {model} by method {method}" for model, method in sorted(made_by))
        raise NothingToShow(f"the MEIs are of several kinds, name one: {known}")
    keys = [{a: row[a] for a in MEI.Unit.primary_key} for row in meis]
    key = {"stimulus_set_hash": configuration_hash("StimulusSet", {"meis": keys})}
    if StimulusSet & key:
        return key
    training_set = {"training_set_hash": keys[0]["training_set_hash"]}
    images = np.stack([np.rint(row["mei"]).clip(0, 255).astype(np.uint8) for row in meis])
    with StimulusSet.connection.transaction:
        names = register_images(images, ["mei"] * len(images))
        StimulusSet.insert1(key | training_set)
        StimulusSet.Item.insert(
            key | mei | {"image_class": image_class, "image_id": image_id, "stimulus_kind": "mei"}
            for mei, (image_class, image_id) in zip(keys, names, strict=True)
        )
    return key


def close_loop(
    scan: dict[str, Any],
    stimulus: dict[str, str],
    match: MatchParams,
    scalings: tuple[str, ...] = ("raw", "normalized", "zscored"),
    day: int = 2,
    loop_group: int = 1,
) -> None:
    """Ask for the confusion matrices of a recording that showed a stimulus set.

    The recording is admitted under the preprocessing of those the stimulus set comes from.

    Parameters
    ----------
    scan : dict
        Key of `Scan`.
    stimulus : dict
        Key of `StimulusSet`.
    """
    sources = TargetDataset.Member & (StimulusSet & stimulus).proj("training_set_hash")
    scan = scan | {"preprocessing_hash": str(sources.to_arrays("preprocessing_hash")[0])}
    StaticScan.insert1(scan, skip_duplicates=True)
    ClosedLoopScan.insert1(
        scan | stimulus | {"loop_group": loop_group, "day": day}, skip_duplicates=True
    )
    method = MatchMethod.register(match)
    ConfusionPlan.insert(
        (
            scan | method | {"response_scaling": scaling, "stimulus_kind": "mei"}
            for scaling in scalings
        ),
        skip_duplicates=True,
        ignore_extra_fields=True,
    )
