"""The database schemas as one graph: their order, their activation, their computed tables."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType

import datajoint as dj

from schemas import (
    cell_match,
    closed_loop,
    coding,
    coding_sweep,
    comparison,
    controls,
    dataset,
    feedback,
    field,
    gabor,
    limens,
    mei,
    mei_variants,
    model,
    model_config,
    monitor,
    navigation,
    neural_fit,
    open_field,
    operations,
    readout,
    recorded_gabor,
    recording,
    reliability,
    responses,
    stimulus,
    views,
)

MODULES: tuple[ModuleType, ...] = (
    operations,
    recording,
    responses,
    dataset,
    reliability,
    model_config,
    model,
    readout,
    mei,
    mei_variants,
    controls,
    gabor,
    field,
    comparison,
    recorded_gabor,
    monitor,
    stimulus,
    cell_match,
    closed_loop,
    open_field,
    navigation,
    neural_fit,
    coding,
    coding_sweep,
    limens,
    feedback,
)
"""One database schema each, parents first."""

Query = dj.expression.QueryExpression


@dataclass(frozen=True)
class Step:
    """A computed table in the graph.

    Attributes
    ----------
    table : type
    asked : callable
        Returns what the plans ask of the table, down to the attributes that are known before its
        parents are computed.
    needs : tuple of type
        Computed tables whose rows it waits for.
    gpu : bool
        Whether a GPU makes its jobs several times faster.
    """

    table: type[dj.Computed]
    asked: Callable[[], Query]
    needs: tuple[type[dj.Computed], ...] = ()
    gpu: bool = False

    @cached_property
    def instance(self) -> dj.Computed:
        """One for all: for the jobs of each new one DataJoint reads all foreign keys again."""
        return self.table()


def every_seed(table: type[dj.Table], plan: type[dj.Manual]) -> Query:
    """Return the keys of a table for all seeds of the networks that plans ask for."""
    return dj.U(*table.primary_key) & (plan * model_config.SeedSet.Member)


STEPS: tuple[Step, ...] = (
    Step(responses.Frame, lambda: responses.StaticScan.proj()),
    Step(responses.InputResponse, lambda: responses.StaticScan.proj(), (responses.Frame,)),
    Step(
        responses.Eye,
        lambda: (responses.StaticScan & recording.PupilTrack).proj(),
        (responses.InputResponse,),
    ),
    Step(
        responses.Treadmill,
        lambda: (responses.StaticScan & recording.TreadmillTrace).proj(),
        (responses.InputResponse,),
    ),
    Step(dataset.ConditionTier, lambda: dataset.ConditionTier().key_source),
    Step(
        dataset.TargetDataset,
        lambda: (dataset.TrainingSet & "training_family = 'image'").proj(),
        (
            responses.InputResponse,
            responses.Eye,
            responses.Treadmill,
            dataset.ConditionTier,
        ),
    ),
    Step(reliability.Oracle, lambda: reliability.OraclePlan.proj(), (dataset.TargetDataset,)),
    Step(
        reliability.OracleRankedUnit,
        lambda: reliability.OraclePlan.proj(),
        (reliability.Oracle,),
    ),
    Step(
        reliability.UnitStatistics,
        lambda: (dataset.TrainingSet & reliability.OraclePlan).proj(),
        (dataset.TargetDataset,),
    ),
    Step(
        model.TrainedModel,
        lambda: every_seed(model.TrainedModel, model.TrainingPlan),
        (dataset.TargetDataset,),
        gpu=True,
    ),
    Step(
        readout.UnitReadout,
        lambda: (
            every_seed(model.TrainedModel, model.TrainingPlan)
            & (dataset.TrainingSet & "training_family = 'image'").proj()
        ),
        (model.TrainedModel,),
    ),
    Step(model.Ensemble, lambda: model.TrainingPlan.proj(), (model.TrainedModel,)),
    Step(model.ModelGroup, lambda: model.ModelComparison.proj(), (model.Ensemble,)),
    Step(
        mei.UnitSelection,
        lambda: mei.SelectionPlan.proj(),
        (reliability.OracleRankedUnit, reliability.UnitStatistics),
    ),
    Step(mei.MEI, lambda: mei.TargetModel.proj(), (model.Ensemble, mei.UnitSelection), gpu=True),
    Step(mei.MEIMask, lambda: mei.MaskPlan.proj(), (mei.MEI,)),
    Step(
        mei_variants.DiverseMEI, lambda: mei_variants.DiversePlan.proj(), (mei.MEIMask,), gpu=True
    ),
    Step(
        mei_variants.SurroundMEI, lambda: mei_variants.SurroundPlan.proj(), (mei.MEIMask,), gpu=True
    ),
    Step(
        gabor.BestGabor,
        lambda: dj.U(*gabor.BestGabor.primary_key) & controls.ControlPlan,
        (model.Ensemble, mei.UnitSelection),
        gpu=True,
    ),
    Step(
        gabor.OptimalGabor,
        lambda: dj.U(*gabor.BestGabor.primary_key) & controls.ControlPlan,
        (gabor.BestGabor,),
        gpu=True,
    ),
    Step(
        field.GradientField,
        lambda: dj.U(*mei.TargetModel.primary_key) & controls.ControlPlan,
        (mei.MEI,),
    ),
    Step(
        field.RegressionField,
        lambda: dj.U("training_set_hash", "field_hash") & controls.ControlPlan,
        (dataset.TargetDataset,),
    ),
    Step(
        comparison.BestNaturalImage,
        lambda: dj.U(*mei.MaskPlan.primary_key, "contrast_hash") & controls.ControlPlan,
        (mei.MEIMask,),
        gpu=True,
    ),
    Step(
        comparison.ImageComparison,
        lambda: controls.ControlPlan.proj(),
        (
            gabor.OptimalGabor,
            comparison.BestNaturalImage,
            field.GradientField,
            field.RegressionField,
        ),
    ),
    Step(
        recorded_gabor.RecordedGabor,
        lambda: recorded_gabor.RecordedGaborPlan.proj(),
        (mei.MEI,),
    ),
    Step(monitor.ProcessedMonitorCalibration, lambda: recording.MonitorCalibration.proj()),
    Step(
        monitor.ClosestCalibration,
        lambda: (recording.Scan & "recorded_at IS NOT NULL" & monitor.calibrated_rigs()).proj(),
        (monitor.ProcessedMonitorCalibration,),
    ),
    Step(cell_match.ProximityCellMatch, lambda: cell_match.MatchPlan.proj()),
    Step(
        cell_match.BestProximityCellMatch,
        lambda: cell_match.MatchPlan.proj(),
        (cell_match.ProximityCellMatch,),
    ),
    Step(
        cell_match.CellMatchOracleCorrelation,
        lambda: cell_match.MatchPlan.proj(),
        (cell_match.BestProximityCellMatch, responses.InputResponse),
    ),
    Step(
        closed_loop.ConfusionMatrix,
        lambda: closed_loop.ConfusionPlan.proj(),
        (cell_match.CellMatchOracleCorrelation,),
    ),
    Step(
        closed_loop.PermutationTest,
        lambda: closed_loop.ConfusionPlan.proj(),
        (closed_loop.ConfusionMatrix,),
    ),
    Step(
        closed_loop.DiagonalTest,
        lambda: closed_loop.asked_pairs(),
        (closed_loop.ConfusionMatrix,),
    ),
    Step(navigation.AnimalRateMap, lambda: navigation.RateMapPlan.proj()),
    Step(
        navigation.ModelRateMap,
        lambda: every_seed(navigation.ModelRateMap, navigation.ModelMapPlan),
        (model.TrainedModel,),
        gpu=True,
    ),
    Step(
        neural_fit.InterAnimalConsistency,
        lambda: neural_fit.ConsistencyPlan.proj(),
        (navigation.AnimalRateMap,),
    ),
    Step(
        neural_fit.NeuralFit,
        lambda: every_seed(neural_fit.NeuralFit, neural_fit.NeuralFitPlan),
        (
            model.TrainedModel,
            navigation.ModelRateMap,
            neural_fit.InterAnimalConsistency,
            dataset.TargetDataset,
        ),
    ),
    Step(
        coding.CodeAnalysis,
        lambda: every_seed(coding.CodeAnalysis, coding.CodeAnalysisPlan),
        (model.TrainedModel,),
    ),
    Step(
        coding_sweep.RateDistortion,
        lambda: coding_sweep.CodingSweep.proj(),
        (coding.CodeAnalysis,),
    ),
    Step(
        coding_sweep.CodingExponents,
        lambda: coding_sweep.CodingSweep.proj(),
        (coding_sweep.RateDistortion,),
    ),
    Step(
        limens.LimenComparison,
        lambda: limens.LimenComparisonPlan.proj(),
        (coding_sweep.RateDistortion,),
    ),
    Step(
        feedback.ContextTest,
        lambda: every_seed(feedback.ContextTest, feedback.ContextTestPlan),
        (model.TrainedModel,),
    ),
    Step(
        feedback.FreezeExperiment,
        lambda: every_seed(feedback.FreezeExperiment, feedback.FreezePlan),
        (model.TrainedModel,),
    ),
    Step(
        feedback.ContextDecoding,
        lambda: every_seed(feedback.ContextDecoding, feedback.ContextDecodingPlan),
        (model.TrainedModel,),
    ),
    Step(feedback.FeedbackControl, lambda: feedback.FeedbackControlPlan.proj()),
)
"""Every computed table, parents before children."""


def schema_name(module: ModuleType, prefix: str) -> str:
    """Return the database name of a module's schema."""
    return prefix + module.__name__.rpartition(".")[2]


def activate(prefix: str, create: bool = False) -> None:
    """Bind the tables to the database schemas of a prefix.

    Parameters
    ----------
    prefix : str
        What the names of the schemas begin with.
    create : bool
        Create what is missing. Only `init` does: two processes that create at once are a race.
    """
    for module in MODULES:
        module.schema.activate(
            schema_name(module, prefix), create_schema=create, create_tables=create
        )


def create(prefix: str) -> None:
    """Create schemas, tables and job tables that are missing; make the views; safe to repeat."""
    for module in MODULES:
        create_schema(schema_name(module, prefix))
    activate(prefix, create=True)
    for step in STEPS:
        if not step.table().jobs.is_declared:
            step.table().jobs.declare()
    _make_views(prefix)


def _make_views(prefix: str) -> None:
    """Make the views, new or again, and drop those that the program does not have any more."""
    schema = views.schema_of_views(prefix)
    create_schema(schema)
    for statement in views.statements(prefix, tables()):
        dj.conn().query(statement.replace("%", "%%"))
    there = "SELECT table_name FROM information_schema.views WHERE table_schema = %s"
    for (name,) in dj.conn().query(there, args=(schema,)).fetchall():
        if name not in views.VIEWS:
            dj.conn().query(f"DROP VIEW IF EXISTS `{schema}`.`{name}`")


def tables() -> dict[str, type[dj.Table]]:
    """Return every table by its class name, parts as ``Scan.Unit``."""
    found = {}
    for module in MODULES:
        for name, table in vars(module).items():
            if _is_a(table, dj.user_tables.UserTable) and table.__module__ == module.__name__:
                found[name] = table
                found |= {f"{name}.{p}": part for p, part in parts(table).items()}
    return found


def parts(table: type[dj.Table]) -> dict[str, type[dj.Part]]:
    """Return the parts of a table by their names, as ``Unit`` of `MEI`."""
    return {name: part for name, part in vars(table).items() if _is_a(part, dj.Part)}


def _is_a(value: object, kind: type[dj.Table]) -> bool:
    return isinstance(value, type) and issubclass(value, kind)


def create_schema(name: str) -> None:
    """Create a database schema in which 'V1' and 'v1' differ, whatever the server's default is."""
    dj.conn().query(
        f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    )
