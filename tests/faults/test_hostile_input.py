"""Hostile text, files and weights: one clear error, nothing executed, no memory taken, no row gone.

"A poisoned weights file, a malicious image file name, a SQL fragment in every text parameter:
nothing happens beyond a clear error" (issue 9).
"""

import copy
import dataclasses
import hashlib
import inspect
import io
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import types
import typing
import zipfile
from collections import defaultdict
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import datajoint as dj
import numpy as np
import pytest
import torch
import typer.main
from miniature import arrays
from PIL import Image as Picture
from safetensors.torch import save
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import UserError
from pipeline.ingest.source import source_of
from pipeline.report.page import Block, ModelsView, OracleView, Page, Provenance, Recorded
from pipeline.report.render import render
from schemas.graph import MODULES, schema_name
from schemas.model import TrainedModel, load_model
from science.digest import array_digest
from science.model.config import ImageModelConfig
from science.model.network import ImageNetwork
from science.model.weights import pack, unpack
from science.tensor_bytes import pack_tensors, unpack_tensors

GIGABYTE = 2**30


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


def call(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), (
        words,
        repr(result.exception),
    )
    return result


def refused(result):
    """Whether a command ended with status 1 and one clear error."""
    return result.exit_code == 1 and result.stderr.strip().startswith("error: ")


# --- text in every parameter of every command

FRAGMENTS = {
    "statement": "'; DROP TABLE `test_recording`.`scan`; --",
    "condition": '" OR 1=1 --',
    "quoted name": "` OR ``=`",
    "format": "%s",
    "percent": "%",
    "braces": "{0.__class__} [bold]",
    "long": "x" * 5000,
    "right to left": "\U0001d518\u202e\u540d",
    "no UTF-8": "\udcff",
    "parents": "../../../etc/passwd",
    "shell": "$(touch canary)",
}

NOT_CALLED = {
    "demo": "its one text is a folder to write to, after minutes",
    "report": "the same",
    "backup": "the same, but for the minutes",
    "account": "test_hostile_accounts.py",
    "pause": "says what it is given: below",
    "stimulus choose": "likewise",
}


def commands(group=None, path=()):
    group = typer.main.get_command(app) if group is None else group
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        elif not NOT_CALLED.keys() & {name, *path, " ".join((*path, name))} and path != ("server",):
            yield (*path, name), command


def value_type(annotation):
    """Return the type of one value of a parameter: of `list[str] | None`, `str`."""
    while (origin := typing.get_origin(annotation)) is not None:
        if origin is typing.Literal:
            return annotation
        options = [a for a in typing.get_args(annotation) if a is not types.NoneType]
        annotation = options[0]
    return annotation


def text_parameters():
    """Return command, words of its call, and parameter, for each that takes text or a path."""
    found = []
    for path, command in commands():
        hints = typing.get_type_hints(inspect.unwrap(command.callback))
        kinds = {name: value_type(hint) for name, hint in hints.items()}
        for parameter in command.params:
            if kinds.get(parameter.name) in (str, Path):
                found.append((path, command, kinds, parameter.name))
    return found


TEXT_PARAMETERS = text_parameters()


def call_with(path, command, kinds, name, value, valid):
    """Call a command with a value for one parameter, and what is valid for those it requires."""
    options, positional = [], []
    for parameter in command.params:
        if parameter.name != name and not parameter.required:
            continue
        given = value if parameter.name == name else valid[parameter.name]
        if parameter.param_type_name == "argument":
            positional.append(given)
        else:
            options.append(f"{parameter.opts[-1]}={given}")
    return call(*path, *options, "--", *positional)


def checksums():
    schemas = [schema_name(module, "test_") for module in MODULES]
    tables = dj.conn().query(
        "SELECT table_schema, table_name FROM information_schema.tables "
        "WHERE table_schema IN %s ORDER BY 1, 2",
        (schemas,),
    )
    names = ", ".join("`{}`.`{}`".format(*table) for table in tables.fetchall())
    return dict(dj.conn().query(f"CHECKSUM TABLE {names}").fetchall())


def test_no_text_parameter_is_forgotten():
    names = {" ".join((*path, name)) for path, *_, name in TEXT_PARAMETERS}
    assert names >= {
        "register study", "register scan", "delete table", "delete where",
        "ingest arrays file", "ingest calibration rig", "ingest calibration at",
        "ingest limens name", "stimulus export training_set", "stimulus export where",
        "config diff b", "config show configuration",
    }  # fmt: skip
    assert len(names) > 45


@pytest.fixture(scope="module")
def valid(populated, tmp_path_factory):
    """What is right for every required parameter."""
    folder = tmp_path_factory.mktemp("valid")
    np.savez(folder / "recording.npz", **arrays(100))
    return {
        "study": "studies/none.toml",
        "table": "Scan",
        "where": "animal_id=123456",
        "file": folder / "none.npz",
        "folder": folder / "none",
        "to": folder / "slice",
        "scan": "123456-1-1",
        "animal": 123456,
        "session": 1,
        "stack_id": 1,
        "rig": "2P4",
        "at": "2026-11-20T09:00",
        "arena": "arena",
        "unit": "cm",
        "first_animal": 123456,
        "name": "nobody",
        "sources": "chords",
        "training_set": populated.training_set["training_set_hash"],
        "stimulus_set": populated.stimulus["stimulus_set_hash"],
        "kind": "mei",
        "configuration": "f" * 16,
        "a": "f" * 16,
        "b": "f" * 16,
        "role": "reader",
        "priority": 3,
    }


@pytest.mark.parametrize(
    ("path", "command", "kinds", "name"),
    TEXT_PARAMETERS,
    ids=[" ".join((*path, name)) for path, *_, name in TEXT_PARAMETERS],
)
def test_text_is_never_more_than_text(path, command, kinds, name, valid, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = checksums()
    for fragment in FRAGMENTS.values():
        result = call_with(path, command, kinds, name, fragment, valid)
        assert refused(result) or result.exit_code in (0, 2), (fragment, result.output)
        assert "Traceback" not in result.output
        assert result.exit_code or checksums() == before, (fragment, result.output)
    assert checksums() == before
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "name", ["INCEPTIONLOOP_PREFIX", "INCEPTIONLOOP_CACHE_GB", "DJ_PORT", "DJ_USER"]
)
def test_text_of_the_environment_is_refused(tables, monkeypatch, name):
    if name.startswith("DJ_"):
        for variable, value in (("HOST", "127.0.0.1"), ("PORT", "1"), ("USER", "x"), ("PASS", "x")):
            monkeypatch.setenv(f"DJ_{variable}", value)
    for fragment in FRAGMENTS.values():
        monkeypatch.setenv(name, fragment)
        assert refused(call("status"))


STUDIES = {
    "not TOML": "'; DROP TABLE x",
    "deep": "a = " + "[" * 50_000 + "]" * 50_000,
    "unknown": '"\'; DROP TABLE x" = 1',
    "text for a number": '[preprocessing]\nheight = "1; DROP TABLE x"',
    "a huge number": "[preprocessing]\nheight = 1" + "0" * 400,
    "a class": '[preprocessing]\n__class__ = "os.system"',
    "a method": '[mei]\nmethod = "\'; DROP TABLE x"',
    "NUL": '[data]\nbrain_areas = ["a\\u0000b"]\n[mei]\nx = 1',
}


@pytest.mark.parametrize("name", STUDIES)
def test_a_hostile_study_is_refused(name, tables, tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDIES[name])
    before = checksums()
    assert refused(call("register", path, "--scan", "1-1-1"))
    assert checksums() == before


# --- weights


@pytest.fixture(scope="module")
def weights():
    config = ImageModelConfig.model_validate(
        {"core": {"type": "stacked", "hidden_channels": 4, "layers": 1, "input_kern": 7}}
    )
    return pack(ImageNetwork(config, (24, 40), {"a": 5}), {"image_mean": 100.0})


def raw(header, body=b""):
    """Return safetensors with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def with_header(data, **changes):
    """Return weights whose header says something else, with the right checksum."""
    tensors, header = unpack_tensors(data)
    return pack_tensors(tensors, copy.deepcopy(header) | changes)


def poisoned(data, canary):
    tensor = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    deep = "[" * 100_000 + "]" * 100_000
    return {
        "a pickle": pickle.dumps(Payload(canary)),
        "a pickle of torch": _torch_pickle(canary),
        "nothing": b"",
        "truncated": data[: len(data) // 2],
        "one byte changed": data[:-1] + bytes([data[-1] ^ 1]),
        "a header of 2^60 bytes": struct.pack("<Q", 2**60) + b"{}",
        "a header of 110 MB": raw(b'{"a":"' + b"x" * 110_000_000 + b'"}'),
        "a shape of 2^60": raw({"a": tensor | {"shape": [2**60]}}, bytes(8)),
        "a shape that wraps": raw({"a": tensor | {"shape": [2**32, 2**32]}}, bytes(8)),
        "offsets below zero": raw({"a": tensor | {"data_offsets": [-8, 0]}}, bytes(8)),
        "offsets beyond the end": raw({"a": tensor | {"data_offsets": [0, 2**40]}}, bytes(8)),
        "deep JSON": raw(deep.encode()),
        "deep JSON in the metadata": raw({"__metadata__": {"inceptionloop": deep}}),
        "metadata that are a list": raw({"__metadata__": {"inceptionloop": "[1]"}}),
        "another's safetensors": save({"a": torch.zeros(2)}),
        "another network": with_header(data, format="inceptionloop-efficient-code-1"),
        "2^40 units": with_header(data, n_units=[["a", 2**40]]),
        "2^28 units": with_header(data, n_units=[["a", 2**28]]),
        "images of no size": with_header(data, image_shape=[-1, 0]),
        "images that are text": with_header(data, image_shape="ab"),
        "no configuration": with_header(data, config=None),
        "a billion layers": with_header(
            data, config={"core": {"type": "stacked", "layers": 10**9}}
        ),
        "an unknown core": with_header(data, config={"core": {"type": "os.system"}}),
    }


def _torch_pickle(canary):
    data = io.BytesIO()
    torch.save(Payload(canary), data)
    return data.getvalue()


def test_poisoned_weights_are_refused_and_take_no_memory(weights, tmp_path):
    canary = tmp_path / "canary"
    cases = poisoned(weights, canary)
    unpack(weights)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, data in cases.items():
        with pytest.raises(ValueError):
            unpack(data)
            pytest.fail(f"{name} was taken for weights")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 700_000  # KB
    assert not canary.exists()


def test_a_poisoned_object_in_the_store_is_refused(populated, database, weights, tmp_path):
    canary = tmp_path / "canary"
    trained = TrainedModel & populated.plan & {"seed": 3}
    sha256 = trained.fetch1("weights_sha256")
    path = database / "store" / trained.fetch1("weights").path
    stored = path.read_bytes()
    cases = poisoned(stored, canary) | {"weights of another network": weights}
    try:
        for name, data in cases.items():
            path.write_bytes(data)
            with pytest.raises(ValueError, match="damaged"):
                load_model.__wrapped__(sha256)
                pytest.fail(f"{name} was taken for weights")
    finally:
        path.write_bytes(stored)
    load_model.__wrapped__(sha256)
    assert not canary.exists()


# --- files

READERS = {
    "arrays": ("ingest", "arrays", "FILE", "--animal=123456"),
    "feedback-weights": ("ingest", "feedback-weights", "FILE", "--name=x", "--sources=chords"),
    "calibration": ("ingest", "calibration", "FILE", "--rig=x", "--at=2026-11-20T09:00"),
    "limens": ("ingest", "limens", "FILE", "--name=x"),
    "open-field": ("ingest", "open-field", "FILE", "--animal=123456", "--arena=x", "--unit=cm"),
    "rate-maps": ("ingest", "rate-maps", "FILE", "--first-animal=123456"),
    "sensorium": ("ingest", "sensorium", "FILE", "--animal=123456"),
    "nwb": ("ingest", "nwb", "FILE", "--animal=123456"),
    "stack": ("ingest", "stack", "FILE", "--animal=123456", "--stack=1"),
    "study": ("register", "FILE"),
    "stimuli": ("stimulus", "check", "FILE"),
    "restore": ("restore", "FILE"),
}
NPZ = ("arrays", "feedback-weights", "calibration", "open-field", "rate-maps")
OF_SUFFIX = {
    ".npz": NPZ,
    ".npy": ("arrays", "rate-maps"),
    ".csv": ("calibration", "limens", "stack"),
    ".nwb": ("nwb",),
    "": ("arrays", "sensorium", "stimuli", "restore", "nwb", "study"),
}
"""Who is given which file; all are given the plain pickle."""


def npy(shape, dtype="<f8", body=b""):
    """Return an `.npy` file whose header says anything."""
    data = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(data, header)
    return data.getvalue() + body


def zipped(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)


def hostile_files(folder, canary):
    """Write files that no reader may take, and yield their names."""
    objects = np.array([Payload(canary)], dtype=object)
    np.save(folder / "objects.npy", objects, allow_pickle=True)
    np.savez(folder / "objects.npz", images=objects, image_index=objects, tau=objects)
    code = b"\x80\x04" + pickle.dumps(Payload(canary))[2:]
    evil = npy((1,), "|O", code)
    for name in ("pickle.npz", "pickle.npy", "pickle.nwb", "pickle.csv", "pickle.pkl"):
        (folder / name).write_bytes(pickle.dumps(Payload(canary)))
    # The names are those of arrays that readers know.
    zipped(folder / "member.npz", {"images.npy": evil, "image_index.npy": evil, "w0.npy": evil})
    zipped(folder / "text.npz", {"images.npy": b"text", "image_index": b"text"})
    zipped(folder / "names.npz", {"../../canary.npy": npy((0,)), "/tmp/x.npy": npy((0,))})
    zipped(folder / "huge.npz", {"images.npy": npy((2**40,)), "image_index.npy": npy((2**59,))})
    zipped(folder / "wraps.npz", {"images.npy": npy((2**32, 2**32)), "tau.npy": npy((-1,))})
    zipped(folder / "empty.npz", {})
    (folder / "huge.npy").write_bytes(npy((2**40,)))
    (folder / "nothing.npz").write_bytes(b"")
    (folder / "lines.csv").write_text("a,b\n" + "1,2,3\n" * 3 + "'; DROP TABLE x,\x00\n")
    (folder / "truncated.npz").write_bytes((folder / "member.npz").read_bytes()[:-30])
    (folder / "loop.npz").symlink_to("loop.npz")
    _bomb(folder / "bomb.npz")
    for name in ("evil_arrays", "evil_data/data/images", "evil_data/meta/neurons"):
        (folder / name).mkdir(parents=True)
        for member in ("images", "image_index", "responses", "unit_ids", "0"):
            (folder / name / f"{member}.npy").write_bytes(evil)
    return sorted(folder.iterdir())


def _bomb(path):
    """Write 1.5 GB of zeros as 7 MB."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
        file.open("images.npy", "w", force_zip64=True) as member,
    ):
        member.write(npy((3 * GIGABYTE // 2,), "|u1"))
        zeros = bytes(2**24)
        for _ in range(3 * GIGABYTE // 2 // len(zeros)):
            member.write(zeros)


def test_no_file_executes_anything_or_takes_the_memory(tables, tmp_path):
    """In a process that may take one gigabyte more than it has."""
    folder, canary = tmp_path / "files", tmp_path / "canary"
    folder.mkdir()
    files = [*hostile_files(folder, canary), folder / "none", Path("/proc/self/mem")]
    before = checksums()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    outcomes = json.loads(done.stdout)
    assert len(outcomes) > 100
    wrong = [o for o in outcomes if o["exit_code"] != 1 or not o["stderr"].startswith("error: ")]
    assert not wrong
    assert not canary.exists()
    assert checksums() == before


def read_all(files):
    """Give each file to each reader, within a gigabyte, and print what came of it as JSON."""
    call("status")  # what is imported late is imported now
    call("ingest", "nwb", "none", "--animal=123456")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + GIGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    outcomes = []
    for file in files:
        for name in OF_SUFFIX.get(Path(file).suffix, READERS):
            words = [file if word == "FILE" else word for word in READERS[name]]
            result = CliRunner().invoke(app, words)
            said = {"exit_code": result.exit_code, "stderr": result.stderr[:300]}
            outcomes.append({"reader": name, "file": file, "raised": repr(result.exception)} | said)
    sys.stdout.write(json.dumps(outcomes))


def test_names_that_are_not_utf_8_or_too_long_are_refused(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff\xfe.npz")
    path.write_bytes(b"x")
    for where in (path, tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(UserError):
            source_of(where, "arrays", "1")


# --- folders of images

NAMES = {
    "parents": "../../image.png",
    "root": "/etc/passwd",
    "hidden": ".image.png",
    "NUL": "a\0b.png",
    "long": "x" * 300 + ".png",
    "not there": "'; DROP TABLE scan; --.png",
    "shell": "$(touch canary).png",
    "newline": "a\nb.png",
}


def png(shape=(4, 6), seed=0):
    data = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    Picture.fromarray(pixels).save(data, "PNG")
    return data.getvalue(), array_digest(pixels)


def png_of(width, height):
    """Return a PNG whose header says another size."""
    import zlib

    data = bytearray(png()[0])
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def image_folder(folder, content=None, **changes):
    """Write a folder as `stimulus export` does, of one image."""
    data, digest = png()
    data = data if content is None else content
    (folder / "mei-000001.png").write_bytes(data)
    unit = dict(unit_index=0, readout_key="1-1-1", animal_id=1, session=1, scan_idx=1, unit_id=1)
    item = {
        "item": 0, "file": "mei-000001.png", "sha256": hashlib.sha256(data).hexdigest(),
        "image_class": "mei", "image_id": 1, "image_sha256": digest, "kind": "mei", "unit": unit,
        "x_shift": 0, "y_shift": 0, "shown_mean": 1.0, "shown_contrast": 1.0,
        "shown_unit": "cd/m2", "display_reached": True, "shown_activation": None,
        "made_from": {"table": "MEI", "key": {}},
    }  # fmt: skip
    manifest = {
        "format_version": 1, "created_at": "now", "code": {}, "stimulus_set_hash": "f" * 16,
        "training_set_hash": "f" * 16, "display_hash": "f" * 16, "display": {},
        "monitors": {"source": None, "shown_on": None}, "image_format": "png", "height": 4,
        "width": 6, "items": [item | changes],
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_hostile_names_of_images_are_refused(tables, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "no stimulus set ffff" in call("stimulus", "check", image_folder(tmp_path)).stderr
    before = checksums()
    for name in NAMES.values():
        assert refused(call("stimulus", "check", image_folder(tmp_path, file=name))), name
    for name in (b"\xff.png", b"a\nb.png", b"<script>.png", b"; DROP TABLE x.png"):
        extra = tmp_path / os.fsdecode(name)
        extra.touch()
        result = call("stimulus", "check", image_folder(tmp_path))
        assert refused(result), name
        assert "does not know" in result.stderr
        extra.unlink()
    assert checksums() == before
    assert not (tmp_path / "canary").exists()


IMAGES = {
    "a bomb of 100 000 x 100 000 pixels": png_of(100_000, 100_000),
    "a bomb below the limit of the library": png_of(9_000, 9_000),
    "a truncated PNG": png()[0][:40],
    "no PNG": b"GIF89a" + bytes(100),
    "a pickle": pickle.dumps(Payload(Path("canary"))),
    "nothing": b"",
    "another size": png((5, 6))[0],
    "other pixels": png(seed=1)[0],
}


@pytest.mark.parametrize("name", IMAGES)
def test_hostile_images_are_refused(name, tables, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refused(call("stimulus", "check", image_folder(tmp_path, IMAGES[name])))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KB
    assert not (tmp_path / "canary").exists()


def test_a_link_out_of_the_folder_is_no_way_to_other_files(tables, tmp_path):
    """Nothing of its content is shown."""
    folder, secret = tmp_path / "images", tmp_path / "secret"
    folder.mkdir()
    secret.write_text("hush")
    image_folder(folder)
    (folder / "mei-000001.png").unlink()
    (folder / "mei-000001.png").symlink_to(secret)
    result = call("stimulus", "check", folder)
    assert refused(result)
    assert "hush" not in result.output


# --- names in a report

MARKUP = "'\"><script>alert(1)</script><img src=x onerror=alert(1)>"


def hostile(kind):
    """Return an instance of a type in which all text is markup."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        return [] if arguments[0] == dict[str, typing.Any] else [hostile(arguments[0])]
    if origin is dict:
        value = hostile(arguments[1])  # also of the scores that the page asks for by name
        return defaultdict(lambda: value, {hostile(arguments[0]): value})
    if origin in (typing.Union, types.UnionType):
        return hostile(arguments[0])
    if origin is tuple:
        return tuple(hostile(argument) for argument in arguments if argument is not ...)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{f.name: hostile(hints[f.name]) for f in dataclasses.fields(kind) if f.init})
    simple = {str: MARKUP, int: 1, float: 0.5, bool: True, datetime: datetime.now(UTC)}
    return simple.get(kind, MARKUP)


class Tags(HTMLParser):
    """All tags of a page, with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_names_in_a_report_are_text():
    empty = render(Page("x", datetime.now(UTC), "1"))
    block = Block(
        training_set_hash=MARKUP,
        scans=[MARKUP],
        n_units=1,
        tiers={"train": 1, "validation": 1, "test": 1},
        oracles=[hostile(OracleView)],
        models=hostile(ModelsView),
        provenance=hostile(Provenance),
    )
    page = Page(MARKUP, datetime.now(UTC), MARKUP, hostile(Recorded), [block], sql=MARKUP)
    text = render(page)
    assert text.count("&lt;script&gt;alert(1)") > 20
    assert "<script>alert" not in text
    tags = Tags(text).found
    assert [t for t, _ in tags].count("script") == [t for t, _ in Tags(empty).found].count("script")
    assert not [a for _, attributes in tags for a in attributes if a.startswith("on")]


if __name__ == "__main__":
    read_all(sys.argv[1:])
