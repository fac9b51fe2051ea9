"""The report on a packed dataset, results/datasets/DATASET: what is in it, and what a model could not learn from it.

`report.json` has counts per class and split, the images' own sizes, the input's mean and deviation, the principal components of
its colours, statistics of boxes, what was dropped and skipped, and which images occur twice; `report.png` draws it. All is of the
plain examples, without the augmented copies.

Two examples are the same when their packed inputs are, pixel by pixel. One in two splits is a leak, and an error unless allowed.
"""

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
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
    """

    sizes: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))
    skipped: list[dict[str, str]] = field(default_factory=list)

    def saved(self) -> dict[str, Any]:
        """These notes as JSON can hold them."""
        sizes = {split: [[*size, count] for size, count in counts.items()] for split, counts in self.sizes.items()}
        return {"sizes": sizes, "skipped": self.skipped}

    def restore(self, saved: dict[str, Any]) -> None:
        """Add the notes that `saved` returned."""
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
        InputError: An example is in two splits, and that is not allowed.
    """
    index = records.open_index(packed)
    task = load(index.task)
    plain = {
        split: PlainRows(records.open_split(packed, split), versions if split == "train" else 1)
        for split in index.splits
    }
    within, across = _duplicates(plain)
    if across and leaks == "fail":
        raise _leaking(name, across)
    report = {
        "dataset": name,
        "task": index.task,
        "splits": {
            split: {
                "examples": len(rows),
                "per_class": task.per_class(rows, index.classes),
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
        "duplicates": {
            "within": within,
            "across": len(across),
            "pairs": [dict(zip(splits, ids, strict=True)) for splits, ids in across[:NAMED_PAIRS]],
        },
    }
    (folder / REPORT).write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    diagrams.dataset(folder / FIGURE, report, unit=task.UNIT, title=f"{name} · {index.task}", subtitle=summary(report))


def _leaking(name: str, across: list) -> InputError:
    (first, second), (id, other) = across[0]
    return InputError(
        f"params.yaml: datasets.{name}: expected each image in one split; received: {len(across):,} in two, such as "
        f"{id} of {first} and {other} of {second}. Take them out of the source's splits, or set leaks: allow"
    )


def summary(report: dict[str, Any]) -> str:
    """A report in one line."""
    counts = ", ".join(f"{entry['examples']:,} {split}" for split, entry in report["splits"].items())
    left_out = [f"{count:,} {reason} dropped" for reason, count in report["dropped"].items()]
    left_out += [f"{len(report['skipped']):,} unreadable skipped"] if report["skipped"] else []
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
