"""Checks of the entries under `datasets:` against their source and their task."""

import math
from types import ModuleType

from cnnkeras import tasks
from cnnkeras.by_name import unknown
from cnnkeras.label_maps import VOID
from pipeline import sources
from pipeline.params.checks.architectures import MAX_INPUT_VALUES
from pipeline.params.checks.transforms import check_transforms, check_visible_fraction
from pipeline.params.datasets import Dataset
from pipeline.params.parsed import ParsedFile
from pipeline.params.whole import Params

SIZES = ("size", "shorter_side", "max_shorter_side")  # keys, of which a dataset has one
# What no class of a label map may be called, and the key of `mask_pairs` for its values.
_BESIDE_CLASSES = {"background": "background_values", "bg": "background_values", "void": "void_values"}


def check_dataset(file: ParsedFile, params: Params, name: str) -> None:
    """Refuse a dataset that does not fit its source or its task."""
    dataset, location = params.datasets[name], ("datasets", name)
    if dataset.source not in params.sources:
        raise file.error((*location, "source"), unknown(dataset.source, params.sources, "source"))
    kind_name = params.sources[dataset.source].kind
    kind = sources.load(kind_name)
    if dataset.task not in kind.TASKS:
        raise file.error(
            (*location, "task"),
            f"expected a task that a source of kind {kind_name} serves ({', '.join(kind.TASKS)}); "
            f"received: {dataset.task!r}",
        )
    check_transforms(file, (*location, "augmentation"), dataset.augmentation)
    check_visible_fraction(file, location, dataset, dataset.task)
    check_class_names(file, params, name)
    _check_size(file, location, dataset, kind)
    _check_examples(file, location, dataset, kind)
    _check_proposals(file, location, dataset)
    _check_copies(file, location, dataset)


def check_class_names(file: ParsedFile, params: Params, name: str) -> None:
    """Refuse classes that no label map has. A label map has a background and void beside the classes: other tools' lists of labels name them as well."""
    dataset = params.datasets[name]
    if "masks" not in tasks.load(dataset.task).ANNOTATIONS:
        return
    names = params.known_classes(name) or ()
    if len(names) >= VOID:
        raise file.error(
            ("sources", dataset.source), f"expected at most {VOID - 1} classes in a label map; received: {len(names)}"
        )
    for name in names:
        if (key := _BESIDE_CLASSES.get(name.strip(" _-").lower())) is not None:
            raise file.error(
                ("sources", dataset.source, getattr(params.sources[dataset.source], "CLASSES", "classes")),
                f"expected the classes without what is none; received: {name!r}. Leave it out; in a source of kind mask_pairs "
                f"its value belongs under `{key}`",
            )


def _check_size(file: ParsedFile, location: tuple[str, ...], dataset: Dataset, kind: ModuleType) -> None:
    length = getattr(kind, "SIGNAL_LENGTH", None)
    given = [key for key in SIZES if getattr(dataset, key) is not None]
    if not given:
        others = "" if length is not None else f", or {' or '.join(map(repr, SIZES[1:]))} for images of any size"
        raise file.error(location, f"expected the key 'size'{others}; received: none")
    if len(given) > 1:
        raise file.error((*location, given[1]), f"expected one of {', '.join(SIZES)}; received: {' and '.join(given)}")
    key, value = (*location, given[0]), getattr(dataset, given[0])
    received = f"received: {list(value) if isinstance(value, tuple) else value}"
    if length is not None and dataset.size != (length,):
        raise file.error(key, f"expected {'' if dataset.size else 'size: '}[{length}], the signals' length; {received}")
    if length is None and dataset.is_signal:
        raise file.error(key, f"expected [height, width] for images; {received}")
    sides = dataset.size or (value, value)
    if math.prod(sides) * (1 if dataset.is_signal else 3) > MAX_INPUT_VALUES:
        side = math.isqrt(MAX_INPUT_VALUES // 3)
        raise file.error(key, f"expected images of at most {side:,} x {side:,} pixels in all; {received}")
    if dataset.size is None:
        _check_stored(file, location, dataset, given[0])


def _check_stored(file: ParsedFile, location: tuple[str, ...], dataset: Dataset, key: str) -> None:
    """Refuse what images of any size cannot have: pixels in one array, and copies that were augmented ahead."""
    if dataset.jpeg_quality is None:
        raise file.error(
            location, f"expected the key 'jpeg_quality' beside {key}, as such images are JPEG files; received: none"
        )
    for other in ("copies", "augmentation"):
        if getattr(dataset, other):
            raise file.error(
                (*location, other),
                f"expected none beside {key}, as every experiment cuts its own inputs out; received: some. "
                "Write the transforms into train.augmentation of the experiments",
            )


def _check_examples(file: ParsedFile, location: tuple[str, ...], dataset: Dataset, kind: ModuleType) -> None:
    key, received = (*location, "examples"), f"received: {dataset.examples!r}"
    task, has_objects = tasks.load(dataset.task), getattr(kind, "HAS_OBJECTS", None)
    if dataset.examples not in task.EXAMPLES:
        possible = " or ".join(map(repr, task.EXAMPLES))
        raise file.error(key, f"expected {possible} for {dataset.task}; {received}")
    if dataset.examples != "images" and has_objects is False:
        raise file.error(key, f"expected 'images', as {dataset.source} has no objects with boxes; {received}")
    if dataset.examples == "images" and has_objects and "labels" in task.ANNOTATIONS:
        message = f"expected 'objects', as images of {dataset.source} have no class of their own; {received}"
        raise file.error(key, message)


def _check_proposals(file: ParsedFile, location: tuple[str, ...], dataset: Dataset) -> None:
    if dataset.examples == "proposals" and dataset.proposals is None:
        raise file.error(location, "expected the key 'proposals' with examples: proposals; received: none")
    if dataset.examples != "proposals" and dataset.proposals is not None:
        message = f"expected none without examples: proposals; received: some, with examples: {dataset.examples}"
        raise file.error((*location, "proposals"), message)


def _check_copies(file: ParsedFile, location: tuple[str, ...], dataset: Dataset) -> None:
    if dataset.jpeg_quality is not None and dataset.is_signal:
        raise file.error((*location, "jpeg_quality"), f"expected none for signals; received: {dataset.jpeg_quality}")
    if dataset.augmentation and dataset.is_signal:
        raise file.error((*location, "augmentation"), "expected none for signals; received: some")
    if dataset.copies and not dataset.augmentation:
        raise file.error(
            (*location, "copies"),
            f"expected 0 without augmentation, as all copies would be equal; received: {dataset.copies}",
        )
