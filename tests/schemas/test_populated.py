"""Every table of the miniature closed loop, against direct computations and the virtual truth."""

import hashlib
from pathlib import Path

import datajoint as dj
import numpy as np
import pytest
import torch
from miniature import (
    ANIMAL,
    BLOCK,
    DAY_1,
    DAY_2,
    DESIGN,
    N_MEIS,
    NATURAL_REPEATS,
    RATS,
    REPEATS,
    SEEDS,
    recorded_activity,
    row_counts,
)

from pipeline.deletion import delete_rows
from schemas import model
from schemas.cell_match import (
    BestProximityCellMatch,
    CellMatchOracleCorrelation,
    ClosedLoopScan,
    LoopPool,
    MatchPlan,
    ProximityCellMatch,
)
from schemas.closed_loop import ConfusionMatrix, ConfusionPlan, DiagonalTest, PermutationTest
from schemas.comparison import BestNaturalImage, ImageComparison
from schemas.dataset import ConditionTier, TargetDataset
from schemas.field import GradientField, RegressionField
from schemas.gabor import BestGabor, OptimalGabor
from schemas.graph import STEPS
from schemas.loading import load_dataset, response_block
from schemas.mei import MEI, MEIMask, UnitSelection
from schemas.mei_variants import DiverseMEI, SurroundMEI
from schemas.model import Ensemble, ModelGroup, TrainedModel
from schemas.navigation import AnimalRateMap, ModelRateMap
from schemas.neural_fit import InterAnimalConsistency, NeuralFit
from schemas.operations import CodeVersion
from schemas.readout import UnitReadout
from schemas.recording import Trial
from schemas.reliability import Oracle, OracleRankedUnit
from schemas.responses import Frame, InputResponse
from schemas.stimulus import StimulusSet
from science.digest import array_digest
from science.metrics import correlation
from science.model.network import predict
from science.model.weights import unpack
from science.oracle import leave_one_out_oracle

MADE_OF_MEIS = (
    MEIMask,
    DiverseMEI,
    SurroundMEI,
    GradientField,
    BestNaturalImage,
    ImageComparison,
)

ASKED_OF_THE_LOOP = (
    StimulusSet,
    StimulusSet.Item,
    StimulusSet.FromMEI,
    StimulusSet.FromMask,
    StimulusSet.FromGabor,
    StimulusSet.FromNaturalImage,
    ClosedLoopScan,
    LoopPool,
    LoopPool.Member,
    MatchPlan,
    ConfusionPlan,
)
CLOSED_LOOP = (
    ProximityCellMatch,
    BestProximityCellMatch,
    CellMatchOracleCorrelation,
    ConfusionMatrix,
    PermutationTest,
    DiagonalTest,
)

N_UNITS = ANIMAL.n_cells
SIZE = (ANIMAL.height, ANIMAL.width)


@pytest.fixture(autouse=True)
def _populated(populated):
    """Everything here reads the miniature."""


def test_no_job_failed(populated):
    assert populated.failed_jobs == 0


def test_there_is_one_row_for_everything_that_was_asked_for(populated):
    n_blocks = -(-N_MEIS // BLOCK)
    n_trials = DESIGN.n_trials
    shown = dj.U("image_class", "image_id") & (StimulusSet.Item & populated.stimulus)
    n_pools, n_kinds, n_scalings, n_pairs = 3, 5, 3, 4  # pools: each later day, both
    expected = {
        Frame & DAY_1: 1,
        Frame.Condition & DAY_1: DESIGN.n_images,
        InputResponse.Input & DAY_1: n_trials,
        InputResponse.ResponseKeys & DAY_1: N_UNITS,
        ConditionTier.Condition & DAY_1: DESIGN.n_images,
        TargetDataset.Unit & populated.training_set: N_UNITS,
        Oracle.UnitScores & populated.training_set: N_UNITS,
        OracleRankedUnit.Unit & populated.training_set: N_UNITS,
        TrainedModel & populated.training_set: 2 * (len(SEEDS) + 1),
        TrainedModel.UnitScore & populated.training_set: 2 * (len(SEEDS) + 1) * N_UNITS,
        Ensemble & populated.training_set: 2,
        Ensemble.Member & populated.plan: len(SEEDS),
        Ensemble.UnitScore & populated.plan: N_UNITS,
        ModelGroup.Best & populated.training_set: 2,
        UnitSelection.Unit & populated.training_set: N_MEIS,
        MEI & populated.plan: n_blocks,
        MEI.Unit & populated.plan: N_MEIS,
        MEIMask & populated.plan: n_blocks,
        MEI & populated.linear: n_blocks,
        DiverseMEI & populated.plan: n_blocks,
        SurroundMEI & populated.plan: n_blocks,
        BestGabor & populated.training_set: 1,
        BestGabor.Unit & populated.training_set: N_MEIS,
        OptimalGabor & populated.training_set: n_blocks,
        BestNaturalImage & populated.training_set: n_blocks,
        GradientField & populated.training_set: n_blocks,
        RegressionField.Unit & populated.training_set: N_UNITS,
        ImageComparison & populated.training_set: n_blocks,
        InputResponse.Input & DAY_2: REPEATS * len(shown) + NATURAL_REPEATS * DESIGN.n_test,
        ProximityCellMatch & DAY_2: ANIMAL.n_stacks,
        BestProximityCellMatch(): 2,
        CellMatchOracleCorrelation(): 2,
        ConfusionMatrix(): n_pools * n_scalings * n_kinds,
        PermutationTest(): n_pools * n_scalings * n_kinds,
        DiagonalTest(): n_pools * n_scalings * n_pairs,
        AnimalRateMap & RATS: 2,
        ModelRateMap(): 2,
        InterAnimalConsistency(): 1,
        NeuralFit(): 2,
    }
    assert {str(q.full_table_name): len(q) for q in expected} == {
        str(q.full_table_name): n for q, n in expected.items()
    }
    assert 5 * (n_kinds - 1) < len(shown) <= N_MEIS * n_kinds


def test_every_computed_row_says_with_what_it_was_computed(populated):
    for table in (TrainedModel, MEI):
        versions = (CodeVersion & table).to_dicts()
        assert {v["n_threads"] for v in versions} == {1}
        assert {v["torch_version"] for v in versions} == {torch.__version__}


# --- reliability


def test_the_oracle_is_that_of_the_recorded_test_trials(populated):
    activity = recorded_activity(DAY_1)
    shown = Trial * ConditionTier.Condition & DAY_1 & populated_split(populated)
    tiers, conditions = shown.to_arrays("tier", "condition_hash", order_by="trial_idx")
    test = np.flatnonzero(tiers == "test")
    assert len(test) == DESIGN.n_test * DESIGN.repeats
    expected = leave_one_out_oracle(
        activity[test], np.unique(conditions[test].astype(str), return_inverse=True)[1]
    )
    scores = (Oracle.UnitScores & populated.training_set).to_arrays("oracle", order_by="unit_index")
    np.testing.assert_allclose(scores, expected, atol=1e-12)


def populated_split(populated):
    return (TargetDataset.Member & populated.training_set & DAY_1).proj("split_hash").fetch1()


def test_ranks_go_down_with_the_oracle():
    ranked = (OracleRankedUnit.Unit * Oracle.UnitScores).to_arrays("oracle", order_by="oracle_rank")
    assert (np.diff(ranked) <= 0).all()


def test_meis_are_made_for_the_best_units():
    ranked = OracleRankedUnit.Unit.to_arrays("unit_index", order_by="oracle_rank")
    selected = UnitSelection.Unit().to_dicts(order_by="selection_rank")
    assert [row["unit_index"] for row in selected] == ranked[:N_MEIS].tolist()
    assert [row["unit_block"] for row in selected] == [i // BLOCK for i in range(N_MEIS)]


# --- models


def trained(populated, plan=None):
    plan = populated.plan if plan is None else plan
    return TrainedModel & {n: v for n, v in plan.items() if n != "seed_set_hash"}


def loaded(populated):
    digest = (TargetDataset & populated.training_set).fetch1("dataset_digest")
    return load_dataset(populated.training_set, digest)


def test_weights_answer_without_their_dataset(populated):
    data = loaded(populated)
    (key,) = data.recordings
    inputs = torch.from_numpy(data.inputs(key, "validation"))
    targets = data.targets(key, "validation")
    for row in trained(populated).to_dicts():
        network, statistics = unpack(row["weights"].read())
        assert statistics["image_mean"] == pytest.approx(data.normalization.image_mean)
        unit_scores = TrainedModel.UnitScore & {a: row[a] for a in TrainedModel.primary_key}
        scores = unit_scores.to_arrays("validation_corr", order_by="unit_index")
        direct = correlation(predict(network, inputs, key).numpy(), targets)
        np.testing.assert_allclose(scores, direct, atol=1e-5)
        # what early stopping maximised is the mean of it
        assert row["validation_score"] == pytest.approx(np.nanmean(direct), abs=1e-4)


def test_the_curve_has_its_best_epoch(populated):
    for row in trained(populated).to_dicts():
        epochs = TrainedModel.Epoch & {a: row[a] for a in TrainedModel.primary_key}
        number, score = epochs.to_arrays("epoch", "epoch_score", order_by="epoch")
        assert len(number) == row["n_epochs"]
        assert row["best_epoch"] in (0, *number[score == score.max()])
        terms = epochs.to_arrays("loss_terms")[0]
        assert "poisson" in terms
        assert len(terms) > 1


@pytest.fixture
def stored_weights(populated):
    """The file of one trained network in the store, restored afterwards."""
    row = trained(populated).proj("weights", "weights_sha256").to_dicts(order_by="seed")[0]
    location = Path(dj.config.stores[dj.config.stores["default"]]["location"])
    (path,) = [
        p
        for p in location.rglob("*.safetensors")
        if hashlib.sha256(p.read_bytes()).hexdigest() == row["weights_sha256"]
    ]
    original = path.read_bytes()
    model.load_model.cache_clear()
    yield path
    path.write_bytes(original)
    model.load_model.cache_clear()


@pytest.mark.parametrize("place", [-1, -500, 9, 200])
def test_one_changed_bit_in_the_weights_is_noticed(populated, stored_weights, place):
    shas = model.ensemble_weights(populated.plan)
    assert model.load_model(*shas).image_shape == SIZE
    model.load_model.cache_clear()
    changed = bytearray(stored_weights.read_bytes())
    changed[place] ^= 1
    stored_weights.write_bytes(changed)
    with pytest.raises(ValueError, match=r"the object of TrainedModel .* is damaged"):
        model.load_model(*shas)


def test_truncated_weights_are_noticed(populated, stored_weights):
    stored_weights.write_bytes(stored_weights.read_bytes()[:-4])
    with pytest.raises(ValueError, match=r"the object of TrainedModel .* is damaged"):
        model.load_model(*model.ensemble_weights(populated.plan))


def test_an_ensemble_exists_only_when_all_its_members_are_fine(populated):
    broken = trained(populated, populated.broken)
    assert set(broken.to_arrays("training_status")) == {"nonfinite"}
    assert set(trained(populated).to_arrays("training_status")) == {"ok"}
    assert Ensemble & populated.plan
    assert not Ensemble & populated.broken
    assert not MEI & populated.broken
    assert not Ensemble().key_source & populated.broken
    # their weights are those of the last finite epoch
    for row in broken.to_dicts():
        network, _ = unpack(row["weights"].read())
        assert all(torch.isfinite(value).all() for value in network.state_dict().values())


def test_ensemble_scores_are_those_of_the_mean_prediction(populated):
    data = loaded(populated)
    (key,) = data.recordings
    inputs = torch.from_numpy(data.inputs(key, "test"))
    networks = [unpack(row["weights"].read())[0] for row in trained(populated).to_dicts()]
    mean = sum(predict(network, inputs, key).numpy() for network in networks) / len(networks)
    scores = (Ensemble.UnitScore & populated.plan).to_arrays(
        "ensemble_test_corr", order_by="unit_index"
    )
    np.testing.assert_allclose(scores, correlation(mean, data.targets(key, "test")), atol=1e-5)


# --- MEIs and masks


def test_meis_have_the_size_of_the_frames_and_grey_values(populated):
    rows = (MEI.Unit & populated.plan).to_dicts()
    assert {row["mei_status"] for row in rows} <= {"ok", "dead"}
    alive = [row for row in rows if row["mei_status"] == "ok"]
    assert len(alive) >= 5
    for row in alive:
        assert row["mei"].shape == SIZE
        assert row["mei"].dtype == np.float32
        assert 0 <= row["mei"].min() <= row["mei"].max() <= 255
        assert row["mei"].std() > 0
        assert np.isfinite(row["mei_curve"]).all()
    for row in rows:
        if row["mei_status"] == "dead":
            assert row["mei"] is None
            assert row["mei_activation"] is None
    assert len({row["mei_seed"] for row in rows}) == N_MEIS


def test_the_activation_is_what_the_ensemble_answers_to_the_image(populated):
    networks = [unpack(row["weights"].read()) for row in trained(populated).to_dicts()]
    statistics = networks[0][1]
    rows = (MEI.Unit * TargetDataset.Unit & populated.plan & "mei_status = 'ok'").to_dicts()
    for row in rows:
        z = (torch.from_numpy(row["mei"].copy())[None, None] - statistics["image_mean"]) / (
            statistics["image_std"]
        )
        answers = [
            predict(network, z, row["readout_key"])[0, row["readout_column"]].item()
            for network, _ in networks
        ]
        assert row["mei_activation"] == pytest.approx(np.mean(answers), rel=1e-4, abs=1e-5)


def test_masks_lie_within_0_and_1_and_belong_to_living_meis(populated):
    masks = (MEIMask.Unit & populated.plan).to_dicts()
    alive = (MEI.Unit & populated.plan & "mei_status = 'ok'").to_arrays("unit_index")
    assert sorted(row["unit_index"] for row in masks) == sorted(alive)
    for row in masks:
        assert row["mei_mask"].shape == SIZE
        assert 0 <= row["mei_mask"].min() <= row["mei_mask"].max() <= 1


# --- the same again


def parts_of_mei(populated):
    columns = ("unit_index", "mei_seed", "mei", "mei_activation", "mei_curve", "max_contrast")
    rows = (MEI.Unit & populated.plan).to_dicts(order_by="unit_index")
    return [
        tuple(v.tobytes() if isinstance(v, np.ndarray) else v for v in (row[c] for c in columns))
        for row in rows
    ]


def test_what_make_computes_for_a_key_is_what_is_stored(populated):
    for table in (Oracle, TrainedModel, Ensemble, MEI, MEIMask):
        key = (table & populated.training_set).keys(order_by="KEY")[0]
        computed = table().make_compute(key, *table().make_fetch(key))
        if table is Oracle:
            stored = (Oracle.UnitScores & key).to_arrays("oracle", order_by="unit_index")
            np.testing.assert_array_equal(computed[1]["oracle"], stored)
        elif table is TrainedModel:
            stored = (TrainedModel & key).fetch1("weights_sha256")
            assert hashlib.sha256(computed[1]).hexdigest() == stored
        elif table is Ensemble:
            name = "ensemble_test_corr"
            stored = (Ensemble.UnitScore & key).to_arrays(name, order_by="unit_index")
            np.testing.assert_array_equal(computed[1]["test_corr"], stored)
        elif table is MEI:
            for i, unit in enumerate(computed[0]):
                stored, status = (MEI.Unit & key & {"unit_index": unit}).fetch1("mei", "mei_status")
                if status == "ok":
                    np.testing.assert_array_equal(computed[2].images[i], stored)
        else:
            for i, unit in enumerate(computed[0]):
                stored = (MEIMask.Unit & key & {"unit_index": unit}).fetch1("mei_mask")
                np.testing.assert_array_equal(computed[1].masks[i], stored)


def test_deleted_meis_come_back_to_the_bit(populated):
    with ClosedLoopKept():
        before = parts_of_mei(populated)
        delete_rows(MEI & populated.plan)
        assert not MEI & populated.plan
        MEI.populate(populated.plan)
        assert parts_of_mei(populated) == before
        for table in MADE_OF_MEIS:
            table.populate(populated.training_set)


def test_deleted_models_come_back_to_the_bit_with_everything_made_of_them(populated):
    with ClosedLoopKept():
        images = parts_of_mei(populated)
        weights = trained(populated).to_arrays("weights_sha256", order_by="seed").tolist()
        delete_rows(trained(populated))
        assert not Ensemble & populated.plan
        assert not MEI & populated.plan
        # all that is in memory is forgotten, as in another process
        model.load_model.cache_clear()
        models = (TrainedModel, UnitReadout, Ensemble, ModelGroup, BestGabor, OptimalGabor, MEI)
        for table in models + MADE_OF_MEIS:
            table.populate(populated.training_set)
        again = trained(populated).to_arrays("weights_sha256", order_by="seed").tolist()
        assert again == weights
        assert parts_of_mei(populated) == images


class ClosedLoopKept:
    """Put back the stimulus set and what was measured with it, which a deletion takes with it."""

    def __enter__(self):
        self.counts = row_counts()
        self.rows = {table: table().to_dicts() for table in ASKED_OF_THE_LOOP}

    def __exit__(self, error, *_):
        if error is not None:
            return
        assert not StimulusSet()
        for table, rows in self.rows.items():
            table.insert(rows, skip_duplicates=True)
        for table in CLOSED_LOOP:
            table.populate()
        assert row_counts() == self.counts


def test_nothing_is_left_to_do(populated):
    for step in STEPS:
        assert not step.table().key_source - step.table(), step.table.__name__
        assert not step.table().jobs.reserved
        assert not step.table().jobs.errors


def test_a_row_of_any_result_goes_back_to_its_recording(populated):
    key = (MEI.Unit & populated.plan).keys()[0]
    counts = dj.Diagram.trace(MEI.Unit & key).counts()
    names = {name.rpartition(".")[2].strip('_`"'): n for name, n in counts.items()}
    once = ("scan", "training_plan", "target_dataset", "unit_selection", "code_version")
    assert {name: names.get(name) for name in once} == dict.fromkeys(once, 1)


def test_one_changed_bit_in_the_responses_is_noticed(populated):
    scan = (TargetDataset.Member & populated.training_set).to_dicts()[0]
    block = InputResponse.ResponseBlock & {a: scan[a] for a in InputResponse.primary_key}
    digest = block.fetch1("responses_digest")
    location = Path(dj.config.stores[dj.config.stores["default"]]["location"])
    stored = np.asarray(block.fetch1("responses"))
    (path,) = [
        p
        for p in location.rglob("*.npy")
        if np.load(p).shape == stored.shape and array_digest(np.load(p)) == digest
        if "input_response" in str(p)
    ]
    original = path.read_bytes()
    changed = bytearray(original)
    changed[-1] ^= 1
    try:
        path.write_bytes(changed)
        with pytest.raises(
            ValueError, match=r"the object of InputResponse.ResponseBlock .* is damaged"
        ):
            response_block(scan)
    finally:
        path.write_bytes(original)
    assert array_digest(response_block(scan)[0]) == digest
