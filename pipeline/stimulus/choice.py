"""Which stimulus set is to be shown next."""

from pipeline.errors import UserError
from schemas.stimulus import StimulusSet, TargetStaticGroup

MAX_NOTE = 255


class NoChoice(UserError):
    """No stimulus set is chosen, or it cannot be; the message says why."""


def choose_stimulus(stimulus_set: str, note: str = "") -> None:
    """Choose the stimulus set that the presentation software shows next.

    Parameters
    ----------
    stimulus_set : str
        Its hash.
    note : str
        Why, in at most 255 characters.

    Raises
    ------
    NoChoice
        If there is no such set, or the note is too long.
    """
    if not StimulusSet & {"stimulus_set_hash": stimulus_set}:
        raise NoChoice(f"there is no stimulus set {stimulus_set}")
    if len(note) > MAX_NOTE:
        raise NoChoice(f"a note has at most {MAX_NOTE} characters, this one has {len(note)}")
    with TargetStaticGroup.connection.transaction:
        last = TargetStaticGroup().to_arrays(
            "target_choice", order_by="target_choice DESC", limit=1
        )
        TargetStaticGroup.insert1(
            {
                "target_choice": 1 + max(last.tolist(), default=0),
                "stimulus_set_hash": stimulus_set,
                "choice_note": note,
            }
        )


def chosen_stimulus() -> str:
    """Return the hash of the stimulus set that was chosen last.

    Raises
    ------
    NoChoice
        If none was.
    """
    newest = TargetStaticGroup().to_dicts(order_by="target_choice DESC", limit=1)
    if not newest:
        raise NoChoice("no stimulus set is chosen: `inceptionloop stimulus choose` does that")
    return newest[0]["stimulus_set_hash"]
