"""What the database says of one unit, question by question, each answered by an index."""

from collections.abc import Mapping
from typing import Any

from pipeline.report.comparison import KINDS
from pipeline.web.briefly import briefly
from pipeline.web.images import COMPARED, GABOR, SIZES, mask_outline
from pipeline.web.keys import MEI, UNIT, key_of, matches
from pipeline.web.reader import Reader

MOST = 200
"""Rows of a kind at most."""
MEIS = 12
"""MEIs of a unit at most."""

Row = dict[str, Any]

OF_UNIT = matches(UNIT)
VIEWS = {
    "oracles": OF_UNIT,
    "unit_scores": OF_UNIT,
    "rate_maps": OF_UNIT,
    "consistencies": OF_UNIT,
    "neural_fits": OF_UNIT,
    "confusion_diagonal": OF_UNIT,
    "cell_matches": " AND ".join(f"source_{name} = :{name}" for name in UNIT),
}
"""Views with rows of the unit, and which those are."""

UNIT_OF_KEY = "[TargetDataset.Unit] AS u JOIN [{table}] AS x USING (training_set_hash, unit_index)"
OF_MEI = matches(MEI, "x")
OF_GABOR = matches([name for name in GABOR if name in MEI], "x")


def unit_row(reader: Reader, key: Row) -> Row | None:
    """Return the row of `units`, None if there is no such unit."""
    return reader.one(f"SELECT * FROM units WHERE {OF_UNIT}", **key)


def view_rows(reader: Reader, key: Row) -> dict[str, list[Row]]:
    """Return the rows of the unit in the views about units."""
    return {
        view: reader.rows(f"SELECT * FROM {view} WHERE {condition} LIMIT {MOST}", **key)
        for view, condition in VIEWS.items()
    }


def modelled_as(reader: Reader, key: Row) -> list[Row]:
    """Return the modelled cells that a unit of a later recording is taken for."""
    return reader.rows(
        "SELECT * FROM cell_matches WHERE animal_id = :animal_id AND session = :session "
        f"AND scan_idx = :scan_idx AND matched_unit_id = :unit_id LIMIT {MOST}",
        **key,
    )


def loop_tests(reader: Reader, key: Row) -> list[Row]:
    """Return the comparisons of two kinds of the unit's images, over repeats."""
    return reader.rows(
        f"SELECT x.* FROM {UNIT_OF_KEY.format(table='DiagonalTest.Unit')} "
        f"WHERE {matches(UNIT, 'u')} LIMIT {MOST}",
        **key,
    )


def fields(reader: Reader, key: Row) -> list[Row]:
    """Return its receptive fields by regression."""
    return reader.rows(
        "SELECT training_set_hash, unit_index, field_hash, field_lambda, field_validation_corr, "
        f"field_test_corr FROM {UNIT_OF_KEY.format(table='RegressionField.Unit')} "
        f"WHERE {matches(UNIT, 'u')} AND regression_rf IS NOT NULL LIMIT {MOST}",
        **key,
    )


def meis(reader: Reader, key: Row) -> list[Row]:
    """Return its MEIs, each with what was made from it; images stay where they are."""
    found = reader.rows(
        f"SELECT * FROM meis WHERE {OF_UNIT} ORDER BY mei_activation DESC, {', '.join(MEI)} "
        f"LIMIT {MEIS}",
        **key,
    )
    return [mei | _made_from(reader, key_of(mei, MEI)) for mei in found]


def _made_from(reader: Reader, key: Row) -> dict[str, list[Row]]:
    def rows(columns: str, source: str, condition: str = OF_MEI) -> list[Row]:
        query = f"SELECT {columns} FROM {source} WHERE {condition} LIMIT {MOST}"
        return reader.rows(query, **key)

    every = ", ".join(f"x.{name}" for name in (*MEI, "mask_hash"))
    return {
        "masks": [
            row | {"outline": mask_outline(row.pop("mei_mask"))}
            for row in rows(
                "x.mask_hash, x.mask_status, x.reduction_ratio, x.n_erosions, x.mei_mask, "
                "k.mask_type",
                "[MEIMask.Unit] AS x JOIN [MaskMethod] AS k USING (mask_hash)",
            )
        ],
        "diverse": rows(
            f"{every}, x.diverse_hash, x.diverse_index, x.diverse_activation",
            "[DiverseMEI.Image] AS x",
        ),
        "surrounds": rows(
            f"{every}, x.surround_hash, x.surround_activation, x.centre_activation, "
            "x.surround_alive, k.surround_excites",
            "[SurroundMEI.Unit] AS x JOIN [SurroundMethod] AS k USING (surround_hash)",
        ),
        "naturals": rows(
            f"{every}, x.contrast_hash, x.image_class, x.image_id, x.natural_activation, "
            "x.masked_image_class, x.masked_image_id, x.masked_natural_activation",
            "[BestNaturalImage.Unit] AS x",
        ),
        "gradients": rows(
            f"{', '.join(f'x.{name}' for name in MEI)}, x.gradient_mei_activation",
            "[GradientField.Unit] AS x",
        ),
        "recorded_gabors": rows(
            f"{', '.join(f'x.{name}' for name in MEI)}, x.recorded_gabor_hash, "
            "x.recorded_gabor_activation",
            "[RecordedGabor.Unit] AS x",
        ),
        "gabors": rows(
            f"{', '.join(f'x.{name}' for name in GABOR)}, x.best_activation, "
            "o.optimal_activation, o.optimal_wavelength, o.optimal_orientation",
            f"[BestGabor.Unit] AS x LEFT JOIN [OptimalGabor.Unit] AS o USING ({', '.join(GABOR)})",
            OF_GABOR,
        ),
        "compared": _beside_mei(
            rows(
                f"{', '.join(f'x.{name}' for name in COMPARED)}, x.compared_response, "
                "x.compared_mean, x.compared_sd, x.contrast_reached",
                "[ImageComparison.Response] AS x",
            )
        ),
    }


def _beside_mei(rows: list[Row]) -> list[Row]:
    """Order images by kind, and add the ratio of each response to that of the MEI."""
    comparison = [name for name in COMPARED if name != "image_kind"]

    def which(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(key_of(row, comparison).values())

    of_mei = {which(row): row["compared_response"] for row in rows if row["image_kind"] == "mei"}
    ordered = sorted(rows, key=lambda row: (which(row), list(KINDS).index(row["image_kind"])))
    return [
        row | {"ratio": row["compared_response"] / own if (own := of_mei.get(which(row))) else None}
        for row in ordered
    ]


@briefly
def image_sizes(reader: Reader) -> dict[str, tuple[int, int]]:
    """Return width and height of the images of every training set, px."""
    return {
        row["training_set_hash"]: (row["frame_width"], row["frame_height"])
        for row in reader.rows(SIZES)
    }
