"""Data published as archives: the key `files` of a source's entry, fetching them, and reading them as if they were one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from pipeline.files.archives import Archives
from pipeline.files.published import PublishedFile
from pipeline.runtime.entries import Entry


class PublishedArchives(Entry):
    """What the entry of a source has whose data are published as archives.

    Attributes:
        files: The archives.
    """

    files: Annotated[tuple[PublishedFile, ...], Field(min_length=1)]

    def open(self, folder: Path) -> Archives:
        """The archives in `folder`, read in place as if they were one.

        Raises:
            InputError: One is missing or damaged.
        """
        return Archives([folder / file.name for file in self.files])


def fetch_archives(source: PublishedArchives, folder: Path, *, mirrors: Sequence[str]) -> None:
    """Fetch the archives, as published: the `fetch` of each kind of source that has them.

    Raises:
        InputError: One could not be had as its entry describes it.
    """
    from pipeline.files.fetch import (
        fetch_files,  # the libraries of the network take 0.1 s, and every command reads entries
    )

    fetch_files(source.files, folder, mirrors=mirrors)
