"""A copy of this project in a folder of its own, in which nothing has run; and a file of weights of others for it."""

import os
import shutil
import sys
from pathlib import Path

from tests import foreign_formats

REPOSITORY = Path(__file__).parents[1]
COPIED = (
    ".dvc/config",
    ".dvc/plots",
    ".dvc/plots.html",
    ".dvc/.gitignore",
    ".dvcignore",
    ".gitignore",
    "dvc.yaml",
    "plugins/README.md",
    "results/scratch",
    "cnnkeras",
    "pipeline",
)
# Of params.yaml: the file that `write_published` writes, for a detector of boxes in images of 64 x 64.
IMPORTS = """\
imports:
  published: {file: data/published.weights, format: darknet, architecture: yolo, size: [64, 64], classes: 10,
    model: {variant: rerelease_fast, width: 0.03125}}
"""


def copy_project(folder: Path, params: str) -> None:
    """Copy what the stages run, without data and results, and write a params.yaml."""
    for name in COPIED:
        source, target = REPOSITORY / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (folder / "params.yaml").write_text(params)


def environment(base: Path, *commands: Path) -> dict[str, str]:
    """Variables for commands in such a copy: DVC and git see no settings and no cache of the person at the terminal.

    Args:
        base: Folder beside the copy, for what DVC keeps of it.
        commands: Folders to look for commands in before all others.
    """
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_", "KERAS_"))},
        "PATH": os.pathsep.join([*map(str, commands), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "DVC_SITE_CACHE_DIR": str(base / "site"),
        "DVC_GLOBAL_CONFIG_DIR": str(base / "global"),
        "DVC_SYSTEM_CONFIG_DIR": str(base / "system"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{f"GIT_{role}_{what}": "test" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }


def write_published(folder: Path) -> foreign_formats.Darknet:
    """Write the file that `IMPORTS` names; returns the detector that it holds."""
    net = foreign_formats.Darknet("rerelease_fast", side=64, outputs=10 + 5 * 2, width=32, inputs_first=False)
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "published.weights").write_bytes(net.write(foreign_formats.header_since(2)))
    return net
