"""The freeze experiment: what a change of context does to a population without its feedback.

Two contexts follow each other. Feedback is frozen for as long as the second half of the first
context lasts, from the moment of the change, and then released (naumann22 4 and 5).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from science.feedback.subspaces import (
    PrincipalComponents,
    fitted_plane_normal,
    plane_angle,
    principal_angles,
    principal_components,
)
from science.feedback.unmixing import deviation

Floats = NDArray[np.float64]
PHASES = ("original", "frozen", "unfrozen")


class FreezeTraces(NamedTuple):
    """What is recorded while feedback is frozen; leading axes are repetitions or models.

    Attributes
    ----------
    sources : float, (..., 4 * phase_length, 2)
    outputs : float, (..., 4 * phase_length, 2)
    population : float, (..., 4 * phase_length, n_units)
        Activity z that the outputs are read from.
    """

    sources: NDArray[np.floating]
    outputs: NDArray[np.floating]
    population: NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class FreezeResult:
    """Subspaces and errors before a change of context, with frozen and with released feedback.

    Attributes
    ----------
    normals : ndarray
        float64, (..., 3, 3), of the plane in (y1, y2, PC1), phase by phase as in `PHASES`.
    deviation : ndarray
        float64, (..., 3), mean distance of outputs and sources in each phase.
    principal_frozen, principal_unfrozen : ndarray
        float64, (..., 2), degrees, smallest first, of the two leading dimensions of the population
        and those of the original phase, among all units.
    """

    normals: Floats
    deviation: Floats
    principal_frozen: Floats
    principal_unfrozen: Floats

    @property
    def angle_frozen(self) -> Floats:
        """Angle of the planes when only the context has changed, degrees, (...)."""
        return plane_angle(self.normals[..., 0, :], self.normals[..., 1, :])

    @property
    def angle_unfrozen(self) -> Floats:
        """Angle of the planes when feedback has followed the change, degrees, (...)."""
        return plane_angle(self.normals[..., 0, :], self.normals[..., 2, :])


def freeze_experiment(
    traces: FreezeTraces, components: PrincipalComponents, phase_length: int = 500, skip: int = 0
) -> FreezeResult:
    """Compare the subspaces of the three phases.

    With frozen gains the plane is a linear image of the inputs and does not depend on the context
    (see `image_plane_normal`): expect an angle near 0, not exactly, since the gains ripple in the
    original phase. Released feedback turns the plane; what it restores is the projection onto
    the readout, not the plane.

    Parameters
    ----------
    traces : FreezeTraces
        Two contexts of twice `phase_length` each; feedback frozen in the first half of the second.
    components : PrincipalComponents
        Of the population over many contexts, not only these two. The first one is whitened: its
        scale matters for the angles, its sign does not.
    phase_length : int
        Steps. The first phase is the one in which feedback settles, and is left out.
    skip : int
        Steps left out at the beginning of each phase, in which modulation still settles: 200 in the
        published figures.

    Returns
    -------
    FreezeResult

    Raises
    ------
    ValueError
        If shapes do not fit, or `skip` leaves fewer than three steps.
    """
    arrays = [np.asarray(trace, np.float64) for trace in traces]
    if any(a.ndim < 2 or a.shape[:-1] != arrays[0].shape[:-1] for a in arrays):
        raise ValueError(f"traces differ in more than units: {[a.shape for a in arrays]}")
    if arrays[0].shape[-2] != 4 * phase_length:
        raise ValueError(
            f"two contexts of two phases of {phase_length} steps are {4 * phase_length} steps, got "
            f"{arrays[0].shape[-2]}"
        )
    if not 0 <= skip <= phase_length - 3:
        raise ValueError(f"skip={skip} of {phase_length} steps must leave at least three")
    sources, outputs, population = (_phases(trace, phase_length, skip) for trace in arrays)
    if outputs.shape[-1] != 2:
        raise ValueError(f"the plane is one of two outputs, got {outputs.shape[-1]}")
    whitened = components.whiten(_joined(population)).reshape(*population.shape[:-1], -1)
    points = np.concatenate([outputs, whitened[..., :1]], axis=-1)
    axes = principal_components(population, 2).axes
    return FreezeResult(
        fitted_plane_normal(points),
        deviation(sources, outputs).mean(-1),
        principal_angles(axes[..., 0, :, :], axes[..., 1, :, :]),
        principal_angles(axes[..., 0, :, :], axes[..., 2, :, :]),
    )


def _phases(trace: Floats, length: int, skip: int) -> Floats:
    """Cut out the original, frozen and unfrozen phase, (..., 3, length - skip, n)."""
    return trace.reshape(*trace.shape[:-2], 4, length, -1)[..., 1:, skip:, :]


def _joined(phases: Floats) -> Floats:
    return phases.reshape(*phases.shape[:-3], -1, phases.shape[-1])
