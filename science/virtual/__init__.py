"""The virtual laboratory: a mouse visual cortex of known neurons that answers any image, any day.

It stands in for an animal where a recording must be repeated, extended or checked. Its truth
(filters, kinds, matches across days) is for reports and tests only.
"""

from science.virtual.acquisition import Acquisition
from science.virtual.animal import VirtualAnimal, retinal_images
from science.virtual.cells import CELL_TYPES, CellType
from science.virtual.monitor import VirtualMonitor
from science.virtual.params import AcquisitionParams, SessionDesign, VirtualAnimalParams
from science.virtual.receptive_fields import Gabors
from science.virtual.session import (
    Session,
    Trials,
    first_day,
    shared_gain,
    shuffled_presentation,
)

__all__ = [
    "CELL_TYPES",
    "Acquisition",
    "AcquisitionParams",
    "CellType",
    "Gabors",
    "Session",
    "SessionDesign",
    "Trials",
    "VirtualAnimal",
    "VirtualAnimalParams",
    "VirtualMonitor",
    "first_day",
    "retinal_images",
    "shared_gain",
    "shuffled_presentation",
]
