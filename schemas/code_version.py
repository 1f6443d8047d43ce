"""The software this process runs, as a row of `CodeVersion`."""

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

from schemas.configuration import configuration_hash
from schemas.operations import CodeVersion


@cache
def code_version(device: str = "cpu") -> dict[str, str]:
    """Insert what this process computes with, once per process, and return its key."""
    commit, dirty = git_state(Path(__file__).parent)
    row = {
        "package_version": version("inceptionloop"),
        "git_commit": commit,
        "git_dirty": dirty,
        "python_version": platform.python_version(),
        "torch_version": torch.__version__,
        "numpy_version": version("numpy"),
        "datajoint_version": version("datajoint"),
        "device": platform.machine() if device == "cpu" else torch.cuda.get_device_name(device),
        "n_threads": torch.get_num_threads(),
    }
    key = {"code_hash": configuration_hash("CodeVersion", row)}
    CodeVersion.insert1(key | row, skip_duplicates=True)
    return key


def git_state(folder: Path) -> tuple[str | None, bool | None]:
    """Return commit and whether tracked files differ from it, or Nones outside a checkout."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return None, None
    return commit, bool(git("status", "--porcelain", "--untracked-files=no"))
