"""The states that a training keeps and goes on from, in `.cnnkeras/checkpoints/EXPERIMENT/KEY`.

The key is a digest of all that decides a bit of the training. So a training whose settings, data, code, versions or machine are others
finds no state, and one whose edit was undone finds its own again. The folder is deleted when the model has been published.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cnnkeras.training.state import State
from pipeline.backend import devices, environment
from pipeline.formats import checkpoint
from pipeline.params import Checkpoint, Params
from pipeline.runtime import definition, paths
from pipeline.runtime.code import Code
from pipeline.runtime.console import Console
from pipeline.runtime.replacing import remove
from pipeline.runtime.workers import available
from pipeline.stages.train.training import Training
from pipeline.tracking import fingerprints

KEPT = 2  # states: if the last one cannot be read, the one before can
_MAX_SHARE = 0.01  # of the training's time, for saving
_VARIABLES = ("JAX_", "NVIDIA_", "OMP_", "TF_", "XLA_")  # beginnings of names of the environment that a backend reads
_ENDING = ".checkpoint"
_ARRAYS = ("variables", "sums", "best")  # of a state


def key(params: Params, training: Training) -> str:
    """Digest (hexadecimal) of all that decides a training's bits. Keras has been imported and set up."""
    import keras

    backend = keras.backend.backend()
    values = definition.read_yaml(paths.params_file())
    facts = {
        "training": fingerprints.training_fingerprint(params, training.name),
        "seed": training.seed,
        "initial": None if training.initial_model is None else fingerprints.digest(training.initial_model),
        "code": Code().dependencies("train", training.name, values),
        "backend": [backend, keras.config.image_data_format()],
        "versions": environment.versions(backend),
        "machine": [devices.describe(), training.settings.threads or available()],
        "environment": sorted(
            item for item in os.environ.items() if item[0].startswith(_VARIABLES) and not item[0].startswith("TF_CPP_")
        ),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def forget(experiment: str) -> None:
    """Delete the states of an experiment's trainings: its model has been published."""
    remove(paths.checkpoints(experiment))


class Checkpoints:
    """Keeps the states of one training; `cnnkeras.training.state.Checkpoints`.

    Args:
        label: The training, for messages: `train yolo`.
        folder: Folder of its states, named by its key.
        every: When to keep one.
        past: Returns what JSON can hold of the time that has passed, which is kept beside the state.
    """

    def __init__(self, label: str, folder: Path, every: Checkpoint, past: Callable[[], Mapping[str, Any]]):
        self._label, self._folder, self._every, self._past = label, folder, every, past
        self._started = self._saved = time.monotonic()
        self._spent = self._last_spent = 0.0
        self._steps = self._saved_steps = 0

    def load(self) -> State | None:
        """The last state that can be read; None if there is none."""
        loaded = self.load_with_past()
        return loaded and loaded[0]

    def load_with_past(self) -> tuple[State, dict[str, Any]] | None:
        """The last state that can be read, with what was kept beside it; what cannot be read is named and deleted."""
        for file in reversed(self._files()):
            try:
                facts, arrays = checkpoint.read(file)
                values = {name: tuple(arrays[name]) for name in _ARRAYS}
                state = State(facts["epoch"], facts["step"], tuple(facts["logs"]), **values)
                return state, facts["past"]
            except (OSError, ValueError, KeyError) as error:
                self._say(
                    f"expected a whole checkpoint in {file.relative_to(paths.root())}; received: {error}. "
                    "The one before is taken, or the start"
                )
                file.unlink(missing_ok=True)
        return None

    def is_due(self, steps: int, *, ends_epoch: bool) -> bool:
        """As the protocol says."""
        self._steps = steps
        if self._every.steps is not None and steps - self._saved_steps >= self._every.steps:
            return True
        now = time.monotonic()
        if ends_epoch:
            return self._spent <= _MAX_SHARE * (now - self._started)
        return now - self._saved >= max(60 * self._every.minutes, self._last_spent / _MAX_SHARE)

    def save(self, state: State) -> None:
        """Write a state, and delete all but the last two."""
        begun = time.monotonic()
        if not self._folder.exists():
            self._keep_one_other()
        facts = {"epoch": state.epoch, "step": state.step, "logs": state.logs, "past": self._past()}
        file = self._folder / f"{state.epoch:07}-{state.step:09}{_ENDING}"
        checkpoint.write(file, facts, {name: getattr(state, name) for name in _ARRAYS})
        for former in self._files()[:-KEPT]:
            former.unlink()
        self._saved, self._saved_steps = time.monotonic(), self._steps
        self._last_spent = self._saved - begun
        self._spent += self._last_spent

    def go_on(self, state: State) -> None:
        """Say where the training goes on."""
        self._say(f"goes on after {state.epoch} epochs and {state.step} steps")

    def _files(self) -> list[Path]:
        """The files of states, the last one last. What a killed run was writing is deleted."""
        for partial in self._folder.glob(f".partial-*{_ENDING}"):
            partial.unlink()
        return sorted(self._folder.glob(f"[0-9]*{_ENDING}"))

    def _keep_one_other(self) -> None:
        """Of the trainings with other keys keep the last one's states: if an edit is undone, it goes on."""
        others = sorted(self._folder.parent.glob("*"), key=lambda folder: folder.stat().st_mtime)
        for other in others[:-1]:
            shutil.rmtree(other)

    def _say(self, sentence: str) -> None:
        Console(stderr=True, soft_wrap=True).print(f"{self._label}: {sentence}")
