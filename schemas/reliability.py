"""How reliable and how varied the recorded units are: oracle scores, ceilings, statistics."""

from typing import Any

import datajoint as dj
import numpy as np
from numpy.typing import NDArray

from schemas.configuration import Configuration
from schemas.dataset import TargetDataset, TrainingSet
from schemas.loading import load_dataset
from schemas.rows import unit_rows
from science.dataset import Recording
from science.oracle import OracleParams
from science.reliability import Trials, n_repeated_images, rank_units, unit_reliability
from science.unit_statistics import unit_statistics

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
    # Reliability of the units of a dataset over repeated images: fewer than two tell nothing
    -> TargetDataset
    -> OracleMethod
    ---
    n_repeated_images : int32           # shown more than once, all recordings together
    n_reliable : int32
    """

    class UnitScores(dj.Part):
        """A unit and how reliably it answers."""

        definition = """
        -> master
        -> TargetDataset.Unit
        ---
        oracle = null : float64         # null: no repeats, or a constant unit
        oracle_spearman = null : float64    # leave-one-out only
        oracle_p = null : float64           # bootstrap only: against shuffled images
        oracle_mean_rank = null : float64   # repeat draws only: 0 = best in every draw
        signal_power = null : float64   # variance of the expected response, unclipped
        fev = null : float64            # fraction of single-trial variance that is signal
        cc_max = null : float64         # ceiling of the correlation with the mean response
        fev_included : bool             # FEV is above the method's threshold
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
        recordings = load_dataset(key, digest).recordings.values()
        shown = [_shown(recording, params.images) for recording in recordings]
        n_images = sum(n_repeated_images(image_index) for _, image_index in shown)
        return n_images, unit_reliability(shown, params)

    def make_insert(
        self, key: dict[str, Any], n_images: int, scores: dict[str, NDArray[np.generic]]
    ) -> None:
        n_reliable = int(np.count_nonzero(scores["reliable"]))
        self.insert1(key | {"n_repeated_images": n_images, "n_reliable": n_reliable})
        self.UnitScores.insert(unit_rows(key, scores))


def _shown(recording: Recording, images: str) -> Trials:
    """Return the trials that an oracle looks at."""
    if images == "all":
        return recording.responses, recording.image_index
    test = recording.trials("test")
    return recording.responses[test], recording.image_index[test]


@schema
class OracleRankedUnit(dj.Computed):
    definition = """
    # The units of a dataset by oracle score
    -> Oracle
    ---
    n_ranked : int32
    """

    class Unit(dj.Part):
        """A unit and its rank."""

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


@schema
class UnitStatistics(dj.Computed):
    definition = """
    # How varied and how alike the mean responses of units are, over all images of a dataset
    -> TargetDataset
    ---
    n_anomalous : int32
    """

    class Unit(dj.Part):
        """A unit and how varied its mean responses are."""

        definition = """
        -> master
        -> TargetDataset.Unit
        ---
        entropy = null : float64            # nat, of the histogram of exact values
        response_variance = null : float64
        highest_correlation = null : float64    # with another unit of its recording
        highest_unit_index = null : int32       # that unit
        lowest_correlation = null : float64
        lowest_unit_index = null : int32
        anomaly_label : int8                # -1: set apart by an isolation forest, else 1
        anomaly_score : float64             # negative where the label is -1
        """

    @property
    def key_source(self) -> dj.expression.QueryExpression:
        """Datasets any oracle of which was asked for."""
        return (TargetDataset & OraclePlan).proj()

    def make_fetch(self, key: dict[str, Any]) -> tuple[Any, ...]:
        return ((TargetDataset & key).fetch1("dataset_digest"),)

    def make_compute(self, key: dict[str, Any], digest: str) -> tuple[Any, ...]:
        parts, first = [], 0
        for recording in load_dataset(key, digest).recordings.values():
            part = unit_statistics(recording.responses, recording.image_index)
            for extreme in ("highest", "lowest"):
                unit = part.pop(f"{extreme}_unit")
                part[f"{extreme}_unit_index"] = np.where(unit < 0, None, first + unit)
            parts.append(part)
            first += recording.responses.shape[1]
        return ({n: np.concatenate([p[n] for p in parts]) for n in parts[0]},)

    def make_insert(self, key: dict[str, Any], statistics: dict[str, NDArray[np.generic]]) -> None:
        n_anomalous = int(np.count_nonzero(statistics["anomaly_label"] == -1))
        self.insert1(key | {"n_anomalous": n_anomalous})
        self.Unit.insert(unit_rows(key, statistics))
