"""Gabor receptive fields, straight and bent, that differ from each other."""

from dataclasses import dataclass, fields

import numpy as np

from science.virtual.params import VirtualAnimalParams

_BLOCK = 256
_MAX_BLOCKS = 40


@dataclass(frozen=True, eq=False)
class Gabors:
    """Gabor functions, one per entry; every field is float64 (n,).

    A Gabor is ``exp(-(u / sigma_u)**2 / 2 - (v / sigma_v)**2 / 2)`` times
    ``cos(2 pi u / wavelength + phase)``, where u runs across the bars and v along them. Undriven
    cells have NaN everywhere.

    Attributes
    ----------
    x, y
        Centre: column and row, pixels, (0, 0) is the centre of the top left pixel.
    direction
        Of the u axis in radians, 0 to pi, from the column axis (to the right) towards the row axis
        (down). 0 means vertical bars.
    wavelength
        Pixels.
    phase
        Radians, 0 to 2 pi.
    sigma_u, sigma_v
        Standard deviations of the envelope across and along the bars, pixels.
    """

    x: np.ndarray
    y: np.ndarray
    direction: np.ndarray
    wavelength: np.ndarray
    phase: np.ndarray
    sigma_u: np.ndarray
    sigma_v: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: np.ndarray) -> "Gabors":
        """Pick Gabors by index; index -1 gives one of NaN (no receptive field)."""
        values = (getattr(self, field.name) for field in fields(self))
        return Gabors(*(np.append(value, np.nan)[index] for value in values))


def gabor_filters(
    gabors: Gabors, height: int, width: int, radius: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Sample Gabors and their quadrature partners.

    The mean is removed with the shape of the envelope, so that filters vanish away from the centre.

    Parameters
    ----------
    gabors
        n Gabors without NaN.
    height, width
        Image size, pixels.
    radius
        (n,), of the circle that the middle bar follows, pixels. Its middle lies behind the centre
        of the Gabor along the u axis; ahead of it if the radius is negative. Straight by default.

    Returns
    -------
    filters, quadrature : float64 (n, height, width)
        At the given phase, and a quarter of a cycle further. Zero mean, unit norm.
    """
    column = {field.name: getattr(gabors, field.name)[:, None, None] for field in fields(gabors)}
    dx = np.arange(width) - column["x"]
    dy = np.arange(height)[:, None] - column["y"]
    cosine, sine = np.cos(column["direction"]), np.sin(column["direction"])
    u, v = dx * cosine + dy * sine, dy * cosine - dx * sine
    if radius is not None:
        u, v = _bent(u, v, radius[:, None, None])
    envelope = np.exp(-((u / column["sigma_u"]) ** 2 + (v / column["sigma_v"]) ** 2) / 2)
    envelope /= envelope.sum((1, 2), keepdims=True)
    angle = 2 * np.pi * u / column["wavelength"] + column["phase"]

    def unit_filter(carrier: np.ndarray) -> np.ndarray:
        waves = envelope * (carrier - (envelope * carrier).sum((1, 2), keepdims=True))
        return waves / np.linalg.norm(waves, axis=(1, 2), keepdims=True)

    return unit_filter(np.cos(angle)), unit_filter(np.cos(angle + np.pi / 2))


def _bent(u: np.ndarray, v: np.ndarray, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances from the circle, outwards along u, and along its arc."""
    side, radius = np.sign(radius), np.abs(radius)
    outward = side * u + radius
    return side * (np.hypot(outward, v) - radius), radius * np.arctan2(v, outward)


def overlap(
    filters_a: tuple[np.ndarray, np.ndarray], filters_b: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Largest cosine between two cells' filters when both phases are free.

    The largest singular value of the 2 x 2 products of two quadrature pairs.

    Parameters
    ----------
    filters_a, filters_b
        Quadrature pairs from `gabor_filters`, n_a and n_b of them.

    Returns
    -------
    float64 (n_a, n_b)
        0 (nothing in common) to about 1 (same but for the phase).
    """
    even_a, odd_a, even_b, odd_b = (f.reshape(len(f), -1) for f in (*filters_a, *filters_b))
    ee, eo, oe, oo = even_a @ even_b.T, even_a @ odd_b.T, odd_a @ even_b.T, odd_a @ odd_b.T
    power = ee**2 + eo**2 + oe**2 + oo**2
    spread = np.sqrt(np.maximum(power**2 - 4 * (ee * oo - eo * oe) ** 2, 0))
    return np.sqrt((power + spread) / 2)


def greedy_subset(conflict: np.ndarray) -> np.ndarray:
    """Find a maximal subset without conflicts, first come first served.

    Parameters
    ----------
    conflict
        bool (n, n), symmetric; the diagonal is ignored.

    Returns
    -------
    int (n_kept,)
        In increasing order.
    """
    free = np.ones(len(conflict), bool)
    for i in range(len(conflict)):
        if free[i]:
            free[i + 1 :] &= ~conflict[i, i + 1 :]
    return np.flatnonzero(free)


def draw_receptive_fields(params: VirtualAnimalParams, rng: np.random.Generator) -> Gabors:
    """Draw `params.n_driven` Gabors, no two of which overlap more than `params.max_overlap`.

    Parameters
    ----------
    params
        Ranges of wavelength and envelope, border, image size.
    rng
        Source of randomness.

    Returns
    -------
    Gabors
        n_driven of them.

    Raises
    ------
    ValueError
        If so many different receptive fields do not fit into the image.
    """
    size = (params.height, params.width)
    kept = _candidates(params, 0, rng)
    for _ in range(_MAX_BLOCKS):
        if len(kept) >= params.n_driven:
            return kept.take(np.arange(params.n_driven))
        pool = _join(kept, _candidates(params, _BLOCK, rng))
        filters = gabor_filters(pool, *size)
        kept = pool.take(greedy_subset(overlap(filters, filters) > params.max_overlap))
    raise ValueError(
        f"only {len(kept)} of {params.n_driven} distinct receptive fields fit into {params.height} "
        f"x {params.width} pixels: ask for fewer cells, larger images or a larger max_overlap"
    )


def _candidates(params: VirtualAnimalParams, n: int, rng: np.random.Generator) -> Gabors:
    wavelength = np.exp(
        rng.uniform(np.log(params.wavelength_low), np.log(params.wavelength_high), n)
    )
    # about one and a half octaves, as in mouse V1 (Niell & Stryker 2008, J Neurosci 28:7520)
    sigma_u = np.clip(wavelength * rng.uniform(0.35, 0.5, n), params.sigma_low, params.sigma_high)
    return Gabors(
        x=rng.uniform(params.border, params.width - 1 - params.border, n),
        y=rng.uniform(params.border, params.height - 1 - params.border, n),
        direction=rng.uniform(0, np.pi, n),
        wavelength=wavelength,
        phase=rng.uniform(0, 2 * np.pi, n),
        sigma_u=sigma_u,
        sigma_v=np.minimum(sigma_u * rng.uniform(1, 1.4, n), params.sigma_high),
    )


def _join(first: Gabors, second: Gabors) -> Gabors:
    names = [field.name for field in fields(Gabors)]
    return Gabors(
        *(np.concatenate([getattr(first, name), getattr(second, name)]) for name in names)
    )
