"""Studies of navigation: read from a file, registered once, one plan for all that was asked for."""

import re

import datajoint as dj
import pytest
from foragers import BOX, Foragers, mapped, source, tracked
from miniature import row_counts
from typer.testing import CliRunner

from pipeline.any_study import FAMILIES, read_any_study
from pipeline.cli import app
from pipeline.deletion import delete_rows
from pipeline.demo import STUDIES
from pipeline.ingest.open_field import insert_open_field
from pipeline.navigation_study import NavigationStudy, register_navigation
from pipeline.status import status
from pipeline.study_file import BadStudy
from schemas.dataset import TaskConfig, TrainingSet
from schemas.model import TrainedModel, TrainingPlan
from schemas.model_config import SeedSet, TrainConfig
from schemas.navigation import (
    AnimalRateMap,
    ModelMapPlan,
    ModelRateMap,
    RateMapDataset,
    RateMapPlan,
)
from schemas.neural_fit import ConsistencyPlan, InterAnimalConsistency, NeuralFit, NeuralFitPlan
from schemas.recording import Scan

STUDY = NavigationStudy.model_validate(
    {
        "task": {
            "arena": BOX.model_dump(),
            "code": {"type": "place_cells", "n_cells": 20},
            "n_steps": 5,
        },
        "training": {"n_epochs": 1, "steps_per_epoch": 2, "n_walks": 5, "n_held_out": 5},
        "networks": {
            "small": {"seeds": (1, 2), "config": {"n_units": 6}, "untrained": True},
            "zoo": {"seeds": (1,), "config": {"n_units": 5}, "grid": {"type": ["gru", "lstm"]}},
        },
        "rate_maps": {
            "maps": {"bin_cm": 20, "min_occupancy_s": 0},
            "shuffles": {"n_shuffles": 2, "min_shift_s": 1},
        },
        "model_maps": {"bin_cm": 20, "n_batches": 2, "n_walks": 50, "layers": ("g", "dc")},
        "maps": {
            "ridge": {"train_frac": 0.5, "n_splits": 2},
            "best": {"map": {"map_type": "corr"}},
        },
        "consistency": ("holdout", "pairwise"),
    }
)


@pytest.fixture(scope="module")
def foragers(tables):
    made, before = Foragers(), TrainingSet.keys()
    yield made
    own = f"animal_id BETWEEN {made.first} AND {made.last}"
    sets = RateMapDataset & (dj.U("rate_map_set_hash") & (RateMapDataset.Member & own)).to_dicts()
    tasks = TaskConfig & (dj.U("task_hash") & (TrainingSet - before)).to_dicts()
    for rows in (tasks, sets, RateMapPlan & own):
        if rows:
            rows.delete(prompt=False, part_integrity="cascade")
    made.delete()


def jobs(table):
    """Jobs of a table to come, as `status` shows them."""
    (row,) = [row for row in status() if row.table == table]
    return row.unfinished


def recorded(foragers, seed):
    key, arrays = foragers.key(), tracked(seed)
    insert_open_field(key, arrays, source(arrays))
    return key


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.toml")), ids=lambda p: p.stem)
def test_all_studies_that_are_shipped_can_be_read(path):
    named = re.search('^family = "(.+)"', path.read_text(), re.MULTILINE)
    assert type(read_any_study(path)) is FAMILIES[named[1] if named else "image"][0]


def test_a_family_that_does_not_exist_is_refused(tmp_path):
    (tmp_path / "s.toml").write_text('family = "olfaction"')
    with pytest.raises(BadStudy, match=r"no family 'olfaction', write one of image, navigation"):
        read_any_study(tmp_path / "s.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[task]\nn_steps = 0\n", "task.n_steps"),
        ("[task.cues]\n[task.reward]\n", "cues or a reward zone, not both"),
        ("[networks.a.config]\ntype = 'transformer'\n", "networks.a.config.type"),
        ("[networks.a]\nseeds = [1, 1]\n", "a seed occurs twice"),
        (
            "[networks.a.config]\ntype = 'rnn'\n[model_maps]\nlayers = ['pre_g']\n",
            "no layer 'pre_g'",
        ),
        ("[maps.a]\ntrain_frac = 'thirds'\n", "maps.a.train_frac"),
        ("[maps]\n", "maps"),
        ("consistency = ['all']\n", "consistency.0"),
        ("[models.cnn]\n", "models: Extra inputs"),
    ],
)
def test_a_bad_file_is_refused_with_what_is_wrong(tmp_path, text, message):
    # what stands before a table belongs to no table
    (tmp_path / "s.toml").write_text('family = "navigation"\n' + text)
    with pytest.raises(BadStudy, match=re.escape(message)) as caught:
        read_any_study(tmp_path / "s.toml")
    assert str(caught.value).startswith(str(tmp_path / "s.toml"))


def test_everything_that_was_asked_for_is_a_row_once_and_is_computed(foragers):
    scans = [recorded(foragers, 1), recorded(foragers, 2)]
    asked = register_navigation(STUDY, scans)
    before = row_counts()
    assert register_navigation(STUDY, scans[::-1]) == asked
    assert row_counts() == before
    names = ["small", "small untrained", "zoo.0", "zoo.1"]
    assert list(asked["plans"]) == names and list(asked["datasets"]) == ["forager box"]
    fits = NeuralFitPlan & asked["datasets"]["forager box"]
    # two layers and two maps of each; the networks' own box is that of the animals
    assert len(fits) == len(names) * 2 * 2
    assert len(ModelMapPlan & asked["training_set"]) == len(names)
    assert len(ConsistencyPlan & asked["datasets"]["forager box"]) == 2 * 2
    assert TrainConfig.params(asked["plans"]["small untrained"]).n_epochs == 0
    TrainedModel.populate(asked["training_set"])
    AnimalRateMap.populate(scans)
    ModelRateMap.populate(asked["training_set"])
    InterAnimalConsistency.populate(asked["datasets"]["forager box"])
    NeuralFit.populate(fits.proj())
    n_networks = 2 + 2 + 1 + 1
    assert len(ModelRateMap & asked["training_set"]) == n_networks
    assert len(NeuralFit & fits.proj()) == n_networks * 2 * 2
    assert len(InterAnimalConsistency & asked["datasets"]["forager box"]) == 4

    # without one of its animals a set, and all that was made of it, is not what it was called
    delete_rows(Scan & scans[0])
    assert not RateMapDataset & asked["datasets"]["forager box"]
    assert not fits and not ConsistencyPlan & asked["datasets"]["forager box"]
    assert not NeuralFit.Cell & scans[1] and not InterAnimalConsistency.Cell & scans[1]
    assert AnimalRateMap & scans[1] and len(ModelRateMap & asked["training_set"]) == n_networks


def test_one_animal_alone_is_explained_but_not_compared(foragers):
    asked = register_navigation(STUDY, [recorded(foragers, 3)])
    (dataset,) = asked["datasets"].values()
    assert NeuralFitPlan & dataset and not ConsistencyPlan & dataset


def test_networks_need_no_animals(foragers):
    readouts = jobs("UnitReadout")
    asked = register_navigation(STUDY)
    assert jobs("UnitReadout") == readouts  # path integrators read no images
    assert jobs("ModelRateMap") > 0
    assert not asked["datasets"] and TrainingPlan & asked["training_set"]
    arenas = ModelMapPlan & asked["training_set"] & {"arena": "1.2 x 0.8 m"}
    assert len(arenas) == len(asked["plans"])
    assert SeedSet.Member & asked["plans"]["small"]


def test_animals_in_two_arenas_are_two_sets(foragers):
    key, arrays = foragers.key(), mapped(4, arena="another box")
    insert_open_field(key, arrays, source(arrays))
    asked = register_navigation(STUDY, [recorded(foragers, 5), key])
    assert set(asked["datasets"]) == {"forager box", "another box"}
    assert {d["rate_map_set_hash"] for d in asked["datasets"].values()} <= set(
        RateMapDataset.to_arrays("rate_map_set_hash")
    )


def test_a_recording_of_images_is_refused(recordings):
    before = row_counts()
    with pytest.raises(BadStudy, match="no recording of a foraging animal"):
        register_navigation(STUDY, [recordings.insert(88)])
    assert row_counts()["RateMapPlan"] == before["RateMapPlan"]


def test_the_command_registers_either_family(foragers, tmp_path):
    key = recorded(foragers, 6)
    (tmp_path / "s.toml").write_text(
        'family = "navigation"\n[networks.a.config]\nn_units = 4\n'
        "[task.arena]\nwidth = 3\nheight = 3\n"
    )
    name = "-".join(map(str, key.values()))
    runner = CliRunner()
    done = runner.invoke(app, ["register", str(tmp_path / "s.toml"), "--scan", name])
    assert done.exit_code == 0 and "training set" in done.output
    done = runner.invoke(app, ["register", str(STUDIES / "virtual.toml")])
    assert done.exit_code == 1 and "needs a recording" in done.output
