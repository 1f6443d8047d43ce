"""The virtual laboratory: a mouse visual cortex of known neurons that answers any image, any day.

It stands in for an animal where a recording must be repeated, extended or checked. Its truth
(filters, kinds, matches across days) is for reports and tests only.
"""

from science.virtual.animal import VirtualAnimal
from science.virtual.params import SessionDesign, VirtualAnimalParams
from science.virtual.receptive_fields import Gabors
from science.virtual.session import Session, first_day, shared_gain, shuffled_presentation

__all__ = [
    "Gabors",
    "Session",
    "SessionDesign",
    "VirtualAnimal",
    "VirtualAnimalParams",
    "first_day",
    "shared_gain",
    "shuffled_presentation",
]
