"""A table with a box a row."""

import re

from pipeline.commands.inspect.data import Data, Found
from pipeline.commands.inspect.tables import LABELS, Table, keys, of_splits, tables

RANK = 4
_COLUMNS = {
    "corners": (
        "xmin ymin xmax ymax",
        "x_min y_min x_max y_max",
        "x1 y1 x2 y2",
        "x0 y0 x1 y1",
        "left top right bottom",
    ),
    "corner_and_size": (
        "x y w h",
        "x y width height",
        "xmin ymin width height",
        "bbox_x bbox_y bbox_width bbox_height",
        "left top width height",
        "bbox",
    ),
    "centre_and_size": ("x_center y_center width height", "xc yc w h", "cx cy w h"),
}


def recognise(data: Data) -> Found | None:
    """Data of this kind, if a table names images and has columns that are called as a box's are."""
    found = {table.member: (table, boxes) for table in tables(data) if (boxes := _boxes(table))}
    if not found:
        return None
    parts = of_splits([table for table, _ in found.values()])
    train = parts["train"]
    box_format, columns = found[train.member][1]
    label = train.named(LABELS)
    entry = dict(keys({split: table for split, table in parts.items() if set(columns) <= set(table.columns)}))
    splits = entry.pop("splits")
    classes = sorted(set(train.values(label)) - {""}) if label else ["object"]
    entry |= {**({"label_column": label} if label else {}), "classes": classes, "box_columns": columns}
    if box_format != "corners":
        entry["box_format"] = box_format
    if _is_fraction(train, columns):
        entry["box_units"] = "fractions"
    odd = []
    if len(columns) == 1:
        odd.append(f"{columns[0]} is taken for x, y, width, height; if it has two corners, say box_format: corners")
    if not label:
        odd.append("no column says what the objects are: all are called object")
    return Found(
        "csv_boxes", "a table with a box a row", ("detection", "classification"), {**entry, "splits": splits}, odd=odd
    )


def _boxes(table: Table) -> tuple[str, list[str]] | None:
    """Format and columns of the boxes."""
    known = {column.lower(): column for column in table.columns}
    for box_format, lists in _COLUMNS.items():
        for names in map(str.split, lists):
            if all(name in known for name in names):
                return box_format, [known[name] for name in names]
    return None


def _is_fraction(table: Table, columns: list[str]) -> bool:
    """Whether no number of a box is above 1."""
    texts = [text for column in columns for value in table.values(column) for text in re.findall(r"[0-9.]+", value)]
    numbers = [float(text) for text in texts if re.fullmatch(r"[0-9]*\.?[0-9]+|[0-9]+\.", text)]
    return bool(numbers) and max(numbers) <= 1
