"""Studies as TOML files: read, and validated with one clear message."""

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from pipeline.errors import UserError
from science.params import Params

P = TypeVar("P", bound=Params)


class BadStudy(UserError):
    """A study file that cannot be used; the message says what is wrong in it."""


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; errors as of `read_study`."""
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise BadStudy(f"there is no study file {path}") from error
    except OSError as error:
        raise BadStudy(f"the study file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadStudy(f"{path} is not a TOML file: {error}") from error
    except RecursionError as error:
        raise BadStudy(f"{path} nests its values too deeply for a study") from error


def validated(path: Path, document: dict[str, Any], kind: type[P]) -> P:
    """Return the parameters in a document.

    Raises
    ------
    BadStudy
        If one of them is unknown or out of range; the message names the file.
    """
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise BadStudy(f"{path}: {described(error)}") from error


def described(error: ValidationError) -> str:
    """Return in one line which parameters are wrong, and how."""
    return "; ".join(
        ": ".join([*filter(None, [".".join(str(p) for p in e["loc"])]), e["msg"]])
        for e in error.errors()
    )
