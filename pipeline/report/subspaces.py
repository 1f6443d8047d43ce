"""How the plane of a population turns when a context changes, with frozen and released feedback."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.report import subspace_figures
from pipeline.report.album import Album
from pipeline.report.feedback_page import FreezeView, SubspacesView
from pipeline.report.modulated_networks import best_seeds
from pipeline.report.path_integrators import NETWORK
from pipeline.report.picture import Picture
from pipeline.report.subspace_figures import PHASE_COLOURS, FrozenPairs
from schemas.feedback import FreezeConfig, FreezeExperiment
from schemas.model import load_feedback_network
from science.feedback import (
    ContextTestParams,
    FeedbackNetwork,
    FeedbackTask,
    FreezeParams,
    FreezeResult,
    FreezeTraces,
    freeze_experiment,
    principal_components,
    run_contexts,
)

N_DRAWN = 4
"""Networks whose angles are drawn."""

PHASES = tuple(PHASE_COLOURS)

Floats = NDArray[np.float64]


def subspaces(trained: pd.DataFrame, album: Album) -> SubspacesView | None:
    """Describe the freeze experiments of the best network of every plan; None without any.

    Of several with one network, the one with the most pairs counts.
    """
    rows = FreezeExperiment * FreezeConfig.proj("n_freeze_pairs")
    made = pd.DataFrame(rows.to_dicts(order_by=["n_freeze_pairs DESC", "KEY"]))
    best = list(best_seeds(trained.merge(made, on=NETWORK)).itertuples()) if len(made) else []
    if not best:
        return None
    pairs = {network.label: _pairs(network) for network in best}
    return SubspacesView(
        networks=[_view(network, pairs[network.label]) for network in best],
        clouds=_clouds(best[0], pairs[best[0].label], album),
        angles=[_angles(network, pairs[network.label], album) for network in best[:N_DRAWN]],
    )


def _pairs(network: Any) -> pd.DataFrame:
    """Return a row per pair of a network, angles in degrees, NaN where there is no plane."""
    key = {name: getattr(network, name) for name in FreezeExperiment.primary_key}
    rows = pd.DataFrame((FreezeExperiment.Pair & key).to_dicts(order_by="freeze_pair"))
    names = (name for name in rows if "angle" in name or "deviation" in name)
    return rows.astype(dict.fromkeys(names, float)).astype({"on_same_side": bool})


def _view(network: Any, pairs: pd.DataFrame) -> FreezeView:
    same = pairs.on_same_side
    return FreezeView(
        label=network.label,
        seed=network.seed,
        n_pairs=len(pairs),
        frozen=(pairs.angle_frozen.mean(), pairs.angle_frozen.std(ddof=0)),
        unfrozen=(pairs.angle_unfrozen.mean(), pairs.angle_unfrozen.std(ddof=0)),
        unfrozen_same_side=pairs.angle_unfrozen[same].mean(),
        unfrozen_other_side=pairs.angle_unfrozen[~same].mean(),
        r_frozen=network.distance_r_frozen,
        r_unfrozen=network.distance_r_unfrozen,
        analytic=(pairs.angle_frozen - pairs.analytic_angle_frozen).abs().max(),
        deviations=tuple(pairs[f"deviation_{phase}"].mean() for phase in PHASES),
    )


def _angles(network: Any, pairs: pd.DataFrame, album: Album) -> Picture:
    figure = subspace_figures.plane_angles(
        FrozenPairs(
            pairs.context_distance.to_numpy(),
            pairs.on_same_side.to_numpy(),
            pairs.angle_frozen.to_numpy(),
            pairs.angle_unfrozen.to_numpy(),
            pairs[[f"deviation_{phase}" for phase in PHASES]].to_numpy(),
        )
    )
    caption = (
        f"{network.label}, seed {network.seed}: {len(pairs)} pairs of contexts. Left: how far the "
        "plane of (output 1, output 2, first component) has turned from the one before the change, "
        "a dot per pair; same side: the determinants of both contexts have one sign. Right: error "
        "at the end of each phase; line: median."
    )
    return album.add("plane-angles", figure, "Angles of population planes", caption)


def _clouds(network: Any, pairs: pd.DataFrame, album: Album) -> Picture:
    """Run the pair with the median angle once more and draw its population."""
    params = FreezeConfig.params({"freeze_hash": network.freeze_hash})
    angles = pairs.late_angle_unfrozen.fillna(0).to_numpy()
    pair = pairs.iloc[int(np.argsort(angles, kind="stable")[len(angles) // 2])]
    weights = network.weights_sha256
    points, result = phases(*load_feedback_network(weights), params, pair.pair_mixing[None])
    frozen, unfrozen = (float(angle) for angle in (result.angle_frozen, result.angle_unfrozen))
    caption = (
        f"{network.label}, seed {network.seed}, the pair of contexts with the median angle: the "
        "population before the change (grey), while feedback is frozen, and at the end of the "
        f"context, after its release. Planes: fits. They are turned by {frozen:.1f}\u00b0 and "
        f"{unfrozen:.1f}\u00b0."
    )
    figure = subspace_figures.phase_clouds(points, result.normals)
    return album.add("population-planes", figure, "Population planes of three phases", caption)


def phases(
    network: FeedbackNetwork, task: FeedbackTask, params: FreezeParams, mixing: Floats
) -> tuple[list[Floats], FreezeResult]:
    """Repeat a pair, (1, 2, 2, 2), with other noise: late points (n, 3) of phases, and planes."""
    task, rng = params.of(task), np.random.default_rng(params.seed)
    reference = ContextTestParams(
        n_contexts=params.n_contexts, n_train_contexts=1, seed=params.seed, legacy=params.legacy
    )
    many = run_contexts(network, task, reference.contexts(task, rng)[None], rng)
    width = many.activity["z"].shape[-1]
    components = principal_components(many.activity["z"].reshape(-1, width))
    phase = task.n_steps // 2
    found = run_contexts(network, task, mixing, rng, freeze_from=1, n_frozen=phase)
    population = found.activity["z"].reshape(-1, width)
    outputs = found.outputs.reshape(-1, 2)
    skip = phase - max(3, round(params.late_fraction * phase))
    traces = FreezeTraces(found.targets.reshape(-1, 2), outputs, population)
    result = freeze_experiment(traces, components, phase, skip)
    points = np.column_stack([outputs, components.whiten(population)[:, 0]])
    return [points[n * phase + skip : (n + 1) * phase] for n in (1, 2, 3)], result
