"""What stimuli are made from: MEIs, their controls and their masks, as the tables hold them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import datajoint as dj
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from schemas import recording
from schemas.comparison import BestNaturalImage
from schemas.controls import LINEAR_PLAN, ControlPlan
from schemas.gabor import BestGabor
from schemas.mei import MEI, MEIMask, TargetModel, masked_meis
from schemas.stimulus import Kind

UNCONTROLLED = ("mei",)  # kinds that need no `ControlPlan`


class NothingToShow(UserError):
    """There is no image to make a stimulus set of."""


@dataclass(frozen=True)
class Source:
    """An image that a unit will be shown.

    Attributes
    ----------
    unit_index : int
        Whose it is.
    image : (h, w)
        Grey values.
    mask : (h', w'), optional
        0-1, at the resolution of the models.
    reference : dict
        Key of the row it comes from.
    """

    unit_index: int
    image: NDArray[np.generic]
    mask: NDArray[np.float32] | None
    reference: dict[str, Any]


def target_model(plan: dict[str, Any], kinds: Sequence[Kind]) -> dict[str, Any]:
    """Return the key of the one `TargetModel`, or `ControlPlan` where controls are shown.

    Raises
    ------
    NothingToShow
        If there is none, or there are several.
    """
    if set(kinds) <= set(UNCONTROLLED):
        return _the_only(dj.U(*TargetModel.primary_key) & (MEI & plan), "MEIs", plan)
    return _the_only(ControlPlan & plan, "controls of MEIs", plan)


def _the_only(query: dj.expression.QueryExpression, what: str, plan: dict[str, Any]) -> dict:
    rows = query.to_dicts(order_by="KEY")
    if not rows:
        raise NothingToShow(f"there are no {what} of {plan}: ask for them in a study")
    if len(rows) > 1:
        differ = [name for name in rows[0] if len({row[name] for row in rows}) > 1]
        choices = [{name: row[name] for name in differ} for row in rows]
        raise NothingToShow(f"there are several {what} of {plan}, name one: {choices}")
    return rows[0]


def sources(target: dict[str, Any], kind: Kind) -> dict[int, Source]:
    """Return the images of one kind by unit; units without one are missing.

    Parameters
    ----------
    target : dict
        As `target_model` returns it.
    """
    if kind not in get_args(Kind):
        raise NothingToShow(f"there is no kind of image '{kind}': it is one of {get_args(Kind)}")
    found = _MAKERS[kind](target)
    return {source.unit_index: source for source in found}


def _meis(target: dict[str, Any]) -> list[Source]:
    return _rows(MEI.Unit & target & "mei_status = 'ok'", MEI.Unit, "mei")


def _linear_meis(target: dict[str, Any]) -> list[Source]:
    linear = {name: target[new] for new, name in LINEAR_PLAN.items()}
    if None in linear.values():
        raise NothingToShow("no linear model was compared: name one in the study")
    return _meis({name: target[name] for name in TargetModel.primary_key} | linear)


def _gabors(target: dict[str, Any]) -> list[Source]:
    return _rows(BestGabor.Unit & target & "best_alive", BestGabor.Unit, "best_gabor")


def _masked_meis(target: dict[str, Any]) -> list[Source]:
    usable, masks = _masks(target)
    rows = (MEI.Unit * MEIMask.Unit.proj() & target).to_dicts(order_by="unit_index")
    return [
        Source(row["unit_index"], row["mei"], masks[row["unit_index"]], _key(MEIMask.Unit, row))
        for row in rows
        if row["unit_index"] in usable
    ]


def _naturals(target: dict[str, Any]) -> list[Source]:
    shown = BestNaturalImage.Unit.proj("image_class", "image_id") * recording.Image & target
    return _rows(shown, BestNaturalImage.Unit, "image")


def _masked_naturals(target: dict[str, Any]) -> list[Source]:
    _, masks = _masks(target)
    names = {"image_class": "masked_image_class", "image_id": "masked_image_id"}
    shown = BestNaturalImage.Unit.proj(**names) * recording.Image & target
    return [
        Source(s.unit_index, s.image, masks[s.unit_index], s.reference)
        for s in _rows(shown, BestNaturalImage.Unit, "image")
    ]


def _masks(target: dict[str, Any]) -> tuple[set[int], dict[int, NDArray[np.float32]]]:
    """Return the units whose MEI shows something under its mask, and the masks by unit."""
    units, _, _, masks = masked_meis(target)
    return set(units), dict(zip(units, masks, strict=True))


def _rows(query: dj.expression.QueryExpression, table: type[dj.Part], image: str) -> list[Source]:
    rows = query.to_dicts(order_by="unit_index")
    return [Source(row["unit_index"], row[image], None, _key(table, row)) for row in rows]


def _key(table: type[dj.Part], row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in table.primary_key}


_MAKERS = {
    "mei": _meis,
    "linear_mei": _linear_meis,
    "gabor": _gabors,
    "natural": _naturals,
    "masked_mei": _masked_meis,
    "masked_natural": _masked_naturals,
}
