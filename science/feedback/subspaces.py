"""Geometry of a population: components, dimension, and the angles between subspaces."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """Principal components of activity, largest first.

    Attributes
    ----------
    mean : ndarray
        float64, (..., n_units).
    axes : ndarray
        float64, (..., n_components, n_units), orthonormal; the sign is arbitrary.
    variances : ndarray
        float64, (..., n_units or n_samples, whichever is smaller), of n - 1, also of the components
        that are left out.
    """

    mean: Floats
    axes: Floats
    variances: Floats

    @property
    def shares(self) -> Floats:
        """Fraction of the variance along each component."""
        return self.variances / self.variances.sum(-1, keepdims=True)

    @property
    def participation_ratio(self) -> Floats:
        """Effective number of dimensions, (...), from 1 to the number of units."""
        return self.variances.sum(-1) ** 2 / np.square(self.variances).sum(-1)

    @property
    def whitening(self) -> Floats:
        """Directions onto which the activity has variance 1, (..., n_components, n_units).

        NaN for a component without variance.
        """
        variances = self.variances[..., : self.axes.shape[-2], None]
        return self.axes / np.sqrt(np.where(variances > 0, variances, np.nan))

    def whiten(self, activity: ArrayLike) -> Floats:
        """Project (..., n_samples, n_units) to (..., n_samples, n_components)."""
        centred = np.asarray(activity, np.float64) - self.mean[..., None, :]
        return centred @ np.swapaxes(self.whitening, -1, -2)


def principal_components(activity: ArrayLike, n_components: int = 3) -> PrincipalComponents:
    """Principal components of a population over samples (naumann22 5).

    Parameters
    ----------
    activity : array_like
        float, (..., n_samples, n_units).
    n_components : int
        Axes to keep.

    Returns
    -------
    PrincipalComponents

    Raises
    ------
    ValueError
        If there are fewer units or degrees of freedom than components, or values are not finite.
    """
    activity = np.asarray(activity, np.float64)
    if activity.ndim < 2 or not 0 < n_components <= min(activity.shape[-2] - 1, activity.shape[-1]):
        raise ValueError(
            f"{n_components} components need activity (..., n_samples, n_units) with as many units "
            f"and one sample more, got {activity.shape}"
        )
    if not np.isfinite(activity).all():
        raise ValueError("principal components need finite activity: leave out other samples")
    mean = activity.mean(-2, keepdims=True)
    # R of the centred activity has its variances and axes, and is much smaller.
    upper = np.linalg.qr(activity - mean, mode="r")
    _, scale, axes = np.linalg.svd(upper, full_matrices=False)
    variances = np.square(scale) / (activity.shape[-2] - 1)
    return PrincipalComponents(mean[..., 0, :], axes[..., :n_components, :], variances)


def fitted_plane_normal(points: ArrayLike) -> Floats:
    """Fit a plane ``v3 = a v1 + b v2 + c`` and return its normal (naumann22 5).

    The error is measured along the third axis, as published: to three principal directions of the
    points it would be another plane, if they scatter.

    Parameters
    ----------
    points : array_like
        float, (..., n_points, 3).

    Returns
    -------
    ndarray
        float64, (..., 3), ``(a, b, -1)`` at length 1; NaN where the first two coordinates lie on a
        line, or a point is not finite: then there is no such plane.

    Raises
    ------
    ValueError
        If points are not three-dimensional, or fewer than three.

    Examples
    --------
    Points of the plane ``v3 = v1``:

    >>> fitted_plane_normal([[0, 0, 0], [1, 0, 1], [0, 1, 0], [1, 1, 1]]).round(3)
    array([ 0.707,  0.   , -0.707])
    """
    points = np.asarray(points, np.float64)
    if points.ndim < 2 or points.shape[-1] != 3 or points.shape[-2] < 3:
        raise ValueError(f"a plane needs at least three points (..., n, 3), got {points.shape}")
    known = np.isfinite(points).all((-2, -1))
    centred = np.where(known[..., None, None], points - points.mean(-2, keepdims=True), 0.0)
    base, height = centred[..., :2], centred[..., 2:]
    left, scale, right = np.linalg.svd(base, full_matrices=False)
    spanned = scale[..., 1] > np.finfo(np.float64).eps * points.shape[-2] * scale[..., 0]
    scale = np.where(spanned[..., None], scale, np.nan)[..., None]
    slopes = np.swapaxes(right, -1, -2) @ (np.swapaxes(left, -1, -2) @ height / scale)
    normal = np.concatenate([slopes[..., 0], np.full_like(slopes[..., :1, 0], -1.0)], -1)
    return normal / np.linalg.norm(normal, axis=-1, keepdims=True)


def image_plane_normal(linear_map: ArrayLike) -> Floats:
    """Return the normal of the plane onto which a linear map takes its two inputs.

    With the gains m of a linear population held still, outputs and first component are a linear
    image of the inputs, ``[Wro; pc1] diag(m) W0 x`` (naumann22 5), whatever the context that mixed
    them. So this is the plane that `fitted_plane_normal` finds in the traces: give
    ``effective_weights([Wro; pc1], m, W0)``, with pc1 from `PrincipalComponents.whitening`. A
    rectified population has no such plane.

    Parameters
    ----------
    linear_map : array_like
        float, (..., 3, 2).

    Returns
    -------
    ndarray
        float64, (..., 3), of either sign; NaN where the image is a line or a point.

    Raises
    ------
    ValueError
        If the map is not one from two to three dimensions.
    """
    linear_map = np.asarray(linear_map, np.float64)
    if linear_map.shape[-2:] != (3, 2):
        raise ValueError(f"a plane in space is the image of (..., 3, 2), got {linear_map.shape}")
    normal = np.cross(linear_map[..., 0], linear_map[..., 1])
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    sides = np.linalg.norm(linear_map, axis=-2).prod(-1)[..., None]
    return normal / np.where(length > 4 * np.finfo(np.float64).eps * sides, length, np.nan)


def plane_angle(normal: ArrayLike, other: ArrayLike) -> Floats:
    """Angle between two planes from their normals.

    Exact also for planes that hardly differ, where the published arc cosine rounds to NaN, which
    the original takes for 0; here NaN says that there is no plane.

    Parameters
    ----------
    normal, other : array_like
        float, (..., 3), of any length and sign.

    Returns
    -------
    ndarray
        float64, (...), degrees, in [0, 90].

    Examples
    --------
    >>> plane_angle([[0, 0, 1], [0, 0, 1]], [[0, 1, 1], [0, 0, -2]])
    array([45.,  0.])
    """
    normal, other = np.asarray(normal, np.float64), np.asarray(other, np.float64)
    across = np.linalg.norm(np.cross(normal, other), axis=-1)
    return np.degrees(np.arctan2(across, np.abs((normal * other).sum(-1))))


def principal_angles(axes: ArrayLike, other: ArrayLike) -> Floats:
    """Principal angles between two subspaces.

    Parameters
    ----------
    axes, other : array_like
        float, (..., n_dimensions, n_units), bases of the subspaces, for instance
        `PrincipalComponents.axes`; need not be orthonormal.

    Returns
    -------
    ndarray
        float64, (..., n_dimensions), degrees, in [0, 90], smallest first; exact at both ends, as
        by Björck and Golub (1973): sines for small angles, cosines for large ones.

    Raises
    ------
    ValueError
        If the bases differ in size, or have more rows than units.
    """
    axes, other = np.asarray(axes, np.float64), np.asarray(other, np.float64)
    if axes.shape[-2:] != other.shape[-2:] or axes.shape[-2] > axes.shape[-1]:
        raise ValueError(
            "two bases (..., n_dimensions, n_units) of the same size are compared, got "
            f"{axes.shape} and {other.shape}"
        )
    first, _ = np.linalg.qr(np.swapaxes(axes, -1, -2))
    second, _ = np.linalg.qr(np.swapaxes(other, -1, -2))
    products = np.swapaxes(first, -1, -2) @ second
    cosines = np.linalg.svd(products, compute_uv=False)
    sines = np.linalg.svd(second - first @ products, compute_uv=False)[..., ::-1]
    return np.degrees(np.arctan2(sines, cosines))
