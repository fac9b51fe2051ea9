"""Where a result comes from, in the words of git and DVC: the commit, the lock, the hash of the data."""

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.formats.packed import INDEX
from pipeline.runtime import paths

# What a run of the pipeline itself writes: a tree that differs from its commit only there is that commit's code.
_MADE_BY_THE_PIPELINE = (":(exclude)dvc.lock", ":(exclude)results")


def facts() -> dict[str, str]:
    """Commit, whether files differ from it, and lock, as far as there are any: `git_commit`, `git_dirty`, `dvc_lock`."""
    commit, lock = git_commit(), lock_digest()
    return {
        **({"git_commit": commit, "git_dirty": str(git_is_dirty()).lower()} if commit else {}),
        **({"dvc_lock": lock} if lock else {}),
    }


def home() -> Path:
    """The project's folder, also for a run in a copy of it: `dvc exp run --temp` and `--queue` name it in DVC_ROOT."""
    return Path(os.environ.get("DVC_ROOT") or paths.root())


def git_commit() -> str | None:
    """The commit that the project's folder is at; None without git or before the first commit."""
    return _git("rev-parse", "--verify", "HEAD")


def git_is_dirty() -> bool:
    """Whether a file outside the pipeline's own outputs differs from the commit, or is unknown to it."""
    return bool(_git("status", "--porcelain", "--", ".", *_MADE_BY_THE_PIPELINE))


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(["git", *arguments], cwd=paths.root(), capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def lock_digest() -> str | None:
    """SHA-256 (hexadecimal) of dvc.lock as it is now; None where there is none."""
    lock = paths.root() / "dvc.lock"
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None


def dvc_hash(dataset: Path) -> str:
    """DVC's hash of a packed dataset's folder: 32 hexadecimal digits and `.dir`, as in dvc.lock.

    Read from dvc.lock where DVC's cache confirms that it is of this very data; computed as DVC does otherwise, because the
    folder may have been made by hand since.
    """
    index = _md5(dataset / INDEX)
    for recorded in _hashes_in_lock(dataset):
        listing = home() / ".dvc" / "cache" / "files" / "md5" / recorded[:2] / recorded[2:]
        if listing.is_file() and {"md5": index, "relpath": INDEX} in json.loads(listing.read_bytes()):
            return recorded
    files = sorted(file for file in dataset.rglob("*") if file.is_file())
    entries = [{"md5": _md5(file), "relpath": file.relative_to(dataset).as_posix()} for file in files]
    entries.sort(key=lambda entry: entry["relpath"])
    return hashlib.md5(json.dumps(entries, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _hashes_in_lock(folder: Path) -> list[str]:
    lock = paths.root() / "dvc.lock"
    if not lock.is_file():
        return []
    stages = (YAML(typ="safe").load(lock) or {}).get("stages") or {}
    outputs: list[dict[str, Any]] = [output for stage in stages.values() for output in stage.get("outs", ())]
    path = folder.relative_to(paths.root()).as_posix()
    return [output["md5"] for output in outputs if output["path"] == path and "md5" in output]


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
