"""The graph of all tables as a drawing, and how to read on in it."""

import shutil
from functools import reduce
from operator import add

import datajoint as dj

from pipeline.report.album import Album
from pipeline.report.page import Picture
from schemas.graph import MODULES
from schemas.mei import MEI
from schemas.model import Ensemble

PYTHON = """\
from pipeline.database import open_database
open_database()

from schemas.mei import MEI, MEIMask
from schemas.model import Ensemble

made = MEI.Unit * Ensemble.UnitScore & "mei_status = 'ok'"
best = (made & "ensemble_validation_corr > 0.3").to_dicts(
    order_by="ensemble_validation_corr DESC", limit=10
)
best[0]["mei"]              # float32 (height, width), grey values 0-255

table = (MEI.Unit * MEIMask.Unit).proj("mei_activation", "reduction_ratio").to_pandas()
"""


def diagram(album: Album) -> Picture | None:
    """Draw all tables but part tables, None where graphviz is not installed."""
    if not shutil.which("dot"):
        return None
    tables = {
        name: table
        for module in MODULES
        for name, table in vars(module).items()
        if isinstance(table, type) and issubclass(table, dj.Table)
    }
    whole = reduce(add, (dj.Diagram(module.schema, context=tables) for module in MODULES))
    parts = {
        part.full_table_name
        for table in tables.values()
        for part in vars(table).values()
        if isinstance(part, type) and issubclass(part, dj.Part)
    }
    whole.nodes_to_show -= parts
    svg = whole.make_dot(theme="light").create_svg().decode()
    return album.add_svg("graph", svg, "Diagram of all tables and their foreign keys")


def sql() -> str:
    """Return a query of the best predicted MEIs, with the names the tables have on the server."""
    return (
        "SELECT training_set_hash, unit_index, mei_activation, ensemble_validation_corr\n"
        f"FROM {MEI.Unit.full_table_name} AS made\n"
        f"JOIN {Ensemble.UnitScore.full_table_name} AS score\n"
        "  USING (training_set_hash, model_hash, train_hash, seed_set_hash, unit_index)\n"
        "WHERE mei_status = 'ok' AND ensemble_validation_corr > 0.3\n"
        "ORDER BY ensemble_validation_corr DESC;\n"
    )
