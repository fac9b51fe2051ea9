"""Image files among the members of archives: which members they are, the members that lists mean, and ids for them."""

import io
import re
import zlib
from collections import Counter
from collections.abc import Callable, Container, Iterable
from pathlib import PurePosixPath
from typing import Any, TypeVar

from pipeline.files.archives import Archives
from pipeline.runtime.errors import InputError

Found = TypeVar("Found")

_ENDINGS = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))
_UNSAFE = re.compile(r"[^\w.\- ]")


def below(root: str) -> str:
    """Beginning of the names of all members in a folder of an archive; empty for the archive itself."""
    root = root.strip("/")
    return f"{root}/" if root not in ("", ".") else ""


def images(archives: Archives, folder: str) -> list[str]:
    """Names of the images anywhere in a folder of the archives, in alphabetical order.

    Hidden files are left out: a Mac adds one for each image that it packs.

    Raises:
        InputError: There are none.
    """
    beginning = below(folder)
    names = sorted(name for name in archives if name.startswith(beginning) and _is_image(name))
    if not names:
        some = sorted({"/".join(PurePosixPath(name).parts[: beginning.count("/") + 1]) for name in archives})[:12]
        raise InputError(
            f"expected images in a folder {beginning or './'} of the archive; "
            f"received: none, but {', '.join(some) or 'an empty archive'}"
        )
    return names


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in _ENDINGS and not path.name.startswith(".") and path.parts[0] != "__MACOSX"


def read_lines(archives: Archives, member: str) -> list[list[str]]:
    """The columns of each line of a list that is not empty.

    Raises:
        InputError: There is no such list, or nothing in it.
    """
    lines = [line.split() for line in archives[member].decode("utf-8", "replace").splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{member}: expected an image a line; received: an empty list")
    return lines


def find(members: Container[str], root: str, path: str) -> str | None:
    """Name of the member that a list means by a path: the longest end of it that is there, below `root`.

    Lists name files as they lay on their author's disk: `/SegNet/CamVid/train/a.png` is `train/a.png` below CamVid. The folder
    may be an archive in the archive: ImageNet's `n01440764/a.JPEG` is published as `n01440764.tar/a.JPEG`.
    """
    parts = PurePosixPath(path).parts
    for start in range(len(parts)):
        *folders, file = parts[start:]
        folder = "/".join(folders)
        for beginning in (f"{folder}/", f"{folder}.tar/") if folders else ("",):
            if (name := f"{below(root)}{beginning}{file}") in members:
                return name
    return None


def ids(names: Iterable[str]) -> list[str]:
    """An id for each path: without its ending, safe as a file's name, and its own.

    Where two paths would have the same, the later one has a number behind it.
    """
    seen, result = Counter(), []
    for name in names:
        stem = _UNSAFE.sub("_", name.rpartition(".")[0].replace("/", "_")).lstrip(".") or "image"
        seen[stem] += 1
        result.append(stem if seen[stem] == 1 else f"{stem}-{seen[stem]}")
    if len(set(result)) != len(result):  # a-2 was a name already
        return [f"{number:07d}_{id}" for number, id in enumerate(result)]
    return result


def read_matlab(content: bytes, member: str, pick: Callable[[dict[str, Any]], Found], *, expected: str) -> Found:
    """What `pick` takes from the variables of a MATLAB file (format 5), structs being dicts.

    Args:
        content: The file.
        member: Its name, for messages.
        pick: May meet a variable or field that is not there, or of another kind.
        expected: What should be there.

    Raises:
        InputError: It is not.
    """
    from scipy.io.matlab import MatReadError, loadmat  # half a second

    try:
        return pick(loadmat(io.BytesIO(content), simplify_cells=True))
    except (
        MatReadError,
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        NotImplementedError,
        OSError,
        zlib.error,
    ) as error:
        raise InputError(f"{member}: expected {expected}; received: {error}. Take the archive as published") from error
