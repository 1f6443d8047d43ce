"""Configuration rows: their hash, their validation, and what is read back from the database."""

import hashlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from miniature import row_counts
from pydantic import TypeAdapter, ValidationError

from schemas.cell_match import MatchMethod
from schemas.coding import CodeAnalysisConfig
from schemas.configuration import configuration_hash
from schemas.controls import ContrastRule, FieldMethod, GaborMethod
from schemas.dataset import DataConfig, SplitConfig, StaticMultiDataset, TaskConfig
from schemas.feedback import (
    ContextDecodingConfig,
    ContextTestConfig,
    FeedbackControlConfig,
    FreezeConfig,
)
from schemas.mei import MaskMethod, MEIMethod, SelectionRule
from schemas.mei_variants import DiverseMethod, SurroundMethod
from schemas.model_config import (
    CoreConfig,
    ModelConfig,
    ModulatorConfig,
    ReadoutConfig,
    SeedSet,
    ShifterConfig,
    TrainConfig,
)
from schemas.navigation import ModelMapConfig, RateMapConfig
from schemas.neural_fit import FeatureConfig, NeuralMapConfig
from schemas.reliability import OracleMethod
from schemas.responses import Preprocessing
from schemas.stimulus import DisplayRule
from science.dataset import DataParams
from science.model.config import ImageModelConfig
from science.split import SplitParams

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def backwards(value):
    """Return the same document with the keys of every object in the other order."""
    if isinstance(value, dict):
        return {k: backwards(v) for k, v in reversed(value.items())}
    return [backwards(v) for v in value] if isinstance(value, list) else value


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_the_order_of_keys_does_not_matter(document):
    assert configuration_hash("T", document) == configuration_hash("T", backwards(document))


def test_a_hash_is_64_bits_of_sha256_of_canonical_json():
    canonical = '{"params":{"a":[1,2.5,null,true],"b":"\\u00e9"},"type":"T","version":3}'
    expected = hashlib.sha256(canonical.encode()).hexdigest()[:16]
    assert configuration_hash("T", {"b": "é", "a": [1, 2.5, None, True]}, 3) == expected


def test_values_that_look_alike_differ():
    values = [1, "1", True, 1.0, None, "None", "null", "True", 0, False, "", [], {}, [1], "é", "e"]
    hashes = [configuration_hash("T", {"a": value}) for value in values]
    assert len(set(hashes)) == len(values)


def test_kind_version_and_name_of_a_parameter_count():
    hashes = {
        configuration_hash("T", {"a": 1}),
        configuration_hash("S", {"a": 1}),
        configuration_hash("T", {"a": 1}, version=2),
        configuration_hash("T", {"b": 1}),
        configuration_hash("T", {}),
    }
    assert len(hashes) == 5


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_has_no_hash(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        configuration_hash("T", {"a": [{"b": value}]})


# --- rows

OTHER_THAN_DEFAULT = {
    Preprocessing: {"height": 31, "offset": 0.125},
    SplitConfig: {"method": "kfold", "n_folds": 7, "fold": 3, "validation_fraction": 0.1},
    OracleMethod: {"method": "repeat_draw", "images": "all", "n_draws": 9},
    CoreConfig: {"type": "stacked", "hidden_channels": 7, "gamma_hidden": 1e-7},
    ReadoutConfig: {"type": "pyramid", "scale_n": 3, "init_range": 0.3},
    ShifterConfig: {"type": "affine", "gamma": 0.25},
    ModulatorConfig: {"hidden_channels": 3},
    TrainConfig: {"schedule": [0.3, 1e-12, 1e30], "tolerance": 0},
    SelectionRule: {"top_fraction": 1 / 3, "max_units": None, "min_spacing_um": 20},
    MEIMethod: {"method": "inception_loop", "iter_n": 17, "norm": 12.345678901234567},
    MaskMethod: {"type": "tight", "filter_sigma": 1.7, "target_reduction_ratio": 0.85},
    DiverseMethod: {"n_images": 4, "keep": 0.7},
    SurroundMethod: {"excite": "most", "contrast": 0.4},
    ContrastRule: {"mean": 127.5, "std": 20},
    GaborMethod: {"grid": {"sigmas": [3]}, "ascent": {"steps": 7}},
    FieldMethod: {"lambdas": [1, 10]},
    MatchMethod: {"max_distance": None, "min_correlation": 0.42},
    DisplayRule: {"unit": "grey", "mean": 111, "contrast": 16},
    TaskConfig: {"arena": {"width": 1.3, "height": 0.7}, "code": {"type": "position"}},
    RateMapConfig: {"maps": {"bin_cm": 2.5}, "n_segments": 3},
    ModelMapConfig: {"layers": ["dc", "pre_g"], "seed": 7},
    NeuralMapConfig: {"map": {"map_type": "pls", "n_components": 3}, "train_frac": "quad"},
    FeatureConfig: {"layer": "core", "grid": 3},
    ContextTestConfig: {"n_contexts": 12, "noise": 0.3},
    FreezeConfig: {"n_pairs": 7, "late_fraction": 0.35},
    ContextDecodingConfig: {"n_grid": 9, "min_determinant": 0.15},
    FeedbackControlConfig: {"n_fit": 100, "feedforward": {"window": 9, "hidden": [7]}},
    CodeAnalysisConfig: {"n_stimuli": 500, "window": 35, "seed": 7},
}


@pytest.mark.parametrize("table", OTHER_THAN_DEFAULT, ids=lambda t: t.__name__)
def test_parameters_come_back_as_they_went_in(tables, table):
    params = TypeAdapter(table.params_type).validate_python(OTHER_THAN_DEFAULT[table])
    key = table.register(params)
    assert table.params(key) == params
    # what is read back has the same hash, to the last digit of its numbers
    assert table.register(table.params(key)) == key


@pytest.mark.parametrize("table", OTHER_THAN_DEFAULT, ids=lambda t: t.__name__)
def test_registering_again_inserts_nothing(tables, table):
    key = table.register(OTHER_THAN_DEFAULT[table])
    n = len(table())
    complete = (
        TypeAdapter(table.params_type).validate_python(OTHER_THAN_DEFAULT[table]).model_dump()
    )
    assert table.register(complete) == key
    assert len(table()) == n
    assert len(table & key) == 1


@pytest.mark.parametrize(
    ("table", "wrong"),
    [
        (Preprocessing, {"height": 1}),
        (Preprocessing, {"hight": 36}),
        (Preprocessing, {"offset": math.nan}),
        (SplitConfig, {"n_folds": 3, "fold": 3}),
        (OracleMethod, {"method": "magic"}),
        (OracleMethod, {"min_repeats": 1, "method": "bootstrap"}),
        (CoreConfig, {"hidden_kern": 4}),
        (CoreConfig, {"gamma_input": math.inf}),
        (ReadoutConfig, {"scale_n": 0}),
        (TrainConfig, {"schedule": []}),
        (SelectionRule, {"top_fraction": 2}),
        (MEIMethod, {"iter_n": 0, "method": "allen"}),
        (MEIMethod, {"norm": math.nan, "method": "inception_loop"}),
        (MEIMethod, {"starts": ["grey"], "method": "allen"}),
        (MaskMethod, {"erosion_size": 4, "type": "tight"}),
        (DiverseMethod, {"keep": 1.5}),
        (ContrastRule, {"std": 200}),
        (GaborMethod, {"grid": {"sigmas": []}}),
        (MatchMethod, {"max_distance": -1}),
        (DisplayRule, {"height": 144}),
        (TaskConfig, {"n_steps": 0}),
        (RateMapConfig, {"n_segments": 0}),
        (ModelMapConfig, {"layers": ["g", "g"]}),
        (NeuralMapConfig, {"n_splits": 0}),
        (FeatureConfig, {"grid": 0}),
    ],
)
def test_bad_parameters_leave_no_row(tables, table, wrong):
    before = row_counts()
    with pytest.raises(ValidationError, match=next(iter(wrong)) + "|fold"):
        table.register(wrong)
    assert row_counts() == before


def test_a_bad_part_of_a_composed_configuration_leaves_no_row(tables):
    before = row_counts()
    with pytest.raises(ValidationError):
        DataConfig.register(DataParams(), {"method": "odd"})
    with pytest.raises(ValidationError):
        DataConfig.register({"areas": "V1"}, SplitParams(seed=987))
    with pytest.raises(ValidationError):
        ModelConfig.register_image(
            {"core": {"type": "stacked"}, "readout": {"type": "pyramid", "scale_n": 0}}
        )
    assert row_counts() == before


def test_columns_repeat_what_people_filter_on(tables):
    kfold = SplitConfig.register({"method": "kfold", "n_folds": 3, "fold": 2})
    assert (SplitConfig & kfold).fetch1("split_method", "fold") == ("kfold", 2)
    once = SplitConfig.register({"method": "random"})
    assert (SplitConfig & once).fetch1("split_method", "fold") == ("random", None)
    small = Preprocessing.register({"height": 20, "width": 30})
    assert (Preprocessing & small).fetch1("frame_height", "frame_width") == (20, 30)


def test_a_model_refers_to_its_components(tables):
    config = ImageModelConfig.model_validate(
        {"core": {"type": "gabor"}, "shifter": {"type": "mlp"}, "modulator": {}}
    )
    key = ModelConfig.register_image(config)
    row = (ModelConfig & key).fetch1()
    assert {"core_hash": row["core_hash"]} == CoreConfig.register(config.core)
    assert {"readout_hash": row["readout_hash"]} == ReadoutConfig.register(config.readout)
    assert {"shifter_hash": row["shifter_hash"]} == ShifterConfig.register(config.shifter)
    assert {"modulator_hash": row["modulator_hash"]} == ModulatorConfig.register(config.modulator)
    assert ImageModelConfig.model_validate(row["model_params"]) == config
    plain = (ModelConfig & ModelConfig.register_image(ImageModelConfig())).fetch1()
    assert (plain["shifter_hash"], plain["modulator_hash"]) == (None, None)


def test_a_set_of_seeds_has_no_order(tables):
    key = SeedSet.register([5, 3, 4])
    assert SeedSet.register((4, 5, 3)) == key
    assert (SeedSet.Member & key).to_arrays("seed", order_by="seed").tolist() == [3, 4, 5]
    assert (SeedSet & key).fetch1("n_seeds") == 3
    assert SeedSet.register([3, 4]) != key


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_must_be_distinct_and_some(tables, seeds):
    before = row_counts()
    with pytest.raises(ValueError, match="distinct seeds"):
        SeedSet.register(seeds)
    assert row_counts() == before


def test_a_group_of_recordings_needs_members(tables):
    with pytest.raises(ValueError, match="at least one member"):
        StaticMultiDataset.register([])
