"""Which class a label of the data stands for: the classes that an entry lists, renames and merges, or all that the data have.

A label is what the data call something: the name in an annotation, a number, a folder. The key that lists the classes - `classes`, `names`,
`labels` or `folders`, by kind - is

    [cat, dog]                                      these labels, in this order; each class is called as its label
    {cat: animal, dog: animal, n02958343: car}      labels with the names of their classes; labels of one name are one class
    all                                             every label that the training part has; `download` writes them down

and `other_classes` says what becomes of every other label.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from cnnkeras.by_name import unknown
from pipeline.files.texts import composed
from pipeline.runtime.entries import Entry
from pipeline.runtime.errors import InputError

ALL = "all"
FOUND = "classes.found.json"  # in a source's folder


def distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, if no two are equal.

    Raises:
        ValueError: Two are.
    """
    if len(set(names)) != len(names):
        raise ValueError(f"expected distinct names; received: {', '.join(names)}")
    return names


def _keys_as_text(table: Any) -> Any:
    """Keys of a mapping as a params file has them: text."""
    return {str(key): name for key, name in table.items()} if isinstance(table, dict) else table


Name = Annotated[str, Field(min_length=1), AfterValidator(composed)]
Names = Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(distinct)]
NamesByLabel = Annotated[dict[Name, Name], BeforeValidator(_keys_as_text), Field(min_length=1)]
Listed = Names | NamesByLabel | Literal["all"]


@dataclass(frozen=True)
class Classes:
    """The classes of a source.

    Attributes:
        labels: Name of the class of each label, in the order of the classes.
        key: The key of the entry that lists them.
        drops_others: Whether what has another label is left out, rather than being an error.
    """

    labels: Mapping[str, str]
    key: str
    drops_others: bool

    @classmethod
    def of(cls, names: Iterable[str]) -> "Classes":
        """Classes that are called as their labels, of data that have no others."""
        return cls({name: name for name in names}, "classes", drops_others=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes' names, in order, each once."""
        return tuple(dict.fromkeys(self.labels.values()))

    def indices(self) -> dict[str, int]:
        """Class of each label."""
        positions = {name: position for position, name in enumerate(self.names)}
        return {label: positions[name] for label, name in self.labels.items()}

    def refused(self, label: str, where: str, noun: str = "class") -> InputError:
        """What is said of a label that is not listed."""
        return InputError(
            f"{where}: {unknown(label, self.labels, noun)}. Name it under `{self.key}`, or say other_classes: drop"
        )


class Classified(Entry):
    """What the entry of a source has whose data say classes.

    Attributes:
        other_classes: What becomes of an object, a pixel or an image whose class is not listed: `error` names it, `drop` leaves it out and counts it.
    """

    CLASSES: ClassVar[str] = "classes"  # the key that lists them
    NUMBERED: ClassVar[bool] = False  # whether a list's labels are its positions, from 0

    other_classes: Literal["error", "drop"] = "error"

    @property
    def takes_all(self) -> bool:
        """Whether the data say which classes there are."""
        return getattr(self, self.CLASSES) == ALL

    def table(self, folder: Path) -> Classes:
        """The classes.

        Args:
            folder: The source's files, as `download` puts them there.

        Raises:
            InputError: The data say which classes there are, and `download` has not written them down.
        """
        listed = getattr(self, self.CLASSES)
        if listed == ALL:
            listed = _found(self, folder)
        elif not isinstance(listed, dict):
            listed = {str(position) if self.NUMBERED else name: name for position, name in enumerate(listed)}
        return Classes(listed, self.CLASSES, self.other_classes == "drop")


def in_order(labels: Iterable[str]) -> dict[str, str]:
    """Labels that are the names of their classes, sorted: numbers by their value, before words."""
    labels = set(labels)
    numbers = {label: int(label) for label in labels if re.fullmatch("[+-]?[0-9]{1,9}", label)}
    ordered = sorted(labels, key=lambda label: (label not in numbers, numbers.get(label, 0), label))
    return {label: label for label in ordered}


def write_found(source: Classified, folder: Path, labels: Mapping[str, str]) -> None:
    """Write down which labels the training part has, in order, with the names of their classes.

    Raises:
        InputError: There are none.
    """
    if not labels:
        raise InputError(f"{source.CLASSES}: expected classes in the training part; received: none")
    content = {"source": _described(source), "labels": dict(labels)}
    (folder / FOUND).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _found(source: Classified, folder: Path) -> dict[str, str]:
    try:
        content = json.loads((folder / FOUND).read_text(encoding="utf-8"))
        if content["source"] == _described(source):
            return {str(label): str(name) for label, name in content["labels"].items()}
        reason = "those of another entry"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        reason = "none"
    raise InputError(
        f"{folder / FOUND}: expected the classes of {source.CLASSES}: all, which `download` writes down; "
        f"received: {reason}. Run `cnnkeras download {folder.name}`"
    )


def _described(source: Classified) -> dict[str, Any]:
    """The entry, but for what decides no classes."""
    return source.model_dump(mode="json", exclude={"license", "citation", "other_classes"})
