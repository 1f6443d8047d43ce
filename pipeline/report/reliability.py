"""Section 2: how reliable the units are."""

import pandas as pd

from pipeline.report import figures
from pipeline.report.album import Album
from pipeline.report.architecture import written
from pipeline.report.page import OracleView
from schemas.reliability import Oracle, OracleMethod


def oracles(training_set: dict[str, str], album: Album) -> list[OracleView]:
    """Describe the reliability of the units, once per oracle method."""
    views = []
    for row in (Oracle & training_set).to_dicts(order_by="KEY"):
        key = {a: row[a] for a in Oracle.primary_key}
        names = ["oracle", "fev", "cc_max"]
        scores = (Oracle.UnitScores & key).to_dicts(order_by="unit_index")
        units = pd.DataFrame(scores, columns=[*names, "reliable"])
        values = units[names].astype(float)
        figure = figures.reliability(*(values[n] for n in names), units.reliable.to_numpy(bool))
        views.append(
            OracleView(
                method=written(OracleMethod.params(key).model_dump(mode="json")),
                n_units=len(units),
                n_reliable=row["n_reliable"],
                n_repeated_images=row["n_repeated_images"],
                medians=values.median().to_dict(),
                picture=album.add("reliability", figure, "Reliability of the units"),
            )
        )
    return views
