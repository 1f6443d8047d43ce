"""When each trial's stimulus was on the screen, and which trials are malformed (microns_vei 4.1).

A trial's flips are the changes of its screen: the blank before the image, the image, and, in
some protocols, the blank after it.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

FLIPS = (2, 3)
MAX_MALFORMED = 0.05


def presentation_times(flip_times: ArrayLike) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Read onset and offset of the stimulus from the flips of the screen.

    Parameters
    ----------
    flip_times : float, (n_trials, k)
        Times of the flips, s, in order of presentation; trials with fewer than k flips are padded
        with NaN, and a NaN before the last flip is a flip that was missed.

    Returns
    -------
    onset : float64, (n_trials,)
        The second flip, s.
    offset : float64, (n_trials,)
        The third of three flips, s; with two flips the first flip of the next trial.
        Both are NaN where they cannot be known, as the offset of a trial with four flips.
    n_flips : int64, (n_trials,)
        Finite flips.

    Raises
    ------
    ValueError
        If the flips of a trial or the onsets of the trials do not increase, or a trial ends
        before it begins or after the next image is shown.
    """
    flips = np.array(flip_times, np.float64)
    if flips.ndim != 2:
        raise ValueError(f"flip times must be (n_trials, n_flips), not {flips.shape}")
    flips[np.isinf(flips)] = np.nan
    flips = np.pad(flips, ((0, 0), (0, max(0, 3 - flips.shape[1]))), constant_values=np.nan)
    n_flips = np.isfinite(flips).sum(axis=1)

    first, onset, third = flips[:, 0], flips[:, 1], flips[:, 2]
    next_first = np.append(first[1:], np.nan)
    offset = np.where((n_flips == 2) & np.isnan(third), next_first, third)
    offset[np.isnan(onset) | (n_flips > 3)] = np.nan

    late = (flips[:, 1:] <= np.fmax.accumulate(flips, axis=1)[:, :-1]).any(axis=1)
    _refuse(late, "the flips of a trial must increase")
    previous = np.append(np.nan, np.fmax.accumulate(onset)[:-1])
    _refuse(onset <= previous, "the onsets of successive trials must increase")
    _refuse(offset <= onset, "a trial must end after it begins, and before the next one does")
    overlap = offset > np.append(onset[1:], np.nan)
    _refuse(overlap, "a trial must end before the image of the next one is shown")
    return onset, offset, n_flips


def _refuse(wrong: NDArray[np.bool_], rule: str) -> None:
    if wrong.any():
        raise ValueError(f"{rule}: look at the flip times of trial {wrong.argmax()} (from 0)")


def malformed_trials(n_flips: ArrayLike) -> NDArray[np.bool_]:
    """Find the trials whose number of flips is not that of the protocol (microns_vei 4.1).

    Parameters
    ----------
    n_flips : int, (n_trials,)
        Flips of each trial. What most trials have is taken for the protocol's number.

    Returns
    -------
    bool, (n_trials,)
        Trials to exclude.

    Raises
    ------
    ValueError
        If most trials have neither 2 nor 3 flips, or if more than 5 % of the trials, and more than
        one, differ from the rest.
    """
    counts = np.bincount(np.asarray(n_flips, np.int64))
    if not counts.sum():
        return np.zeros(0, bool)
    protocol = counts.argmax()
    malformed = np.asarray(n_flips) != protocol
    found = ", ".join(f"{n} trials with {flips}" for flips, n in enumerate(counts) if n)
    if malformed.sum() > max(1, MAX_MALFORMED * len(malformed)):
        raise ValueError(
            f"unequal numbers of flips: {found}; at most {MAX_MALFORMED:.0%} of the trials may "
            "differ from the rest: check the stimulus log, or split the recording by protocol"
        )
    if protocol not in FLIPS:
        raise ValueError(f"a presentation has 2 or 3 flips, but there are {found}")
    return malformed
