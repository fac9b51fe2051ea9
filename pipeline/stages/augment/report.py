"""The report on a packed dataset, results/datasets/DATASET: what is in it, and what a model could not learn from it.

`report.json` has counts per class and split, the images' own sizes, the input's mean and deviation, the principal components of
its colours, statistics of boxes, what was dropped, skipped and left out, and which images occur twice; `report.png` draws it. All is of the
plain examples, without the augmented copies.

Two examples are the same when their packed inputs are, pixel by pixel. One in two splits is a leak, and an error unless allowed.
A class without an example to learn from is an error, and so is a split without one to measure: a mistake in params.yaml looks so.
"""

import hashlib
import json
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from pipeline.drawing import diagrams
from pipeline.formats import packed as records
from pipeline.images.principal_components import IMAGES, evenly_spaced, principal_components
from pipeline.runtime.errors import InputError
from pipeline.stages.augment.rows import PlainRows, load

REPORT, FIGURE = "report.json", "report.png"
NAMED_PAIRS = 100  # pairs of equal examples that the report names


@dataclass
class Notes:
    """Facts about the examples that the packed dataset does not hold.

    Attributes:
        sizes: How many images of each height and width a split's source has.
        skipped: Examples that could not be read, each with its split and the reason.
        left_out: How many files of each ending lie among the images and are none.
        seconds_before: How long earlier processes packed what this one goes on from.
    """

    sizes: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))
    skipped: list[dict[str, str]] = field(default_factory=list)
    left_out: Mapping[str, int] = field(default_factory=dict)
    seconds_before: float = 0.0
    _begun: float = field(default_factory=time.monotonic)

    def what_is_missing(self, dropped: Mapping[str, int]) -> list[str]:
        """What the packed dataset lacks of its source, in words; `dropped` has the counts of annotations, by reason."""
        missing = [f"{count:,} {reason} dropped" for reason, count in dropped.items()]
        missing += [f"{len(self.skipped):,} unreadable skipped"] if self.skipped else []
        files = [f"{count:,} {ending}" for ending, count in self.left_out.items()]
        return missing + ([f"left out as no images: {', '.join(files)}"] if files else [])

    def saved(self) -> dict[str, Any]:
        """These notes as JSON can hold them."""
        sizes = {split: [[*size, count] for size, count in counts.items()] for split, counts in self.sizes.items()}
        seconds = self.seconds_before + time.monotonic() - self._begun
        return {"sizes": sizes, "skipped": self.skipped, "seconds": seconds}

    def restore(self, saved: dict[str, Any]) -> None:
        """Add the notes that `saved` returned."""
        self.seconds_before += saved["seconds"]
        for split, counts in saved["sizes"].items():
            self.sizes[split].update({(height, width): count for height, width, count in counts})
        self.skipped += saved["skipped"]


def write_report(folder: Path, packed: Path, name: str, *, versions: int, leaks: str, notes: Notes) -> None:
    """Write the report on the packed dataset `packed` into `folder`.

    Args:
        folder: Where the report goes.
        packed: The packed dataset.
        name: Its name.
        versions: Rows of each training example: itself and its copies.
        leaks: `fail` or `allow`: what an example in two splits is.
        notes: Of the packing.

    Raises:
        InputError: An example is in two splits, and that is not allowed; or a class has nothing to learn from.
    """
    index = records.open_index(packed)
    task = load(index.task)
    plain = {
        split: PlainRows(records.open_split(packed, split), versions if split == "train" else 1)
        for split in index.splits
    }
    counts = {split: task.counts(rows, index.classes) for split, rows in plain.items()}
    _refuse_absent_classes(name, task, counts, index.classes, notes.what_is_missing(index.dropped))
    within, across = _duplicates(plain)
    if across and leaks == "fail":
        raise _leaking(name, across)
    report = {
        "dataset": name,
        "task": index.task,
        "splits": {
            split: {
                "examples": len(rows),
                "per_class": task.per_class(counts[split]),
                "sizes": _sizes(notes.sizes[split]),
                **task.statistics(rows),
            }
            for split, rows in plain.items()
        },
        "mean": index.mean,
        "std": index.std,
        **({"colours": _colours(plain["train"])} if len(index.shape) == 3 else {}),
        "dropped": index.dropped,
        "skipped": notes.skipped,
        **({"left_out": dict(notes.left_out)} if notes.left_out else {}),
        "duplicates": {
            "within": within,
            "across": len(across),
            "pairs": [dict(zip(splits, ids, strict=True)) for splits, ids in across[:NAMED_PAIRS]],
        },
    }
    (folder / REPORT).write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    diagrams.dataset(folder / FIGURE, report, unit=task.UNIT, title=f"{name} · {index.task}", subtitle=summary(report))


def _refuse_absent_classes(
    name: str, task: ModuleType, counts: Mapping[str, Mapping[str, int]], classes: Sequence[str], missing: Sequence[str]
) -> None:
    """Refuse a dataset of which a class has nothing in the training split, or a split nothing at all to measure.

    Args:
        name: The dataset.
        task: What its rows have.
        counts: Of each split.
        classes: Their names.
        missing: What the packed dataset lacks of its source, in words.

    Raises:
        InputError: It is one.
    """
    for split, of_split in counts.items():
        if cause := task.nothing(of_split):
            raise InputError(f"params.yaml: datasets.{name}: the split {split!r}: {cause}")
    if absent := [each for each in classes if not counts["train"].get(each)]:
        shown = ", ".join(absent[:8]) + (f" and {len(absent) - 8:,} others" if len(absent) > 8 else "")
        raise InputError(
            f"params.yaml: datasets.{name}: expected {task.ONE} of each class in the training split; "
            f"received: 0 of {'; '.join([shown, *missing])}. {task.why_absent(counts['train'], absent)}"
        )


def _leaking(name: str, across: list) -> InputError:
    (first, second), (id, other) = across[0]
    return InputError(
        f"params.yaml: datasets.{name}: expected each image in one split; received: {len(across):,} in two, such as "
        f"{id} of {first} and {other} of {second}. Take them out of the source's splits, or set leaks: allow"
    )


def summary(report: dict[str, Any]) -> str:
    """A report in one line."""
    counts = ", ".join(f"{entry['examples']:,} {split}" for split, entry in report["splits"].items())
    left_out = Notes(skipped=report["skipped"], left_out=report.get("left_out", {})).what_is_missing(report["dropped"])
    left_out += [f"{report['duplicates']['across']:,} in two splits"] if report["duplicates"]["across"] else []
    return " · ".join([counts, *left_out])


def _duplicates(plain: dict[str, PlainRows]) -> tuple[dict[str, int], list]:
    """How many examples repeat one of their own split; and the splits and ids of each that repeats one of another."""
    seen: dict[bytes, tuple[str, str]] = {}
    within, across = dict.fromkeys(plain, 0), []
    for split, rows in plain.items():
        for inputs, id in zip(rows.column("inputs"), rows.column("ids"), strict=True):
            digest = hashlib.blake2b(inputs.tobytes(), digest_size=16).digest()
            first = seen.setdefault(digest, (split, str(id)))
            if first[0] != split:
                across.append(((first[0], split), (first[1], str(id))))
            elif first[1] != str(id):
                within[split] += 1
    return within, across


def _colours(rows: PlainRows) -> dict[str, Any]:
    """Principal components of the RGB values, in 0..1, of the training images, the largest first, towards brighter colours."""
    column, chosen = rows.split["inputs"], evenly_spaced(len(rows), IMAGES)
    values, vectors = principal_components(np.asarray(column[rows.rows[place]]) for place in chosen)
    vectors = vectors * np.where(vectors.sum(axis=0) < 0, -1, 1)
    return {
        "images": len(chosen),
        "eigenvalues": values[::-1].round(6).tolist(),
        "eigenvectors": (vectors.T[::-1].round(4) + 0.0).tolist(),  # no -0.0
    }


def _sizes(sizes: Counter) -> dict[str, Any]:
    """Height and width of the images as published, `min` and `max` by their area; nothing for signals."""
    if not sizes:
        return {}
    by_area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    heights, widths = np.array(sorted(sizes)).T
    counts = [sizes[size] for size in sorted(sizes)]
    return {
        "min": list(by_area[0]),
        "max": list(by_area[-1]),
        "median": [int(np.median(np.repeat(sides, counts))) for sides in (heights, widths)],
        "different": len(sizes),
    }
