"""Command line of the program: `locate` a session's file, or `convert` it to arrays.

The answer, or the message of an error, goes to standard output, everything else to standard error.
"""

import argparse
import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from conversion import (
    BadSession,
    Presentations,
    Table,
    choose_units,
    pupil_track,
    read_presentations,
    spike_arrays,
    treadmill_track,
    unit_arrays,
    unrecorded_intervals,
)
from gabors import GREY, render_gabor
from numpy.typing import NDArray
from tqdm import tqdm

TEMPLATES_WANTED = (
    "the file holds no pictures of the natural scenes: give --cache FOLDER, into which allensdk "
    "downloads them (EcephysProjectCache.get_natural_scene_template), or --templates, an .npy file "
    "of shape (118, height, width) or a folder of natural_scene_0.tiff, natural_scene_1.tiff, ..."
)


def main() -> int:
    """Run the command; exit status 1 after an error that the user can act on."""
    parser = argparse.ArgumentParser(prog="allen", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, command in (("locate", locate), ("convert", convert)):
        sub = commands.add_parser(name)
        sub.set_defaults(command=command)
        sub.add_argument("--nwb", type=Path)
        sub.add_argument("--session", type=int)
        sub.add_argument("--cache", type=Path)
    sub.add_argument("--templates", type=Path)
    sub.add_argument("--area", action="append", default=[])
    sub.add_argument("--into", type=Path, required=True)
    args = parser.parse_args()
    with redirect_stdout(sys.stderr):  # where allensdk prints
        try:
            answer, status = args.command(args), 0
        except BadSession as error:
            answer, status = str(error), 1
        except OSError as error:
            answer, status = f"the session cannot be read, or its arrays not written: {error}", 1
    sys.stdout.write(answer)
    return status


def locate(args: argparse.Namespace) -> str:
    """Download a session unless a file is given; answer with its path, number and animal."""
    path = args.nwb or _downloaded(args)
    try:
        with h5py.File(path) as file:
            if missing := sorted({"identifier", "units", "intervals"} - set(file)):
                raise BadSession(f"{path} is no session of the Allen Institute: no {missing}")
            session = _text(file["identifier"])
            subject = file.get("general/subject/subject_id")
            animal = "" if subject is None else _text(subject)
    except OSError as error:
        raise BadSession(f"{path} cannot be read: truncated, or no NWB file ({error})") from error
    if not session.isdigit():
        raise BadSession(f"{path} is no session of the Allen Institute: it is named {session!r}")
    return json.dumps({"nwb": str(path), "session": int(session), "animal": animal})


def _text(dataset: h5py.Dataset) -> str:
    return dataset.asstr()[()]


def convert(args: argparse.Namespace) -> str:
    """Write a session as a folder of arrays that appears when it is complete."""
    sys.stderr.write(f"converting {args.nwb}\n")
    session = _fetched(args, _cached_session) if args.session else _opened(args.nwb)
    units = choose_units(_table(session.units.reset_index()), args.area)
    unit_ids = units["unit_id"].astype(np.int64)
    unrecorded = unrecorded_intervals(
        _table(session.invalid_times), np.unique(units["probe_description"]).tolist()
    )
    presentations = read_presentations(_table(session.stimulus_presentations), unrecorded)
    arrays = {
        **presentations.arrays(),
        **unit_arrays(units),
        **spike_arrays(session.spike_times, unit_ids),
        **_behaviour(session),
        "images": _images(presentations, args),
    }
    _write(arrays, args.into)
    sys.stderr.write(_summary(arrays, presentations) + "\n")
    return ""


def _write(arrays: dict[str, NDArray[Any]], folder: Path) -> None:
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(part / f"{name}.npy", array, allow_pickle=False)
    part.rename(folder)


def _opened(path: Path) -> Any:
    from allensdk.brain_observatory.ecephys.ecephys_session import EcephysSession

    return EcephysSession.from_nwb_path(str(path))


def _cache(args: argparse.Namespace) -> Any:
    from allensdk.brain_observatory.ecephys.ecephys_project_cache import EcephysProjectCache

    return EcephysProjectCache.from_warehouse(manifest=args.cache / "manifest.json")


def _cached_session(args: argparse.Namespace) -> Any:
    return _cache(args).get_session_data(args.session)


def _downloaded(args: argparse.Namespace) -> Path:
    _fetched(args, _cached_session)
    cache = _cache(args)
    keys = (cache.SESSION_NWB_KEY, args.session, args.session)
    return Path(cache.get_cache_path(None, *keys))


def _fetched(args: argparse.Namespace, fetch: Callable[[argparse.Namespace], Any]) -> Any:
    try:
        return fetch(args)
    except Exception as error:  # allensdk lets through what requests, pandas and h5py raise
        raise BadSession(
            f"allensdk cannot get session {args.session} into {args.cache}; run the same command "
            "again, files that are complete stay. A session that is here as a file needs --nwb and "
            f"--templates only. ({type(error).__name__}: {str(error)[:300]})"
        ) from error


def _table(frame: Any) -> Table:
    return {name: frame[name].to_numpy() for name in frame}


def _behaviour(session: Any) -> dict[str, NDArray[Any]]:
    """Read running and pupil, as far as the session has them."""
    arrays = {}
    try:
        arrays["treadmill"] = treadmill_track(_table(session.running_speed))
    except KeyError as error:
        sys.stderr.write(f"This ecephys session has no running speed. (NWB error: {error})\n")
    pupil = session.get_pupil_data()
    if pupil is not None:
        arrays["pupil"] = pupil_track(pupil.index.to_numpy(), _table(pupil))
    return arrays


def _images(presentations: Presentations, args: argparse.Namespace) -> NDArray[np.uint8]:
    """Collect scenes and render the rest, all of one size."""
    pictures = presentations.pictures
    numbers = [p.image_id for p in pictures if p.image_class == "natural_scenes"]
    scenes = dict(zip(numbers, _templates(numbers, args), strict=True))
    shapes = {scene.shape for scene in scenes.values()}
    if len(shapes) != 1 or any(s.dtype != np.uint8 or s.ndim != 2 for s in scenes.values()):
        raise BadSession(
            "the pictures of the natural scenes must be uint8 grey values of one size, not "
            f"{sorted({f'{s.dtype} {s.shape}' for s in scenes.values()})}"
        )
    (shape,) = shapes
    images = np.full((len(pictures), *shape), GREY, np.uint8)
    for row, picture in enumerate(tqdm(pictures, desc="pictures", leave=False)):
        if picture.image_class == "natural_scenes":
            images[row] = scenes[picture.image_id]
        elif picture.image_class == "gabor":
            images[row] = render_gabor(shape, **picture.params)
    return images


def _templates(numbers: list[int], args: argparse.Namespace) -> list[NDArray[Any]]:
    source = args.templates
    if source is None:
        if args.cache is None:
            raise BadSession(TEMPLATES_WANTED)
        cache = _cache(args)
        return _fetched(args, lambda _: [cache.get_natural_scene_template(n) for n in numbers])
    try:
        if source.is_dir():
            return [_picture(source / f"natural_scene_{n}.tiff") for n in numbers]
        stack = np.load(source, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadSession(f"the natural scenes cannot be read from {source}: {error}") from error
    if len(stack) <= max(numbers):
        raise BadSession(
            f"{source} holds {len(stack)} natural scenes, but the session shows {max(numbers)} "
            "(counted from 0)"
        )
    return [stack[n] for n in numbers]


def _picture(path: Path) -> NDArray[Any]:
    from allensdk.brain_observatory.ecephys.ecephys_project_cache import read_scene

    if not path.exists():
        raise BadSession(f"there is no {path}")
    return read_scene(str(path))


def _summary(arrays: dict[str, NDArray[Any]], presentations: Presentations) -> str:
    classes = [presentations.pictures[i].image_class for i in presentations.image_index]
    parts = {
        "units": Counter(arrays["area"].tolist()),
        "presentations": Counter(classes),
        "left out": presentations.left_out,
    }
    lines = [
        f"{what}: {', '.join(f'{n} {name}' for name, n in sorted(counts.items())) or 'none'}"
        for what, counts in parts.items()
    ]
    optional = {"x": "positions", "treadmill": "running", "pupil": "pupil"}
    lines.append(f"with {', '.join(v for k, v in optional.items() if k in arrays) or 'none'}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
