"""What `cnnkeras inspect` looks at: the names in a folder or an archive, which of them are images, and what a recogniser finds there."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.files.archives import Archives
from pipeline.files.image_files import is_image, is_visible

SPLIT_NAMES = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "tst"),
}
DRAWN = 0.15  # fraction of the training images where there is no part to validate or to test on


@dataclass(frozen=True)
class Found:
    """Data that a kind of source can read.

    Attributes:
        kind: The kind.
        what: In words: `a folder per class`.
        tasks: What it can be prepared for, the most telling first.
        entry: Keys of the source's entry, without `kind` and `files`.
        files: The key that says which files it is made of, if not by `path`.
        odd: Sentences on what may be wrong.
    """

    kind: str
    what: str
    tasks: Sequence[str]
    entry: Mapping[str, Any]
    files: Mapping[str, Any] = field(default_factory=dict)
    odd: Sequence[str] = ()


@dataclass(frozen=True)
class Data:
    """A folder or an archive.

    Attributes:
        path: As its entry is going to have it.
        place: Where it is.
        archives: Its files, those in archives included.
    """

    path: str
    place: Path
    archives: Archives

    @cached_property
    def names(self) -> list[str]:
        """Names of all files, sorted, without what is hidden or what systems leave behind."""
        return sorted(name for name in self.archives if is_visible(name))

    @cached_property
    def images(self) -> list[str]:
        """Those of images."""
        return [name for name in self.names if is_image(name)]

    def ending(self, *endings: str) -> list[str]:
        """Those with one of these endings, in small letters."""
        return [name for name in self.names if name.lower().endswith(endings)]


def folder_of(name: str) -> str:
    """The folder of a file, "" for the archive itself."""
    return "" if (folder := str(PurePosixPath(name).parent)) == "." else folder


def common_root(names: Iterable[str]) -> str:
    """The deepest folder that holds all files."""
    parts = [PurePosixPath(name).parts[:-1] for name in names]
    shared = [level[0] for level in zip(*parts, strict=False) if len(set(level)) == 1]
    depth = next((n for n, level in enumerate(zip(*parts, strict=False)) if len(set(level)) > 1), len(shared))
    return "/".join(shared[:depth])


def below(names: Iterable[str], root: str) -> list[str]:
    """Names below a folder, without the folder."""
    start = f"{root}/" if root else ""
    return [name[len(start) :] for name in names if name.startswith(start)]


def by_folder(names: Iterable[str]) -> dict[str, list[str]]:
    """Files by the folder that they are in."""
    files = defaultdict(list)
    for name in names:
        files[folder_of(name)].append(name)
    return dict(files)


def split_of(name: str) -> str | None:
    """The split that a name says: `train`, `VOC_valid`, `instances_train2017`; None if none or several."""
    words = re.findall("[a-z]+", name.lower())
    found = {split for split, known in SPLIT_NAMES.items() if any(word in known for word in words)}
    return found.pop() if len(found) == 1 else None


def parts_of(names: Iterable[str]) -> dict[str, str]:
    """The name for each split, of names of which each says another one."""
    parts: dict[str, str] = {}
    for name in names:
        split = split_of(name)
        if split is not None and (split not in parts or len(name) < len(parts[split])):
            parts[split] = name
    return parts


def splits(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The key `splits` for the parts that there are, that of `train` among them."""
    val, test = parts.get("val"), parts.get("test")
    if test is None and val is not None:
        val, test = DRAWN, val  # what was kept apart is measured on; settings are chosen on a fraction of the rest
    return {"train": parts["train"], "val": DRAWN if val is None else val, "test": DRAWN if test is None else test}


def several(names: Iterable[str], count: int = 3) -> str:
    """The first names, with how many more there are."""
    listed = list(names)
    return ", ".join(listed[:count]) + (f" and {len(listed) - count:,} more" if len(listed) > count else "")
