"""The next experiment's images, what each of them was made from, and which are to be shown."""

from typing import Any, Literal, get_args

import datajoint as dj

from schemas.comparison import BestNaturalImage
from schemas.configuration import Configuration
from schemas.dataset import TargetDataset
from schemas.gabor import BestGabor
from schemas.mei import MEI, MEIMask
from schemas.recording import Image, MonitorCalibration
from science.shown_images import DisplayParams

schema = dj.Schema()

Kind = Literal["mei", "linear_mei", "gabor", "natural", "masked_mei", "masked_natural"]


@schema
class StimulusKind(dj.Lookup):
    definition = """
    # What kind of image is shown; also its image class
    stimulus_kind : varchar(24)
    """
    contents = [{"stimulus_kind": kind} for kind in get_args(Kind)]


@schema
class DisplayRule(Configuration, dj.Manual):
    definition = """
    # At which size, mean and contrast images are shown
    display_hash : char(16)
    ---
    display_unit : enum('luminance', 'grey')    # cd/m2 or grey values
    display_mean : float64
    display_contrast : float64                  # pixel SD
    display_params : json
    """
    params_type = DisplayParams
    params_column = "display_params"

    @classmethod
    def columns(cls, params: DisplayParams) -> dict[str, Any]:
        return {
            "display_unit": params.unit,
            "display_mean": params.mean,
            "display_contrast": params.contrast,
        }


# The monitor that shows the images, and that on which the recorded images were seen; null: their
# grey values are what is equal.
@schema
class StimulusSet(dj.Manual):
    definition = """
    # Images to show in the next experiment
    stimulus_set_hash : char(16)
    ---
    -> TargetDataset
    -> DisplayRule
    -> [nullable] MonitorCalibration
    -> [nullable] MonitorCalibration.proj(source_rig='rig', source_calibrated_at='calibrated_at')
    made_at = CURRENT_TIMESTAMP : datetime
    """

    class Item(dj.Part):
        definition = """
        # An image and the unit it was made for
        -> master
        item : int32
        ---
        -> Image
        -> StimulusKind
        -> TargetDataset.Unit
        x_shift : int16                     # to the right, pixels of the model's images
        y_shift : int16                     # down
        shown_mean : float64                # in the unit of the display rule
        shown_contrast : float64            # pixel SD
        display_reached : bool              # mean and contrast are as asked for, to one percent
        shown_activation = null : float64   # of the ensemble to the image as it is shown
        """

    # What an item was made from is a part of its own for each kind of source: with several
    # references in one part, a deletion would follow the first that it finds to the master.
    class FromMEI(dj.Part):
        """An item that is a unit's MEI."""

        definition = """
        -> StimulusSet.Item
        ---
        -> MEI.Unit
        """

    class FromMask(dj.Part):
        """An item that is a unit's MEI under its mask."""

        definition = """
        -> StimulusSet.Item
        ---
        -> MEIMask.Unit
        """

    class FromGabor(dj.Part):
        """An item that is a unit's best Gabor."""

        definition = """
        -> StimulusSet.Item
        ---
        -> BestGabor.Unit
        """

    class FromNaturalImage(dj.Part):
        """An item that is a unit's best natural image."""

        definition = """
        -> StimulusSet.Item
        ---
        -> BestNaturalImage.Unit
        """


MADE_FROM: dict[Kind, tuple[type[dj.Part], type[dj.Part]]] = {
    "mei": (StimulusSet.FromMEI, MEI.Unit),
    "linear_mei": (StimulusSet.FromMEI, MEI.Unit),
    "gabor": (StimulusSet.FromGabor, BestGabor.Unit),
    "natural": (StimulusSet.FromNaturalImage, BestNaturalImage.Unit),
    "masked_mei": (StimulusSet.FromMask, MEIMask.Unit),
    "masked_natural": (StimulusSet.FromNaturalImage, BestNaturalImage.Unit),
}
"""The part that says what an item of a kind was made from, and the table of that."""


@schema
class TargetStaticGroup(dj.Manual):
    definition = """
    # Which stimulus set the presentation software shows next: the newest row counts
    target_choice : int32
    ---
    -> StimulusSet
    chosen_at = CURRENT_TIMESTAMP : datetime
    choice_note = '' : varchar(255)
    """
