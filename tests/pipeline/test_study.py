"""Studies: read from a file, registered once, and nothing computed that was not asked for."""

import datajoint as dj
import pytest
from miniature import DAY_1, STUDY, all_tables, row_counts, study

from pipeline.demo import STUDIES
from pipeline.plan import estimate
from pipeline.status import status
from pipeline.study import Study, admit, read_study, register
from pipeline.study_file import BadStudy
from schemas.graph import STEPS
from schemas.mei import MaskPlan, TargetModel
from schemas.model import ModelComparison, TrainingPlan
from schemas.model_config import ModelConfig, SeedSet
from schemas.neural_fit import NeuralFitPlan
from schemas.recording import Scan
from schemas.reliability import OraclePlan
from schemas.responses import Frame, InputResponse, StaticScan


@pytest.fixture(autouse=True)
def _populated(populated):
    """Everything that the miniature asked for is done."""


def work_to_do():
    """Return the jobs that workers would find, by table."""
    todo = {s.table.__name__: len(s.table().key_source - s.table().proj()) for s in STEPS}
    return {name: n for name, n in todo.items() if n}


def manual_counts():
    manual = {n for n, table in all_tables().items() if not issubclass(table, dj.Computed)}
    return {name: n for name, n in row_counts().items() if name in manual}


# --- reading


GOOD = "[preprocessing]\nheight = 24\nwidth = 40\n[models.cnn]\nseeds = [1, 2]\n"


def test_what_a_file_does_not_say_has_its_default(tmp_path):
    (tmp_path / "s.toml").write_text(GOOD)
    read = read_study(tmp_path / "s.toml")
    assert read == Study.model_validate(
        {"preprocessing": {"height": 24, "width": 40}, "models": {"cnn": {"seeds": (1, 2)}}}
    )
    assert read.mei == Study().mei


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[preprocessing\n", "is not a TOML file"),
        ("[preprocessing]\nheigth = 24\n", "preprocessing.heigth: Extra inputs"),
        ("[preprocesing]\nheight = 24\n", "preprocesing: Extra inputs"),
        ("[preprocessing]\nheight = 2\n", "preprocessing.height: .*greater than or equal to 4"),
        ("[preprocessing]\nheight = '24 px'\n", "preprocessing.height: .*valid integer"),
        ("[preprocessing]\noffset = nan\n", "preprocessing.offset"),
        ("[mei]\nmethod = 'inception_loop'\nnorm = inf\n", "mei.inception_loop.norm"),
        ("[mei]\niter_n = 100\n", "mei: .*discriminator 'method'"),
        ("[training]\nschedule = []\n", "training.schedule"),
        ("[split]\nmethod = 'kfold'\nfold = 5\n", "split: .*folds are 0 to 4"),
        ("[models]\n", "models"),
        ("[models.cnn]\nseeds = []\n", "models.cnn.seeds"),
        ("[models.cnn]\nseeds = [1, 1]\n", r"a seed occurs twice in \[1, 1\]"),
        ("[models.cnn]\nseeds = [-1]\n", "models.cnn.seeds.0"),
        ("[models.cnn]\nseeds = [2147483648]\n", "models.cnn.seeds.0"),
        ("[models.cnn]\nrole = 'best'\n", "models.cnn.role"),
        ("[models.cnn.grid]\n'core.depth' = [1]\n", "models.cnn: .*depth"),
        ("[models.cnn.grid]\n'core.layers' = []\n", "a parameter of the grid has no value"),
        ("[models.cnn.config.core]\ntype = 'transformer'\n", "energy.*gabor.*stacked"),
        ("[models.cnn.config.shifter]\ntype = 'mlp'\n", "set data.behavior = true"),
        ("[models.a]\n[models.b]\n", "two models of the study have the same architecture"),
    ],
)
def test_a_bad_file_is_refused_with_what_is_wrong(tmp_path, text, message):
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(BadStudy, match=message) as caught:
        read_study(tmp_path / "s.toml")
    assert str(caught.value).startswith(str(tmp_path / "s.toml"))
    assert "\n" not in str(caught.value).strip()


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(BadStudy, match="there is no study file"):
        read_study(tmp_path / "none.toml")
    with pytest.raises(BadStudy, match="cannot be read: Is a directory"):
        read_study(tmp_path)
    (tmp_path / "s.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadStudy, match="is not a TOML file"):
        read_study(tmp_path / "s.toml")


# --- registering


def test_a_recording_that_is_not_there_is_refused(recordings):
    before = row_counts()
    with pytest.raises(BadStudy, match=r"there is no recording .*: ingest it first"):
        register(study(), [recordings.key()])
    assert row_counts() == before


def test_registering_again_changes_nothing(recordings):
    scans = [recordings.insert(60), recordings.insert(61)]
    first = register(study(), scans)
    before = row_counts()
    assert register(study(), scans) == first
    assert register(study(), scans[::-1]) == first
    assert row_counts() == before
    recordings.delete()


def test_networks_explain_their_own_units_and_those_of_other_sets(recordings):
    explained = register(study(), [recordings.insert(62)])["training_set"]
    fits = {"own": {}, "other": {"training_sets": [explained["training_set_hash"]]}}
    key = recordings.insert(63)
    asked = register(study(fits=fits), [key])
    rows = NeuralFitPlan & asked["training_set"]
    sets = rows.to_arrays("explained_set_hash").tolist()
    hashes = [explained["training_set_hash"], asked["training_set"]["training_set_hash"]]
    assert sorted(sets) == sorted(hashes * len(asked["plans"]))
    absent = study(fits={"no": {"training_sets": ["0" * 16]}})
    with pytest.raises(BadStudy, match="no training set of images 0000000000000000"):
        register(absent, [key])
    rows.delete(prompt=False)
    recordings.delete()


def test_the_study_of_the_miniature_is_still_registered(populated):
    before = row_counts()
    again = register(study(), [DAY_1])
    assert again == {
        "training_set": populated.training_set,
        "plans": {"cnn": populated.plan, "linear": populated.linear},
    }
    assert row_counts() == before
    assert not work_to_do()


def test_a_recording_alone_asks_for_nothing(recordings):
    before = status()
    recordings.insert(62)
    assert not work_to_do()
    assert [(s.table, s.pending, s.blocked) for s in status()] == [
        (s.table, s.pending, s.blocked) for s in before
    ]
    recordings.delete()


def test_an_admitted_recording_asks_for_frames_and_responses_only(recordings):
    key = recordings.insert(63)
    admit(study(), key)
    assert work_to_do() == {"Frame": 1}
    Frame.populate(key)
    assert work_to_do() == {"InputResponse": 1}
    InputResponse.populate(key)
    assert not work_to_do()
    recordings.delete()


def test_two_studies_of_one_recording_share_what_they_have_in_common(recordings):
    key = recordings.insert(64)
    before = manual_counts()
    first = register(study(), [key])
    once = manual_counts()
    other = study(training=STUDY["training"] | {"patience": 1}, mei=STUDY["mei"] | {"iter_n": 7})
    second = register(other, [key])
    twice = manual_counts()
    assert first["training_set"] == second["training_set"]
    assert len(StaticScan & key) == len(OraclePlan & first["training_set"]) == 1
    added = {name: n - once[name] for name, n in twice.items() if n != once[name]}
    assert added == {
        "TrainConfig": 1,
        "MEIMethod": 1,
        "TrainingPlan": 2,
        "ModelComparison": 1,
        "ModelComparison.Candidate": 2,
        "TargetModel": 2,
        "MaskPlan": 2,
        "DiversePlan": 1,
        "SurroundPlan": 1,
        "ControlPlan": 1,
    }
    assert before["TrainingPlan"] + 4 == twice["TrainingPlan"]
    assert work_to_do() == {"Frame": 1, "ConditionTier": 1}
    recordings.delete()
    assert not work_to_do()


def test_another_preprocessing_shares_nothing_but_the_recording(recordings):
    key = recordings.insert(65)
    a = register(study(), [key])
    b = register(study(preprocessing={"height": 20, "width": 30}), [key])
    assert a["training_set"] != b["training_set"]
    assert len(StaticScan & key) == 2
    assert len(Scan & key) == 1
    recordings.delete()


def test_meis_are_made_only_of_the_models_that_ask_for_them(recordings):
    key = recordings.insert(66)
    config = STUDY["models"]["cnn"]["config"]
    linear = config | {"core": config["core"] | {"linear": True}}
    models = {
        "cnn": {"seeds": (3, 8), "config": config},
        "linear": {"seeds": (3,), "config": linear, "meis": False},
    }
    keys = register(study(models=models), [key])
    assert len(TrainingPlan & keys["training_set"]) == 2
    assert len(TargetModel & keys["training_set"]) == len(MaskPlan & keys["training_set"]) == 1
    assert len(TargetModel & keys["plans"]["cnn"]) == 1
    (target,) = (TargetModel & keys["training_set"]).to_dicts()
    assert (
        target["model_hash"]
        == ModelConfig.register_image(study().models["cnn"].config)["model_hash"]
    )
    candidates = (ModelComparison.Candidate & keys["training_set"]).to_arrays("candidate_role")
    assert sorted(candidates) == ["cnn", "linear"]
    recordings.delete()


# --- plans


def test_a_plan_counts_jobs_minutes_and_bytes(recordings):
    # two ensembles of the miniature did not stay finite: what is to be made of them
    of_ensembles = "MEI MEIMask DiverseMEI SurroundMEI BestGabor OptimalGabor GradientField"
    of_ensembles += " BestNaturalImage ImageComparison"
    unfit = {"Ensemble", "ModelGroup", *of_ensembles.split()}
    assert {row.table for row in estimate()} <= unfit
    recorded = {row.table: row.jobs for row in estimate()}
    key = recordings.insert(67)
    register(study(), [key])
    rows = {row.table: row for row in estimate()}
    jobs = {name: row.jobs - recorded.get(name, 0) for name, row in rows.items()}
    assert jobs["Frame"] == jobs["InputResponse"] == jobs["Oracle"] == 1
    assert jobs["TrainedModel"] == sum(len(m["seeds"]) for m in STUDY["models"].values())
    assert jobs["MEI"] == jobs["MEIMask"] == 2
    assert "ConfusionMatrix" not in rows
    # 40 images of 24 x 40 pixels and 52 trials of 4 units, in single precision
    assert rows["Frame"].megabytes == pytest.approx(40 * 24 * 40 * 4 / 1e6)
    assert rows["InputResponse"].megabytes == pytest.approx(52 * 4 * 4 / 1e6)
    # what the machine took for the jobs that are done
    done = {s.table: s for s in status()}["TrainedModel"]
    assert rows["TrainedModel"].basis == f"{done.done} jobs done"
    expected = done.mean_seconds * rows["TrainedModel"].jobs / 60
    assert rows["TrainedModel"].minutes == pytest.approx(expected)
    recordings.delete()
    assert {row.table: row.jobs for row in estimate()} == recorded


def test_8_cores_x_2_readouts_x_4_seeds_are_one_study(recordings):
    key = recordings.insert(68)
    keys = register(read_study(STUDIES / "microns.toml"), [key])
    wanted = TrainingPlan * SeedSet.Member & keys["training_set"]
    assert len(wanted) == 64
    models = ModelConfig & (TrainingPlan & keys["training_set"])
    assert len(models) == 16
    assert [len(dj.U(a) & models) for a in ("core_hash", "readout_hash")] == [8, 2]
    roles = (ModelComparison.Candidate & keys["training_set"]).to_arrays("candidate_role").tolist()
    assert sorted(roles) == ["cnn"] * 8 + ["linear"] * 8
    assert not TargetModel & keys["training_set"]
    recordings.delete()


def test_a_copy_of_a_model_with_another_architecture_is_another_model():
    model = study().models["cnn"]
    core = model.config.core.model_copy(update={"layers": 2})
    changed = model.model_copy(
        update={"config": model.config.model_copy(update={"core": core}), "grid": {}}
    )
    assert [c.core.layers for c in (*model.configs, *changed.configs)] == [1, 2]
