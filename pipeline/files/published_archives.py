"""Data in archives or folders: the key `files` of a source's entry, fetching them, and reading them as if they were one."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from pipeline.files.archives import Archives
from pipeline.files.local import LocalFile, write_listing
from pipeline.files.published import PublishedFile
from pipeline.runtime import paths
from pipeline.runtime.entries import Entry


def _where(file: Any) -> str:
    return "here" if isinstance(file, LocalFile) or (isinstance(file, Mapping) and "path" in file) else "published"


AnyFile = Annotated[
    Annotated[LocalFile, Tag("here")] | Annotated[PublishedFile, Tag("published")], Discriminator(_where)
]


class PublishedArchives(Entry):
    """What the entry of a source has whose data are published as archives.

    Attributes:
        files: The archives: published ones (`name`, `urls`, `sha256`), or folders and archives on this disk (`path`).
    """

    files: Annotated[tuple[AnyFile, ...], Field(min_length=1)]

    def places(self, folder: Path) -> list[str]:
        """Where the archives are, from the project's folder: those on this disk where they were, the others in `folder`."""
        root = paths.root()
        return [
            file.path if isinstance(file, LocalFile) else os.path.relpath(folder / file.name, root)
            for file in self.files
        ]

    def open(self, folder: Path) -> Archives:
        """The archives in `folder`, read in place as if they were one.

        Raises:
            InputError: One is missing or damaged.
        """
        return Archives([folder / file.name for file in self.files])


def fetch_archives(source: PublishedArchives, folder: Path, *, mirrors: Sequence[str]) -> None:
    """Fetch the archives, as published, and list the folders: the `fetch` of each kind of source that has them.

    Raises:
        InputError: One could not be had as its entry describes it.
    """
    from pipeline.files.fetch import (
        fetch_files,  # the libraries of the network take 0.1 s, and every command reads entries
    )

    for file in source.files:
        if isinstance(file, LocalFile):
            write_listing(file, folder)
    if published := [file for file in source.files if isinstance(file, PublishedFile)]:
        fetch_files(published, folder, mirrors=mirrors)
