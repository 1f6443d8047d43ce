"""Efficient codes against numbers of the original code (neural_vae 9)."""

import json

import numpy as np
import pytest
import torch

from science.coding.adam import AdamOfModels
from science.coding.config import CodingConfig, CodingTraining
from science.coding.encoders import CategoricalEncoder, tuning_from_clusters
from science.coding.losses import (
    categorical_distortion,
    categorical_rate,
    categorical_squared_error,
    mixture_loss,
    rate_as_sum,
    rate_iid,
    rate_vamp,
    relaxed_distortion,
)
from science.coding.models import CodingModels
from science.coding.stimuli import (
    FrequencyStimulus,
    GaussianStimulus,
    LogNormalStimulus,
    MixtureStimulus,
    SpeedStimulus,
)
from science.coding.training import evaluate, train_epoch
from science.coding.words import word_log_probabilities

pytestmark = pytest.mark.shared

BETA = torch.tensor([0.7], dtype=torch.float64)
CASES = ["N5_gauss_ising", "N6_MOG_ising", "N8_LN_ising"]
NAMES = {
    "enc/cs": "encoder.centers",
    "enc/log_sigmas": "encoder.log_widths",
    "enc/As": "encoder.amplitudes",
    "dec/hidden.weight": "decoder.hidden_weight",
    "dec/hidden.bias": "decoder.hidden_bias",
    "dec/w.weight": "decoder.output_weight",
    "dec/w.bias": "decoder.output_bias",
    "q/h": "word_prior.bias",
    "q/J": "word_prior.raw_couplings",
}


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "golden" / "vae"


def assert_equal(values, expected, atol=0.0, rtol=0.0):
    if isinstance(values, torch.Tensor):
        values = values.detach().numpy()
    np.testing.assert_allclose(values, expected, rtol=rtol, atol=atol)


def tensors(golden, prefix):
    """Parameters of one model by our names, with the axis of the models, and of the layers."""
    values = {ours: torch.tensor(golden[prefix + theirs]) for theirs, ours in NAMES.items()}
    return {n: v if v.shape[0] == 1 else v[None] for n, v in values.items()} | {
        n: v[None, None] for n, v in values.items() if n.startswith("decoder")
    }


def models(golden, prefix=""):
    state = tensors(golden, prefix)
    n_hidden, n_neurons = state["decoder.hidden_weight"].shape[-2:]
    config = CodingConfig(n_neurons=n_neurons, n_hidden=n_hidden, legacy=True)
    models = CodingModels(config, dtype=state["encoder.centers"].dtype)
    models.load_state_dict(state | {"beta": torch.ones(1, dtype=torch.float64)})
    return models


@pytest.fixture(params=CASES)
def case(request, folder):
    golden = np.load(folder / f"forward_{request.param}.npz")
    return golden, models(golden), torch.tensor(golden["x"]).T


def test_first_tuning_is_that_of_the_clusters(case):
    golden, *_ = case
    n_neurons = golden["init/cs"].shape[1]
    centers, widths = tuning_from_clusters(golden["kmeans_xs"][:, 0], n_neurons, 2.0)
    assert_equal(centers, golden["init/cs"][0], 1e-12)
    assert_equal(np.log(widths), golden["init/log_sigmas"][0], 1e-12)


def test_words_and_their_probabilities(case):
    golden, models, x = case
    first = golden["r_all_first_rows"]
    assert_equal(models.words[: first.shape[1]], first.T)
    logits = models.encoder(x)
    assert_equal(logits[0], golden["eta"], 1e-12)
    assert_equal(torch.sigmoid(logits[0]), golden["p_spike"], 1e-13)
    assert_equal(word_log_probabilities(logits)[0], golden["log_p_r_given_x"], 1e-12)
    assert_equal(models.word_log_probabilities().exp()[0], golden["metric/q_r"], 1e-13)
    for values, name in zip(models.decoded(), ("mu_all", "log_sigma_all"), strict=True):
        assert_equal(values[0], golden[f"metric/{name}"], 1e-13)


def test_distortion_and_rate_of_every_stimulus(case):
    golden, models, x = case
    distortion, rate = models(x)
    assert_equal(distortion[0], golden["D_per_x"], rtol=5e-13)
    assert_equal(rate[0], golden["R_per_x"], 5e-14)
    assert distortion.mean().item() == pytest.approx(golden["D"].item(), abs=5e-14 * 40)
    assert rate.mean().item() == pytest.approx(golden["R"].item(), abs=5e-14)
    as_sum = rate_as_sum(models.encoder(x), models.word_log_probabilities())
    assert_equal(as_sum[0], golden["R_per_x"], 5e-14)
    means = [values.item() for values in evaluate(models, torch.tensor(golden["x"]).T)]
    assert means == pytest.approx([golden["D"].item(), golden["R"].item()], rel=1e-13)


def test_loss_and_gradients(case):
    golden, models, x = case
    loss, *_ = models.terms(x, BETA, legacy=True)
    assert loss.item() == pytest.approx(golden["loss_beta0.7"].item(), rel=1e-13)
    loss.backward()
    expected = tensors(golden, "grad/")
    for name, parameter in models.named_parameters():
        assert_equal(parameter.grad, expected[name], 1e-12, rtol=1e-11)


def test_only_the_prior_ignores_beta_by_default(case):
    """Its gradient is that of the rate, which the golden one is times 0.7."""
    golden, models, x = case
    loss, *_ = models.terms(x, BETA)
    loss.backward()
    expected = tensors(golden, "grad/")
    for name, parameter in models.named_parameters():
        scale = 0.7 if name.startswith("word_prior") else 1.0
        assert_equal(parameter.grad, expected[name] / scale, 1e-12, rtol=1e-11)


def test_relaxed_distortion(case):
    golden, models, x = case
    uniforms = torch.tensor(golden["gumbel/eps"])[None]
    values = relaxed_distortion(models.encoder(x), x, models.decoder, uniforms)
    assert values.mean().item() == pytest.approx(golden["gumbel/D_tau0.5"].item(), rel=1e-13)


def test_other_rates_and_categorical_losses(folder):
    golden = np.load(folder / "forward_other_losses.npz")

    def row(name):
        return torch.tensor(golden[name]).reshape(1, -1)

    x = row("x")
    tuning = CodingModels(CodingConfig(n_neurons=6), dtype=torch.float64).encoder
    with torch.no_grad():
        tuning.centers.copy_(row("cs"))
        tuning.log_widths.copy_(row("log_sigmas"))
    logits = tuning(x)
    mixture = row("cat_mus"), row("cat_log_sigmas"), row("cat_qs")
    config = CodingConfig(
        n_neurons=6,
        encoder="categorical",
        decoder="mixture",
        word_prior="categorical",
        legacy=True,
    )
    encoder = CategoricalEncoder(config, 1, torch.float64)
    encoder.invert(*mixture)
    for name in ("quadratic", "linear", "constant"):
        key = {"quadratic": "cat_a", "linear": "cat_b", "constant": "cat_c"}[name]
        assert_equal(getattr(encoder, name), golden[key], 1e-14)
    chosen = encoder(x)
    assert_equal(chosen[0], golden["cat_logits"], 1e-13)
    found = {
        "rate_iid": rate_iid(logits, row("p_q")),
        "rate_vamp": rate_vamp(logits, tuning(row("vamp_x_k"))),
        "simplified_loss": mixture_loss(x, *mixture),
        "distortion_cat": categorical_distortion(chosen, x, *mixture[:2]),
        "rate_cat": categorical_rate(chosen, mixture[2]),
        "mse_cat": categorical_squared_error(chosen, x, *mixture[:2]),
    }
    for name, values in found.items():
        assert values.mean().item() == pytest.approx(golden[name].item(), abs=1e-13), name


@pytest.mark.parametrize(
    ("name", "target", "step_size", "atol", "atol_parameters"),
    [("N6_gauss_ising_f64", 1.0, 1e-4, 1e-12, 1e-12), ("N8_LN_ising_f32", 1.8, 1e-3, 2e-6, 1e-4)],
)
def test_60_epochs_of_training(folder, name, target, step_size, atol, atol_parameters):
    """Two copies side by side: one as published, one whose targets and steps are others."""
    golden = np.load(folder / f"train_parity_{name}.npz")
    alone = models(golden, "init/")
    pair = CodingModels(alone.config, 2, alone.words.dtype)
    pair.load_state_dict({n: torch.cat([v, v]) for n, v in alone.state_dict().items()})
    x = torch.tensor(golden["x_train"]).T.expand(2, -1)
    training = CodingTraining(target_rates=(target,), legacy=True)
    assert training.step_sizes == (step_size,)
    targets = torch.tensor([target, 0.3], dtype=torch.float64)
    optimizer = AdamOfModels(
        pair.parameters(), torch.tensor([step_size, 3e-3], dtype=torch.float64)
    )
    betas, terms = [], []
    for epoch in range(60):
        betas.append(pair.beta[0].item())
        terms.append(torch.stack(train_epoch(pair, optimizer, x, training, targets))[:, 0])
        if epoch == 0:
            test = evaluate(pair, torch.tensor(golden["x_test"]).T)
            for values, key in zip(test, ("distortion", "rate"), strict=True):
                expected = golden[f"hist/{key}_test"].item()
                assert values[0].item() == pytest.approx(expected, rel=max(atol, 1e-12))
    distortion, rate = torch.stack(terms, 1)
    for values, key in ((distortion, "distortion"), (rate, "rate"), (np.array(betas), "beta")):
        assert_equal(values, golden[f"hist/{key}"], atol)
    assert_equal(distortion + rate, golden["hist/loss"], atol)
    expected = tensors(golden, "final/")
    for key, parameter in pair.member(0).named_parameters():
        assert_equal(parameter, expected[key], atol_parameters)


@pytest.mark.parametrize(
    ("stimulus", "name"), [(FrequencyStimulus(), "freq"), (SpeedStimulus(), "speed")]
)
def test_tables_of_natural_stimuli(folder, stimulus, name):
    """The golden tables are float32."""
    golden = np.load(folder / "stimulus_tables.npz")
    summary = json.loads((folder / "forward_summary.json").read_text())[f"{name}_prior"]
    values, probabilities, _ = stimulus.atoms()
    assert_equal(values, golden[f"{name}_centres"], rtol=2e-6)
    assert_equal(probabilities, golden[f"{name}_prob"], rtol=2e-4)
    assert probabilities @ values == pytest.approx(summary["mean"], rel=1e-5)
    assert stimulus.variance() == pytest.approx(summary["var"], rel=1e-5)
    assert stimulus.entropy() == pytest.approx(summary["diff_entropy_nats"], abs=1e-5)
    unnormalized = golden[f"{name}_density_unnorm"] / golden[f"{name}_Z"]
    assert_equal(stimulus.density(values), unnormalized, rtol=2e-5)


def test_entropies_and_variances_of_the_other_stimuli(folder):
    expected = json.loads((folder / "forward_summary.json").read_text())["entropies"]
    assert GaussianStimulus().entropy() == pytest.approx(expected["N05"], abs=1e-6)
    assert LogNormalStimulus().entropy() == pytest.approx(expected["LN11"], abs=1e-6)
    assert LogNormalStimulus().variance() == pytest.approx(expected["LN11_var"], rel=1e-6)
    assert MixtureStimulus().variance() == pytest.approx(expected["MOG_var"], rel=1e-6)
    # a mean over 1e6 draws: its standard error is about 6e-4
    assert MixtureStimulus().entropy() == pytest.approx(expected["MOG_MC1e6"], abs=2e-3)
