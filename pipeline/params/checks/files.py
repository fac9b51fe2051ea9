"""Checks of the files that entries name: they are below the project's folder, and they exist if stages are to run."""

import os
from collections.abc import Iterator
from pathlib import PurePosixPath

from pipeline.params.parsed import ParsedFile
from pipeline.params.whole import Params
from pipeline.runtime import paths

Location = tuple[str, ...]


def check_paths(file: ParsedFile, params: Params) -> None:
    """Refuse a path that leaves the project's folder."""
    for location, name in _named(params):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise file.error(location, f"expected the path of a file in the project; received: {name!r}")


def check_files(file: ParsedFile, params: Params) -> None:
    """Refuse a file that does not exist."""
    for location, name in _named(params):
        if not os.path.isfile(paths.root() / name):  # noqa: PTH113 - false, and no error, for a name that cannot be
            raise file.error(location, f"expected a file in the project; received: {name!r}, which is not there")


def _named(params: Params) -> Iterator[tuple[Location, str]]:
    """Paths of the files that entries name, each with the location of its key."""
    for name, dataset in params.datasets.items():
        if dataset.proposals is not None:
            yield ("datasets", name, "proposals", "file"), dataset.proposals.file
    for name, experiment in params.experiments.items():
        regions = experiment.predict.regions
        if regions is not None and "file" in regions.arguments:
            yield ("experiments", name, "predict", "regions", "file"), regions.arguments["file"]
    for name, entry in params.imports.items():
        yield ("imports", name, "file"), entry.file
