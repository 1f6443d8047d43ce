"""Recordings of foraging animals that a module of tests makes and deletes."""

from itertools import count

import datajoint as dj
import numpy as np

from pipeline.ingest.open_field_arrays import OpenFieldArrays
from pipeline.ingest.scan import Source
from schemas.open_field import Arena, FinishedRateMap, OpenField, Tracking
from schemas.recording import Activity, Scan, VirtualAnimal
from science.digest import array_digest
from science.navigation import Rectangle, Track

BOX = Rectangle(width=1.2, height=0.8)
N_SAMPLES = 500


class Foragers:
    """Recordings that are deleted, and nothing of which is computed: so quickly."""

    animals = count(7000)

    def __init__(self):
        self.first = self.last = next(self.animals)

    def key(self):
        """Return the key of a recording that is not there yet."""
        self.last = next(self.animals)
        return {"animal_id": self.last, "session": 1, "scan_idx": 1}

    def first_of(self, n_animals):
        """Return the first of animals that are not there yet."""
        return min(self.key()["animal_id"] for _ in range(n_animals))

    def delete(self):
        own = f"animal_id BETWEEN {self.first} AND {self.last}"
        arenas = (dj.U("arena") & (OpenField & own)).to_dicts()
        for table in (
            *(Tracking, FinishedRateMap, OpenField.Cell, OpenField, VirtualAnimal),
            *(Activity.Block, Activity, Scan.Unit, Scan),
        ):
            (table & own).delete_quick()
        ((Arena & arenas) - OpenField.proj("arena")).delete_quick()


def tracked(seed, **changes):
    """A session of three cells in `BOX`, one of them silent, with lost samples."""
    rng = np.random.default_rng(seed)
    t = 3.0 + 0.02 * np.arange(N_SAMPLES)
    positions = rng.uniform(*BOX.corners, (N_SAMPLES, 2))
    heading = rng.uniform(-np.pi, np.pi, N_SAMPLES)
    positions[40:50], heading[45:60] = np.nan, np.nan
    given = {
        "arena": "forager box",
        "box": BOX,
        "animal_name": f"rat {seed}",
        "cell_names": ["t1c1", "t1c2", "t3c1"],
        "unit_id": np.array([2, 5, 9]),
        "track": Track(t, positions, heading),
        "spikes": [np.sort(rng.uniform(3, 13, n)) for n in (30, 0, 7)],
    }
    return OpenFieldArrays(**(given | changes))


def mapped(seed, **changes):
    """Finished maps of three cells, with a bin that was not visited."""
    maps = np.random.default_rng(seed).gamma(1.0, 3.0, (4, 6, 3))
    maps[0, 0] = np.nan
    return tracked(seed, **({"track": None, "spikes": None, "maps": maps} | changes))


def source(arrays):
    """Where such a recording comes from."""
    content = [arrays.maps] if arrays.track is None else [arrays.track.positions, *arrays.spikes]
    return Source("test", "1", "made in a test", None, array_digest(*content))
