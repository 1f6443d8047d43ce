"""The images of an NWB file and when they were shown."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBFile
from pynwb.base import Images as NWBImages
from pynwb.epoch import TimeIntervals
from pynwb.image import GrayscaleImage, ImageSeries, IndexSeries

from pipeline.ingest.checks import MAX_NAME
from pipeline.ingest.grey import grey_values
from pipeline.ingest.nwb.cells import text_column
from pipeline.ingest.rows import BadRecording
from pipeline.ingest.scan import Images, Trials

COLUMNS = ("image_index", "image_name")

Template = NWBImages | ImageSeries


@dataclass(frozen=True)
class Shown:
    """Presentations of the images of a template: rows of it, onsets and offsets (NaN: unknown)."""

    name: str
    template: Template
    rows: NDArray[np.generic]
    onset: NDArray[np.float64]
    offset: NDArray[np.float64]


def read_stimulus(file: NWBFile) -> tuple[Images, Trials]:
    """Read the images and the trials, in the order in which they took place."""
    shown = [_of_table(table, file) for table in _tables(file)]
    shown = shown or [_of_series(series) for series in _index_series(file)]
    if not shown:
        raise BadRecording(
            f"there are no presentations of static images: no table of intervals with a column "
            f"{' or '.join(COLUMNS)}, and no IndexSeries among the stimuli. The file has the "
            f"intervals {sorted(file.intervals or ())}, the stimuli {sorted(file.stimulus)} and "
            f"the templates {sorted(file.stimulus_template)}"
        )
    templates = list({id(s.template): s.template for s in shown}.values())
    pixels = [_pixels(template) for template in templates]
    sizes = {template.name: p.shape[1:] for template, p in zip(templates, pixels, strict=True)}
    if len(set(sizes.values())) > 1:
        raise BadRecording(f"the images of one recording must have one size, not {sizes}")
    starts = dict(zip(map(id, templates), np.cumsum([0, *map(len, pixels)]), strict=False))
    n_images = dict(zip(map(id, templates), map(len, pixels), strict=True))
    index = [starts[id(s.template)] + _checked_rows(s, n_images[id(s.template)]) for s in shown]
    onset = np.concatenate([s.onset for s in shown])
    offset = np.concatenate([s.offset for s in shown])
    order = np.argsort(onset, kind="stable")
    names = [template.name[: MAX_NAME["image_class"]] for template in templates]
    return (
        Images(np.concatenate(pixels), np.repeat(names, list(map(len, pixels)))),
        Trials(
            image_index=np.concatenate(index)[order],
            onset=onset[order],
            offset=None if np.isnan(offset).all() else offset[order],
        ),
    )


def _tables(file: NWBFile) -> list[TimeIntervals]:
    tables = [o for o in file.objects.values() if isinstance(o, TimeIntervals)]
    return [t for t in tables if any(name in t.colnames for name in COLUMNS)]


def _index_series(file: NWBFile) -> list[IndexSeries]:
    return [o for o in file.stimulus.values() if isinstance(o, IndexSeries)]


def _of_table(table: TimeIntervals, file: NWBFile) -> Shown:
    template = _template_of(table, file)
    if "image_index" in table.colnames:
        _check_order(template)
        rows = np.asarray(table["image_index"].data[:])
    else:
        if not isinstance(template, NWBImages):
            raise BadRecording(f"the images of {template.name} have no names: give image_index")
        names = [image.name for image in _images(template)]
        asked = text_column(table, "image_name").tolist()
        if missing := sorted(set(asked) - set(names)):
            raise BadRecording(
                f"{table.name} shows images that {template.name} lacks: {missing[:5]}"
            )
        rows = np.array([names.index(name) for name in asked])
    onset, offset = (
        np.asarray(table[name].data[:], np.float64) for name in ("start_time", "stop_time")
    )
    return Shown(table.name, template, rows, onset, offset)


def _template_of(table: TimeIntervals, file: NWBFile) -> Template:
    """Return the template that is called like a table, or the only one."""
    templates = {
        name: template
        for name, template in file.stimulus_template.items()
        if isinstance(template, Template)
    }
    named = templates.get(table.name.removesuffix("_presentations"))
    if named is None and len(templates) == 1:
        named = next(iter(templates.values()))
    if named is None:
        raise BadRecording(
            f"{table.name} shows images of a stimulus template, but none is called "
            f"'{table.name.removesuffix('_presentations')}' and there is not just one: "
            f"the file has the templates {sorted(file.stimulus_template)}"
        )
    return named


def _of_series(series: IndexSeries) -> Shown:
    template = series.indexed_images or series.indexed_timeseries
    if not isinstance(template, Template):
        raise BadRecording(f"the stimulus {series.name} shows no ImageSeries and no Images")
    _check_order(template)
    onset = np.asarray(series.get_timestamps()[:], np.float64)
    rows = np.asarray(series.data[:])
    if len(rows) != len(onset):
        raise BadRecording(
            f"the stimulus {series.name} has {len(rows)} images shown and {len(onset)} times"
        )
    return Shown(series.name, template, rows, onset, np.full(len(onset), np.nan))


def _checked_rows(shown: Shown, n_images: int) -> NDArray[np.int64]:
    rows = shown.rows
    if not np.issubdtype(rows.dtype, np.number) or (rows != np.rint(rows)).any():
        raise BadRecording(f"{shown.name} must name images by whole numbers, not {rows.dtype}")
    outside = (rows < 0) | (rows >= n_images)
    if outside.any():
        row = int(outside.argmax())
        raise BadRecording(
            f"{shown.name} shows image {rows[row]} in row {row}, but {shown.template.name} has "
            f"only {n_images} images (counted from 0)"
        )
    return rows.astype(np.int64)


def _check_order(template: Template) -> None:
    if isinstance(template, NWBImages) and template.order_of_images is None:
        raise BadRecording(
            f"the images of {template.name} are shown by number, but have no order_of_images"
        )


def _images(template: NWBImages) -> list[GrayscaleImage]:
    order = template.order_of_images
    return list(template.images.values() if order is None else order.data[:])


def _pixels(template: Template) -> NDArray[np.uint8]:
    """Load the images of a template, (n_images, height, width)."""
    if isinstance(template, NWBImages):
        pixels = [np.asarray(image.data[:]) for image in _images(template)]
        if len({p.shape for p in pixels}) != 1:
            raise BadRecording(f"the images of {template.name} must have one size")
        pixels = np.stack(pixels)
    else:
        if template.external_file is not None:
            raise BadRecording(f"the images of {template.name} lie in another file: not readable")
        pixels = np.asarray(template.data[:])
    if pixels.ndim != 3:
        raise BadRecording(
            f"the images of {template.name} must be grey, (n_images, height, width), not "
            f"{pixels.shape}"
        )
    return grey_values(pixels, f"the images of {template.name}")
