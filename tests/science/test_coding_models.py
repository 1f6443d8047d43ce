"""Efficient codes against sums and derivatives written down word by word."""

import itertools
import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from science.coding.config import CodingConfig, CodingTask
from science.coding.decoders import PerceptronDecoder
from science.coding.losses import (
    distortion,
    negative_log_likelihood,
    rate_as_sum,
    rate_bernoulli,
    rate_iid,
    relaxed_distortion,
)
from science.coding.models import CodingModels
from science.coding.weights import pack, unpack
from science.coding.words import (
    MEMORY_LIMIT,
    binary_words,
    enumeration_bytes,
    half_word_probabilities,
    word_log_probabilities,
)

F64 = torch.float64
CATEGORICAL = {"encoder": "categorical", "decoder": "mixture", "word_prior": "categorical"}
VARIANTS = [
    {},
    {"encoder": "log", "law": "lognormal"},
    {"encoder": "mixed", "decoder": "separate", "word_prior": "bernoulli"},
    {"word_prior": "vamp", "n_pseudo_stimuli": 3},
    {"legacy": True},
    CATEGORICAL,
    CATEGORICAL | {"legacy": True},
]


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def drawn(n_models=2, **changes):
    """Models away from their initial state, and stimuli above 0."""
    models = CodingModels(CodingConfig(**{"n_neurons": 5, "n_hidden": 7} | changes), n_models, F64)
    x = random(n_models, 40).exp()
    models.initialize(x, [torch.Generator().manual_seed(seed) for seed in range(n_models)])
    with torch.no_grad():
        for index, parameter in enumerate(models.parameters()):
            parameter.add_(0.1 * random(*parameter.shape, seed=index))
    return models, x


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_words_are_counted_from_the_most_significant_bit(n):
    assert binary_words(n).tolist() == [list(w) for w in itertools.product([0, 1], repeat=n)]


@pytest.mark.parametrize("n", [1, 4, 5])
def test_halves_make_up_the_probability_of_every_word(n):
    logits = 3 * random(2, 6, n)
    first, second = half_word_probabilities(logits)
    whole = (first[..., None] * second[..., None, :]).flatten(2)
    p = torch.sigmoid(logits)[..., None, :]
    expected = torch.where(binary_words(n) == 1, p, 1 - p).prod(-1)
    torch.testing.assert_close(whole, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(word_log_probabilities(logits), expected.log(), rtol=1e-12, atol=0)
    torch.testing.assert_close(whole.sum(-1), torch.ones(2, 6, dtype=F64))


@pytest.mark.parametrize("law", ["gaussian", "lognormal"])
@pytest.mark.parametrize("n_stimuli", [1, 9])
def test_distortion_is_the_sum_over_words_of_the_density(law, n_stimuli):
    logits, x = random(3, n_stimuli, 5), random(3, n_stimuli, seed=1).exp()
    mu, log_sigma = random(3, 32, seed=2), random(3, 32, seed=3)
    if law == "gaussian":
        density = torch.distributions.Normal(mu[:, None], log_sigma.exp()[:, None])
    else:
        density = torch.distributions.LogNormal(mu[:, None], log_sigma.exp()[:, None])
    p = word_log_probabilities(logits).exp()
    expected = -(p * density.log_prob(x[..., None])).sum(-1)
    found = distortion(logits, x, mu, log_sigma, law)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


def test_distortion_keeps_its_digits_in_float32_far_from_0_and_for_narrow_codes():
    logits, x = 4 * random(1, 500, 8), 1000 + random(1, 500, seed=1)
    mu, log_sigma = 1000 + random(1, 256, seed=2), random(1, 256, seed=3) - 2
    exact = distortion(logits, x, mu, log_sigma)
    single = distortion(*(values.float() for values in (logits, x, mu, log_sigma)))
    # x itself has lost 3e-5, of some 0.1 of width
    torch.testing.assert_close(single.double(), exact, rtol=3e-3, atol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_model_is_the_sum_over_its_words(variant):
    models, x = drawn(**variant)
    found = models(x)
    logits, words = models.encoder(x), models.words
    if models.config.categorical:
        log_p = torch.log_softmax(logits, -1)
    else:
        log_p = word_log_probabilities(logits)
    mu, log_sigma = models.decoder(words)
    losses = negative_log_likelihood(
        x[..., None], mu[:, None], log_sigma[:, None], models.config.law
    )
    torch.testing.assert_close(found[0], (log_p.exp() * losses).sum(-1), rtol=1e-10, atol=1e-10)
    log_prior = models.word_log_probabilities()
    torch.testing.assert_close(log_prior.exp().sum(-1), torch.ones(2, dtype=F64))
    rate = (log_p.exp() * (log_p - log_prior[:, None])).sum(-1)
    if models.config.word_prior == "vamp":  # convexity: its rate is a bound from above
        assert (found[1] >= rate - 1e-12).all() and (found[1] > rate + 1e-6).any()
    else:
        torch.testing.assert_close(found[1], rate, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("variant", VARIANTS)
def test_models_know_nothing_of_each_other(variant):
    models, x = drawn(3, **variant)
    with torch.no_grad():
        next(models.encoder.parameters())[2] = math.nan
        both = torch.stack(models(x))
        for index in range(2):
            alone = torch.stack(models.member(index)(x[index, None]))
            torch.testing.assert_close(both[:, index], alone[:, 0], rtol=1e-12, atol=1e-12)
        assert torch.isnan(both[:, 2]).any()


def test_gradients_of_the_decoder_at_all_words_are_those_of_autograd():
    for kind in ("mlp", "separate"):
        config = CodingConfig(n_neurons=4, n_hidden=6, decoder=kind)
        decoder, words = PerceptronDecoder(config, 3, F64), binary_words(4)
        decoder.initialize([torch.Generator().manual_seed(seed) for seed in range(3)])
        weights = random(2, 3, 16)
        gradients, outputs = [], []
        for shape in ((16, 4), (3, 16, 4)):  # by hand, and by autograd
            outputs.append(torch.stack(decoder(words.expand(shape))))
            loss = (outputs[-1] * weights).square().sum()
            gradients.append(torch.autograd.grad(loss, list(decoder.parameters())))
        torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(*gradients, rtol=1e-11, atol=1e-11)


def test_relaxed_distortion_becomes_the_exact_one_when_cold():
    """With temperature 1e-6 words are binary: the mean over many is the expectation."""
    models, x = drawn(1)
    x = x[:, :3]
    generator = torch.Generator().manual_seed(5)
    uniforms = torch.rand(1, 3, 20000, 5, generator=generator, dtype=F64)
    with torch.no_grad():
        logits = models.encoder(x)
        sampled = relaxed_distortion(logits, x, models.decoder, uniforms, 1e-6)
        exact = models(x)[0]
        losses = negative_log_likelihood(
            x[..., None], *(v[:, None] for v in models.decoded()), "gaussian"
        )
    spread = losses.std() / 20000**0.5
    assert (sampled - exact).abs().max() < 5 * spread


def test_rate_gradients_of_the_ising_prior_are_differences_of_moments():
    models, x = drawn(1)
    models(x)[1].mean().backward()
    prior, words = models.word_prior, models.words
    with torch.no_grad():
        q = models.word_log_probabilities().exp()[0]
        m = torch.sigmoid(models.encoder(x))[0]
    first = q @ words - m.mean(0)
    second = torch.einsum("w,wi,wj->ij", q, words, words) - m.T @ m / len(m)
    second.fill_diagonal_(0)
    torch.testing.assert_close(prior.bias.grad[0], first, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(prior.raw_couplings.grad[0], second, rtol=1e-10, atol=1e-12)


def test_couplings_are_symmetric_without_diagonal_whatever_is_stored():
    models, _ = drawn(2)
    couplings = models.word_prior.couplings()
    assert torch.equal(couplings, couplings.mT)
    assert not torch.diagonal(couplings, dim1=1, dim2=2).any() and couplings.any()


def test_first_decoder_and_prior_have_the_specified_spread():
    generators = [torch.Generator().manual_seed(seed) for seed in range(500)]
    models = CodingModels(CodingConfig(n_neurons=6, n_hidden=20), 500, F64)
    decoder, prior = models.decoder, models.word_prior
    decoder.initialize(generators)
    prior.initialize(random(500, 3), generators)
    for values, inputs in (
        (decoder.hidden_weight, 6),
        (decoder.hidden_bias, 6),
        (decoder.output_weight, 20),
        (decoder.output_bias, 20),
    ):
        assert values.abs().max() < inputs**-0.5
        assert values.var().item() == pytest.approx(1 / (3 * inputs), rel=0.1)
    off_diagonal = prior.couplings()[:, ~torch.eye(6, dtype=bool)]
    assert off_diagonal.std().item() == pytest.approx(1 / 6, rel=0.05)  # of W W^T, variance 1/N
    assert (prior.bias == -1).all() and (models.encoder.log_amplitude() == 0).all()


def test_independent_rates_agree():
    logits, p = random(2, 9, 5), torch.sigmoid(random(2, 5, seed=1))
    words = binary_words(5)
    log_prior = torch.log(torch.where(words == 1, p[:, None], 1 - p[:, None])).sum(-1)
    expected = rate_as_sum(logits, log_prior)
    torch.testing.assert_close(rate_iid(logits, p), expected)
    torch.testing.assert_close(rate_bernoulli(logits, torch.logit(p)), expected)
    assert torch.isfinite(rate_bernoulli(300 * logits, 300 * random(2, 5))).all()


def test_the_sign_of_the_prior_makes_the_categorical_encoder_the_posterior():
    """Then D + R is the likelihood of the mixture, which nothing can be below (neural_vae 2)."""
    totals = {}
    for legacy in (False, True):
        config = CodingConfig(n_neurons=5, **CATEGORICAL, legacy=legacy)
        models = CodingModels(config, 1, F64)
        with torch.no_grad():
            for index, part in enumerate((models.decoder.mu, models.decoder.log_sigma)):
                part.copy_(random(1, 5, seed=index))
            models.word_prior.logits.copy_(random(1, 5, seed=2))
            parts = (models.decoder.mu, models.decoder.log_sigma, models.word_prior.logits)
            models.encoder.invert(*parts)
            x = random(1, 50, seed=3)
            totals[legacy] = sum(models(x)).mean().item()
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=parts[2][0].detach()),
        torch.distributions.Normal(parts[0][0].detach(), parts[1][0].detach().exp()),
    )
    expected = -mixture.log_prob(x[0]).mean().item()
    assert totals[False] == pytest.approx(expected, abs=1e-12)
    assert totals[True] > expected + 0.01


def test_words_too_many_to_enumerate_say_the_memory_they_would_need():
    needed = enumeration_bytes(40, 100) / 2**30
    with pytest.raises(ValidationError, match=rf"2\^40 words .* need {needed:,.0f} GiB of memory"):
        CodingConfig(n_neurons=40)
    largest = max(n for n in range(2, 40) if enumeration_bytes(n, 100) <= MEMORY_LIMIT)
    config = CodingConfig(n_neurons=largest)
    with pytest.raises(ValueError, match=r"1000 model\(s\) .* GiB of memory"):
        CodingModels(config, 1000)


@pytest.mark.parametrize(
    "changes",
    [
        {"encoder": "categorical"},
        {"decoder": "mixture"},
        {"word_prior": "categorical"},
        CATEGORICAL | {"law": "lognormal"},
    ],
)
def test_categorical_parts_only_go_together(changes):
    with pytest.raises(ValidationError, match="only go together"):
        CodingConfig(n_neurons=4, **changes)


@pytest.mark.parametrize(
    "changes", [{"encoder": "log"}, {"encoder": "mixed"}, {"law": "lognormal"}]
)
def test_logarithms_refuse_stimuli_that_are_not_positive(changes):
    models = CodingModels(CodingConfig(n_neurons=3, **changes), 1, F64)
    with pytest.raises(ValueError, match=r"must be above 0, the smallest is -2"):
        models.initialize(torch.tensor([[1.0, -2.0, 3.0, 4.0]]), [torch.Generator()])


def test_too_few_stimuli_for_the_neurons():
    models = CodingModels(CodingConfig(n_neurons=4), 1, F64)
    with pytest.raises(ValueError, match="3 distinct stimuli for 4 neurons"):
        models.initialize(torch.tensor([[1.0, 2.0, 3.0, 3.0]]), [torch.Generator()])


def test_weights_survive_as_bytes():
    models, x = drawn(2, encoder="mixed", word_prior="bernoulli")
    models.beta.copy_(torch.tensor([0.5, 0.0]))
    stored, task = unpack(pack(models, CodingTask(n_train=7)))
    assert task == CodingTask(n_train=7) and stored.config == models.config
    assert torch.equal(stored.beta, models.beta)
    with torch.no_grad():
        np.testing.assert_array_equal(torch.stack(stored(x)), torch.stack(models(x)))
    with pytest.raises(ValueError, match="truncated"):
        unpack(pack(models, CodingTask())[:-9])
