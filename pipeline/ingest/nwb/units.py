"""Where the cells of an NWB file lie: field, place, area and layer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.checks import MAX_NAME
from pipeline.ingest.nwb.cells import Cells, Plane, text_column
from pipeline.ingest.nwb.masks import field_size, mask_centers
from pipeline.ingest.rows import BadRecording
from pipeline.ingest.scan import Fields, Units
from science.anatomy import UNKNOWN_AREA, layers_from_depth

UM = dict.fromkeys(("meters", "meter", "m"), 1e6)
UM |= dict.fromkeys(("micrometers", "micrometer", "microns", "um", "\N{MICRO SIGN}m"), 1.0)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Geometry:
    """How a field lies in the tissue: size of a pixel and place of the first, x, y, z, um."""

    spacing: Floats
    origin: Floats


def read_units(cells: Cells, delay: Floats) -> tuple[Units, Fields]:
    """Read what is known of the units and fields."""
    geometry = [_geometry(plane) for plane in cells.planes]
    depth = None if None in geometry else np.array([g.origin[2] for g in geometry])
    pixel = _pixels(cells)
    number = np.array([plane.number for plane in cells.planes])
    units = Units(
        unit_id=cells.unit_id,
        area=_areas(cells),
        layer=_layers(cells, depth),
        position=None if pixel is None or depth is None else _positions(cells, pixel, geometry),
        field=number[cells.plane],
        pixel=pixel,
        delay=delay,
    )
    sizes = [field_size(plane.table) for plane in cells.planes]
    size_px = None if None in sizes else np.array(sizes)
    size_um = None
    if size_px is not None and depth is not None:
        size_um = size_px * np.array([[g.spacing[1], g.spacing[0]] for g in geometry])
    return units, Fields(number, depth, size_px, size_um)


def _geometry(plane: Plane) -> Geometry | None:
    imaging = plane.table.imaging_plane
    if imaging.origin_coords is None or imaging.grid_spacing is None:
        return None
    spacing = np.asarray(imaging.grid_spacing[:], np.float64)
    origin = np.asarray(imaging.origin_coords[:], np.float64)
    if len(origin) != 3 or not (np.isfinite(origin).all() and np.isfinite(spacing).all()):
        return None
    return Geometry(
        np.array([*spacing[:2], 0]) * _um(imaging.grid_spacing_unit, imaging.name),
        origin * _um(imaging.origin_coords_unit, imaging.name),
    )


def _um(unit: str, name: str) -> float:
    if unit.lower() not in UM:
        raise BadRecording(f"the place of {name} is in '{unit}': known are {sorted(UM)}")
    return UM[unit.lower()]


def _pixels(cells: Cells) -> Floats | None:
    pixel = np.empty((len(cells.unit_id), 2))
    for plane, here in cells.by_plane():
        if not here.any():
            continue
        centers = mask_centers(plane.table, cells.row[here])
        if centers is None:
            return None
        pixel[here] = centers
    return pixel


def _positions(cells: Cells, pixel: Floats, geometry: list[Geometry]) -> Floats:
    spacing = np.array([g.spacing for g in geometry])[cells.plane]
    origin = np.array([g.origin for g in geometry])[cells.plane]
    return origin + np.pad(pixel, ((0, 0), (0, 1))) * spacing


def _areas(cells: Cells) -> NDArray[np.str_] | None:
    areas = _column(cells, ("brain_area", "area"))
    if areas is not None:
        return areas
    names = np.array([_location(plane) for plane in cells.planes])
    return None if (names == UNKNOWN_AREA).all() else names[cells.plane]


def _location(plane: Plane) -> str:
    """Return the area of a field that lies in one."""
    location = (plane.table.imaging_plane.location or "").strip()
    one_name = location and not any(c in ",; " for c in location)
    return location if one_name and len(location) <= MAX_NAME["area"] else UNKNOWN_AREA


def _layers(cells: Cells, depth: Floats | None) -> NDArray[np.str_] | None:
    layers = _column(cells, ("layer",))
    if layers is None and depth is not None:
        return layers_from_depth(depth)[cells.plane]
    return layers


def _column(cells: Cells, names: tuple[str, ...]) -> NDArray[np.str_] | None:
    """Return the first of some columns that all tables have."""
    for name in names:
        columns = [text_column(plane.table, name) for plane in cells.planes]
        if not any(c is None for c in columns):
            starts = np.cumsum([0, *(len(c) for c in columns)])
            return np.concatenate(columns)[starts[cells.plane] + cells.row]
    return None
