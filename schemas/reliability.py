"""How reliable the recorded units are: oracle scores, noise ceilings, ranks."""

from typing import Any

import datajoint as dj
import numpy as np
from numpy.typing import NDArray

from schemas.configuration import Configuration
from schemas.dataset import TargetDataset, TrainingSet
from schemas.loading import load_dataset
from schemas.rows import unit_rows
from science.reliability import OracleParams, n_repeated_images, rank_units, unit_reliability

schema = dj.Schema()


@schema
class OracleMethod(Configuration, dj.Manual):
    definition = """
    # How the oracle score is computed
    oracle_hash : char(16)
    ---
    oracle_method : varchar(24)
    oracle_params : json
    """
    params_type = OracleParams
    params_column = "oracle_params"

    @classmethod
    def columns(cls, params: OracleParams) -> dict[str, Any]:
        return {"oracle_method": params.method}


@schema
class OraclePlan(dj.Manual):
    definition = """
    # Oracle scores that someone asked for
    -> TrainingSet
    -> OracleMethod
    """


@schema
class Oracle(dj.Computed):
    definition = """
    # Reliability of the units of a dataset over the repeated images of its test tier
    -> TargetDataset
    -> OracleMethod
    ---
    n_repeated_images : int32           # shown more than once, all recordings together
    n_reliable : int32
    """

    class UnitScores(dj.Part):
        definition = """
        -> master
        -> TargetDataset.Unit
        ---
        oracle = null : float64         # null: no repeats, or a constant unit
        signal_power = null : float64   # variance of the expected response, unclipped
        fev = null : float64            # fraction of single-trial variance that is signal
        cc_max = null : float64         # ceiling of the correlation with the mean response
        reliable : bool                 # responses differ between images, F-test p < 0.001
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Datasets whose oracle was asked for."""
        return (OraclePlan & TargetDataset).proj()

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        return (OracleMethod.params(key), (TargetDataset & key).fetch1("dataset_digest"))

    def make_compute(
        self, key: dict[str, Any], params: OracleParams, digest: str
    ) -> tuple[Any, ...]:
        parts, n_images = [], 0
        for recording in load_dataset(key, digest).recordings.values():
            test = recording.trials("test")
            responses, image_index = recording.responses[test], recording.image_index[test]
            parts.append(unit_reliability(responses, image_index, params))
            n_images += n_repeated_images(image_index)
        return n_images, {n: np.concatenate([p[n] for p in parts]) for n in parts[0]}

    def make_insert(
        self, key: dict[str, Any], n_images: int, scores: dict[str, NDArray[np.generic]]
    ) -> None:
        n_reliable = int(np.count_nonzero(scores["reliable"]))
        self.insert1(key | {"n_repeated_images": n_images, "n_reliable": n_reliable})
        self.UnitScores.insert(unit_rows(key, scores))


@schema
class OracleRankedUnit(dj.Computed):
    definition = """
    # The units of a dataset by oracle score
    -> Oracle
    ---
    n_ranked : int32
    """

    class Unit(dj.Part):
        definition = """
        -> master
        -> Oracle.UnitScores
        ---
        oracle_rank : int32             # 0 = best; units without a score come last
        """

    def make(self, key: dict[str, Any]) -> None:
        units, scores = (Oracle.UnitScores & key).to_arrays(
            "unit_index", "oracle", order_by="unit_index"
        )
        ranked = units[rank_units(np.asarray(scores, np.float64))]
        self.insert1(key | {"n_ranked": len(ranked)})
        self.Unit.insert(
            key | {"unit_index": int(u), "oracle_rank": rank} for rank, u in enumerate(ranked)
        )
