"""`cnnkeras new`: a folder in which `dvc repro` runs, with the code of the installed package.

It has what the repository has for its own experiments, file by file - dvc.yaml, what git and DVC leave out, the templates of `dvc plots` -
and a params.yaml of its own: a small example, or the entries that `cnnkeras inspect` suggests for somebody's data.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import click

from pipeline.commands import inspect
from pipeline.runtime import definition, paths, places
from pipeline.runtime.errors import InputError
from pipeline.runtime.replacing import partial_path, remove

_FOLDER = Path(__file__).parent
_COPIED = (
    ".dvc",
    ".dvcignore",
    ".gitignore",
    "plugins/README.md",
    "results/scratch",
)  # as they are; of .dvc, what git has
_DVC_FILES = (".gitignore", "config", "plots", "plots.html")
# In the repository DVC compares the folders with the code. Installed code lies outside of the project, so there `check`, which takes half
# a second, runs each time; what it writes is the same unless code that is used has changed.
_CODE = "    deps:\n      - cnnkeras\n      - params.yaml\n      - pipeline\n      - plugins\n"
_INSTALLED_CODE = "    always_changed: true # the code is the installed package: `check` looks at it each time\n    deps:\n      - params.yaml\n      - plugins\n"
_NO_GIT = "[core]\n    no_scm = true\n"


def run(folder: Path, *, data: str | None, name: str | None, task: str | None) -> None:
    """Make a project.

    Args:
        folder: Where; nothing is there yet, or an empty folder.
        data: A folder or an archive that it is for, from the current folder; None: an example that needs none.
        name: Of the entries for the data; None: from their path.
        task: What the data are to be prepared for; None: the most telling of what they can be.

    Raises:
        InputError: Something is in its place, nothing may be written there, or the data cannot be read.
    """
    if data is None and (name or task):
        raise InputError("--name and --task: expected data that they are of; received: no --from. Add --from PATH")
    target = folder.absolute().parent.resolve() / folder.absolute().name
    _require_free(target)
    source = data if data is None or Path(data).is_absolute() else os.path.relpath(data, target)
    with _whole(target) as partial:
        _write(partial, target.name, "example.yaml" if source is None else "empty.yaml")
        if source is not None:
            with chdir(partial):
                inspect.run(source, name=name, task=task, output=None, add=True)
        _start_git(partial)
    click.echo(f"{folder}: a project. Next: cd {folder} && cnnkeras repro   (or: dvc repro)")


def _require_free(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()) or (target.is_dir() and any(target.iterdir())):
        raise InputError(f"expected the name of a new folder; received: {target}, where there is something already")
    places.require_writable(target.parent)


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A temporary folder beside a new one, which becomes that one when the block ends, and is no more when the block fails."""
    partial = partial_path(target)
    remove(partial)
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.replace(target)  # an empty folder is replaced
    finally:
        remove(partial)


def _write(folder: Path, title: str, params: str) -> None:
    """Write all files of a project, with the params.yaml of this name beside this file."""
    for name in _COPIED:
        source = paths.shipped(name)
        for part in _DVC_FILES if name == ".dvc" else ("",):
            _copy(source / part, folder / name / part)
    (folder / paths.DEFINITION).write_text(_definition(), encoding="utf-8")
    shutil.copyfile(_FOLDER / params, folder / paths.PARAMS)
    readme = (_FOLDER / "project.md").read_text(encoding="utf-8")
    (folder / "README.md").write_text(readme.replace("PROJECT", title, 1), encoding="utf-8")
    (folder / "data").mkdir()
    shutil.copyfile(_FOLDER / "data.md", folder / "data" / "README.md")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)


def _definition() -> str:
    """The text of dvc.yaml for a project whose code is installed."""
    text = paths.shipped(paths.DEFINITION).read_text(encoding="utf-8")
    if text.count(_CODE) != 1:
        raise ValueError(f"{paths.DEFINITION}: expected the stage {definition.CHECK} to depend on the code's folders")
    return text.replace(_CODE, _INSTALLED_CODE)


def _start_git(folder: Path) -> None:
    """Make the folder a git repository, unless it is part of one that has it; without git on this machine, DVC does without."""
    if shutil.which("git") is None:
        (folder / ".dvc" / "config.local").write_text(_NO_GIT, encoding="utf-8")
        return
    git = ("git", "-C", str(folder))
    inside = subprocess.run([*git, "rev-parse", "--is-inside-work-tree"], capture_output=True, text=True, check=False)
    # `.partial-*` is what git is to leave out, so the question is whether it leaves out the folder that this one lies in.
    ignored = subprocess.run(
        ["git", "-C", str(folder.parent), "check-ignore", "-q", "."], check=False, capture_output=True
    )
    if inside.stdout.strip() == "true" and ignored.returncode == 1:
        return
    made = subprocess.run([*git, "init", "--quiet"], capture_output=True, text=True, check=False)
    if made.returncode:
        raise InputError(f"git init: expected a repository; received: {made.stderr.strip()[:300]}")
