"""A table with an image and its class a row, as Kaggle has it, and the images beside it.

    train.csv     id,breed                             splits: {train: train.csv, val: 0.1, test: 0.1}
                  000bec180eb18c7604dcecc8fe0dba07,boston_bull
    train/000bec180eb18c7604dcecc8fe0dba07.jpg         images: train    image_column: id    label_column: breed

An image is named by its file, with or without its ending, or by a path whose end is below the folder of images.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from pipeline import sources
from pipeline.files import image_files, texts
from pipeline.files.archives import Archives
from pipeline.files.classes import Classified, Listed, in_order
from pipeline.files.published_archives import PublishedArchives, fetch_archives
from pipeline.files.splits import Splits
from pipeline.files.tables import Delimiter, GroupColumn, Row, read_rows, refuse_two_groups
from pipeline.runtime.errors import InputError

TASKS = ("classification",)
HAS_OBJECTS = False

Part = Annotated[str, Field(min_length=1), AfterValidator(texts.normal_path)]


class Source(PublishedArchives, Classified, sources.SourceEntry):
    """Entry of a `csv_labels` source.

    Attributes:
        root: Folder inside the archives that everything else is below; empty where that is the archive itself.
        images: Folder of the images, below the root.
        image_column: The column that names the images.
        label_column: The column that has their classes.
        labels: The values of that column, in the order of the classes; as a mapping, with the name of each class: `{0: healthy, 1: scab}`; or `all`.
        group_column: The column that says which images belong together, such as those of a patient: a group's images are drawn together.
        delimiter: What is between two values.
        splits: Which table serves which split, its path below the root.
    """

    CLASSES = "labels"

    kind: Literal["csv_labels"]
    root: str = ""
    images: str = "."
    image_column: str
    label_column: str
    labels: Listed
    group_column: GroupColumn = None
    delimiter: Delimiter = ","
    splits: Splits[Part]

    @model_validator(mode="after")
    def _says_groups_once(self) -> "Source":
        return refuse_two_groups(self)


fetch = fetch_archives


def examples(source: Source, folder: Path, *, masks: bool, split: str) -> sources.Examples:  # noqa: ARG001 - there are none
    """Images of a split with their classes; an id is the image's path below the folder of images.

    Raises:
        InputError: A table is missing or none, an image is in two rows, or a class is not named.
    """
    archives, start = source.open(folder), image_files.below(source.root)
    rows = _rows(source, archives, source.splits.part(split))
    below = start + image_files.below(source.images)
    paths = image_files.Paths(archives, below)
    classes = source.table(folder)
    labels, others = classes.indices(), []
    found: dict[str, tuple[Row, int]] = {}
    for row in rows:
        image, value = row.values[:2]
        if value not in labels and not classes.drops_others:
            raise classes.refused(value, row.where)
        if value not in labels:
            others.append(row.where)
            continue
        name = paths.find(image) if image else None
        if (name or row.where) in found:
            raise InputError(
                f"{row.where}: expected each image in one row; received: {image!r} again, which {found[name][0].where} has"
            )
        found[name or row.where] = row, labels[value]
    names = list(found)
    positions = source.splits.chosen(
        split,
        names,
        archives=archives,
        root=source.root,
        labels=lambda position: [found[names[position]][1]],
        groups=[row.values[2] for row, _ in found.values()] if source.group_column else None,
    )
    names = [names[position] for position in positions]
    ids = image_files.ids(name.removeprefix(below) for name in names)

    def read(item: tuple[str, str]) -> sources.Example:
        id, name = item
        row, label = found[name]
        if name == row.where:
            raise InputError(
                f"{row.where}: expected an image in {below or './'}; received: {row.values[0]!r}{archives.note_on_names}"
            )
        return sources.Example(id=id, image=archives[name], label=label)

    return sources.Examples(list(zip(ids, names, strict=True)), read, others=others)


def labels_in(source: Source, folder: Path) -> dict[str, str]:
    """The values in the column of classes of the training table."""
    return in_order(row.values[1] for row in _rows(source, source.open(folder), source.splits.train))


def _rows(source: Source, archives: Archives, part: str) -> list[Row]:
    member = image_files.below(source.root) + part
    columns = (source.image_column, source.label_column, *([source.group_column] if source.group_column else []))
    return read_rows(archives, member, columns, source.delimiter)
