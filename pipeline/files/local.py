"""A folder or an archive on this disk as a file of a source. It stays where it is: the source's folder gets a listing of its content.

    {"path": "../photos", "files": [["cats/a.jpg", 48213, "5b0c..."], ...], "links": ["cats/b.jpg"]}

`archives.py` reads the files by that listing, and refuses one that is not as listed.
"""

import hashlib
import json
import os
from pathlib import Path, PurePosixPath
from typing import Annotated

from annotated_types import MinLen
from pydantic import field_validator

from pipeline.files.published import Sha256
from pipeline.runtime import folders, paths
from pipeline.runtime.digests import Content
from pipeline.runtime.entries import Entry
from pipeline.runtime.errors import InputError

ENDING = ".listing.json"


class LocalFile(Entry):
    """A folder or an archive on this disk that a source is made of.

    Attributes:
        path: Where it is, from the project's folder, from the home folder (`~/photos`), or absolute.
        sha256: Checksum of its content, if another content is to be an error. `cnnkeras plan` notices a change in any case.
    """

    path: Annotated[str, MinLen(1)]
    sha256: Sha256 | None = None

    @field_validator("path")
    @classmethod
    def _is_printable(cls, path: str) -> str:
        if not path.isprintable():
            raise ValueError(f"expected a path without control characters; received: {path!r}")
        return path

    @property
    def name(self) -> str:
        """Name of the listing in the source's folder."""
        last = PurePosixPath(os.path.normpath(self.path)).name.strip(".")
        return f"{last[:100]}-{hashlib.sha256(self.path.encode()).hexdigest()[:8]}{ENDING}"


def write_listing(file: LocalFile, folder: Path) -> None:
    """List a folder or an archive on this disk into the source's folder.

    Raises:
        InputError: It is not there, empty, cannot be read, changes meanwhile, or is not the one of its checksum.
    """
    place = paths.local(file.path)
    if not place.exists():
        raise InputError(f"expected a folder or an archive at {file.path}; received: none ({place}). Correct `path`")
    found = folders.listed(place, file.path)
    if not found.files:
        links = f"links alone, such as {found.links[0]}" if found.links else "an empty folder"
        raise InputError(f"expected files in {file.path}; received: {links}")
    if file.sha256 is not None and found.sha256 != file.sha256:
        raise InputError(
            f"expected {file.path} with sha256 {file.sha256}; received: sha256 {found.sha256}. "
            "If its new content is wanted, write that checksum, or none"
        )
    entries = [[name, *content] for name, content in found.files.items()]
    text = json.dumps({"path": file.path, "files": entries, "links": found.links}, indent=0)
    (folder / file.name).write_text(text + "\n", encoding="utf-8")


def read_listing(listing: Path) -> tuple[str, folders.Listed]:
    """The path of a folder or an archive as params.yaml had it, and its content.

    Raises:
        InputError: The listing is damaged, or has a path that leaves the folder.
    """
    try:
        content = json.loads(listing.read_text(encoding="utf-8"))
        files = {name: Content(int(size), str(sha256)) for name, size, sha256 in content["files"]}
        path, links = str(content["path"]), tuple(map(str, content["links"]))
        for name in files:
            parts = PurePosixPath(name).parts
            if name.startswith("/") or ".." in parts or "\0" in name:
                raise ValueError(f"the path {name!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"expected a listing of a folder at {listing}; received: {error}. Run `cnnkeras download {listing.parent.name}`"
        ) from error
    return path, folders.Listed(files, links)


def amount(file: Path) -> tuple[int, int]:
    """Number of files and of bytes that a file in a source's folder stands for."""
    if not file.name.endswith(ENDING):
        return 1, file.stat().st_size
    _, found = read_listing(file)
    return len(found.files), sum(content.size for content in found.files.values())
