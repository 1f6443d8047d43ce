"""What the page says of networks with feedback modulation: plain data."""

from dataclasses import dataclass, field

from pipeline.report.picture import Picture

NAN = float("nan")


@dataclass(frozen=True)
class ModulatedView:
    """The networks of one plan; losses per context, means over the seeds that stayed finite.

    `published` says who trained them, None if they were trained here; `clarity` and `decoding`,
    median R2 of the sources, are means over seeds by population, empty before a test.
    """

    label: str
    kind: str
    task: str
    tau: float
    width: float
    seeds: list[int]
    n_planned: int
    n_nonfinite: int
    n_batches: int
    published: str | None
    loss: float
    lowest: float
    highest: float
    silent: float
    clarity: dict[str, float] = field(default_factory=dict)
    decoding: dict[str, float] = field(default_factory=dict)
    deviation: float = NAN


@dataclass(frozen=True)
class FreezeView:
    """The freeze experiment with one network; angles in degrees, means and sd over pairs.

    `analytic` is the largest difference of the angles with frozen feedback and those that follow
    from the gains alone, NaN where a population is not linear; `deviations` are those of outputs
    and sources before the change, with frozen and with released feedback.
    """

    label: str
    seed: int
    n_pairs: int
    frozen: tuple[float, float]
    unfrozen: tuple[float, float]
    unfrozen_same_side: float
    unfrozen_other_side: float
    r_frozen: float | None
    r_unfrozen: float | None
    analytic: float
    deviations: tuple[float, float, float]


@dataclass(frozen=True)
class SubspacesView:
    """All freeze experiments, in the order of the networks; clouds are of the first."""

    networks: list[FreezeView]
    clouds: Picture
    angles: list[Picture]


@dataclass(frozen=True)
class FeedbackView:
    """Everything of networks with feedback modulation, plans from the best to the worst."""

    plans: list[ModulatedView]
    curves: Picture | None = None
    tests: list[Picture] = field(default_factory=list)
    subspaces: SubspacesView | None = None
    dependence: Picture | None = None
    context_decoding: Picture | None = None
    controls: list[Picture] = field(default_factory=list)

    @property
    def populations(self) -> list[str]:
        """Populations that any network was tested in, from inputs to outputs."""
        known = {name for plan in self.plans for name in plan.clarity}
        return [name for name in ("inputs", "lower", "population", "outputs") if name in known]

    @property
    def with_nonfinite(self) -> bool:
        """Whether any training did not stay finite."""
        return any(plan.n_nonfinite for plan in self.plans)
