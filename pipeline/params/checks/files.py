"""Checks of the files that entries name: they lie where they may, and they exist if stages are to run."""

import os
from collections.abc import Iterator
from pathlib import PurePosixPath

from pipeline.files.local import LocalFile
from pipeline.params.parsed import ParsedFile
from pipeline.params.whole import Params
from pipeline.runtime import paths
from pipeline.sources import published

Location = tuple[str | int, ...]
# Folders of the project whose content stages and DVC write, beside data that may lie in data/.
_WRITTEN = ("data/raw", "data/augmented", "results", ".cnnkeras", ".dvc", ".git")


def check_paths(file: ParsedFile, params: Params) -> None:
    """Refuse a path that leaves the project's folder."""
    for location, name in _named(params):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise file.error(location, f"expected the path of a file in the project; received: {name!r}")
    for location, _, local in _local(params):
        place, root = paths.local(local.path).resolve(), paths.root().resolve()
        if root.is_relative_to(place):
            raise file.error(location, f"expected a folder without the project in it; received: {local.path!r}")
        if any(place.is_relative_to(root / name) for name in _WRITTEN):
            message = f"expected a folder that no stage writes; received: {local.path!r}. Leave the data elsewhere"
            raise file.error(location, message)


def check_files(file: ParsedFile, params: Params) -> None:
    """Refuse a file that neither exists nor is fetched by a source."""
    fetched = {f"data/raw/{name}/{each.name}" for name, source in params.sources.items() for each in published(source)}
    for location, name in _named(params):
        if name in fetched:
            continue
        if not os.path.isfile(paths.root() / name):  # noqa: PTH113 - false, and no error, for a name that cannot be
            raise file.error(location, f"expected a file in the project; received: {name!r}, which is not there")
    for location, source, local in _local(params):
        listing = paths.raw(source) / local.name  # results that were made elsewhere stay as they are
        if not listing.exists() and not paths.local(local.path).exists():
            place = paths.local(local.path)
            raise file.error(
                location, f"expected a folder or an archive; received: {local.path!r}, and nothing is at {place}"
            )


def _local(params: Params) -> Iterator[tuple[Location, str, LocalFile]]:
    """The files of sources that lie on this disk, each with the location of its path and its source's name."""
    for name, source in params.sources.items():
        for position, each in enumerate(getattr(source, "files", ())):
            if isinstance(each, LocalFile):
                yield ("sources", name, "files", position, "path"), name, each


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
