"""A virtual mouse: known cells, and their expected responses to any image."""

import numpy as np
import torch
from scipy.spatial.distance import cdist
from torch.nn import functional

from science.natural_images import natural_images
from science.virtual.cells import CELL_TYPES, make_filters
from science.virtual.params import VOLUME_UM, VirtualAnimalParams
from science.virtual.receptive_fields import draw_receptive_fields, greedy_subset
from science.virtual.session import Session, make_session

MID_GREY = 127.5
AREA_BORDER_UM = 420.0  # V1 at smaller x, LM beyond
LAYER_BORDERS_UM = (310.0, 420.0)  # L2/3 | L4 | L5, depth

_N_CALIBRATION_IMAGES = 512
_CALIBRATION_SEED = 20190331  # fixed: rates shall not depend on which images calibrate them
_PIXELS_PER_BATCH = 2**22


class VirtualAnimal:
    """Driven cells of several kinds and undriven ones, regenerated from parameters and a seed.

    An image in units of contrast, ``x = pixel / 127.5 - 1``, drives a cell by d, which for a simple
    cell is ``w.x / n``; `science.virtual.cells` has the formulas of all kinds. The divisor is
    ``n = sqrt(semi_saturation**2 + normalisation * g.x**2)``, g a Gaussian of sum 1, broader than
    the receptive field (Heeger 1992, Vis Neurosci 9:181). The expected count is
    ``baseline + amplitude * softplus(d / rms)**exponent``, where rms and amplitude are such that
    the mean over natural images is the cell's mean rate.

    The pool is also what gives a cell one best image: without it every pixel would go to black or
    white, with it the image that excites a simple cell most resembles the filter w (cosine above
    0.95 at the defaults). Pixels several pool widths away hardly matter and keep what they were.

    Parameters
    ----------
    params
        What the animal is.
    seed
        Which of these animals it is, non-negative.

    Attributes
    ----------
    params, seed
        As given.
    kind : str (n_cells,)
        A key of `CELL_TYPES`, in random order.
    gabors : Gabors
        What the filters of every cell were made of: its place, its size and, for simple and
        complex cells, its receptive field. NaN for undriven cells.
    filters : float32 (n_cells, height, width)
        First filter of each cell, zero mean and unit norm: the filter of simple, curved and crossed
        cells, the even one of complex and suppressed cells (of its centre), the first of two
        subunits. Zero for undriven cells.
    quadrature : float32 (n_cells, height, width)
        Second filter: the quadrature partner of a Gabor, which simple cells do not use, or the
        second subunit. Zero where there is none.
    mean_rates : float64 (n_cells,)
        Expected spikes a trial, averaged over natural images.
    positions : float64 (n_cells, 3)
        x, y and depth of the cell body, micrometres, at least `min_spacing_um` apart.
    brain_area, layer : str (n_cells,)
        "V1" or "LM" by x; "L2/3", "L4" or "L5" by depth. Borders are round numbers.

    Raises
    ------
    ValueError
        If the cells do not fit into the image or into the cortical volume.

    Examples
    --------
    >>> params = VirtualAnimalParams(n_simple=3, n_complex=2, n_undriven=1)
    >>> VirtualAnimal(params, seed=0).filters.shape
    (6, 24, 40)
    """

    def __init__(self, params: VirtualAnimalParams, seed: int) -> None:
        self.params = params
        self.seed = seed
        kind_rng, field_rng, place_rng, rate_rng, shape_rng = np.random.default_rng(seed).spawn(5)
        kinds, numbers = zip(*params.numbers.items(), strict=True)
        self.kind = kind_rng.permutation(np.repeat(kinds, numbers))
        driven = self.kind != "undriven"
        fields = draw_receptive_fields(params, field_rng)
        self.gabors = fields.take(np.where(driven, np.cumsum(driven) - 1, -1))

        size = (params.height, params.width)
        self._cells = {kind: np.flatnonzero(self.kind == kind) for kind in np.unique(self.kind)}
        self._order = np.argsort(np.concatenate(list(self._cells.values())))
        self._filters = make_filters(self._cells, self.gabors, size, shape_rng)
        self.filters, self.quadrature = self._filters[:2]
        self._weights = [torch.as_tensor(f).double().flatten(1).T for f in self._filters]
        self._pools = self._normalisation_pools()

        self.positions = _draw_positions(params, place_rng)
        self.brain_area = np.where(self.positions[:, 0] < AREA_BORDER_UM, "V1", "LM")
        layers = np.array(["L2/3", "L4", "L5"])
        self.layer = layers[np.searchsorted(LAYER_BORDERS_UM, self.positions[:, 2], side="right")]

        self.mean_rates = rate_rng.uniform(
            params.mean_rate_low, params.mean_rate_high, params.n_cells
        )
        self._baseline = torch.as_tensor(
            self.mean_rates * np.where(driven, params.baseline_fraction, 1)
        )
        self._calibrate()

    def rates(self, images: np.ndarray, gaze: np.ndarray | None = None) -> np.ndarray:
        """Compute expected spike counts in one trial at gain 1.

        Parameters
        ----------
        images
            (n_images, height, width), any real type, grey levels 0 to 255.
        gaze
            (n_images, 2), where the eye looks when it sees each image, as in `retinal_images`;
            straight ahead by default.

        Returns
        -------
        float64 (n_images, n_cells)

        Raises
        ------
        ValueError
            If the images have another size, or there is not one gaze per image.
        """
        images = np.asarray(images)
        self._check_size(images.shape)
        if gaze is not None and np.shape(gaze) != (len(images), 2):
            raise ValueError(
                f"gaze of shape {np.shape(gaze)}: it must be (x, y) per image, ({len(images)}, 2)"
            )
        batch = max(1, _PIXELS_PER_BATCH // (self.params.height * self.params.width))
        blocks = [self._baseline.new_empty(0, self.params.n_cells)]
        with torch.no_grad():
            for start in range(0, len(images), batch):
                seen = images[start : start + batch].astype(float, "C")
                if gaze is not None:
                    seen = retinal_images(seen, gaze[start : start + batch])
                blocks.append(self.rates_tensor(torch.from_numpy(seen)))
        return torch.cat(blocks).numpy()

    def rates_tensor(self, images: torch.Tensor) -> torch.Tensor:
        """Compute `rates` differentiably: gradients lead to the true most exciting images.

        Parameters
        ----------
        images
            (n_images, height, width) on the CPU, grey levels 0 to 255.

        Returns
        -------
        float64 (n_images, n_cells)

        Raises
        ------
        ValueError
            If the images have another size.
        """
        self._check_size(images.shape)
        return self._baseline + self._amplitude * self._rectified(self._drive(images))

    def subunits(self, cell: int) -> dict[str, np.ndarray]:
        """Look up the filters that drive one cell.

        Parameters
        ----------
        cell
            From 0.

        Returns
        -------
        dict of float32 (height, width)
            By the roles they have in its `CellType`; empty for an undriven cell.
        """
        roles = CELL_TYPES[self.kind[cell]].roles
        return dict(zip(roles, self._filters[:, cell], strict=False))

    def session(self, day: int) -> Session:
        """Set up one day of recording from this animal.

        Parameters
        ----------
        day
            From 1. On day 1 all cells are found at their places. Later days miss a few, jitter the
            coordinates, change every cell's rate a little, and number the units in another order.

        Returns
        -------
        Session

        Raises
        ------
        ValueError
            If day is below 1.
        """
        return make_session(self, day)

    def _drive(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised response d of the filters, (n_images, n_cells), without unit."""
        contrast = images.to(torch.float64).flatten(1) / MID_GREY - 1
        responses = [contrast @ weights for weights in self._weights]
        pooled = contrast**2 @ self._pools.T
        divisor = torch.sqrt(self.params.semi_saturation**2 + self.params.normalisation * pooled)
        drives = []
        for kind, cells in self._cells.items():
            cell_type = CELL_TYPES[kind]
            own = [response[:, cells] for response in responses[: len(cell_type.roles)]]
            drives.append(cell_type.drive(divisor[:, cells], *own))
        return torch.cat(drives, 1)[:, self._order]

    def _rectified(self, drive: torch.Tensor) -> torch.Tensor:
        rectified = functional.softplus(drive / self._drive_rms, beta=1 / self.params.softness)
        return rectified**self.params.exponent

    def _calibrate(self) -> None:
        """Set the scale of each cell's drive and response by natural images."""
        size = (self.params.height, self.params.width)
        images = natural_images(_N_CALIBRATION_IMAGES, *size, _CALIBRATION_SEED)
        drive = self._drive(torch.as_tensor(images))
        driven = torch.as_tensor(self.kind != "undriven")
        self._drive_rms = torch.where(driven, drive.square().mean(0).sqrt(), 1)
        evoked = torch.as_tensor(self.mean_rates) - self._baseline
        self._amplitude = evoked / self._rectified(drive).mean(0)

    def _normalisation_pools(self) -> torch.Tensor:
        """Gaussian weights of the contrast pool, float64 (n_cells, height * width), sum 1."""
        place = self.gabors
        sd = self.params.pool_ratio * np.sqrt(place.sigma_u * place.sigma_v)[:, None, None]
        dx = np.arange(self.params.width) - place.x[:, None, None]
        dy = np.arange(self.params.height)[:, None] - place.y[:, None, None]
        weights = np.nan_to_num(np.exp(-(dx**2 + dy**2) / (2 * sd**2)), nan=1.0)
        weights /= weights.sum((1, 2), keepdims=True)
        return torch.as_tensor(weights).flatten(1)

    def _check_size(self, shape: tuple[int, ...]) -> None:
        size = (self.params.height, self.params.width)
        if len(shape) != 3 or tuple(shape[1:]) != size:
            raise ValueError(
                f"images of shape {tuple(shape)}: this animal sees (n, {size[0]}, {size[1]})"
            )


def retinal_images(images: np.ndarray, gaze: np.ndarray) -> np.ndarray:
    """Shift images against the gaze, as a moving eye sees them.

    A receptive field at (column, row) looks at (column + x, row + y) of the image, interpolated
    bilinearly. Beyond its edges is mid-grey.

    Parameters
    ----------
    images
        (n, height, width), grey levels.
    gaze
        (n, 2), x to the right and y down, pixels.

    Returns
    -------
    float64 (n, height, width)
    """
    x_weights, y_weights = (
        _interpolation(length, shift)
        for length, shift in zip(images.shape[:0:-1], np.transpose(gaze), strict=True)
    )
    return MID_GREY + y_weights @ (images - MID_GREY) @ x_weights.swapaxes(1, 2)


def _interpolation(length: int, shift: np.ndarray) -> np.ndarray:
    """Weights (n, to, from) that read a line of pixels at places shifted by `shift` (n,)."""
    pixel = np.arange(length)
    return np.maximum(1 - np.abs(pixel[:, None] + shift[:, None, None] - pixel), 0)


def _draw_positions(params: VirtualAnimalParams, rng: np.random.Generator) -> np.ndarray:
    """Cell bodies in the recorded volume, (n_cells, 3) micrometres."""
    candidates = rng.uniform(*VOLUME_UM.T, (4 * params.n_cells, 3))
    spaced = greedy_subset(cdist(candidates, candidates) < params.min_spacing_um)
    if len(spaced) < params.n_cells:
        raise ValueError(
            f"only {len(spaced)} of {params.n_cells} cells found a place in the volume: "
            f"make min_spacing_um = {params.min_spacing_um} smaller"
        )
    return candidates[spaced[: params.n_cells]]
