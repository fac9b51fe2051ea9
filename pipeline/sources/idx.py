"""Images in the idx format of MNIST and its family (Fashion-MNIST, EMNIST, KMNIST), plain or gzipped.

Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits", section "File formats": big-endian; two
zero bytes, a byte for the type (8 = unsigned byte), a byte for the number of dimensions, a 32-bit length for each, then
the values.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from pipeline import sources
from pipeline.files.classes import Classified, Listed, in_order
from pipeline.files.published import PublishedFile
from pipeline.files.splits import Splits
from pipeline.runtime.entries import Entry
from pipeline.runtime.errors import InputError

TASKS = ("classification",)
HAS_OBJECTS = False
UNSIGNED_BYTE = 0x08
_MAX_RATIO = 1100  # gzip makes at most 1,032 bytes of one

Part = Literal["train", "test"]


class Files(Entry):
    """The four files of a data set."""

    train_images: PublishedFile
    train_labels: PublishedFile
    test_images: PublishedFile
    test_labels: PublishedFile


class Source(Classified, sources.SourceEntry):
    """Entry of an `idx` source.

    Attributes:
        files: The four files.
        classes: Class names, in the order of the labels, or by label: `{1: A, 2: B}`.
        splits: Which of the two published parts, `train` and `test`, serves which split.
    """

    NUMBERED = True

    kind: Literal["idx"]
    files: Files
    classes: Listed
    splits: Splits[Part] = Splits[Part](train="train", val=0.1, test="test")


def fetch(source: Source, folder: Path, *, mirrors: Sequence[str]) -> None:
    """Fetch the files, as published."""
    from pipeline.files.fetch import fetch_files  # the libraries of the network take 0.1 s

    files = source.files
    fetch_files((files.train_images, files.train_labels, files.test_images, files.test_labels), folder, mirrors=mirrors)


def examples(source: Source, folder: Path, *, masks: bool, split: str) -> sources.Examples:  # noqa: ARG001 - there are none
    """Images of a split, the grey ones as RGB; ids are the published part and the position in it.

    Raises:
        InputError: A file is not in the idx format, the files do not belong together, or a label has no class.
    """
    part = source.splits.part(split)
    images_file, labels_file = _files(source, folder, part)
    images, labels = read_idx(images_file, dimensions=3), read_idx(labels_file, dimensions=1)
    if len(images) != len(labels):
        raise InputError(f"{labels_file}: expected {len(images):,} labels, one an image; received: {len(labels):,}")
    labels = sources.numbered_labels(labels, source.table(folder), str(labels_file))
    listed, others = np.flatnonzero(labels >= 0), np.flatnonzero(labels < 0)
    names = [_id(part, position) for position in listed]
    chosen = listed[source.splits.chosen(split, names, labels=lambda number: [labels[listed[number]]])]
    return sources.Examples(
        chosen, partial(_read, images, labels, part), others=[_id(part, position) for position in others]
    )


def labels_in(source: Source, folder: Path) -> dict[str, str]:
    """The labels of the training part."""
    return in_order(map(str, np.unique(read_idx(_files(source, folder, source.splits.train)[1], dimensions=1))))


def _files(source: Source, folder: Path, part: str) -> tuple[Path, ...]:
    """The images and the labels of a part."""
    return tuple(folder / getattr(source.files, f"{part}_{what}").name for what in ("images", "labels"))


def _id(part: str, position: int) -> str:
    return f"{part}_{position:06d}"


def _read(images: np.ndarray, labels: np.ndarray, part: str, position: int) -> sources.Example:
    return sources.Example(
        id=_id(part, position),
        image=np.repeat(images[position][..., None], 3, axis=2),
        label=int(labels[position]),
    )


def read_idx(path: Path, *, dimensions: int) -> np.ndarray:
    """The unsigned bytes of an idx file, gzipped or not, as an array of that many dimensions.

    No more is decompressed than the header says, and no more than a file of that size can hold.

    Raises:
        InputError: The file is missing, cut off, too long or another format.
    """
    start = 4 + 4 * dimensions
    try:
        with _opened(path) as stream:
            head = stream.read(start)
            if len(head) < start or head[:4] != bytes([0, 0, UNSIGNED_BYTE, dimensions]):
                raise InputError(
                    f"{path}: expected an idx file of bytes in {dimensions} dimensions; "
                    f"received: it starts with {head[:4].hex()}"
                )
            shape = struct.unpack(f">{dimensions}I", head[4:])
            size, possible = math.prod(shape), _MAX_RATIO * path.stat().st_size
            data = stream.read(min(size, possible) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{path}: expected an idx file, plain or gzipped; received: {error}. "
            "If it is missing or cut off, run `cnnkeras download` of its source again"
        ) from error
    if len(data) != size:
        received = f"{len(data):,}" if len(data) <= min(size, possible) else "more"
        raise InputError(
            f"{path}: expected {' x '.join(map(str, shape))} bytes, as its header says; received: {received}"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)


def _opened(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        is_gzipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if is_gzipped else path.open("rb")
