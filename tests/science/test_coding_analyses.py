"""Analyses of codes against golden numbers, exact identities and independent sums over words."""

from itertools import product

import numpy as np
import pytest
from scipy import integrate, stats

from science.coding.decoding_error import decoded_moments, decoding_error
from science.coding.fisher_information import cramer_rao_bound, fisher_information
from science.coding.generative_law import generative_divergence, log_generative_density
from science.coding.information import entropy, word_information
from science.coding.rate_distortion import (
    excess_over_ideal,
    non_dominated,
    rate_distortion_curve,
)
from science.coding.stimulus_weights import stimulus_weights
from science.coding.tuning import (
    BellTuning,
    kernel_density,
    mean_width,
    silverman_bandwidth,
    sort_couplings,
    tuning_summary,
)

CASES = ("N5_gauss_ising", "N6_MOG_ising", "N8_LN_ising")


def words_of(n):
    return np.array(list(product([0, 1], repeat=n)))


def word_probability(p_spike):
    """Product over neurons of p or 1 - p, (..., n_x, 2**n)."""
    spikes = words_of(p_spike.shape[-1])
    return np.where(spikes, p_spike[..., None, :], 1 - p_spike[..., None, :]).prod(-1)


def prior_density(name, x):
    if "gauss" in name:
        return stats.norm.pdf(x, 0, 5)
    if "LN" in name:
        return stats.lognorm.pdf(x, 1, scale=np.e)
    means, sds, weights = (-4, 0, 2), (1, 0.5, 1), (0.3, 0.2, 0.5)
    parts = [w * stats.norm.pdf(x, m, s) for m, s, w in zip(means, sds, weights, strict=True)]
    return sum(parts)


class Golden:
    def __init__(self, shared, name):
        with np.load(shared / "golden" / "vae" / f"forward_{name}.npz") as arrays:
            self.arrays = dict(arrays)
        self.tuning = BellTuning(
            self["enc/cs"][0], np.exp(self["enc/log_sigmas"][0]), self["enc/As"][0]
        )
        self.x = self["x_test"][:, 0]
        self.p_words = word_probability(self.tuning.spike_probability(self.x))
        self.mu, self.sigma = self["metric/mu_all"], np.exp(self["metric/log_sigma_all"])
        self.prior = self["metric/q_r"]

    def __getitem__(self, name):
        return self.arrays[name]


@pytest.fixture(params=CASES)
def golden(request, shared):
    golden = Golden(shared, request.param)
    golden.name = request.param
    return golden


@pytest.mark.shared
def test_tuning_gives_the_logits_and_spikes_of_the_original(golden):
    x = golden["x"][:, 0]
    np.testing.assert_allclose(golden.tuning.logits(x), golden["eta"], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(golden.tuning.spike_probability(x), golden["p_spike"], atol=1e-14)


@pytest.mark.shared
def test_generative_law_and_its_divergence_are_those_of_the_original(golden):
    log_q = log_generative_density(golden.x, golden.prior, golden.mu, golden.sigma)
    # The specification's 5e-13, and two digits of a double: one value is -2181.
    np.testing.assert_allclose(log_q, golden["metric/logqx_test"], rtol=4.5e-16, atol=5e-13)
    divergence = generative_divergence(prior_density(golden.name, golden.x), log_q)
    assert divergence == pytest.approx(float(golden["metric/KL_pq"]), abs=1e-12)


@pytest.mark.shared
def test_entropies_and_information_are_those_of_the_original(golden):
    added = len(golden.prior) * 1e-10  # in the logarithm of the original
    assert entropy(golden.prior) == pytest.approx(float(golden["metric/H_q"]), abs=added)
    found = word_information(golden.p_words)
    assert found.marginal == pytest.approx(float(golden["metric/H_r"]), abs=1e-12)
    assert found.conditional == pytest.approx(float(golden["metric/H_r_given_x"]), abs=1e-12)
    assert found.mutual == pytest.approx(float(golden["metric/MI"]), abs=1e-12)
    assert found.mutual == pytest.approx(float(golden["metric/MI2"]), abs=1e-12)


@pytest.mark.shared
def test_error_curves_are_those_of_the_original(golden):
    mean, variance = decoded_moments(golden.mu, golden.sigma)
    found = decoding_error(golden.x, golden.p_words, mean, variance)
    np.testing.assert_allclose(found.posterior, golden["metric/mse_x_mean"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.sampling, golden["metric/mse_x_sample"], rtol=0, atol=1e-12)
    assert found.posterior_mse == pytest.approx(golden["metric/mse_x_mean"].mean(), abs=1e-12)
    assert found.sampling_mse == pytest.approx(golden["metric/mse_x_sample"].mean(), abs=1e-12)


@pytest.mark.shared
def test_elbo_is_the_generative_law_less_the_divergence_of_the_encoder(golden):
    """D + R of the original = -log q(x) + KL(P(r|x), posterior of the words), at every stimulus."""
    x = golden["x"][:, 0]
    log_q = log_generative_density(x, golden.prior, golden.mu, golden.sigma)
    log_joint = np.log(golden.prior) + stats.norm.logpdf(x[:, None], golden.mu, golden.sigma)
    log_p = golden["log_p_r_given_x"]
    gap = (np.exp(log_p) * (log_p - (log_joint - log_q[:, None]))).sum(1)
    excess = excess_over_ideal(golden["R_per_x"], golden["D_per_x"], 0.0)
    np.testing.assert_allclose(excess, gap - log_q, rtol=1e-12)


def code(seed=0, n_models=3, n_neurons=4, linear_share=1.0):
    """Codes with random tuning and a random decoder, of positive stimuli."""
    rng = np.random.default_rng(seed)
    shape = (n_models, n_neurons)
    tuning = BellTuning(
        rng.uniform(0, 4, shape), rng.uniform(0.5, 2, shape), rng.uniform(0.3, 5, shape),
        linear_share,
    )  # fmt: skip
    mu, sigma = rng.normal(1, 1, (n_models, 2**n_neurons)), rng.uniform(0.2, 1, 2**n_neurons)
    return tuning, mu, sigma, rng.dirichlet(np.ones(2**n_neurons), n_models)


@pytest.mark.parametrize("log_normal", [False, True])
def test_generative_density_is_a_density_with_the_moments_of_the_decoder(log_normal):
    _, mu, sigma, prior = code()
    mean, variance = decoded_moments(mu, sigma, log_normal)
    z = np.linspace(-9, 9, 20_001)
    x = np.exp(z) if log_normal else z
    q = np.exp(log_generative_density(x, prior, mu, sigma, log_normal))
    np.testing.assert_allclose(integrate.trapezoid(q, x), 1, atol=1e-6)
    np.testing.assert_allclose(
        integrate.trapezoid(q * x, x), (prior * mean).sum(-1), rtol=1e-5, atol=1e-9
    )
    second = (prior * (variance + mean**2)).sum(-1)
    np.testing.assert_allclose(integrate.trapezoid(q * x**2, x), second, rtol=1e-4)


def test_moments_and_density_of_a_log_normal_word_are_those_of_scipy():
    law = stats.lognorm(0.7, scale=np.exp(0.4))
    mean, variance = decoded_moments([0.4], [0.7], log_normal=True)
    np.testing.assert_allclose([mean[0], variance[0]], [law.mean(), law.var()], rtol=1e-12)
    x = np.array([0.1, 1.0, 5.0])
    log_q = log_generative_density(x, [1.0], [0.4], [0.7], log_normal=True)
    np.testing.assert_allclose(log_q, law.logpdf(x), rtol=1e-12)


def test_divergence_between_gaussians_is_the_closed_form_under_prior_weights():
    x = np.linspace(-12, 12, 4001)
    density = stats.norm.pdf(x)
    log_q = log_generative_density(x, [[1.0], [1.0]], [[0.5], [0.0]], [[2.0], [1.0]])
    expected = np.log(2) + (1 + 0.25) / 8 - 0.5
    found = generative_divergence(density, log_q, weights=density)
    np.testing.assert_allclose(found, [expected, 0], atol=1e-10)


def test_generative_density_in_blocks_is_the_same(monkeypatch):
    tuning, mu, sigma, prior = code()
    x = np.linspace(0.1, 5, 37)
    p = word_probability(tuning.spike_probability(x))
    mean, variance = decoded_moments(mu, sigma)

    def analyses():
        error = decoding_error(x, p, mean, variance)
        information = word_information(p)
        return (
            log_generative_density(x, prior, mu, sigma),
            error.posterior,
            error.bias,
            information.conditional,
        )

    whole = analyses()
    monkeypatch.setattr("science.blocks.BLOCK_VALUES", 200)
    for a, b in zip(whole, analyses(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)


def test_analyses_of_many_models_are_those_of_one_after_the_other():
    tuning, mu, sigma, prior = code()
    x = np.linspace(0.1, 5, 11)
    weights = np.linspace(1, 2, 11)
    p = word_probability(tuning.spike_probability(x))
    mean, variance = decoded_moments(mu, sigma)
    log_q = log_generative_density(x, prior, mu, sigma)
    error = decoding_error(x, p, mean, variance, weights)
    information = word_information(p, weights)
    for k in range(3):
        alone = decoding_error(x, p[k], mean[k], variance, weights)
        np.testing.assert_allclose(error.sampling[k], alone.sampling, rtol=1e-13)
        assert error.posterior_mse[k] == pytest.approx(alone.posterior_mse)
        assert information.mutual[k] == pytest.approx(word_information(p[k], weights).mutual)
        one = log_generative_density(x, prior[k], mu[k], sigma)
        np.testing.assert_allclose(log_q[k], one, rtol=1e-13)


def test_information_of_a_perfect_and_of_a_useless_code():
    perfect = word_information(np.eye(8))
    assert perfect.mutual == pytest.approx(np.log(8))
    assert perfect.conditional == 0
    useless = word_information(np.full((5, 8), 1 / 8))
    assert useless.mutual == pytest.approx(0, abs=1e-15)
    assert useless.marginal == pytest.approx(np.log(8))
    weighted = word_information(np.eye(2), weights=[3, 1])
    assert weighted.mutual == pytest.approx(stats.entropy([3, 1]))


def test_error_is_bias_squared_plus_the_variance_of_the_estimate():
    tuning, mu, sigma, _ = code()
    x = np.linspace(0.1, 5, 9)
    p = word_probability(tuning.spike_probability(x))
    found = decoding_error(x, p, *decoded_moments(mu, sigma))
    estimate = np.einsum("kxw,kw->kx", p, mu)
    spread = np.einsum("kxw,kxw->kx", p, (mu[:, None] - estimate[..., None]) ** 2)
    np.testing.assert_allclose(found.bias, estimate - x, atol=1e-12)
    np.testing.assert_allclose(found.posterior, (estimate - x) ** 2 + spread, rtol=1e-12)


@pytest.mark.parametrize("linear_share", [1.0, 0.0, np.array([0.3, 1.0, 0.0])])
def test_fisher_information_is_that_of_the_words_by_finite_differences(linear_share):
    tuning, *_ = code(linear_share=linear_share)
    x, h = np.linspace(0.2, 5, 13), 1e-5
    here, left, right = (word_probability(tuning.spike_probability(at)) for at in (x, x - h, x + h))
    expected = (((right - left) / (2 * h)) ** 2 / here).sum(-1)
    p, slope = tuning.spike_probability(x), tuning.logit_slopes(x)
    np.testing.assert_allclose(fisher_information(p, slope), expected, rtol=1e-7)


def test_fisher_information_of_silent_and_saturated_neurons_is_zero():
    assert fisher_information([0.0, 1.0], [3.0, 3.0]) == 0


def test_no_decoder_beats_the_cramer_rao_bound_at_its_bias():
    tuning, mu, sigma, _ = code(seed=1, n_models=20, n_neurons=3)
    x, h = np.linspace(0.2, 5, 13), 1e-5
    at = np.concatenate([x, x - h, x + h])
    p = word_probability(tuning.spike_probability(at))
    bias = decoding_error(at, p, *decoded_moments(mu, sigma)).bias
    here, left, right = np.split(bias, 3, axis=-1)
    fisher = fisher_information(tuning.spike_probability(x), tuning.logit_slopes(x))
    bound = cramer_rao_bound(fisher, here, (right - left) / (2 * h))
    error = decoding_error(x, p[:, :13], *decoded_moments(mu, sigma))
    assert (error.posterior >= bound * (1 - 1e-6)).all()
    assert (error.posterior < 1 / fisher).any()  # what biased decoders can do


def test_cramer_rao_bound_is_reached_by_one_neuron():
    """With two words every decoder is efficient: its estimate is linear in the score."""
    tuning = BellTuning(np.array([1.0]), np.array([0.8]), np.array([2.0]))
    x, h = np.array([0.3, 1.9]), 1e-5
    mean, variance = np.array([0.2, 1.3]), np.zeros(2)
    errors = [
        decoding_error(at, word_probability(tuning.spike_probability(at)), mean, variance)
        for at in (x, x - h, x + h)
    ]
    slope = (errors[2].bias - errors[1].bias) / (2 * h)
    fisher = fisher_information(tuning.spike_probability(x), tuning.logit_slopes(x))
    bound = cramer_rao_bound(fisher, errors[0].bias, slope)
    np.testing.assert_allclose(errors[0].posterior, bound, rtol=1e-8)


def test_cramer_rao_bound_without_information():
    assert cramer_rao_bound(4.0) == 0.25
    assert np.isinf(cramer_rao_bound(0.0))
    assert cramer_rao_bound(0.0, bias=3.0, bias_slope=-1.0) == 9


def test_tuning_summary_averages_rank_by_rank():
    tuning = BellTuning(
        centers=np.array([[3.0, 1.0], [2.0, 6.0]]),
        widths=np.array([[0.3, 0.1], [0.2, 0.6]]),
        amplitudes=np.array([[1.0, 3.0], [1.0, 3.0]]),
    )
    found = tuning_summary(tuning)
    np.testing.assert_allclose(found.centers, [1.5, 4.5])
    np.testing.assert_allclose(found.widths, [0.15, 0.45])
    np.testing.assert_allclose(found.peaks, [(0.75 + 0.5) / 2, (0.5 + 0.75) / 2])


def test_mean_width_weights_neurons_by_the_prior_at_their_centre():
    np.testing.assert_allclose(mean_width([[1.0, 4.0]], [[3.0, 1.0]]), [1.75])
    assert np.isnan(mean_width([1.0, 4.0], [0.0, 0.0]))


def test_bandwidth_and_density_are_those_of_scipy_where_the_law_is_normal():
    values = stats.norm.ppf((np.arange(200) + 0.5) / 200, 2, 3)
    ours = silverman_bandwidth(values)
    reference = stats.gaussian_kde(values, bw_method="silverman")
    assert ours == pytest.approx(float(np.sqrt(reference.covariance[0, 0])), rel=0.02)
    outlier = np.append(values[1:], 1e6)
    assert silverman_bandwidth(outlier) == pytest.approx(ours, rel=0.02)
    at = np.linspace(-10, 14, 50)
    reference = stats.gaussian_kde(values, bw_method=ours / values.std(ddof=1))
    np.testing.assert_allclose(kernel_density(values, at, ours), reference(at), rtol=1e-10)
    halves = kernel_density(values.reshape(2, 100), at, ours)
    np.testing.assert_allclose(halves.mean(0), reference(at), rtol=1e-10)


def test_couplings_follow_the_preferred_stimuli():
    rng = np.random.default_rng(0)
    centers, biases, couplings = (rng.normal(size=s) for s in ((2, 5), (2, 5), (2, 5, 5)))
    sorted_couplings, sorted_biases = sort_couplings(couplings, biases, centers)
    for k in range(2):
        order = np.argsort(centers[k])
        np.testing.assert_array_equal(sorted_couplings[k], couplings[k][np.ix_(order, order)])
        np.testing.assert_array_equal(sorted_biases[k], biases[k][order])


def test_front_is_that_of_all_pairs():
    rng = np.random.default_rng(0)
    for n in (1, 2, 30):
        for _ in range(30):
            rate, distortion = rng.integers(0, 8, (2, n)).astype(float)  # with many ties
            no_worse = (rate[:, None] <= rate) & (distortion[:, None] <= distortion)
            better = (rate[:, None] < rate) | (distortion[:, None] < distortion)
            expected = ~(no_worse & better).any(0)
            np.testing.assert_array_equal(non_dominated(rate, distortion), expected)


def test_curve_over_models_and_its_distance_to_the_ideal_line():
    entropy_of_prior, target = 2.4, [1, 0, 3, 1, 0]
    rate = np.array([1.0, 0.5, 2.0, 1.2, 0.7])
    excess = np.array([0.0, 0.1, 0.02, 0.05, 0.3])
    distortion = entropy_of_prior - rate + excess
    curve = rate_distortion_curve(rate, distortion, target, 4, entropy_of_prior)
    assert curve.n_models.tolist() == [2, 2, 0, 1]
    np.testing.assert_allclose(curve.rate, [0.6, 1.1, np.nan, 2.0])
    np.testing.assert_allclose(curve.rate_sd, [0.2 / np.sqrt(2)] * 2 + [np.nan] * 2)
    np.testing.assert_allclose(curve.excess, [0.2, 0.025, np.nan, 0.02])
    np.testing.assert_allclose(curve.distortion, [1.9 + 0.1, 1.35 - 0.025, np.nan, 0.42])
    assert curve.on_front.tolist() == [True, True, True, True, False]
    nothing = rate_distortion_curve([], [], [], 2, entropy_of_prior)
    assert nothing.n_models.tolist() == [0, 0] and np.isnan(nothing.rate).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: entropy([0.5, 0.6]), "sum to 1"),
        (lambda: entropy([-0.5, 1.5]), "negative"),
        (lambda: word_information(np.eye(2), weights=[1.0]), "as many weights"),
        (lambda: stimulus_weights(2, [1.0, -1.0]), "not negative"),
        (lambda: stimulus_weights(2, [0.0, 0.0]), "all 0"),
        (lambda: stimulus_weights(0), "at least one"),
        (lambda: log_generative_density([0.0], [1.0], [0.0], [1.0], True), "positive"),
        (lambda: log_generative_density([0.0], [1.0], [0.0], [0.0]), "widths"),
        (lambda: generative_divergence([0.0, 1.0], [0.0, 0.0]), "cannot occur"),
        (lambda: fisher_information([1.1], [1.0]), r"\[0, 1\]"),
        (lambda: BellTuning(np.zeros(2), np.ones(2), np.array([1.0, -0.1])), "positive"),
        (lambda: code(linear_share=0.5)[0].logits([-1.0]), "positive stimuli"),
        (lambda: silverman_bandwidth([1.0]), "at least two"),
        (lambda: silverman_bandwidth([1.0, 1.0]), "differ"),
        (lambda: non_dominated([1.0, np.nan], [0.0, 1.0]), "diverged"),
        (lambda: non_dominated([1.0], [0.0, 1.0]), "must be"),
        (lambda: rate_distortion_curve([1.0], [1.0], [3], 3, 2.0), "one of 3"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
