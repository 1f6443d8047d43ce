"""Natural grey images without a download: crops of free photographs, and dead leaves.

Photographs: the ones in the scikit-image wheel that are free of rights and stored without loss, so
that the same seed gives the same images on every machine (licences as stated in the docstrings of
`skimage.data`):

=========  =============================================  ===========================
name       what                                           licence
=========  =============================================  ===========================
astronaut  Eileen Collins, NASA Great Images              public domain
brick      brick wall, CC0Textures Bricks25               CC0
camera     man with camera, Lav Varshney                  CC0
cat        Chelsea the cat, Stefan van der Walt           CC0
coffee     cup of coffee, Rachel Michetti                 CC0
coins      Greek coins from Pompeii, Brooklyn Museum      no known restrictions
grass      grass, linolafett (DeviantArt)                 CC0
gravel     gravel, CC0Textures Gravel04                   CC0
=========  =============================================  ===========================

Dead leaves (Lee, Mumford & Huang 2001, Int J Comput Vis 41:35) are occluding objects with power-law
sizes; they share the spectrum and the edges of photographs, and there is no end of them.
"""

import numpy as np
import skimage.data
from skimage.color import rgb2gray
from skimage.transform import resize_local_mean

PHOTOGRAPHS = ("astronaut", "brick", "camera", "cat", "coffee", "coins", "grass", "gravel")
ZOOMS = (1.0, 0.7, 0.5, 0.35, 0.25)
PHOTOGRAPH_FRACTION = 0.6  # drawn; some are too flat, so about half of what is kept
MIN_CONTRAST = 20.0  # standard deviation over pixels, grey levels
MIN_SIDE, MAX_SIDE = 8, 256

_N_LEAVES = 150  # about three layers of leaves at these radii
_RADIUS_RANGE = (1 / 12, 1.0)  # of the image height
_LEAF_PIXELS_PER_BLOCK = 2**20


def natural_images(n: int, height: int, width: int, seed: int) -> np.ndarray:
    """Draw distinct grey images, about half photographs and half dead leaves, in random order.

    Parameters
    ----------
    n
        Number of images, at least 0.
    height, width
        Size in pixels, each 8 to 256 (the smallest photograph is 300 pixels high).
    seed
        Non-negative. Same arguments, same images.

    Returns
    -------
    uint8 (n, height, width)
        Grey levels 0 to 255. No two images are identical; the standard deviation over the pixels of
        each is at least `MIN_CONTRAST`.

    Raises
    ------
    ValueError
        If n or a size is out of range.
    """
    if n < 0:
        raise ValueError(f"n is {n}: ask for 0 or more images")
    if not (MIN_SIDE <= height <= MAX_SIDE and MIN_SIDE <= width <= MAX_SIDE):
        raise ValueError(
            f"images of {height} x {width} pixels: each side must be {MIN_SIDE} to {MAX_SIDE}"
        )
    rng = np.random.default_rng(seed)
    photographs = _photographs(height, width)
    images = np.empty((0, height, width), np.uint8)
    while len(images) < n:
        n_more = n - len(images) + 8
        n_crops = rng.binomial(n_more, PHOTOGRAPH_FRACTION)
        drawn = np.concatenate(
            [
                photograph_crops(photographs, n_crops, height, width, rng),
                dead_leaves(n_more - n_crops, height, width, rng),
            ]
        )
        drawn = drawn[drawn.std((1, 2)) >= MIN_CONTRAST]
        images = _distinct(np.concatenate([images, rng.permutation(drawn)]))
    return images[:n]


def photograph_crops(
    photographs: list[np.ndarray], n: int, height: int, width: int, rng: np.random.Generator
) -> np.ndarray:
    """Cut crops at random places out of grey images, mirrored at random.

    Parameters
    ----------
    photographs
        Grey images, uint8, each at least height x width. One is chosen with a probability in
        proportion to the square root of its area, so that small ones are not worn out.
    n, height, width
        Number and size of the crops.
    rng
        Source of randomness.

    Returns
    -------
    uint8 (n, height, width)
    """
    weights = np.sqrt([photograph.size for photograph in photographs])
    source = rng.choice(len(photographs), n, p=weights / weights.sum())
    crops = np.empty((n, height, width), np.uint8)
    for i, photograph in enumerate(photographs):
        chosen = np.flatnonzero(source == i)
        windows = np.lib.stride_tricks.sliding_window_view(photograph, (height, width))
        rows = rng.integers(windows.shape[0], size=len(chosen))
        crops[chosen] = windows[rows, rng.integers(windows.shape[1], size=len(chosen))]
    for axis in (1, 2):
        mirrored = rng.random(n) < 0.5
        crops[mirrored] = np.flip(crops[mirrored], axis)
    return crops


def dead_leaves(n: int, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Paint images of occluding, softly shaded ellipses with power-law sizes.

    Radii have density r**-3 (scale invariance) between height / 12 and height; grey levels are
    uniform between two limits that differ from image to image.

    Parameters
    ----------
    n, height, width
        Number and size of the images.
    rng
        Source of randomness.

    Returns
    -------
    uint8 (n, height, width)
    """
    per_block = max(1, _LEAF_PIXELS_PER_BLOCK // (height * width))
    blocks = [
        _leaf_block(min(per_block, n - start), height, width, rng)
        for start in range(0, n, per_block)
    ]
    return np.concatenate([np.empty((0, height, width), np.uint8), *blocks])


def _leaf_block(n: int, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Paint n images together, one leaf each at a time, the last in front."""
    rows = np.arange(height, dtype=np.float32)[:, None]
    columns = np.arange(width, dtype=np.float32)
    low, high = np.array(_RADIUS_RANGE) * height
    darkest, brightest = _uniform(rng, n, 0, 110), _uniform(rng, n, 145, 255)
    images = np.broadcast_to(_uniform(rng, n, 0, 255), (n, height, width)).copy()
    for _ in range(_N_LEAVES):
        radius = (low**-2 + _uniform(rng, n, 0, 1) * (high**-2 - low**-2)) ** -0.5
        aspect = _uniform(rng, n, 0.4, 1)
        angle = _uniform(rng, n, 0, np.pi)
        dy = rows - _uniform(rng, n, -0.25, 1.25) * height
        dx = columns - _uniform(rng, n, -0.25, 1.25) * width
        along = (dx * np.cos(angle) + dy * np.sin(angle)) / radius
        across = (dy * np.cos(angle) - dx * np.sin(angle)) / (radius * aspect)
        edge_distance = (1 - np.sqrt(along**2 + across**2)) * (radius * aspect)
        cover = np.clip(edge_distance + 0.5, 0, 1)
        level = darkest + _uniform(rng, n, 0, 1) * (brightest - darkest)
        leaf = level + _uniform(rng, n, -40, 40) * along
        images += cover * (leaf - images)
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def _uniform(rng: np.random.Generator, n: int, low: float, high: float) -> np.ndarray:
    """One random number per image, float32 (n, 1, 1)."""
    return rng.uniform(low, high, (n, 1, 1)).astype(np.float32)


def _photographs(height: int, width: int) -> list[np.ndarray]:
    """Every photograph at every zoom that still holds a height x width crop, uint8."""
    scaled = []
    for name in PHOTOGRAPHS:
        photograph = getattr(skimage.data, name)()
        if photograph.ndim == 3:
            photograph = 255 * rgb2gray(photograph)
        for zoom in ZOOMS:
            size = tuple(round(zoom * side) for side in photograph.shape)
            if size[0] >= height and size[1] >= width:
                small = resize_local_mean(photograph, size, preserve_range=True)
                scaled.append(_grey_levels(small))
    return scaled


def _grey_levels(image: np.ndarray) -> np.ndarray:
    """Round to uint8. Ties are exact first: the last bits depend on the machine's BLAS."""
    return np.rint(np.round(image, 6)).astype(np.uint8)


def _distinct(images: np.ndarray) -> np.ndarray:
    """Leave out repetitions; keep the order of first appearance."""
    first = np.unique(images.reshape(len(images), -1), axis=0, return_index=True)[1]
    return images[np.sort(first)]
