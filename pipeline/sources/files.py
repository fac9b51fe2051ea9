"""Published files that are no data set, such as weights for `imports:`, fetched by address and checksum.

An import then says `file: data/raw/SOURCE/NAME`, and DVC fetches it first. No dataset can be of such a source.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pipeline import sources
from pipeline.files.published import PublishedFile
from pipeline.runtime.errors import InputError

TASKS = ()
HAS_OBJECTS = False


class Source(sources.SourceEntry):
    """Entry of a `files` source.

    Attributes:
        files: The published files (`name`, `urls`, `sha256`).
    """

    kind: Literal["files"]
    files: Annotated[tuple[PublishedFile, ...], Field(min_length=1)]

    @property
    def classes(self) -> tuple[str, ...]:
        """None: there are no examples."""
        return ()


def fetch(source: Source, folder: Path, *, mirrors: Sequence[str]) -> None:
    """Fetch the files, as published.

    Raises:
        InputError: One could not be had as its entry describes it.
    """
    from pipeline.files.fetch import fetch_files  # the libraries of the network take 0.1 s

    fetch_files(source.files, folder, mirrors=mirrors)


def examples(source: Source, folder: Path, *, masks: bool, split: sources.Split) -> Sequence[sources.Example]:  # noqa: ARG001
    """No examples; params.yaml with a dataset of it is refused before, because it serves no task.

    Raises:
        InputError: Always.
    """
    raise InputError("expected a source of examples; received: one of kind files")
