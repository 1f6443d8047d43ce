"""What else excites a unit: images as good as its MEI but different, and surrounds of the MEI."""

from collections.abc import Callable
from typing import Any

import datajoint as dj

from schemas.code_version import code_version
from schemas.configuration import Configuration
from schemas.mei import (
    MaskPlan,
    MEIMask,
    load_block,
    masked_meis,
    unit_seed,
)
from schemas.model import ensemble_weights
from schemas.operations import CodeVersion
from schemas.rows import nullable
from science.mei.diverse import DiverseParams, DiverseResult, diversify
from science.mei.surround import SurroundParams, SurroundResult, surrounds
from science.params import Params

schema = dj.Schema()


@schema
class DiverseMethod(Configuration, dj.Manual):
    definition = """
    # How diverse exciting inputs are made
    diverse_hash : char(16)
    ---
    n_images : int16                    # per unit
    diverse_params : json
    """
    params_type = DiverseParams
    params_column = "diverse_params"

    @classmethod
    def columns(cls, params: DiverseParams) -> dict[str, Any]:
        return {"n_images": params.n_images}


@schema
class DiversePlan(dj.Manual):
    definition = """
    # Diverse exciting inputs that someone asked for
    -> MaskPlan
    -> DiverseMethod
    """


@schema
class DiverseMEI(dj.Computed):
    definition = """
    # Images that excite a unit nearly as much as its MEI and differ from each other
    -> MEIMask
    -> DiverseMethod
    ---
    -> CodeVersion
    """

    class Unit(dj.Part):
        """A unit and how different its images are."""

        definition = """
        -> master
        -> MEIMask.Unit
        ---
        masked_activation : float64         # to the MEI under its mask
        diverse_correlation : float64       # mean over all pairs of the unit's images
        n_kept : int16                      # images that excite the unit as much as asked for
        """

    class Image(dj.Part):
        """One of the images of a unit."""

        definition = """
        -> DiverseMEI.Unit
        diverse_index : int16
        ---
        diverse_mei : <blob>                # float32, (h, w), grey values 0-255
        diverse_activation : float64
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Masked MEIs whose variants were asked for."""
        return dj.U(*self.primary_key) & (MEIMask.proj() * DiversePlan)

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        return DiverseMethod.params(key), ensemble_weights(key)

    def make_compute(
        self, key: dict[str, Any], params: DiverseParams, weights: list[str]
    ) -> tuple[Any, ...]:
        return _made(diversify, key, params, weights)

    def make_insert(
        self,
        key: dict[str, Any],
        units: list[int],
        found: DiverseResult | None,
        code: dict[str, str],
    ) -> None:
        self.insert1(key | code)
        self.Unit.insert(
            key
            | {
                "unit_index": unit,
                "masked_activation": float(found.mei_activations[i]),
                "diverse_correlation": float(found.correlation[i]),
                "n_kept": int(found.kept[i].sum()),
            }
            for i, unit in enumerate(units)
        )
        self.Image.insert(
            key
            | {
                "unit_index": unit,
                "diverse_index": j,
                "diverse_mei": image,
                "diverse_activation": float(found.activations[i, j]),
            }
            for i, unit in enumerate(units)
            for j, image in enumerate(found.images[i])
        )


@schema
class SurroundMethod(Configuration, dj.Manual):
    definition = """
    # How surrounds are made
    surround_hash : char(16)
    ---
    surround_excites : enum('most', 'least')
    surround_params : json
    """
    params_type = SurroundParams
    params_column = "surround_params"

    @classmethod
    def columns(cls, params: SurroundParams) -> dict[str, Any]:
        return {"surround_excites": params.excite}


@schema
class SurroundPlan(dj.Manual):
    definition = """
    # Surrounds that someone asked for
    -> MaskPlan
    -> SurroundMethod
    """


@schema
class SurroundMEI(dj.Computed):
    definition = """
    # What around its masked MEI excites a unit most, or least
    -> MEIMask
    -> SurroundMethod
    ---
    -> CodeVersion
    """

    class Unit(dj.Part):
        """A unit and the surround of its MEI."""

        definition = """
        -> master
        -> MEIMask.Unit
        ---
        surround_mei : <blob>               # float32, (h, w), with the masked MEI, grey 0-255
        surround_activation : float64       # to that image
        centre_activation : float64         # to the masked MEI alone
        surround_alive : bool               # false: nothing outside the mask matters
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Masked MEIs whose surrounds were asked for."""
        return dj.U(*self.primary_key) & (MEIMask.proj() * SurroundPlan)

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        return SurroundMethod.params(key), ensemble_weights(key)

    def make_compute(
        self, key: dict[str, Any], params: SurroundParams, weights: list[str]
    ) -> tuple[Any, ...]:
        return _made(surrounds, key, params, weights)

    def make_insert(
        self,
        key: dict[str, Any],
        units: list[int],
        found: SurroundResult | None,
        code: dict[str, str],
    ) -> None:
        self.insert1(key | code)
        self.Unit.insert(
            nullable(
                key
                | {
                    "unit_index": unit,
                    "surround_mei": found.images[i],
                    "surround_activation": float(found.activations[i]),
                    "centre_activation": float(found.centre_activations[i]),
                    "surround_alive": bool(found.alive[i]),
                }
            )
            for i, unit in enumerate(units)
        )


def _made(
    synthesise: Callable[..., Any], key: dict[str, Any], params: Params, weights: list[str]
) -> tuple[Any, ...]:
    """Return the units of a block with a masked MEI, what is made of them, and with what."""
    units, columns, meis, masks = masked_meis(key)
    if not units:
        return [], None, code_version("cpu")
    block = load_block(weights, columns)
    seeds = [unit_seed(key, unit) for unit in units]
    found = synthesise(block.respond, meis, masks, seeds, *block.statistics, params, block.device)
    return units, found, code_version(block.device)
