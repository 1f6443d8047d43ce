"""Recordings of virtual rats, through the same door as real ones."""

import numpy as np
from pydantic import Field

from pipeline.ingest.open_field import insert_open_field
from pipeline.ingest.open_field_arrays import OpenFieldArrays
from pipeline.ingest.rows import BadRecording
from pipeline.ingest.scan import Source
from schemas.configuration import configuration_hash
from schemas.recording import Scan
from science.digest import array_digest
from science.navigation import RAT, Track, VirtualRat, VirtualRatParams, walk
from science.params import Params

READER = "virtual rat"
READER_VERSION = "1"


class VirtualForaging(Params):
    """A session of a virtual rat; together with a seed it determines all that is recorded."""

    rat: VirtualRatParams = VirtualRatParams()
    minutes: float = Field(10.0, gt=0, le=24 * 60)
    lost_fraction: float = Field(0.01, ge=0, lt=1, description="of the samples of the track")


def ingest_virtual_rat(
    key: dict[str, int],
    seed: int,
    minutes: float = 10.0,
    params: VirtualRatParams | None = None,
    lost_fraction: float = 0.01,
) -> bool:
    """Record a virtual rat that forages in its arena; False when it is already there.

    Parameters
    ----------
    key : dict
        animal_id, session, scan_idx.
    seed : int
        Of the cells, the walk, the spikes and the lost samples; not negative.
    minutes : float
        Duration of the session.
    params : VirtualRatParams, optional
        The arena and the cells; their units are numbered from 1 in the order of the rat.
    lost_fraction : float
        Part of the samples whose position and heading the camera loses, in [0, 1).

    Raises
    ------
    BadRecording
        If the rat cannot walk in its arena, or another recording has this key.
    pydantic.ValidationError
        If minutes or the lost fraction are out of range.
    """
    session = VirtualForaging(
        rat=params or VirtualRatParams(), minutes=minutes, lost_fraction=lost_fraction
    )
    arrays = _record(session, seed, f"virtual rat {key['animal_id']}")
    document = session.model_dump(mode="json")
    name = f"virtual rat {configuration_hash('VirtualRat', document)}, seed {seed}"
    recorded = (arrays.track.positions, arrays.track.heading, *arrays.spikes)
    source = Source(READER, READER_VERSION, name, None, array_digest(*recorded))
    virtual = {"virtual_seed": seed, "virtual_day": 1, "virtual_params": document}
    return insert_open_field({a: key[a] for a in Scan.primary_key}, arrays, source, virtual)


def _record(session: VirtualForaging, seed: int, name: str) -> OpenFieldArrays:
    """Let the rat walk and its cells fire; what the camera loses is lost afterwards."""
    arena = session.rat.arena
    rat = VirtualRat.of(session.rat, seed)
    # not the numbers from which the cells were drawn
    walking, firing = np.random.SeedSequence(seed).spawn(2)
    rng = np.random.default_rng(walking)
    n = max(round(session.minutes * 60 / RAT.dt), 2)
    try:
        path = walk(arena, RAT, 1, n, rng)
    except ValueError as error:
        raise BadRecording(f"there is no such virtual rat: {error}") from error
    positions, heading = path.positions[0, :n], np.arctan2(*path.velocities[0].T[::-1])
    track = Track(RAT.dt * np.arange(n), np.clip(positions, *arena.corners), heading)
    spikes = rat.record(track, int(firing.generate_state(1)[0]))
    lost = rng.random(n) < session.lost_fraction
    seen = Track(
        track.t,
        np.where(lost[:, None], np.nan, track.positions),
        np.where(lost, np.nan, track.heading),
    )
    return OpenFieldArrays(
        arena=f"virtual {arena.width:.4g} x {arena.height:.4g}",
        box=arena,
        animal_name=name,
        cell_names=[f"cell {n}" for n in range(1, len(rat.kinds) + 1)],
        unit_id=np.arange(1, len(rat.kinds) + 1),
        track=seen,
        spikes=spikes,
    )
