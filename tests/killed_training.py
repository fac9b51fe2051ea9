"""A training that keeps its state after every step, to be killed at any moment."""

import random
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from tests.contents import digests
from tests.test_train_predict import PARAMS, REPOSITORY, start, write_project

# All that a state must hold: dropout, batch normalisation, AdamW, mixup, averages of the weights, a plateau, early stopping with the best weights, and a last execution of
# fewer steps than the others; augmentation by workers, or none.
EXPERIMENT = """
  whole:
    dataset: classification
    architecture: vgg
    model: {variant: A, width: 0.0625, dropout: 0.5, batch_norm: true}
    input: {mean: dataset, std: dataset}
    train:
      epochs: 4
      batch_size: 2
      optimizer: {name: adamw, learning_rate: 0.002, global_clipnorm: 1.0}
      schedule: {name: plateau, factor: 0.5, patience_epochs: 1, warmup_epochs: 1.5}
      early_stopping: {patience_epochs: 3}
      ema_momentum: 0.9
      mixup_alpha: 0.4
      loss: {label_smoothing: 0.1}
      steps_per_execution: 3
      augmentation: [{HorizontalFlip: {p: 0.5}}]
      initial_weights: {experiment: scratch}
    predict: {batch_size: 3}
    postprocess: {top_k: 5}
    evaluate: {images: 1}
  simple:
    dataset: classification
    architecture: mnist_conv
    model: {dropout: 0.5}
    input: {mean: dataset, std: dataset}
    train:
      epochs: 3
      batch_size: 4
      optimizer: {name: sgd, learning_rate: 0.01, momentum: 0.9}
      schedule: {name: step, every_epochs: 1, factor: 0.5}
      initial_weights: {experiment: scratch}
    predict: {batch_size: 3}
    postprocess: {top_k: 5}
    evaluate: {images: 1}
"""
EVERY_STEP = "checkpoint: {steps: 1}\n"
TRAIN = """
import sys
from pipeline.runtime.errors import InputError
from pipeline.stages import train
try:
    train.run(sys.argv[1], workers=2)
except InputError as error:
    sys.exit(f"refused: {error}")
"""
# Of the environment of a backend's processes.
VARIABLES: dict[str, dict[str, str]] = {"tensorflow": {}, "jax": {"JAX_PLATFORMS": "cpu"}}


def write_small_project(root: Path, backend: str = "tensorflow") -> Path:
    """A project with packed data and the trainings above, which seal what they write."""
    write_project(root)
    shutil.copy(REPOSITORY / "dvc.yaml", root)
    (root / "params.yaml").write_text(f"backend: {backend}\n" + EVERY_STEP + PARAMS + EXPERIMENT, encoding="utf-8")
    return root


def outputs(root: Path, name: str) -> dict[str, str]:
    """The digests of what a training has published."""
    return digests(root / "results" / name)


def position(root: Path, name: str) -> str:
    """The name of the last state that is kept, which has the epochs and steps that are over."""
    return max((file.name for file in root.glob(f".cnnkeras/checkpoints/{name}/*/0*")), default="")


@dataclass
class Ended:
    """The end of a training.

    Attributes:
        said: What it printed.
        is_killed: Whether it was killed, or ended before that.
    """

    said: str
    is_killed: bool


def train_and_kill(root: Path, name: str, moments: random.Random, **variables: str) -> Ended:
    """Kill a training by SIGKILL a random time after a random one of its states was kept."""
    process, states, wanted = start(TRAIN, root, name, **variables), 0, moments.randint(1, 3)
    last = position(root, name)
    while process.poll() is None and states < wanted:
        now = position(root, name)
        states, last = states + (now != last), now
        time.sleep(0.001)
    time.sleep(moments.uniform(0, 0.03))
    process.kill()
    with process:
        said = process.communicate()[1]
    return Ended(said, process.returncode == -signal.SIGKILL)
