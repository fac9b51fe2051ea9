"""Trainings of one experiment with several seeds, each in a process of its own, with the bytes of a training with that seed alone.

What one of them gave is kept in `.cnnkeras/trained/EXPERIMENT/KEY` until its seed is no longer wanted. So one that fails or is killed loses
no other, and a further seed trains one model. The key is a digest of all that the stage makes its outputs of, the other seeds left out.

    model.keras, history.csv    what the stage publishes; and training_batch.png
    kept.json                   SHA-256 of both, and the duration of each epoch in seconds
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.params import Params, Repeat
from pipeline.runtime import paths
from pipeline.runtime.console import Console
from pipeline.runtime.digests import sha256
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import Partials
from pipeline.runtime.replacing import link_or_copy, partial_path, remove
from pipeline.runtime.seals import Seals
from pipeline.runtime.workers import call_in_child

Train = Callable[[Repeat, Partials], list[float]]

_FACTS = "kept.json"


def trainings(params: Params, repeats: Sequence[Repeat]) -> "list[Trained]":
    """What each of the trainings of an experiment gave, or is to give."""
    name = repeats[0].name
    facts = asdict(Seals(params).origin("train", name))
    others = ("seed", f"experiments.{name}.train.seed", f"experiments.{name}.seeds")
    facts["values"] = {key: value for key, value in facts["values"].items() if key not in others}
    return [Trained(repeat, _folder(name, facts | {"seed": repeat.seed})) for repeat in repeats]


def _folder(name: str, facts: dict[str, Any]) -> Path:
    """The folder of a key: of all that the stage makes one training's outputs of."""
    return paths.trained(name) / hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def train_all(trained: "Sequence[Trained]", partials: Partials, train: Train) -> list[float]:
    """Train what has not been trained yet, and put models and histories into the outputs of the stage.

    Args:
        trained: The trainings.
        partials: The stage's temporary paths: the folder of models and the first training's history.
        train: Trains into such paths and returns the duration of each epoch in seconds.

    Returns:
        The durations of all epochs, one training's after another's.

    Raises:
        InputError: A training failed; the others are kept.
    """
    failures: dict[int, Exception] = {}
    seconds: dict[int, list[float]] = {}
    for one in trained:
        title = f"train {one.repeat.title}"
        if (kept := one.seconds()) is not None:
            seconds[one.repeat.seed] = kept
            Console(stderr=True, soft_wrap=True).print(f"{title}: trained already")
            continue
        try:
            seconds[one.repeat.seed] = call_in_child(one.train, train, partials)
        except Exception as error:
            failures[one.repeat.seed] = error
    if failures:
        _refuse([one.repeat for one in trained], failures)
    models, history = partials
    for one in trained:
        folder = models / one.repeat.folder
        folder.mkdir(exist_ok=True)
        link_or_copy(one.model, folder / one.model.name)
        link_or_copy(one.history, folder / one.history.name if one.repeat.folder else history)
        if one.sheet.is_file():
            link_or_copy(one.sheet, folder / one.sheet.name)
    return [epoch for one in trained for epoch in seconds[one.repeat.seed]]


def forget_others(trained: "Sequence[Trained]") -> None:
    """Delete what was trained with other seeds, settings, data or code than these: the results of these have been published."""
    current = [one.folder for one in trained]
    for folder in paths.trained(trained[0].repeat.name).glob("*"):
        if folder not in current:
            remove(folder)


def _refuse(repeats: Sequence[Repeat], failures: dict[int, Exception]) -> None:
    """Raise one error for all failures, or the first one that is no wrong input, with its traceback."""
    for error in failures.values():
        if not isinstance(error, InputError):
            raise error
    texts = dict.fromkeys(str(error) for error in failures.values())
    if len(failures) == len(repeats) and len(texts) == 1:
        raise InputError(next(iter(texts)))
    said = "; ".join(f"with seed {seed}: {error}" for seed, error in failures.items())
    others = len(repeats) - len(failures)
    raise InputError(
        f"train {repeats[0].name}: expected {len(repeats)} trainings to end well; received: {others}. {said}. "
        "Those that did are kept: the next run trains the others alone"
    )


@dataclass(frozen=True)
class Trained:
    """What one of the trainings gave, or is to give.

    Attributes:
        repeat: The training.
        folder: Where it is kept.
    """

    repeat: Repeat
    folder: Path

    @property
    def model(self) -> Path:
        """The model."""
        return self.folder / paths.model_file(self.repeat.name).name

    @property
    def history(self) -> Path:
        """Its history."""
        return self.folder / paths.history(self.repeat.name).name

    @property
    def sheet(self) -> Path:
        """Its first batch; only there if it augments."""
        return self.folder / paths.training_batch(self.repeat.name).name

    def seconds(self) -> list[float] | None:
        """The duration of each epoch in seconds; None if there is no such training, or what is kept of it was changed."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            facts = json.loads((self.folder / _FACTS).read_text(encoding="utf-8"))
            if all(sha256(file) == facts[file.name] for file in (self.model, self.history)):
                return list(map(float, facts["seconds"]))
        return None

    def train(self, train: Train, guarded: Partials) -> list[float]:
        """Train and keep what it gives, if what the guarded stage began with is as it was; returns the duration of each epoch in seconds."""
        kept = partial_path(self.folder)
        remove(kept)
        kept.mkdir(parents=True)
        files = [kept / file.name for file in (self.model, self.history)]
        seconds = train(self.repeat, Partials((kept, files[1]), guarded.require_unchanged))
        guarded.require_unchanged(thoroughly=True)
        facts = {file.name: sha256(file) for file in files} | {"seconds": seconds}
        (kept / _FACTS).write_text(json.dumps(facts) + "\n", encoding="utf-8")
        remove(self.folder)
        kept.rename(self.folder)
        return seconds
