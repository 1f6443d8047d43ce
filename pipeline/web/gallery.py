"""The gallery of MEIs: filtered, sorted, page by page."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from flask import Blueprint, abort, render_template, request

from pipeline.web.briefly import briefly, count
from pipeline.web.images import SIZES, inline, mask_outline
from pipeline.web.keys import (
    ENSEMBLE,
    MEI,
    NUMBER,
    SCAN,
    asked_hash,
    key_of,
    matches,
    recording,
    scan,
)
from pipeline.web.paging import window
from pipeline.web.reader import Reader, reader

TILES = 48
EXCITES, STATUSES = ("most", "least"), ("ok", "dead", "nonfinite")
KEY = ", ".join(f"m.{name}" for name in MEI)
WITH_UNIT = "JOIN [TargetDataset.Unit] AS u USING (training_set_hash, unit_index)"
WITH_SCORE = f"LEFT JOIN [Ensemble.UnitScore] AS s USING ({', '.join(ENSEMBLE)}, unit_index)"
WITH_METHOD = "JOIN [MEIMethod] AS k USING (mei_hash)"
SORTS = {
    "correlation": "s.ensemble_validation_corr DESC",
    "activation": "m.mei_activation DESC",
    "unit": "u.animal_id, u.session, u.scan_idx, u.unit_id",
}
SORTED_WITH = {"correlation": {WITH_SCORE}, "activation": set(), "unit": {WITH_UNIT}}

blueprint = Blueprint("gallery", __name__)


@dataclass(frozen=True)
class Condition:
    """What MEIs have to fulfil.

    Attributes
    ----------
    sql : str
        With the names of `values`.
    values : dict
    joins : set of str
        Tables that it needs besides that of the MEIs.
    """

    sql: str
    values: dict[str, Any]
    joins: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Chosen:
    """MEIs as a request chooses them.

    Attributes
    ----------
    conditions : tuple of str
        SQL, with the names of `values`.
    values : dict
    joins : set of str
        Tables that the conditions and the order need besides that of the MEIs.
    sort : str
        Of `SORTS`.
    """

    conditions: tuple[str, ...]
    values: dict[str, Any]
    joins: set[str]
    sort: str

    @property
    def source(self) -> str:
        """What follows FROM, without an order."""
        # What narrows the choice comes first, what every MEI has once last.
        order = (WITH_METHOD, WITH_UNIT, WITH_SCORE)
        joins = " ".join(join for join in order if join in self.joins)
        return f"[MEI.Unit] AS m {joins} WHERE {' AND '.join(self.conditions) or 'TRUE'}"


@blueprint.get("/meis")
def meis() -> str:
    """Show the MEIs that are asked for."""
    chosen, asked = _chosen(), window(TILES)
    n_meis = count(reader(), chosen.source, **chosen.values)
    page = asked.page(_tiles(chosen, asked.sql), n_meis)
    return render_template("gallery.html.j2", page=page, options=_options(reader()))


def mei_anchor(row: Mapping[str, Any]) -> str:
    """Return the name of an MEI within the page of its unit."""
    return "-".join(["mei", *map(str, key_of(row, MEI).values())])


blueprint.add_app_template_global(mei_anchor)


def _chosen() -> Chosen:
    found = [read(text) for name, read in FILTERS.items() if (text := request.args.get(name, ""))]
    sort = _one_of("sort", SORTS, request.args.get("sort", "") or next(iter(SORTS)))
    joins = SORTED_WITH[sort].union(*(condition.joins for condition in found))
    values = {name: value for condition in found for name, value in condition.values.items()}
    return Chosen(tuple(condition.sql for condition in found), values, joins, sort)


def _one_of(name: str, known: Iterable[str], text: str) -> str:
    if text not in known:
        abort(400, f"'{name}' has to be one of {', '.join(known)}.")
    return text


def _recording(text: str) -> Condition:
    """Choose an animal, or one of its recordings."""
    key = {"animal_id": int(text)} if NUMBER.fullmatch(text) else scan(text, 400)
    return Condition(matches(key, "u"), key, {WITH_UNIT})


def _ensemble(text: str) -> Condition:
    hashes = [asked_hash("ensemble", digits) for digits in text.split("-")]
    if len(hashes) != len(ENSEMBLE):
        abort(400, f"'ensemble' has to be {len(ENSEMBLE)} hashes with hyphens between them.")
    return Condition(matches(ENSEMBLE, "m"), dict(zip(ENSEMBLE, hashes, strict=True)))


def _hash(name: str, text: str) -> Condition:
    return Condition(f"m.{name} = :{name}", {name: asked_hash(name, text)})


def _excite(text: str) -> Condition:
    return Condition(
        "k.excite = :excite", {"excite": _one_of("excite", EXCITES, text)}, {WITH_METHOD}
    )


def _status(text: str) -> Condition:
    return Condition("m.mei_status = :status", {"status": _one_of("status", STATUSES, text)})


def _least(text: str) -> Condition:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        abort(400, "'least' has to be a number, as 0.3.")
    return Condition("s.ensemble_validation_corr >= :least", {"least": value}, {WITH_SCORE})


FILTERS: dict[str, Callable[[str], Condition]] = {
    "recording": _recording,
    "ensemble": _ensemble,
    "method": partial(_hash, "mei_hash"),
    "selection": partial(_hash, "selection_hash"),
    "excite": _excite,
    "status": _status,
    "least": _least,
}
"""Names of filters in a request, and what reads their values."""


def _tiles(chosen: Chosen, part: dict[str, int]) -> list[dict[str, Any]]:
    """Return a page of MEIs, each with the outlines of its masks."""
    order = SORTS[chosen.sort]
    # Keys are sorted without the images beside them; the rest is fetched for one page only.
    rows = reader().rows(
        f"SELECT m.*, {', '.join(f'u.{name}' for name in SCAN)}, u.unit_id, k.mei_method, "
        "k.excite, s.ensemble_validation_corr, i.mei, x.mei_mask, f.frame_height, "
        f"f.frame_width FROM (SELECT {KEY}, m.mei_status, m.mei_activation FROM {chosen.source} "
        f"ORDER BY {order}, {KEY} LIMIT :limit OFFSET :offset) AS m "
        f"JOIN [MEI.Unit] AS i USING ({', '.join(MEI)}) {WITH_UNIT} {WITH_METHOD} {WITH_SCORE} "
        f"LEFT JOIN [MEIMask.Unit] AS x USING ({', '.join(MEI)}) "
        f"LEFT JOIN ({SIZES}) AS f USING (training_set_hash) ORDER BY {order}, {KEY}",
        **chosen.values,
        **part,
    )
    tiles: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        # A row for each mask, or one without.
        image, mask = row.pop("mei"), row.pop("mei_mask")
        key = tuple(key_of(row, MEI).values())
        if key not in tiles:
            named = {"recording": recording(row), "outline": ""}
            # In the page: 48 more requests take twenty times as long.
            tiles[key] = row | named | {"image": inline(image) if image else None}
        if mask is not None:
            tiles[key]["outline"] += mask_outline(mask)
    return list(tiles.values())


@briefly
def _options(reader: Reader) -> dict[str, list[tuple[str, str]]]:
    """Return what the form of the filters offers, values with their labels."""
    members = reader.rows(
        f"SELECT DISTINCT {', '.join(SCAN)} FROM [TargetDataset.Member] "
        f"WHERE training_set_hash IN (SELECT training_set_hash FROM [MEI]) ORDER BY 1, 2, 3"
    )
    animals = sorted({row["animal_id"] for row in members})
    made = reader.rows(
        f"SELECT DISTINCT {', '.join(ENSEMBLE)}, selection_hash, mei_hash FROM [MEI]"
    )
    models = reader.rows(
        "SELECT model_hash, core_type, readout_type FROM [ModelConfig] "
        "JOIN [CoreConfig] USING (core_hash) JOIN [ReadoutConfig] USING (readout_hash)"
    )
    kinds = {row["model_hash"]: f"{row['core_type']}, {row['readout_type']}" for row in models}
    methods = reader.rows("SELECT mei_hash, mei_method, excite FROM [MEIMethod]")
    used = {row["mei_hash"] for row in made}
    return {
        "recording": [
            *((str(animal), f"animal {animal}, all recordings") for animal in animals),
            *((recording(row), recording(row)) for row in members),
        ],
        "ensemble": _ensembles(made, kinds),
        "method": [
            (row["mei_hash"], f"{row['mei_method']}, {row['excite']} ({row['mei_hash'][:6]})")
            for row in methods
            if row["mei_hash"] in used
        ],
        "selection": [(h, h[:8]) for h in sorted({row["selection_hash"] for row in made})],
    }


def _ensembles(made: list[dict[str, Any]], kinds: dict[str, str]) -> list[tuple[str, str]]:
    """Return the ensembles with what tells each from the others."""
    found = sorted({tuple(key_of(row, ENSEMBLE).values()) for row in made})
    varied = [i for i in range(len(ENSEMBLE)) if len({key[i] for key in found}) > 1 or i == 1]
    return [
        ("-".join(key), f"{kinds.get(key[1], 'model')} ({' '.join(key[i][:6] for i in varied)})")
        for key in found
    ]
