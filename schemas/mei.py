"""Most exciting inputs: which units, from which ensembles, by which method; and their masks."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import datajoint as dj
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.code_version import code_version
from schemas.configuration import Configuration
from schemas.dataset import TargetDataset, TrainingSet
from schemas.model import (
    Ensemble,
    ModelComparison,
    TrainingPlan,
    ensemble_weights,
    load_model,
)
from schemas.operations import CodeVersion
from schemas.recording import Scan
from schemas.reliability import Oracle, OraclePlan, OracleRankedUnit, UnitStatistics
from schemas.rows import nullable
from science.grey_scale import GreyScale
from science.masks import MaskParams, MaskResult, make_masks
from science.mei import ContrastTuning, MEIParams, MEIResult, ascend, contrast_tuning
from science.mei.ascent import responses_to
from science.model.own_units import OwnUnits
from science.model.weights import TrainedEnsemble
from science.selection import Candidates, SelectionParams, select_units

schema = dj.Schema()

FAINT = 0.01  # pixel SD, grey values


@schema
class SelectionRule(Configuration, dj.Manual):
    definition = """
    # Which units MEIs are made for, and how many together
    selection_hash : char(16)
    ---
    block_size : int16                  # units that are optimised in one batch
    selection_params : json
    """
    params_type = SelectionParams
    params_column = "selection_params"

    @classmethod
    def columns(cls, params: SelectionParams) -> dict[str, Any]:
        return {"block_size": params.block_size}


@schema
class SelectionPlan(dj.Manual):
    definition = """
    # A selection of units that someone asked for
    -> TrainingSet
    -> SelectionRule
    ---
    -> OraclePlan
    -> [nullable] ModelComparison
    """


@schema
class UnitSelection(dj.Computed):
    definition = """
    # The units that a rule selects; none is a result too
    -> SelectionPlan
    ---
    -> OracleRankedUnit
    -> UnitStatistics
    n_selected : int32
    """

    class Block(dj.Part):
        definition = """
        # Units whose MEIs are made in one batch
        -> master
        unit_block : int32
        """

    class Unit(dj.Part):
        """A unit that was selected."""

        definition = """
        -> UnitSelection.Block
        -> TargetDataset.Unit
        ---
        selection_rank : int32          # 0 = best
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Plans whose dataset is described, and ranked by the oracle they name."""
        ranked = SelectionPlan & (SelectionPlan * OracleRankedUnit.proj()).proj()
        return (ranked & UnitStatistics).proj()

    def make(self, key: dict[str, Any]) -> None:
        params = SelectionRule.params(key)
        oracle = (OracleRankedUnit & (SelectionPlan & key).proj("oracle_hash")).fetch1("KEY")
        selected = select_units(_candidates(oracle), params).tolist()
        self.insert1(key | oracle | {"n_selected": len(selected)})
        n_blocks = -(-len(selected) // params.block_size)
        self.Block.insert(key | {"unit_block": block} for block in range(n_blocks))
        self.Unit.insert(
            key
            | {
                "unit_block": rank // params.block_size,
                "unit_index": unit,
                "selection_rank": rank,
            }
            for rank, unit in enumerate(selected)
        )


def _candidates(oracle: dict[str, Any]) -> Candidates:
    """Return what selection rules look at, of all units that an oracle ranked."""
    units = TargetDataset.Unit * UnitStatistics.Unit.proj("response_variance") * Scan.Unit
    scored = units * Oracle.UnitScores.proj("oracle", "reliable") & oracle
    rows = scored.to_dicts(order_by="unit_index")
    fields = (Scan.Field & (TargetDataset.Member & oracle)).to_dicts()
    sizes = {tuple(f[a] for a in Scan.Field.primary_key): f for f in fields}
    in_field = [sizes.get(tuple(r[a] for a in Scan.Field.primary_key), {}) for r in rows]
    return Candidates(
        ranked=(OracleRankedUnit.Unit & oracle).to_arrays("unit_index", order_by="oracle_rank"),
        reliable=np.array([row["reliable"] for row in rows], bool),
        oracle=_columns(rows, "oracle")[:, 0],
        variance=_columns(rows, "response_variance")[:, 0],
        recording=np.array([row["readout_key"] for row in rows]),
        position=_columns(rows, "um_x", "um_y", "um_z"),
        pixel=_columns(rows, "px_x", "px_y"),
        field_px=_columns(in_field, "px_width", "px_height"),
        field_um=_columns(in_field, "um_width", "um_height"),
    )


def _columns(rows: list[dict[str, Any]], *names: str) -> NDArray[np.float64]:
    """Return columns of rows as an array (n_rows, n_names), NaN where there is nothing."""
    return np.array([[row.get(name) for name in names] for row in rows], np.float64)


@schema
class MEIMethod(Configuration, dj.Manual):
    definition = """
    # How images are synthesised
    mei_hash : char(16)
    ---
    mei_method : varchar(24)            # inception_loop, fixed_contrast or allen
    excite : enum('most', 'least')
    iter_n : int32
    n_starts : int16                    # images per unit; the best is the MEI
    mei_params : json
    """
    params_type = MEIParams
    params_column = "mei_params"

    @classmethod
    def columns(cls, params: MEIParams) -> dict[str, Any]:
        return {
            "mei_method": params.method,
            "excite": params.excite,
            "iter_n": params.iter_n,
            "n_starts": params.n_starts,
        }


@schema
class TargetModel(dj.Manual):
    definition = """
    # MEIs that someone asked for: of these units, from this ensemble, by this method
    -> TrainingPlan
    -> SelectionPlan
    -> MEIMethod
    """


@schema
class MEI(dj.Computed):
    definition = """
    # The images that most excite the units of a block, in an ensemble of models
    -> Ensemble
    -> UnitSelection.Block
    -> MEIMethod
    ---
    -> CodeVersion
    """

    class Unit(dj.Part):
        """A unit and its most exciting image."""

        definition = """
        -> master
        -> UnitSelection.Unit
        ---
        mei_status : enum('ok', 'dead', 'nonfinite')    # dead: the gradient is zero throughout
        mei = null : <blob>                 # float32, (h, w), grey values 0-255
        mei_activation = null : float64     # of the ensemble, in scaled responses
        mei_contrast = null : float64       # pixel SD, grey values
        mei_curve = null : <blob>           # float32, (k,), activation on the way, NaN after it
        contrast_curve = null : <blob>      # float32, (k,), pixel SD on the way
        stopping = null : enum('steps', 'converged')    # all steps made, or no more to gain
        n_steps = null : int32
        start_agreement = null : float64    # mean correlation of the images of all starts
        mei_seed : int64                    # of the start noise
        monotonic = null : bool             # activation grows with contrast
        max_activation = null : float64     # over contrasts
        max_contrast = null : float64       # pixel SD where it is reached
        sat_contrast = null : float64       # largest pixel SD within 0-255
        lim_contrast = null : float64       # pixel SD if the range were stretched to 255
        img_mean = null : float64           # grey value
        """

    class Start(dj.Part):
        definition = """
        # The images of all starts, of methods with several
        -> MEI.Unit
        start_index : int16
        ---
        start_mei : <blob>                  # float32, (h, w), grey values 0-255
        start_activation : float64
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Blocks of the selections asked for, once their ensemble exists."""
        asked = TargetModel * UnitSelection.Block.proj() & Ensemble.proj()
        return dj.U(*self.primary_key) & asked

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        return MEIMethod.params(key), *block_columns(key)

    def make_compute(
        self,
        key: dict[str, Any],
        params: MEIParams,
        units: list[int],
        columns: list[tuple[str, int]],
        weights: list[str],
    ) -> tuple[Any, ...]:
        block = load_block(weights, columns)
        seeds = [unit_seed(key, unit) for unit in units]
        respond, device = block.respond, block.device
        result = ascend(respond, seeds, block.model.image_shape, *block.statistics, params, device)
        tuning = contrast_tuning(respond, result.images, *block.statistics, device=device)
        return units, seeds, result, tuning, code_version(block.device)

    def make_insert(
        self,
        key: dict[str, Any],
        units: list[int],
        seeds: list[int],
        result: MEIResult,
        tuning: ContrastTuning,
        code: dict[str, str],
    ) -> None:
        self.insert1(key | code)
        rows = [
            key
            | {"unit_index": unit, "mei_seed": seeds[i], "mei_status": str(result.status[i])}
            | (_mei_columns(result, tuning, i) if result.status[i] == "ok" else {})
            for i, unit in enumerate(units)
        ]
        self.Unit.insert(rows)
        if result.start_images.shape[1] > 1:
            self.Start.insert(
                key
                | {
                    "unit_index": row["unit_index"],
                    "start_index": j,
                    "start_mei": result.start_images[i, j],
                    "start_activation": float(result.start_activations[i, j]),
                }
                for i, row in enumerate(rows)
                if row["mei_status"] == "ok"
                for j in range(result.start_images.shape[1])
            )


def _mei_columns(result: MEIResult, tuning: ContrastTuning, i: int) -> dict[str, Any]:
    row = {
        "mei": result.images[i],
        "mei_activation": float(result.activations[i]),
        "mei_contrast": float(result.images[i].std()),
        "mei_curve": result.curve[i],
        "contrast_curve": result.contrast_curve[i],
        "stopping": str(result.stopping[i]),
        "n_steps": int(result.n_steps[i]),
        "start_agreement": float(result.agreement[i]),
        "monotonic": bool(tuning.monotonic[i]),
    }
    contrasts = ("max_activation", "max_contrast", "sat_contrast", "lim_contrast", "img_mean")
    return nullable(row | {name: float(getattr(tuning, name)[i]) for name in contrasts})


@dataclass(frozen=True)
class LoadedBlock:
    """An ensemble and what its units of a block read of it.

    Attributes
    ----------
    model : TrainedEnsemble
    respond : OwnUnits
    device : str
        Where it computes.
    """

    model: TrainedEnsemble
    respond: OwnUnits
    device: str

    @property
    def statistics(self) -> tuple[float, float]:
        """Mean and standard deviation of the training images, grey values."""
        return self.model.image_mean, self.model.image_std

    def responses(self, grey: Tensor, units: Sequence[int] | None = None) -> NDArray[np.float32]:
        """Responses (k,) to grey images (k, h, w) of all units, or those at these positions."""
        positions = range(self.respond.n_units) if units is None else units
        index = torch.tensor(list(positions), device=self.device)
        z = GreyScale(*self.statistics).z(grey.to(self.device))
        return responses_to(self.respond, z, index).cpu().numpy()


def load_block(weights: list[str], columns: list[tuple[str, int]]) -> LoadedBlock:
    """Load an ensemble, from the cache if it was just used, and prepare the units of a block."""
    model = load_model(*weights)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return LoadedBlock(model, OwnUnits(model.network.to(device), columns), device)


def block_columns(key: dict[str, Any]) -> tuple[list[int], list[tuple[str, int]], list[str]]:
    """Return units of a block, their columns in the models, and the checksums of the weights."""
    units, readout_keys, readout_columns = (
        UnitSelection.Unit * TargetDataset.Unit & key
    ).to_arrays("unit_index", "readout_key", "readout_column", order_by="selection_rank")
    columns = [(str(k), int(c)) for k, c in zip(readout_keys, readout_columns, strict=True)]
    return units.tolist(), columns, ensemble_weights(key)


def masked_meis(
    key: dict[str, Any],
) -> tuple[list[int], list[tuple[str, int]], NDArray[np.float32], NDArray[np.float32]]:
    """Return units of a block whose MEI shows something under its mask; columns, MEIs, masks."""
    found = MEI.Unit.proj("mei") * MEIMask.Unit.proj("mei_mask", "mask_status") * TargetDataset.Unit
    usable = "mask_status IN ('ok', 'emptied', 'exhausted')"
    rows = (found * UnitSelection.Unit & key & usable).to_dicts(order_by="selection_rank")
    rows = [row for row in rows if _masked_contrast(row["mei"], row["mei_mask"]) > FAINT]
    columns = [(str(row["readout_key"]), int(row["readout_column"])) for row in rows]
    images, masks = (
        np.array([row[name] for row in rows], np.float32) for name in ("mei", "mei_mask")
    )
    return [row["unit_index"] for row in rows], columns, images, masks


def _masked_contrast(mei: NDArray[np.float32], mask: NDArray[np.float32]) -> float:
    return float((mask * (mei - mei.mean())).std())


def unit_seed(key: dict[str, Any], unit: int) -> int:
    """Return the seed of one unit's start noise: of what is computed, not of who shares a block."""
    document = {n: v for n, v in key.items() if n != "unit_block"} | {"unit_index": unit}
    canonical = json.dumps(document, sort_keys=True).encode()
    return int.from_bytes(hashlib.sha256(canonical).digest()[:8], "big") >> 1


@schema
class MaskMethod(Configuration, dj.Manual):
    definition = """
    # How masks are made
    mask_hash : char(16)
    ---
    mask_type : varchar(16)             # tight, threshold or gaussian
    mask_params : json
    """
    params_type = MaskParams
    params_column = "mask_params"

    @classmethod
    def columns(cls, params: MaskParams) -> dict[str, Any]:
        return {"mask_type": params.type}


@schema
class MaskPlan(dj.Manual):
    definition = """
    # Masks that someone asked for
    -> TargetModel
    -> MaskMethod
    """


@schema
class MEIMask(dj.Computed):
    definition = """
    # Where in its MEI a unit is excited; of type tight: the smallest such mask
    -> MEI
    -> MaskMethod
    """

    class Unit(dj.Part):
        """A unit and the mask of its MEI."""

        definition = """
        -> master
        -> MEI.Unit
        ---
        mask_status : enum('ok', 'emptied', 'exhausted', 'silent', 'degenerate')
        mei_mask : <blob>                   # float32, (h, w), 0-1
        reduction_ratio = null : float64    # masked activation / before erosion, or without mask
        n_erosions : int32
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """MEIs whose masks were asked for."""
        return dj.U(*self.primary_key) & (MEI.proj() * MaskPlan)

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        return MaskMethod.params(key), *block_columns(key)

    def make_compute(
        self,
        key: dict[str, Any],
        params: MaskParams,
        units: list[int],
        columns: list[tuple[str, int]],
        weights: list[str],
    ) -> tuple[Any, ...]:
        alive, images = (MEI.Unit & key & "mei_status = 'ok'").to_arrays("unit_index", "mei")
        column = dict(zip(units, columns, strict=True))
        if len(alive) == 0:
            return [], None
        block = load_block(weights, [column[unit] for unit in alive.tolist()])
        masks = make_masks(params, block.respond, np.stack(images), *block.statistics, block.device)
        return alive.tolist(), masks

    def make_insert(self, key: dict[str, Any], units: list[int], masks: MaskResult | None) -> None:
        self.insert1(key)
        self.Unit.insert(
            nullable(
                key
                | {
                    "unit_index": unit,
                    "mask_status": str(masks.status[i]),
                    "mei_mask": masks.masks[i],
                    "reduction_ratio": float(masks.reduction_ratio[i]),
                    "n_erosions": int(masks.n_erosions[i]),
                }
            )
            for i, unit in enumerate(units)
        )
