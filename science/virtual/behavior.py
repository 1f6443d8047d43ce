"""What a camera on the eye and a treadmill see of a virtual mouse, and what they miss."""

import numpy as np

from science.virtual.params import AcquisitionParams

PUPIL_RADIUS_PX = 30.0  # of the video, at median arousal
PUPIL_RADIUS_LOG_SD = 0.15
PUPIL_CENTRE_PX = np.array([320.0, 240.0])  # x, y while the gaze is straight ahead
VIDEO_PX_PER_GAZE_PX = np.array([[1.5, 0.3], [-0.2, 1.2]])  # rows: pupil x, y; columns: gaze x, y

RUNNING_ABOVE = 0.5  # arousal; the mouse runs a third of the time
RUNNING_CM_S = 15.0  # per unit of arousal above that
STANDING_SD_CM_S = 0.3

_BLINK_FRAMES = 4
_TREADMILL_GAP = 2


def pupil_track(
    arousal: np.ndarray, gaze: np.ndarray, params: AcquisitionParams, rng: np.random.Generator
) -> np.ndarray:
    """Fit the pupil in every video frame: log-normal in arousal, linear in the gaze, noisy.

    Parameters
    ----------
    arousal
        (n,), at the times of the frames.
    gaze
        (n, 2), likewise, image pixels.
    params
        Noise and fraction of blinks.
    rng
        Source of randomness.

    Returns
    -------
    float64 (n, 3)
        Radius, x and y in video pixels; NaN in blinks of 1 to about 20 frames.
    """
    noise_rng, blink_rng = rng.spawn(2)
    radius = PUPIL_RADIUS_PX * np.exp(PUPIL_RADIUS_LOG_SD * arousal)
    centre = PUPIL_CENTRE_PX + gaze @ VIDEO_PX_PER_GAZE_PX.T
    track = np.column_stack([radius, centre])
    track += noise_rng.normal(0, params.pupil_noise_px, track.shape)
    track[missing_runs(len(track), params.blink_fraction, _BLINK_FRAMES, blink_rng)] = np.nan
    return track


def running_velocity(
    arousal: np.ndarray, params: AcquisitionParams, rng: np.random.Generator
) -> np.ndarray:
    """Velocity of the treadmill: bouts of running in high arousal, else fidgeting.

    Parameters
    ----------
    arousal
        (n,), at the times of the readings.
    params
        Fraction of missing readings.
    rng
        Source of randomness.

    Returns
    -------
    float64 (n,)
        cm/s, negative backwards; NaN where missing.
    """
    noise_rng, missing_rng = rng.spawn(2)
    velocity = RUNNING_CM_S * np.maximum(arousal - RUNNING_ABOVE, 0)
    velocity += noise_rng.normal(0, STANDING_SD_CM_S, velocity.shape)
    missing = missing_runs(len(velocity), params.missing_treadmill, _TREADMILL_GAP, missing_rng)
    velocity[missing] = np.nan
    return velocity


def missing_runs(
    n: int, fraction: float, mean_length: float, rng: np.random.Generator
) -> np.ndarray:
    """Lose samples in runs of random length at random places.

    Parameters
    ----------
    n
        Number of samples.
    fraction
        To lose, 0 to below 1; exact but for rounding.
    mean_length
        Of the runs, samples, 1 or more.
    rng
        Source of randomness.

    Returns
    -------
    bool (n,)
        True where lost. All ways to cut the lost and the kept samples into runs, at least one
        sample long but for the first and last kept run, are equally likely.
    """
    n_lost = round(fraction * n)
    n_runs = min(int(np.ceil(n_lost / mean_length)), n - n_lost + 1)
    if n_runs == 0:
        return np.zeros(n, bool)
    lost = _parts(n_lost, n_runs, rng)
    kept = _parts(n - n_lost + 2, n_runs + 1, rng)
    kept[[0, -1]] -= 1
    lengths = np.append(np.column_stack([kept[:-1], lost]).ravel(), kept[-1])
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)


def _parts(total: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Cut a whole number into n parts, each at least 1: int (n,)."""
    cuts = np.sort(rng.choice(total - 1, n - 1, replace=False)) + 1
    return np.diff(cuts, prepend=0, append=total)
