"""Counts what a source holds by its kind's own reader, and draws a contact sheet of it."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from cnnkeras import tasks
from cnnkeras.label_maps import VOID
from pipeline import sources
from pipeline.commands.inspect.data import several
from pipeline.images import reading
from pipeline.runtime import progress
from pipeline.runtime.errors import InputError
from pipeline.sources import Example, SourceEntry

MAX_READ = 20_000  # examples; of more each n-th is read
SHEET_EXAMPLES, SHEET_COLUMNS, SHEET_SIDE = 24, 6, 224


@dataclass
class Counts:
    """What the splits of a source hold.

    Attributes:
        examples: Of each split.
        classes: Images, objects or images with pixels of each class, by split.
        sizes: Width and height of each image that was read.
        unreadable: Messages on examples that cannot be read.
        dropped: Annotations that the reader left out, by reason.
        left_out: Files beside the images that are none, by their names.
        twice: Ids of images whose files are in two splits, byte by byte.
        sheet: Examples for the contact sheet.
        step: Each so-manieth example was read.
    """

    examples: dict[str, int] = field(default_factory=dict)
    classes: dict[str, Counter[int]] = field(default_factory=dict)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    left_out: set[str] = field(default_factory=set)
    twice: list[str] = field(default_factory=list)
    sheet: list[Example] = field(default_factory=list)
    step: int = 1


def count(kind: ModuleType, source: SourceEntry, folder: Path, task: str) -> Counts:
    """Read the examples of all splits.

    Args:
        kind: The module of the source's kind.
        source: The source.
        folder: Its files, as `download` puts them there.
        task: What it is to be prepared for.

    Raises:
        InputError: The kind's reader refuses the whole.
    """
    found = Counts()
    masks = "masks" in tasks.load(task).ANNOTATIONS
    examples = {split: kind.examples(source, folder, masks=masks, split=split) for split in sources.SPLITS}
    found.examples = {split: len(each) for split, each in examples.items()}
    found.step = max(1, -(-sum(found.examples.values()) // MAX_READ))
    found.left_out = set().union(*(getattr(each, "left_out", ()) for each in examples.values()))
    split_of_image: dict[bytes, str] = {}
    with progress.bar("inspect", sum(found.examples.values()) // found.step, unit="images") as bar:
        done = 0
        for split, each in examples.items():
            found.classes[split] = Counter()
            shown = set(np.linspace(0, len(each) - 1, SHEET_EXAMPLES).astype(int) // found.step * found.step)
            for position in range(0, len(each), found.step):
                _add(found, each, position, split, split_of_image, is_shown=split == "train" and position in shown)
                done += 1
                bar.update(done, final=False)
    return found


def _add(
    found: Counts, examples: Sequence[Example], position: int, split: str, split_of_image: dict, *, is_shown: bool
) -> None:
    try:
        example = examples[position]
        content = example.image if isinstance(example.image, bytes) else np.ascontiguousarray(example.image).tobytes()
        size = reading.size(example.id, content) if isinstance(example.image, bytes) else example.image.shape[1::-1]
        if is_shown:
            pixels(example)
    except InputError as error:
        found.unreadable.append(str(error))
        return
    found.sizes.append(tuple(size))
    found.dropped.update(example.dropped)
    found.classes[split].update(labels_of(example))
    if split_of_image.setdefault(content if len(content) < 64 else _digest(content), split) != split:
        found.twice.append(example.id)
    if is_shown:
        found.sheet.append(example)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def labels_of(example: Example) -> list[int]:
    """Classes of an example: its own, those of its objects, or those with pixels in its label map."""
    if example.mask is not None:
        values = np.unique(mask_of(example))
        return [int(value) - 1 for value in values if value not in (0, VOID)]
    if example.labels is not None:
        difficult = np.zeros(len(example.labels), bool) if example.difficult is None else example.difficult
        return [int(label) for label, is_difficult in zip(example.labels, difficult, strict=True) if not is_difficult]
    return [] if example.label is None else [example.label]


def mask_of(example: Example) -> np.ndarray:
    """The label map of an example, uint8 (H, W)."""
    return reading.read_labels(example.mask, example.id) if isinstance(example.mask, bytes) else example.mask


def pixels(example: Example) -> np.ndarray:
    """The image of an example, uint8 RGB (H, W, 3)."""
    return reading.read_image(example.image, example.id) if isinstance(example.image, bytes) else example.image


def draw(found: Counts, classes: Sequence[str], *, title: str, subtitle: str) -> bytes:
    """The contact sheet as a PNG: examples of the training split with their classes, boxes or label maps."""
    from pipeline.drawing import overlays  # OpenCV

    images, captions = [], []
    for example in found.sheet:
        image, label = pixels(example), example.label
        if example.mask is not None:
            image = overlays.draw_mask(image, mask_of(example), classes, side=SHEET_SIDE)
        elif example.boxes is not None:
            image = overlays.draw_boxes(
                image, example.boxes, example.labels, classes, dashed=example.difficult, side=SHEET_SIDE
            )
        else:
            image = overlays.fit(image, SHEET_SIDE)
        images.append(image)
        captions.append(example.id if label is None else f"{classes[label]}\n{example.id}")
    return overlays.png(overlays.grid(images, captions, SHEET_COLUMNS, title=title, subtitle=subtitle))


def sentences(found: Counts, classes: Sequence[str]) -> list[str]:
    """What is odd, a sentence each."""
    odd = []
    train = found.classes["train"]
    if absent := [name for label, name in enumerate(classes) if not train[label]]:
        odd.append(f"classes without an example to train on, which `augment` refuses: {several(absent)}")
    present = {name: train[label] for label, name in enumerate(classes) if train[label]}
    if present and max(present.values()) > 10 * min(present.values()):
        few = min(present, key=present.__getitem__)
        odd.append(
            f"classes of very different frequency: {few} has {present[few]:,}, another {max(present.values()):,}"
        )
    if found.unreadable:
        odd.append(f"{len(found.unreadable):,} examples that cannot be read, such as {found.unreadable[0]}")
    if found.twice:
        odd.append(f"{len(found.twice):,} images in two splits, such as {several(found.twice)}")
    odd += [f"{number:,} {reason} are dropped" for reason, number in sorted(found.dropped.items())]
    if found.left_out:
        odd.append(
            f"{len(found.left_out):,} files among the images that are none, such as {several(sorted(found.left_out))}"
        )
    return odd


def lines(found: Counts, classes: Sequence[str]) -> list[str]:
    """Counts in words."""
    counts = ", ".join(f"{number:,} {split}" for split, number in found.examples.items())
    total: Counter[int] = sum(found.classes.values(), Counter())
    each = ", ".join(f"{name} {total[label]:,}" for label, name in list(enumerate(classes))[:20])
    more = f" and {len(classes) - 20:,} more" if len(classes) > 20 else ""
    read = f" (each {found.step}th image was read)" if found.step > 1 else ""
    said = [f"{sum(found.examples.values()):,} images: {counts}", f"{len(classes):,} classes: {each}{more}{read}"]
    if found.sizes:
        widths, heights = zip(*found.sizes, strict=True)
        said.append(
            f"sizes: {min(widths)} x {min(heights)} to {max(widths)} x {max(heights)} pixels, "
            f"median {int(np.median(widths))} x {int(np.median(heights))}"
        )
    return said


def summary(found: Counts) -> Mapping[str, Any]:
    """What decides the suggested entries."""
    side = int(np.median([min(size) for size in found.sizes])) if found.sizes else 0
    return {
        "side": side,
        "train": found.examples["train"],
        "unreadable": bool(found.unreadable),
        "twice": bool(found.twice),
    }
