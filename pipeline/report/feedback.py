"""Networks with feedback modulation: everything that the report says of them."""

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from pipeline.report import dependence_figures
from pipeline.report.album import Album
from pipeline.report.context_tests import (
    all_tests,
    context_pictures,
    dependence_picture,
    own_tests,
)
from pipeline.report.dependence_figures import Control
from pipeline.report.feedback_page import FeedbackView
from pipeline.report.modulated_networks import (
    best_seeds,
    loss_curves,
    modulated_networks,
    plan_view,
    task_of,
)
from pipeline.report.path_integrators import NETWORK, PLAN, left_out
from pipeline.report.picture import Picture
from pipeline.report.subspaces import subspaces
from schemas.feedback import (
    ContextDecoding,
    ContextDecodingConfig,
    FeedbackControl,
    FeedbackControlConfig,
)

N_DECODED = 4
"""Networks from which the decoding of contexts is drawn."""


def feedback(album: Album) -> FeedbackView | None:
    """Describe all networks with feedback modulation; None without any."""
    trained = modulated_networks()
    if trained.empty:
        return None
    tests = all_tests(trained)
    own = own_tests(tests)
    return FeedbackView(
        plans=[
            plan_view(of, own.merge(of[[*PLAN, "seed"]]))
            for _, of in trained.groupby("label", sort=False)
        ],
        curves=loss_curves(trained, album),
        tests=context_pictures(own, album),
        subspaces=subspaces(trained, album),
        dependence=dependence_picture(tests, album),
        context_decoding=_context_decoding(trained, album),
        controls=list(_controls(trained, own, album)),
    )


def _context_decoding(trained: pd.DataFrame, album: Album) -> Picture | None:
    """Draw how well contexts are decoded from the best network of every plan."""
    made = ContextDecoding.proj() * ContextDecodingConfig.proj("n_grid_points")
    grids = pd.DataFrame(made.to_dicts(order_by=["n_grid_points DESC", "KEY"]))
    best = best_seeds(trained.merge(grids, on=NETWORK)) if len(grids) else grids
    if best.empty:
        return None
    networks = {n.label: _decoded(n) for n in best.head(N_DECODED).itertuples()}
    caption = (
        "R\u00b2 of what is decoded from mean activity in the second half of a context, in "
        "contexts that the decoder was not fitted to, by a linear decoder and one of all products "
        "of two signals. Context: two entries of the mixing matrix; inverse: its inverse. "
        "Modulation: feedback signals, or weights." + left_out(len(best) - len(networks))
    )
    figure = dependence_figures.context_decoding(networks)
    return album.add("context-decoding", figure, "Decoding of the context", caption)


def _decoded(network: Any) -> dict[str, dict[str, float]]:
    """Return R2 by what is decoded from where, and by what the decoder sees of it."""
    key = {name: getattr(network, name) for name in ContextDecoding.primary_key}
    found: dict[str, dict[str, float]] = {}
    for row in (ContextDecoding.Score & key).to_dicts(order_by="KEY"):
        r2 = math.nan if row["context_r2"] is None else row["context_r2"]
        name = f"{row['decoded_target']} from {row['decoded_layer']}"
        found.setdefault(name, {})[row["decoder_features"]] = r2
    return found


def _controls(trained: pd.DataFrame, own: pd.DataFrame, album: Album) -> Iterator[Picture]:
    """Draw the controls of every task that a network was trained on."""
    made = FeedbackControl * FeedbackControlConfig.proj("control_window")
    for training_set in trained.training_set_hash.unique():
        key = {"training_set_hash": training_set}
        of = pd.DataFrame((made & key).to_dicts(order_by="KEY"))
        if of.empty:
            continue
        first = of.iloc[0]
        rows = [
            Control("linear map, in its own context", first.linear_own_mean),
            Control("linear map, in other contexts", first.linear_other_median),
        ]
        rows += [_window(row) for row in of.sort_values("control_window").itertuples()]
        outputs = own[(own.training_set_hash == training_set) & (own.population == "outputs")]
        best = best_seeds(outputs).decoding_median
        caption = (
            f"R\u00b2 of {task_of(training_set).sources.type} without feedback: of a "
            "linear map fitted in one context, and of rectified layers that were trained in many "
            "contexts and see so many samples, in other contexts: median, and mean \u00b1 standard "
            "deviation of contexts; worse than \u22121 at the edge. Dashed: linear decoder of the "
            "outputs of the best network with feedback, in contexts that it was not fitted to."
        )
        figure = dependence_figures.controls(rows, float(best.iloc[0]) if len(best) else math.nan)
        yield album.add("feedback-controls", figure, "Controls without feedback", caption)


def _window(row: Any) -> Control:
    samples = f"{row.control_window} sample" + "s" * (row.control_window > 1)
    found = row.feedforward_median, row.feedforward_mean, row.feedforward_sd
    return Control(f"feed-forward network, {samples}", *found)
