"""The contact sheet of a packed dataset: what a model will see, with boxes, label maps and class names drawn."""

from pathlib import Path

import numpy as np

from pipeline.drawing.overlays import grid, write_png
from pipeline.formats import packed
from pipeline.stages.augment.rows import load

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
    task = load(index.task)
    shown = min(versions, COLUMNS)
    columns = COLUMNS // shown * shown
    examples = len(split["ids"]) // versions
    starts = np.unique(np.linspace(0, examples - 1, columns // shown * ROWS).astype(int)) * versions
    rows = [int(start) + version for start in starts for version in range(shown)]
    size = " x ".join(map(str, index.shape[:2])) if len(index.shape) == 3 else f"{index.shape[0]} values"
    counts = ", ".join(f"{entry['examples']:,} {part}" for part, entry in index.splits.items())
    sheet = grid(
        [task.draw(np.asarray(split["inputs"][row]), split, row, index.classes, side=SIDE) for row in rows],
        [task.caption(split, row, index.classes) for row in rows],
        columns,
        title=f"{name} · {index.task}",
        subtitle=f"{counts} · {size} · training split, as packed",
    )
    write_png(folder / FILE, sheet)
