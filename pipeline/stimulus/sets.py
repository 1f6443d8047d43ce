"""The next experiment's images: from MEIs and their controls to what a monitor shows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from tqdm import tqdm

from pipeline.ingest.images import register_images
from pipeline.stimulus.sources import NothingToShow, Source, sources, target_model
from schemas.configuration import configuration_hash
from schemas.dataset import TargetDataset
from schemas.mei import LoadedBlock, load_block
from schemas.model import ensemble_weights
from schemas.monitor import ClosestCalibration, monitor_curve
from schemas.recording import Condition, Image, MonitorCalibration, Trial
from schemas.stimulus import MADE_FROM, DisplayRule, Kind, StimulusSet
from science.monitor import MonitorCurve
from science.params import Params
from science.shown_images import DisplayParams, as_modelled, shifted, shown_images

SHIFTED_KINDS = ("mei", "linear_mei")
NINE_SHIFTS = tuple((x, y) for x in (-1, 0, 1) for y in (-1, 0, 1))
UNITS_AT_ONCE = 16  # with up to nine images each
MANY = 200  # images, from which on a progress bar is worth its line


class StimulusParams(Params):
    """Which images are shown, and how.

    Attributes
    ----------
    kinds : tuple of str
        Of images; units that lack one of them are left out.
    nine_shifts : bool
        Show MEIs and linear MEIs also moved by one pixel of the model's images in each direction
        (microns_vei 9.6).
    display : DisplayParams
        Size, mean and contrast.
    """

    kinds: tuple[Kind, ...] = Field(("mei",), min_length=1)
    nine_shifts: bool = False
    display: DisplayParams = DisplayParams()


@dataclass(frozen=True)
class Stimulus:
    """A stimulus set before it is stored.

    Attributes
    ----------
    key : dict
        Of `StimulusSet`.
    row : dict
        The rest of its row, but for the display rule.
    params : StimulusParams
    items : list of dict
        Rows of `StimulusSet.Item` without the numbers of the images, and under `made_from` the
        key of what each is made from.
    pixels : uint8, (n_items, h, w)
    n_left_out : int
        Units that have some of the kinds, but not all.
    """

    key: dict[str, str]
    row: dict[str, Any]
    params: StimulusParams
    items: list[dict[str, Any]]
    pixels: NDArray[np.uint8]
    n_left_out: int


@dataclass(frozen=True)
class Monitors:
    """Where the recorded images were seen, and where the new ones will be.

    Attributes
    ----------
    row : dict
        Their keys, as a `StimulusSet` has them; None where grey values are what is equal.
    source, shown_on : MonitorCurve or None
    """

    row: dict[str, Any]
    source: MonitorCurve | None = None
    shown_on: MonitorCurve | None = None


@dataclass(frozen=True)
class Screen:
    """How images are shown, and who looks.

    Attributes
    ----------
    display : DisplayParams
    size : (int, int)
        Height and width, pixels.
    monitors : Monitors
    block : LoadedBlock
        The ensemble, with the units that images are made for.
    """

    display: DisplayParams
    size: tuple[int, int]
    monitors: Monitors
    block: LoadedBlock


def make_stimulus_set(
    plan: dict[str, Any],
    params: StimulusParams | None = None,
    shown_on: dict[str, Any] | None = None,
) -> dict[str, str]:
    """Make a stimulus set of MEIs and their controls, unless it exists, and return its key.

    Parameters and errors are those of `prepare_stimulus`.
    """
    stimulus = prepare_stimulus(plan, params, shown_on)
    with StimulusSet.connection.transaction:
        insert_stimulus(stimulus)
    return stimulus.key


def prepare_stimulus(
    plan: dict[str, Any],
    params: StimulusParams | None = None,
    shown_on: dict[str, Any] | None = None,
) -> Stimulus:
    """Compute a stimulus set without storing anything.

    Images are enlarged to the size of those that were recorded, brought to one mean and contrast in
    the light of the monitor they were recorded with, and written for the monitor that will show
    them (microns_vei 9.6, 11).

    Parameters
    ----------
    plan : dict
        Restriction of `MEI` to one ensemble and method; usually the key of a `TrainingPlan`.
    params : StimulusParams, optional
    shown_on : dict, optional
        Key of `MonitorCalibration`, of the monitor that will show the images; by default the
        newest of the rig on which the recorded ones were seen.

    Raises
    ------
    NothingToShow
        If there are no such images, those of several ensembles or methods, no calibration, or a
        mean and contrast that the monitor cannot show.
    """
    params = params or StimulusParams()
    target = target_model(plan, params.kinds)
    by_kind = {kind: sources(target, kind) for kind in params.kinds}
    units = sorted(set.intersection(*map(set, by_kind.values())))
    if not units:
        raise NothingToShow(f"no unit of {plan} has an image of each kind {list(params.kinds)}")
    member = (TargetDataset.Member & target).to_dicts(order_by="KEY", limit=1)[0]
    monitors = _monitors(member, params.display, shown_on)
    size = params.display.size(_recorded_size(member))
    screen = Screen(params.display, size, monitors, _load_units(target, units))
    items, pixels = _show_all(screen, params, by_kind, units)
    made_from = [
        {n: v for n, v in item.items() if not n.startswith(("shown_", "display_"))}
        for item in items
    ]
    document = {
        "display": params.display.model_dump(mode="json"),
        "monitors": {name: value and str(value) for name, value in monitors.row.items()},
        "items": made_from,
    }
    return Stimulus(
        key={"stimulus_set_hash": configuration_hash("StimulusSet", document, version=2)},
        row=monitors.row | {"training_set_hash": target["training_set_hash"]},
        params=params,
        items=items,
        pixels=pixels,
        n_left_out=len(set().union(*by_kind.values())) - len(units),
    )


def insert_stimulus(stimulus: Stimulus) -> list[dict[str, Any]]:
    """Insert a stimulus set unless it is there; return its items. Call it in a transaction."""
    if not StimulusSet & stimulus.key:
        rule = DisplayRule.register(stimulus.params.display)
        names = register_images(stimulus.pixels, [i["stimulus_kind"] for i in stimulus.items])
        StimulusSet.insert1(stimulus.key | stimulus.row | rule)
        StimulusSet.Item.insert(
            (
                stimulus.key
                | {"training_set_hash": stimulus.row["training_set_hash"]}
                | {"image_class": image_class, "image_id": image_id}
                | item
                for item, (image_class, image_id) in zip(stimulus.items, names, strict=True)
            ),
            ignore_extra_fields=True,
        )
        for kind in stimulus.params.kinds:
            MADE_FROM[kind][0].insert(
                stimulus.key | {"item": item["item"]} | item["made_from"]
                for item in stimulus.items
                if item["stimulus_kind"] == kind
            )
    return (StimulusSet.Item & stimulus.key).to_dicts(order_by="item")


def _show_all(
    screen: Screen, params: StimulusParams, by_kind: dict[Kind, dict[int, Source]], units: list[int]
) -> tuple[list[dict[str, Any]], NDArray[np.uint8]]:
    """Return items and pixels of all kinds, unit after unit."""
    items, pixels = [], []
    n_sources = len(units) * len(by_kind)
    with tqdm(total=n_sources, unit="image", leave=False, disable=n_sources < MANY) as progress:
        for kind, found in by_kind.items():
            progress.set_description(kind)
            shifts = NINE_SHIFTS if params.nine_shifts and kind in SHIFTED_KINDS else ((0, 0),)
            for start in range(0, len(units), UNITS_AT_ONCE):
                part = range(start, min(start + UNITS_AT_ONCE, len(units)))
                chosen = {position: found[units[position]] for position in part}
                rows, images = _show(screen, kind, chosen, shifts)
                items += rows
                pixels.append(images)
                progress.update(len(part))
    numbered = [{"item": number} | item for number, item in enumerate(items)]
    return numbered, np.concatenate(pixels)


def _show(
    screen: Screen, kind: Kind, found: dict[int, Source], shifts: tuple[tuple[int, int], ...]
) -> tuple[list[dict[str, Any]], NDArray[np.uint8]]:
    """Return items and pixels of units, by their positions in the block: an image per shift."""
    size, monitors, block = screen.size, screen.monitors, screen.block
    chosen = list(found.values())
    masks = None if chosen[0].mask is None else np.stack([s.mask for s in chosen])
    images = np.stack([s.image for s in chosen]).astype(np.float32)
    try:
        shown = shown_images(
            images, size, screen.display, monitors.source, monitors.shown_on, masks
        )
    except ValueError as error:
        raise NothingToShow(f"images of kind '{kind}' cannot be shown so: {error}") from error
    height, width = block.model.image_shape
    step = size[1] / width, size[0] / height
    pixels = np.stack(
        [shifted(shown.pixels, round(x * step[0]), round(y * step[1])) for x, y in shifts], axis=1
    ).reshape(-1, *size)
    modelled = as_modelled(pixels, (height, width), monitors.source, monitors.shown_on)
    positions = [position for position in found for _ in shifts]
    activations = block.responses(torch.from_numpy(modelled), positions)
    rows = [
        {
            "stimulus_kind": kind,
            "made_from": source.reference,
            "unit_index": source.unit_index,
            "x_shift": x,
            "y_shift": y,
            "shown_mean": float(shown.mean[i]),
            "shown_contrast": float(shown.contrast[i]),
            "display_reached": bool(shown.reached[i]),
        }
        for i, source in enumerate(chosen)
        for x, y in shifts
    ]
    items = [
        row | {"shown_activation": float(activation)}
        for row, activation in zip(rows, activations, strict=True)
    ]
    return items, pixels


def _load_units(target: dict[str, Any], units: list[int]) -> LoadedBlock:
    """Load the ensemble with these units as its block."""
    rows = (TargetDataset.Unit & target).to_dicts(order_by="unit_index")
    columns = {r["unit_index"]: (r["readout_key"], r["readout_column"]) for r in rows}
    return load_block(ensemble_weights(target), [columns[unit] for unit in units])


def _recorded_size(member: dict[str, Any]) -> tuple[int, int]:
    """Return height and width of the recorded images."""
    shown = Image * Condition & (Trial & member)
    return shown.to_dicts(limit=1, order_by="KEY")[0]["image"].shape


def _monitors(
    member: dict[str, Any], display: DisplayParams, shown_on: dict[str, Any] | None
) -> Monitors:
    names = ("rig", "calibrated_at")
    row = dict.fromkeys((*names, *(f"source_{name}" for name in names)))
    if display.unit == "grey":
        return Monitors(row)
    closest = (ClosestCalibration & member).to_dicts()
    if not closest:
        raise NothingToShow(
            "it is not known how bright the recorded images were: `inceptionloop ingest "
            "calibration` for their rig and `inceptionloop work`, or show them at equal grey values"
        )
    source = {name: closest[0][name] for name in names}
    if shown_on is None:
        newest = (MonitorCalibration & {"rig": source["rig"]}).keys(
            order_by="calibrated_at DESC", limit=1
        )
        shown_on = newest[0]
    elif not MonitorCalibration & shown_on:
        raise NothingToShow(f"there is no calibration {shown_on}")
    row |= shown_on | {f"source_{name}": value for name, value in source.items()}
    return Monitors(row, monitor_curve(**source), monitor_curve(**shown_on))
