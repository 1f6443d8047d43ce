# %% [markdown]
# # 06 Rate and distortion
#
# A few neurons shall tell of a stimulus with few spikes. How should they share the range of stimuli
# among them? At the end you know what bounds such a code, how near trained codes come to the bound,
# and that neurons crowd where stimuli are likely without anybody having told them to.
#
# Needs the project of `make demo`. What the tables hold, and the paper: `docs/coding.md`.

# %%
import matplotlib.pyplot as plt
import numpy as np

from pipeline.database import open_database
from pipeline.report.coding_figures import logarithmic, rate_colours, rate_distortion
from pipeline.report.style import COLOURS, FAINT, INK, label, legend, tidy
from pipeline.sql import read_sql

open_database()

from schemas.coding import CodeAnalysis
from schemas.coding_sweep import CodingSweep, RateDistortion

# %% [markdown]
# ## The bound
#
# Words of spikes and silences carry the stimulus to a decoder. *Rate* R is what the words cost, in
# nats; *distortion* D is what the decoder still does not know. Whatever the code, both add up to
# the entropy H of the stimulus at least, as no code transmits more than it costs. Every code is
# trained to a target rate, and all expectations are sums over all words: nothing below is sampled
# but the stimuli themselves.

# %%
codes = CodeAnalysis.Code * CodeAnalysis.proj("stimulus_entropy", "sample_entropy")
codes = (codes * RateDistortion.Point * CodingSweep.Target).to_pandas().reset_index()
codes = codes.sort_values(["sweep_target_rate", "seed"])
shown = ["analysed_rate", "analysed_distortion", "excess", "mutual_information", "posterior_mse"]
codes.groupby("sweep_target_rate")[shown].mean().round(3)

# %% [markdown]
# Every dot is a code, lines are means over seeds. Left: codes above the dashed line waste
# something; those with an edge are not beaten by any other code. Right: the same, seen from the
# ideal line. A few neurons cannot follow it to high rates: n of them carry n ln 2 nats at most, and
# only if every word is as likely as any other.

# %%
entropy = codes.stimulus_entropy.iloc[0]
front = rate_distortion({"codes": codes}, entropy)
front

# %% [markdown]
# ## Where do the neurons go?
#
# The probability of a spike of every neuron of one seed, over the stimulus; grey is how likely the
# stimulus is. At a low rate a code can afford a coarse division only. At a higher one tuning curves
# become narrow where stimuli are likely and stay wide where they are rare: an error there hardly
# ever happens.

# %%
targets = sorted(codes.sweep_target_rate.unique())
targets = [targets[0], targets[len(targets) // 2], targets[-1]]
figure, axes = plt.subplots(1, 3, figsize=(10.4, 3), sharey=True, layout="constrained")
for ax, target in zip(axes, targets, strict=True):
    code = codes[codes.sweep_target_rate == target].iloc[0][CodeAnalysis.Code.primary_key].to_dict()
    spikes = (CodeAnalysis.Code & code).fetch1("spike_probability")
    stimulus, prior = (CodeAnalysis & code).fetch1("stimulus_grid", "grid_density")
    tidy(ax)
    ax.fill_between(stimulus, prior / prior.max(), color=FAINT, alpha=0.5, lw=0)
    for colour, neuron in zip(COLOURS, spikes.T, strict=False):
        ax.plot(stimulus, neuron, color=colour, lw=1.5)
    first = ax is axes[0]
    label(ax, "stimulus", "probability of a spike" if first else "", f"{target:g} nats")
    common = prior > 0.02 * prior.max()
    ax.set_xlim(stimulus[common][0], stimulus[common][-1])

# %% [markdown]
# The same in one picture: every neuron of every seed at the stimulus that it prefers. To the right
# stimuli are likely. If widths fall with a power of the prior, the dots lie along a line.

# %%
neurons = CodeAnalysis.Neuron * RateDistortion.Point * CodingSweep.Target
neurons = neurons.to_pandas().reset_index().dropna(subset=["stimulus_width", "preferred_density"])
neurons = neurons[neurons.preferred_density > 0]
colours = rate_colours(targets)
figure, ax = plt.subplots(figsize=(5.6, 3.6), layout="constrained")
tidy(ax)
for target in targets:
    own = neurons[neurons.sweep_target_rate == target]
    style = {"s": 22, "color": colours[target], "label": f"{target:g} nats"}
    ax.scatter(own.preferred_density, own.stimulus_width, **style)
logarithmic(ax)
label(ax, "density of the prior at the preferred stimulus", "width of tuning (stimulus)")
legend(ax, loc="center left", bbox_to_anchor=(1, 0.5))

# %% [markdown]
# With what power width, error and density follow the prior is a table of its own, here from its
# view: `width` and `error` fall with the prior to the power of `exponent`. Six seeds and more have
# 95 percent intervals; fewer have none (NaN), and then an exponent is an impression, not a result.

# %%
laws = read_sql("""
    SELECT sweep_target_rate, coding_relation, exponent, exponent_low, exponent_high,
      log_correlation, n_law_points
    FROM coding_exponents WHERE coding_relation IN ('width', 'error', 'density')
    ORDER BY coding_relation DESC, sweep_target_rate
""")
laws.round(3)

# %% [markdown]
# ## What is lost?
#
# The squared error of the decoded mean, over the stimulus, and the Cramer-Rao bound: the least that
# any decoder with the same bias could reach with these tuning curves. What lies between is the
# decoder's part; the bound itself is that of the tuning curves.

# %%
figure, axes = plt.subplots(1, 3, figsize=(10.4, 3), layout="constrained")
for ax, target in zip(axes, targets, strict=True):
    key = codes[codes.sweep_target_rate == target].iloc[0][CodeAnalysis.Code.primary_key].to_dict()
    error, bound = (CodeAnalysis.Code & key).fetch1("posterior_error", "cramer_rao_bound")
    tidy(ax)
    ax.plot(stimulus, error, color=colours[target], lw=1.6, label="squared error")
    ax.plot(stimulus, bound, color=INK, lw=1, ls="--", label="bound of Cramér and Rao")
    ax.set(yscale="log", xlim=(stimulus[common][0], stimulus[common][-1]))
    low = error[common].min()
    ax.set_ylim(0.03 * low, 3 * error[common].max())
    first = ax is axes[0]
    label(ax, "stimulus", "squared error (stimulus²)" if first else "", f"{target:g} nats")
legend(axes[0], loc="lower right")

# %% [markdown]
# Codes of acoustic frequency predict how well listeners tell tones apart. The demonstration has
# none; after `inceptionloop ingest limens` and `register pipeline/studies/frequency.toml` they
# stand here, beside the classical prediction that knows the prior only.

# %%
read_sql("""
    SELECT limen_study, sweep_target_rate, error_kind, limen_slope, limen_correlation,
      classical_slope, classical_correlation
    FROM limen_comparisons ORDER BY limen_study, error_kind, sweep_target_rate
""")

# %% [markdown]
# ## What have we learnt?
#
# No code beats the bound (entropy and excess are taken over the same stimuli), no word carries more
# than it costs, distortion falls as the rate rises, no error is below its bound, and neurons are
# narrower where stimuli are likely.

# %%
assert (codes.excess > -1e-6).all(), "a code is below the ideal line"
assert (codes.mutual_information <= codes.analysed_rate + 1e-6).all(), "information for nothing"
n_neurons = neurons.groupby(CodeAnalysis.Code.primary_key).size().max()
assert (codes.mutual_information <= n_neurons * np.log(2)).all(), "more than words can carry"
by_target = codes.groupby("sweep_target_rate").analysed_distortion.mean()
assert by_target.is_monotonic_decreasing, "more rate does not buy less distortion"
curves = CodeAnalysis.Code.to_arrays("posterior_error", "cramer_rao_bound", order_by="KEY")
assert all((error > 0.98 * bound).all() for error, bound in zip(*curves, strict=True)), (
    "an error is below its bound"
)
widths = laws[laws.coding_relation == "width"]
assert (widths.exponent > 0).all(), "neurons are no narrower where stimuli are likely"
