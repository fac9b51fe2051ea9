"""A table with an image and its class a row, as Kaggle has it, and the images beside it.

    train.csv     id,breed                             splits: {train: train.csv, val: 0.1, test: 0.1}
                  000bec180eb18c7604dcecc8fe0dba07,boston_bull
    train/000bec180eb18c7604dcecc8fe0dba07.jpg         images: train    image_column: id    label_column: breed

An image is named by its file, with or without its ending, or by a path whose end is below the folder of images.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from cnnkeras.by_name import unknown
from pipeline import sources
from pipeline.files import image_files, texts
from pipeline.files.published_archives import PublishedArchives, fetch_archives
from pipeline.files.splits import Splits
from pipeline.files.tables import Delimiter, Row, read_rows
from pipeline.runtime.errors import InputError

TASKS = ("classification",)
HAS_OBJECTS = False

Part = Annotated[str, Field(min_length=1), AfterValidator(texts.normal_path)]


def _distinct_classes(values: Mapping[str, str]) -> Mapping[str, str]:
    sources.distinct(tuple(values.values()))
    return values


class Source(PublishedArchives, sources.SourceEntry):
    """Entry of a `csv_labels` source.

    Attributes:
        root: Folder inside the archives that everything else is below; empty where that is the archive itself.
        images: Folder of the images, below the root.
        image_column: The column that names the images.
        label_column: The column that has their classes.
        labels: The values of that column, in the order of the classes; as a mapping, with the name of each class: `{0: healthy, 1: scab}`.
        delimiter: What is between two values.
        splits: Which table serves which split, its path below the root.
    """

    kind: Literal["csv_labels"]
    root: str = ""
    images: str = "."
    image_column: str
    label_column: str
    labels: sources.ClassNames | Annotated[dict[str, str], Field(min_length=1), AfterValidator(_distinct_classes)]
    delimiter: Delimiter = ","
    splits: Splits[Part]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in order."""
        return tuple(self.labels.values()) if isinstance(self.labels, dict) else self.labels


fetch = fetch_archives


def examples(source: Source, folder: Path, *, masks: bool, split: str) -> sources.Examples:  # noqa: ARG001 - there are none
    """Images of a split with their classes; an id is the image's path below the folder of images.

    Raises:
        InputError: A table is missing or none, an image is in two rows, or a class is not named.
    """
    archives, start = source.open(folder), image_files.below(source.root)
    member = start + source.splits.part(split)
    rows = read_rows(archives, member, (source.image_column, source.label_column), source.delimiter)
    below = start + image_files.below(source.images)
    paths = image_files.Paths(archives, below)
    labels = {value: label for label, value in enumerate(source.labels)}
    found: dict[str, tuple[Row, int]] = {}
    for row in rows:
        image, value = row.values
        if value not in labels:
            raise InputError(f"{row.where}: {unknown(value, labels, 'class')}. Name it under `labels`")
        name = paths.find(image) if image else None
        if (name or row.where) in found:
            raise InputError(
                f"{row.where}: expected each image in one row; received: {image!r} again, which {found[name][0].where} has"
            )
        found[name or row.where] = row, labels[value]
    names = list(found)
    names = [names[position] for position in source.splits.positions(split, len(names))]
    ids = image_files.ids(name.removeprefix(below) for name in names)

    def read(item: tuple[str, str]) -> sources.Example:
        id, name = item
        row, label = found[name]
        if name == row.where:
            raise InputError(
                f"{row.where}: expected an image in {below or './'}; received: {row.values[0]!r}{archives.note_on_names}"
            )
        return sources.Example(id=id, image=archives[name], label=label)

    return sources.Examples(list(zip(ids, names, strict=True)), read)
