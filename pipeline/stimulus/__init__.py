"""The next experiment: stimulus sets, their files, and the recordings that showed them."""

from pipeline.stimulus.choice import NoChoice, choose_stimulus, chosen_stimulus
from pipeline.stimulus.files import check_stimulus, export_stimulus, read_stimulus
from pipeline.stimulus.loop import BadLoop, close_loop
from pipeline.stimulus.manifest import BadStimulus, ImageFormat
from pipeline.stimulus.sets import (
    Stimulus,
    StimulusParams,
    insert_stimulus,
    make_stimulus_set,
    prepare_stimulus,
)
from pipeline.stimulus.sources import Kind, NothingToShow

__all__ = [
    "BadLoop",
    "BadStimulus",
    "ImageFormat",
    "Kind",
    "NoChoice",
    "NothingToShow",
    "Stimulus",
    "StimulusParams",
    "check_stimulus",
    "choose_stimulus",
    "chosen_stimulus",
    "close_loop",
    "export_stimulus",
    "insert_stimulus",
    "make_stimulus_set",
    "prepare_stimulus",
    "read_stimulus",
]
