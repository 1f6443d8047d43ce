"""Recordings of the virtual mouse, through the same door as real ones."""

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.rows import BadRecording
from pipeline.ingest.scan import ScanArrays, Source, insert_scan
from schemas import recording
from schemas.configuration import configuration_hash
from schemas.recording import Scan, VirtualAnimal
from schemas.stimulus import StimulusSet
from science.virtual import (
    Session,
    SessionDesign,
    VirtualAnimalParams,
    first_day,
    shuffled_presentation,
)
from science.virtual import VirtualAnimal as Animal

READER_VERSION = "1"


def ingest_first_day(
    key: dict[str, int], params: VirtualAnimalParams, design: SessionDesign, seed: int
) -> bool:
    """Record a virtual mouse that sees natural images; False when it is already there.

    Parameters
    ----------
    key : dict
        animal_id, session, scan_idx.
    seed : int
        Of the animal, its images and its noise.

    Raises
    ------
    BadRecording
        If such an animal cannot exist, or another recording has this key.
    """
    try:
        animal = _animal(params, seed)
    except ValueError as error:
        raise BadRecording(f"there is no such virtual animal: {error}") from error
    images, presentation = first_day(design, params.height, params.width, seed)
    return _ingest(key, animal, 1, images, np.full(len(images), "natural"), presentation)


def ingest_stimulus_day(
    key: dict[str, int], source: dict[str, int], stimulus: dict[str, str], repeats: int, day: int
) -> bool:
    """Record the animal of an earlier recording while it sees a stimulus set.

    Parameters
    ----------
    key : dict
        The new recording.
    source : dict
        A recording of the same virtual animal.
    stimulus : dict
        Key of `StimulusSet`.
    repeats : int
        Presentations of each image.
    day : int
        From 2.
    """
    animal, _ = load_animal(source)
    items = StimulusSet.Item * recording.Image & stimulus
    classes, images = items.to_arrays("image_class", "image", order_by="image_class, image_id")
    if len(images) == 0:
        raise BadRecording(f"the stimulus set {stimulus} has no images")
    presentation = shuffled_presentation(np.full(len(images), repeats), animal.seed + day)
    return _ingest(key, animal, day, np.stack(images), np.asarray(classes, str), presentation)


def load_animal(scan: dict[str, Any]) -> tuple[Animal, Session]:
    """Regenerate the truth of a virtual recording: the animal and its day.

    Raises
    ------
    BadRecording
        If the recording is not a virtual one.
    """
    row = (VirtualAnimal & scan).to_dicts()
    if len(row) != 1:
        raise BadRecording(f"recording {scan} is not of a virtual animal")
    params = VirtualAnimalParams.model_validate(row[0]["virtual_params"])
    animal = _animal(params, row[0]["virtual_seed"])
    return animal, animal.session(row[0]["virtual_day"])


@lru_cache(maxsize=2)
def _animal(params: VirtualAnimalParams, seed: int) -> Animal:
    return Animal(params, seed)


def _ingest(
    key: dict[str, int],
    animal: Animal,
    day: int,
    images: NDArray[np.uint8],
    classes: NDArray[np.str_],
    presentation: NDArray[np.int64],
) -> bool:
    session = animal.session(day)
    arrays = ScanArrays(
        images=images,
        image_class=classes,
        image_index=presentation,
        responses=session.record(images, presentation, seed=animal.seed),
        unit_id=session.unit_ids,
        area=session.brain_area,
        layer=session.layer,
        position=session.positions,
        stack_id=key["animal_id"],
        presentation_time=0.5,
    )
    digest = hashlib.sha256(arrays.responses.tobytes() + images.tobytes()).hexdigest()
    params = animal.params.model_dump(mode="json")
    name = f"virtual animal {configuration_hash('VirtualAnimal', params)}, seed {animal.seed}"
    source = Source("virtual", READER_VERSION, f"{name}, day {day}", None, digest)
    virtual = {"virtual_seed": animal.seed, "virtual_day": day, "virtual_params": params}
    return insert_scan({a: key[a] for a in Scan.primary_key}, arrays, source, virtual)
