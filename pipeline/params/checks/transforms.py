"""Checks of augmentation policies against the table of albumentations' and the papers' transforms and their arguments."""

from collections.abc import Mapping
from typing import Any

from cnnkeras import tasks
from cnnkeras.by_name import unknown
from pipeline.images import transform_table
from pipeline.images.transform_sizes import Sides, after
from pipeline.params.datasets import Dataset
from pipeline.params.parsed import ParsedFile
from pipeline.params.sentences import validate
from pipeline.params.values import Transforms
from pipeline.runtime.entries import Entry


def check_transforms(file: ParsedFile, location: tuple[str, ...], transforms: Transforms) -> None:
    """Refuse an unknown transform, an unknown argument, and a value that the argument cannot have."""
    known = transform_table.names()
    for position, transform in enumerate(transforms):
        for name, arguments in transform.items():
            key = (*location, position, name)
            if name not in known:
                raise file.error(key, unknown(name, known, "transform"))
            validate(file, key, transform_table.arguments(name), with_tuples(arguments))


def check_end(
    file: ParsedFile, location: tuple[str, ...], dataset: Dataset, shape: tuple[int, ...], transforms: Transforms
) -> None:
    """Refuse transforms of packed images that do not end at the size of the model's input, or cut out more than there is.

    Args:
        file: The file.
        location: Of the transforms.
        dataset: What is packed.
        shape: Of one input of the model: (H, W, 3).
        transforms: Checked transforms.
    """
    if not transforms:
        return
    least = dataset.shorter_side or 1
    sides = Sides((least, least)) if dataset.size is None else Sides.exactly(dataset.size)
    for position, transform in enumerate(transforms):
        for name, arguments in transform.items():
            try:
                sides = after(name, arguments or {}, sides)
            except ValueError as error:
                fix = "Enlarge them before, by SmallestMaxSize or PadIfNeeded"
                raise file.error((*location, position, name), f"{error}. {fix}") from error
    if not sides.is_exactly(shape[:2]):
        raise file.error(
            location,
            f"expected transforms that end at {shape[0]} x {shape[1]} pixels, the size of the model's input; received: {sides}. "
            "End with RandomCrop, RandomResizedCrop, PadIfNeeded or Resize to that size",
        )


def check_visible_fraction(file: ParsedFile, location: tuple[str, ...], entry: Entry, task: str) -> None:
    """Refuse `min_visible_fraction` where no boxes move: without augmentation, or for a task without boxes."""
    if "min_visible_fraction" not in entry.model_fields_set:
        return
    place, received = (*location, "min_visible_fraction"), f"received: {entry.min_visible_fraction:g}"
    if "boxes" not in tasks.load(task).ANNOTATIONS:
        raise file.error(place, f"expected none, as {task} has no boxes; {received}")
    if not entry.augmentation:
        raise file.error(place, f"expected none without augmentation, as no box moves; {received}")


def with_tuples(value: Any) -> Any:
    """A value with all lists as tuples, also inside mappings; `Entry` converts only lists that are not inside mappings."""
    if isinstance(value, Mapping):
        return {key: with_tuples(part) for key, part in value.items()}
    return tuple(map(with_tuples, value)) if isinstance(value, list | tuple) else value
