"""Parameters of a virtual mouse, of the images it is shown and of the rig that records it."""

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from science.params import Params

VOLUME_UM = np.array([[0.0, 600.0], [0.0, 400.0], [120.0, 520.0]])  # x, y, depth below the pia


class VirtualAnimalParams(Params):
    """What a virtual mouse is; together with a seed it determines every cell.

    The defaults suit 24 x 40 images. Lengths of receptive fields are in pixels, cortical ones in
    micrometres.
    """

    height: int = Field(24, ge=16, le=256, description="image height, pixels")
    width: int = Field(40, ge=16, le=256, description="image width, pixels")
    n_simple: int = Field(32, ge=0, le=2000, description="phase-sensitive cells")
    n_complex: int = Field(32, ge=0, le=2000, description="phase-invariant cells (energy model)")
    n_curved: int = Field(0, ge=0, le=2000, description="phase-sensitive cells, bars along an arc")
    n_crossed: int = Field(0, ge=0, le=2000, description="phase-sensitive cells, bars that cross")
    n_suppressed: int = Field(
        0, ge=0, le=2000, description="phase-invariant cells, suppressed by their own orientation"
    )
    n_two_subunits: int = Field(
        0, ge=0, le=2000, description="cells of two displaced, rectified Gabors"
    )
    n_undriven: int = Field(8, ge=0, le=2000, description="cells that ignore the image")

    wavelength_low: float = Field(5.0, ge=4, le=100, description="shortest wavelength, pixels")
    wavelength_high: float = Field(10.0, ge=4, le=100, description="longest wavelength, pixels")
    sigma_low: float = Field(2.0, ge=1, le=50, description="smallest envelope sd, pixels")
    sigma_high: float = Field(3.5, ge=1, le=50, description="largest envelope sd, pixels")
    border: float = Field(6.0, ge=0, description="least distance of a centre from the edge, pixels")
    max_overlap: float = Field(
        0.7, gt=0, lt=1, description="largest cosine of two cells' filters at their best phases"
    )

    mean_rate_low: float = Field(1.0, gt=0, le=100, description="spikes a trial, least driven cell")
    mean_rate_high: float = Field(3.0, gt=0, le=100, description="spikes a trial, most driven cell")
    baseline_fraction: float = Field(0.1, ge=0, lt=1, description="of the mean, without any drive")
    softness: float = Field(0.2, gt=0, le=1, description="of the rectification, unit: rms drive")
    exponent: float = Field(1.2, ge=1, le=3, description="of the rectified drive")
    normalisation: float = Field(1.0, ge=0, le=10, description="weight of the contrast pool")
    semi_saturation: float = Field(
        0.1, gt=0, le=1, description="rms contrast, onset of gain control"
    )
    pool_ratio: float = Field(2.5, ge=1, le=10, description="pool sd / receptive field sd")

    gain_cv: float = Field(
        0.2, ge=0, le=1, description="of the gain that all cells share in a trial"
    )
    gain_autocorrelation: float = Field(0.5, ge=0, lt=1, description="from one trial to the next")
    eye_movement_px: float = Field(
        0.0, ge=0, le=20, description="sd of the gaze over trials, per axis, image pixels"
    )

    min_spacing_um: float = Field(15.0, ge=0, le=50, description="between cell bodies")
    position_jitter_um: float = Field(2.0, ge=0, le=50, description="per axis, on later days")
    missing_fraction: float = Field(0.05, ge=0, lt=1, description="cells not found on a later day")
    drift_cv: float = Field(0.2, ge=0, le=1, description="of each cell's rate on later days")

    n_stacks: int = Field(3, ge=1, le=20, description="structural stacks of the volume")
    registration_shift_um: float = Field(
        1.0, ge=0, le=100, description="sd per axis, error of one recording in one stack"
    )
    registration_rotation_deg: float = Field(
        0.2, ge=0, le=10, description="sd per axis, error about the middle of the volume"
    )

    monitor_amplitude: float = Field(32.0, gt=0, le=1000, description="white above black, cd/m2")
    monitor_gamma: float = Field(1.7, ge=0.2, le=10, description="of the monitor on day 1")
    later_monitor_gamma: float | None = Field(
        None, ge=0.2, le=10, description="on later days; None: as on day 1"
    )
    monitor_offset: float = Field(0.1, ge=0, le=100, description="luminance of black, cd/m2")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("wavelength", "sigma", "mean_rate"):
            low, high = getattr(self, f"{name}_low"), getattr(self, f"{name}_high")
            if low > high:
                raise ValueError(f"{name}_low = {low} is above {name}_high = {high}: swap them")
        if self.n_cells == 0:
            raise ValueError("an animal without cells: make n_simple, n_complex or n_undriven > 0")
        if 2 * self.border >= min(self.height, self.width) - 1:
            raise ValueError(
                f"border = {self.border} leaves no room for receptive fields in "
                f"{self.height} x {self.width} pixels: make it smaller"
            )
        return self

    @property
    def numbers(self) -> dict[str, int]:
        """Number of cells of each kind."""
        return {
            "simple": self.n_simple,
            "complex": self.n_complex,
            "curved": self.n_curved,
            "crossed": self.n_crossed,
            "suppressed": self.n_suppressed,
            "two_subunits": self.n_two_subunits,
            "undriven": self.n_undriven,
        }

    @property
    def n_driven(self) -> int:
        """Number of cells with a receptive field."""
        return self.n_cells - self.n_undriven

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return sum(self.numbers.values())


class SessionDesign(Params):
    """How many images a first recording shows, and how often."""

    n_train: int = Field(1000, ge=1, description="images shown once, to fit models")
    n_validation: int = Field(100, ge=0, description="images shown once, to stop and choose")
    n_test: int = Field(50, ge=0, description="images shown `repeats` times each")
    repeats: int = Field(10, ge=2, description="presentations of each test image")

    @property
    def n_images(self) -> int:
        """Number of distinct images."""
        return self.n_train + self.n_validation + self.n_test

    @property
    def n_trials(self) -> int:
        """Number of presentations."""
        return self.n_train + self.n_validation + self.n_test * self.repeats


class AcquisitionParams(Params):
    """How a rig records a session: when images come up, what is imaged, which clocks run.

    Times are in seconds. `missing_*` and `blink_fraction` are fractions of the samples that are
    lost, exactly so but for rounding.
    """

    presentation_time: float = Field(0.5, gt=0, le=10, description="an image is on the screen, s")
    blank_low: float = Field(0.3, gt=0, le=10, description="shortest grey screen before it, s")
    blank_high: float = Field(0.5, gt=0, le=10, description="longest, s")
    lead: float = Field(2.0, ge=1, le=60, description="recorded before and after all trials, s")
    n_malformed: int = Field(1, ge=0, description="trials that lost a flip; trial 0 comes first")

    latency: float = Field(0.05, ge=0, le=0.5, description="from an image to its first spike, s")
    spontaneous_rate: float = Field(
        0.2, ge=0, le=10, description="spikes/s of every unit while no image drives it"
    )

    frame_rate: float = Field(8.0, ge=1, le=100, description="volumes imaged a second")
    n_depths: int = Field(4, ge=1, le=50, description="planes of a volume, one after the other")
    missing_frames: float = Field(0.001, ge=0, le=0.5, description="of each plane")

    clock_offset: float = Field(300.0, description="behaviour clock at stimulus time 0, s")
    clock_drift: float = Field(2e-5, ge=-0.01, le=0.01, description="of the behaviour clock, s/s")
    pupil_rate: float = Field(20.0, ge=2, le=500, description="video frames of the eye a second")
    pupil_noise_px: float = Field(0.2, ge=0, le=20, description="sd of radius, x and y, video px")
    blink_fraction: float = Field(0.03, ge=0, le=0.5, description="of the video frames")
    treadmill_rate: float = Field(50.0, ge=2, le=1000, description="readings a second")
    missing_treadmill: float = Field(0.002, ge=0, le=0.5, description="of the readings")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.blank_low > self.blank_high:
            raise ValueError(
                f"blank_low = {self.blank_low} is above blank_high = {self.blank_high}: swap them"
            )
        return self
