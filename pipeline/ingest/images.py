"""Images, registered by their pixels (decision 0003)."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.rows import BadRecording, insert_in_chunks
from schemas import recording
from science.digest import array_digest


def register_images(
    images: NDArray[np.uint8], classes: Sequence[str], ids: NDArray[np.integer] | None = None
) -> list[tuple[str, int]]:
    """Insert the images that are not there yet, and return class and number of each.

    Without `ids` an image keeps the number under which its pixels are known in its class, and a
    new one gets the next.

    Raises
    ------
    BadRecording
        If a given number belongs to an image with other pixels.
    """
    names: list[tuple[str, int]] = [("", 0)] * len(images)
    for name in dict.fromkeys(classes):
        rows = [row for row, c in enumerate(classes) if c == name]
        given = None if ids is None else ids[rows].tolist()
        for row, number in zip(rows, _register_class(name, images[rows], given), strict=True):
            names[row] = (name, number)
    return names


def _register_class(
    name: str, images: NDArray[np.uint8], given: Sequence[int] | None
) -> Sequence[int]:
    """Insert the new images of one class; return the numbers of all."""
    digests = [array_digest(image) for image in images]
    known = (recording.Image & {"image_class": name}).proj("image_sha256").to_dicts()
    digest_of = {row["image_id"]: row["image_sha256"] for row in known}
    numbers = _numbered(digests, digest_of) if given is None else given
    new = []
    for number, digest, image in zip(numbers, digests, images, strict=True):
        if number not in digest_of:
            new.append(dict(image_class=name, image_id=number, image_sha256=digest, image=image))
        if digest_of.setdefault(number, digest) != digest:
            raise BadRecording(
                f"image {number} of class '{name}' is already there with other pixels: "
                "two images cannot share an image_id"
            )
    insert_in_chunks(recording.Image, new, len(new), "images")
    return numbers


def _numbered(digests: Sequence[str], digest_of: Mapping[int, str]) -> list[int]:
    """Return the number of each image: its known one, or the next."""
    number_of = {digest: number for number, digest in sorted(digest_of.items(), reverse=True)}
    following = itertools.count(1 + max(digest_of, default=0))
    for digest in digests:
        if digest not in number_of:
            number_of[digest] = next(following)
    return [number_of[digest] for digest in digests]
