"""What the pages say: plain data, rendered by a template each."""

import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from pipeline.report.coding_page import CodingView
from pipeline.report.feedback_page import FeedbackView
from pipeline.report.navigation_page import FitsView, NavigationView
from pipeline.report.picture import Picture
from pipeline.truth import SIGNIFICANT_Q, MEISummary


@dataclass(frozen=True)
class ScanView:
    """A recording: name (animal-session-scan), where it came from, what it holds."""

    name: str
    reader: str
    source: str
    sha256: str | None
    units: int
    trials: int
    images: str
    ingested_at: datetime
    virtual: bool


@dataclass(frozen=True)
class Recorded:
    """All recordings, and pictures of them."""

    scans: list[ScanView] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    samples: list[Picture] = field(default_factory=list)


@dataclass(frozen=True)
class OracleView:
    """Reliability of the units under one oracle method; medians are over all units."""

    method: str
    n_units: int
    n_reliable: int
    n_repeated_images: int
    medians: dict[str, float]
    picture: Picture


@dataclass(frozen=True)
class ModelView:
    """An ensemble and how well it predicts.

    `score` is the mean validation correlation of its members, by which models are chosen. `medians`
    are over the units whose score is known: correlations with single trials of the `validation` and
    `test` images, with the mean over repeats (`test_avg`), `cc_norm`, `feve`, `oracle_fraction`,
    and `mean_input`: like `test`, with the mean eye position and behaviour.
    """

    label: str
    architecture: str
    best_of: str | None
    n_members: int
    score: float
    medians: dict[str, float]
    n_cc_norm: int
    n_well_predicted: int
    n_units: int
    seconds: float | None


@dataclass(frozen=True)
class ModelsView:
    """All models of a training set, the ensembles from best to worst."""

    ensembles: list[ModelView]
    n_trained: int
    n_nonfinite: int
    n_resumed: int
    n_resumptions: int
    scores: Picture | None
    curves: Picture
    fields: Picture | None

    @property
    def with_mean_input(self) -> bool:
        """Whether a model makes use of eye position or behaviour."""
        return any(math.isfinite(e.medians["mean_input"]) for e in self.ensembles)


@dataclass(frozen=True)
class Tile:
    """One unit of a gallery.

    `x` and `y` are the corner of its MEI on the sheet, px; `outline` is the edge of its mask as the
    path of an SVG, `scores` what the gallery can be sorted by, without the unknown ones; `page` is
    that of the unit, if it has one.
    """

    title: str
    subtitle: str
    x: int
    y: int
    outline: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    page: str | None = None


@dataclass(frozen=True)
class Gallery:
    """MEIs, all on one sheet of `width` x `height` px, with true fields to the right if known.

    `scores` maps the name of everything that tiles can be sorted by to its explanation.
    """

    sheet: Picture
    width: int
    height: int
    tile_width: int
    tile_height: int
    tiles: list[Tile]
    scores: dict[str, str]
    n_pages: int = 0


@dataclass(frozen=True)
class MasksView:
    """Masks of a run: how they were made, counts by status, medians."""

    how: str
    method: str
    statuses: dict[str, int]
    median_size: float
    n_pixels: int
    median_ratio: float
    picture: Picture


@dataclass(frozen=True)
class ComparisonView:
    """MEIs beside their controls at equal mean and contrast, grey values.

    `summary` holds one mapping per pair of images and group of cells, with the columns of
    `pipeline.truth.comparison_summary`.
    """

    title: str
    mean: float
    contrast: float
    n_units: int
    n_unreached: int
    n_well_predicted: int
    has_truth: bool
    picture: Picture
    summary: list[dict[str, Any]]


@dataclass(frozen=True)
class RunView:
    """MEIs of one ensemble, selection, method and mask method.

    `n_dead` units have a zero gradient, in `n_nonfinite` response or gradient was not finite.
    """

    title: str
    n_units: int
    n_dead: int
    n_nonfinite: int
    gallery: Gallery | None
    summary: MEISummary | None
    truth: list[Picture]
    masks: MasksView | None
    comparisons: list[ComparisonView] = field(default_factory=list)

    @property
    def n_meis(self) -> int:
        """Units that have an MEI."""
        return self.n_units - self.n_dead - self.n_nonfinite


@dataclass(frozen=True)
class UnitPage:
    """Everything about the MEI of one unit.

    `facts` maps a heading to what is said under it, `responses` holds one mapping per image at
    equal mean and contrast.
    """

    title: str
    run: str
    picture: Picture
    facts: dict[str, dict[str, str]]
    responses: list[dict[str, Any]]


@dataclass(frozen=True)
class MonitorView:
    """The monitor of a later recording, by the calibration nearest in time.

    `delta_hours` is the time from the recording to the calibration; `other` says which calibration
    the images were made for, if that is another one.
    """

    rig: str
    calibrated_at: datetime
    delta_hours: float
    gamma: float
    darkness: float
    amplitude: float
    other: str | None


@dataclass(frozen=True)
class StimulusView:
    """A stimulus set: what was asked for, and one mapping per kind of what it holds.

    `kinds` have `name`, `n`, `mean` and `contrast` (averages over the images, in `unit`) and
    `n_unreached`, images whose mean or contrast are not as asked for.
    """

    name: str
    unit: str
    mean: float
    contrast: float
    kinds: list[dict[str, Any]]


@dataclass(frozen=True)
class MatchView:
    """How the cells of one later recording were matched in one way.

    `result` is a row of `pipeline.truth.match_results`, NaN where unknown; `votes` maps how many
    stacks agree to the number of cells, `statuses` what a match counts as to that of matches;
    `median_correlations` are of matched cells and of all other pairs.
    """

    method: str
    result: dict[str, Any]
    median_distance: float
    votes: dict[int, int]
    statuses: dict[str, int]
    median_correlations: tuple[float, float] | None
    picture: Picture | None

    @property
    def has_truth(self) -> bool:
        """Whether it is known which matches are right."""
        return not math.isnan(self.result["n_right"])


@dataclass(frozen=True)
class LaterRecording:
    """A recording that showed a stimulus set."""

    scan: str
    day: int
    stimulus: StimulusView
    monitor: MonitorView | None
    curves: Picture | None
    matches: list[MatchView]


@dataclass(frozen=True)
class ScalingView:
    """Results of a pool under one scaling of the responses.

    `results` holds one mapping per kind of image, with the columns of
    `pipeline.truth.closed_loop_results` and its `name`; `tests` one per pair of kinds, with those
    of `pipeline.truth.kind_results` and the names `first` and `other`.
    """

    scaling: str
    results: list[dict[str, Any]]
    tests: list[dict[str, Any]]


@dataclass(frozen=True)
class PoolView:
    """Responses of matched cells in one later recording or several; the first scaling is drawn."""

    significant_q: ClassVar[float] = SIGNIFICANT_Q

    scans: list[str]
    days: list[int]
    method: str
    scalings: list[ScalingView]
    confusion: Picture | None
    comparisons: list[Picture]

    @property
    def has_truth(self) -> bool:
        """Whether it is known which cells are rightly matched."""
        return any(not math.isnan(r["n_right"]) for s in self.scalings for r in s.results)


@dataclass(frozen=True)
class LoopView:
    """The closed loop of a training set; the largest pools come last."""

    recordings: list[LaterRecording]
    pools: list[PoolView]

    @property
    def own_mei(self) -> dict[str, Any] | None:
        """Result of the MEIs in the last pool that has one."""
        results = [r for p in self.pools for s in p.scalings[:1] for r in s.results]
        return next((r for r in reversed(results) if r["stimulus_kind"] == "mei"), None)


@dataclass(frozen=True)
class Step:
    """An ancestor of an MEI: table, key, and what is worth reading in its row."""

    title: str
    table: str
    key: str
    facts: dict[str, str]
    params: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Provenance:
    """Everything one MEI comes from; `members` are the networks, one mapping each."""

    unit: str
    picture: Picture
    steps: list[Step]
    members: list[dict[str, str]]
    code: list[dict[str, str]]


@dataclass(frozen=True)
class Block:
    """All results of one training set."""

    training_set_hash: str
    scans: list[str]
    n_units: int | None
    tiers: dict[str, int] = field(default_factory=dict)
    oracles: list[OracleView] = field(default_factory=list)
    models: ModelsView | None = None
    runs: list[RunView] = field(default_factory=list)
    loops: LoopView | None = None
    provenance: Provenance | None = None
    populations: list[Picture] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    """The whole report."""

    prefix: str
    made_at: datetime
    version: str
    recorded: Recorded = field(default_factory=Recorded)
    blocks: list[Block] = field(default_factory=list)
    diagram: Picture | None = None
    sql: str = ""
    python: str = ""
    image_fits: list[FitsView] = field(default_factory=list)
    navigation: NavigationView | None = None
    coding: CodingView | None = None
    feedback: FeedbackView | None = None
