"""Studies of every family: how each is read, and how it is asked for."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.coding_study import CodingStudy, register_coding
from pipeline.feedback_study import FeedbackStudy, register_feedback
from pipeline.navigation_study import NavigationStudy, register_navigation
from pipeline.study import Study, register
from pipeline.study_file import BadStudy, read_toml, validated
from science.params import Params

FAMILIES: dict[str, tuple[type[Params], Callable[..., dict[str, Any]]]] = {
    "image": (Study, register),
    "navigation": (NavigationStudy, register_navigation),
    "coding": (CodingStudy, register_coding),
    "feedback": (FeedbackStudy, register_feedback),
}
"""The parameters of a study, and what asks for it, by the family of its networks."""


def read_any_study(path: Path) -> Params:
    """Read a study of the family that its file names, of images by default.

    Raises
    ------
    BadStudy
        As of `read_study`, and if there is no such family.
    """
    document = read_toml(path)
    family = document.pop("family", "image")
    if family not in list(FAMILIES):
        raise BadStudy(f"{path}: there is no family {family!r}, write one of {', '.join(FAMILIES)}")
    return validated(path, document, FAMILIES[family][0])


def register_any(study: Params, scans: Sequence[dict[str, int]]) -> dict[str, Any]:
    """Ask for a study of any family; parameters, return and errors as of its own function."""
    (ask,) = (ask for kind, ask in FAMILIES.values() if isinstance(study, kind))
    return ask(study, scans)
