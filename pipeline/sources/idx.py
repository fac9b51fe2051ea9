"""Images in the idx format of MNIST and its family (Fashion-MNIST, EMNIST, KMNIST), plain or gzipped.

Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits", section "File formats": big-endian; two
zero bytes, a byte for the type (8 = unsigned byte), a byte for the number of dimensions, a 32-bit length for each, then
the values.
"""

import gzip
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from pipeline import sources
from pipeline.files.fetch import PublishedFile, fetch_files
from pipeline.files.splits import Share, deal
from pipeline.runtime.entries import Entry, Seed
from pipeline.runtime.errors import InputError

TASKS = ("classification",)
UNSIGNED_BYTE = 0x08


class Files(Entry):
    """The four files of a data set."""

    train_images: PublishedFile
    train_labels: PublishedFile
    test_images: PublishedFile
    test_labels: PublishedFile


class Source(sources.SourceEntry):
    """Entry of an `idx` source.

    Attributes:
        files: The four files.
        classes: Class names, in the order of the labels.
        validation_share: Share of the training images, drawn by `validation_seed`, that serve as validation split.
        validation_seed: Draws the share.
    """

    kind: Literal["idx"]
    files: Files
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    validation_share: Share = 0.1
    validation_seed: Seed = 0


def fetch(source: Source, folder: Path, *, mirrors: Sequence[str]) -> None:
    """Fetch the files, as published."""
    files = source.files
    fetch_files((files.train_images, files.train_labels, files.test_images, files.test_labels), folder, mirrors=mirrors)


def examples(source: Source, folder: Path, *, task: str, split: str) -> "Images":  # noqa: ARG001 - there is one task
    """Images of a split.

    Raises:
        InputError: A file is not in the idx format, the files do not belong together, or a label has no class.
    """
    part = "test" if split == "test" else "train"
    images_file, labels_file = (folder / getattr(source.files, f"{part}_{what}").name for what in ("images", "labels"))
    images, labels = read_idx(images_file, dimensions=3), read_idx(labels_file, dimensions=1)
    if len(images) != len(labels):
        raise InputError(f"{labels_file}: expected {len(images):,} labels, one an image; received: {len(labels):,}")
    if len(labels) and labels.max() >= len(source.classes):
        raise InputError(
            f"{labels_file}: expected labels below {len(source.classes)}, the number of classes; "
            f"received: {labels.max()}"
        )
    if split == "test":
        return Images(images, labels, part, np.arange(len(images)))
    dealt = deal(len(images), {"val": source.validation_share}, source.validation_seed)
    return Images(images, labels, part, dealt[split])


def read_idx(path: Path, *, dimensions: int) -> np.ndarray:
    """The unsigned bytes of an idx file, gzipped or not, as an array of that many dimensions.

    Raises:
        InputError: The file is missing, cut off, too long or another format.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{path}: expected an idx file, plain or gzipped; received: {error}. "
            "If it is missing or cut off, run `cnnkeras download` of its source again"
        ) from error
    start = 4 + 4 * dimensions
    if len(data) < start or data[:4] != bytes([0, 0, UNSIGNED_BYTE, dimensions]):
        raise InputError(
            f"{path}: expected an idx file of bytes in {dimensions} dimensions; "
            f"received: it starts with {data[:4].hex()}"
        )
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    values = np.frombuffer(data, np.uint8, offset=start)
    if values.size != np.prod(shape, dtype=np.int64):
        raise InputError(
            f"{path}: expected {' x '.join(map(str, shape))} bytes, as its header says; received: {values.size:,}"
        )
    return values.reshape(shape)


class Images(Sequence[sources.Example]):
    """Some of a file's grey images, as RGB, with their labels; ids are the published part and the position in it."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, part: str, positions: np.ndarray):
        self._images, self._labels, self._part, self._positions = images, labels, part, positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int) -> sources.Example:
        """Image `index`."""
        position = int(self._positions[index])
        return sources.Example(
            id=f"{self._part}_{position:06d}",
            image=np.repeat(self._images[position][..., None], 3, axis=2),
            label=int(self._labels[position]),
        )
