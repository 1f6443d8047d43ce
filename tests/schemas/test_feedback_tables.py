"""Tests of feedback-modulated networks as rows, against loops over stored weights."""

import datajoint as dj
import numpy as np
import pytest
from feedback_reference import draw_contexts, simulate, source_signals
from scipy.linalg import subspace_angles
from scipy.stats import spearmanr

from schemas.dataset import TaskConfig, TrainingSet
from schemas.feedback import (
    ContextDecoding,
    ContextDecodingConfig,
    ContextDecodingPlan,
    ContextTest,
    ContextTestConfig,
    ContextTestPlan,
    FeedbackControl,
    FeedbackControlConfig,
    FeedbackControlPlan,
    FreezeConfig,
    FreezeExperiment,
    FreezePlan,
)
from schemas.model import TrainedModel, TrainingPlan, load_feedback_network
from schemas.model_config import ModelConfig, SeedSet, TrainConfig
from science.feedback import (
    ContextGridParams,
    ContextTestParams,
    ControlParams,
    DaleParams,
    DirectParams,
    FeedbackTask,
    FeedbackTraining,
    FreezeParams,
    ModulationParams,
    SineParams,
    SpatialParams,
    context_grid_test,
    contexts,
)
from science.feedback.weights import PUBLISHED_NAMES
from science.navigation import NavigationTask, PathIntegratorConfig

STEPS, NOISES = 60, (0.0, 0.1, 1.0)
TASK = FeedbackTask(sources=SineParams(), n_steps=STEPS, noise=0.02)
TRAINING = FeedbackTraining(
    n_epochs=1, batches_per_epoch=3, n_contexts=4, n_held_out=2, learning_rate=0.01
)
NETWORKS = {
    "spatial": SpatialParams(n_hidden=10, n_units=12, tau=5.0),
    "dale": DaleParams(n_hidden=10, n_units=12, n_lower=8, tau=5.0),
    "modulation": ModulationParams(n_hidden=10),
    "direct": DirectParams(n_hidden=10),
}
FREEZE = FreezeParams(n_pairs=5, n_contexts=6, noise=0.0, legacy=True)
GRID = ContextGridParams(n_grid=5, n_runs=3, n_folds=3)


def test_of(noise):
    return ContextTestParams(n_contexts=8, n_train_contexts=4, noise=noise, legacy=True)


test_of.__test__ = False


def plan_of(config, task=TASK, training=TRAINING, seeds=(3,)):
    plan = (
        TrainingSet.register_task(TaskConfig.register(task))
        | ModelConfig.register_task_driven("feedback", config)
        | TrainConfig.register(training)
        | SeedSet.register(seeds)
    )
    TrainingPlan.insert1(plan, skip_duplicates=True)
    return plan


@pytest.fixture(scope="module")
def plans(tables):
    """Networks that are hardly trained, with all tests computed."""
    before = TaskConfig.keys()
    plans = {name: plan_of(config) for name, config in NETWORKS.items()}
    for noise in NOISES:
        config = ContextTestConfig.register(test_of(noise))
        for plan in plans.values():
            ContextTestPlan.register(plan, config)
    for name in ("spatial", "dale"):
        FreezePlan.register(plans[name], FreezeConfig.register(FREEZE))
        ContextDecodingPlan.register(plans[name], ContextDecodingConfig.register(GRID))
    own = {"training_set_hash": plans["spatial"]["training_set_hash"]}
    for table in (TrainedModel, ContextTest, FreezeExperiment, ContextDecoding):
        table.populate(own)
    yield plans
    (TaskConfig - before).delete(prompt=False)


@pytest.fixture(scope="module")
def truth(plans):
    """Traces of the spatial network in the contexts of its rows, without noise."""
    weights = published_weights(plans["spatial"])
    mixing = draw_contexts(0, 32, 8)
    s = source_signals("sines", 8 * STEPS)
    x, y, z, m = (v[0] for v in simulate(weights, s[None], mixing[None], noise=0.0))
    return {"weights": weights, "mixing": mixing, "s": s, "x": x, "y": y, "z": z, "m": m}


def published_weights(plan):
    network, _ = load_feedback_network((TrainedModel & plan).fetch1("weights_sha256"))
    state = {own: value.double().numpy() for own, value in network.state_dict().items()}
    return {name: state[own] for name, own in PUBLISHED_NAMES.items()} | {"tau": 5.0}


def in_contexts(trace):
    return np.array_split(trace, len(trace) // STEPS)


def clarity(s, unit):
    """Of one unit in one context."""
    first, second = (abs(np.corrcoef(source, unit)[0, 1]) for source in s.T)
    return abs(first - second)


def quiet(plan):
    return ContextTest & plan & "test_noise = 0"


def test_errors_are_those_of_the_step_by_step_network(plans, truth):
    row = quiet(plans["spatial"]).fetch1()
    error = np.linalg.norm(truth["s"] - truth["y"], axis=1)
    absolute = np.abs(truth["s"] - truth["y"])
    loss = np.where(absolute < 1, absolute**2 / 2, absolute - 0.5).mean(1)
    losses = [part.sum() for part in in_contexts(loss)]
    later = in_contexts(error)[1:]
    expected = {
        "test_loss": np.mean(losses),
        "later_test_loss": np.mean(losses[1:]),
        "deviation_start": np.mean([part[:6] for part in later]),
        "deviation_all": np.mean(later),
        "deviation_end": np.mean([part[30:] for part in later]),
    }
    weights = truth["weights"]
    distance = [
        np.linalg.norm(weights["Wro"] @ np.diag(m) @ weights["w0"] - np.linalg.inv(mixing))
        for mixing, part in zip(truth["mixing"], in_contexts(truth["m"]), strict=True)
        for m in part
    ]
    later = np.reshape(distance, (8, STEPS))[1:]
    expected |= {"inverse_distance_all": later.mean(), "inverse_distance_end": later[:, 30:].mean()}
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    facts = ("spatial", 5.0, 0.2, 0.0, STEPS)
    assert facts == tuple(
        row[n] for n in ("network_type", "network_tau", "kernel_width", "test_noise", "test_steps")
    )
    cut = slice(7 * STEPS - STEPS, None)
    assert row["example_switch"] == STEPS
    np.testing.assert_allclose(row["example_sources"], truth["s"][cut], atol=1e-6)
    np.testing.assert_allclose(row["example_inputs"], truth["x"][cut], atol=1e-6)
    np.testing.assert_allclose(row["example_outputs"], truth["y"][cut], atol=1e-5)


def test_contexts_are_rows_with_their_mixing(plans, truth):
    rows = (ContextTest.Context & quiet(plans["spatial"])).to_dicts(order_by="context_index")
    np.testing.assert_allclose([row["mixing"] for row in rows], truth["mixing"], atol=1e-6)
    traces = [in_contexts(truth[name]) for name in "sxy"]
    for row, s, x, y in zip(rows, *traces, strict=True):
        assert row["input_clarity"] == pytest.approx(np.mean([clarity(s, u) for u in x.T]))
        outputs = np.mean([clarity(s, u) for u in y.T])
        assert row["output_clarity"] == pytest.approx(outputs, abs=1e-4)
        error = np.linalg.norm(s - y, axis=1).mean()
        assert row["context_deviation"] == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "trace"), [("inputs", "x"), ("outputs", "y"), ("population", "z")]
)
def test_clarity_decoding_and_dimension_of_populations(plans, truth, name, trace):
    rows = ContextTest.Population & quiet(plans["spatial"]) & {"population": name}
    row, s, activity = rows.fetch1(), in_contexts(truth["s"]), in_contexts(truth[trace])
    found = np.array(
        [[clarity(s_c, unit) for unit in a_c.T] for s_c, a_c in zip(s, activity, strict=True)]
    )
    shares = np.sort(np.linalg.eigvalsh(np.cov(truth[trace].T)))[::-1]
    expected = {
        "clarity_mean": found.mean(),
        "clarity_context_sd": found.mean(1).std(),
        "clarity_unit_sd": found.mean(0).std(),
        "participation_ratio": shares.sum() ** 2 / (shares**2).sum(),
    }
    assert {n: row[n] for n in expected} == pytest.approx(expected, abs=2e-4)
    shares = shares[:6] / shares.sum()
    np.testing.assert_allclose(row["variance_shares"], shares, atol=1e-5)
    units = (ContextTest.Unit & rows.proj()).to_arrays("unit_clarity", order_by="population_unit")
    np.testing.assert_allclose(units, found.mean(0), atol=2e-4)
    assert row["n_population_units"] == len(units)

    # a population of rank 8, as that of 4 signals and 2 inputs is, has other directions at 0
    train = np.column_stack([np.concatenate(activity[:4]), np.ones(4 * STEPS)])
    decoder = np.linalg.lstsq(train, np.concatenate(s[:4]), rcond=1e-6)[0]
    r2 = []
    for s_c, a_c in zip(s[4:], activity[4:], strict=True):
        residual = s_c - np.column_stack([a_c, np.ones(STEPS)]) @ decoder
        r2.append(np.mean(1 - residual.var(0) / s_c.var(0) - residual.mean(0) ** 2 / s_c.var(0)))
    found = [row[f"decoding_{n}"] for n in ("mean", "sd", "median")]
    np.testing.assert_allclose(found, [np.mean(r2), np.std(r2), np.median(r2)], atol=2e-3)


@pytest.mark.parametrize(
    ("name", "populations", "has_weights"),
    [
        ("spatial", {"population": 12}, True),
        ("dale", {"population": 12, "lower": 8}, False),
        ("modulation", {}, True),
        ("direct", {}, False),
    ],
)
def test_every_network_has_the_rows_that_it_can_have(plans, name, populations, has_weights):
    key = quiet(plans[name])
    sizes = (ContextTest.Population & key).to_arrays("population", "n_population_units")
    assert dict(zip(*sizes, strict=True)) == {"inputs": 2, "outputs": 2} | populations
    assert (key.fetch1("inverse_distance_all") is not None) == has_weights
    assert len(ContextTest.Unit & key) == 4 + sum(populations.values())


def test_what_was_varied_is_a_column_to_group_by(plans):
    rows = ContextTest.output_clarity() & plans["modulation"]
    noises = rows.to_arrays("test_noise", order_by="test_noise")
    np.testing.assert_array_equal(noises, NOISES)
    both = ContextTest.output_clarity() & TrainingSet.proj() & "network_type in ('spatial', 'dale')"
    by_noise = dj.U("test_noise").aggr(both, n="count(*)").to_dicts(order_by="test_noise")
    assert [(row["test_noise"], row["n"]) for row in by_noise] == [(n, 2) for n in NOISES]
    inputs = ContextTest.Population * ContextTest.proj("test_noise") & "population = 'inputs'"
    clear, noise = (inputs & plans["direct"]).to_arrays("clarity_mean", "test_noise")
    assert spearmanr(clear, noise).statistic == -1


# --- freezing


def test_planes_turn_as_those_of_the_step_by_step_network(plans, truth):
    pairs = np.stack([draw_contexts(seed, 1, 2) for seed in range(100, 105)])
    s = np.broadcast_to(source_signals("sines", 2 * STEPS), (5, 2 * STEPS, 2))
    frozen = range(STEPS, STEPS + STEPS // 2)
    _, y, z, _ = simulate(truth["weights"], s, pairs, frozen, noise=0.0)
    reference = draw_contexts(0, 32, 6)[None]
    sources = source_signals("sines", 6 * STEPS)[None]
    _, _, many, _ = simulate(truth["weights"], sources, reference, noise=0.0)
    variances, axes = np.linalg.eigh(np.cov(many[0].T))
    first = axes[:, -1] / np.sqrt(variances[-1])
    rows = (FreezeExperiment.Pair & plans["spatial"]).to_dicts(order_by="freeze_pair")
    assert len(rows) == 5
    columns = ("angle_frozen", "angle_unfrozen", "late_angle_frozen", "late_angle_unfrozen")
    for pair, row in enumerate(rows):
        half = STEPS // 2
        phases = [slice(k * half, (k + 1) * half) for k in (1, 2, 3)]
        late = [slice(phase.stop - 18, phase.stop) for phase in phases]

        def normal(phase, pair=pair):
            known = np.column_stack([y[pair, phase], np.ones(phase.stop - phase.start)])
            slopes = np.linalg.lstsq(known, z[pair, phase] @ first, rcond=None)[0]
            return np.array([*slopes[:2], -1]) / np.linalg.norm([*slopes[:2], -1])

        expected = [
            np.degrees(np.arccos(np.abs(normal(parts[0]) @ normal(parts[k]))))
            for parts in (phases, late)
            for k in (1, 2)
        ]
        np.testing.assert_allclose([row[n] for n in columns], expected, atol=0.02)
        assert row["analytic_angle_frozen"] == pytest.approx(row["angle_frozen"], abs=1e-3)
        for k, name in ((1, "principal_frozen"), (2, "principal_unfrozen")):
            original, other = (
                np.linalg.svd(z[pair, part] - z[pair, part].mean(0))[2][:2].T
                for part in (late[0], late[k])
            )
            angle = np.degrees(subspace_angles(original, other)[0])
            assert row[name] == pytest.approx(angle, abs=0.05)
        for part, name in zip(late, ("original", "frozen", "unfrozen"), strict=True):
            error = np.linalg.norm(s[pair, part] - y[pair, part], axis=1).mean()
            assert row[f"deviation_{name}"] == pytest.approx(error, rel=1e-4)
        np.testing.assert_allclose(row["pair_mixing"], pairs[pair], atol=1e-6)
        distance = np.sqrt(((pairs[pair, 0] - pairs[pair, 1]) ** 2).sum())
        assert row["context_distance"] == pytest.approx(distance, rel=1e-5)
        signs = np.sign(np.linalg.det(pairs[pair]))
        assert row["on_same_side"] == (signs[0] == signs[1])


def test_a_network_has_the_mean_of_its_pairs(plans):
    for name in ("spatial", "dale"):
        row = (FreezeExperiment & plans[name]).fetch1()
        distance, *angles = (FreezeExperiment.Pair & plans[name]).to_arrays(
            "context_distance", "angle_frozen", "angle_unfrozen", order_by="freeze_pair"
        )
        for phase, angle in zip(("frozen", "unfrozen"), angles, strict=True):
            assert row[f"mean_angle_{phase}"] == pytest.approx(angle.mean())
            assert row[f"sd_angle_{phase}"] == pytest.approx(angle.std())
            r = np.corrcoef(angle, distance)[0, 1]
            assert row[f"distance_r_{phase}"] == pytest.approx(r)
    analytic = (FreezeExperiment.Pair & plans["dale"]).to_arrays("analytic_angle_frozen")
    assert all(value is None or np.isnan(value) for value in analytic)


# --- decoding of the context and controls


def test_scores_of_decoders_are_rows(plans):
    for name, layers in (
        ("spatial", {"modulation"}),
        ("dale", {"modulation", "population", "lower"}),
    ):
        weights = (TrainedModel & plans[name]).fetch1("weights_sha256")
        found = context_grid_test(*load_feedback_network(weights), GRID)
        names = ("decoded_layer", "decoded_target", "decoder_features", "context_r2")
        rows = (ContextDecoding.Score & plans[name]).to_arrays(*names)
        stored = {tuple(key): score for *key, score in zip(*rows, strict=True)}
        assert {key[0] for key in stored} == layers and len(stored) == 4 * len(layers)
        assert stored == pytest.approx({tuple(key): d.score for key, d in found.items()}, rel=1e-6)
        # of 5 x 5 all but the diagonal
        assert (ContextDecoding & plans[name]).fetch1("n_decoded_contexts") == 20


def test_controls_work_in_one_context_and_fail_in_many(plans):
    params = {"n_steps": 400, "n_fit": 200, "n_contexts": 5, "n_train_contexts": 20}
    control = FeedbackControlConfig.register(
        ControlParams(**params, feedforward={"n_batches": 600, "learning_rate": 0.01})
    )
    rows = {}
    for kind in ("constant", "random_norm"):
        task = FeedbackTask(sources=SineParams(), contexts={"type": kind}, noise=0.0)
        training_set = TrainingSet.register_task(TaskConfig.register(task))
        key = FeedbackControlPlan.register(training_set, control)
        FeedbackControl.populate(key)
        rows[kind] = (FeedbackControl & key).fetch1()
    same, many = rows["constant"], rows["random_norm"]
    for row in (same, many):
        assert row["linear_own_mean"] == pytest.approx(1, abs=1e-6)
        assert row["feedforward_losses"].shape == (600,)
    assert same["linear_other_mean"] == pytest.approx(1, abs=1e-6)
    assert same["feedforward_median"] > 0.9 > 0.6 > many["feedforward_median"]
    # of sources that are not correlated, the map of another context gets 1 - |A^-1 B - 1|^2
    rng = np.random.default_rng(0)
    mixing = contexts(5, FeedbackTask().contexts, (2, 2), rng).astype(float)
    expected = [
        1 - np.sum((np.linalg.inv(mixing[i]) @ mixing[j] - np.eye(2)) ** 2) / 2
        for i in range(5)
        for j in range(5)
        if i != j
    ]
    assert many["linear_other_median"] == pytest.approx(np.median(expected), abs=0.3)
    assert many["linear_other_mean"] == pytest.approx(np.mean(expected), rel=0.2)


# --- what is asked for


def test_what_has_no_answer_is_not_asked_for(plans):
    plan_tables = (ContextTestPlan, FreezePlan, ContextDecodingPlan, FeedbackControlPlan)
    before = [len(table()) for table in plan_tables]
    freeze, grid = FreezeConfig.register(FREEZE), ContextDecodingConfig.register(GRID)
    for name in ("modulation", "direct"):
        with pytest.raises(ValueError, match="no population whose subspace could turn"):
            FreezePlan.register(plans[name], freeze)
    odd = FreezeConfig.register(FREEZE.model_copy(update={"n_steps": 61}))
    with pytest.raises(ValueError, match="61 steps of a context are no two equal phases"):
        FreezePlan.register(plans["spatial"], odd)
    with pytest.raises(ValueError, match="no modulation to decode the context from"):
        ContextDecodingPlan.register(plans["direct"], grid)
    navigation = TrainingSet.register_task(TaskConfig.register(NavigationTask()))
    walker = plans["spatial"] | navigation
    walker |= ModelConfig.register_task_driven("navigation", PathIntegratorConfig())
    with pytest.raises(ValueError, match="family 'navigation' have no contexts"):
        ContextTestPlan.register(walker, ContextTestConfig.register(test_of(0.0)))
    with pytest.raises(ValueError, match="has no sources to recover"):
        FeedbackControlPlan.register(navigation, FeedbackControlConfig.register(ControlParams()))
    assert [len(table()) for table in plan_tables] == before


def test_only_networks_that_are_fine_are_tested_and_all_goes_with_them(plans):
    plan = plan_of(SpatialParams(n_hidden=4, n_units=6), training=TRAINING, seeds=(5, 6))
    ContextTestPlan.register(plan, ContextTestConfig.register(test_of(0.0)))
    FreezePlan.register(plan, FreezeConfig.register(FREEZE))
    TrainedModel.populate({"model_hash": plan["model_hash"]})
    (bad,) = (TrainedModel & plan & "seed = 6").keys()
    TrainedModel.update1(bad | {"training_status": "nonfinite"})
    for table in (ContextTest, FreezeExperiment):
        table.populate({"model_hash": plan["model_hash"]})
        assert (table & plan).to_arrays("seed").tolist() == [5]
    (TrainedModel & plan & "seed = 5").delete(prompt=False)
    for table in (ContextTest, ContextTest.Unit, FreezeExperiment, FreezeExperiment.Pair):
        assert not table & plan and table & plans["spatial"]
