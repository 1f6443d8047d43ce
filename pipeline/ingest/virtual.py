"""Recordings of the virtual mouse, through the same door as real ones."""

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, get_args

import datajoint as dj
import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.calibration import insert_calibration
from pipeline.ingest.insert import insert_scan
from pipeline.ingest.rows import BadRecording
from pipeline.ingest.scan import (
    Fields,
    Images,
    ScanArrays,
    Screen,
    Source,
    SpikeTimes,
    Traces,
    Track,
    TrialResponses,
    Trials,
    Units,
)
from schemas import recording
from schemas.configuration import configuration_hash
from schemas.recording import Scan, VirtualAnimal
from schemas.stimulus import StimulusSet
from science.trials import presentation_times
from science.virtual import (
    AcquisitionParams,
    Session,
    SessionDesign,
    VirtualAnimalParams,
    first_day,
    shuffled_presentation,
)
from science.virtual import VirtualAnimal as Animal

READER = "virtual"
READER_VERSION = "2"
SCREEN = Screen(width_cm=56.5, distance_cm=15.0)
DAY_0 = datetime(2026, 1, 1)
CALIBRATED, RECORDED = timedelta(hours=9), timedelta(hours=10)  # of each day
STACKS_PER_ANIMAL = 20

ActivityKind = Literal["trial_response", "trace", "spike_times"]


def ingest_first_day(
    key: dict[str, int],
    params: VirtualAnimalParams,
    design: SessionDesign,
    seed: int,
    activity: ActivityKind = "trial_response",
    rig: AcquisitionParams | None = None,
) -> bool:
    """Record a virtual mouse that sees natural images; False when it is already there.

    Parameters
    ----------
    key : dict
        animal_id, session, scan_idx.
    seed : int
        Of the animal, its images and its noise.
    activity : {'trial_response', 'trace', 'spike_times'}
        What is stored of the same spikes: their number in each trial and nothing else; imaged
        traces with the flips of the screen, pupil and treadmill on the clock of behaviour; or
        spike times with these, all on one clock, as in electrophysiology.
    rig : AcquisitionParams, optional
        How traces and spike times are recorded; by default as `AcquisitionParams` has it.

    Raises
    ------
    BadRecording
        If such an animal cannot exist, it sees fewer trials than shall be malformed, or another
        recording has this key.
    """
    if activity not in get_args(ActivityKind):
        raise BadRecording(f"activity is one of {get_args(ActivityKind)}, not {activity!r}")
    try:
        animal = _animal(params, seed)
    except ValueError as error:
        raise BadRecording(f"there is no such virtual animal: {error}") from error
    images, presentation = first_day(design, params.height, params.width, seed)
    classes = np.full(len(images), "natural")
    rig = None if activity == "trial_response" else rig or AcquisitionParams()
    new = _ingest(key, animal, 1, images, classes, presentation, activity, rig)
    calibrate_monitor(key, day=1)
    return new


def calibrate_monitor(scan: dict[str, Any], day: int) -> dict[str, Any]:
    """Measure the monitor of a virtual animal one morning; return the key of the calibration.

    Parameters
    ----------
    scan : dict
        A recording of the animal.
    day : int
        From 1.
    """
    animal, _ = load_animal(scan)
    key = {"rig": _rig(scan), "calibrated_at": DAY_0 + timedelta(days=day) + CALIBRATED}
    insert_calibration(**key, **_measured(animal, day))
    return key


def _measured(animal: Animal, day: int) -> dict[str, NDArray[np.float64]]:
    pixel_value, luminance = animal.session(day).monitor.measured(seed=animal.seed + day)
    return {"pixel_value": pixel_value, "luminance": luminance}


def _rig(scan: dict[str, Any]) -> str:
    return f"virtual-{scan['animal_id']}"


def ingest_stimulus_day(
    key: dict[str, int],
    source: dict[str, int],
    stimulus: dict[str, str],
    repeats: int,
    day: int,
    natural_repeats: int = 0,
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
        Presentations of each image of the set.
    day : int
        From 2.
    natural_repeats : int
        Presentations of each image that the earlier recording repeated, by which matched cells
        are compared.
    """
    animal, _ = load_animal(source)
    shown = dj.U("image_class", "image_id") & (StimulusSet.Item & stimulus)
    if not shown:
        raise BadRecording(f"the stimulus set {stimulus} has no images")
    classes, images = _images(shown)
    n_repeats = np.full(len(images), repeats)
    if natural_repeats:
        again, natural = _images(_repeated(source))
        if natural.shape[1:] != images.shape[1:]:
            raise BadRecording(
                f"the images of the set have {images.shape[1:]} pixels, the natural ones of the "
                f"first day {natural.shape[1:]}: make the set at that size, or show it alone"
            )
        classes, images = np.concatenate([classes, again]), np.concatenate([images, natural])
        n_repeats = np.concatenate([n_repeats, np.full(len(natural), natural_repeats)])
    presentation = shuffled_presentation(n_repeats, animal.seed + day)
    return _ingest(key, animal, day, images, classes, presentation)


def _images(names: dj.expression.QueryExpression) -> tuple[NDArray[np.str_], NDArray[np.uint8]]:
    """Return classes and pixels of images."""
    classes, images = (recording.Image & names.proj()).to_arrays(
        "image_class", "image", order_by="image_class, image_id"
    )
    return np.asarray(classes, str), np.stack(images)


def _repeated(scan: dict[str, int]) -> dj.expression.QueryExpression:
    """Return the images that a recording showed more than once."""
    trials = recording.Trial * recording.Condition & scan
    return dj.U("image_class", "image_id").aggr(trials, n_shown="count(*)") & "n_shown > 1"


def load_animal(scan: dict[str, Any]) -> tuple[Animal, Session]:
    """Regenerate the truth of a virtual recording: the animal and its day.

    Raises
    ------
    BadRecording
        If the recording is not a virtual one.
    """
    row = (VirtualAnimal & (Scan & scan & {"reader": READER}).proj()).to_dicts()
    if len(row) != 1:
        raise BadRecording(f"recording {scan} is not of a virtual mouse")
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
    activity: ActivityKind = "trial_response",
    rig: AcquisitionParams | None = None,
) -> bool:
    """Record and insert; without a rig there is nothing but the counts of each trial."""
    session = animal.session(day)
    parts = (
        _counted(session, images, presentation)
        if rig is None
        else _acquired(session, images, presentation, activity, rig)
    )
    arrays = ScanArrays(
        images=Images(images, classes),
        stacks=_stacks(key, session),
        screen=SCREEN,
        rig=_rig(key),
        recorded_at=DAY_0 + timedelta(days=day) + RECORDED,
        **parts,
    )
    params = animal.params.model_dump(mode="json")
    name = f"virtual animal {configuration_hash('VirtualAnimal', params)}, seed {animal.seed}"
    recorded = [*map(np.asarray, vars(arrays.activity).values()), images]
    digest = hashlib.sha256(b"".join(array.tobytes() for array in recorded))
    if rig is not None:
        digest.update(rig.model_dump_json().encode())
    source = Source(READER, READER_VERSION, f"{name}, day {day}", None, digest.hexdigest())
    virtual = {"virtual_seed": animal.seed, "virtual_day": day, "virtual_params": params}
    return insert_scan({a: key[a] for a in Scan.primary_key}, arrays, source, virtual)


def _counted(
    session: Session, images: NDArray[np.uint8], presentation: NDArray[np.int64]
) -> dict[str, Any]:
    """Count the spikes of each trial; nothing else is known of the trials."""
    return {
        "trials": Trials(presentation),
        "activity": TrialResponses(session.record(images, presentation, seed=session.animal.seed)),
        "units": _units(session),
        "presentation_time": 0.5,
    }


def _acquired(
    session: Session,
    images: NDArray[np.uint8],
    presentation: NDArray[np.int64],
    activity: ActivityKind,
    rig: AcquisitionParams,
) -> dict[str, Any]:
    """Record what a rig stores of a session."""
    if activity == "spike_times":
        # electrodes, screen and cameras share a clock
        rig = rig.model_copy(update={"clock_offset": 0.0, "clock_drift": 0.0})
    try:
        recorded = session.acquire(images, presentation, session.animal.seed, rig)
    except ValueError as error:
        raise BadRecording(f"there is no such virtual recording: {error}") from error
    parts = {
        "trials": Trials(presentation, *presentation_times(recorded.flip_times)),
        "pupil": Track(recorded.pupil),
        "treadmill": Track(recorded.treadmill),
        "presentation_time": rig.presentation_time,
    }
    if activity == "spike_times":
        spikes = SpikeTimes(recorded.spike_times, recorded.spike_counts)
        return parts | {"activity": spikes, "units": _units(session)}
    return parts | {
        "activity": Traces(
            recorded.traces, recorded.frame_times, recorded.behavior_frame_times, rig.n_depths
        ),
        "units": replace(_units(session), field=recorded.field, delay=recorded.delay),
        "fields": Fields(np.arange(1, rig.n_depths + 1), recorded.field_depth),
    }


def _stacks(key: dict[str, int], session: Session) -> dict[int, NDArray[np.float64]]:
    """Coordinates of the units in every stack of the animal, by the number of the stack."""
    first = key["animal_id"] * STACKS_PER_ANIMAL
    n_stacks = session.animal.params.n_stacks
    return {first + stack: session.stack_positions(stack) for stack in range(1, n_stacks + 1)}


def _units(session: Session) -> Units:
    return Units(session.unit_ids, session.brain_area, session.layer, session.positions)
