"""Efficient codes written down without arrays: sums over words, one by one."""

import math
from itertools import product


class Code:
    """One of several models, one stimulus and one word at a time."""

    def __init__(self, models, index):
        self.config, encoder = models.config, models.encoder
        self.c, self.w = encoder.centers[index].tolist(), encoder.log_widths[index].exp().tolist()
        self.a = encoder.log_amplitude()[index].exp().tolist()
        self.share = {"linear": 1.0, "log": 0.0}.get(self.config.encoder)
        if self.share is None:
            self.share = 1 / (1 + math.exp(-encoder.mixing[index].item()))
        self.words = list(product([0, 1], repeat=self.config.n_neurons))
        mu, log_sigma = models.decoded()
        self.mu, self.sigma = mu[index].tolist(), log_sigma[index].exp().tolist()
        self.prior = models.word_log_probabilities()[index].exp().tolist()

    def spikes(self, x):
        g = x if self.share == 1 else self.share * x + (1 - self.share) * math.log(x)
        odds = [
            a * math.exp(-((g - c) ** 2) / (2 * w**2))
            for a, c, w in zip(self.a, self.c, self.w, strict=True)
        ]
        return [o / (1 + o) for o in odds]

    def words_given(self, x):
        p = self.spikes(x)
        return [
            math.prod(q if spike else 1 - q for q, spike in zip(p, word, strict=True))
            for word in self.words
        ]

    def density(self, x, k):
        y, jacobian = (math.log(x), x) if self.config.law == "lognormal" else (x, 1)
        z = (y - self.mu[k]) / self.sigma[k]
        return math.exp(-z * z / 2) / (self.sigma[k] * math.sqrt(2 * math.pi) * jacobian)

    def moments(self, k):
        mu, variance = self.mu[k], self.sigma[k] ** 2
        if self.config.law == "gaussian":
            return mu, variance
        mean = math.exp(mu + variance / 2)
        return mean, (math.exp(variance) - 1) * mean**2

    def at(self, x):
        """Distortion, rate, errors, bias, generated density at a stimulus."""
        p, ks = self.words_given(x), range(len(self.words))
        moments = [self.moments(k) for k in ks]
        return {
            "distortion": sum(p[k] * -math.log(self.density(x, k)) for k in ks),
            "rate": sum(p[k] * math.log(p[k] / self.prior[k]) for k in ks),
            "posterior": sum(p[k] * (moments[k][0] - x) ** 2 for k in ks),
            "sampling": sum(p[k] * ((moments[k][0] - x) ** 2 + moments[k][1]) for k in ks),
            "bias": sum(p[k] * moments[k][0] for k in ks) - x,
            "entropy": -sum(q * math.log(q) for q in p),
            "generated": sum(self.prior[k] * self.density(x, k) for k in ks),
        }
