"""Tables of text: CSV files with a header, read row by row, each with its line. Values are text; nothing in them is evaluated."""

import csv
import io
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from cnnkeras.by_name import unknown
from pipeline.files import texts
from pipeline.files.archives import Archives
from pipeline.runtime.errors import InputError

GroupColumn = Annotated[str | None, Field(exclude_if=lambda column: column is None)]
Delimiter = Annotated[str, Field(min_length=1, max_length=1)]
MAX_ROWS = 2**24  # Open Images has 15 million boxes


def refuse_two_groups(source: Any) -> Any:
    """An entry whose groups are said once: by a column, or by its `splits`.

    Raises:
        ValueError: Both say them.
    """
    if source.group_column is not None and source.splits.groups is not None:
        raise ValueError(f"group_column: expected none beside splits: groups; received: {source.group_column!r}")
    return source


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        where: Names it in messages: `train.csv, line 7`.
        values: Those of the columns that were asked for, in their order, without the space around them.
    """

    where: str
    values: tuple[str, ...]


def header(content: bytes, member: str, delimiter: str) -> list[str]:
    """Names of the columns, without the space around them.

    Raises:
        InputError: The file is no text, or empty.
    """
    text = texts.decode(content, member)
    first = next(csv.reader(io.StringIO(text), delimiter=delimiter), None)
    if not first:
        raise InputError(f"{member}: expected a header with the columns' names; received: an empty file")
    return [texts.composed(name.strip()) for name in first]


def read_rows(archives: Archives, member: str, columns: Sequence[str], delimiter: str) -> list[Row]:
    """The rows of a table, in its order, without empty ones.

    Args:
        archives: What holds it.
        member: Its name.
        columns: Names of the columns that are wanted.
        delimiter: What is between two values.

    Raises:
        InputError: There is no such file, it is no text or no table, lacks a column or has it twice, or a row has another length.
    """
    content = archives[member]
    names = header(content, member, delimiter)
    for column in columns:
        if names.count(column) != 1:
            reason = (
                unknown(column, names, "column")
                if column not in names
                else f"expected one column {column!r}; received: several"
            )
            hint = "" if len(names) > 1 else f". Is {delimiter!r} between its values? Say it as `delimiter`"
            raise InputError(f"{member}, line 1: {reason}{hint}")
    positions = [names.index(column) for column in columns]
    reader, rows = (
        csv.reader(io.StringIO(texts.decode(content, member), newline=""), delimiter=delimiter, strict=True),
        [],
    )
    try:
        next(reader)
        for values in reader:
            where = f"{member}, line {reader.line_num}"
            if not any(value.strip() for value in values):
                continue
            if len(values) != len(names):
                raise InputError(f"{where}: expected {len(names)} values, as the header has; received: {len(values)}")
            if len(rows) >= MAX_ROWS:
                raise InputError(f"{where}: expected at most {MAX_ROWS:,} rows; received: more")
            rows.append(Row(where, tuple(texts.composed(values[position].strip()) for position in positions)))
    except csv.Error as error:
        raise InputError(f"{member}, line {reader.line_num}: expected a table of text; received: {error}") from error
    if not rows:
        raise InputError(f"{member}: expected a row for each label; received: the header alone")
    return rows
