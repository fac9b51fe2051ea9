"""The packed format: a folder per split, a `.npy` file per column, an `index.json` that says what is in them.

A column of equal shapes is one array `COLUMN.npy` (N, ...). A ragged column (boxes of an image, bytes of a file) is its
values end to end in `COLUMN.npy` and the N + 1 places where they start in `COLUMN.offsets.npy`. Both are mapped into
memory, so random access costs one page fault and opening costs nothing; NumPy alone reads them, and never by pickle.
Images may be stored as JPEG files, a ragged column that reads like the array that they decode to; those of a dataset without a size,
each of its own, like a list of them, and label maps then are PNG files.

Columns:
    ids: unicode (N,). inputs: uint8 (N, H, W, 3) RGB images, as they are or as JPEG files, or float32 (N, L, 1) signals.
    input_sizes: int32 (N, 2), height and width of the images, if they have any size.
    classification: labels int32 (N,).
    detection: boxes ragged float32 (n, 4), corners as fractions of the image; box_labels ragged int32; difficult ragged bool.
    segmentation: masks uint8 (N, H, W): 0 background, 1.. classes, 255 void.
    val and test also: sizes int32 (N, 2), original height and width; originals ragged uint8, the image's file;
    original_boxes ragged float64 (n, 4) in original pixels; crowd ragged bool, of sources that know crowds; original_masks
    ragged uint8, a PNG file.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnnkeras.jpeg import decode_jpeg
from cnnkeras.label_maps import decode_png
from pipeline.formats.columns import ColumnWriter, Ragged, ShardedColumnWriter, Shards, shard_file
from pipeline.runtime.errors import InputError
from pipeline.runtime.reading import read_object, reading

FORMAT = 1
INDEX = "index.json"
_IDS = "ids.txt"  # while a split is written

Encoded = tuple[str, Sequence[int | None]]  # a format of image files, and the shape of the images


class SplitWriter:
    """Writes one split, an example at a time.

    Columns are created by the first example: an array under `fixed` becomes one row of a column of equal shapes, an
    array (n, ...) under `ragged` may have another n in each example.

    Args:
        folder: Of the split; it must not exist, unless an earlier writer's work is continued.
        encoded: Of the ragged columns whose items are files of images: the columns' names, `jpeg` or `png` for their format, and the
            shape (H, W, 3) of all of the images, with None for a side that differs.
        saved: What `save` of that writer gave. Examples that it appended afterwards are cut off.

    Raises:
        OSError, EOFError: What was saved is not there.
    """

    def __init__(
        self, folder: Path, saved: Mapping[str, Any] | None = None, *, encoded: Mapping[str, Encoded] | None = None
    ):
        self._folder, self._encoded = folder, encoded or {}
        self._columns: dict[str, ShardedColumnWriter] = {}
        self._offsets: dict[str, ColumnWriter] = {}
        if saved is None:
            folder.mkdir(parents=True)
            self._ids = (folder / _IDS).open("wb")  # text: how wide an array has to be is known at the end
            return
        self._ids = (folder / _IDS).open("r+b")
        try:
            self._continue(saved)
        except BaseException:
            self.abandon()
            raise

    def _continue(self, saved: Mapping[str, Any]) -> None:
        if self._ids.seek(0, os.SEEK_END) < saved["ids_bytes"]:
            raise EOFError(f"{self._folder / _IDS}: expected {saved['ids_bytes']:,} bytes; received: fewer")
        self._ids.seek(saved["ids_bytes"])
        self._ids.truncate()
        for name, (dtype, item_shape, shards) in saved["columns"].items():
            path = self._folder / f"{name}.npy"
            self._columns[name] = ShardedColumnWriter(path, np.dtype(dtype), tuple(item_shape), saved=shards)
        for name, count in saved["offsets"].items():
            path = self._folder / f"{name}.offsets.npy"
            self._offsets[name] = ColumnWriter(path, np.dtype(np.int64), (), kept=count)

    def abandon(self) -> None:
        """Leave the files as they are."""
        self._ids.close()
        for column in (*self._columns.values(), *self._offsets.values()):
            column.abandon()

    def append(
        self, id: str, *, fixed: Mapping[str, np.ndarray], ragged: Mapping[str, np.ndarray] | None = None
    ) -> None:
        """Append one example."""
        self._ids.write(json.dumps(id).encode() + b"\n")
        for name, value in fixed.items():
            value = np.asarray(value)
            self._column(name, value.dtype, value.shape).append(value[None])
        for name, values in (ragged or {}).items():
            column = self._column(name, values.dtype, values.shape[1:])
            if name not in self._offsets:
                self._offsets[name] = ColumnWriter(self._folder / f"{name}.offsets.npy", np.dtype(np.int64), ())
                self._offsets[name].append(np.zeros(1, np.int64))
            column.append(values)
            self._offsets[name].append(np.array([column.count], np.int64))

    def _column(self, name: str, dtype: np.dtype, item_shape: tuple[int, ...]) -> ShardedColumnWriter:
        if name not in self._columns:
            self._columns[name] = ShardedColumnWriter(self._folder / f"{name}.npy", dtype, item_shape)
        return self._columns[name]

    def save(self) -> dict[str, Any]:
        """Write everything to the disk; returns what another writer needs to continue from here, as JSON can hold it."""
        self._ids.flush()
        os.fsync(self._ids.fileno())
        columns = {
            name: [column.dtype.str, list(column.item_shape), column.saved()] for name, column in self._columns.items()
        }
        for offsets in self._offsets.values():
            offsets.sync()
        counts = {name: offsets.count for name, offsets in self._offsets.items()}
        return {"ids_bytes": self._ids.tell(), "columns": columns, "offsets": counts}

    def close(self) -> dict[str, Any]:
        """Finish the split; returns its entry in the index: examples and columns."""
        columns = {name: writer.close() for name, writer in self._columns.items()}
        for name, offsets in self._offsets.items():
            offsets.close()
            columns[name]["ragged"] = True
        for name, (format, shape) in self._encoded.items():
            if name in columns:
                columns[name][format] = list(shape)
        self._ids.close()
        text = self._folder / _IDS
        ids = np.asarray([json.loads(line) for line in text.read_bytes().splitlines()], dtype=np.str_)
        text.unlink()
        np.save(self._folder / "ids.npy", ids)
        columns["ids"] = {
            "dtype": ids.dtype.str,
            "shape": list(ids.shape),
            "sha256": hashlib.sha256(ids.tobytes()).hexdigest(),
        }
        return {"examples": len(ids), "columns": dict(sorted(columns.items()))}


@dataclass(frozen=True)
class Index:
    """The content of `index.json`.

    Attributes:
        task: classification, detection or segmentation.
        classes: Class names in order, without background.
        shape: Of one input: (H, W, 3), (None, None, 3) if images have any size, or (L, 1).
        mean: Per channel, over the training split, in the input's own unit (0..255 for images).
        std: Per channel, over the training split.
        splits: Per split: examples, and each column's dtype, shape and sha256.
        dropped: What was left out, and how often.
        versions: Versions of the libraries that the bytes depend on.
    """

    task: str
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    splits: dict[str, Any]
    dropped: dict[str, int]
    versions: dict[str, str]

    def write(self, folder: Path) -> None:
        """Write `index.json`."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n"
        (folder / INDEX).write_text(text, encoding="utf-8")


def open_index(folder: Path) -> Index:
    """Read a packed dataset's index.

    Raises:
        InputError: There is none, it is damaged, or another format wrote it.
    """
    path = folder / INDEX
    if not path.is_file():
        raise InputError(
            f"expected a packed dataset at {path}; received: nothing. Run `cnnkeras augment {folder.name}`"
        )
    entry = read_object(path)
    if (received := entry.pop("format", None)) != FORMAT:
        raise InputError(
            f"{path}: expected format {FORMAT}; received: {received}. Run `cnnkeras augment {folder.name}` again"
        )
    with reading(path):
        for key in ("classes", "shape", "mean", "std"):
            entry[key] = tuple(entry[key])
        return Index(**entry)


class Images:
    """A column of JPEG files that reads like the array uint8 (N, H, W, 3): rows are decoded when they are asked for.

    Args:
        files: The files.
        shape: (H, W, 3) of every image; with None for the sides, if each has its own.
        where: The column's file, for messages.
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, files: Ragged, shape: Sequence[int | None], where: Path):
        self._files, self._where, self.shape = files, where, (len(files), *shape)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, rows: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        """One image (H, W, 3) in RGB, or several (n, H, W, 3).

        Raises:
            InputError: A file is damaged.
        """
        if isinstance(rows, int | np.integer):
            return self.read(rows)
        chosen = range(len(self))[rows] if isinstance(rows, slice) else rows
        found = np.empty((len(chosen), *self.shape[1:]), np.uint8)
        for place, row in enumerate(chosen):
            found[place] = self.read(row)
        return found

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        """All images."""
        return self[:] if dtype is None else self[:].astype(dtype, copy=bool(copy))

    def file(self, row: int) -> np.ndarray:
        """The file of a row, uint8 (n,)."""
        return self._files[row]

    def read(self, row: int, *, reduction: int = 1) -> np.ndarray:
        """One image (H, W, 3) in RGB, or the same at a half, a quarter or an eighth of its sides, rounded up, which is faster.

        Raises:
            InputError: The file is damaged.
        """
        image = decode_jpeg(self._files[row], reduction)
        expected = self.shape[1:] if image is None or self.shape[1] is not None else (*image.shape[:2], 3)
        if image is None or image.shape != expected:
            received = "none" if image is None else image.shape
            raise InputError(
                f"{self._where}: expected a JPEG file of shape {self.shape[1:]} in row {row}; received: {received}. "
                "Run augment again"
            )
        return image


class LabelMaps:
    """A column of PNG files of label maps that reads like a list of uint8 (H, W)."""

    def __init__(self, files: Ragged, where: Path):
        self._files, self._where = files, where

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, row: int) -> np.ndarray:
        """One label map.

        Raises:
            InputError: Its file is damaged.
        """
        try:
            return decode_png(np.asarray(self._files[row]).tobytes())
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self._where}: expected a PNG file in row {row}; received: {error}. Run augment again"
            ) from error


class Split:
    """One split of a packed dataset: `len(split)` examples; `split["boxes"]` is a column, an array or what reads like one."""

    def __init__(self, folder: Path, columns: Mapping[str, Any], examples: int):
        self._folder, self._columns, self._examples = folder, columns, examples

    def __len__(self) -> int:
        return self._examples

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> "np.ndarray | Shards | Ragged | Images | LabelMaps":
        entry = self._columns[name]
        shards = [[shard["items"], *entry["shape"][1:]] for shard in entry.get("shards", ())]
        arrays = [self._load(shard_file(Path(name), number).name, shape) for number, shape in enumerate(shards)]
        values = Shards(arrays) if arrays else self._load(name, entry["shape"])
        if not entry.get("ragged"):
            return values
        column = Ragged(values, self._load(f"{name}.offsets", [self._examples + 1]))
        if "jpeg" in entry:
            return Images(column, entry["jpeg"], self._folder / f"{name}.npy")
        return LabelMaps(column, self._folder / f"{name}.npy") if "png" in entry else column

    def _load(self, name: str, shape: list[int]) -> np.ndarray:
        path = self._folder / f"{name}.npy"
        try:
            # An empty file cannot be mapped.
            array = np.load(path, mmap_mode="r" if 0 not in shape else None, allow_pickle=False)
        except (OSError, EOFError, ValueError) as error:
            raise InputError(f"{path}: expected a whole .npy file; received: {error}. Run augment again") from error
        if list(array.shape) != shape:
            raise InputError(f"{path}: expected shape {shape}; received: {list(array.shape)}. Run augment again")
        return array


def split_files(folder: Path, *splits: str) -> list[Path]:
    """The files that opening these splits of the packed dataset in `folder` reads: inputs of a stage."""
    return [folder / INDEX, *(folder / split for split in splits)]


def open_split(folder: Path, split: str) -> Split:
    """Open one split ("train", "val" or "test") of the packed dataset in `folder`.

    Raises:
        InputError: The folder is no packed dataset, or (when a column is read) a column is not as its index says.
    """
    entry = open_index(folder).splits[split]
    return Split(folder / split, entry["columns"], entry["examples"])
