"""Shown images as frames, recorded activity as responses, eye and running as behaviour."""

from collections.abc import Sequence
from typing import Any

import datajoint as dj
import numpy as np
from numpy.typing import ArrayLike, NDArray

from schemas import recording
from schemas.configuration import Configuration
from schemas.recording import Condition, Scan
from schemas.store import intact
from science.behavior import (
    finished_eye,
    finished_speed,
    sample_eye,
    sample_treadmill,
    to_other_clock,
)
from science.digest import array_digest
from science.preprocessing import PreprocessingParams, resize_image
from science.presentations import Presentations
from science.responses import (
    count_spikes,
    covered_trials,
    fill_gaps,
    trace_responses,
    volume_times,
)

schema = dj.Schema()

IMAGES_AT_ONCE = 500


@schema
class Preprocessing(Configuration, dj.Manual):
    definition = """
    # How images become frames and activity becomes responses
    preprocessing_hash : char(16)
    ---
    frame_height : int16                # px
    frame_width : int16                 # px
    preprocessing_params : json
    """
    params_type = PreprocessingParams
    params_column = "preprocessing_params"

    @classmethod
    def columns(cls, params: PreprocessingParams) -> dict[str, Any]:
        return {"frame_height": params.height, "frame_width": params.width}


@schema
class StaticScan(dj.Manual):
    definition = """
    # A recording admitted to the analysis, under one preprocessing
    -> Scan
    -> Preprocessing
    """


@schema
class Frame(dj.Computed):
    definition = """
    # The images of a recording at working resolution
    -> StaticScan
    ---
    n_frames : int32
    frames : <npy@>                     # float32, (n_frames, height, width), grey values 0-255
    frames_digest : char(64)
    """

    class Condition(dj.Part):
        definition = """
        # Which frame shows which condition
        -> master
        -> Condition
        ---
        frame_row : int32
        """

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        shown = (recording.Image * Condition).proj() & (recording.Trial & key)
        return Preprocessing.params(key), tuple(shown.to_dicts(order_by="condition_hash"))

    def make_compute(
        self, key: dict[str, Any], params: PreprocessingParams, shown: tuple[dict[str, Any], ...]
    ) -> tuple[Any, ...]:
        if not shown:
            raise ValueError(f"recording {key} has no trials that show an image")
        conditions = [row["condition_hash"] for row in shown]
        frames = np.empty((len(shown), params.height, params.width), np.float32)
        for start in range(0, len(shown), IMAGES_AT_ONCE):
            wanted = [{"condition_hash": c} for c in conditions[start : start + IMAGES_AT_ONCE]]
            images = (recording.Image * Condition & wanted).to_arrays(
                "image", order_by="condition_hash"
            )
            for row, image in enumerate(images, start):
                frames[row] = resize_image(image, params.height, params.width)
        return conditions, frames

    def make_insert(
        self, key: dict[str, Any], conditions: list[str], frames: NDArray[np.float32]
    ) -> None:
        self.insert1(
            key | dict(n_frames=len(frames), frames=frames, frames_digest=array_digest(frames))
        )
        self.Condition.insert(
            key | {"condition_hash": c, "frame_row": row} for row, c in enumerate(conditions)
        )


@schema
class InputResponse(dj.Computed):
    definition = """
    # The inputs of a recording and the responses to them, trial by trial
    -> Frame
    ---
    n_trials : int32
    n_left_out : int32                  # trials that are excluded, or outlast the recording
    n_recorded_units : int32
    """

    class Input(dj.Part):
        definition = """
        # What a row of the responses showed
        -> master
        -> recording.Trial
        ---
        row_id : int32
        -> Frame.Condition
        """

    class ResponseBlock(dj.Part):
        definition = """
        # The responses of some of the units
        -> master
        response_block : int16
        ---
        responses : <npy@>              # float32, (n_trials, units of the block)
        responses_digest : char(64)
        """

    class ResponseKeys(dj.Part):
        definition = """
        # Which unit a column of a block is
        -> master
        -> Scan.Unit
        ---
        -> InputResponse.ResponseBlock
        col_id : int32
        """

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        trials = (recording.Trial & key) - recording.ExcludedTrial
        return (
            Preprocessing.params(key),
            (recording.Activity & key).fetch1("activity_kind"),
            len(recording.Trial & key),
            tuple(trials.to_dicts(order_by="trial_idx")),
            tuple((Scan.Unit & key).proj("delay").to_dicts(order_by="unit_id")),
            tuple((recording.FrameClock & key).to_dicts()),
            tuple((recording.Activity.Block & key).to_dicts(order_by="activity_block")),
        )

    def make_compute(
        self,
        key: dict[str, Any],
        params: PreprocessingParams,
        kind: str,
        n_recorded: int,
        trials: tuple[dict[str, Any], ...],
        units: tuple[dict[str, Any], ...],
        clocks: tuple[dict[str, Any], ...],
        blocks: tuple[dict[str, Any], ...],
    ) -> tuple[Any, ...]:
        shown = _presentations(trials)
        rows = np.array([t["trial_idx"] for t in trials], np.int64)
        delays = np.array([u["delay"] for u in units], np.float64)
        times = np.empty(0)
        if kind == "trace":
            n_frames = blocks[0]["activity"].shape[0]
            clock = np.asarray(clocks[0]["frame_times"])[:, 0]
            times = volume_times(clock, clocks[0]["n_depths"], n_frames)
            kept = covered_trials(*shown.span(params), times, delays)
        elif kind == "spike_times":
            kept = np.isfinite(shown.window(params)).all(0)
        else:
            kept = np.ones(len(trials), bool)
        if not kept.any():
            raise ValueError(f"no trial of recording {key} can be used: all are left out")
        shown, trials = shown.take(kept), [t for t, k in zip(trials, kept, strict=True) if k]

        def responses(block: dict[str, Any], first: int) -> NDArray[np.float32]:
            activity = intact(block["activity"], block["activity_digest"], f"activity of {key}")
            if kind == "trial_response":
                return activity[rows[kept]]
            if kind == "spike_times":
                return count_spikes(activity, block["spike_counts"], *shown.window(params))
            of_block = delays[first : first + block["n_block_units"]]
            traces = fill_gaps(activity[: len(times)])
            return trace_responses(traces, times, of_block, shown.centre(params), params.duration)

        firsts = np.cumsum([0, *(b["n_block_units"] for b in blocks)])
        made = [responses(b, int(f)) for b, f in zip(blocks, firsts[:-1], strict=True)]
        return trials, n_recorded - len(trials), units, made

    def make_insert(
        self,
        key: dict[str, Any],
        trials: list[dict[str, Any]],
        n_left_out: int,
        units: tuple[dict[str, Any], ...],
        blocks: list[NDArray[np.float32]],
    ) -> None:
        self.insert1(
            key | dict(n_trials=len(trials), n_left_out=n_left_out, n_recorded_units=len(units))
        )
        self.Input.insert(
            key | {a: trial[a] for a in ("trial_idx", "condition_hash")} | {"row_id": row}
            for row, trial in enumerate(trials)
        )
        ids = iter(unit["unit_id"] for unit in units)
        for number, block in enumerate(blocks):
            row = key | {"response_block": number}
            digest = array_digest(block)
            self.ResponseBlock.insert1(row | dict(responses=block, responses_digest=digest))
            self.ResponseKeys.insert(
                row | {"unit_id": next(ids), "col_id": col} for col in range(block.shape[1])
            )


def _presentations(trials: Sequence[dict[str, Any]]) -> Presentations:
    """Collect the times in rows of `Trial`."""
    names = ("trial_onset", "trial_offset", "n_flips")
    return Presentations.of(*([trial[name] for trial in trials] for name in names))


def _sampling(key: dict[str, Any]) -> tuple[NDArray[np.float64], float]:
    """Return when a track is sampled for each input, s on its clock, and over what half width.

    Raises
    ------
    ValueError
        If the recording does not say when its trials took place.
    """
    rows = (recording.Trial * InputResponse.Input.proj("row_id") & key).to_dicts(order_by="row_id")
    params = Preprocessing.params(key)
    times = _presentations(rows).centre(params)
    if not np.isfinite(times).all():
        raise ValueError(f"recording {key} has a track of behaviour, but trials without an onset")
    clocks = (recording.FrameClock & key).to_arrays("frame_times")
    clock = np.asarray(clocks[0]) if len(clocks) else np.empty((0, 1))
    if clock.shape[1] == 2:
        times = to_other_clock(times, *clock.T)
    return times, params.duration


def _of_inputs(key: dict[str, Any], of_trials: ArrayLike) -> NDArray[np.float64]:
    """Return the numbers of those trials that are inputs."""
    rows = (InputResponse.Input & key).to_arrays("trial_idx", order_by="row_id")
    return np.asarray(of_trials)[rows.astype(np.int64)]


@schema
class Eye(dj.Computed):
    definition = """
    # The pupil during each input, in the order of row_id
    -> InputResponse
    ---
    n_eye_valid : int32
    pupil : <blob>                      # float32, (n_trials,), radius; -1 where invalid
    dpupil : <blob>                     # float32, (n_trials,), its change, 1/s
    center : <blob>                     # float32, (n_trials, 2)
    eye_valid : <blob>                  # bool, (n_trials,)
    eye_digest : char(64)
    """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Responses of recordings in which the eye was tracked."""
        return InputResponse & recording.PupilTrack

    def make(self, key: dict[str, Any]) -> None:
        sampling, track = (recording.PupilTrack & key).fetch1("pupil_sampling", "pupil_track")
        if sampling == "trial":
            eye = finished_eye(_of_inputs(key, track))
        else:
            eye = sample_eye(track, *_sampling(key))
        row = {
            "pupil": eye.radius.astype(np.float32),
            "dpupil": eye.radius_change.astype(np.float32),
            "center": eye.center.astype(np.float32),
            "eye_valid": eye.valid,
        }
        counts = {"n_eye_valid": int(eye.valid.sum()), "eye_digest": array_digest(*row.values())}
        self.insert1(key | row | counts)


@schema
class Treadmill(dj.Computed):
    definition = """
    # Running speed during each input, in the order of row_id
    -> InputResponse
    ---
    n_treadmill_valid : int32
    treadmill : <blob>                  # float32, (n_trials,), cm/s; -1 where invalid
    treadmill_valid : <blob>            # bool, (n_trials,)
    treadmill_digest : char(64)
    """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Responses of recordings in which running was measured."""
        return InputResponse & recording.TreadmillTrace

    def make(self, key: dict[str, Any]) -> None:
        sampling, track = (recording.TreadmillTrace & key).fetch1(
            "treadmill_sampling", "treadmill_track"
        )
        if sampling == "trial":
            running = finished_speed(_of_inputs(key, track)[:, 0])
        else:
            running = sample_treadmill(track, *_sampling(key))
        row = {"treadmill": running.speed.astype(np.float32), "treadmill_valid": running.valid}
        counts = {
            "n_treadmill_valid": int(running.valid.sum()),
            "treadmill_digest": array_digest(*row.values()),
        }
        self.insert1(key | row | counts)
