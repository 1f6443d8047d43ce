"""Feedback-modulated networks in new contexts, with frozen feedback, and against controls.

All of it is computed on the CPU: steps of so small networks are shorter than the start of a kernel.
"""

from typing import Any

import datajoint as dj

from schemas.code_version import code_version
from schemas.configuration import Configuration
from schemas.dataset import TaskConfig, TrainingSet
from schemas.feedback_rows import (
    clarity_rows,
    context_rows,
    context_test_row,
    control_row,
    decoding_rows,
    freeze_row,
    pair_rows,
    population_rows,
)
from schemas.model import TrainedModel, TrainingPlan, load_feedback_network
from schemas.model_config import ModelConfig, SeedSet
from schemas.operations import CodeVersion
from schemas.rows import nullable
from science.feedback import (
    ContextGridParams,
    ContextTestParams,
    ControlParams,
    ControlTest,
    Decoder,
    FeedbackConfig,
    FeedbackTask,
    FreezeParams,
    FreezeTest,
    check_freezing,
    check_grid,
    check_test,
    context_grid_test,
    context_test,
    control_test,
    feedback_config,
    freeze_test,
)
from science.feedback.context_decoding import ContextDecoding as Decoding
from science.feedback.context_tests import ContextTest as Tested

schema = dj.Schema()


def trained_networks(table: dj.Computed, plan: type[dj.Manual]) -> dj.expression.QueryExpression:
    """Return the keys of a table for all networks of its plans that are trained and fine."""
    trained = TrainedModel & "training_status = 'ok'"
    return dj.U(*table.primary_key) & (plan * SeedSet.Member & trained.proj())


def asked_network(plan: dict[str, Any]) -> tuple[FeedbackConfig, FeedbackTask]:
    """Return architecture and task of a plan.

    Raises
    ------
    ValueError
        If its networks are of another family.
    """
    family, params = (ModelConfig & plan).fetch1("model_family", "model_params")
    if family != "feedback":
        raise ValueError(f"networks of the family '{family}' have no contexts to be tested in")
    return feedback_config(params), TaskConfig.params(TrainingSet & plan)


# --- clarity, decoding, errors


@schema
class ContextTestConfig(Configuration, dj.Manual):
    definition = """
    # In which contexts networks are tested
    context_test_hash : char(16)
    ---
    n_test_contexts : int32
    context_test_params : json
    """
    params_type = ContextTestParams
    params_column = "context_test_params"

    @classmethod
    def columns(cls, params: ContextTestParams) -> dict[str, Any]:
        return {"n_test_contexts": params.n_contexts}


@schema
class ContextTestPlan(dj.Manual):
    definition = """
    # Tests in new contexts that someone asked for
    -> TrainingPlan
    -> ContextTestConfig
    """

    @classmethod
    def register(cls, plan: dict[str, str], config: dict[str, str]) -> dict[str, str]:
        """Ask for a test of the networks of a plan, and return its key.

        Raises
        ------
        ValueError
            Another family of networks, fewer than two outputs or than ten steps in a context.
        """
        _, task = asked_network(plan)
        check_test(ContextTestConfig.params(config).of(task))
        key = {name: plan[name] for name in TrainingPlan.primary_key} | config
        cls.insert1(key, skip_duplicates=True)
        return key


@schema
class ContextTest(dj.Computed):
    definition = """
    # A network in contexts that it was not trained on; errors without the first, its start
    -> TrainedModel
    -> ContextTestConfig
    ---
    network_type : varchar(12)          # direct, unmixing, modulation, spatial, dale
    network_tau = null : float64        # of the low-pass of feedback, steps
    kernel_width = null : float64       # of the reach of feedback
    test_noise : float64                # sd of what is added to inputs
    test_steps : int32                  # in a context
    test_loss : float64                 # of a context, sum over its steps, mean of all
    later_test_loss : float64           # the same without the first
    deviation_start : float64           # distance of outputs and sources, first tenth of contexts
    deviation_all : float64
    deviation_end : float64             # second half of contexts
    inverse_distance_all = null : float64   # of effective weights from the inverse of the mixing
    inverse_distance_end = null : float64   # second half of contexts
    example_switch : int32              # step of the traces below at which the context changes
    example_sources : <blob>            # float32, (n, n_outputs)
    example_inputs : <blob>             # float32, (n, n_inputs)
    example_outputs : <blob>            # float32, (n, n_outputs)
    example_feedback : <blob>           # float32, (n, n_signals), readout of the LSTM
    -> CodeVersion
    """

    class Context(dj.Part):
        """One of the new contexts."""

        definition = """
        -> master
        context_index : int16           # in the order they were shown
        ---
        mixing : <blob>                 # float32, (n_inputs, n_outputs)
        context_loss : float64          # sum over steps
        context_deviation : float64     # distance of outputs and sources, mean over steps
        input_clarity = null : float64  # mean over inputs
        output_clarity = null : float64
        """

    class Population(dj.Part):
        definition = """
        # 'population' is the one that outputs are read from, 'lower' the one below it
        -> master
        population : varchar(12)        # inputs, outputs; population, lower: if there is one
        ---
        n_population_units : int32
        clarity_mean = null : float64   # signal clarity of all units in all contexts
        clarity_context_sd = null : float64     # of contexts, mean over units
        clarity_unit_sd = null : float64        # of units, mean over contexts
        decoding_mean = null : float64  # R2 of sources in contexts that the decoder never saw
        decoding_sd = null : float64
        decoding_median = null : float64
        participation_ratio = null : float64    # effective number of dimensions
        variance_shares : <blob>        # float64, of the first components, six at most
        """

    class Unit(dj.Part):
        """A unit of a population and how clearly it carries a source."""

        definition = """
        -> ContextTest.Population
        population_unit : int32
        ---
        unit_clarity = null : float64   # signal clarity, mean over contexts
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Trained networks of all plans."""
        return trained_networks(self, ContextTestPlan)

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        return ContextTestConfig.params(key), (TrainedModel & key).fetch1("weights_sha256")

    def make_compute(
        self, key: dict[str, Any], params: ContextTestParams, weights: str
    ) -> tuple[Any, ...]:
        network, task = load_feedback_network(weights)
        return network.config, context_test(network, task, params), code_version()

    def make_insert(
        self,
        key: dict[str, Any],
        config: FeedbackConfig,
        found: Tested,
        code: dict[str, str],
    ) -> None:
        self.insert1(nullable(key | context_test_row(config, found) | code))
        self.Context.insert(nullable(key | row) for row in context_rows(found))
        self.Population.insert(nullable(key | row) for row in population_rows(found))
        self.Unit.insert(nullable(key | row) for row in clarity_rows(found))

    @classmethod
    def output_clarity(cls) -> dj.expression.QueryExpression:
        """Return a row per test: timescale, width, noise and steps, with what became of clarity.

        What was varied in a grid of configurations are columns to restrict and to group by; what
        was not is the same in all rows.
        """
        varied = ("network_type", "network_tau", "kernel_width", "test_noise", "test_steps")
        outputs = cls.Population & {"population": "outputs"}
        return cls.proj(*varied, "deviation_start", "deviation_end") * outputs.proj("clarity_mean")


# --- frozen feedback


@schema
class FreezeConfig(Configuration, dj.Manual):
    definition = """
    # Pairs of contexts between which feedback is frozen
    freeze_hash : char(16)
    ---
    n_freeze_pairs : int32
    freeze_params : json
    """
    params_type = FreezeParams
    params_column = "freeze_params"

    @classmethod
    def columns(cls, params: FreezeParams) -> dict[str, Any]:
        return {"n_freeze_pairs": params.n_pairs}


@schema
class FreezePlan(dj.Manual):
    definition = """
    # Freeze experiments that someone asked for
    -> TrainingPlan
    -> FreezeConfig
    """

    @classmethod
    def register(cls, plan: dict[str, str], config: dict[str, str]) -> dict[str, str]:
        """Ask for the freeze experiment with the networks of a plan, and return its key.

        Raises
        ------
        ValueError
            Another family, a network without a modulated population or with fewer than three units
            in it, other than two inputs and outputs, or contexts of an odd number of steps.
        """
        check_freezing(*asked_network(plan), FreezeConfig.params(config))
        key = {name: plan[name] for name in TrainingPlan.primary_key} | config
        cls.insert1(key, skip_duplicates=True)
        return key


@schema
class FreezeExperiment(dj.Computed):
    definition = """
    # How the subspace of a population turns when a context changes: angles in degrees
    -> TrainedModel
    -> FreezeConfig
    ---
    mean_angle_frozen = null : float64      # to the plane before the change, feedback frozen
    mean_angle_unfrozen = null : float64    # feedback released
    sd_angle_frozen = null : float64        # of the pairs
    sd_angle_unfrozen = null : float64
    distance_r_frozen = null : float64      # correlation of angle and distance of the contexts
    distance_r_unfrozen = null : float64
    -> CodeVersion
    """

    class Pair(dj.Part):
        definition = """
        # Late: the end of a phase only, in which modulation has settled
        -> master
        freeze_pair : int16
        ---
        pair_mixing : <blob>            # float32, (2, 2, 2), both contexts
        context_distance : float64      # Frobenius norm of the difference
        on_same_side : bool             # signs of both determinants
        angle_frozen = null : float64
        angle_unfrozen = null : float64
        analytic_angle_frozen = null : float64  # to the image of the inputs under frozen gains
        late_angle_frozen = null : float64
        late_angle_unfrozen = null : float64
        principal_frozen = null : float64   # late; largest angle of the two leading dimensions
        principal_unfrozen = null : float64 # of the whole population
        deviation_original : float64    # late; distance of outputs and sources, mean over steps
        deviation_frozen : float64
        deviation_unfrozen : float64
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Trained networks of all plans."""
        return trained_networks(self, FreezePlan)

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        return FreezeConfig.params(key), (TrainedModel & key).fetch1("weights_sha256")

    def make_compute(
        self, key: dict[str, Any], params: FreezeParams, weights: str
    ) -> tuple[Any, ...]:
        return freeze_test(*load_feedback_network(weights), params), code_version()

    def make_insert(self, key: dict[str, Any], found: FreezeTest, code: dict[str, str]) -> None:
        self.insert1(nullable(key | freeze_row(found) | code))
        self.Pair.insert(nullable(key | row) for row in pair_rows(found))


# --- decoding of the context


@schema
class ContextDecodingConfig(Configuration, dj.Manual):
    definition = """
    # A grid of contexts that are decoded
    context_decoding_hash : char(16)
    ---
    n_grid_points : int32               # along each side
    context_decoding_params : json
    """
    params_type = ContextGridParams
    params_column = "context_decoding_params"

    @classmethod
    def columns(cls, params: ContextGridParams) -> dict[str, Any]:
        return {"n_grid_points": params.n_grid}


@schema
class ContextDecodingPlan(dj.Manual):
    definition = """
    # Decodings of the context that someone asked for
    -> TrainingPlan
    -> ContextDecodingConfig
    """

    @classmethod
    def register(cls, plan: dict[str, str], config: dict[str, str]) -> dict[str, str]:
        """Ask for the decoding of the context from the networks of a plan, and return its key.

        Raises
        ------
        ValueError
            Another family, a network without modulation, contexts that are no points of a square,
            or too few for the folds.
        """
        check_grid(*asked_network(plan), ContextDecodingConfig.params(config))
        key = {name: plan[name] for name in TrainingPlan.primary_key} | config
        cls.insert1(key, skip_duplicates=True)
        return key


@schema
class ContextDecoding(dj.Computed):
    definition = """
    # How well the context is told from the mean activity in the second half of it
    -> TrainedModel
    -> ContextDecodingConfig
    ---
    n_decoded_contexts : int32
    -> CodeVersion
    """

    class Score(dj.Part):
        """How well one decoder tells the context from one layer."""

        definition = """
        -> master
        decoded_layer : varchar(12)     # modulation; where rectified population and lower
        decoded_target : enum('context', 'inverse')     # a11 and a21, or the inverse matrix
        decoder_features : enum('linear', 'quadratic')
        ---
        context_r2 = null : float64     # of contexts left out, mean over folds and entries
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Trained networks of all plans."""
        return trained_networks(self, ContextDecodingPlan)

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        return ContextDecodingConfig.params(key), (TrainedModel & key).fetch1("weights_sha256")

    def make_compute(
        self, key: dict[str, Any], params: ContextGridParams, weights: str
    ) -> tuple[Any, ...]:
        return context_grid_test(*load_feedback_network(weights), params), code_version()

    def make_insert(
        self,
        key: dict[str, Any],
        found: dict[Decoder, Decoding],
        code: dict[str, str],
    ) -> None:
        n_contexts = len(next(iter(found.values())).decoded)
        self.insert1(key | {"n_decoded_contexts": n_contexts} | code)
        self.Score.insert(nullable(key | row) for row in decoding_rows(found))


# --- controls


@schema
class FeedbackControlConfig(Configuration, dj.Manual):
    definition = """
    # Maps without feedback, and the contexts they are fitted to and tested in
    feedback_control_hash : char(16)
    ---
    control_window : int32              # steps that the feed-forward network sees
    feedback_control_params : json
    """
    params_type = ControlParams
    params_column = "feedback_control_params"

    @classmethod
    def columns(cls, params: ControlParams) -> dict[str, Any]:
        return {"control_window": params.feedforward.window}


@schema
class FeedbackControlPlan(dj.Manual):
    definition = """
    # Controls of a task that someone asked for
    -> TrainingSet
    -> FeedbackControlConfig
    """

    @classmethod
    def register(cls, training_set: dict[str, str], config: dict[str, str]) -> dict[str, str]:
        """Ask for the controls of a training set, and return the key.

        Raises
        ------
        ValueError
            If it is of another family.
        """
        family = (TrainingSet & training_set).fetch1("training_family")
        if family != "feedback":
            raise ValueError(f"a training set of the family '{family}' has no sources to recover")
        key = {"training_set_hash": training_set["training_set_hash"]} | config
        cls.insert1(key, skip_duplicates=True)
        return key


@schema
class FeedbackControl(dj.Computed):
    definition = """
    # How far maps without feedback come in a task: R2 of the sources
    -> FeedbackControlPlan
    ---
    linear_own_mean : float64           # of linear maps in the context each is fitted to
    linear_other_mean : float64         # in the other contexts
    linear_other_median : float64
    feedforward_mean : float64          # of a trained network in contexts that it never saw
    feedforward_sd : float64
    feedforward_median : float64
    feedforward_losses : <blob>         # float64, (n_batches,), mean squared error
    -> CodeVersion
    """

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        return TaskConfig.params(TrainingSet & key), FeedbackControlConfig.params(key)

    def make_compute(
        self, key: dict[str, Any], task: FeedbackTask, params: ControlParams
    ) -> tuple[Any, ...]:
        return control_test(task, params), code_version()

    def make_insert(self, key: dict[str, Any], found: ControlTest, code: dict[str, str]) -> None:
        self.insert1(key | control_row(found) | code)
