"""The manifest of an exported stimulus set: what its files are, and where every image comes from.

Everything but the files themselves is said by the rows of the set, so that folder and database can
be compared.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from pipeline.errors import UserError
from pipeline.study_file import described
from schemas.dataset import TargetDataset
from schemas.recording import Image
from schemas.stimulus import MADE_FROM, DisplayRule, StimulusSet
from science.params import Params

NAME = "manifest.json"
FORMAT_VERSION = 1

ImageFormat = Literal["png", "npy"]
Unit = Literal["cd/m2", "grey value"]

UNITS: dict[str, Unit] = {"luminance": "cd/m2", "grey": "grey value"}


class BadStimulus(UserError):
    """A folder of stimuli that cannot be written or read; the message says why."""


class Calibration(Params):
    """Which calibration of which monitor."""

    rig: str
    calibrated_at: str


class Monitors(Params):
    """On which the recorded images were seen, and for which these are made; None: grey values."""

    source: Calibration | None
    shown_on: Calibration | None


class RecordedUnit(Params):
    """The unit an image was made for, in the training set and in the recording."""

    unit_index: int
    readout_key: str
    animal_id: int
    session: int
    scan_idx: int
    unit_id: int


class SourceRow(Params):
    """The row an image was made from."""

    table: str
    key: dict[str, int | str]


class ManifestItem(Params):
    """One image of the set; `file` is shared by items with equal pixels."""

    item: int
    file: str
    sha256: str
    image_class: str
    image_id: int
    image_sha256: str
    kind: str
    unit: RecordedUnit
    x_shift: int
    y_shift: int
    shown_mean: float
    shown_contrast: float
    shown_unit: Unit
    display_reached: bool
    shown_activation: float | None
    made_from: SourceRow

    @field_validator("file")
    @classmethod
    def _stays_in_the_folder(cls, name: str) -> str:
        if not name or name.startswith(".") or {"/", "\\", "\0"} & set(name):
            raise ValueError(f"'{name}' is no plain name of a file in the folder")
        return name


class Manifest(Params):
    """What `manifest.json` holds."""

    format_version: Literal[1]
    created_at: str
    code: dict[str, str | bool | int | None]
    stimulus_set_hash: str
    training_set_hash: str
    display_hash: str
    display: dict[str, Any]
    monitors: Monitors
    image_format: ImageFormat
    height: int = Field(gt=0)
    width: int = Field(gt=0)
    items: tuple[ManifestItem, ...] = Field(min_length=1)


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of a folder.

    Raises
    ------
    BadStimulus
        If it is missing, not readable, of another version, or not as described here.
    """
    path = folder / NAME
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise BadStimulus(f"{folder} is no exported stimulus set: it has no {NAME}") from error
    except OSError as error:
        raise BadStimulus(f"{path} cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"] == ("format_version",):
            raise BadStimulus(
                f"{path} is of format version {first['input']!r}, this program reads "
                f"{FORMAT_VERSION}: export the set again"
            ) from error
        raise BadStimulus(f"{path} is damaged: {described(error).split('; ')[0]}") from error


def header_of(stimulus: dict[str, str]) -> dict[str, Any]:
    """Return what the rows of a set say of it as a whole.

    Parameters
    ----------
    stimulus : dict
        Key of `StimulusSet`.
    """
    row = (StimulusSet & stimulus).fetch1()
    names = ("stimulus_set_hash", "training_set_hash", "display_hash")
    return {name: row[name] for name in names} | {
        "display": (DisplayRule & row).fetch1("display_params"),
        "monitors": {
            "source": _calibration(row["source_rig"], row["source_calibrated_at"]),
            "shown_on": _calibration(row["rig"], row["calibrated_at"]),
        },
    }


def _calibration(rig: str | None, calibrated_at: Any) -> dict[str, str] | None:
    return rig and {"rig": rig, "calibrated_at": calibrated_at.isoformat()}


def items_of(stimulus: dict[str, str]) -> list[dict[str, Any]]:
    """Return what the rows of a set say of each of its images, in the order of the items."""
    unit = UNITS[(DisplayRule & (StimulusSet & stimulus)).fetch1("display_unit")]
    rows = StimulusSet.Item * Image.proj("image_sha256") * TargetDataset.Unit & stimulus
    keys = {
        row["item"]: row
        for part in {part for part, _ in MADE_FROM.values()}
        for row in (part & stimulus).to_dicts()
    }
    return [_item(row, unit, keys[row["item"]]) for row in rows.to_dicts(order_by="item")]


def _item(row: dict[str, Any], unit: Unit, made_from: dict[str, Any]) -> dict[str, Any]:
    _, table = MADE_FROM[row["stimulus_kind"]]
    same = (
        *("item", "image_class", "image_id", "image_sha256", "x_shift", "y_shift"),
        *("shown_mean", "shown_contrast", "shown_activation"),
    )
    return {name: row[name] for name in same} | {
        "kind": row["stimulus_kind"],
        "unit": {name: row[name] for name in RecordedUnit.model_fields},
        "shown_unit": unit,
        "display_reached": bool(row["display_reached"]),
        "made_from": {
            "table": table.__qualname__,
            "key": {name: made_from[name] for name in table.primary_key},
        },
    }
