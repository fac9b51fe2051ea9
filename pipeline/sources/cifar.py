"""CIFAR-10 and CIFAR-100 in their binary version: 50,000 + 10,000 images of 32 x 32.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009); www.cs.toronto.edu/~kriz/cifar.html,
section "Binary version": records of the label (CIFAR-100: the coarse one, then the fine one), then 1,024 bytes of red, of
green and of blue, row by row. The published archive is a .tar.gz; a .tar or .zip of the same members is read as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from cnnkeras.by_name import unknown
from pipeline import sources
from pipeline.files.archives import Archives
from pipeline.files.classes import ALL, Classes, Classified, Listed
from pipeline.files.published import PublishedFile
from pipeline.files.splits import Splits
from pipeline.runtime.errors import InputError

TASKS = ("classification",)
HAS_OBJECTS = False
SIDE = 32
PIXELS = 3 * SIDE * SIDE

Part = Literal["train", "test"]


@dataclass(frozen=True)
class Variant:
    """One data set.

    Attributes:
        train: Members of the training part.
        test: Members of the test part.
        label_bytes: Labels before each image.
        label: Which of them counts.
        classes: Names, in the order of the labels.
    """

    train: tuple[str, ...]
    test: tuple[str, ...]
    label_bytes: int
    label: int
    classes: tuple[str, ...]


_TEN = "airplane automobile bird cat deer dog frog horse ship truck"
_COARSE = """aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices household_furniture insects
    large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes large_omnivores_and_herbivores medium_mammals
    non-insect_invertebrates people reptiles small_mammals trees vehicles_1 vehicles_2"""
_FINE = """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle caterpillar
    cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster
    house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree
    orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose
    sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone
    television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm"""
_TEN_FILES = tuple(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6))
_HUNDRED_FILES = ("cifar-100-binary/train.bin",), ("cifar-100-binary/test.bin",)
VARIANTS = {
    "cifar10": Variant(_TEN_FILES, ("cifar-10-batches-bin/test_batch.bin",), 1, 0, tuple(_TEN.split())),
    "cifar100": Variant(*_HUNDRED_FILES, 2, 1, tuple(_FINE.split())),
    "cifar100_coarse": Variant(*_HUNDRED_FILES, 2, 0, tuple(_COARSE.split())),
}


class Source(Classified, sources.SourceEntry):
    """Entry of a `cifar` source.

    Attributes:
        variant: `cifar10`, or CIFAR-100 with its 100 classes or their 20 superclasses.
        file: The archive.
        classes: Names of the published classes that count, in order, or with names of our own: `{airplane: vehicle, ship: vehicle, cat: animal}`.
        splits: Which of the two published parts, `train` and `test`, serves which split.
    """

    kind: Literal["cifar"]
    variant: Literal["cifar10", "cifar100", "cifar100_coarse"]
    file: PublishedFile
    classes: Listed = Field(default=ALL, exclude_if=lambda classes: classes == ALL)
    splits: Splits[Part] = Splits[Part](train="train", val=0.1, test="test")

    @model_validator(mode="after")
    def _has_published_classes(self) -> "Source":
        published = VARIANTS[self.variant].classes
        if self.classes != ALL and (wrong := [label for label in self.classes if label not in published]):
            raise ValueError(f"classes: {unknown(wrong[0], published, 'class')}")
        return self

    @property
    def takes_all(self) -> bool:
        """Whether the data say which classes there are: they are known without them."""
        return False

    def table(self, folder: Path) -> Classes:
        """The classes."""
        if self.classes != ALL:
            return super().table(folder)
        return Classes.of(VARIANTS[self.variant].classes)


def fetch(source: Source, folder: Path, *, mirrors: Sequence[str]) -> None:
    """Fetch the archive, as published."""
    from pipeline.files.fetch import fetch_files  # the libraries of the network take 0.1 s

    fetch_files([source.file], folder, mirrors=mirrors)


def examples(source: Source, folder: Path, *, masks: bool, split: str) -> sources.Examples:  # noqa: ARG001 - there are none
    """Images of a split; ids are the published part and the position in it.

    Raises:
        InputError: A file is missing, no whole number of records, or has a label without a class.
    """
    variant, archives = VARIANTS[source.variant], Archives([folder / source.file.name])
    part = source.splits.part(split)
    records = np.concatenate([read_records(archives, member, variant) for member in getattr(variant, part)])
    labels = _classes_of(records, variant, source.table(folder), part)
    listed, others = np.flatnonzero(labels >= 0), np.flatnonzero(labels < 0)
    names = [_id(part, position) for position in listed]
    chosen = listed[source.splits.chosen(split, names, labels=lambda number: [labels[listed[number]]])]
    return sources.Examples(
        chosen, partial(_read, records, variant, labels, part), others=[_id(part, position) for position in others]
    )


def _classes_of(records: np.ndarray, variant: Variant, classes: Classes, part: str) -> np.ndarray:
    """The class of each record, -1 of one that is left out."""
    indices, published = classes.indices(), variant.classes
    if not classes.drops_others and (other := next((name for name in published if name not in indices), None)):
        raise classes.refused(other, part)
    return np.array([indices.get(name, -1) for name in published])[records[:, variant.label]]


def read_records(archives: Archives, member: str, variant: Variant) -> np.ndarray:
    """The records of a member, uint8 (n, label bytes + 3072).

    Raises:
        InputError: It is no whole number of records, or has a label without a class.
    """
    data, length = archives[member], variant.label_bytes + PIXELS
    if not data or len(data) % length:
        raise InputError(f"{member}: expected records of {length:,} bytes; received: {len(data):,} bytes")
    records = np.frombuffer(data, np.uint8).reshape(-1, length)
    if (label := records[:, variant.label].max()) >= len(variant.classes):
        raise InputError(
            f"{member}: expected labels below {len(variant.classes)}, the number of classes; received: {label}"
        )
    return records


def _id(part: str, position: int) -> str:
    return f"{part}_{position:05d}"


def _read(records: np.ndarray, variant: Variant, labels: np.ndarray, part: str, position: int) -> sources.Example:
    record = records[position]
    planes = record[variant.label_bytes :].reshape(3, SIDE, SIDE)
    return sources.Example(
        id=_id(part, position),
        image=np.ascontiguousarray(planes.transpose(1, 2, 0)),
        label=int(labels[position]),
    )
