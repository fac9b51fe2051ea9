"""What `cnnkeras show` looks at: the user's files, folders and patterns, or examples of the test split."""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.files.image_files import is_image, is_visible
from pipeline.formats.packed import open_index, open_split
from pipeline.images import reading
from pipeline.images.principal_components import evenly_spaced
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError

TEST_EXAMPLES = 12
_SIGNALS = (".npy", ".csv", ".txt")
_WILD = frozenset("*?[")


@dataclass(frozen=True)
class Given:
    """An image or a signal to look at.

    Attributes:
        name: The file as the user named it, or the id of an example of the test split.
        stem: Beginning of the names of the files that are written for it.
        values: uint8 RGB (H, W, 3), or float32 (length, 1).
        is_test: Whether it is of the test split.
    """

    name: str
    stem: str
    values: np.ndarray
    is_test: bool = False


def given(arguments: Sequence[str], *, dataset: str, size: Sequence[int]) -> list[Given]:
    """The images or signals that the user's arguments name, each once; without arguments test examples, evenly spaced.

    Args:
        arguments: Files, folders, and patterns such as `photos/*.jpg`; of a folder all images in it and below.
        dataset: Name of the dataset whose test split is taken.
        size: The dataset's size; of one number for signals.

    Raises:
        InputError: There is no such file, nothing fits a pattern, a folder has none, a file cannot be read, or the dataset is not packed.
    """
    if not arguments:
        return _of_test_split(dataset)
    files = dict.fromkeys(file for argument in arguments for file in _files(argument, is_signal=len(size) == 1))
    read = (lambda file: read_signal(file, size[0])) if len(size) == 1 else read_image
    return [Given(str(file), file.stem, read(file)) for file in files]


def _files(argument: str, *, is_signal: bool) -> Iterator[Path]:
    path = Path(argument)
    if path.is_dir():
        yield from _in_folder(path, is_signal=is_signal)
    elif path.exists() or not _WILD.intersection(argument):
        yield path
    else:
        matches = [
            Path(match)
            for match in sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        ]
        if not any(map(Path.is_file, matches)):
            raise InputError(
                f"expected files that fit {argument!r}; received: none. Give another pattern, a folder or files"
            )
        yield from filter(Path.is_file, matches)


def _in_folder(folder: Path, *, is_signal: bool) -> Iterator[Path]:
    """The images, or signals, in a folder and below, in alphabetical order, without what is hidden."""
    found = [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file()
        and is_visible(file.relative_to(folder).as_posix())
        and (file.suffix.lower() in _SIGNALS if is_signal else is_image(file.name))
    ]
    if not found:
        expected = f"{', '.join(_SIGNALS)} files" if is_signal else "images"
        raise InputError(f"{folder}: expected {expected} in this folder; received: none. Give another folder or files")
    yield from found


def _of_test_split(dataset: str) -> list[Given]:
    folder = paths.augmented(dataset)
    count = open_index(folder).splits["test"]["examples"]
    split = open_split(folder, "test")
    chosen = evenly_spaced(count, TEST_EXAMPLES)
    ids = [str(split["ids"][row]) for row in chosen]
    if "originals" in split:
        values = [reading.read_image(split["originals"][row], id) for row, id in zip(chosen, ids, strict=True)]
    else:
        values = [np.array(split["inputs"][row]) for row in chosen]
    return [Given(id, id.replace("/", "_"), value, is_test=True) for id, value in zip(ids, values, strict=True)]


def read_image(file: Path) -> np.ndarray:
    """An image file as uint8 RGB (H, W, 3), read as `augment` reads the images that the model was trained on.

    Raises:
        InputError: The file does not exist, is no image, or is damaged.
    """
    try:
        return reading.read_image(file.read_bytes(), str(file))
    except OSError as error:
        raise _not_readable(file, "a whole image", error) from error
    except InputError as error:
        raise InputError(f"{error}. Give another file") from error


def read_signal(file: Path, length: int) -> np.ndarray:
    """A signal, float32 (length, 1), from a .npy file, or from a text file of numbers separated by commas, spaces or lines.

    Raises:
        InputError: The file does not exist, does not hold numbers, or does not hold `length` finite ones.
    """
    try:
        if file.suffix == ".npy":
            values = np.load(file, allow_pickle=False)
        else:
            values = np.array(file.read_text(encoding="utf-8").replace(",", " ").split(), np.float32)
        signal = np.asarray(values, np.float32).reshape(-1, 1)
    except (OSError, ValueError, EOFError) as error:
        raise _not_readable(file, f"{length} numbers, as .npy or .csv", error) from error
    if len(signal) != length or not np.isfinite(signal).all():
        raise _not_readable(file, f"{length} finite numbers", f"{len(signal)}, {np.isfinite(signal).sum()} finite")
    return signal


def _not_readable(file: Path, expected: str, received: object) -> InputError:
    if isinstance(received, OSError) and received.strerror:
        received = received.strerror.lower()
    return InputError(f"{file}: expected {expected}; received: {received}. Give another file")
