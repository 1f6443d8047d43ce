"""Structural stacks of a virtual brain, and the registration of its recordings to them."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from science.virtual.params import VOLUME_UM, VirtualAnimalParams

MIDDLE_UM = VOLUME_UM.mean(axis=1)
LARGEST_OFFSET_UM = 500.0  # of a stack's origin, per axis

_FRAME, _REGISTRATION = 2, 3  # streams of randomness; those of a recording are 0 and 1


def stack_coordinates(
    positions: NDArray[np.float64], params: VirtualAnimalParams, seed: int, day: int, stack: int
) -> NDArray[np.float64]:
    """Carry the measured positions of one day over to the frame of a stack.

    Registration turns the recording a little about the middle of the volume and shifts it; both
    errors are drawn anew for each day and stack. Then follows the frame of the stack, which all
    days share: a rotation about the z axis by any angle, and an offset.

    Parameters
    ----------
    positions : float64, (n_units, 3)
        x, y and depth, um.
    params : VirtualAnimalParams
        Number of stacks and size of the errors.
    seed : int
        Of the animal.
    day : int
        From 1.
    stack : int
        1 to `params.n_stacks`. How many there are changes nothing in any of them.

    Returns
    -------
    float64, (n_units, 3)
        x, y and z in the stack, um.

    Raises
    ------
    ValueError
        If there is no such stack.
    """
    if not 1 <= stack <= params.n_stacks:
        raise ValueError(f"stack is {stack}: this animal has stacks 1 to {params.n_stacks}")
    rng = _generator(_REGISTRATION, seed, day, stack)
    tilt = Rotation.from_rotvec(rng.normal(0, params.registration_rotation_deg, 3), degrees=True)
    shift = rng.normal(0, params.registration_shift_um, 3)

    rng = _generator(_FRAME, seed, stack)
    turn = Rotation.from_euler("z", rng.uniform(-180, 180), degrees=True)
    offset = rng.uniform(-LARGEST_OFFSET_UM, LARGEST_OFFSET_UM, 3)
    return turn.apply(tilt.apply(positions - MIDDLE_UM) + shift) + MIDDLE_UM + offset


def _generator(stream: int, *entropy: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=(stream,)))
