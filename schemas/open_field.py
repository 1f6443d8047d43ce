"""Animals foraging in an arena: where they were, and finished rate maps. Filled by ingest.

Their cells are units of a `Scan`, their spikes its `Activity`, as of every other recording.
"""

import datajoint as dj
import numpy as np

from schemas.recording import Scan
from science.navigation import Rectangle

schema = dj.Schema()


@schema
class Arena(dj.Manual):
    definition = """
    # A box; recordings in the same one are compared bin by bin
    arena : varchar(24)
    ---
    arena_min_x : float64               # m
    arena_max_x : float64               # m
    arena_min_y : float64               # m
    arena_max_y : float64               # m
    """

    @classmethod
    def register(cls, name: str, box: Rectangle) -> dict[str, str]:
        """Insert an arena unless it is there, and return its key.

        Parameters
        ----------
        name : str
            At most 24 characters.
        box : Rectangle
            Metres.

        Raises
        ------
        ValueError
            If an arena of this name has other walls.
        """
        key = {"arena": name}
        cls.insert1(key | {f"arena_{side}": value for side, value in box}, skip_duplicates=True)
        known = cls.box(key)
        if not np.allclose(known.corners, box.corners, rtol=0, atol=1e-6):
            raise ValueError(
                f"the arena '{name}' is there with other walls, {known}, not {box}: give this one "
                "another name"
            )
        return key

    @classmethod
    def box(cls, key: dict[str, str]) -> Rectangle:
        """Return the walls of one arena, metres."""
        row = (cls & key).fetch1()
        return Rectangle(**{side: row[f"arena_{side}"] for side in Rectangle.model_fields})


@schema
class OpenField(dj.Manual):
    definition = """
    # A recording of an animal that forages in an arena
    -> Scan
    ---
    -> Arena
    animal_name : varchar(64)           # in its source
    """

    class Cell(dj.Part):
        definition = """
        # Name of a unit in its source
        -> master
        -> Scan.Unit
        ---
        cell_name : varchar(64)
        """


@schema
class Tracking(dj.Manual):
    definition = """
    # Where the animal was; its spikes are the recording's Activity, on the same clock
    -> OpenField
    ---
    has_heading : bool
    tracking : <npy@>                   # float64, (n, 4): t (s), x, y (m), heading (rad); NaN: lost
    tracking_digest : char(64)
    """


@schema
class FinishedRateMap(dj.Manual):
    definition = """
    # Rate maps that were made elsewhere, of cells whose spikes are not known
    -> OpenField
    ---
    finished_maps : <npy@>              # float64, (nx, ny, n_cells), by unit_id; NaN: not visited
    finished_maps_digest : char(64)
    """
