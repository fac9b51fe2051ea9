"""Tables among the data: which column names images, which tables serve which split."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pipeline.commands.inspect.data import Data, folder_of, parts_of, splits
from pipeline.files import texts
from pipeline.files.tables import header
from pipeline.runtime.errors import InputError

LABELS = ("label", "labels", "class", "class_name", "category", "target", "name", "species", "breed", "diagnosis")
_DELIMITERS = ",;\t"
_LOOKED_AT, _ENOUGH = 50, 0.9  # rows, and the part of them whose image has to be there


@dataclass(frozen=True)
class Table:
    """A table that names images.

    Attributes:
        member: Its name.
        delimiter: What is between two values.
        columns: The columns' names.
        rows: Its rows; those of another length are left to the reader.
        image_column: The column that names images.
        folder: The folder that these names are below.
    """

    member: str
    delimiter: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    image_column: str
    folder: str

    def values(self, column: str) -> list[str]:
        """The values of a column."""
        position = self.columns.index(column)
        return [texts.composed(row[position].strip()) for row in self.rows]

    def named(self, names: Sequence[str]) -> str | None:
        """The column that has one of some names, in small letters; the first of these that there is."""
        found = {column.lower(): column for column in reversed(self.columns)}
        return next((found[name] for name in names if name in found), None)


def tables(data: Data) -> list[Table]:
    """The tables that name images."""
    by_name: dict[str, str] = {}
    for image in data.images:
        file = PurePosixPath(image).name
        by_name |= {file: image, file.rpartition(".")[0]: image}
    return [found for name in data.ending(".csv", ".tsv") if (found := _table(data, name, by_name))]


def _table(data: Data, name: str, by_name: dict[str, str]) -> Table | None:
    content = data.archives[name]
    try:
        delimiter = max(_DELIMITERS, key=lambda each: len(header(content, name, each)))
        columns = header(content, name, delimiter)
        reader = csv.reader(io.StringIO(texts.decode(content, name), newline=""), delimiter=delimiter)
        next(reader)
        rows = [row for row in reader if len(row) == len(columns)]
    except (InputError, csv.Error):
        return None
    for position, column in enumerate(columns):
        values = [row[position].strip() for row in rows[:: max(1, len(rows) // _LOOKED_AT)]]
        images = [(value, by_name.get(PurePosixPath(texts.normal_path(value)).name)) for value in values]
        found = [(value, image) for value, image in images if image]
        if found and len(found) >= _ENOUGH * len(images):
            folder = Counter(_above(value, image) for value, image in found).most_common(1)[0][0]
            return Table(name, delimiter, columns, rows, column, folder)
    return None


def _above(value: str, image: str) -> str:
    """The folder that the path of a value is below: as much of the image's own path as the value does not say."""
    said, own = PurePosixPath(texts.normal_path(value)).parts[:-1], PurePosixPath(folder_of(image)).parts
    count = next((n for n in range(min(len(said), len(own)), 0, -1) if said[-n:] == own[-n:]), 0)
    return "/".join(own[: len(own) - count])


def of_splits(found: Sequence[Table]) -> dict[str, Table]:
    """Tables by split; the largest one to train on where no name says it."""
    parts = parts_of(table.member for table in found)
    if "train" not in parts:
        return {"train": max(found, key=lambda table: len(table.rows))}
    return {split: next(table for table in found if table.member == name) for split, name in parts.items()}


def keys(parts: dict[str, Table]) -> Iterator[tuple[str, Any]]:
    """The keys of an entry that all kinds of tables have."""
    train = parts["train"]
    if train.folder:
        yield "images", train.folder
    yield "image_column", train.image_column
    if train.delimiter != ",":
        yield "delimiter", train.delimiter
    yield "splits", splits({split: table.member for split, table in parts.items()})
