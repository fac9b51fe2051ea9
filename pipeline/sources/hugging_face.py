"""A Hugging Face data set, as `save_to_disk` writes it: Arrow files with the images inside.

    ROOT/dataset_dict.json  ROOT/train/data-00000-of-00002.arrow  ROOT/train/state.json  ROOT/train/dataset_info.json   splits: {train: train, val: validation, ...}
    ROOT/data-00000-of-00001.arrow  ROOT/state.json  ROOT/dataset_info.json                                             splits: {train: ., val: 0.1, test: 0.1}

    image, label                                   label_column: label
    image, objects: {bbox, category}               objects_column: objects

Labels are called as their `ClassLabel` does, or else as they are. An image's name, for `only` and `groups`, is the path that it had, or its position. The files
are read by pyarrow, which MLflow has with it; the package `datasets` is not needed. A split's files are held in memory while it is packed, and a file has
at most 512 MiB, as `save_to_disk` makes them by default.

Source: huggingface.co/docs/datasets, "Process: Save" and "About Arrow"; files of datasets 5.2.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from pipeline import sources
from pipeline.files import image_files, texts
from pipeline.files.archives import Archives
from pipeline.files.classes import Classes, Classified, Listed, in_order
from pipeline.files.published_archives import PublishedArchives, fetch_archives
from pipeline.files.splits import Splits
from pipeline.files.tables import GroupColumn, refuse_two_groups
from pipeline.images import reading
from pipeline.runtime.errors import InputError
from pipeline.sources.csv_boxes import BoxFormat, corners, inside

TASKS = ("classification", "detection")
STATE, INFO = "state.json", "dataset_info.json"

Part = Annotated[str, Field(min_length=1), AfterValidator(texts.normal_path)]


class Source(PublishedArchives, Classified, sources.SourceEntry):
    """Entry of a `hugging_face` source.

    Attributes:
        root: Folder inside the archives that everything else is below; empty where that is the archive itself.
        image_column: The column that has the images.
        label_column: The column that has their classes, for classification.
        objects_column: The column that has their objects, for detection: boxes and categories.
        box_key: What the boxes are called there.
        category_key: What the categories are called there.
        box_format: What the four numbers of a box are: `corner_and_size` x0, y0, width, height, as COCO; `corners`; `centre_and_size`. In pixels.
        classes: Names of the classes, as the data have them, in order; as a mapping, with names of our own; or `all`.
        group_column: The column that says which images belong together, such as those of a patient: a group's images are drawn together.
        splits: Which folder below the root serves which split; `.` is the root itself.
    """

    kind: Literal["hugging_face"]
    root: str = ""
    image_column: str = "image"
    label_column: str | None = None
    objects_column: str | None = None
    box_key: str = "bbox"
    category_key: str = "category"
    box_format: BoxFormat = "corner_and_size"
    classes: Listed
    group_column: GroupColumn = None
    splits: Splits[Part]

    @model_validator(mode="after")
    def _has_labels_or_objects(self) -> "Source":
        if (self.label_column is None) == (self.objects_column is None):
            received = "neither" if self.label_column is None else "both"
            raise ValueError(f"expected the key label_column, or objects_column; received: {received}")
        return refuse_two_groups(self)


fetch = fetch_archives


@dataclass(frozen=True)
class Table:
    """The rows of a part.

    Attributes:
        where: Names it in messages.
        rows: pyarrow's table of the columns that the entry names.
        features: What dataset_info.json says of each column.
    """

    where: str
    rows: Any
    features: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.rows)

    def value(self, column: str, position: int) -> Any:
        """A value, as Python has it."""
        return self.rows.column(column)[position].as_py()

    def names(self, column: str, *keys: str) -> list[str]:
        """Names of a ClassLabel in a column, at some keys inside; none where it is no such."""
        feature = self.features.get(column)
        for key in keys:
            feature = items(feature)
            feature = feature.get(key) if isinstance(feature, dict) else None
        feature = items(feature)
        names = feature.get("names") if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None
        return [texts.composed(str(name)) for name in names] if isinstance(names, list) else []

    @cached_property
    def paths(self) -> list[str]:
        """A name for each row, by the path that its image had; its position where that is none, or another's too."""
        column = self.rows.column(self.rows.column_names[0])
        paths = [
            texts.normal_path((column[number]["path"].as_py() if column[number].is_valid else None) or "")
            for number in range(len(self))
        ]
        is_own = len(set(paths)) == len(paths) and "" not in paths
        return [f"{self.where}{path if is_own else f'{number:07d}.image'}" for number, path in enumerate(paths)]


def items(feature: Any) -> Any:
    """What a list's feature is of: `{"feature": ..., "_type": "List"}`, or `[...]` as older versions write it."""
    while True:
        if isinstance(feature, list) and len(feature) == 1:
            feature = feature[0]
        elif isinstance(feature, dict) and feature.get("_type") in ("List", "LargeList", "Sequence"):
            feature = feature.get("feature")
        else:
            return feature


def examples(source: Source, folder: Path, *, masks: bool, split: str) -> sources.Examples:  # noqa: ARG001 - there are none
    """Images of a split with their classes or boxes.

    Raises:
        InputError: A folder holds no data set, a column is not there, or a class is not listed.
    """
    archives, part, classes = source.open(folder), source.splits.part(split), source.table(folder)
    table, indices = read_table(archives, source, part), classes.indices()
    labels = [_labels(table, source, position) for position in range(len(table))]
    listed, others = range(len(table)), []
    if source.label_column is not None:
        listed = [position for position in range(len(table)) if labels[position][0] in indices]
        others = [path for path, own in zip(table.paths, labels, strict=True) if own[0] not in indices]
        if others and not classes.drops_others:
            first = next(own[0] for own in labels if own[0] not in indices)
            raise classes.refused(first, f"{table.where}{source.label_column}")
    names = [table.paths[position] for position in listed]
    chosen = source.splits.chosen(
        split,
        names,
        archives=archives,
        root=source.root,
        labels=lambda number: [indices[label] for label in labels[listed[number]] if label in indices],
        groups=[str(table.value(source.group_column, position)) for position in listed]
        if source.group_column
        else None,
    )
    ids = image_files.ids(names[number][len(image_files.below(source.root)) :] for number in chosen)
    reader = _Reader(table, source, classes, labels)
    return sources.Examples(
        [(id, listed[number]) for id, number in zip(ids, chosen, strict=True)], reader.read, others=others
    )


def labels_in(source: Source, folder: Path) -> dict[str, str]:
    """The labels of the training part: in the order of their ClassLabel, or of the alphabet."""
    return labels_of(read_table(source.open(folder), source, source.splits.train), source)


def labels_of(table: Table, source: Source) -> dict[str, str]:
    """The labels of a table, each with the name of its class, which is itself."""
    found = {label for position in range(len(table)) for label in _labels(table, source, position)}
    names = _names(table, source)
    return {name: name for name in names if name in found} if names else in_order(found)


def read_table(archives: Archives, source: Source, part: str) -> Table:
    """The rows of a part, of the columns that the entry names, the images' first.

    Raises:
        InputError: It is no data set that `save_to_disk` wrote, or lacks a column.
    """
    import pyarrow as pa  # 0.2 s, and every command reads entries

    start = image_files.below(source.root) + image_files.below(part)
    state, info = (read_json(archives, start + name) for name in (STATE, INFO))
    names = [
        source.image_column,
        *(name for name in (source.label_column, source.objects_column, source.group_column) if name),
    ]
    tables = []
    for member in _files(state, start):
        try:
            rows = pa.ipc.open_stream(archives[member]).read_all()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            raise InputError(f"{member}: expected an Arrow stream of `save_to_disk`; received: {error}") from error
        for name in names:
            if name not in rows.column_names:
                raise InputError(f"{member}: expected a column {name!r}; received: {', '.join(rows.column_names)}")
        tables.append(rows.select(list(dict.fromkeys(names))).replace_schema_metadata(None))
    column = tables[0].schema.field(source.image_column).type
    if not pa.types.is_struct(column) or {"bytes", "path"} - {field.name for field in column}:
        raise InputError(f"{start}: expected images in the column {source.image_column!r}; received: {column}")
    label = source.label_column and tables[0].schema.field(source.label_column).type
    if label and not any(
        is_kind(label)
        for is_kind in (pa.types.is_integer, pa.types.is_boolean, pa.types.is_string, pa.types.is_large_string)
    ):
        raise InputError(
            f"{start}: expected texts or whole numbers in the column {source.label_column!r}; received: {label}"
        )
    try:
        rows = pa.concat_tables(tables)
    except pa.ArrowInvalid as error:
        raise InputError(f"{start}: expected files with equal columns; received: {error}") from error
    features = info.get("features")
    return Table(start, rows, features if isinstance(features, dict) else {})


def read_json(archives: Archives, member: str) -> dict[str, Any]:
    """The keys of a JSON file beside the Arrow files.

    Raises:
        InputError: It is missing, or none.
    """
    if member not in archives:
        raise InputError(
            f"expected {member}, as `save_to_disk` writes it; received: none of that name{archives.note_on_names}"
        )
    try:
        found = json.loads(texts.decode(archives[member], member))
    except (ValueError, RecursionError) as error:
        raise (
            error if isinstance(error, InputError) else InputError(f"{member}: expected JSON; received: {error}")
        ) from error
    return found if isinstance(found, dict) else {}


def _files(state: Mapping[str, Any], start: str) -> Iterator[str]:
    files = state.get("_data_files")
    names = [each.get("filename") for each in files if isinstance(each, dict)] if isinstance(files, list) else []
    if not names or not all(isinstance(name, str) and name for name in names):
        raise InputError(f"{start}{STATE}: expected `_data_files`; received: {str(files)[:80]}")
    return (start + PurePosixPath(texts.normal_path(name)).name for name in names)


def _names(table: Table, source: Source) -> list[str]:
    if source.label_column is not None:
        return table.names(source.label_column)
    return table.names(source.objects_column, source.category_key)


def _labels(table: Table, source: Source, position: int) -> list[str]:
    """The labels of a row: its own, or those of its objects."""
    names = _names(table, source)
    if source.label_column is not None:
        return [_called(table.value(source.label_column, position), names)]
    return [_called(category, names) for _, category in _objects(table, source, position)]


def _called(value: Any, names: list[str]) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names):
        return names[value]
    return texts.composed(str(value).strip())


def _objects(table: Table, source: Source, position: int) -> list[tuple[Any, Any]]:
    """Box and category of each object of a row: of lists beside each other, or of a list of objects."""
    value = table.value(source.objects_column, position)
    keys = source.box_key, source.category_key
    if isinstance(value, list) and all(isinstance(each, dict) and all(key in each for key in keys) for each in value):
        return [(each[keys[0]], each[keys[1]]) for each in value]
    if isinstance(value, dict) and all(isinstance(value.get(key), list) for key in keys):
        boxes, categories = (value[key] for key in keys)
        if len(boxes) == len(categories):
            return list(zip(boxes, categories, strict=True))
    if value is None:
        return []
    raise InputError(
        f"{table.where}{source.objects_column}, row {position + 1}: expected objects with {' and '.join(keys)}; received: {str(value)[:80]}"
    )


@dataclass(frozen=True)
class _Reader:
    """Reads rows.

    Attributes:
        table: The rows.
        source: The entry.
        classes: Which class a label is.
        labels: Of each row.
    """

    table: Table
    source: Source
    classes: Classes
    labels: list[list[str]]

    def read(self, item: tuple[str, int]) -> sources.Example:
        """The example of an id and a position.

        Raises:
            InputError: The image is not in the file, or none, or a box is none.
        """
        id, position = item
        where = f"{self.table.where}row {position + 1}"
        image = (self.table.value(self.source.image_column, position) or {}).get("bytes")
        if not image:
            raise InputError(
                f"{where}: expected the image's bytes; received: none. Load it in `datasets`, and save it again"
            )
        indices = self.classes.indices()
        if self.source.label_column is not None:
            return sources.Example(id=id, image=image, label=indices[self.labels[position][0]])
        objects = []
        for (box, _), label in zip(_objects(self.table, self.source, position), self.labels[position], strict=True):
            if label not in indices and not self.classes.drops_others:
                raise self.classes.refused(label, where)
            is_box = (
                isinstance(box, list)
                and len(box) == 4
                and all(isinstance(each, int | float) and np.isfinite(each) for each in box)
            )
            if not is_box:
                raise InputError(f"{where}: expected four numbers of a box; received: {str(box)[:80]}")
            objects.append((corners(tuple(map(float, box)), self.source.box_format), indices.get(label)))
        sources.refuse_fractions(np.array([box for box, _ in objects], np.float64).reshape(-1, 4), where)
        return inside(id, image, objects, reading.size(id, image))
