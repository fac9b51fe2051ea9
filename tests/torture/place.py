"""A small project in which every stage is the genuine command; how it is run, killed and compared."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from ruamel.yaml import YAML

from pipeline.runtime import definition
from tests.contents import digests
from tests.copied_project import IMPORTS, copy_project, environment, write_published

CHECKPOINT_STEPS = 20
ON_SIGNALS, STEPS_PER_EPOCH = ("plain", "wide"), 36  # 3,600 examples in batches of 100
PARAMS = """\
seed: 1
checkpoint: {steps: 20}
sources:
  scenes: {kind: digit_scenes, seed: 1, digits_per_scene: [0, 0, 0, 1], scenes: {train: 16, val: 2, test: 2}}
  signals: {kind: mnist1d, validation_examples: 400}
datasets:
  boxes: {source: scenes, task: detection, size: [64, 64]}
  crops: {source: scenes, task: classification, size: [32, 32], examples: objects, copies: 2, augmentation: [HorizontalFlip: {p: 0.5}]}
  signals: {source: signals, task: classification, size: [40]}
experiments:
  plain: &plain
    dataset: signals
    architecture: mnist1d_conv
    model: {}
    input: {mean: dataset, std: dataset}
    train:
      epochs: 30
      batch_size: 100
      optimizer: {name: sgd, learning_rate: 0.05}
      schedule: {name: constant}
      threads: 1
      initial_weights: {experiment: scratch}
    predict: {batch_size: 100}
    postprocess: {top_k: 2}
    evaluate: {images: 2}
  wide:
    <<: *plain
    architecture: mnist1d_fc
    train:
      epochs: 4
      batch_size: 100
      optimizer: {name: sgd, learning_rate: 0.05}
      schedule: {name: constant}
      threads: 1
      initial_weights: {experiment: scratch}
  digits:
    <<: *plain
    dataset: crops
    architecture: mnist_conv
    model: {dropout: 0.5}
    train:
      epochs: 2
      batch_size: 4
      optimizer: {name: sgd, learning_rate: 0.05}
      schedule: {name: constant}
      threads: 1
      initial_weights: {experiment: scratch}
      augmentation: [HorizontalFlip: {p: 0.5}]
  authors:
    <<: *plain
    dataset: boxes
    architecture: yolo
    model: {variant: rerelease_fast, width: 0.03125}
    input: {mean: 0.0, std: 255.0}
    train:
      epochs: 0
      batch_size: 2
      optimizer: {name: sgd, learning_rate: 0.05}
      schedule: {name: constant}
      initial_weights: {experiment: published, layers: ["*"]}
    predict: {batch_size: 2}
    postprocess: {confidence_threshold: 0.1, nms_iou: 0.5, display_threshold: 0.2}
ensembles:
  both: {dataset: signals, members: [plain, wide], combine: mean, postprocess: {top_k: 2}, evaluate: {images: 2}}
lab:
  toeplitz: {claim: toeplitz, length: 10, trials: 4,
    models: {classifier: scratch, encoder: scratch, segmenter: scratch, detector: scratch}}
"""
REPRO = ("cnnkeras", "repro", "--jobs", "2")
# What names a run in MLflow is new each time; so is the seal of the stage that writes it.
RECEIPTS = ("mlflow.json", "log@", "log_ensemble@")


class Place:
    """A copy of the project in a folder of its own."""

    def __init__(self, folder: Path):
        self.folder, self.began = folder, 0.0
        self.environment = {
            **environment(folder.parent),
            "PYTHONPATH": str(folder),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "NO_ALBUMENTATIONS_UPDATE": "1",
        }

    def run(self, *command: str, seconds: float = 3600, **environment: str) -> tuple[int, str]:
        """Run a command to its end; returns its exit code and all that it printed."""
        process = self.start(*command, **environment)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        if process.poll() is None:
            kill(process)
            return -1, f"still running after {seconds} s: {' '.join(command)}\n{self.said()}"
        return process.returncode, self.said()

    def start(self, *command: str, **environment: str) -> subprocess.Popen:
        """Start a command in a process group of its own; `said` returns what it prints."""
        with (self.folder / ".said").open("wb") as said:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self) -> str:
        """What the last command has printed so far."""
        return (self.folder / ".said").read_text(encoding="utf-8", errors="replace")

    def copy(self, folder: Path) -> "Place":
        """A copy of everything in another folder."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder, folder, symlinks=True)
        return Place(folder)

    def seconds(self, label: str) -> float:
        """How long a stage took when it last ran here."""
        return float((self.folder / ".cnnkeras" / "durations" / label).read_text())

    def labels(self) -> list[tuple[str, str]]:
        """(stage, entry) of every stage but `check`, in the order of dvc.yaml."""
        values = YAML(typ="safe").load(self.folder / "params.yaml")
        text = YAML(typ="safe").load(self.folder / "dvc.yaml")["stages"]
        sections = {name: body["foreach"].strip("${}") for name, body in text.items() if "foreach" in body}
        return [(stage, entry) for stage, section in sections.items() for entry in values.get(section) or ()]

    def outputs_of(self, stage: str, entry: str) -> list[Path]:
        """The outputs of a stage, as dvc.lock has them."""
        record = YAML(typ="safe").load(self.folder / "dvc.lock")["stages"][definition.label(stage, entry)]
        return [self.folder / output["path"] for output in record["outs"]]

    def forget(self, stage: str, entry: str) -> None:
        """Have a stage not have run: no output, no record, and nothing in DVC's run cache, from which DVC would take the outputs."""
        for output in self.outputs_of(stage, entry):
            shutil.rmtree(output) if output.is_dir() else output.unlink(missing_ok=True)
        shutil.rmtree(self.folder / ".dvc" / "cache" / "runs", ignore_errors=True)
        lock = self.folder / "dvc.lock"
        label = re.escape(definition.label(stage, entry))
        text, count = re.subn(rf"^  {label}:\n(?:    .*\n)+", "", lock.read_text(), flags=re.MULTILINE)
        assert count == 1
        for file in (lock, self.folder / ".cnnkeras" / "dvc.lock"):
            file.write_text(text)

    def results(self) -> dict[str, str]:
        """Digests of all outputs, but of those that name MLflow's runs."""
        return {
            name: digest
            for name, digest in digests(self.folder, "data", "results").items()
            if not name.rpartition("/")[2].startswith(RECEIPTS) and not name.startswith("results/code/")
        }

    def half_written(self) -> list[str]:
        """Temporary files that somebody should have removed."""
        found = [file for folder in ("data", "results") for file in (self.folder / folder).rglob(".partial-*")]
        return [file.relative_to(self.folder).as_posix() for file in found]

    def processes(self) -> list[psutil.Process]:
        """Processes that run in this folder."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == self.folder:
                    found.append(process)
        return found

    def orphans(self, seconds: float = 120) -> list[str]:
        """Commands that run in this folder still, after so many seconds; they are ended. What shows curves may take a minute to end."""
        deadline = time.monotonic() + seconds
        while (found := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        commands = []
        for process in found:
            with contextlib.suppress(psutil.Error):
                commands.append(f"{process.pid} ({' '.join(process.cmdline())[:200]})")
                process.kill()
        return commands


def kill(process: subprocess.Popen) -> None:
    """End a process and all in its group at once, as a power cut does."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def lay_out(folder: Path) -> Place:
    """The project, in which nothing has run."""
    copy_project(folder, PARAMS + IMPORTS)
    write_published(folder)
    place = Place(folder)
    for command in (("git", "init", "--quiet"), ("git", "add", "--all")):
        must(place, *command)
    return place


def must(place: Place, *command: Sequence[str]) -> str:
    """Run a command that has to succeed; returns what it printed."""
    code, said = place.run(*command)
    if code:
        raise SystemExit(f"torture: {' '.join(command)} ended with {code}:\n{said}")
    return said
