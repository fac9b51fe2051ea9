"""A training that is killed many times, beside the same one in one go, on a backend."""

import hashlib
import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

from tests.killed_training import TRAIN, VARIABLES, outputs, position, train_and_kill, write_small_project
from tests.test_train_predict import finish, start

_NAME, _STEPS_PER_EPOCH = "whole", 10
_LONGER = {
    "epochs: 4\n": "epochs: 20\n",
    "early_stopping: {patience_epochs: 3}": "early_stopping: {patience_epochs: 20}",
}


@dataclass
class Report:
    """Two trainings.

    Attributes:
        undisturbed: Hash of the model, the history and the record of the training in one go.
        killed: The same of the killed one.
        kills: How many times it was killed.
        again: Steps that were trained again although their state had been kept.
    """

    undisturbed: str
    killed: str
    kills: int
    again: int


def compare(base: Path, backend: str, kills: int, moments: random.Random) -> Report:
    """Train in one go, and with kills at random moments.

    Raises:
        SystemExit: The training was over before it could be killed so often.
    """
    whole, root = (_project(base / f"{backend}-{name}", backend) for name in ("whole", "killed"))
    finish(start(TRAIN, whole, _NAME, **VARIABLES[backend]))
    again, reached = 0, 0
    for _ in range(kills):
        ended = train_and_kill(root, _NAME, moments, **VARIABLES[backend])
        if not ended.is_killed:
            raise SystemExit(f"torture: a training by {backend} ended before it could be killed: {ended.said[-800:]}")
        again += _lost(ended.said, reached)
        reached = _steps(position(root, _NAME))
    again += _lost(finish(start(TRAIN, root, _NAME, **VARIABLES[backend]))[1], reached)
    return Report(_hash(whole), _hash(root), kills, again)


def _project(root: Path, backend: str) -> Path:
    write_small_project(root, backend)
    params = root / "params.yaml"
    text = params.read_text(encoding="utf-8")
    for old, new in _LONGER.items():
        assert old in text
        text = text.replace(old, new)
    params.write_text(text, encoding="utf-8")
    return root


def _lost(said: str, reached: int) -> int:
    """Steps before `reached` that a training did not begin after; 0 if it was killed before it could say where it begins."""
    found = re.search(r"goes on after \d+ epochs and \d+ steps", said)
    return max(0, reached - _steps(found[0])) if found else 0


def _steps(text: str) -> int:
    """The position that a text names: epochs, then steps of the next one."""
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    return numbers[0] * _STEPS_PER_EPOCH + numbers[1] if numbers else 0


def _hash(root: Path) -> str:
    return hashlib.sha256(json.dumps(outputs(root, _NAME)).encode()).hexdigest()[:16]
