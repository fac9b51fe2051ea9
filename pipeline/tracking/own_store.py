"""The project's own store: the database `mlflow.db` and the folder `mlartifacts` in the project's folder.

The store belongs to its folder: whoever moves or copies the folder moves or copies the store. So the database names every file relative
to the project's folder (`mlartifacts/RUN/artifacts`), and so do the models' descriptions. MLflow looks for a relative path below
the current folder: this package changes into the project's folder for it (`in_home`), and so must a script that opens the store by itself.

MLflow can create an experiment only at an absolute path. `forget_place` makes paths relative at once, those of stores of earlier versions too.
"""

import contextlib
import re
import sqlite3
from contextlib import AbstractContextManager
from pathlib import Path

import sqlalchemy

from pipeline.runtime import paths
from pipeline.tracking.models import forget_sources

DATABASE, FILES = "mlflow.db", "mlartifacts"

# Absolute addresses in stores that MLflow or an earlier version made: of our experiments, and of the one that MLflow makes for itself.
_OURS = re.compile(rf"(?:file://)?/.*/{FILES}(?=(?:/\d+)?$)")
_DEFAULT = re.compile(r"(?:file://)?/.*/mlruns(?=/0$)")
_ADDRESSES = {"experiments": "artifact_location", "runs": "artifact_uri", "logged_models": "artifact_location"}


def address() -> str:
    """Address of the database for MLflow.

    A path is no address: `?`, `%` and `#` are escaped. The driver is named because MLflow makes a folder for what follows `sqlite:///`, as
    it is written there.
    """
    return _url(paths.home() / DATABASE)


def _url(file: Path) -> str:
    return sqlalchemy.URL.create("sqlite+pysqlite", database=str(file)).render_as_string(hide_password=False)


def in_home() -> AbstractContextManager[None]:
    """Make the project's folder the current one while the block runs: relative paths in the store are below it."""
    return contextlib.chdir(paths.home())


def forget_place() -> None:
    """Make all addresses in the store relative, if there is an absolute one. The caller holds `store.exclusive`."""
    home = paths.home()
    with contextlib.closing(sqlite3.connect(home / DATABASE)) as database, database:
        locations = [location or "" for (location,) in database.execute("SELECT artifact_location FROM experiments")]
        roots = {match[0] for form in (_OURS, _DEFAULT) for match in map(form.match, locations) if match}
        for root in roots:
            for table, column in _ADDRESSES.items():
                database.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) IN (?, ?)",
                    (FILES, len(root) + 1, len(root) + 1, root, f"{root}/"),
                )
    if roots:
        _forget_sources_of_models(home)


def _forget_sources_of_models(home: Path) -> None:
    for description in (home / FILES / "models").glob("*/artifacts/MLmodel"):
        forget_sources(description.parent, f"{FILES}/models/{description.parents[1].name}/artifacts")
