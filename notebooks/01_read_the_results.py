# %% [markdown]
# # Read the results
#
# After `make demo`: every number and picture of the report is a query. Open this file in Jupyter
# (jupytext) or run it as a script. `inceptionloop server env` prints the address and password that
# other tools need.

# %%
import matplotlib.pyplot as plt
import pandas as pd
import sqlalchemy

from pipeline.connection import address
from pipeline.database import open_database
from pipeline.settings import Settings

open_database()

from schemas.closed_loop import ConfusionMatrix, PermutationTest
from schemas.comparison import ImageComparison
from schemas.mei import MEI, MEIMask
from schemas.model import Ensemble, TrainedModel

# %% [markdown]
# ## How well do the models predict?
#
# `&` restricts, `*` joins. A row of `Ensemble.UnitScore` is one neuron; `ensemble_test_cc_norm` is
# its correlation with the mean response divided by the ceiling that noise sets.

# %%
scores = pd.DataFrame(Ensemble.UnitScore.to_dicts())
scores[["ensemble_validation_corr", "ensemble_test_corr_avg", "ensemble_test_cc_norm"]].describe()

# %% [markdown]
# ## The images that excite the best predicted neurons most

# %%
best = MEI.Unit * MEIMask.Unit * Ensemble.UnitScore & "mei_status = 'ok'"
rows = best.to_dicts(order_by="ensemble_validation_corr DESC", limit=6)
figure, axes = plt.subplots(2, 3, figsize=(8, 3.5), squeeze=False)
for axis, row in zip(axes.flat, rows, strict=False):
    axis.imshow(row["mei"], cmap="gray")
    axis.contour(row["mei_mask"], [0.5], colors="orange")
    axis.set_title(f"unit {row['unit_index']}, r = {row['ensemble_validation_corr']:.2f}")
for axis in axes.flat:
    axis.axis("off")

# %% [markdown]
# ## Does anything excite a model neuron more?
#
# All images are shown at the same mean and contrast; responses relative to the MEI's.

# %%
compared = pd.DataFrame(ImageComparison.Response.to_dicts())
responses = compared.pivot_table(
    index=["model_hash", "mei_hash", "unit_index"], columns="image_kind", values="compared_response"
)
responses.div(responses["mei"], axis=0).median().sort_values()

# %% [markdown]
# ## Do they drive the cells they were made for?

# %%
shown = {"response_scaling": "normalized", "stimulus_kind": "mei"}
matrix = (ConfusionMatrix & shown).to_dicts()[0]
tests = pd.DataFrame((PermutationTest & {"response_scaling": "normalized"}).to_dicts())
normalised = matrix["confusion_mean"] / matrix["confusion_mean"].max(axis=1, keepdims=True)
plt.figure()
plt.imshow(normalised, cmap="magma", vmin=0, vmax=1)
plt.xlabel("image made for neuron")
plt.ylabel("neuron")
tests[["pool_hash", "stimulus_kind", "permutation_statistic", "permutation_p", "n_tested"]]

# %% [markdown]
# ## What was it computed with?
#
# Foreign keys lead from any row to everything it came from.

# %%
trained = pd.DataFrame(TrainedModel.proj("validation_score", "weights_sha256").to_dicts())
trained

# %% [markdown]
# ## The same in SQL
#
# For those who would rather: SQLAlchemy over mysqlclient (`pip install inceptionloop[sql]`).

# %%
here, prefix = address(Settings()), Settings().prefix
url = sqlalchemy.URL.create(
    "mysql+mysqldb", here.user, here.password, here.host, here.port, f"{prefix}model"
)
query = """
    SELECT unit_index, ensemble_validation_corr AS r, ensemble_test_cc_norm AS cc_norm
    FROM __ensemble__unit_score
    ORDER BY r DESC LIMIT 10
"""
engine = sqlalchemy.create_engine(url)
with engine.connect() as connection:
    top = pd.read_sql(sqlalchemy.text(query), connection)
engine.dispose()
top
