"""Networks with feedback modulation in new contexts: clarity, decoding, errors, what they hang on.

Scores are read from the tables. Traces are not stored but for an example: the best networks are
run once more, in the same contexts.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.report import dependence_figures, feedback_figures
from pipeline.report.album import Album
from pipeline.report.dependence_figures import Varied
from pipeline.report.feedback_figures import SwitchTraces
from pipeline.report.modulated_networks import best_seeds, config_of, task_of
from pipeline.report.path_integrators import N_COMPARED, NETWORK, left_out
from pipeline.report.picture import Picture
from schemas.feedback import ContextTest, ContextTestConfig
from schemas.model import load_feedback_network
from science.feedback import ContextTest as Tested
from science.feedback import ContextTestParams, context_distance, context_test

N_DRAWN, N_SHOWN = 3, 6
"""Networks that are run once more, and those whose clarity is drawn."""
SHOWN_BEFORE, SHOWN_AFTER = 200, 600  # steps around a change of context
POPULATIONS = ("inputs", "lower", "population", "outputs")
VARIED = {
    "network_tau": "timescale of feedback (steps)",
    "kernel_width": "width of feedback",
    "test_noise": "noise of the inputs (sd)",
}
CONDITIONS = ["test_noise", "test_steps"]


def all_tests(trained: pd.DataFrame) -> pd.DataFrame:
    """Return a row per network, test and population, with the columns of `modulated_networks`."""
    columns = ("deviation_end", *VARIED, "test_steps")
    scores = ContextTest.Population.proj("clarity_mean", "decoding_median")
    rows = ContextTest.proj(*columns) * scores * ContextTestConfig.proj("n_test_contexts")
    tests = pd.DataFrame(rows.to_dicts(order_by="KEY"))
    if tests.empty:
        names = [*columns, "population", "clarity_mean", "decoding_median"]
        names += ["n_test_contexts", "context_test_hash"]
        return trained.head(0).assign(**dict.fromkeys(names))
    numbers = ["clarity_mean", "decoding_median", *columns]
    tests[numbers] = tests[numbers].astype(float)
    return trained.merge(tests, on=NETWORK)


def own_tests(tests: pd.DataFrame) -> pd.DataFrame:
    """Choose of the tests of every network the one nearest to its task, with the most contexts."""
    tasks = {name: task_of(name) for name in tests.training_set_hash.unique()}
    own = tests.training_set_hash.map(lambda name: tasks[name])
    ranked = tests.assign(
        other_steps=[abs(n - t.n_steps) for n, t in zip(tests.test_steps, own, strict=True)],
        other_noise=[abs(n - t.noise) for n, t in zip(tests.test_noise, own, strict=True)],
        few=-tests.n_test_contexts,
    ).sort_values(["other_steps", "other_noise", "few", "context_test_hash"], kind="stable")
    chosen = ranked.drop_duplicates(NETWORK)[[*NETWORK, "context_test_hash"]]
    return tests.merge(chosen, on=[*NETWORK, "context_test_hash"])


def context_pictures(tests: pd.DataFrame, album: Album) -> list[Picture]:
    """Draw the best networks of the best plans in their own test."""
    best = best_seeds(tests)
    if best.empty:
        return []
    run = {network.label: _run(network) for network in best.head(N_DRAWN).itertuples()}
    left = left_out(len(best) - len(run))
    name, tested = next(iter(run.items()))
    pictures = [_switch(name, tested, album), _clarity(best, album)]
    decoding = {
        label: {p: t.populations[p].decoding.per_context for p in POPULATIONS if p in t.populations}
        for label, t in run.items()
    }
    caption = (
        "R\u00b2 of the sources by a linear decoder of each population that was fitted in other "
        "contexts, a dot per context; below \u22121 at the edge. Line and number: median." + left
    )
    figure = feedback_figures.source_decoding(decoding)
    pictures.append(album.add("source-decoding", figure, "Decoding of the sources", caption))
    caption = (
        f"Distance of outputs and sources after a change of context: mean over contexts, the "
        f"first left out, in {feedback_figures.DEVIATION_BINS} bins." + left
    )
    courses = {label: t.deviation[1:].mean(0) for label, t in run.items()}
    figure = feedback_figures.deviations(courses)
    return [*pictures, album.add("deviations", figure, "Error after a change of context", caption)]


def _run(network: Any) -> Tested:
    """Repeat a test, of a row of `own_tests`."""
    params = ContextTestConfig.params({"context_test_hash": network.context_test_hash})
    return context_test(*load_feedback_network(network.weights_sha256), params)


def _switch(name: str, tested: Tested, album: Album) -> Picture:
    """Draw the change between the two contexts that differ most."""
    traces, n_steps = tested.traces, tested.task.n_steps
    mixing = traces.mixing[0]
    first = int(context_distance(mixing[:-1], mixing[1:]).argmax())
    start, stop = (max(-n_steps, -SHOWN_BEFORE), min(n_steps, SHOWN_AFTER))

    def around(values: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.concatenate([values[first, start:], values[first + 1, :stop]])

    shown = SwitchTraces(
        np.arange(start, stop),
        around(traces.targets),
        around(traces.inputs[0]),
        around(traces.outputs[0]),
        around(traces.feedback[0]),
        mixing[first : first + 2],
    )
    caption = (
        f"{name}: the change between the two contexts that differ most of {len(mixing)}; rows of "
        "the mixing matrices above. Grey behind the outputs: the sources."
    )
    figure = feedback_figures.switch(shown)
    return album.add("switch", figure, "A network before and after a change of context", caption)


def _clarity(best: pd.DataFrame, album: Album) -> Picture:
    networks = {n.label: _clarities(n) for n in best.head(N_SHOWN).itertuples()}
    caption = (
        "Signal clarity: the difference of a signal\u2019s absolute correlations with the sources; "
        "1 for a copy of one source. Inputs and outputs: a dot per context, mean over signals; "
        "populations: a dot per unit, mean over contexts. Line and number: median."
    ) + left_out(len(best) - len(networks))
    figure = feedback_figures.clarities(networks)
    return album.add("clarity", figure, "Signal clarity of populations", caption)


def _clarities(network: Any) -> dict[str, NDArray[np.float64]]:
    """Return clarity by population, of contexts or of units, of a row of `own_tests`."""
    key = {name: getattr(network, name) for name in ContextTest.primary_key}
    inputs, outputs = (ContextTest.Context & key).to_arrays(
        "input_clarity", "output_clarity", order_by="context_index"
    )
    found = {"inputs": inputs.astype(float)}
    for name in ("lower", "population"):
        units = ContextTest.Unit & key & {"population": name}
        if units:
            found[name] = units.to_arrays("unit_clarity", order_by="population_unit").astype(float)
    return found | {"outputs": outputs.astype(float)}


def dependence_picture(tests: pd.DataFrame, album: Album) -> Picture | None:
    """Draw how the clarity of outputs hangs on what was varied; None if nothing was."""
    outputs = tests[(tests.population == "outputs") & (tests.training_status == "ok")].copy()
    outputs["other_params"] = [
        config_of(name).model_dump_json(exclude={"tau", "width"}) for name in outputs.model_hash
    ]
    outputs["context_draw"] = [_draw(name) for name in outputs.context_test_hash]
    panels, n_left = {}, 0
    for column, title in VARIED.items():
        lines = _lines(outputs, column)
        n_left += max(0, len(lines) - N_COMPARED)
        if lines:
            panels[title] = dict(list(lines.items())[:N_COMPARED])
    if not panels:
        return None
    caption = "Clarity of the outputs: mean and standard deviation of the seeds, dots beside them."
    caption += left_out(n_left, "line")
    figure = dependence_figures.dependences(panels, "clarity of the outputs")
    return album.add("dependence", figure, "What the clarity of outputs depends on", caption)


def _draw(context_test_hash: str) -> str:
    """Return what of a test is not among its columns."""
    params: ContextTestParams = ContextTestConfig.params({"context_test_hash": context_test_hash})
    return params.model_dump_json(exclude={"noise", "n_steps"})


def _lines(outputs: pd.DataFrame, column: str) -> dict[str, list[Varied]]:
    """Return a line for all that differs in nothing but this column and the seed."""
    constant = [name for name in VARIED if name != column]
    same = ["training_set_hash", "train_hash", "other_params", "context_draw", "test_steps"]
    lines = []
    for _, of in outputs.groupby([*same, *constant], sort=False, dropna=False):
        points = of.dropna(subset=column).drop_duplicates([*NETWORK, "context_test_hash"])
        if points[column].nunique() > 1:
            values = points.groupby(column).clarity_mean
            line = [Varied(float(at), found.to_numpy()) for at, found in values]
            lines.append((points.iloc[0], line))
    names = _names([first for first, _ in lines], constant)
    return {name: line for name, (_, line) in zip(names, lines, strict=True)}


def _names(firsts: Sequence[Any], constant: Sequence[str]) -> list[str]:
    """Say in what lines differ."""
    words = {"network_tau": "\u03c4 {:g}", "kernel_width": "width {:g}", "test_noise": "noise {:g}"}
    said = {name: words[name] for name in constant} | dict.fromkeys(("sources", "origin"), "{}")
    differ = [name for name in said if len({str(first[name]) for first in firsts}) > 1]
    names = []
    for first in firsts:
        parts = [said[name].format(first[name]) for name in differ if pd.notna(first[name])]
        names.append(", ".join(part for part in [first.kind, *parts] if part))
    return [name if names.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(names)]
