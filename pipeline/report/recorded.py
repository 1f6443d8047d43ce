"""Section 1: what was recorded."""

from typing import Any

import datajoint as dj
import numpy as np
from numpy.typing import NDArray

from pipeline.report import figures
from pipeline.report.album import Album
from pipeline.report.page import Picture, Recorded, ScanView
from schemas.dataset import readout_key
from schemas.recording import Activity, AreaMembership, Condition, Image, Scan, Trial, VirtualAnimal

N_SAMPLES = 16  # images shown of each class
N_SCANS_DRAWN = 4


def recorded(album: Album) -> Recorded:
    """Describe all recordings."""
    scans = Scan().to_dicts(order_by="KEY")
    drawn = scans[:N_SCANS_DRAWN]
    pictures = [p for p in (_responses(drawn, album), *(_positions(s, album) for s in drawn)) if p]
    return Recorded([_scan(s) for s in scans], pictures, _samples(album))


def _scan(scan: dict[str, Any]) -> ScanView:
    key = {a: scan[a] for a in Scan.primary_key}
    shown = dj.U("image_class", "image_id") & (Trial * Condition & key)
    classes = (dj.U("image_class") & shown).to_arrays("image_class", order_by="image_class")
    counts = [f"{len(shown & {'image_class': c})} {c}" for c in classes.tolist()]
    return ScanView(
        name=readout_key(key),
        reader=f"{scan['reader']} {scan['reader_version']}",
        source=scan["source_name"],
        sha256=scan["source_sha256"],
        units=len(Scan.Unit & key),
        trials=len(Trial & key),
        images=", ".join(counts),
        ingested_at=scan["ingested_at"],
        virtual=bool(VirtualAnimal & key),
    )


def _samples(album: Album) -> list[Picture]:
    classes = (dj.U("image_class") & Image).to_arrays("image_class", order_by="image_class")
    pictures = []
    for name in reversed(classes.tolist()):  # natural images before MEIs
        images = Image & {"image_class": name}
        sample = images.to_arrays("image", order_by="image_id", limit=N_SAMPLES)
        shape = " \u00d7 ".join(str(n) for n in sample[0].shape)
        caption = f"{len(sample)} of {len(images)} images of class “{name}”, {shape} px."
        figure = figures.sample_images(list(sample))
        pictures.append(album.add("samples", figure, f"Sample images: {name}", caption))
    return pictures


def _responses(scans: list[dict[str, Any]], album: Album) -> Picture | None:
    means: dict[str, NDArray[np.floating]] = {}
    for scan in scans:
        key = {a: scan[a] for a in Scan.primary_key}
        activity = Activity & key & "activity_kind = 'trial_response'"
        if activity:
            blocks = (Activity.Block & activity).to_arrays("activity", order_by="activity_block")
            means[readout_key(key)] = np.concatenate([np.asarray(b).mean(0) for b in blocks])
    if not means:
        return None
    caption = "Mean response of every unit over all trials of its recording."
    figure = figures.mean_responses(means)
    return album.add("mean-responses", figure, "Histogram of mean responses", caption)


def _positions(scan: dict[str, Any], album: Album) -> Picture | None:
    key = {a: scan[a] for a in Scan.primary_key}
    units = Scan.Unit & key & "um_x IS NOT NULL AND um_y IS NOT NULL AND um_z IS NOT NULL"
    ids, *xyz = units.to_arrays("unit_id", "um_x", "um_y", "um_z", order_by="unit_id")
    if len(ids) == 0:
        return None
    with_area = (AreaMembership & key).to_arrays("unit_id", "brain_area", order_by="unit_id")
    area = dict(zip(*(a.tolist() for a in with_area), strict=True))
    figure = figures.cell_positions(
        np.column_stack(xyz).astype(float), [area.get(i, "no area") for i in ids.tolist()]
    )
    caption = f"Cell bodies of recording {readout_key(key)}, coloured by visual area."
    return album.add("positions", figure, caption, caption)
