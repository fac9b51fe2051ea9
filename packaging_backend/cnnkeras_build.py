"""How this project is packed (PEP 517): by setuptools, with the stages' package under a name that is ours alone.

In the repository the stages are the package `pipeline`. In somebody's environment that name may be taken, or be wanted later, so a wheel
has them as `cnnkeras_pipeline`: the folder is copied under that name, and what its code says of itself, imports and names of modules,
is renamed in the copy. The files that a new project starts with are put into its folder `shipped`
(`paths.shipped` finds them in both places). An editable installation has the repository as it is.
"""

import re
import shutil
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (  # noqa: F401 - what a frontend looks for
    build_editable,
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
)

REPOSITORY = Path(__file__).parents[1]
HERE, THERE = "pipeline", "cnnkeras_pipeline"
SHIPPED = (
    ".dvc/.gitignore",
    ".dvc/config",
    ".dvc/plots",
    ".dvc/plots.html",
    ".dvcignore",
    ".gitignore",
    "dvc.yaml",
    "plugins/README.md",
    "results/scratch",
)
# `from pipeline.runtime import paths`, `import pipeline`; "pipeline.stages.train", pipeline/cli.py. Not the English word.
_OWN_NAME = re.compile(rf"(?<=from ){HERE}(?=\.| import )|(?<=import ){HERE}\b|\b{HERE}(?=[./][a-z_])")


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Build a wheel of a renamed copy; without `prepare_metadata_for_build_wheel`, a frontend takes its metadata from it."""
    target = str(Path(wheel_directory).absolute())
    with tempfile.TemporaryDirectory() as folder:
        copy_renamed(Path(folder))
        with chdir(folder):
            return build_meta.build_wheel(target, config_settings, metadata_directory)


def copy_renamed(folder: Path) -> None:
    """Copy what a wheel is made of into an empty folder, with the stages' package renamed and what is shipped inside it."""
    for name in ("README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, folder)
    copied = {"ignore": shutil.ignore_patterns("__pycache__")}
    shutil.copytree(REPOSITORY / "cnnkeras", folder / "cnnkeras", **copied)
    shutil.copytree(REPOSITORY / HERE, folder / THERE, **copied)
    for file in (folder / THERE).rglob("*.py"):
        file.write_text(renamed(file.read_text(encoding="utf-8")), encoding="utf-8")
    settings = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    for said in (f'"{HERE}.cli:main"', f'"{HERE}*"'):
        if said not in settings:
            raise ValueError(f"pyproject.toml: expected {said}, which a wheel has with {THERE}; received: no such text")
        settings = settings.replace(said, said.replace(HERE, THERE))
    (folder / "pyproject.toml").write_text(settings, encoding="utf-8")
    for name in SHIPPED:
        source, target = REPOSITORY / name, folder / THERE / "shipped" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)


def renamed(text: str) -> str:
    """A file's text with the package's name in the wheel."""
    return _OWN_NAME.sub(THERE, text)
