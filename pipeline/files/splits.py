"""Which published part serves which split, and the fractions drawn where a data set has no validation or test part."""

from typing import Annotated, Generic, TypeVar

import numpy as np
from annotated_types import Gt, Lt
from pydantic import model_validator

from pipeline.runtime.entries import Entry, Seed
from pipeline.runtime.errors import InputError

Fraction = Annotated[float, Gt(0), Lt(1)]
Part = TypeVar("Part")  # how a kind of source names a published part: a list, a folder, a file


class Splits(Entry, Generic[Part]):
    """The published part of each split: `splits: {train: train, val: 0.1, test: test, seed: 0}`.

    Attributes:
        train: The part to train on, less the fractions drawn from it.
        val: A part, or a fraction of `train`, drawn by `seed`.
        test: As `val`.
        seed: Draws the fractions.
    """

    train: Part
    val: Fraction | Part
    test: Fraction | Part
    seed: Seed = 0

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

    def positions(self, split: str, count: int) -> np.ndarray:
        """Which of the `count` examples of its part belong to a split, ascending.

        A drawn fraction has one example at least.

        Raises:
            InputError: Nothing is left to train on.
        """
        if not self.is_drawn(split):
            return np.arange(count)
        order, start, drawn = np.random.default_rng(self.seed).permutation(count), 0, {}
        for name, fraction in self.fractions.items():
            stop = start + max(1, round(fraction * count))
            drawn[name], start = order[start:stop], stop
        if start >= count:
            raise InputError(
                f"expected more than {start} examples, so that some are left to train on after {self._described()}; "
                f"received: {count}"
            )
        return np.sort(drawn.get(split, order[start:]))
