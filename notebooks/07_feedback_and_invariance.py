# %% [markdown]
# # 07 Feedback and invariance
#
# Two voices, two microphones, and the room changes again and again. A network that hears only the
# mixtures learns to return the voices, because feedback modulates what it does to its inputs. At
# the end you know that it is the population that becomes invariant and not its neurons, and what
# frozen feedback, linear maps and longer memories can and cannot do instead.
#
# Needs the project of `make demo`. What the tables hold, and the paper: `docs/feedback.md`.

# %%
import matplotlib.pyplot as plt
import numpy as np

from pipeline.database import open_database
from pipeline.report.feedback_figures import clarities
from pipeline.report.style import FAINT, cycle, label, tidy
from pipeline.report.subspace_figures import PHASE_COLOURS, FrozenPairs, phase_clouds, plane_angles
from pipeline.report.subspaces import phases
from pipeline.sql import read_sql

open_database()

from schemas.feedback import ContextTest, FreezeConfig, FreezeExperiment
from schemas.model import TrainedModel, load_feedback_network

# %% [markdown]
# ## What does it do when the room changes?
#
# A *context* is a mixing matrix. Below, what the network heard, returned and fed back around a
# change of context, at 0; the true sources are grey behind the outputs. The inputs look as before,
# only mixed otherwise; the outputs are wrong for a while, until the feedback has settled anew.

# %%
networks = TrainedModel * TrainedModel.SourceLoss & FreezeExperiment.proj()
networks = networks.to_pandas(order_by="source_loss").reset_index()
networks["trained"] = np.where(networks.best_epoch > 0, "trained", "untrained")
best = networks.loc[0, TrainedModel.primary_key].to_dict()
tests = (ContextTest & best).to_dicts(order_by="test_noise, context_test_hash")
quiet = tests[0]
steps = np.arange(len(quiet["example_sources"])) - quiet["example_switch"]
around = np.abs(steps) <= quiet["test_steps"]
figure, axes = plt.subplots(3, 1, figsize=(10.4, 5), sharex=True, layout="constrained")
for ax, name in zip(axes, ("inputs", "outputs", "feedback"), strict=True):
    tidy(ax)
    ax.axvline(0, color=FAINT, lw=1)
    if name == "outputs":
        ax.plot(steps[around], quiet["example_sources"][around], color=FAINT, lw=3)
    signals = quiet[f"example_{name}"][around]
    for colour, signal in zip(cycle(signals.T), signals.T, strict=True):
        ax.plot(steps[around], signal, color=colour, lw=1.2)
    label(ax, "", name)
label(axes[-1], "steps from the change of context", "feedback")

# %% [markdown]
# ## Who is invariant?
#
# *Signal clarity* says how much a signal follows one source rather than the other: 1 for a copy of
# one, 0 for equal parts of both. Dots are contexts (inputs, outputs) or units (population). If the
# network solved the task by making its neurons invariant, the population would be as clear as the
# outputs. It is not: units are as mixed as the inputs, and yet what is read from all of them
# together is clear. The untrained network shows what the wiring does alone.

# %%
panels = {}
for network in networks.drop_duplicates("trained").itertuples():
    key = {name: getattr(network, name) for name in TrainedModel.primary_key}
    key |= {"context_test_hash": quiet["context_test_hash"]}
    mixed = (ContextTest.Context & key).to_arrays("input_clarity").astype(float)
    returned = (ContextTest.Context & key).to_arrays("output_clarity").astype(float)
    units = (ContextTest.Unit & key & "population = 'population'").to_arrays("unit_clarity")
    panels[network.trained] = {
        "inputs": mixed,
        "population": units.astype(float),
        "outputs": returned,
    }
clear = clarities(panels)
clear

# %% [markdown]
# The same as a table of all tests, with how well a linear decoder tells the sources in contexts
# that it was never fitted to (`decoding_median`, R²). Noise in the inputs takes clarity from the
# outputs: feedback can undo a mixture, not noise.

# %%
clarity = read_sql("""
    SELECT m.best_epoch > 0 AS trained, c.network_type, c.test_noise, c.population,
      c.clarity_mean, c.decoding_median
    FROM population_clarities AS c
    JOIN models AS m USING (training_set_hash, model_hash, train_hash, seed)
""")
clarity.pivot_table(
    index=["network_type", "trained", "test_noise"],
    columns="population",
    values=["clarity_mean", "decoding_median"],
).round(2)

# %% [markdown]
# ## What does frozen feedback show?
#
# A population moves in a plane, since it is driven by two sources. Change the context while
# feedback is frozen, and the activity changes (every neuron gets another mixture) but stays in its
# plane: all that is linear with fixed gains. Release the feedback, and the plane turns: not back to
# where it was, but so that the readout sees the sources again. Left and right show one pair of
# contexts, points are moments, in the two outputs and the first component of the population.

# %%
pairs = read_sql(
    """
    SELECT * FROM freeze_pairs WHERE training_set_hash = :training_set_hash
      AND model_hash = :model_hash AND train_hash = :train_hash AND seed = :seed
    """,
    best,
)
typical = pairs.sort_values("late_angle_unfrozen").iloc[len(pairs) // 2]
key = best | {"freeze_hash": typical.freeze_hash, "freeze_pair": int(typical.freeze_pair)}
mixing = (FreezeExperiment.Pair & key).fetch1("pair_mixing")
network, task = load_feedback_network(networks.weights_sha256[0])
points, planes = phases(network, task, FreezeConfig.params(key), mixing[None])
clouds = phase_clouds(points, planes.normals)
clouds

# %% [markdown]
# All pairs. With frozen feedback the angle is small whatever the contexts; what is left of it is
# the ripple of the modulation before the change. Released, the plane turns the more the less alike
# the contexts are, most between the two sides of the contexts that cannot be undone (determinant
# 0). Right: the price of freezing.

# %%
deviation = pairs[[f"deviation_{phase}" for phase in PHASE_COLOURS]]
angles = plane_angles(
    FrozenPairs(
        pairs.context_distance.to_numpy(),
        pairs.on_same_side.to_numpy(bool),
        pairs.angle_frozen.to_numpy(),
        pairs.angle_unfrozen.to_numpy(),
        deviation.to_numpy(),
    )
)
angles

# %% [markdown]
# ## What does the feedback know?
#
# The mean feedback in a context, and how well a linear or quadratic decoder tells from it the
# context or its inverse (R² in contexts left out). Feedback need not know the room: it must carry
# what undoes it, and that is the inverse of the mixing. So the inverse can be read by a linear
# decoder, and the mixing less well.

# %%
decoded = read_sql("""
    SELECT m.best_epoch > 0 AS trained, d.decoded_layer, d.decoded_target, d.decoder_features,
      d.context_r2
    FROM context_decodings AS d
    JOIN models AS m USING (training_set_hash, model_hash, train_hash, seed)
    WHERE d.decoded_layer = 'modulation'
""")
decoded.pivot_table(
    index=["trained", "decoder_features"], columns="decoded_target", values="context_r2"
).round(3)

# %% [markdown]
# ## Would less do?
#
# A linear map undoes the context that it was fitted to, and no other. A feed-forward network that
# sees one sample cannot do it in a context it does not know either. One that sees a window long
# enough to estimate the mixture can: memory in place of feedback.

# %%
controls = read_sql("""
    SELECT control_window, linear_own_mean, linear_other_median, feedforward_median
    FROM feedback_controls ORDER BY control_window
""")
controls.round(3)

# %% [markdown]
# ## What have we learnt?
#
# Outputs are clear though neither inputs nor units are. The plane cannot turn while feedback is
# frozen, which is algebra, and the fitted angles are those of algebra. Released feedback turns it,
# and restores the outputs. Feedback carries the inverse of the context.

# %%
trained = clarity[(clarity.trained == 1) & (clarity.test_noise == clarity.test_noise.min())]
trained = trained[trained.network_type == quiet["network_type"]]
trained = trained.groupby("population").clarity_mean.max()
assert trained.outputs > 0.75 > trained.inputs, "outputs are not clearer than inputs"
assert trained.population < trained.outputs - 0.2, "units are as clear as outputs"
assert (pairs.angle_frozen - pairs.analytic_angle_frozen).abs().max() < 0.01, (
    "fitted planes are not those of algebra: degrees"
)
assert pairs.angle_frozen.mean() < 0.5 * pairs.angle_unfrozen.mean(), (
    "released feedback turns the plane no more than frozen feedback"
)
assert deviation.deviation_frozen.median() > 2 * deviation.deviation_unfrozen.median(), (
    "outputs are as good without feedback"
)
linear = decoded[(decoded.trained == 1) & (decoded.decoder_features == "linear")]
linear = linear.groupby("decoded_target").context_r2.max()
assert linear.inverse > linear.context, "the context is more linear in feedback than its inverse"
assert (controls.linear_own_mean > 0.99).all(), "a linear map does not undo its own context"
assert (controls.linear_other_median < 0.9).all(), "a linear map undoes all contexts"
assert controls.feedforward_median.is_monotonic_increasing, "a longer memory is no better"
