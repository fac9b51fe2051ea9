"""The contact sheet of a packed dataset: what a network will see, with boxes, label maps and class names drawn."""

from pathlib import Path

import numpy as np

from pipeline.drawing.overlays import draw_boxes, draw_mask, draw_signal, fit, grid, write_png
from pipeline.formats import packed
from pipeline.formats.packed import Index, Split

FILE = "contact_sheet.png"
COLUMNS, ROWS, SIDE = 6, 4, 224


def draw_contact_sheet(folder: Path, name: str, *, versions: int) -> None:
    """Draw examples spread over the training split of the packed dataset in `folder`.

    Args:
        folder: The packed dataset.
        name: Its name, the title.
        versions: How many rows each example has: itself and its copies, which are drawn side by side.
    """
    index, split = packed.open_index(folder), packed.open_split(folder, "train")
    shown = min(versions, COLUMNS)
    columns = COLUMNS // shown * shown
    examples = len(split["ids"]) // versions
    starts = np.unique(np.linspace(0, examples - 1, columns // shown * ROWS).astype(int)) * versions
    rows = [int(start) + version for start in starts for version in range(shown)]
    size = " x ".join(map(str, index.shape[:2])) if len(index.shape) == 3 else f"{index.shape[0]} values"
    counts = ", ".join(f"{entry['examples']:,} {part}" for part, entry in index.splits.items())
    sheet = grid(
        [_draw(index, split, row) for row in rows],
        [_caption(index, split, row) for row in rows],
        columns,
        title=f"{name} · {index.task}",
        subtitle=f"{counts} · {size} · training split, as packed",
    )
    write_png(folder / FILE, sheet)


def _draw(index: Index, split: Split, row: int) -> np.ndarray:
    inputs = np.asarray(split["inputs"][row])
    if inputs.ndim == 2:
        return draw_signal(inputs, side=SIDE)
    if index.task == "detection":
        height, width = inputs.shape[:2]
        boxes = np.asarray(split["boxes"][row], np.float64) * [width, height, width, height]
        return draw_boxes(
            inputs, boxes, split["box_labels"][row], index.classes, dashed=split["difficult"][row], side=SIDE
        )
    if index.task == "segmentation":
        return draw_mask(inputs, np.asarray(split["masks"][row]), index.classes, side=SIDE)
    return fit(inputs, SIDE)


def _caption(index: Index, split: Split, row: int) -> str:
    id = str(split["ids"][row])
    return f"{index.classes[split['labels'][row]]}\n{id}" if index.task == "classification" else id
