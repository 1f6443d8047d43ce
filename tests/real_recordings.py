"""Real recordings of ../shared as arrays that the readers take."""

from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]


def antolik(shared: Path) -> Arrays:
    """Mouse V1, two-photon: 50 natural images, 10 repeats, 103 units; finished responses."""
    data = np.load(shared / "data/antolik2016_mouse_v1/antolik2016_region1.npz")
    trials = data["region1_val_trials"]  # (repeats, images, units)
    return {
        "images": data["region1_val_images"],
        "image_class": np.array("natural"),
        "image_index": np.tile(np.arange(trials.shape[1]), trials.shape[0]),
        "responses": trials.reshape(-1, trials.shape[2]),
    }


def v4(shared: Path) -> Arrays:
    """Macaque V4, spike counts: 640 images, 6 to 10 repeats, 30 units."""
    data = np.load(shared / "data/v4_cowley2023/v4_210325.npz")
    counts = np.moveaxis(data["spike_counts"], 0, -1)  # (images, repeats, units)
    image, repeat = np.nonzero((counts >= 0).all(-1))
    return {
        "images": data["images"],
        "image_class": np.array("photo"),
        "image_index": image,
        "responses": counts[image, repeat].astype(np.float32),
    }


def park(shared: Path) -> Arrays:
    """Mouse V1, two-photon traces with pupil and running: gratings of 8 directions, 16 repeats.

    Trials of 49 samples follow each other without a gap; every sample is its own time.
    """
    data = np.load(shared / "data/v1_2p_pupil_speed_park/230809_mrcuts28_fov4.npz")
    n_trials, _, n_samples = data["calcium"].shape
    dt = float(np.diff(data["t"]).mean())
    times = dt * np.arange(n_trials * n_samples)
    onset = times[::n_samples] - float(data["t"][0])
    directions, shown = np.unique(data["direction_deg"], return_inverse=True)
    unknown = np.full(len(times), 0.0)
    return {
        "images": np.stack([grating(d) for d in directions]),
        "image_class": np.array("grating"),
        "image_id": directions.astype(np.int64),
        "image_index": shown,
        "traces": np.moveaxis(data["calcium"], 1, 2).reshape(len(times), -1),
        "frame_times": times,
        "onset": onset,
        "offset": onset + float(data["t"][-1]),
        "pupil": np.column_stack([times, data["pupil"].ravel(), unknown, unknown]),
        "treadmill": np.column_stack([times, data["speed"].ravel()]),
    }


def grating(direction: float, size: int = 36, width: int = 64) -> np.ndarray:
    """Return a grating that moves in a direction, as a still picture."""
    y, x = np.mgrid[:size, :width] * 2 * np.pi / 16
    angle = np.deg2rad(direction)
    return np.uint8(127.5 + 100 * np.sin(x * np.cos(angle) + y * np.sin(angle) + angle / 9))
