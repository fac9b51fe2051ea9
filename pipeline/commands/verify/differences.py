"""How two trainings of one experiment differ: in variables, in their models' files, in their histories."""

import csv
import math
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.backend import devices

Variables = Iterable[tuple[str, np.ndarray]]  # name and values, in the order of the layers


@dataclass(frozen=True)
class Difference:
    """A variable that two trainings have with other bits.

    Attributes:
        name: Path of the variable: `conv1/kernel`.
        text: How it differs.
        largest: The largest absolute difference of two values; NaN if one of them is no number or the shapes are others.
    """

    name: str
    text: str
    largest: float = math.nan


def of_variables(ours: Variables, theirs: Variables) -> list[Difference]:
    """The variables that differ in a bit, in the order of the layers."""
    expected, found = _by_name(theirs), _by_name(ours)
    differences = []
    for key in {**found, **expected}:
        name = key[0]
        if key not in expected or key not in found:
            differences.append(Difference(name, "one training has no such variable"))
        elif (shapes := (found[key].shape, expected[key].shape))[0] != shapes[1]:
            differences.append(Difference(name, f"shape {shapes[0]} instead of {shapes[1]}"))
        elif found[key].dtype != expected[key].dtype:
            differences.append(Difference(name, f"type {found[key].dtype} instead of {expected[key].dtype}"))
        elif found[key].tobytes() != expected[key].tobytes():
            differences.append(_difference(name, found[key], expected[key]))
    return differences


def _by_name(variables: Variables) -> dict[tuple[str, int], np.ndarray]:
    """Values by name and a number, which tells variables of the same name apart."""
    seen, values = Counter(), {}
    for name, value in variables:
        values[name, seen[name]] = value
        seen[name] += 1
    return values


def _difference(name: str, ours: np.ndarray, theirs: np.ndarray) -> Difference:
    bits = f"u{ours.dtype.itemsize}"
    differ = np.atleast_1d(ours).view(bits) != np.atleast_1d(theirs).view(bits)
    text = f"{np.count_nonzero(differ):,} of {ours.size:,} values"
    if ours.dtype.kind not in "fiu":
        return Difference(name, text)
    with np.errstate(invalid="ignore", over="ignore"):
        sizes = np.abs(np.atleast_1d(ours).astype(np.float64) - np.atleast_1d(theirs).astype(np.float64))[differ]
    return Difference(name, text, float(sizes.max()))


def of_models(ours: Path, theirs: Path) -> tuple[list[Difference], list[str]]:
    """The variables that two files of models have with other bits, and the other members of the files that differ.

    Raises:
        InputError: A file is damaged.
    """
    if ours.read_bytes() == theirs.read_bytes():
        return [], []
    variables = of_variables(_stored(ours), _stored(theirs))
    with zipfile.ZipFile(ours) as first, zipfile.ZipFile(theirs) as second:
        names = dict.fromkeys((*first.namelist(), *second.namelist()))
        others = [name for name in names if _member(first, name) != _member(second, name)]
    return variables, [name for name in others if not variables or name != "model.weights.h5"]


def _stored(file: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values of the weights and statistics of a model in a file; the states of dropout are not in it."""
    devices.import_keras()
    import keras

    from pipeline.backend import model_files

    keras.utils.clear_session()  # layers without a name of their own then get the same one in each model
    for variable in model_files.load(file).weights:
        yield variable.path, np.array(keras.ops.convert_to_numpy(variable))


def _member(archive: zipfile.ZipFile, name: str) -> bytes | None:
    return archive.read(name) if name in archive.namelist() else None


def of_histories(ours: str, theirs: str) -> str | None:
    """In words, the first epoch in which the texts of two histories differ; None if they are equal."""
    if ours == theirs:
        return None
    first, second = (list(csv.DictReader(text.splitlines())) for text in (ours, theirs))
    for epoch, (row, expected) in enumerate(zip(first, second, strict=False), start=1):
        columns = [name for name in {**row, **expected} if row.get(name) != expected.get(name)]
        if columns:
            values = (f"{name} {row.get(name, '-')} instead of {expected.get(name, '-')}" for name in columns)
            return f"from epoch {epoch} on: {', '.join(values)}"
    return f"{len(first)} epochs instead of {len(second)}" if len(first) != len(second) else "other bytes, equal values"


def table(differences: Sequence[Difference], *, rows: int = 10) -> Iterator[str]:
    """Lines on variables that differ, the first layer's first."""
    shown = differences[:rows]
    width = max(len(difference.name) for difference in shown)
    text_width = max(len(difference.text) for difference in shown)
    for difference in shown:
        size = "" if difference.text.startswith(("one", "shape", "type")) else by_at_most(difference.largest)
        yield f"  {difference.name:{width}}  {difference.text:{text_width}}  {size}".rstrip()
    if rest := differences[rows:]:
        yield f"  and {len(rest):,} more, {by_at_most(largest(rest))}"


def count(differences: Sequence[Difference]) -> str:
    """`1 variable`, `12 variables`."""
    return f"{len(differences):,} variable{'s' if len(differences) > 1 else ''}"


def largest(differences: Iterable[Difference]) -> float:
    """The largest absolute difference; NaN if one is."""
    sizes = [difference.largest for difference in differences]
    return math.nan if any(map(math.isnan, sizes)) else max(sizes)


def by_at_most(size: float) -> str:
    """A largest difference in words."""
    return "a value is no number" if math.isnan(size) else f"by at most {size:.3g}"
