"""A table with an image and its class a row."""

from pipeline.commands.inspect.data import Data, Found
from pipeline.commands.inspect.tables import LABELS, Table, keys, of_splits, tables

RANK = 8
_MAX_CLASSES = 1000


def recognise(data: Data) -> Found | None:
    """Data of this kind, if a table names images and has a column of classes."""
    found = [(table, column) for table in tables(data) if (column := _label_column(table))]
    if not found:
        return None
    parts = of_splits([table for table, _ in found])
    train = parts["train"]
    column = next(column for table, column in found if table is train)
    parts = {split: table for split, table in parts.items() if column in table.columns}
    labels = sorted(set(train.values(column)))
    entry = dict(keys(parts))
    splits = entry.pop("splits")
    entry |= {"label_column": column, "labels": labels, "splits": splits}
    odd = []
    if all(label.isdigit() for label in labels):
        labels = sorted(labels, key=int)
        entry["labels"] = {label: f"class_{label}" for label in labels}
        odd.append("the table does not say what its classes are called: give class_0 and the others their names")
    return Found("csv_labels", "a table with an image and its class a row", ("classification",), entry, odd=odd)


def _label_column(table: Table) -> str | None:
    """The column of classes: one that is called so, or the only one whose values come again and again."""
    images = table.values(table.image_column)
    if len(set(images)) != len(images):
        return None
    candidates = {}
    for column in table.columns:
        values = set(table.values(column)) - {""}
        if column != table.image_column and 2 <= len(values) <= min(_MAX_CLASSES, len(images) / 2):
            candidates[column.lower()] = column
    named = next((candidates[name] for name in LABELS if name in candidates), None)
    return named or (next(iter(candidates.values())) if len(candidates) == 1 else None)
