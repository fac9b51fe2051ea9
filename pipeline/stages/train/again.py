"""Trains an experiment once more, for `cnnkeras verify`, in a process of its own: nothing is published, no state kept, MLflow told nothing.

    python -m pipeline.stages.train.again ORDER

The order, a JSON object, is an `Order`. The process writes a line of JSON to its standard output for each of these:

    {"steps": 488, "devices": "..."}                  before the first step: the number of steps, and the machine
    {"step": 37, "epoch": 1, "digest": "5b0c..."}     after the steps up to this one, counted from 1; the digest only if it is asked for
    {"is_over": true}                                 at the end; model and history then lie in the folder
    {"error": "..."}                                  instead, if something is wrong with the input

After a line with a digest it waits for an answer: `on`, or `values`, upon which it writes the variables and ends.
"""

import hashlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from pipeline.backend import devices
from pipeline.formats import checkpoint
from pipeline.params import load_params
from pipeline.runtime import guard, paths, printable
from pipeline.runtime.errors import InputError
from pipeline.runtime.signals import end_with_parent
from pipeline.stages.train import train
from pipeline.stages.train.training import resolve
from pipeline.stages.train.watch import Followers

if TYPE_CHECKING:
    import keras

VALUES = "values.checkpoint"


@dataclass(frozen=True)
class Order:
    """What to train.

    Attributes:
        experiment: Name of the experiment.
        number: Which of its trainings, counted from 0.
        folder: Where to write; is there.
        steps: Train this many steps at most; None: all.
        digests: Whether to send a digest of all variables after each step.
        workers: Number of processes that augment images.
        parent: Process that gives the order; this one ends with it.
    """

    experiment: str
    number: int
    folder: str
    steps: int | None
    digests: bool
    workers: int
    parent: int


class _Enough(Exception):  # noqa: N818 - it ends a training that is long enough
    """All steps that were asked for are over."""


class _Silent:
    """In place of a progress bar: the process that gave the order has one."""

    def begin(self, done: int) -> None: ...

    def update(self, done: int, *facts: str) -> None: ...


class _Conversation:
    """Lines to and from the process that gave the order. What else is printed goes to standard error."""

    def __init__(self) -> None:
        sys.stdout.flush()
        self._lines: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def tell(self, **facts: Any) -> None:
        """Write a line."""
        self._lines.write(json.dumps(facts) + "\n")
        self._lines.flush()

    def ask(self, **facts: Any) -> str:
        """Write a line and wait for the answer."""
        self.tell(**facts)
        return sys.stdin.readline().strip()


def follow(order: Order, conversation: _Conversation, *, steps: int, parts: int) -> "keras.callbacks.Callback":
    """A callback of Keras that reports each execution of steps.

    Args:
        order: The order.
        conversation: Where to.
        steps: Number of items of an epoch, as Keras counts them.
        parts: Number of items that are one step.
    """
    import keras

    class Follower(keras.callbacks.Callback):
        """Reports; raises `_Enough` after the last step that was asked for."""

        def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002 - Keras' signature
            self._epoch = epoch

        def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002 - as above
            step = (self._epoch * steps + batch + 1) // parts
            facts = {"step": step, "epoch": self._epoch + 1}
            if not order.digests:
                conversation.tell(**facts)
            elif self._is_asked_for_values(facts):
                raise _Enough
            if order.steps is not None and step >= order.steps:
                raise _Enough

        def _is_asked_for_values(self, facts: Mapping[str, int]) -> bool:
            if keras.backend.backend() == "jax":
                self.model.jax_state_sync()  # during an epoch the values are outside the model
            names, values = _variables(self.model)
            digest = hashlib.sha256()
            for value in values:
                digest.update(value.tobytes())
            if conversation.ask(**facts, digest=digest.hexdigest()) != "values":
                return False
            checkpoint.write(Path(order.folder, VALUES), {"names": names}, {"values": values})
            return True

    return Follower()


def _variables(model: "keras.Model") -> tuple[list[str], list[Any]]:
    """Names and values of all variables of a model that is being trained: the layers' in their order, the optimizer's, the sums of the metrics."""
    from cnnkeras.training import state as states

    names, values = [], []
    for variable in [*model.variables, *model.optimizer.variables, *model.metrics_variables]:
        for value in states.values([variable]):  # one for each device
            names.append(variable.path)
            values.append(value)
    return names, values


def run(order: Order, conversation: _Conversation) -> None:
    """Train as the order says.

    Raises:
        InputError: As the stage `train`.
    """
    params = load_params(with_files=True)
    training, folder = resolve(params.repeats(order.experiment)[order.number]), Path(order.folder)
    settings = training.settings
    items = 0

    @contextmanager
    def begin(total: int) -> Iterator[_Silent]:
        nonlocal items
        items = total // settings.epochs
        conversation.tell(steps=total // settings.accumulate, devices=devices.describe())
        yield _Silent()

    def callbacks() -> "Sequence[keras.callbacks.Callback]":
        return [follow(order, conversation, steps=items, parts=settings.accumulate)]

    with guard.repetition("train", training.name, inputs=training.inputs, params=params) as require_unchanged:
        followers = Followers(
            bar=begin,
            shown=lambda _history: nullcontext(),
            epoch=lambda _number: None,
            checkpoints=lambda _watch: None,
            require_unchanged=require_unchanged,
            callbacks=callbacks,
        )
        with suppress(_Enough):
            train(training, folder, folder / paths.history(training.name).name, followers, workers=order.workers)


def main() -> None:
    """Main function of the process."""
    # A comparison owes nothing to what was compiled before, and leaves nothing in the project.
    os.environ |= {"JAX_ENABLE_COMPILATION_CACHE": "false", "JAX_COMPILATION_CACHE_DIR": os.devnull}
    conversation, order = _Conversation(), Order(**json.loads(sys.argv[1]))
    end_with_parent(signal.SIGKILL, lambda: os.getppid() != order.parent)
    try:
        run(order, conversation)
    except InputError as error:
        conversation.tell(error=str(error))
    else:
        conversation.tell(is_over=True)


if __name__ == "__main__":
    with printable.streams():
        main()
