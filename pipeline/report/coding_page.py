"""What the page says of efficient codes: plain data."""

import math
from dataclasses import dataclass, field
from typing import Any

from pipeline.report.picture import Picture

MISSED = 0.05
"""Nats: rates at stimuli drawn are seldom further from their target."""


@dataclass(frozen=True)
class SweepView:
    """Codes of one architecture at all target rates and seeds; rates in nats.

    `n_codes` are asked for, of which `n_trained` are trained and `n_nonfinite` of these did not
    stay finite. `targets` holds one mapping per target rate once all codes are analysed:
    `target_rate`, `n`, `rate`, `distortion`, `excess` with their sd `excess_sd`, and means over the
    codes, `mutual_information`, `word_prior_entropy`, `posterior_mse`, `sampling_mse` and
    `mean_width`; `laws` one per target rate, with `target_rate` and by relation (`error`, `width`,
    `density`, `width_density`...) a mapping of `exponent`, `low`, `high` and `correlation`.
    `pictures` are of single codes.
    """

    label: str
    n_neurons: int
    word_prior: str
    encoder: str
    decoder: str
    seeds: list[int]
    n_targets: int
    n_codes: int
    n_trained: int
    n_nonfinite: int
    n_epochs: int
    targets: list[dict[str, Any]] = field(default_factory=list)
    laws: list[dict[str, Any]] = field(default_factory=list)
    training: Picture | None = None
    pictures: list[Picture] = field(default_factory=list)

    @property
    def best(self) -> dict[str, Any] | None:
        """Target rate whose codes are nearest to the ideal line."""
        known = [row for row in self.targets if not math.isnan(row["excess"])]
        return min(known, key=lambda row: row["excess"], default=None)

    @property
    def missed(self) -> list[dict[str, Any]]:
        """Target rates that the codes are further away from than rates stay by chance."""
        return [row for row in self.targets if abs(row["rate"] - row["target_rate"]) > MISSED]

    @property
    def with_intervals(self) -> bool:
        """Whether there are enough seeds for intervals of exponents."""
        laws = [law for row in self.laws for law in row.values() if isinstance(law, dict)]
        return any(not math.isnan(law["low"]) for law in laws)


@dataclass(frozen=True)
class LimensView:
    """Limens of listeners beside those that a sweep predicts.

    `rows` holds one mapping per prediction, the classical one first: `name`, `slope` and
    `correlation` with `_low` and `_high`, and `factor`, by which scaled predictions are typically
    wrong.
    """

    label: str
    study: str
    n_limens: int
    n_listeners: int
    rows: list[dict[str, Any]]
    picture: Picture


@dataclass(frozen=True)
class CodedStimulusView:
    """Codes of one stimulus; `entropy` in nats, `variance` in squared units of the stimulus."""

    stimulus: str
    entropy: float
    variance: float
    n_train: int
    sweeps: list[SweepView]
    rate_distortion: Picture | None = None
    summaries: Picture | None = None
    limens: list[LimensView] = field(default_factory=list)


@dataclass(frozen=True)
class CodingView:
    """Everything of efficient codes."""

    stimuli: list[CodedStimulusView]

    @property
    def n_codes(self) -> int:
        """Codes that are trained and stayed finite."""
        sweeps = [sweep for stimulus in self.stimuli for sweep in stimulus.sweeps]
        return sum(sweep.n_trained - sweep.n_nonfinite for sweep in sweeps)

    @property
    def best(self) -> SweepView | None:
        """Sweep with the codes nearest to their ideal line."""
        sweeps = [s for stimulus in self.stimuli for s in stimulus.sweeps if s.best]
        return min(sweeps, key=lambda sweep: sweep.best["excess"], default=None)
