"""Architectures of feedback-modulated networks (naumann22 2 and 6)."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, TypeAdapter

from science.params import NonNegative, Params, Positive


def _at_least_a_step(tau: float) -> float:
    if tau < 1:
        raise ValueError(
            f"a timescale of {tau:g} is below one step: the low-pass would overshoot; use 1 or more"
        )
    return tau


Timescale = Annotated[float, AfterValidator(_at_least_a_step)]
Count = Annotated[int, Field(ge=1)]
Target = Literal["output", "excitation", "inhibition"]


class DirectParams(Params):
    """An LSTM and a linear readout from inputs to sources, without modulation.

    Attributes
    ----------
    n_hidden : int
        Units of the LSTM, here and in all other networks.
    """

    type: Literal["direct"] = "direct"
    n_hidden: Count = 100


class UnmixingParams(Params):
    """The LSTM's readout is the matrix from inputs to outputs.

    Attributes
    ----------
    reads : {"xy", "x", "y"}
        What the LSTM reads, here and in all networks below: inputs, outputs or both.
    """

    type: Literal["unmixing"] = "unmixing"
    n_hidden: Count = 100
    reads: Literal["xy", "x", "y"] = "xy"


class ModulationParams(UnmixingParams):
    """Feedback modulates each of the weights from inputs to outputs.

    Attributes
    ----------
    tau : float
        Timescale of the low-pass of the feedback, here and below, in steps; at least 1.
    additive : bool
        Feedback is added to the fixed weights, which have mean 0; otherwise it multiplies them and
        their mean is 1.
    weight_sd : float
        Standard deviation of the fixed weights.
    """

    type: Literal["modulation"] = "modulation"
    tau: Timescale = 1.0
    additive: bool = False
    weight_sd: NonNegative = 0.001


class SpatialParams(UnmixingParams):
    """Few feedback signals diffuse to the gains of a linear population.

    Attributes
    ----------
    tau : float
        Of the low-pass, which is behind the kernel.
    n_units : int
        Of the population.
    n_feedback : int
        Signals.
    width : float
        Of the kernel; 0: disjoint boxes, from 10: all signals reach all units alike.
    learn_baseline, learn_readout : bool
        Train the weights of the population and those of its readout as well.
    """

    type: Literal["spatial"] = "spatial"
    tau: Timescale = 100.0
    n_units: Count = 100
    n_feedback: Count = 4
    width: NonNegative = 0.2
    learn_baseline: bool = False
    learn_readout: bool = False


class DaleParams(UnmixingParams):
    """Feedback inhibits gains of a rectified population behind excitation and inhibition.

    Attributes
    ----------
    tau : float
        Of the low-pass, which is before the kernel.
    n_units : int
        Of the modulated population.
    n_lower : int
        Of the population below it.
    inhibitory_fraction : float
        Inhibitory units, as a fraction of `n_lower`.
    target : {"output", "excitation", "inhibition"}
        What the gains multiply.
    n_feedback, width
        As of `SpatialParams`.
    learn_input, learn_baseline, learn_readout : bool
        Train the weights to the lower population, the excitatory ones between the populations and
        the readout as well. The inhibitory ones are fixed, as in the original's program.
    """

    type: Literal["dale"] = "dale"
    tau: Timescale = 100.0
    n_units: Count = 100
    n_lower: Count = 40
    inhibitory_fraction: Positive = 0.5
    target: Target = "output"
    n_feedback: Count = 4
    width: NonNegative = 0.2
    learn_input: bool = False
    learn_baseline: bool = False
    learn_readout: bool = False


FeedbackConfig: TypeAlias = Annotated[
    DirectParams | UnmixingParams | ModulationParams | SpatialParams | DaleParams,
    Field(discriminator="type"),
]


def feedback_config(document: Any) -> FeedbackConfig:
    """Return the architecture that a JSON document describes; its `type` says of which kind.

    Raises
    ------
    pydantic.ValidationError
        If the type is unknown, a name is unknown or a value out of range.
    """
    return TypeAdapter(FeedbackConfig).validate_python(document)
