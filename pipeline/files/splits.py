"""Which published part serves which split, which of its images count, and the fractions drawn where a data set has no validation or test part."""

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Annotated, Generic, TypeVar

import numpy as np
from annotated_types import Gt, Lt, MinLen
from pydantic import AfterValidator, Field, model_validator

from pipeline.files import image_files, texts
from pipeline.files.archives import Archives
from pipeline.runtime.entries import Entry, Seed
from pipeline.runtime.errors import InputError

LIST_ENDING = ".txt"


def _is_expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"expected a regular expression; received: {pattern!r}, {error}") from error
    return pattern


Fraction = Annotated[float, Gt(0), Lt(1)]
Part = TypeVar("Part")  # how a kind of source names a published part: a list, a folder, a file
Pattern = Annotated[str, MinLen(1), AfterValidator(texts.composed)]
Patterns = Annotated[Pattern | tuple[Pattern, ...], Field(exclude_if=lambda patterns: not patterns)]
Labels = Callable[[int], Iterable[object]]  # of an image's position


class Splits(Entry, Generic[Part]):
    """The published part of each split: `splits: {train: train, val: 0.1, test: test, seed: 0}`.

    Attributes:
        train: The part to train on, less the fractions drawn from it.
        val: A part, or a fraction of `train`, drawn by `seed`.
        test: As `val`.
        seed: Draws the fractions.
        only: Of all parts, the images that count: those whose path below the root fits a pattern with `*` and `?` (`*` fits slashes too), or that a
            list below the root, `NAME.txt`, has a line for; or several of these.
        without: The images that do not count, likewise.
        stratified: Whether each class has its fraction in each split that is drawn. An image of several classes counts for the rarest of them.
        groups: A regular expression that finds in an image's path what images of one group share, in its brackets if it has some:
            `^(patient[0-9]+)_`. A group's images are drawn together.
    """

    train: Part
    val: Fraction | Part
    test: Fraction | Part
    seed: Seed = 0
    only: Patterns = ()
    without: Patterns = ()
    stratified: bool = Field(default=False, exclude_if=lambda stratified: not stratified)
    groups: Annotated[str, MinLen(1), AfterValidator(_is_expression)] | None = Field(
        default=None, exclude_if=lambda groups: groups is None
    )

    @model_validator(mode="after")
    def _leaves_some_to_train_on(self) -> "Splits[Part]":
        if sum(self.fractions.values()) >= 1:
            raise ValueError(f"expected fractions of `train` below 1 together; received: {self._described()}")
        return self

    def _described(self) -> str:
        return " and ".join(f"{split}: {fraction}" for split, fraction in self.fractions.items())

    @property
    def fractions(self) -> dict[str, float]:
        """The splits that are drawn from `train`, with the fraction of each."""
        return {split: value for split in ("val", "test") if isinstance(value := getattr(self, split), float)}

    def is_drawn(self, split: str) -> bool:
        """Whether a split is a drawn fraction of the training part, or what those leave of it."""
        return split == "train" or split in self.fractions

    def part(self, split: str) -> Part:
        """The published part that a split is taken from."""
        return self.train if self.is_drawn(split) else getattr(self, split)

    def parts(self) -> list[Part]:
        """The published part of each split that has one of its own."""
        return [getattr(self, split) for split in ("train", "val", "test") if split not in self.fractions]

    def chosen(
        self,
        split: str,
        names: Sequence[str],
        *,
        archives: Archives | None = None,
        root: str = "",
        labels: Labels | None = None,
        groups: Sequence[str] | None = None,
    ) -> np.ndarray:
        """Which of the examples of its part belong to a split: their positions, ascending.

        A drawn fraction has one example at least, or one group.

        Args:
            split: The split.
            names: Of the images of the part.
            archives: What holds the lists of `only` and `without`; None of data that hold none.
            root: Folder inside the archives that the names are below.
            labels: Gives the labels of the image at a position; called for `stratified` alone.
            groups: Of the images, by the data; in their place `groups` finds them.

        Raises:
            InputError: Nothing is left to train on, a list is not there, no image counts, or one has no group.
        """
        start = len(image_files.below(root))
        counting = np.arange(len(names))
        if self.only or self.without:
            counting = self._counting(names, archives, root)
        if not self.is_drawn(split):
            return counting
        if self.groups is not None:
            groups = [self._group(names[position][start:]) for position in counting]
        elif groups is not None:
            groups = [groups[position] for position in counting]
        units, sizes = _units(groups, len(counting))
        strata = _strata(units, [_labels_at(labels, position) for position in counting]) if self.stratified else None
        of_unit = self._drawn(sizes, strata, "groups" if groups is not None else "examples")
        is_in = np.array([of_unit[unit] == split for unit in units], bool)
        return counting[is_in]

    def positions(self, split: str, count: int) -> np.ndarray:
        """The same of `count` examples that have neither names nor labels."""
        return self.chosen(split, [str(number) for number in range(count)])

    def _drawn(self, sizes: np.ndarray, strata: Sequence[object] | None, noun: str) -> list[str]:
        """The split of each unit, an example or a group, by its number of examples and its stratum."""
        order, of_unit, start = _order(self.seed, len(sizes), strata), ["train"] * len(sizes), 0
        for name, fraction in self.fractions.items():
            wanted, taken = max(1, round(fraction * sizes.sum())), 0
            while start < len(order) and (not taken or taken + sizes[order[start]] / 2 <= wanted):
                taken += sizes[order[start]]
                of_unit[order[start]] = name
                start += 1
            if not taken:
                break
        if self.fractions and (start >= len(order) or not set(self.fractions) <= set(of_unit)):
            raise InputError(
                f"expected more than {max(start, len(self.fractions))} {noun}, so that some are left to train on after {self._described()}; "
                f"received: {len(sizes)}"
            )
        return of_unit

    def _counting(self, names: Sequence[str], archives: Archives | None, root: str) -> np.ndarray:
        start = len(image_files.below(root))
        only, without = (_Images(patterns, archives, root) for patterns in (self.only, self.without))
        found = [
            position
            for position, name in enumerate(names)
            if (not self.only or only.has(name, name[start:])) and not without.has(name, name[start:])
        ]
        if not found:
            raise InputError(
                f"splits: expected images that `only` and `without` leave; received: none of {len(names):,}, such as {names[0][start:] if names else 'none'}"
            )
        return np.array(found)

    def _group(self, path: str) -> str:
        match = re.search(self.groups, path)
        if match is None:
            raise InputError(f"splits: expected `groups`, {self.groups!r}, to fit each image's path; received: {path}")
        return "\0".join(part or "" for part in match.groups()) if match.groups() else match[0]


class _Images:
    """The images that patterns and lists name."""

    def __init__(self, patterns: str | Sequence[str], archives: Archives | None, root: str):
        every = (patterns,) if isinstance(patterns, str) else patterns
        lists = [pattern for pattern in every if pattern.lower().endswith(LIST_ENDING)]
        self._patterns = [pattern for pattern in every if pattern not in lists]
        self._listed: set[str] = set()
        for name in lists:
            if archives is None:
                raise InputError(f"splits: expected patterns of names, as these data hold no lists; received: {name}")
            member, paths = image_files.below(root) + texts.normal_path(name), image_files.Paths(archives, root)
            for number, line in texts.numbered_lines(archives[member], member):
                if (image := paths.find(line)) is None:
                    raise InputError(f"{member}, line {number}: expected an image of the archive; received: {line!r}")
                self._listed.add(_without_ending(image))

    def has(self, name: str, path: str) -> bool:
        return any(fnmatchcase(path, pattern) for pattern in self._patterns) or (
            bool(self._listed) and _without_ending(name) in self._listed
        )


def _without_ending(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _units(groups: Sequence[str] | None, count: int) -> tuple[Sequence[int], np.ndarray]:
    """The unit of each example - its group, or itself - and the number of examples of each unit, in the order of their first ones."""
    if groups is None:
        return range(count), np.ones(count, np.int64)
    numbers: dict[str, int] = {}
    units = [numbers.setdefault(group, len(numbers)) for group in groups]
    return units, np.bincount(units, minlength=len(numbers))


def _labels_at(labels: Labels | None, position: int) -> frozenset[object]:
    if labels is None:
        raise InputError("splits: expected no `stratified` of data without classes; received: true")
    with contextlib.suppress(InputError):  # a broken annotation is named when its image is read
        return frozenset(labels(position))
    return frozenset()


def _strata(units: Sequence[int], labels: Sequence[frozenset[object]]) -> list[str]:
    """The stratum of each unit: its rarest label by the number of images, or none."""
    counts = Counter(label for each in labels for label in each)
    rarest: dict[int, tuple[int, str]] = {}
    for unit, own in zip(units, labels, strict=True):
        for label in own:
            rarest[unit] = min(rarest.get(unit, (len(labels) + 1, "")), (counts[label], str(label)))
    return [rarest.get(unit, (0, ""))[1] for unit in range(max(units, default=-1) + 1)]


def _order(seed: int, count: int, strata: Sequence[object] | None) -> np.ndarray:
    """Units in the order in which they are drawn. Of strata, each beginning has about the same fraction, and the last one of each comes late.

    The r-th of the n units of a stratum, from 1, stands at r / n; equal places are in random order.
    """
    order = np.random.default_rng(seed).permutation(count)
    if strata is None:
        return order
    totals, ranks = Counter(strata), Counter()
    places = np.empty(count)
    for position, unit in enumerate(order):
        ranks[strata[unit]] += 1
        places[position] = ranks[strata[unit]] / totals[strata[unit]]
    return order[np.argsort(places, kind="stable")]
