"""Efficient codes as rows: what each is, sweeps in one piece and in blocks, exponents, limens."""

import math

import numpy as np
import pytest
import torch
from coding_reference import Code

from pipeline.deletion import delete_rows
from schemas.coding import CodeAnalysis, CodeAnalysisConfig, CodeAnalysisPlan
from schemas.coding_sweep import CodingExponents, CodingSweep, RateDistortion
from schemas.dataset import TaskConfig, TrainingSet
from schemas.limens import LimenComparison, LimenComparisonPlan, LimenStudy
from schemas.model import TrainedModel, TrainingPlan, load_codes
from schemas.model_config import ModelConfig, SeedSet, TrainConfig
from science.coding import (
    CodingConfig,
    CodingTask,
    CodingTrainee,
    CodingTraining,
    FrequencyStimulus,
)
from science.coding.analysis_params import CodeAnalysisParams
from science.model.config import TrainConfig as ImageTraining

TASK = CodingTask(n_train=60, n_test=40)
TARGETS = (0.3, 0.6, 1.2)
TRAINING = CodingTraining(
    target_rates=TARGETS, n_epochs=10, batch_size=32, learning_rate=0.02, dtype="float64"
)
CONFIG = CodingConfig(n_neurons=3, n_hidden=6)
ANALYSIS = CodeAnalysisParams(n_stimuli=60, window=5, n_grid=9, seed=4)
SEEDS = (1, 2, 3, 4, 5, 6)  # as few as an interval takes
STEPS = (TrainedModel, CodeAnalysis, RateDistortion, CodingExponents, LimenComparison)


def plan_of(targets=TARGETS, seeds=SEEDS, task=TASK, config=CONFIG, **changes):
    training = TRAINING.model_copy(update={"target_rates": targets, **changes})
    plan = (
        TrainingSet.register_task(TaskConfig.register(task))
        | ModelConfig.register_task_driven("coding", config)
        | TrainConfig.register(training)
        | SeedSet.register(seeds)
    )
    TrainingPlan.insert1(plan, skip_duplicates=True)
    return plan


def sweep_of(*plans):
    return CodingSweep.register(plans, CodeAnalysisConfig.register(ANALYSIS))


def compute(sweep):
    for table in STEPS:
        table.populate({"training_set_hash": sweep["training_set_hash"]})


@pytest.fixture(scope="module", autouse=True)
def _clean(tables):
    """All training sets of this module go at its end, together: it takes seconds."""
    before = TrainingSet.keys()
    yield
    (TrainingSet - before).delete(prompt=False, part_integrity="cascade")


@pytest.fixture(scope="module")
def sweeps(_clean):
    """The same codes, in one piece and in blocks of target rates, the latter out of order."""
    whole = sweep_of(plan_of())
    blocks = sweep_of(plan_of(TARGETS[2:]), plan_of(TARGETS[1::-1]))
    compute(whole)
    return whole, blocks


def test_every_code_and_every_neuron_is_a_row(sweeps):
    for sweep, n_plans in zip(sweeps, (1, 2), strict=True):
        assert (CodingSweep & sweep).fetch1("n_sweep_targets", "n_sweep_codes") == (3, 18)
        networks = CodeAnalysis & (CodingSweep.Member * SeedSet.Member & sweep).proj()
        assert len(networks) == 6 * n_plans and len(CodingSweep.Member & sweep) == n_plans
        assert sum(networks.to_arrays("n_finite_codes")) == 18
        codes = CodingSweep.codes(sweep)
        assert (len(codes), len(CodeAnalysis.Neuron & codes.proj())) == (18, 54)
        assert len(CodeAnalysisPlan & (CodingSweep.Member & sweep).proj()) == n_plans
        assert (RateDistortion & sweep).fetch1("n_swept_codes", "n_lost_codes") == (18, 0)
    assert not TrainedModel.Code & "code_status != 'ok'" & sweeps[0]


def test_rows_of_trained_models_are_those_of_their_training(sweeps):
    key = (TrainedModel & plan_of() & {"seed": 2}).fetch1("KEY")
    trainee = CodingTrainee(CONFIG, TRAINING, TASK)
    weights = (TrainedModel & key).fetch1("weights_sha256")
    models, task = load_codes(weights)
    assert task == TASK
    distortion, rate = trainee.held_out(models)
    for row in (TrainedModel.Code & key).to_dicts(order_by="code_index"):
        index = row["code_index"]
        assert row["target_rate"] == TARGETS[index]
        assert row["test_distortion"] == pytest.approx(distortion[index].item(), rel=1e-12)
        assert row["test_rate"] == pytest.approx(rate[index].item(), rel=1e-12)
        assert row["rate_multiplier"] == models.beta[index].item()
        curves = row["code_curves"]
        assert curves.shape == (3, 10)
        assert [row["train_distortion"], row["train_rate"]] == curves[:2, -1].tolist()
        moved = curves[2, :-1] + 0.1 * (curves[1, :-1] - row["target_rate"])
        np.testing.assert_allclose(curves[2, 1:], np.maximum(moved, 0), rtol=0, atol=1e-12)


def test_a_code_is_the_sum_over_its_words(sweeps):
    key = CodingSweep.codes(sweeps[0]).keys(order_by="KEY")[4]
    row = (CodeAnalysis * CodeAnalysis.Code & key).fetch1()
    models, task = load_codes((TrainedModel & key).fetch1("weights_sha256"))
    code = Code(models, key["code_index"])
    x = np.sort(task.stimulus.sample(60, torch.Generator().manual_seed(4)).numpy())
    at = [code.at(value) for value in x.tolist()]
    mean = {name: np.mean([values[name] for values in at]) for name in at[0]}
    marginal = np.mean([code.words_given(value) for value in x.tolist()], 0)
    entropy = -(marginal * np.log(marginal)).sum()
    generated = np.array([values["generated"] for values in at])
    expected = {
        "analysed_rate": mean["rate"],
        "analysed_distortion": mean["distortion"],
        "excess": mean["rate"] + mean["distortion"] + np.log(task.stimulus.density(x)).mean(),
        "generative_divergence": np.log(task.stimulus.density(x) / generated).mean(),
        "word_prior_entropy": -sum(q * math.log(q) for q in code.prior),
        "word_entropy": entropy,
        "conditional_entropy": mean["entropy"],
        "mutual_information": entropy - mean["entropy"],
        "posterior_mse": mean["posterior"],
        "sampling_mse": mean["sampling"],
        "stimulus_entropy": 1.5 + 0.5 * math.log(2 * math.pi),
        "sample_entropy": -np.log(task.stimulus.density(x)).mean(),
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-9), name
    posterior = np.array([values["posterior"] for values in at])
    np.testing.assert_allclose(
        row["smoothed_error"], np.convolve(posterior, np.ones(5) / 5, "valid")
    )
    grid = row["stimulus_grid"]
    assert grid.tolist() == x[np.linspace(0, 59, 9).round().astype(int)].tolist()
    np.testing.assert_allclose(row["grid_density"], task.stimulus.density(grid), rtol=1e-12)
    np.testing.assert_allclose(row["posterior_error"], [code.at(v)["posterior"] for v in grid])
    neurons = (CodeAnalysis.Neuron & key).to_dicts(order_by="neuron_rank")
    for neuron in neurons:
        index = neuron["neuron_index"]
        at_centre = code.spikes(neuron["preferred_stimulus"])
        assert neuron["peak_probability"] == pytest.approx(at_centre[index])
        assert neuron["tuning_centre"] == code.c[index] == neuron["preferred_stimulus"]
        assert neuron["tuning_width"] == pytest.approx(code.w[index])
        assert neuron["word_prior_bias"] == models.word_prior.bias[key["code_index"], index].item()
    order = [neuron["neuron_index"] for neuron in neurons]
    assert order == np.argsort(code.c).tolist()
    spikes = np.array([code.spikes(value) for value in grid.tolist()])[:, order]
    np.testing.assert_allclose(row["spike_probability"], spikes)
    couplings = models.word_prior.couplings()[key["code_index"]].detach().numpy()
    np.testing.assert_array_equal(row["couplings"], couplings[np.ix_(order, order)])


def points(sweep):
    rows = (CodeAnalysis.Code * RateDistortion.Point.proj("target_index", "on_front") & sweep).proj(
        "target_index", "on_front", "analysed_rate", "analysed_distortion", "excess"
    )
    return sorted(rows.to_dicts(), key=lambda row: (row["target_index"], row["seed"]))


def test_a_sweep_in_blocks_is_the_same_as_in_one_piece(sweeps):
    whole, blocks = map(points, sweeps)
    assert len(whole) == 18
    for one, other in zip(whole, blocks, strict=True):
        for name in ("target_index", "seed", "on_front"):
            assert one[name] == other[name]
        for name in ("analysed_rate", "analysed_distortion", "excess"):
            assert one[name] == pytest.approx(other[name], abs=1e-9)
    for table in (RateDistortion.Target, CodingSweep.Target, CodingExponents.PowerLaw):
        rows, others = ((table & sweep).to_dicts(order_by="KEY") for sweep in sweeps)
        assert len(rows) == len(others) >= 3
        for one, other in zip(rows, others, strict=True):
            for name in one.keys() - {"sweep_hash"}:
                text = isinstance(one[name], str)
                assert one[name] == (other[name] if text else pytest.approx(other[name], rel=1e-6))
    # each of them has the target that its network was trained to
    joined = (
        RateDistortion.Point.proj("target_index")
        * CodingSweep.Target
        * TrainedModel.Code.proj("target_rate")
    )
    for row in (joined & sweeps[1]).to_dicts():
        assert row["sweep_target_rate"] == row["target_rate"]


def test_the_curve_is_that_of_its_points(sweeps):
    rows = points(sweeps[0])
    for target in (RateDistortion.Target & sweeps[0]).to_dicts(order_by="target_index"):
        own = [row for row in rows if row["target_index"] == target["target_index"]]
        assert target["n_target_codes"] == len(own) == 6
        for name in ("rate", "distortion", "excess"):
            column = name if name == "excess" else f"analysed_{name}"
            values = [row[column] for row in own]
            assert target[f"{name}_mean"] == pytest.approx(np.mean(values))
            assert target[f"{name}_sd"] == pytest.approx(np.std(values, ddof=1))
    for row in rows:
        beaten = any(
            other["analysed_rate"] <= row["analysed_rate"]
            and other["analysed_distortion"] < row["analysed_distortion"]
            for other in rows
        )
        assert row["on_front"] == (not beaten)
    assert 0 < sum(row["on_front"] for row in rows) < 18


def test_exponents_are_least_squares_over_all_seeds(sweeps):
    stimulus = TASK.stimulus
    x = np.sort(stimulus.sample(60, torch.Generator().manual_seed(4)).numpy())
    log_density = np.log(stimulus.density(np.convolve(x, np.ones(5) / 5, "valid")))
    laws = (CodingExponents.PowerLaw & sweeps[0] & "target_index = 2").to_dicts(order_by="KEY")
    laws = {law["coding_relation"]: law for law in laws}
    codes = CodingSweep.codes(sweeps[0]) & RateDistortion.Point.proj(k="target_index").restrict(
        "k = 2"
    )
    error = np.stack(list(codes.to_arrays("smoothed_error", order_by="KEY")))
    keep = error < 0.5 * stimulus.variance()
    predictor, value = np.broadcast_to(log_density, error.shape)[keep], np.log(error[keep])
    law = laws["error"]
    assert law["exponent"] == pytest.approx(-np.polyfit(predictor, value, 1)[0])
    assert law["log_correlation"] == pytest.approx(-np.corrcoef(predictor, value)[0, 1])
    assert law["n_law_points"] == keep.sum()
    assert law["exponent_low"] < law["exponent"] < law["exponent_high"]
    neurons = (CodeAnalysis.Neuron & codes.proj()).to_dicts()
    rows = [
        row
        for row in neurons
        if row["preferred_density"] > 0 and row["preferred_error"] < 0.4 * stimulus.variance()
    ]
    density, width = (
        np.log([row[name] for row in rows]) for name in ("preferred_density", "stimulus_width")
    )
    assert laws["width"]["exponent"] == pytest.approx(-np.polyfit(density, width, 1)[0])


def test_codes_that_are_not_finite_have_no_row_and_are_counted(tables, monkeypatch):
    plan = plan_of(seeds=(1, 2), task=TASK.model_copy(update={"n_test": 41}))
    sweep = sweep_of(plan)
    lost = {1: [1], 2: [0, 1, 2]}  # codes by seed
    run_epoch = CodingTrainee.run_epoch

    def run_and_lose(trainee, network, optimizer, generator):
        seed = generator.initial_seed()
        with torch.no_grad():
            network.encoder.log_widths[lost[seed]] = math.nan
        return run_epoch(trainee, network, optimizer, generator)

    monkeypatch.setattr(CodingTrainee, "run_epoch", run_and_lose)
    compute(sweep)
    rows = (TrainedModel & plan).to_dicts(order_by="seed")
    assert [row["training_status"] for row in rows] == ["ok", "nonfinite"]
    counts = (CodeAnalysis & plan).to_arrays("n_finite_codes", "n_nonfinite_codes", order_by="seed")
    assert [column.tolist() for column in counts] == [[2, 0], [1, 3]]
    status = (TrainedModel.Code & plan & "seed = 1").to_arrays("code_status", order_by="code_index")
    assert status.tolist() == ["ok", "nonfinite", "ok"]
    assert (RateDistortion & sweep).fetch1("n_swept_codes", "n_lost_codes") == (2, 4)
    targets = (RateDistortion.Target & sweep).to_dicts(order_by="target_index")
    assert [target["n_target_codes"] for target in targets] == [1, 0, 1]
    assert [target["rate_mean"] is None for target in targets] == [False, True, False]
    assert all(target["rate_sd"] is None for target in targets)


def test_deleting_a_network_takes_what_is_made_of_it(tables):
    task = TASK.model_copy(update={"n_test": 42})
    sweep = sweep_of(plan_of(seeds=(1, 2), task=task), plan_of((0.9,), seeds=(1,), task=task))
    compute(sweep)
    assert (RateDistortion & sweep).fetch1("n_swept_codes") == 7
    delete_rows(TrainedModel & sweep & "seed = 2")
    assert len(CodeAnalysis & sweep) == 2 and len(CodingSweep.codes(sweep)) == 4
    for table in (RateDistortion, RateDistortion.Point, CodingExponents):
        assert not table & sweep
    assert len(CodingSweep & sweep) == 1 and not RateDistortion().key_source & sweep


def test_registering_again_changes_nothing(sweeps):
    assert sweep_of(plan_of()) == sweeps[0]
    assert sweep_of(plan_of(TARGETS[1::-1]), plan_of(TARGETS[2:])) == sweeps[1]


@pytest.mark.parametrize(
    ("plans", "message"),
    [
        (lambda: [], "one training set and one architecture"),
        (
            lambda: [plan_of(), plan_of((2.0,), config=CONFIG.model_copy(update={"n_hidden": 7}))],
            "one training set and one architecture",
        ),
        (lambda: [plan_of(), plan_of(TARGETS[:1], seeds=(1,))], "same seed to the same target"),
        (lambda: [plan_of(), plan_of((2.0,), n_epochs=11)], "target rates and seeds only"),
        (lambda: [plan_of() | TrainConfig.register(ImageTraining())], "of efficient codes"),
    ],
)
def test_plans_that_are_no_sweep_are_refused(sweeps, plans, message):
    before = len(CodingSweep())
    with pytest.raises(ValueError, match=message):
        sweep_of(*plans())
    assert len(CodingSweep()) == before


# --- limens

HEARD = {125.0: 0.8, 500.0: 1.1, 1000.0: 2.0, 2000.0: 4.0, 4000.0: 12.0, 8000.0: 90.0}


@pytest.fixture(scope="module")
def listeners(_clean):
    """Two listeners, the second with limens twice as large."""
    key = {"limen_study": "two"}
    LimenStudy.insert1(key | {"limen_file": "x", "limen_sha256": "0" * 64, "n_listeners": 2})
    rows = [(who, *pair) for who in (1, 2) for pair in HEARD.items()]
    LimenStudy.Limen.insert(
        key | {"limen_index": i, "listener": who, "frequency_hz": f, "limen_hz": who * limen}
        for i, (who, f, limen) in enumerate(rows)
    )
    yield "two"
    (LimenStudy & key).delete(prompt=False)


def test_limens_are_compared_with_the_root_of_the_error_and_with_the_prior(listeners):
    task = CodingTask(stimulus=FrequencyStimulus(), n_train=60, n_test=40)
    sweep = sweep_of(plan_of((0.5, 1.0), seeds=(1, 2), task=task))
    LimenComparisonPlan.register(sweep, listeners)
    LimenComparisonPlan.register(sweep, listeners)
    compute(sweep)
    row = (LimenComparison & sweep).fetch1()
    frequency = np.array([*HEARD, *HEARD]) / 1000
    measured = np.log([*HEARD.values(), *(2 * limen for limen in HEARD.values())])
    classical = -np.log(task.stimulus.density(frequency))
    assert row["n_limens"] == 12
    check_agreement("classical", row, classical, measured)
    targets = (LimenComparison.Target & sweep).to_dicts(order_by="KEY")
    assert len(targets) == 4
    for target in targets:
        own = (RateDistortion.Point & target).proj()
        codes = (CodeAnalysis.proj("stimulus_grid") * CodeAnalysis.Code & own).to_dicts()
        assert len(codes) == 2
        error = np.mean([code[f"{target['error_kind']}_error"] for code in codes], 0)
        grid = np.log(codes[0]["stimulus_grid"])
        predicted = 0.5 * np.interp(np.log(frequency), grid, np.log(error)) + math.log(1000)
        check_agreement("limen", target, predicted, measured)


def check_agreement(prefix, row, predicted, measured):
    slope = np.polyfit(predicted, measured, 1)[0]
    ratio = measured - predicted
    expected = {
        "slope": slope,
        "correlation": np.corrcoef(predicted, measured)[0, 1],
        "log_error": ratio.std(),
        "scale": math.exp(ratio.mean()),
    }
    for name, value in expected.items():
        assert row[f"{prefix}_{name}"] == pytest.approx(value, rel=1e-9), name
    assert row[f"{prefix}_slope_low"] < slope < row[f"{prefix}_slope_high"]


def test_limens_of_what_codes_never_hear_are_refused(sweeps, listeners):
    with pytest.raises(ValueError, match="the stimulus is 'lognormal'"):
        LimenComparisonPlan.register(sweeps[0], listeners)
    narrow = CodingTask(stimulus=FrequencyStimulus(log10_max=0.5), n_train=60)
    sweep = sweep_of(plan_of(task=narrow))
    with pytest.raises(ValueError, match=r"of 125 to 8000 Hz, but the stimuli of 25.*to 3162"):
        LimenComparisonPlan.register(sweep, listeners)
