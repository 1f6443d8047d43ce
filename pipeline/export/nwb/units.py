"""The units of a recording: rois where they were segmented in imaged fields, else NWB's units."""

from collections.abc import Mapping
from typing import Any

from hdmf.common import DynamicTable
from pynwb import NWBFile
from pynwb.misc import Units
from pynwb.ophys import ImageSegmentation, OpticalChannel, PlaneSegmentation

from pipeline.export.draft import CannotExport
from pipeline.export.nwb.containers import Rows
from pipeline.export.nwb.session import Microscope
from schemas.recording import AreaMembership, LayerMembership, Scan

MEANINGS = {
    "brain_area": "visual area; 'unknown': not known, or outside every drawn area",
    "layer": "cortical layer; 'unset': not known, or outside every known layer",
    "field": "imaged field; -1: none",
    "depth": "of the field below the pia, um; NaN: not known",
    "x": "position in the recording's own frame, um; NaN: not known",
    "y": "position in the recording's own frame, um; NaN: not known",
    "z": "position in the recording's own frame, um; NaN: not known",
}
SCORES = {
    "oracle": "reliability over repeated images: oracle correlation; NaN: not known",
    "reliable": "whether responses differ between images, F-test, p < 0.001",
    "validation_corr": "of the ensemble's predictions, validation images, single trials",
    "test_corr_avg": "of the ensemble's predictions, test images, averaged over repeats",
    "test_cc_norm": "the same, corrected for noise",
}

Scores = Mapping[int, Mapping[str, Any]]


def units_of(scan: Mapping[str, Any], scores: Scores) -> Rows:
    """Return the units of a recording by ascending number, with scores where they have any."""
    rows = (Scan.Unit & scan).to_dicts(order_by="unit_id")
    areas = _values(AreaMembership, scan, "unit_id", "brain_area")
    layers = _values(LayerMembership, scan, "unit_id", "layer")
    depths = _values(Scan.Field, scan, "field", "field_depth")
    nothing = dict.fromkeys(SCORES, float("nan")) | {"reliable": False}
    return [
        {
            "unit_id": row["unit_id"],
            "brain_area": areas.get(row["unit_id"], "unknown"),
            "layer": layers.get(row["unit_id"], "unset"),
            "field": -1 if row["field"] is None else row["field"],
            "depth": _number(depths.get(row["field"])),
            **{axis: _number(row[f"um_{axis}"]) for axis in "xyz"},
            **(nothing | dict(scores.get(row["unit_id"], {})) if scores else {}),
            "pixel": (row["px_x"], row["px_y"]),
        }
        for row in rows
    ]


def _values(table: Any, scan: Mapping[str, Any], key: str, value: str) -> dict[int, Any]:
    return dict(zip(*(table & scan).to_arrays(key, value), strict=True))


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def add_units(file: NWBFile, rows: Rows, microscope: Microscope | None, name: str) -> None:
    """Add units to a file: segmented where all lie in a field, and it is known where.

    Raises
    ------
    CannotExport
        If they are imaged and it is not said how.
    """
    if any(row["field"] < 0 or None in row["pixel"] for row in rows):
        units = Units(name="units", description=f"The recorded units of {name}, by unit_id")
        _fill(units, rows, lambda row: units.add_unit(id=row["unit_id"], **_told(row)))
        file.units = units
        return
    if microscope is None:
        raise CannotExport(
            f"the units of {name} were imaged, and NWB requires to know how, which the database "
            "does not: say --indicator, --excitation-nm and --emission-nm"
        )
    segmentation = ImageSegmentation(name="ImageSegmentation")
    module = file.create_processing_module("ophys", "Where the recorded units lie")
    module.add(segmentation)
    for number in sorted({row["field"] for row in rows}):
        of_field = [row for row in rows if row["field"] == number]
        segmentation.add_plane_segmentation(_plane(file, number, of_field, microscope))


def _plane(file: NWBFile, number: int, rows: Rows, microscope: Microscope) -> PlaneSegmentation:
    device = file.devices.get("microscope") or file.create_device("microscope")
    plane = file.create_imaging_plane(
        name=f"ImagingPlane{number}",
        description=f"Field {number}; its depth is that of its units",
        device=device,
        optical_channel=OpticalChannel(
            name="channel", description="emission", emission_lambda=microscope.emission_nm
        ),
        excitation_lambda=microscope.excitation_nm,
        indicator=microscope.indicator,
        location=", ".join(sorted({row["brain_area"] for row in rows})),
    )
    table = PlaneSegmentation(
        name=f"PlaneSegmentation{number}",
        description="The units of a field, by unit_id. A mask is one pixel, the centre of the "
        "unit: the masks themselves are in the file that was ingested",
        imaging_plane=plane,
    )
    _fill(
        table,
        rows,
        lambda row: table.add_roi(
            id=row["unit_id"], pixel_mask=[(*map(round, row["pixel"]), 1.0)], **_told(row)
        ),
    )
    return table


def _fill(table: DynamicTable, rows: Rows, add: Any) -> None:
    for name in _told(rows[0]):
        table.add_column(name=name, description=(MEANINGS | SCORES)[name])
    for row in rows:
        add(row)


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in (*MEANINGS, *SCORES) if name in row}
