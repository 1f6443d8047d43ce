"""The Gabors that excite units most, of a grid and of all."""

from typing import Any

import datajoint as dj
import numpy as np

from schemas.code_version import code_version
from schemas.controls import ContrastRule, ControlPlan, GaborMethod
from schemas.mei import UnitSelection, block_columns, load_block
from schemas.model import Ensemble
from schemas.operations import CodeVersion
from science.contrast import ContrastTarget
from science.gabor_ascent import GaborParams, optimal_gabors
from science.gabor_search import GaborFit, best_gabors
from science.gabors import PARAMETERS

schema = dj.Schema()


@schema
class BestGabor(dj.Computed):
    definition = """
    # The Gabor of a grid that excites a unit most, at equal mean and contrast
    -> Ensemble
    -> UnitSelection
    -> ContrastRule
    -> GaborMethod
    ---
    -> CodeVersion
    """

    class Unit(dj.Part):
        """A unit and its best Gabor of the grid."""

        definition = """
        -> master
        -> UnitSelection.Unit
        ---
        best_alive : bool               # false: all Gabors drove the unit alike
        best_gabor : <blob>             # float32, (h, w), grey values 0-255
        best_activation : float64
        best_phase : float64            # degrees, in the middle of the window
        best_wavelength : float64       # pixels
        best_orientation : float64      # degrees; 0: horizontal stripes, counter-clockwise
        best_sigma : float64            # pixels
        best_dy : float64               # from the middle down, fraction of the height
        best_dx : float64               # to the right, fraction of the width
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Selections whose controls were asked for, once their ensemble exists."""
        asked = ControlPlan * UnitSelection.proj() & Ensemble.proj()
        return dj.U(*self.primary_key) & asked

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        return GaborMethod.params(key), ContrastRule.params(key), *block_columns(key)

    def make_compute(
        self,
        key: dict[str, Any],
        params: GaborParams,
        contrast: ContrastTarget,
        units: list[int],
        columns: list[tuple[str, int]],
        weights: list[str],
    ) -> tuple[Any, ...]:
        if not units:
            return [], None, code_version("cpu")
        block = load_block(weights, columns)
        found = best_gabors(
            block.respond.all,
            params.grid,
            block.model.image_shape,
            *block.statistics,
            contrast,
            device=block.device,
        )
        return units, found, code_version(block.device)

    def make_insert(
        self,
        key: dict[str, Any],
        units: list[int],
        found: GaborFit | None,
        code: dict[str, str],
    ) -> None:
        self.insert1(key | code)
        blocks = (UnitSelection.Unit & key).to_dicts()
        block_of = {row["unit_index"]: row["unit_block"] for row in blocks}
        self.Unit.insert(
            key
            | {"unit_index": unit, "unit_block": block_of[unit]}
            | _gabor_columns("best", found, i)
            for i, unit in enumerate(units)
        )


@schema
class OptimalGabor(dj.Computed):
    definition = """
    # The Gabor of all that excites a unit most, by ascent from the grid's best
    -> BestGabor
    -> UnitSelection.Block
    """

    class Unit(dj.Part):
        """A unit and its best Gabor of all."""

        definition = """
        -> master
        -> BestGabor.Unit
        ---
        optimal_alive : bool            # false: all Gabors drove the unit alike
        optimal_gabor : <blob>          # float32, (h, w), grey values 0-255
        optimal_activation : float64
        optimal_phase : float64         # as of BestGabor
        optimal_wavelength : float64
        optimal_orientation : float64
        optimal_sigma : float64
        optimal_dy : float64
        optimal_dx : float64
        """

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        return GaborMethod.params(key), ContrastRule.params(key), *block_columns(key)

    def make_compute(
        self,
        key: dict[str, Any],
        params: GaborParams,
        contrast: ContrastTarget,
        units: list[int],
        columns: list[tuple[str, int]],
        weights: list[str],
    ) -> tuple[Any, ...]:
        names = [f"best_{name}" for name in PARAMETERS]
        found = (BestGabor.Unit & key).proj(*names).to_dicts()
        grid = {row["unit_index"]: [row[name] for name in names] for row in found}
        block = load_block(weights, columns)
        fit = optimal_gabors(
            block.respond,
            np.array([grid[unit] for unit in units], np.float32),
            block.model.image_shape,
            *block.statistics,
            contrast,
            params.limits,
            params.ascent,
            device=block.device,
        )
        return units, fit

    def make_insert(self, key: dict[str, Any], units: list[int], fit: GaborFit) -> None:
        self.insert1(key)
        self.Unit.insert(
            key | {"unit_index": unit} | _gabor_columns("optimal", fit, i)
            for i, unit in enumerate(units)
        )


def _gabor_columns(prefix: str, fit: GaborFit, i: int) -> dict[str, Any]:
    """Return the columns of one unit's Gabor."""
    return {
        f"{prefix}_alive": bool(fit.alive[i]),
        f"{prefix}_gabor": fit.images[i],
        f"{prefix}_activation": float(fit.activations[i]),
        **{
            f"{prefix}_{name}": float(value)
            for name, value in zip(PARAMETERS, fit.parameters[i], strict=True)
        },
    }
