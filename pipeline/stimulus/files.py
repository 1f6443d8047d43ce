"""A stimulus set as files: images, and a manifest that says where each of them comes from."""

import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from tqdm import tqdm

from pipeline.stimulus.manifest import (
    FORMAT_VERSION,
    NAME,
    BadStimulus,
    ImageFormat,
    Manifest,
    header_of,
    items_of,
    read_manifest,
)
from pipeline.stimulus.sets import Stimulus, insert_stimulus
from schemas.code_version import code_version
from schemas.operations import CodeVersion
from schemas.recording import Image
from schemas.stimulus import StimulusSet
from science.blocks import blocks
from science.digest import array_digest

MANY = 200  # images, from which on a progress bar is worth its line

Images = NDArray[np.uint8]
Draft = dict[tuple[str, str], tuple[Path, str]]
"""Written images by kind and digest of the pixels: where they lie, SHA-256 of the file."""


def export_stimulus(stimulus: Stimulus, folder: Path, image_format: ImageFormat = "png") -> Path:
    """Store a stimulus set and write it into a folder: both, or neither.

    Everything is written beside the folder first; moving it into place is the last act of the
    transaction that stores the rows. What is already there and the same stays as it is.

    Parameters
    ----------
    stimulus : Stimulus
    folder : Path
        Made unless it exists.
    image_format : {'png', 'npy'}
        8-bit grayscale PNG, or uint8 array; one file per image.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    BadStimulus
        If the folder holds something else, cannot be written, or the set was stored with other
        pixels.
    """
    folder = folder.absolute()
    if folder.exists() and not folder.is_dir():
        raise BadStimulus(f"{folder} is a file: name a folder for the stimuli")
    code = _code()
    try:
        if folder.exists() and any(folder.iterdir()):
            _keep(stimulus, folder, image_format)
        else:
            _write(stimulus, folder, image_format, code)
    except OSError as error:
        raise BadStimulus(
            f"the stimuli cannot be written to {folder}, nothing was stored: {error}"
        ) from error
    return folder


def read_stimulus(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]], Images]:
    """Read an exported stimulus set and verify every checksum.

    Returns
    -------
    header : dict
        What the manifest says of the set as a whole.
    items : list of dict
        What it says of each image.
    pixels : uint8, (n_items, h, w)

    Raises
    ------
    BadStimulus
        If manifest or images are missing, changed or damaged, or there are images that the
        manifest does not know.
    """
    manifest = read_manifest(folder)
    document = manifest.model_dump(mode="json")
    items = document.pop("items")
    sha256 = {item["file"]: item["sha256"] for item in items}
    suffixes = {".png", ".npy"}
    unknown = {p.name for p in folder.iterdir() if p.suffix in suffixes} - set(sha256)
    if unknown:
        raise BadStimulus(
            f"{folder} holds images that its manifest does not know: {sorted(unknown)[:3]}"
        )
    shape = manifest.height, manifest.width
    images = {
        name: _read_image(folder / name, digest, manifest.image_format, shape)
        for name, digest in _progress(sha256.items(), len(sha256), "reading")
    }
    digests = {name: array_digest(image) for name, image in images.items()}
    for item in items:
        if digests[item["file"]] != item["image_sha256"]:
            raise BadStimulus(f"{folder / item['file']} does not hold the pixels of its item")
    return document, items, np.stack([images[item["file"]] for item in items])


def check_stimulus(folder: Path) -> int:
    """Compare an exported stimulus set with the rows it was made of; return the number of items.

    Raises
    ------
    BadStimulus
        At the first difference, or if the folder is not whole.
    """
    header, items, pixels = read_stimulus(folder)
    key = {"stimulus_set_hash": header["stimulus_set_hash"]}
    if not StimulusSet & key:
        raise BadStimulus(f"the database has no stimulus set {key['stimulus_set_hash']}")
    _compare(folder, header, header_of(key))
    rows = items_of(key)
    if len(rows) != len(items):
        raise BadStimulus(f"{folder} has {len(items)} items, the database {len(rows)}")
    for item, row in zip(items, rows, strict=True):
        _compare(f"{folder}, item {row['item']}", item, row)
    for part in blocks(len(items), 4 * pixels[0].size):
        names = [{n: i[n] for n in ("image_class", "image_id")} for i in items[part]]
        stored = {
            (row["image_class"], row["image_id"]): row["image"]
            for row in (Image & names).to_dicts()
        }
        for item, image in zip(items[part], pixels[part], strict=True):
            if not np.array_equal(stored[item["image_class"], item["image_id"]], image):
                raise BadStimulus(f"{folder / item['file']} differs from the image in the database")
    return len(items)


def _compare(where: Path | str, written: dict[str, Any], stored: dict[str, Any]) -> None:
    for name, value in stored.items():
        if written[name] != value:
            raise BadStimulus(
                f"{where}: {name} is {written[name]} in the folder and {value} in the database"
            )


def _keep(stimulus: Stimulus, folder: Path, image_format: ImageFormat) -> None:
    """Store the rows of a set whose folder is already there, if it is this one."""
    if not (folder / NAME).exists():
        raise BadStimulus(f"{folder} is not empty: name another folder for the stimuli")
    there = read_manifest(folder)
    if there.stimulus_set_hash != stimulus.key["stimulus_set_hash"]:
        raise BadStimulus(
            f"{folder} holds stimulus set {there.stimulus_set_hash}: name another folder"
        )
    if there.image_format != image_format:
        raise BadStimulus(f"{folder} holds this set as {there.image_format}: name another folder")
    with StimulusSet.connection.transaction:
        _store(stimulus)
        check_stimulus(folder)


def _write(
    stimulus: Stimulus, folder: Path, image_format: ImageFormat, code: dict[str, Any]
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as beside:
        draft = Path(beside) / folder.name
        draft.mkdir()
        written = _write_images(stimulus, draft, image_format)
        try:
            with StimulusSet.connection.transaction:
                items = _named(_store(stimulus), written, image_format)
                height, width = stimulus.pixels.shape[1:]
                manifest = Manifest(
                    format_version=FORMAT_VERSION,
                    created_at=datetime.now().astimezone().isoformat(timespec="seconds"),
                    code=code,
                    image_format=image_format,
                    height=height,
                    width=width,
                    items=items,
                    **header_of(stimulus.key),
                )
                document = manifest.model_dump(mode="json")
                text = json.dumps(document, sort_keys=True, indent=1, allow_nan=False)
                (draft / NAME).write_text(text + "\n", encoding="utf-8")
                draft.replace(folder)
        except BaseException:
            # The folder is there and its rows are not: the commit failed.
            if not draft.exists():
                shutil.rmtree(folder)
            raise


def _store(stimulus: Stimulus) -> list[dict[str, Any]]:
    """Insert the rows unless they are there; return what they say of each image."""
    insert_stimulus(stimulus)
    items = items_of(stimulus.key)
    for item, image in zip(items, stimulus.pixels, strict=True):
        if item["image_sha256"] != array_digest(image):
            raise BadStimulus(
                f"stimulus set {stimulus.key['stimulus_set_hash']} was stored with other pixels "
                f"than are computed now, first in item {item['item']}: delete it, or use the "
                "version of this program that made it"
            )
    return items


def _write_images(stimulus: Stimulus, draft: Path, image_format: ImageFormat) -> Draft:
    """Write each image once; what it is called is known only when its row is inserted."""
    written: Draft = {}
    pairs = zip(stimulus.items, stimulus.pixels, strict=True)
    for item, image in _progress(pairs, len(stimulus.items), "writing"):
        key = item["stimulus_kind"], array_digest(image)
        if key in written:
            continue
        data = _encoded(image, image_format)
        path = draft / f"{len(written)}.{image_format}"
        path.write_bytes(data)
        written[key] = path, hashlib.sha256(data).hexdigest()
    return written


def _named(
    items: Sequence[dict[str, Any]], written: Draft, image_format: ImageFormat
) -> list[dict[str, Any]]:
    """Give the files the names of their images, and add them to the items."""
    found = []
    for item in items:
        path, sha256 = written[item["image_class"], item["image_sha256"]]
        name = f"{item['image_class']}-{item['image_id']:06d}.{image_format}"
        if path.exists():
            path.rename(path.with_name(name))
        found.append(item | {"file": name, "sha256": sha256})
    return found


def _encoded(image: Images, image_format: ImageFormat) -> bytes:
    data = io.BytesIO()
    if image_format == "npy":
        np.save(data, image, allow_pickle=False)
    else:
        Picture.fromarray(image).save(data, "PNG")
    return data.getvalue()


def _read_image(
    path: Path, sha256: str, image_format: ImageFormat, shape: tuple[int, int]
) -> Images:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadStimulus(f"an image of the manifest cannot be read: {error}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BadStimulus(f"{path} has changed since it was exported")
    try:
        image = _decoded(io.BytesIO(data), image_format, shape)
    except (OSError, ValueError, SyntaxError, Picture.DecompressionBombError) as error:
        raise BadStimulus(f"{path} is no image in the format {image_format}: {error}") from error
    if image.dtype != np.uint8 or image.shape != shape:
        raise BadStimulus(
            f"{path} is {image.dtype} {image.shape}, by the manifest it must be uint8 {shape}"
        )
    return image


def _decoded(data: io.BytesIO, image_format: ImageFormat, shape: tuple[int, int]) -> NDArray[Any]:
    if image_format == "npy":
        return np.lib.format.read_array(data, allow_pickle=False)
    with Picture.open(data, formats=["PNG"]) as picture:
        if picture.size != shape[::-1]:  # before it is unpacked
            raise ValueError(f"it has {picture.width} x {picture.height} pixels")
        return np.asarray(picture)


def _progress(things: Any, n: int, what: str) -> Iterator[Any]:
    return tqdm(things, desc=what, unit="image", total=n, leave=False, disable=n < MANY)


def _code() -> dict[str, Any]:
    """Return the software that runs, as a row of `CodeVersion`."""
    row = (CodeVersion & code_version()).fetch1()
    return {name: value for name, value in row.items() if name != "first_used"}
