"""Efficient codes in one batched program against one model after the other.

Run with ``python benchmarks/coding.py``; the last line of the output is a JSON object. The plain
side writes the training loop down as the specification does (neural_vae 2 to 5): modules of one
model, tables of stimuli by words, the sum over words of the log-density, `torch.optim.Adam`, beta
after every epoch. Both sides start from the same parameters and see the same stimuli in the same
order, so that their curves must be equal: to rounding in float64, which is checked on a few epochs
beside the float32 runs that are timed. Only epochs are timed: neither the drawing of models nor
their scores.
"""

import itertools
import json
import math
import os
import time
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn

from science.coding.config import CodingConfig, CodingTask, CodingTraining
from science.coding.models import CodingModels
from science.coding.training import CodingTrainee

SEED = 1
LOWEST, HIGHEST = 0.2, 2.6  # target rates, nats
CONFIG = CodingConfig(n_neurons=8, legacy=True)
TASK = CodingTask()
AGREEMENT = {"float64": 1e-10, "float32": 1e-3}  # largest difference of distortion, rate and beta
CHECKED_EPOCHS = 2  # in float64


class PlainModel(nn.Module):
    """One model as the specification writes it."""

    def __init__(self, models: CodingModels, index: int) -> None:
        super().__init__()
        encoder, decoder, prior = models.encoder, models.decoder, models.word_prior
        self.c, self.log_sigma, self.a, self.h, self.j = (
            nn.Parameter(values[index].detach().clone())
            for values in (
                encoder.centers,
                encoder.log_widths,
                encoder.amplitudes,
                prior.bias,
                prior.raw_couplings,
            )
        )
        self.hidden, self.w = nn.Linear(8, CONFIG.n_hidden), nn.Linear(CONFIG.n_hidden, 2)
        self.hidden.weight, self.hidden.bias, self.w.weight, self.w.bias = (
            nn.Parameter(values[index, 0].detach().clone())
            for values in (
                decoder.hidden_weight,
                decoder.hidden_bias,
                decoder.output_weight,
                decoder.output_bias,
            )
        )
        self.j.register_hook(lambda gradient: gradient - torch.diag(torch.diag(gradient)))
        words = list(itertools.product([0, 1], repeat=8))
        self.words = torch.tensor(words, dtype=self.c.dtype)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Distortion and rate at stimuli (B, 1)."""
        eta = torch.log(self.a) - (x - self.c) ** 2 / (2 * torch.exp(2 * self.log_sigma))
        log_p = eta @ self.words.T + F.logsigmoid(-eta).sum(1, keepdim=True)
        mu, log_sigma = self.w(torch.relu(self.hidden(self.words))).unbind(1)
        density = (x - mu) ** 2 / (2 * torch.exp(2 * log_sigma)) + log_sigma
        density = density + 0.5 * math.log(2 * math.pi)
        distortion = (log_p.exp() * density).sum(1).mean()
        energy = self.words @ self.h + ((self.words @ self.j) * self.words).sum(1)
        m = torch.sigmoid(eta)
        rate = ((eta - self.h) * m).sum(1) - ((m @ self.j) * m).sum(1) - F.softplus(eta).sum(1)
        return distortion, (rate + torch.logsumexp(energy, 0)).mean()


def train_plain(
    model: PlainModel, x: Tensor, training: CodingTraining, target: float, step_size: float
) -> Tensor:
    """Distortion, rate and beta of every epoch, (3, n_epochs)."""
    optimizer = torch.optim.Adam(model.parameters(), step_size)
    beta, curve = 1.0, []
    for _ in range(training.n_epochs):
        terms = []
        for batch in x[:, None].split(training.batch_size):
            distortion, rate = model(batch)
            optimizer.zero_grad()
            (distortion + beta * rate).backward()
            optimizer.step()
            terms.append((distortion.item(), rate.item()))
        means = torch.tensor(terms, dtype=torch.float64).mean(0).tolist()
        curve.append((*means, beta))
        beta = max(0.0, beta + training.beta_rate * (means[1] - target))
    return torch.tensor(curve, dtype=torch.float64).T


def one_after_the_other(trainee: CodingTrainee, training: CodingTraining) -> tuple[float, Tensor]:
    """Seconds and curves of plain models, (3, n_epochs, K)."""
    drawn = trainee.build(torch.Generator().manual_seed(SEED))
    models = [PlainModel(drawn, index) for index in range(drawn.n_models)]
    started = time.perf_counter()
    curves = [
        train_plain(model, drawn.stimuli, training, target, step_size)
        for model, target, step_size in zip(
            models, training.target_rates, training.step_sizes, strict=True
        )
    ]
    return time.perf_counter() - started, torch.stack(curves, -1)


def together(trainee: CodingTrainee, training: CodingTraining) -> tuple[float, Tensor]:
    """Seconds and curves of the batched program, (3, n_epochs, K)."""
    generator = torch.Generator().manual_seed(SEED)
    models = trainee.build(generator)
    optimizer = trainee.optimizer(models, max(training.step_sizes))
    started = time.perf_counter()
    for _ in range(training.n_epochs):
        trainee.run_epoch(models, optimizer, generator)
    return time.perf_counter() - started, models.history.values


def alone(trainee: CodingTrainee, training: CodingTraining) -> tuple[float, Tensor]:
    """Seconds and curves of the same program with one model at a time, (3, n_epochs, K)."""
    single = [training.model_copy(update={"target_rates": (t,)}) for t in training.target_rates]
    seconds, curves = zip(
        *(together(CodingTrainee(CONFIG, t, TASK), t) for t in single), strict=True
    )
    return sum(seconds), torch.cat(curves, -1)


def compare(n_models: int, n_epochs: int, dtype: str) -> dict[str, Any]:
    """Seconds of training, and the largest difference of the curves."""
    targets = tuple(torch.linspace(LOWEST, HIGHEST, n_models, dtype=torch.float64).tolist())
    training = CodingTraining(target_rates=targets, n_epochs=n_epochs, dtype=dtype, legacy=True)
    trainee = CodingTrainee(CONFIG, training, TASK)
    together(trainee, training)  # warms up
    (seconds, found), (plain_seconds, expected), (alone_seconds, own) = (
        train(trainee, training) for train in (together, one_after_the_other, alone)
    )
    difference = max((found - other).abs().max().item() for other in (expected, own))
    return {
        "seconds": round(seconds, 3),
        "plain_seconds": round(plain_seconds, 3),
        "ratio": round(plain_seconds / seconds, 2),
        "alone_seconds": round(alone_seconds, 3),
        "ratio_to_alone": round(alone_seconds / seconds, 2),
        "max_difference": difference,
        "equal": difference <= AGREEMENT[dtype],
    }


def main(
    models: Annotated[int, typer.Option(help="Of N = 8, a target rate each.")] = 32,
    epochs: Annotated[int, typer.Option(help="That are timed, of 16 steps each.")] = 5,
    threads: Annotated[int, typer.Option(help="Of torch, for both sides.")] = 2,
) -> None:
    """Measure and print one JSON line; fails if the curves differ."""
    torch.set_num_threads(threads)
    checked = compare(models, CHECKED_EPOCHS, "float64")
    print("float64", checked, flush=True)
    report = compare(models, epochs, "float32")
    report |= {"float64": checked, "equal": report["equal"] and checked["equal"]}
    report |= {"name": "coding", "models": models, "epochs": epochs, "threads": threads}
    report |= {"device": "cpu", "torch": torch.__version__, "load_average": os.getloadavg()[0]}
    print(json.dumps(report))
    if not report["equal"]:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
