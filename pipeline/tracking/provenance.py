"""Origin of a result: git's commit, the digest of dvc.lock, and DVC's hash of the dataset."""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.formats.packed import INDEX
from pipeline.runtime import paths

_MAX_CHARACTERS = 1_000_000  # of a difference from the commit
# Paths that the pipeline itself writes. A working tree that differs from its commit only here has the commit's code.
_MADE_BY_THE_PIPELINE = (":(exclude)dvc.lock", ":(exclude)results")


def facts() -> dict[str, str]:
    """Facts on the origin by key: `git_commit`, `git_dirty` (`true` or `false`) and `dvc_lock`, without those that do not exist."""
    commit, lock = git_commit(), lock_digest()
    return {
        **({"git_commit": commit, "git_dirty": str(git_is_dirty()).lower()} if commit else {}),
        **({"dvc_lock": lock} if lock else {}),
    }


def git_commit() -> str | None:
    """Hash of the current commit; None without git or before the first commit."""
    return _git("rev-parse", "--verify", "HEAD")


def git_is_dirty() -> bool:
    """Whether a file, other than an output of the pipeline, differs from the commit or is not in it."""
    return bool(_git("status", "--porcelain", "--", ".", *_MADE_BY_THE_PIPELINE))


def texts() -> dict[str, str]:
    """Of what a result was made, as files for people, by name: params.yaml; dvc.lock, if there is one; and `changes.diff`, if the files are not those of the commit."""
    files = [file for file in (paths.params_file(), paths.root() / "dvc.lock") if file.is_file()]
    found = {file.name: file.read_text(encoding="utf-8", errors="replace") for file in files}
    if changes := _changes():
        found["changes.diff"] = changes
    return found


def _changes() -> str:
    """How the files that git knows differ from the commit, and the names of those that it does not know; empty without a commit."""
    if not git_commit():
        return ""
    places = ("--", ".", *_MADE_BY_THE_PIPELINE)
    difference = _git("diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD", *places) or ""
    new = _git("ls-files", "--others", "--exclude-standard", *places) or ""
    lines = [difference[:_MAX_CHARACTERS], *(f"Not in git: {name}" for name in new.splitlines())]
    return "\n".join(filter(None, lines)) + "\n" if difference or new else ""


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(["git", *arguments], cwd=paths.root(), capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.decode("utf-8", "replace").strip()


def lock_digest() -> str | None:
    """SHA-256 (hexadecimal) of dvc.lock; None if there is no dvc.lock."""
    lock = paths.root() / "dvc.lock"
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None


def dvc_hash(dataset: Path) -> str:
    """DVC's hash of a packed dataset's folder: 32 hexadecimal digits and `.dir`, as in dvc.lock.

    The hash is read from dvc.lock if DVC's cache confirms that it belongs to this data. If not, as after a stage run without DVC, it is
    computed as DVC does.
    """
    index = _md5(dataset / INDEX)
    for recorded in _hashes_in_lock(dataset):
        listing = paths.home() / ".dvc" / "cache" / "files" / "md5" / recorded[:2] / recorded[2:]
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
