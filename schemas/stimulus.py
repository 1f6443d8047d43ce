"""The next experiment's images, and what each of them was made from."""

import datajoint as dj

from schemas.dataset import TargetDataset
from schemas.mei import MEI
from schemas.recording import Image

schema = dj.Schema()


@schema
class StimulusKind(dj.Lookup):
    definition = """
    # What kind of image is shown; also its image class
    stimulus_kind : varchar(24)
    """
    contents = [{"stimulus_kind": kind} for kind in ("mei",)]


@schema
class StimulusSet(dj.Manual):
    definition = """
    # Images to show in the next experiment
    stimulus_set_hash : char(16)
    ---
    -> TargetDataset
    made_at = CURRENT_TIMESTAMP : datetime
    """

    class Item(dj.Part):
        definition = """
        # An image and the unit it was made for
        -> master
        -> Image
        ---
        -> StimulusKind
        -> TargetDataset.Unit
        -> [nullable] MEI.Unit
        """
