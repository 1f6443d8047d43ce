"""Stimulus sets as files: rows and files say the same, and neither is there without the other."""

import errno
import hashlib
import io
import json
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from miniature import DAY_1, NATURAL_REPEATS, REPEATS, all_tables, images, row_counts
from PIL import Image as Picture
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.commands import stimulus as commands
from pipeline.ingest.images import register_images
from pipeline.ingest.virtual import calibrate_monitor
from pipeline.stimulus import (
    BadStimulus,
    NoChoice,
    StimulusParams,
    check_stimulus,
    choose_stimulus,
    chosen_stimulus,
    export_stimulus,
    make_stimulus_set,
    prepare_stimulus,
    read_stimulus,
)
from pipeline.stimulus import files as module
from schemas.dataset import TargetDataset
from schemas.monitor import monitor_curve
from schemas.recording import Image
from schemas.stimulus import MADE_FROM, DisplayRule, StimulusSet, TargetStaticGroup
from science.closed_loop import PUBLISHED_MATCH, MatchParams
from science.digest import array_digest
from science.shown_images import DisplayParams

KINDS = ("mei", "linear_mei", "gabor", "natural", "masked_mei", "masked_natural")
DISPLAY = DisplayParams(mean=9.0, contrast=1.5)


@pytest.fixture(scope="module")
def shown_on(populated):
    return calibrate_monitor(DAY_1, day=2)


@pytest.fixture(scope="module")
def stimulus(populated, shown_on):
    """All kinds of images with nine shifts, computed but not stored."""
    params = StimulusParams(kinds=KINDS, nine_shifts=True, display=DISPLAY)
    return prepare_stimulus(populated.plan, params, shown_on)


@pytest.fixture
def small(stimulus):
    """Its first three images, as a set of its own."""
    key = {"stimulus_set_hash": "5ma11" + 11 * "0"}
    return replace(stimulus, key=key, items=stimulus.items[:3], pixels=stimulus.pixels[:3])


@contextmanager
def forgotten():
    """What is stored within is deleted after it."""
    parts = {part for part, _ in MADE_FROM.values()}
    tables = (TargetStaticGroup, *parts, StimulusSet.Item, StimulusSet, DisplayRule, Image)
    known = [table().keys() for table in tables]
    yield
    for table, keys in zip(tables, known, strict=True):
        (table() - keys if keys else table()).delete_quick()


@pytest.fixture(autouse=True)
def _as_before(populated):
    with forgotten():
        yield


@pytest.fixture(scope="module")
def original(stimulus, tmp_path_factory):
    """An exported folder; its rows are gone."""
    with forgotten():
        return export_stimulus(stimulus, tmp_path_factory.mktemp("original") / "stimuli")


@pytest.fixture
def folder(original, tmp_path):
    """A copy of an exported folder."""
    return Path(shutil.copytree(original, tmp_path / "stimuli"))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def snapshot(folder):
    return {path.name: (sha256(path), path.stat().st_mtime_ns) for path in folder.iterdir()}


# --- what is written


@pytest.mark.parametrize("image_format", ["png", "npy"])
def test_reading_back_gives_the_rows(stimulus, shown_on, image_format, tmp_path):
    folder = export_stimulus(stimulus, tmp_path / "new" / "stimuli", image_format)
    header, items, pixels = read_stimulus(folder)
    rows = (StimulusSet.Item & stimulus.key).to_dicts(order_by="item")
    units = {u["unit_index"]: u for u in (TargetDataset.Unit & stimulus.row).to_dicts()}
    tables = all_tables()
    np.testing.assert_array_equal(pixels, stimulus.pixels)
    assert len(items) == len(rows) == len(stimulus.items)
    for item, row, image in zip(items, rows, pixels, strict=True):
        stored = (Image & row).fetch1()
        np.testing.assert_array_equal(stored["image"], image)
        assert item["image_sha256"] == stored["image_sha256"] == array_digest(image)
        assert item["file"] == f"{row['stimulus_kind']}-{row['image_id']:06d}.{image_format}"
        assert item["sha256"] == sha256(folder / item["file"])
        assert item["kind"] == row["stimulus_kind"]
        for name in ("image_class", "image_id", "x_shift", "y_shift", "shown_mean"):
            assert item[name] == row[name]
        for name in ("shown_contrast", "display_reached", "shown_activation"):
            assert item[name] == row[name]
        assert item["unit"].items() <= units[row["unit_index"]].items()
        assert set(item["unit"]) >= {"unit_index", "readout_key", "animal_id", "unit_id"}
        (source,) = (tables[item["made_from"]["table"]] & item["made_from"]["key"]).keys()
        assert source == item["made_from"]["key"]
        assert source["unit_index"] == row["unit_index"]
        own = items[0]["made_from"]["key"]["model_hash"]
        assert ("linear" in item["kind"]) == (source["model_hash"] != own)
    row = (StimulusSet & stimulus.key).fetch1()
    assert header["training_set_hash"] == row["training_set_hash"]
    assert DisplayParams(**header["display"]) == DISPLAY
    assert header["monitors"] == {
        "shown_on": {"rig": "virtual-1", "calibrated_at": shown_on["calibrated_at"].isoformat()},
        "source": {
            "rig": "virtual-1",
            "calibrated_at": row["source_calibrated_at"].isoformat(),
        },
    }
    assert header["code"]["package_version"]
    assert (header["height"], header["width"]) == pixels.shape[1:]
    assert check_stimulus(folder) == len(rows)


def test_what_each_kind_was_made_from(original):
    _, items, _ = read_stimulus(original)
    assert {item["kind"]: item["made_from"]["table"] for item in items} == {
        "mei": "MEI.Unit",
        "linear_mei": "MEI.Unit",
        "gabor": "BestGabor.Unit",
        "natural": "BestNaturalImage.Unit",
        "masked_mei": "MEIMask.Unit",
        "masked_natural": "BestNaturalImage.Unit",
    }


def test_the_manifest_says_what_the_monitor_emits(original, shown_on):
    _, items, pixels = read_stimulus(original)
    light = monitor_curve(**shown_on).luminance(np.arange(256))[pixels]
    assert {item["shown_unit"] for item in items} == {"cd/m2"}
    shown = np.array([[item["shown_mean"], item["shown_contrast"]] for item in items])
    np.testing.assert_allclose(light.mean((1, 2)), shown[:, 0], rtol=1e-12)
    np.testing.assert_allclose(light.std((1, 2)), shown[:, 1], rtol=1e-12)
    reached = (np.abs(shown / [DISPLAY.mean, DISPLAY.contrast] - 1) <= 0.01).all(1)
    assert [item["display_reached"] for item in items] == reached.tolist()


def test_the_files_are_plain_grayscale_png_and_readable_json(original):
    header = (original / "manifest.json").read_text()
    assert header == json.dumps(json.loads(header), sort_keys=True, indent=1) + "\n"
    for path in original.glob("*.png"):
        data = path.read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        assert data[24:26] == bytes([8, 0])  # bits, grayscale
    assert {p.suffix for p in original.iterdir()} == {".png", ".json"}


def test_the_folder_is_as_open_as_any_other(small, tmp_path):
    (tmp_path / "any").mkdir()
    folder = export_stimulus(small, tmp_path / "stimuli")
    assert folder.stat().st_mode == (tmp_path / "any").stat().st_mode


def test_grey_values_are_named_so(populated, tmp_path):
    display = DisplayParams(unit="grey", mean=111, contrast=16)
    params = StimulusParams(kinds=("mei",), display=display)
    stimulus = prepare_stimulus(populated.plan, params)
    folder = export_stimulus(stimulus, tmp_path / "stimuli")
    header, items, pixels = read_stimulus(folder)
    assert header["monitors"] == {"source": None, "shown_on": None}
    assert {item["shown_unit"] for item in items} == {"grey value"}
    np.testing.assert_allclose([i["shown_mean"] for i in items], pixels.mean((1, 2)), rtol=1e-12)
    assert check_stimulus(folder) == len(items)


def test_equal_images_share_a_file(small, tmp_path):
    pixels = small.pixels.copy()
    pixels[2] = pixels[0]
    folder = export_stimulus(replace(small, pixels=pixels), tmp_path / "stimuli")
    _, items, read = read_stimulus(folder)
    assert items[0]["file"] == items[2]["file"] != items[1]["file"]
    assert len(list(folder.glob("*.png"))) == 2
    np.testing.assert_array_equal(read, pixels)
    assert check_stimulus(folder) == 3


def test_an_export_is_made_once(small, tmp_path):
    folder = export_stimulus(small, tmp_path / "stimuli")
    files, rows = snapshot(folder), row_counts()
    assert export_stimulus(small, folder) == folder
    assert (snapshot(folder), row_counts()) == (files, rows)
    other = export_stimulus(small, tmp_path / "other")
    assert row_counts() == rows
    assert [i["file"] for i in read_stimulus(other)[1]] == [
        i["file"] for i in read_stimulus(folder)[1]
    ]


def test_a_set_that_is_stored_is_exported(populated, shown_on, tmp_path):
    params = StimulusParams(kinds=("mei",), display=DISPLAY)
    key = make_stimulus_set(populated.plan, params, shown_on)
    rows = row_counts()
    stimulus = prepare_stimulus(populated.plan, params, shown_on)
    folder = export_stimulus(stimulus, tmp_path / "stimuli")
    assert row_counts() == rows
    assert check_stimulus(folder) == len(StimulusSet.Item & key)


def test_an_empty_folder_is_filled(small, tmp_path):
    (tmp_path / "stimuli").mkdir()
    assert check_stimulus(export_stimulus(small, tmp_path / "stimuli")) == 3


# --- both or neither


def failing(error):
    def fail(*arguments, **options):
        raise error

    return fail


def full_disk(patch):
    """The third file does not fit."""
    write, written = Path.write_bytes, []

    def write_bytes(path, data):
        written.append(path)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    patch.setattr(Path, "write_bytes", write_bytes)


def lost_at_commit(patch):
    connection = StimulusSet.connection

    def commit():
        connection.cancel_transaction()
        raise ConnectionError("lost")

    patch.setattr(connection, "commit_transaction", commit)


FAULTS = {
    "a full disk": full_disk,
    "a full disk at the manifest": lambda patch: patch.setattr(
        Path, "write_text", failing(OSError(errno.ENOSPC, "No space left on device"))
    ),
    "an image that cannot be named": lambda patch: patch.setattr(
        Path, "rename", failing(OSError(errno.EIO, "Input/output error"))
    ),
    "items that are not inserted": lambda patch: patch.setattr(
        StimulusSet.Item, "insert", failing(RuntimeError("no"))
    ),
    "a folder that cannot be moved": lambda patch: patch.setattr(
        Path, "replace", failing(OSError(errno.EACCES, "Permission denied"))
    ),
    "an interruption in the transaction": lambda patch: patch.setattr(
        module, "header_of", failing(KeyboardInterrupt())
    ),
    "a commit that fails": lost_at_commit,
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("there", [False, True])
def test_of_a_failed_export_nothing_remains(name, there, small, tmp_path, monkeypatch):
    folder, before = tmp_path / "stimuli", row_counts()
    if there:
        folder.mkdir()
    with monkeypatch.context() as patch:
        FAULTS[name](patch)
        with pytest.raises((BadStimulus, RuntimeError, KeyboardInterrupt)) as caught:
            export_stimulus(small, folder)
    assert row_counts() == before
    assert [path for path in tmp_path.rglob("*") if path != folder] == []
    if isinstance(caught.value.__cause__, OSError):
        assert "nothing was stored" in str(caught.value)
    assert check_stimulus(export_stimulus(small, folder)) == 3


def test_what_is_in_the_way_stays_as_it_is(small, stimulus, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    other = replace(small, key={"stimulus_set_hash": "07e4" + 12 * "0"})
    export_stimulus(other, tmp_path / "other")
    export_stimulus(small, tmp_path / "arrays", "npy")
    rows = row_counts()
    files = {p: sha256(p) for p in tmp_path.rglob("*") if p.is_file()}
    for name, message in (
        ("file", "is a file"),
        ("mine", "is not empty"),
        ("other", f"holds stimulus set {other.key['stimulus_set_hash']}"),
        ("arrays", "holds this set as npy"),
        ("file/below", "cannot be written"),
    ):
        with pytest.raises(BadStimulus, match=message):
            export_stimulus(small, tmp_path / name)
    assert row_counts() == rows
    assert {p: sha256(p) for p in tmp_path.rglob("*") if p.is_file()} == files


def test_a_set_that_was_stored_with_other_pixels_is_not_exported(small, tmp_path):
    export_stimulus(small, tmp_path / "stimuli")
    rows = row_counts()
    with pytest.raises(BadStimulus, match="stored with other pixels"):
        export_stimulus(replace(small, pixels=255 - small.pixels), tmp_path / "other")
    assert row_counts() == rows
    assert not (tmp_path / "other").exists()


def test_a_folder_is_kept_only_where_its_images_have_the_same_numbers(small, tmp_path):
    folder = export_stimulus(small, tmp_path / "stimuli")
    items = (StimulusSet.Item & small.key).to_dicts()
    own = Image & [{n: item[n] for n in Image.primary_key} for item in items]
    for table in (StimulusSet.FromMEI, StimulusSet.Item, StimulusSet):
        (table & small.key).delete_quick()
    own.delete_quick()
    register_images(images(1, seed=9), ["mei"])
    rows, files = row_counts(), snapshot(folder)
    with pytest.raises(BadStimulus, match=r"item 0: image_id is \d+ in the folder and \d+ in the"):
        export_stimulus(small, folder)
    assert (row_counts(), snapshot(folder)) == (rows, files)


# --- damaged folders


def edited(change):
    """Return a change of the manifest's document."""

    def edit(folder):
        path = folder / "manifest.json"
        document = json.loads(path.read_text())
        change(document, folder)
        path.write_text(json.dumps(document))

    return edit


def set_item(**values):
    return edited(lambda document, _: document["items"][1].update(values))


def first(folder):
    return folder / json.loads((folder / "manifest.json").read_text())["items"][0]["file"]


def flip_a_byte(folder):
    data = bytearray(first(folder).read_bytes())
    data[-20] ^= 1
    first(folder).write_bytes(data)


def stand_in(data):
    """Replace the first image by other bytes, with the right checksum of the file."""

    def change(document, folder):
        (folder / document["items"][0]["file"]).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        for item in document["items"]:
            if item["file"] == document["items"][0]["file"]:
                item["sha256"] = digest

    return edited(change)


def png(array):
    data = io.BytesIO()
    Picture.fromarray(array).save(data, "PNG")
    return data.getvalue()


def exchange(document, folder):
    for name in ("file", "sha256"):
        a, b = document["items"][0], document["items"][9]
        a[name], b[name] = b[name], a[name]


DAMAGES = {
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "has no manifest.json"),
    "no folder": (shutil.rmtree, "has no manifest.json"),
    "no JSON": (lambda f: (f / "manifest.json").write_text("{"), "damaged: Invalid JSON"),
    "not text": (lambda f: (f / "manifest.json").write_bytes(b"\xff\xfe"), "damaged"),
    "a list": (lambda f: (f / "manifest.json").write_text("[]"), "damaged"),
    "another version": (
        edited(lambda document, _: document.update(format_version=2)),
        "is of format version 2, this program reads 1",
    ),
    "no version": (edited(lambda document, _: document.pop("format_version")), "damaged"),
    "no items": (edited(lambda document, _: document.update(items=[])), "damaged: items"),
    "an item without a unit": (
        edited(lambda document, _: document["items"][3].pop("unit")),
        "items.3.unit: Field required",
    ),
    "something unknown": (set_item(colour="red"), "items.1.colour"),
    "no number": (set_item(shown_mean=float("nan")), "items.1.shown_mean"),
    "a file above": (set_item(file="../x.png"), "'../x.png' is no plain name"),
    "a file elsewhere": (set_item(file="/etc/passwd"), "'/etc/passwd' is no plain name"),
    "a file above, in Windows": (set_item(file="..\\x.png"), "is no plain name"),
    "the folder itself": (set_item(file=".."), "is no plain name"),
    "a missing image": (lambda f: first(f).unlink(), "cannot be read: .*No such file"),
    "an image too many": (
        lambda f: shutil.copy(first(f), f / "more.png"),
        r"does not know: \['more.png'\]",
    ),
    "a changed image": (flip_a_byte, "has changed since it was exported"),
    "no image": (stand_in(b"GIF89a"), "is no image in the format png"),
    "a broken image": (stand_in(png(np.zeros((24, 40), np.uint8))[:45]), "is no image"),
    "colours": (stand_in(png(np.zeros((24, 40, 3), np.uint8))), r"uint8 \(24, 40, 3\)"),
    "another size": (stand_in(png(np.zeros((3, 5), np.uint8))), "it has 5 x 3 pixels"),
    "other pixels": (stand_in(png(np.zeros((24, 40), np.uint8))), "not hold the pixels of its it"),
    "exchanged images": (edited(exchange), "does not hold the pixels of its item"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_folder_is_refused(name, folder):
    damage, message = DAMAGES[name]
    damage(folder)
    with pytest.raises(BadStimulus, match=message) as caught:
        read_stimulus(folder)
    assert "\n" not in str(caught.value)


def test_arrays_of_python_objects_are_refused(small, tmp_path):
    folder = export_stimulus(small, tmp_path / "stimuli", "npy")
    data = io.BytesIO()
    np.save(data, np.array([print], object), allow_pickle=True)
    stand_in(data.getvalue())(folder)
    with pytest.raises(BadStimulus, match="is no image in the format npy"):
        read_stimulus(folder)


# --- folders that differ from the database


def other_pixels(document, folder):
    image = np.zeros((24, 40), np.uint8)
    stand_in(png(image))
    (folder / document["items"][0]["file"]).write_bytes(png(image))
    document["items"][0]["sha256"] = hashlib.sha256(png(image)).hexdigest()
    document["items"][0]["image_sha256"] = array_digest(image)


def drop_last(document, folder):
    (folder / document["items"].pop()["file"]).unlink()


DIFFERENCES = {
    "mean": (set_item(shown_mean=5.0), "item 1: shown_mean is 5.0 in the folder and"),
    "shift": (set_item(x_shift=7), "item 1: x_shift is 7 in"),
    "kind": (set_item(kind="gabor"), "item 1: kind is gabor in the folder and mei in the data"),
    "unit": (
        edited(lambda document, _: document["items"][2]["unit"].update(unit_id=777)),
        "item 2: unit is .*777",
    ),
    "source": (
        edited(lambda document, _: document["items"][2]["made_from"]["key"].update(unit_index=777)),
        "item 2: made_from is .*777",
    ),
    "display": (edited(lambda d, _: d["display"].update(mean=77.0)), "display is .*77.0"),
    "training set": (
        edited(lambda document, _: document.update(training_set_hash="f" * 16)),
        "training_set_hash is ffff",
    ),
    "monitor": (
        edited(lambda document, _: document["monitors"].update(source=None)),
        "monitors is .*None",
    ),
    "pixels": (edited(other_pixels), "item 0: image_sha256 is"),
    "fewer items": (edited(drop_last), "has 2 items, the database 3"),
    "another set": (
        edited(lambda document, _: document.update(stimulus_set_hash="f" * 16)),
        "the database has no stimulus set ffff",
    ),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_first_difference_is_named(name, small, tmp_path):
    change, message = DIFFERENCES[name]
    folder = export_stimulus(small, tmp_path / "stimuli")
    assert check_stimulus(folder) == 3
    change(folder)
    with pytest.raises(BadStimulus, match=message):
        check_stimulus(folder)


def test_pixels_that_changed_in_the_database_are_seen(small, tmp_path):
    folder = export_stimulus(small, tmp_path / "stimuli")
    row = (StimulusSet.Item & small.key & {"item": 2}).fetch1()
    key = {name: row[name] for name in Image.primary_key}
    Image.update1(key | {"image": 255 - small.pixels[2]})
    with pytest.raises(BadStimulus, match=f"-{row['image_id']:06d}.png differs from the image"):
        check_stimulus(folder)


# --- commands


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "160"})


@pytest.fixture
def words(populated, shown_on, tmp_path):
    """The command that exports the module's stimulus set."""
    monitor = f"virtual-1@{shown_on['calibrated_at'].isoformat()}"
    return [
        *("stimulus", "export", populated.training_set["training_set_hash"], tmp_path / "stimuli"),
        *(word for kind in KINDS for word in ("--kind", kind)),
        *("--nine-shifts", "--model", populated.plan["model_hash"]),
        *("--where", f"train_hash={populated.plan['train_hash']}", "--shown-on", monitor),
        *("--mean", 9, "--contrast", 1.5),
    ]


def test_a_dry_run_shows_everything_and_stores_nothing(stimulus, words, tmp_path):
    before = row_counts()
    result = call(*words, "--dry-run")
    assert result.exit_code == 0, result.stderr
    cells = [[c.strip() for c in line.split("│")] for line in result.stdout.splitlines()]
    table = {line[1]: line[2:-1] for line in cells if len(line) == 10}
    assert set(table) == set(KINDS)
    kinds = np.array([item["stimulus_kind"] for item in stimulus.items])
    for kind, (n, n_units, mean, contrast, n_missed, size, _) in table.items():
        items = [stimulus.items[i] for i in np.flatnonzero(kinds == kind)]
        assert int(n) == len(items)
        assert int(n_units) == len({item["unit_index"] for item in items})
        for text, name in ((mean, "shown_mean"), (contrast, "shown_contrast")):
            values = [item[name] for item in items]
            low, high = map(float, text.split(" to "))
            assert (low, high) == pytest.approx((min(values), max(values)), rel=1e-3)
        assert int(n_missed) == sum(not item["display_reached"] for item in items)
        assert size == "24 x 40"
    assert f"{stimulus.n_left_out} units left out" in result.stdout
    assert "nothing was stored or written" in result.stdout
    assert row_counts() == before
    assert list(tmp_path.iterdir()) == []


def test_from_export_to_choice(stimulus, words, tmp_path):
    name = stimulus.key["stimulus_set_hash"]
    none = call("stimulus", "next")
    assert (none.exit_code, none.stdout) == (1, "")
    assert "no stimulus set is chosen" in none.stderr
    result = call(*words)
    assert result.exit_code == 0, result.stderr
    assert f"stimulus set {name}: {tmp_path / 'stimuli'}" in result.stdout
    n = len(stimulus.items)
    result = call("stimulus", "check", tmp_path / "stimuli")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{n} images are as")
    assert call("stimulus", "choose", name, "--note", "first").exit_code == 0
    assert call("stimulus", "next").stdout == f"{name}\n"
    assert (TargetStaticGroup & {"choice_note": "first"}).fetch1("stimulus_set_hash") == name


def test_the_newest_choice_counts(populated, small, tmp_path):
    export_stimulus(small, tmp_path / "stimuli")
    first, second = populated.stimulus["stimulus_set_hash"], small.key["stimulus_set_hash"]
    for name in (first, second, first):
        choose_stimulus(name)
        assert chosen_stimulus() == name
    assert len(TargetStaticGroup()) == 3
    with pytest.raises(NoChoice, match="there is no stimulus set ffff"):
        choose_stimulus("f" * 16)
    with pytest.raises(NoChoice, match="at most 255 characters"):
        choose_stimulus(first, "x" * 256)
    assert chosen_stimulus() == first


BAD_WORDS = {
    "an unknown kind": (("--kind", "bogus"), "there is no kind of image 'bogus': it is one of mei"),
    "grey without its mean": (("--unit", "grey", "--contrast", 1), "in grey values"),
    "half a size": (("--height", 100), "give both height and width"),
    "too small": (("--height", 3, "--width", 4), "are only enlarged"),
    "a negative mean": (("--mean", -1), "display.mean: Input should be greater than 0"),
    "too bright": (("--mean", 900), "cannot be shown so: the monitor shows 0.1"),
    "a monitor without a time": (("--shown-on", "virtual-1"), "write RIG@TIME"),
    "no such time": (("--shown-on", "virtual-1@noon"), "'noon' is no time"),
    "no such calibration": (
        ("--shown-on", "virtual-1@2001-01-01T00:00"),
        "there is no calibration",
    ),
    "an unknown attribute": (("--where", "colour=1"), "'colour' is no attribute of ControlPlan"),
    "no such model": (("--model", "f" * 16), "there are no controls of MEIs"),
}


@pytest.mark.parametrize("name", BAD_WORDS)
def test_bad_words_are_answered_with_one_line(name, words, tmp_path):
    more, message = BAD_WORDS[name]
    base = words[: words.index("--mean")] if name == "grey without its mean" else words
    before = row_counts()
    result = call(*base, *more)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert row_counts() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ((), MatchParams()),
        (
            ("--max-distance", 7, "--min-correlation", 0.3),
            MatchParams(max_distance=7, min_correlation=0.3),
        ),
        (("--published",), PUBLISHED_MATCH),
        (
            ("--published", "--min-correlation", 0.5),
            PUBLISHED_MATCH.model_copy(update={"min_correlation": 0.5}),
        ),
    ],
)
def test_how_cells_are_matched(options, match, populated, monkeypatch):
    calls = []
    monkeypatch.setattr(commands, "close_loop", lambda *given, **more: calls.append((given, more)))
    name = populated.stimulus["stimulus_set_hash"]
    result = call("stimulus", "shown", name, "--animal", 1, "--session", 2, "--group", 4, *options)
    assert result.exit_code == 0, result.stderr
    key = {"animal_id": 1, "session": 2, "scan_idx": 1}
    assert calls == [((key, populated.stimulus, match), {"day": 2, "loop_group": 4})]


def test_a_later_day_is_recorded_with_photographs(populated):
    name, before = populated.stimulus["stimulus_set_hash"], row_counts()
    words = ("ingest", "virtual-day", name, "--repeats", REPEATS)
    same = call(*words, "--natural-repeats", NATURAL_REPEATS)
    assert (same.exit_code, same.stdout) == (0, "recording 1-2-1 was already there\n")
    other = call(*words)
    assert other.exit_code == 1
    assert "is already there, from" in other.stderr
    assert row_counts() == before
