"""Navigation: simulated rats, and networks that find their way."""

from science.navigation.autocorrelogram import autocorrelograms
from science.navigation.bins import Bins
from science.navigation.border_score import border_scores
from science.navigation.cues import PUBLISHED_CUES, CueParams, cue_inputs
from science.navigation.grid_score import GridScores, grid_scores
from science.navigation.head_direction import (
    HeadDirectionScores,
    direction_tuning,
    head_direction_scores,
    led_heading,
)
from science.navigation.keras_adam import KerasAdam
from science.navigation.losses import decoding_error, place_loss, position_loss, weight_decay
from science.navigation.motion import RAT, MotionParams, Walk, walk
from science.navigation.motion_statistics import (
    TrackStatistics,
    motion_of_track,
    near_wall,
    track_statistics,
)
from science.navigation.path_integrator import PathIntegrator, PathIntegratorConfig
from science.navigation.place_cells import (
    PlaceCellParams,
    PlaceCells,
    Position,
    PositionParams,
    place_cell_centers,
)
from science.navigation.random_source import RandomSource, random_source
from science.navigation.rate_maps import ModelRateMaps, RateMapParams, RateMaps, rate_maps
from science.navigation.rectangle import Rectangle
from science.navigation.rewards import RewardParams, seek_reward
from science.navigation.shuffles import ShuffleParams, ShuffleTest, shift_spikes, shuffle_test
from science.navigation.spatial_information import sparsity, spatial_information
from science.navigation.task import (
    Batch,
    NavigationTask,
    Trajectories,
    draw_batch,
    trajectories,
)
from science.navigation.track import SpikeTrains, Track
from science.navigation.virtual_rats import VirtualRat, VirtualRatParams

__all__ = [
    "PUBLISHED_CUES",
    "RAT",
    "Batch",
    "Bins",
    "CueParams",
    "GridScores",
    "HeadDirectionScores",
    "KerasAdam",
    "ModelRateMaps",
    "MotionParams",
    "NavigationTask",
    "PathIntegrator",
    "PathIntegratorConfig",
    "PlaceCellParams",
    "PlaceCells",
    "Position",
    "PositionParams",
    "RandomSource",
    "RateMapParams",
    "RateMaps",
    "Rectangle",
    "RewardParams",
    "ShuffleParams",
    "ShuffleTest",
    "SpikeTrains",
    "Track",
    "TrackStatistics",
    "Trajectories",
    "VirtualRat",
    "VirtualRatParams",
    "Walk",
    "autocorrelograms",
    "border_scores",
    "cue_inputs",
    "decoding_error",
    "direction_tuning",
    "draw_batch",
    "grid_scores",
    "head_direction_scores",
    "led_heading",
    "motion_of_track",
    "near_wall",
    "place_cell_centers",
    "place_loss",
    "position_loss",
    "random_source",
    "rate_maps",
    "seek_reward",
    "shift_spikes",
    "shuffle_test",
    "sparsity",
    "spatial_information",
    "track_statistics",
    "trajectories",
    "walk",
    "weight_decay",
]
