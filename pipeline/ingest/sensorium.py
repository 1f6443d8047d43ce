"""Sensorium 2022: a folder with one `.npy` file per trial, as published on gin.g-node.org/cajal.

It is the layout of neuralpredictors' FileTreeDataset; file `i` is trial `i` of `meta/trials`::

    static<animal>-<session>-<scan>-GrayImageNet-.../
        data/images/<i>.npy            (1, h, w), grey values 0-255
        data/responses/<i>.npy         (n_units,), deconvolved activity
        data/behavior/<i>.npy          3 numbers: pupil radius, its change, running speed
        data/pupil_center/<i>.npy      2 numbers: x, y
        meta/neurons/unit_ids.npy      (n_units,); also animal_ids, sessions, scan_idx
        meta/neurons/area.npy, layer.npy, cell_motor_coordinates.npy     optional; um
        meta/trials/tiers.npy          (n_trials,): train, validation, test, final_test
        meta/trials/frame_image_id.npy, frame_image_class.npy
        meta/trials/trial_idx.npy      optional: the order of presentation

Behaviour, areas, layers and positions may be absent. What the published sets call for:

- The files are in random order. Trials are stored in the order of `trial_idx`, or in that of the
  files where it is hashed, as in the two competition sets.
- The competition sets withhold the responses to the tiers `test` and `final_test`: the files are
  there, filled with zeros. Trials of these tiers whose responses are all zero, or NaN, are left
  out, and a line of the log says how many. NaN in any other trial is an error.
- One of them withholds behaviour in the same way: all zeros are taken for absent.
- Trials with the same image id and class show the same image; that their pixels agree is checked.
- The published tiers are not stored: splits are rows of `SplitConfig`. Its method `repeated`
  tests on the same images, those shown several times.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline.ingest.checks import is_real
from pipeline.ingest.grey import grey_values
from pipeline.ingest.insert import already_there, insert_scan
from pipeline.ingest.npy import read_npy
from pipeline.ingest.rows import BadRecording
from pipeline.ingest.scan import Images, ScanArrays, Track, TrialResponses, Trials, Units
from pipeline.ingest.source import source_of

READER_VERSION = "1"
WITHHELD_TIERS = ("test", "final_test")

logger = logging.getLogger(__name__)


def ingest_sensorium(folder: Path, key: dict[str, int]) -> bool:
    """Ingest a Sensorium folder; False when it is already there."""
    _check_folder(folder)
    source = source_of(folder, "sensorium", READER_VERSION)
    return not already_there(key, source) and insert_scan(key, read_sensorium(folder), source)


def published_key(folder: Path) -> dict[str, int]:
    """Return animal_id, session and scan_idx as the folder states them.

    Raises
    ------
    BadRecording
        If it does not, or not the same for all units.
    """
    _check_folder(folder)
    names = {"animal_id": "animal_ids", "session": "sessions", "scan_idx": "scan_idx"}
    key = {}
    for attribute, name in names.items():
        values = np.unique(_meta(folder, "neurons", name))
        if len(values) != 1 or not np.issubdtype(values.dtype, np.integer):
            raise BadRecording(
                f"meta/neurons/{name}.npy must be the same integer for all units: give the number "
                "of animal, session and scan yourself"
            )
        key[attribute] = int(values[0])
    return key


def read_sensorium(folder: Path) -> ScanArrays:
    """Read a Sensorium folder.

    Raises
    ------
    BadRecording
        If a file is missing, truncated or of another type, or its content is not as described.
    """
    _check_folder(folder)
    units, order = _units(folder)
    tiers = _meta(folder, "trials", "tiers")
    _check_numbers_of_files(folder, len(tiers))
    files = _files_in_order(folder, len(tiers))
    responses = _vectors(folder, "responses", files, len(order), np.float32)
    if (np.diff(order) != 1).any():  # else a copy as large as the recording
        responses = responses[:, order]
    shown = ~_withheld(responses, tiers[files], files)
    files, responses = files[shown], responses if shown.all() else responses[shown]
    images, image_index = _images(folder, files, len(tiers))
    pupil, treadmill = _behavior(folder, files)
    return ScanArrays(
        images=images,
        trials=Trials(image_index),
        activity=TrialResponses(responses),
        units=units,
        pupil=pupil,
        treadmill=treadmill,
        presentation_time=_seconds(folder, "frame_presentation_time"),
        pre_blank_period=_seconds(folder, "frame_pre_blank_period"),
    )


def _check_folder(folder: Path) -> None:
    if folder.suffix == ".zip":
        raise BadRecording(f"{folder} is a zip file: unzip it and give the folder")
    if not folder.is_dir():
        raise BadRecording(f"there is no folder {folder}")
    missing = [
        name
        for name in ("data/images", "data/responses", "meta/neurons", "meta/trials")
        if not (folder / name).is_dir()
    ]
    if missing:
        has = sorted(path.name for path in folder.iterdir())
        raise BadRecording(f"{folder} is no Sensorium folder: it lacks {missing}; it holds {has}")


def _check_numbers_of_files(folder: Path, n_trials: int) -> None:
    for path in sorted((folder / "data").iterdir()):
        n_files = sum(1 for _ in path.glob("*.npy"))
        if path.is_dir() and n_files != n_trials:
            raise BadRecording(
                f"data/{path.name} has {n_files} files, but meta/trials/tiers.npy {n_trials} trials"
            )


def _units(folder: Path) -> tuple[Units, NDArray[np.int64]]:
    """Return the units in ascending order, and that order."""
    unit_id = _meta(folder, "neurons", "unit_ids")
    order = np.argsort(unit_id, kind="stable")

    def column(name: str, ndim: int = 1) -> NDArray[Any] | None:
        if not (folder / "meta" / "neurons" / f"{name}.npy").exists():
            return None
        return _meta(folder, "neurons", name, len(unit_id), ndim)[order]

    area, layer, position = column("area"), column("layer"), column("cell_motor_coordinates", 2)
    units = Units(
        unit_id=unit_id[order],
        area=None if area is None else area.astype(str),
        layer=None if layer is None else layer.astype(str),
        position=position,
    )
    return units, order


def _files_in_order(folder: Path, n_trials: int) -> NDArray[np.int64]:
    """Return the numbers of the files in the order of presentation, where it is published."""
    if not (folder / "meta" / "trials" / "trial_idx.npy").exists():
        return np.arange(n_trials)
    trial_idx = _meta(folder, "trials", "trial_idx", n_trials)
    if not np.issubdtype(trial_idx.dtype, np.integer):
        return np.arange(n_trials)
    return np.argsort(trial_idx, kind="stable")


def _withheld(
    responses: NDArray[np.float32], tiers: NDArray[np.str_], files: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Find the trials whose responses were not published."""
    withheld = np.isin(tiers, WITHHELD_TIERS)
    withheld[withheld] = [(np.nan_to_num(r) == 0).all() for r in responses[withheld]]
    for row in np.flatnonzero(~withheld):
        if not np.isfinite(responses[row]).all():
            raise BadRecording(
                f"data/responses/{files[row]}.npy holds NaN or infinite values, and its tier is "
                f"{tiers[row]}: leave out that trial, or the units that lack responses"
            )
    if withheld.all():
        raise BadRecording("no trial has published responses")
    if withheld.any():
        logger.warning(
            "left out %d of %d trials, of the tiers %s: their responses are not published",
            withheld.sum(),
            len(withheld),
            ", ".join(np.unique(tiers[withheld])),
        )
    return withheld


def _images(
    folder: Path, files: NDArray[np.int64], n_trials: int
) -> tuple[Images, NDArray[np.int64]]:
    """Read the images, each once, and which of them every trial showed."""
    image_id = _meta(folder, "trials", "frame_image_id", n_trials)[files]
    names = _meta(folder, "trials", "frame_image_class", n_trials)[files].astype(str)
    classes, class_index = np.unique(names, return_inverse=True)
    label = np.stack([class_index, image_id], axis=1)
    _, first, shown = np.unique(label, axis=0, return_index=True, return_inverse=True)
    shown = shown.ravel()  # numpy 2.0 returns a column
    pixels: NDArray[np.uint8] | None = None
    for row, image in enumerate(_trials(folder, "images", files)):
        name = f"data/images/{files[row]}.npy"
        if image.ndim != 3 or image.shape[0] != 1:
            raise BadRecording(f"{name} must be one grey image (1, h, w), not {image.shape}")
        grey = grey_values(image[0], name)
        if pixels is None:
            pixels = np.empty((len(first), *grey.shape), np.uint8)
        if grey.shape != pixels.shape[1:]:
            raise BadRecording(
                f"{name} is {grey.shape}, but the images before it are {pixels.shape[1:]}"
            )
        at = shown[row]
        if row == first[at]:
            pixels[at] = grey
        elif not np.array_equal(pixels[at], grey):
            raise BadRecording(
                f"{name} differs from data/images/{files[first[at]]}.npy, though both are image "
                f"{image_id[row]} of class '{names[row]}'"
            )
    return Images(pixels, classes[class_index[first]], image_id[first]), shown


def _behavior(folder: Path, files: NDArray[np.int64]) -> tuple[Track | None, Track | None]:
    """Read pupil (radius, its change, x, y) and running speed of each trial."""
    behavior = _recorded(folder, "behavior", files, 3)
    center = _recorded(folder, "pupil_center", files, 2)
    treadmill = None if behavior is None else Track(behavior[:, 2:], per_trial=True)
    if behavior is None or center is None:
        return None, treadmill
    return Track(np.hstack([behavior[:, :2], center]), per_trial=True), treadmill


def _recorded(
    folder: Path, name: str, files: NDArray[np.int64], n_columns: int
) -> NDArray[np.float64] | None:
    if not (folder / "data" / name).is_dir():
        return None
    values = _vectors(folder, name, files, n_columns, np.float64)
    if not values.any():
        logger.warning("%s is not published: it is zero in every trial", name)
        return None
    return values


def _seconds(folder: Path, name: str) -> float | None:
    """Return a duration that is the same in all trials."""
    if not (folder / "meta" / "trials" / f"{name}.npy").exists():
        return None
    values = np.unique(_meta(folder, "trials", name))
    return float(values[0]) if len(values) == 1 and is_real(values) else None


def _trials(folder: Path, name: str, files: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
    few = len(files) < 200
    for file in tqdm(files, desc=name, unit="trial", leave=False, disable=few):
        yield read_npy(folder / "data" / name / f"{file}.npy")


def _vectors(
    folder: Path, name: str, files: NDArray[np.int64], n: int, dtype: type[np.floating]
) -> NDArray[Any]:
    """Load n numbers of each trial, (n_trials, n)."""
    vectors = np.empty((len(files), n), dtype)
    for row, values in enumerate(_trials(folder, name, files)):
        if values.size != n or not is_real(values):
            raise BadRecording(
                f"data/{name}/{files[row]}.npy must be {n} numbers, not {values.dtype} "
                f"{values.shape}"
            )
        vectors[row] = values.ravel()
    return vectors


def _meta(folder: Path, group: str, name: str, n: int | None = None, ndim: int = 1) -> NDArray[Any]:
    """Load what is known of the units or trials, one entry for each."""
    values = read_npy(folder / "meta" / group / f"{name}.npy")
    if values.ndim != ndim or n not in (None, len(values)):
        raise BadRecording(
            f"meta/{group}/{name}.npy must have one entry for each of the {group}"
            + (f" ({n})" if n is not None else "")
            + f", not {values.shape}"
        )
    return values
