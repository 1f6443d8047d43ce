# %% [markdown]
# # 09 SQL
#
# Everything that the pipeline has found is in tables, and whoever knows SQL can ask them without a
# line of DataJoint. At the end you can ask real questions, save the answers, and say of any number
# where it comes from and whether it comes out again.
#
# Needs the project of `make demo` and `pip install 'inceptionloop[sql]'`. The same questions work
# in any client (schema `inceptionloop_views`) and as `inceptionloop sql "SELECT ..."`. More of
# them: `docs/sql.md`; what every column holds: `docs/views.md`.

# %%
import tempfile
from pathlib import Path

import datajoint as dj
import matplotlib.pyplot as plt
import pandas as pd

from pipeline.database import open_database
from pipeline.explain import explain
from pipeline.report.style import MAIN, MUTED, label, tidy
from pipeline.sql import BadQuery, read_sql
from pipeline.verify import Sampling, verify_tables
from schemas.views import TOPICS, VIEWS

open_database()

from schemas.dataset import TargetDataset
from schemas.model import Ensemble
from schemas.reliability import Oracle

# %% [markdown]
# ## What is there?
#
# A view is a table that is computed when it is asked. These have plain names, and a row of each is
# what it says. Columns have the names of the attributes in DataJoint.

# %%
pd.DataFrame(
    [(topic, name, VIEWS[name].meaning) for topic, names in TOPICS.items() for name in names],
    columns=["topic", "view", "a row is"],
)

# %% [markdown]
# ## One table
#
# Which recordings are there? A question is a string, the answer a pandas frame. It cannot change
# anything: the transaction is read-only, whatever the account may do.

# %%
read_sql("SELECT animal_id, session, scan_idx, reader, arena, n_units, n_trials FROM scans")

# %% [markdown]
# Which units may be worth modelling? `:name` is a parameter. Never paste values into the text: the
# next one has a quotation mark in it.

# %%
reliable = read_sql(
    """
    SELECT animal_id, session, scan_idx, unit_id, oracle, fev FROM oracles
    WHERE fev > :least ORDER BY fev DESC LIMIT 5
    """,
    {"least": 0.3},
)
reliable

# %% [markdown]
# ## Groups
#
# What share of the units of a recording answers reliably? Beside it the same in DataJoint, which
# knows the keys: no `GROUP BY` to forget a column in. Use what you like; both read the same rows.

# %%
by_sql = read_sql("""
    SELECT animal_id, session, scan_idx, COUNT(*) AS n_units, AVG(reliable) AS share
    FROM oracles GROUP BY animal_id, session, scan_idx, oracle_hash
""")
by_datajoint = dj.U("animal_id", "session", "scan_idx", "oracle_hash").aggr(
    Oracle.UnitScores * TargetDataset.Unit, n_units="COUNT(*)", share="AVG(reliable)"
)
by_sql

# %% [markdown]
# ## Two tables
#
# Where in the brain are the units that models predict best? Scores belong to columns of a model,
# areas to units of a recording; the key that both have joins them. `USING` names it once, and
# forgetting a column of it multiplies rows: count them if you are not sure. (A unit has a score
# from every ensemble, so in the whole demo there are two scores for each.)

# %%
by_area = read_sql("""
    SELECT u.brain_area, u.layer, COUNT(*) AS n_scores, AVG(s.ensemble_test_cc_norm) AS cc_norm,
      SUM(s.ensemble_test_cc_norm IS NULL) AS without_ceiling
    FROM unit_scores AS s JOIN units AS u USING (animal_id, session, scan_idx, unit_id)
    GROUP BY u.brain_area, u.layer ORDER BY cc_norm DESC
""")
by_area.round(3)

# %% [markdown]
# The best unit in DataJoint: `*` joins on what both have, `&` restricts, and nothing is asked
# before `to_dicts`.

# %%
best = (Ensemble.UnitScore * TargetDataset.Unit & "ensemble_validation_corr > 0.3").to_dicts(
    order_by="ensemble_validation_corr DESC, unit_index", limit=1
)[0]
best_by_sql = read_sql("""
    SELECT unit_id, ensemble_validation_corr FROM unit_scores WHERE ensemble_validation_corr > 0.3
    ORDER BY ensemble_validation_corr DESC, unit_index LIMIT 1
""")
best_by_sql

# %% [markdown]
# ## A table with itself
#
# How much more does a unit's model respond to its MEI than to what else was shown to it, at equal
# mean and contrast? MEI and control are rows of the same view: it is joined with itself, a row per
# unit and control, and the division is done by the server.

# %%
ratios = read_sql("""
    SELECT c.image_kind, c.unit_index, m.compared_response / c.compared_response AS ratio
    FROM comparisons AS m
    JOIN comparisons AS c USING (training_set_hash, model_hash, train_hash, seed_set_hash,
      selection_hash, mei_hash, mask_hash, contrast_hash, gabor_hash, unit_index)
    WHERE m.image_kind = 'mei' AND c.image_kind <> 'mei' AND c.compared_response > 0
""")
order = ratios.groupby("image_kind").ratio.median().sort_values().index
figure, ax = plt.subplots(figsize=(7, 0.4 * len(order) + 1), layout="constrained")
tidy(ax)
ax.boxplot(
    [ratios[ratios.image_kind == kind].ratio for kind in order],
    orientation="horizontal",
    tick_labels=[kind.replace("_", " ") for kind in order],
    flierprops={"marker": ".", "markersize": 3, "markeredgecolor": MUTED},
    medianprops={"color": MAIN, "lw": 2},
)
ax.axvline(1, color=MUTED, lw=1, ls="--")
ax.set_xscale("log")
ax.set_xticks([0.5, 1, 2, 5, 10], [0.5, 1, 2, 5, 10])
ax.set_xticks([], minor=True)
label(ax, "response to the MEI / to the control", "")

# %% [markdown]
# ## The best of each group
#
# Which control comes nearest to the MEI, unit by unit? A window function ranks the rows of each
# unit; the query around it keeps the first of each and counts. What would be a loop elsewhere is
# one question.

# %%
read_sql("""
    WITH ranked AS (
      SELECT image_kind, compared_response, RANK() OVER (
        PARTITION BY training_set_hash, model_hash, train_hash, seed_set_hash, mei_hash, unit_index
        ORDER BY compared_response DESC) AS place
      FROM comparisons WHERE image_kind <> 'mei')
    SELECT image_kind, COUNT(*) AS n_units, AVG(compared_response) AS mean_response
    FROM ranked WHERE place = 1 GROUP BY image_kind ORDER BY n_units DESC
""")

# %% [markdown]
# ## The whole loop in one question
#
# Of the cells whose images were shown again on later days: which share prefers its own image, can
# that be chance, and how well were the models that made the images? Each subquery is a table of its
# own, with one row per pool of recordings.

# %%
loop = read_sql("""
    WITH own AS (
      SELECT pool_hash, response_scaling, stimulus_kind, COUNT(*) AS n_cells, AVG(row_max) AS share
      FROM confusion_diagonal WHERE diagonal_rank >= 0
      GROUP BY pool_hash, response_scaling, stimulus_kind)
    SELECT t.recordings, o.stimulus_kind, o.n_cells, o.share, t.permutation_statistic,
      t.permutation_p,
      (SELECT AVG(ensemble_validation_corr) FROM unit_scores) AS mean_validation_corr
    FROM own AS o JOIN permutation_tests AS t USING (pool_hash, response_scaling, stimulus_kind)
    WHERE o.response_scaling = 'normalized' ORDER BY t.recordings, o.stimulus_kind
""")
loop.round(4)

# %% [markdown]
# ## Save it
#
# CSV for spreadsheets, Parquet for programs (it keeps the types; `pip install
# 'inceptionloop[parquet]'`). On the command line: `inceptionloop sql --csv loop.csv "SELECT ..."`,
# or `--parquet`.

# %%
folder = Path(tempfile.mkdtemp())
loop.to_csv(folder / "loop.csv", index=False)
loop.to_parquet(folder / "loop.parquet", index=False)
[(file.name, file.stat().st_size) for file in sorted(folder.iterdir())]

# %% [markdown]
# ## Where does a number come from?
#
# `inceptionloop explain` walks from a row to everything it came from: the recording with the
# checksum of its file, parameters, seeds, software. Here the score of the best unit. What was not
# computed has a checksum, or there would be a hole in the chain.

# %%
key = {name: best[name] for name in Ensemble.UnitScore.primary_key}
explanation = explain("Ensemble.UnitScore", [f"{name}={value}" for name, value in key.items()])
chain = pd.DataFrame(
    {
        "table": ancestor.table,
        "computed": ancestor.computed,
        "rows": ancestor.n_rows,
        "checksum": next((f"{name} {digest[:12]}" for name, digest in row.checksums.items()), ""),
    }
    for ancestor in explanation.ancestors
    for row in ancestor.rows[:1]
)
chain

# %% [markdown]
# ## Does it come out again?
#
# `inceptionloop verify` computes rows once more and compares: to the bit on the same machine and
# number of threads, else to a tolerance. It inserts nothing.

# %%
verified = list(verify_tables(["Oracle", "PermutationTest"], Sampling(1)))
pd.DataFrame(
    [(v.table, v.equal, v.exact) for v in verified], columns=["table", "equal", "to the bit"]
)

# %% [markdown]
# ## What have we learnt?
#
# SQL and DataJoint say the same, nothing can be changed by asking, files hold what the answer held,
# and numbers come out again.

# %%
assert (reliable.fev > 0.3).all(), "a parameter does not restrict"
rows = {tuple(row[name] for name in by_sql.columns[:3]): row for row in by_datajoint.to_dicts()}
for row in by_sql.itertuples():
    same = rows[row.animal_id, row.session, row.scan_idx]
    assert row.n_units == same["n_units"], "SQL and DataJoint count other units"
    assert abs(float(row.share) - float(same["share"])) < 1e-4, "SQL and DataJoint differ in shares"
assert best_by_sql.unit_id[0] == best["unit_id"], "SQL and DataJoint find other units the best"
try:
    read_sql("UPDATE units SET unit_id = 0")
    refused = False
except BadQuery:
    refused = True
assert refused, "an answer could be changed by asking"
pd.testing.assert_frame_equal(pd.read_parquet(folder / "loop.parquet"), loop)
inputs = [
    row for ancestor in explanation.ancestors if not ancestor.parents for row in ancestor.rows
]
assert inputs and all(row.checksums for row in inputs), "an input has no checksum"
assert verified and all(row.equal for row in verified), "a number does not come out again"
