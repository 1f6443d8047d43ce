"""Feedback modulation: networks that recover sources from mixtures in changing contexts."""

from science.feedback.clarity import SignalClarity, signal_clarity
from science.feedback.config import (
    DaleParams,
    DirectParams,
    FeedbackConfig,
    ModulationParams,
    SpatialParams,
    UnmixingParams,
    feedback_config,
)
from science.feedback.context_decoding import (
    ContextDecoding,
    ContextDecodingParams,
    decode_context,
    mean_activity,
)
from science.feedback.context_grid_tests import (
    ContextGridParams,
    Decoder,
    check_grid,
    context_grid_test,
)
from science.feedback.context_space import context_distance, context_grid, same_side
from science.feedback.context_tests import (
    ContextTest,
    ContextTestParams,
    PopulationTest,
    check_test,
    context_test,
    means,
)
from science.feedback.contexts import ContextParams, contexts, inverses
from science.feedback.control_tests import ControlParams, ControlTest, control_test
from science.feedback.controls import (
    FeedforwardControl,
    FeedforwardParams,
    Mixtures,
    feedforward_control,
    linear_control,
)
from science.feedback.decoding import SourceDecoding, decode_sources
from science.feedback.dependence import Dependence, dependence
from science.feedback.freeze_tests import (
    FreezeParams,
    FreezeTest,
    check_freezing,
    freeze_test,
)
from science.feedback.freezing import FreezeResult, FreezeTraces, freeze_experiment
from science.feedback.kernels import kernel_width, modulation_kernel
from science.feedback.linear_map import LinearMap, fit_linear_map, r_squared
from science.feedback.network import FeedbackNetwork, Rollout, State, rollout_together
from science.feedback.networks import (
    DaleRateNet,
    DirectDemixNet,
    ModulationNet,
    SpatialNet,
    UnmixingModel,
    feedback_network,
)
from science.feedback.sources import ChordParams, SineParams, WaveParams, sources
from science.feedback.subspaces import (
    PrincipalComponents,
    fitted_plane_normal,
    image_plane_normal,
    plane_angle,
    principal_angles,
    principal_components,
)
from science.feedback.task import Batch, FeedbackTask, draw_batch, draw_segment, mix, segment
from science.feedback.testing import Conditions, ContextTraces, run_contexts
from science.feedback.training import FeedbackTrainee, FeedbackTraining, source_loss
from science.feedback.unmixing import deviation, effective_weights, inverse_distance
from science.feedback.weights import from_published, pack, unpack

__all__ = [
    "Batch",
    "ChordParams",
    "Conditions",
    "ContextDecoding",
    "ContextDecodingParams",
    "ContextGridParams",
    "ContextParams",
    "ContextTest",
    "ContextTestParams",
    "ContextTraces",
    "ControlParams",
    "ControlTest",
    "DaleParams",
    "DaleRateNet",
    "Decoder",
    "Dependence",
    "DirectDemixNet",
    "DirectParams",
    "FeedbackConfig",
    "FeedbackNetwork",
    "FeedbackTask",
    "FeedbackTrainee",
    "FeedbackTraining",
    "FeedforwardControl",
    "FeedforwardParams",
    "FreezeParams",
    "FreezeResult",
    "FreezeTest",
    "FreezeTraces",
    "LinearMap",
    "Mixtures",
    "ModulationNet",
    "ModulationParams",
    "PopulationTest",
    "PrincipalComponents",
    "Rollout",
    "SignalClarity",
    "SineParams",
    "SourceDecoding",
    "SpatialNet",
    "SpatialParams",
    "State",
    "UnmixingModel",
    "UnmixingParams",
    "WaveParams",
    "check_freezing",
    "check_grid",
    "check_test",
    "context_distance",
    "context_grid",
    "context_grid_test",
    "context_test",
    "contexts",
    "control_test",
    "decode_context",
    "decode_sources",
    "dependence",
    "deviation",
    "draw_batch",
    "draw_segment",
    "effective_weights",
    "feedback_config",
    "feedback_network",
    "feedforward_control",
    "fit_linear_map",
    "fitted_plane_normal",
    "freeze_experiment",
    "freeze_test",
    "from_published",
    "image_plane_normal",
    "inverse_distance",
    "inverses",
    "kernel_width",
    "linear_control",
    "mean_activity",
    "means",
    "mix",
    "modulation_kernel",
    "pack",
    "plane_angle",
    "principal_angles",
    "principal_components",
    "r_squared",
    "rollout_together",
    "run_contexts",
    "same_side",
    "segment",
    "signal_clarity",
    "source_loss",
    "sources",
    "unpack",
]
