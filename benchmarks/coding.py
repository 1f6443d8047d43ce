"""A sweep of efficient codes in one batched program against one model after the other.

Run with ``python benchmarks/coding.py``; the last line of the output is a JSON object. The plain
side writes the training loop down as the specification does (neural_vae 2 to 5): modules of one
model, tables of stimuli by words, the sum over words of the log-density, `torch.optim.Adam`, beta
after every epoch. Both sides start from the same parameters and see the same stimuli in the same
order, so that their curves must be equal: to rounding in float64, which is checked on a few epochs
beside the float32 runs that are timed.
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
from science.coding.training import draw_models, train_sweep

TARGETS = (0.6, 1.2, 1.8, 2.4)
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


def train_plain(model: PlainModel, x: Tensor, training: CodingTraining) -> Tensor:
    """Distortion, rate and beta of every epoch, (3, n_epochs)."""
    optimizer = torch.optim.Adam(model.parameters(), training.step_size)
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
        beta = max(0.0, beta + training.beta_rate * (means[1] - training.target_rate))
    return torch.tensor(curve, dtype=torch.float64).T


def one_after_the_other(trainings: list[CodingTraining], seeds: list[int]) -> Tensor:
    """Curves of plain models, (3, n_epochs, K)."""
    models, x = draw_models(CONFIG, TASK, getattr(torch, trainings[0].dtype), seeds)
    curves = [
        train_plain(PlainModel(models, index), own, training)
        for index, (own, training) in enumerate(zip(x, trainings, strict=True))
    ]
    return torch.stack(curves, -1)


def together(trainings: list[CodingTraining], seeds: list[int]) -> Tensor:
    """Curves of the sweep, (3, n_epochs, K)."""
    sweep = train_sweep(CONFIG, TASK, trainings, seeds)
    return torch.stack([sweep.distortion, sweep.rate, sweep.beta])


def compare(n_models: int, n_epochs: int, dtype: str) -> dict[str, Any]:
    """Seconds of training only, the drawing of models taken off, and the largest difference."""
    trainings = [
        CodingTraining(target_rate=target, n_epochs=n_epochs, dtype=dtype, legacy=True)
        for target, _ in zip(itertools.cycle(TARGETS), range(n_models), strict=False)
    ]
    seeds = [index // len(TARGETS) for index in range(n_models)]
    drawn = [training.model_copy(update={"n_epochs": 0}) for training in trainings]
    together(drawn, seeds)  # warms up
    started = time.perf_counter()
    draw_models(CONFIG, TASK, getattr(torch, dtype), seeds)
    drawing = time.perf_counter() - started
    seconds, curves = [], []
    for train in (together, one_after_the_other):
        started = time.perf_counter()
        curves.append(train(trainings, seeds))
        seconds.append(round(time.perf_counter() - started - drawing, 3))
    difference = (curves[0] - curves[1]).abs().max().item()
    return {
        "seconds": seconds[0],
        "plain_seconds": seconds[1],
        "ratio": round(seconds[1] / seconds[0], 2),
        "max_difference": difference,
        "equal": difference <= AGREEMENT[dtype],
    }


def main(
    models: Annotated[int, typer.Option(help="How many of N = 8.")] = 32,
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
