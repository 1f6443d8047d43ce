"""Recording days of a virtual animal: which cells are found, their ids, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import lfilter

from science.natural_images import natural_images
from science.virtual.acquisition import Acquisition, acquire
from science.virtual.monitor import VirtualMonitor, monitor_on
from science.virtual.params import AcquisitionParams, SessionDesign
from science.virtual.stacks import stack_coordinates

if TYPE_CHECKING:
    from science.virtual.animal import VirtualAnimal

_GAZE, _ACQUISITION = 0, 1  # streams of randomness


@dataclass(frozen=True, eq=False)
class Trials:
    """What happened in the trials of one recording: the truth behind what a rig stores.

    Attributes
    ----------
    arousal : float64 (n_trials,)
        Standard normal, autocorrelated over trials.
    gain : float64 (n_trials,)
        Log-normal in arousal, mean 1; multiplies the rates of all units.
    gaze : float64 (n_trials, 2)
        Where the eye looks: x to the right and y down from the middle of the image, pixels.
    expected : float64 (n_trials, n_units)
        Spikes given image, gaze and gain.
    counts : int64 (n_trials, n_units)
        Spikes: Poisson with mean `expected`.
    """

    arousal: np.ndarray
    gain: np.ndarray
    gaze: np.ndarray
    expected: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True, eq=False)
class Session:
    """One day of recording; every array runs over the units found that day.

    Attributes
    ----------
    animal
        Whose day it is.
    day
        From 1.
    unit_ids : int32 (n_units,)
        1 to n_units.
    cells : int64 (n_units,)
        Index of each unit's cell in the animal: the truth about which units match across days.
    positions : float64 (n_units, 3)
        Measured x, y and depth, micrometres.
    drift : float64 (n_units,)
        Factor on the cell's rates that day, mean 1 over cells and days.
    """

    animal: VirtualAnimal
    day: int
    unit_ids: np.ndarray
    cells: np.ndarray
    positions: np.ndarray
    drift: np.ndarray

    @property
    def brain_area(self) -> np.ndarray:
        """Area of each unit, str (n_units,)."""
        return self.animal.brain_area[self.cells]

    @property
    def layer(self) -> np.ndarray:
        """Cortical layer of each unit, str (n_units,)."""
        return self.animal.layer[self.cells]

    @property
    def monitor(self) -> VirtualMonitor:
        """The monitor as it is that day."""
        return monitor_on(self.day, self.animal.params)

    def stack_positions(self, stack: int) -> np.ndarray:
        """Coordinates of all units in a structural stack, each with its registration error.

        Parameters
        ----------
        stack
            From 1 to the animal's `n_stacks`.

        Returns
        -------
        float64 (n_units, 3)
            x, y and z in the frame of the stack, micrometres.

        Raises
        ------
        ValueError
            If there is no such stack.
        """
        animal = self.animal
        return stack_coordinates(self.positions, animal.params, animal.seed, self.day, stack)

    def seen(self, images: np.ndarray) -> np.ndarray:
        """Turn what the monitor shows into what the eye gets, as grey levels of day 1.

        The eye averages the light of the screen pixels that fall into one of its own pixels. The
        average is expressed as the grey level that makes as much light on the day-1 monitor.

        Parameters
        ----------
        images
            (n_images, k * height, k * width) with a whole number k, pixel values 0 to 255 of the
            monitor of that day.

        Returns
        -------
        float64 (n_images, height, width)
            Exactly the pixel values, where k = 1 and the monitor is as on day 1.

        Raises
        ------
        ValueError
            If the images have another size, or pixel values to be turned into light exceed
            0 to 255.
        """
        images, params = np.asarray(images), self.animal.params
        factor = _enlargement(images.shape, params.height, params.width)
        first = monitor_on(1, params)
        if factor == 1 and self.monitor == first:
            return images.astype(np.float64, copy=False)
        blocks = (len(images), params.height, factor, params.width, factor)
        light = self.monitor.luminance(images).reshape(blocks).mean(axis=(2, 4))
        return first.pixels(light)

    def record(self, images: np.ndarray, presentation: np.ndarray, seed: int) -> np.ndarray:
        """Spike counts of all units in every trial, where nothing else is kept.

        Parameters, errors and random numbers are those of `trials`.

        Returns
        -------
        float32 (n_trials, n_units)
        """
        return self.trials(images, presentation, seed).counts.astype(np.float32)

    def trials(self, images: np.ndarray, presentation: np.ndarray, seed: int) -> Trials:
        """Show images, and let the cells answer.

        Counts are Poisson given the expected rate times a gain that all units share in a trial:
        log-normal, mean 1, autocorrelated over trials (Goris, Movshon & Simoncelli 2014, Nat
        Neurosci 17:858). Every trial has its own gaze, normal with the sd `eye_movement_px`.

        Parameters
        ----------
        images
            Pixel values of that day's monitor, of a size that the eye can see: see `seen`.
        presentation
            int (n_trials,), index of the image shown in each trial.
        seed
            Non-negative; another seed gives other noise, as does another day or animal.

        Returns
        -------
        Trials

        Raises
        ------
        ValueError
            If presentation is not a vector of image indices, or images cannot be seen.
        """
        presentation = np.asarray(presentation)
        if presentation.ndim != 1 or not np.issubdtype(presentation.dtype, np.integer):
            raise ValueError("presentation must be a vector of integers: the image index per trial")
        if presentation.size and not 0 <= presentation.min() <= presentation.max() < len(images):
            raise ValueError(
                f"presentation runs from {presentation.min()} to {presentation.max()}, "
                f"but there are {len(images)} images: indices must be 0 to {len(images) - 1}"
            )
        seen = self.seen(images)
        rng, params = self.generator(seed), self.animal.params
        arousal = _autoregressive(len(presentation), params.gain_autocorrelation, rng)
        gain = _log_normal(arousal, params.gain_cv)
        gaze = self.generator(seed, _GAZE).normal(0, params.eye_movement_px, (len(gain), 2))
        if params.eye_movement_px > 0:
            rates = self.animal.rates(seen[presentation], gaze)
        else:
            rates = self.animal.rates(seen)[presentation]
        expected = rates[:, self.cells] * self.drift * gain[:, None]
        return Trials(arousal, gain, gaze, expected, rng.poisson(expected))

    def acquire(
        self, images: np.ndarray, presentation: np.ndarray, seed: int, design: AcquisitionParams
    ) -> Acquisition:
        """Record what `record` counts, in time and with everything around it.

        The evoked spikes of a trial fall evenly between onset + latency and onset + latency +
        presentation_time; there are exactly as many as `record` returns for the same seed.
        Outside of these windows all units fire at the spontaneous rate. The gain of a trial
        follows arousal, and so do pupil and running, in a line from trial to trial. The eye moves
        in the middle of the blank.

        Parameters
        ----------
        images, presentation, seed
            As in `trials`.
        design
            How the rig records.

        Returns
        -------
        Acquisition

        Raises
        ------
        ValueError
            As in `trials`; if there are no trials, or fewer than shall be malformed.
        """
        trials = self.trials(images, presentation, seed)
        return acquire(trials, self.positions, design, self.generator(seed, _ACQUISITION))

    def generator(self, seed: int, *stream: int) -> np.random.Generator:
        """Randomness of one recording; each numbered stream is independent of all others."""
        entropy = [self.animal.seed, self.day, seed]
        return np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=stream))


def make_session(animal: VirtualAnimal, day: int) -> Session:
    """See `VirtualAnimal.session`."""
    if day < 1:
        raise ValueError(f"day is {day}: days count from 1")
    n_cells, params = animal.params.n_cells, animal.params
    cells, positions, drift = np.arange(n_cells), animal.positions, np.ones(n_cells)
    if day > 1:
        rng = np.random.default_rng([animal.seed, day])
        n_found = n_cells - round(params.missing_fraction * n_cells)
        cells = rng.permutation(n_cells)[:n_found]
        positions = positions[cells] + rng.normal(0, params.position_jitter_um, (n_found, 3))
        drift = _log_normal(rng.standard_normal(n_found), params.drift_cv)
    unit_ids = np.arange(1, len(cells) + 1, dtype=np.int32)
    return Session(animal, day, unit_ids, cells, positions, drift)


def _enlargement(shape: tuple[int, ...], height: int, width: int) -> int:
    """By how much images on the screen are larger than what the eye resolves."""
    factor = shape[1] // height if len(shape) == 3 else 0
    if factor < 1 or tuple(shape[1:]) != (factor * height, factor * width):
        raise ValueError(
            f"images of shape {tuple(shape)}: this animal sees (n, {height}, {width}), "
            f"or k times as many pixels both ways, (n, {height} k, {width} k) with k = 2, 3, ..."
        )
    return factor


def first_day(
    design: SessionDesign, height: int, width: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Natural images, and the order in which a first recording shows them.

    Parameters
    ----------
    design
        How many images, and how often.
    height, width
        Image size, pixels.
    seed
        Non-negative.

    Returns
    -------
    images : uint8 (design.n_images, height, width)
        First the training images, then validation, then test; all distinct.
    presentation : int64 (design.n_trials,)
        Image index per trial, shuffled; training and validation images once, test images `repeats`
        times.
    """
    images = natural_images(design.n_images, height, width, seed)
    repeats = np.ones(design.n_images, int)
    repeats[design.n_train + design.n_validation :] = design.repeats
    return images, shuffled_presentation(repeats, seed)


def shuffled_presentation(repeats: np.ndarray, seed: int) -> np.ndarray:
    """Random order in which every image comes up as often as asked.

    Parameters
    ----------
    repeats
        int (n_images,), number of presentations of each image, 0 or more.
    seed
        Non-negative.

    Returns
    -------
    int64 (sum of repeats,)
        Image index per trial.
    """
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(repeats)), repeats))


def shared_gain(
    n_trials: int, cv: float, autocorrelation: float, rng: np.random.Generator
) -> np.ndarray:
    """Log-normal gain of each trial, with mean 1 and a first-order autoregressive logarithm.

    Parameters
    ----------
    n_trials
        Number of trials.
    cv
        Standard deviation of the gain, 0 or more.
    autocorrelation
        Of the logarithm between neighbouring trials, 0 to below 1.
    rng
        Source of randomness.

    Returns
    -------
    float64 (n_trials,)
    """
    return _log_normal(_autoregressive(n_trials, autocorrelation, rng), cv)


def _autoregressive(n: int, autocorrelation: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a stationary first-order process of standard normal numbers, float64 (n,)."""
    innovation = rng.standard_normal(n) * np.sqrt(1 - autocorrelation**2)
    innovation[:1] /= np.sqrt(1 - autocorrelation**2)  # start in the stationary distribution
    return lfilter([1.0], [1.0, -autocorrelation], innovation)


def _log_normal(normal: np.ndarray, cv: float) -> np.ndarray:
    """Turn standard normal numbers into log-normal ones with mean 1 and standard deviation cv."""
    log_sd = np.sqrt(np.log1p(cv**2))
    return np.exp(log_sd * normal - log_sd**2 / 2)
