"""Image files among the members of archives: which members they are, the members that lists mean, and ids for them."""

import functools
import io
import itertools
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any, TypeVar

from cnnkeras.images import endings
from pipeline.files import texts
from pipeline.files.archives import Archives
from pipeline.runtime.errors import InputError

Found = TypeVar("Found")

# What systems and tools leave behind without hiding it, in small letters.
_REMAINS = frozenset(
    [
        *("__macosx", "icon\r", "network trash folder", "thevolumesettingsfolder", "temporary items"),  # macOS
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini"),  # Windows
        *("$recycle.bin", "recycler", "recycled", "system volume information", "_vti_cnf"),
        *("@eadir", "@tmp", "#recycle", "#snapshot", "@recycle", "@recently-snapshot"),  # Synology, QNAP
        *("lost+found", "lost.dir", "found.000", "~snapshot", "cvs", "__pycache__"),
    ]
)
_UNSAFE = re.compile(r"[^\w.\- ]")


def below(root: str) -> str:
    """Beginning of the names of all members in a folder of an archive; empty for the archive itself."""
    root = texts.normal_path(root).strip("/")
    return f"{root}/" if root not in ("", ".") else ""


def images(archives: Archives, folder: str, *, also: tuple[str, ...] = ()) -> list[str]:
    """Names of the images anywhere in a folder of the archives, and of files with another ending of `also`, in alphabetical order.

    They are what `cnnkeras.images` reads, by their endings. What is hidden, and what systems and tools leave behind, is none: a Mac adds
    a hidden file for each image that it packs, Jupyter a folder of copies, a Synology one of thumbnails.

    Raises:
        InputError: There are none.
    """
    beginning = below(folder)
    names = sorted(name for name in _visible(archives, folder) if is_image(name) or name.lower().endswith(also))
    if not names:
        some = sorted({"/".join(PurePosixPath(name).parts[: beginning.count("/") + 1]) for name in archives})[:12]
        raise InputError(
            f"expected images in a folder {beginning or './'} of the archive; "
            f"received: none, but {', '.join(some) or 'an empty archive'}{archives.note_on_names}"
        )
    return names


def left_out(archives: Archives, folder: str) -> list[str]:
    """Names of the files anywhere in a folder of the archives that are no images, without what is hidden or left behind."""
    return [name for name in _visible(archives, folder) if not is_image(name)]


def count_endings(names: Iterable[str]) -> dict[str, int]:
    """How many files there are of each ending, in small letters; `no ending` is one too."""
    return dict(sorted(Counter(PurePosixPath(name).suffix.lower() or "no ending" for name in names).items()))


def by_ending(names: Iterable[str]) -> str:
    """The same as words: `5 .heic, 1 .txt`."""
    return ", ".join(f"{count:,} {ending}" for ending, count in count_endings(names).items())


def is_image(name: str) -> bool:
    """Whether a file is an image that can be read here, by the ending of its name."""
    return PurePosixPath(name).suffix.lower() in endings()


def is_visible(name: str) -> bool:
    """Whether a path has no part that is hidden or that a system or a tool left behind."""
    return not any(part.startswith(".") or part.lower() in _REMAINS for part in PurePosixPath(name).parts)


def _visible(archives: Archives, folder: str) -> Iterator[str]:
    """Names of the files in a folder; the folder itself may be hidden: somebody has named it."""
    beginning = below(folder)
    names = itertools.chain(archives, archives.refused)  # a link is noticed when it is read
    return (name for name in names if name.startswith(beginning) and is_visible(name[len(beginning) :]))


def by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    """Files by their names without the ending: several of one name are several images, or label maps, of one id."""
    files = defaultdict(list)
    for name in names:
        files[str(PurePosixPath(name).with_suffix(""))].append(name)
    return dict(files)


def read_lines(archives: Archives, member: str) -> list[str]:
    """The lines of a list that are not empty; `columns` and `Paths` read what is in them.

    Raises:
        InputError: There is no such list, nothing in it, or it is no text.
    """
    member = texts.normal_path(member)
    lines = texts.lines(archives[member], member)
    if not lines:
        raise InputError(f"{member}: expected an image a line; received: an empty list")
    return lines


def columns(line: str) -> Iterator[tuple[str, str]]:
    """Each way to read a line as two columns, the longest first one first: paths may hold spaces.

    A line that has a tab is divided at tabs alone.
    """
    for space in reversed(list(re.finditer(r"\s*\t\s*" if "\t" in line else r"\s+", line))):
        yield line[: space.start()], line[space.end() :]


class Paths:
    """The members that the paths of lists mean.

    Args:
        archives: Hold the members.
        root: Folder inside the archives that the paths are below.
    """

    def __init__(self, archives: Archives, root: str):
        self._archives, self._root = archives, below(root)

    def find(self, path: str) -> str | None:
        r"""Name of the member that a list means by a path: the longest end of it that is there.

        Lists name files as they lay on their author's disk: `/SegNet/CamVid/train/a.png` is `train/a.png` below CamVid, and
        `train\a.png` by Windows. The folder may be an archive in the archive: ImageNet's `n01440764/a.JPEG` is published as
        `n01440764.tar/a.JPEG`. An image's ending may be left out, as Food-101 does.
        """
        parts = PurePosixPath(texts.normal_path(path)).parts
        names = [name for start in range(len(parts)) for name in self._names(parts[start:])]
        found = next((name for name in names if name in self._archives), None)
        return found or next((self._images[name] for name in names if name in self._images), None)

    def _names(self, parts: tuple[str, ...]) -> list[str]:
        *folders, file = parts
        folder = "/".join(folders)
        return [f"{self._root}{start}{file}" for start in ((f"{folder}/", f"{folder}.tar/") if folders else ("",))]

    @functools.cached_property
    def _images(self) -> dict[str, str]:
        """The images below the root by their names without endings, of those that are one image's."""
        stems = by_stem(name for name in _visible(self._archives, self._root) if is_image(name))
        return {stem: names[0] for stem, names in stems.items() if len(names) == 1}


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
        OverflowError,
        MemoryError,
        zlib.error,
    ) as error:
        raise InputError(f"{member}: expected {expected}; received: {error}. Take the archive as published") from error
