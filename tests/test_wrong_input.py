"""Wrong input through the command line: one line that says what and where, exit code 2, and nothing half-written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main

VOC = """\
  images:
    kind: voc
    root: VOC2007
    files: [{name: voc.tar, sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}]
    splits: {train: train, val: 0.1, test: test, seed: 1}
"""
LARGEST_SEED = 4294967295  # 2^32 - 1


def refused(*command: str) -> str:
    """Run a command that must end with exit code 2, one line on the terminal and nothing new in the folder; returns the line."""
    before = set(Path().rglob("*"))
    ended = CliRunner().invoke(main, command)
    assert (ended.exit_code, ended.stdout) == (2, ""), ended.output
    assert {path for path in set(Path().rglob("*")) - before if ".cnnkeras" not in path.parts} == set()
    (line,) = ended.stderr.splitlines()
    return line.removeprefix("Error: ")


@pytest.mark.parametrize("seed", [-1, LARGEST_SEED + 1])
@pytest.mark.parametrize(
    ("where", "old"),
    [
        ("params.yaml:1: seed", "seed: 1\nsources"),
        ("params.yaml:3: sources.scenes.seed", "kind: digit_scenes, seed: 1"),
        ("params.yaml:9: sources.images.splits.seed", "test: test, seed: 1"),
    ],
)
def test_seeds_have_32_bits(project, seed, where, old):
    """NumPy's generators take no more: a larger seed would end a training with a traceback, or be taken for two numbers."""
    project.edit("datasets:\n", f"{VOC}datasets:\n")
    project.edit(old, old.replace("seed: 1", f"seed: {seed}"))
    assert refused("plan") == f"{where}: expected a seed from 0 to {LARGEST_SEED}; received: {seed}"


def test_the_largest_seed_is_one(project):
    """All 32 bits count."""
    project.edit("seed: 1", f"seed: {LARGEST_SEED}")
    CliRunner().invoke(main, ["download", "scenes"], catch_exceptions=False)
    assert Path("data/raw/scenes").is_dir()


UNKNOWN = "unknown {} {!r}; did you mean {!r}?"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # Misspelt keys, with the nearest
        ("seed: 1\nsources", "sed: 1\nsources", f"1: sed: {UNKNOWN.format('key', 'sed', 'seed')}"),
        ("test: 2}", "tset: 2}", "3: sources.scenes.scenes.tset: unknown key 'tset'; did you mean 'test'?"),
        ("examples: objects", "example: objects", "6: datasets.crops.example: unknown key 'example'; did you mean 'examples'?"),
        ("width: 0.03125", "widht: 0.03125", "14: experiments.crops.model.widht: unknown key 'widht'; did you mean 'width'?"),
        ("      epochs:", "      epoch:", "17: experiments.crops.train.epoch: unknown key 'epoch'; did you mean 'epochs'?"),
        ("learning_rate:", "learning_rat:", "19: experiments.crops.train.optimizer.learning_rat: unknown key"),
        ("nms_iou:", "nms_iuo:", "34: experiments.boxes.postprocess.nms_iuo: unknown key 'nms_iuo'; did you mean 'nms_iou'?"),
        # Missing ones
        ("seed: 1\nsources", "sources", " expected the key 'seed'; received: none"),
        ("      batch_size: 1\n", "", "16: experiments.crops.train: expected the key 'batch_size'; received: none"),
        ("{name: sgd, ", "{", "19: experiments.crops.train.optimizer: expected the key 'name'; received: none"),
        # What has no effect
        ("size: [40]}", "size: [40], jpeg_quality: 90}", "7: datasets.signals.jpeg_quality: expected none for signals; received: 90"),
        ("      batch_size: 1\n", "      batch_size: 1\n      augmentation: [HorizontalFlip: {}]\n", "26: experiments.signals.train.augmentation: expected none, or images to train on; received: some for size [40]"),
        # Values out of range
        ("test: 2}", "test: 0}", "3: sources.scenes.scenes.test: expected a number of at least 1; received: 0"),
        ("epochs: 1", "epochs: 0", "17: experiments.crops.train.epochs: expected a number greater than 0; received: 0"),
        ("rate: 0.1", "rate: .inf", "19: experiments.crops.train.optimizer.learning_rate: expected a finite number; received: inf"),
        ("width: 0.03125", "width: 2", "14: experiments.crops.model.width: expected a number of at most 1; received: 2"),
        ("nms_iou: 0.5", "nms_iou: 1.5", "34: experiments.boxes.postprocess.nms_iou: expected a number of at most 1; received: 1.5"),
        ("std: 64.0", "std: 0", "15: experiments.crops.input.std: expected 'dataset', a number greater than 0 or a list; received: 0"),
        ("std: 64.0", "std: [1, 0, 1]", "15: experiments.crops.input.std.1: expected a number greater than 0; received: 0"),
        ("mean: 128.0", "mean: [1, 2]", "15: experiments.crops.input.mean: expected 'dataset', a number or 3 of them, one a channel; received: [1.0, 2.0]"),
        # Values of the wrong type
        ("epochs: 1", "epochs: ten", "17: experiments.crops.train.epochs: expected a whole number; received: 'ten'"),
        ("epochs: 1", "epochs: '1'", "17: experiments.crops.train.epochs: expected a whole number; received: '1'"),
        ("epochs: 1", "epochs: true", "17: experiments.crops.train.epochs: expected a whole number; received: True"),
        ("epochs: 1", "epochs:", "17: experiments.crops.train.epochs: expected a whole number; received: None"),
        ("epochs: 1", "profile: quick\n      epochs: 1", "17: experiments.crops.train.profile: expected 'deterministic' or 'fast'; received: 'quick'"),
        ("width: 0.03125", "batch_norm: 1", "14: experiments.crops.model.batch_norm: expected true or false; received: 1"),
        ("rate: 0.1", "rate: fast", "19: experiments.crops.train.optimizer.learning_rate: expected a number; received: 'fast'"),
        ("size: [32, 32]", "size: 32", "6: datasets.crops.size: expected a list; received: 32"),
        ("size: [32, 32]", "size: [32, 32, 3]", "6: datasets.crops.size: expected a length of at most 2; received: [32, 32, 3]"),
        ("{name: sgd, learning_rate: 0.1}", "sgd", "19: experiments.crops.train.optimizer: expected a mapping; received: 'sgd'"),
        # Transforms of albumentations and of the papers
        ("task: classification, size: [32, 32]", "task: classification, augmentation: [Afine: {}], copies: 1, size: [32, 32]", "6: datasets.crops.augmentation.0.Afine: unknown transform 'Afine'; did you mean 'Affine'?"),
        ("task: classification, size: [32, 32]", "task: classification, augmentation: [Affine: {rotat: 3}], copies: 1, size: [32, 32]", "6: datasets.crops.augmentation.0.Affine.rotat: unknown key 'rotat'; did you mean 'rotate'?"),
        ("task: classification, size: [32, 32]", "task: classification, augmentation: [RandomCrop: {}], copies: 1, size: [32, 32]", "6: datasets.crops.augmentation.0.RandomCrop: expected the keys 'height' and 'width'; received: none"),
        ("      batch_size: 1\n", "      batch_size: 1\n      augmentation: [Affine: {border_mode: reflect}]\n", "19: experiments.crops.train.augmentation.0.Affine.border_mode: expected 0, 1, 2, 3 or 4; received: 'reflect'"),
        ("      batch_size: 1\n", "      batch_size: 1\n      augmentation: [RandomBrightnessContrast: {brightness_limit: [5, 1]}]\n", "19: experiments.crops.train.augmentation.0.RandomBrightnessContrast.brightness_limit: expected two limits, the lower first; received: [5.0, 1.0]"),
        ("      batch_size: 1\n", "      batch_size: 1\n      augmentation: [PCALighting: {std: 0}]\n", "19: experiments.crops.train.augmentation.0.PCALighting.std: expected a number greater than 0; received: 0"),
        # Names of other entries, of architectures, variants, optimizers, kinds of sources
        ("dataset: crops", "dataset: corps", f"12: experiments.crops.dataset: {UNKNOWN.format('dataset', 'corps', 'crops')}"),
        ("architecture: vgg", "architecture: vg", f"13: experiments.crops.architecture: {UNKNOWN.format('architecture', 'vg', 'vgg')}"),
        ("{width: 0", "{variant: F, width: 0", "14: experiments.crops.model.variant: expected 'A', 'A-LRN', 'B', 'C', 'D' or 'E'; received: 'F'"),
        ("name: sgd", "name: sdg", "19: experiments.crops.train.optimizer.name: unknown name 'sdg'; did you mean 'sgd'? (known: adam, adamw, sgd)"),
        ("{source: scenes, task: det", "{source: scene, task: det", f"8: datasets.boxes.source: {UNKNOWN.format('source', 'scene', 'scenes')}"),
        ("kind: mnist1d", "kind: mnist", f"4: sources.signals.kind: {UNKNOWN.format('kind of source', 'mnist', 'mnist1d')}"),
        ("scratch", "scrath", f"21: experiments.crops.train.initial_weights.experiment: {UNKNOWN.format('experiment', 'scrath', 'scratch')}"),
        ("{experiment: scratch}", "{experiment: masks}", "21: experiments.crops.train.initial_weights"),
        ("  crops: &", "  my-crops: &", "11: experiments.my-crops: expected a name of lower-case letters, digits and _; received: 'my-crops'"),
        # What an architecture cannot serve, or a task is not made for
        ("    dataset: crops", "    dataset: boxes", "13: experiments.crops.architecture: vgg cannot serve dataset boxes: expected a task of classification"),
        ("size: [32, 32]", "size: [16, 16]", "13: experiments.crops.architecture: vgg cannot serve dataset crops: expected an input of at least 32x32"),
        ("size: [32, 32]", "size: [32]", "6: datasets.crops.size: expected [height, width] for images; received: [32]"),
        ("detection, size: [64, 64]", "detection, size: [100, 100]", "33: experiments.boxes.architecture: yolo cannot serve dataset boxes: expected square images whose side is a multiple of 64, the stride of yolo 'full'; received: 100x100. The nearest sizes that work: 64x64 or 128x128"),
        ("{kind: mnist1d, validation_examples: 400}\n", "{kind: mnist1d}\n  b: {kind: mnist1d, seed: 1}\n", "5: sources.b.seed: unknown key 'seed'"),
        ("{source: signals, task: classification", "{source: signals, task: detection", "7: datasets.signals.task: expected a task that a source of kind mnist1d serves"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_named_with_its_line(project, old, new, message):
    """File, line and key, what was expected, what was received; no stage runs before the whole file is right."""
    project.edit(old, new)
    assert refused("augment", "signals").startswith(f"params.yaml:{message}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("seed: 1\nsources:\n\tscenes: {}\n", r"3: expected YAML; received: found character '\t' that cannot start any token. Indent with spaces"),
        ("seed: 1\nsources: {a: [}\n", "2: expected YAML; received: expected the node content, but found '}'"),
        ("seed: 1\nsources: {}\nseed: 2\n", "3: seed: expected every key once; received: 'seed' again, first in line 1"),
        ("", " expected a mapping with seed, sources, datasets and experiments; received: an empty file"),
        ("- seed\n", " expected a mapping with seed, sources, datasets and experiments; received: ['seed']"),
        (b"seed: \xe9\n", "1: expected UTF-8 text; received: the byte 0xe9"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("project")
def test_what_is_no_yaml_is_named_with_its_line(content, message):
    """A tab, an open bracket, a key that stands twice, an empty file, a list, another encoding."""
    Path("params.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert refused("plan").startswith(f"params.yaml:{message}")


@pytest.mark.parametrize("command", [("download", "scenes"), ("train", "crops"), ("plan",), ("report",), ("ui",)])
def test_a_missing_file_is_named(tmp_path, monkeypatch, command):
    """With the folder that one is in: most likely it is not the project's."""
    monkeypatch.chdir(tmp_path)
    expected = "expected a params.yaml in this folder or one above it; received: {}. Change into the project first"
    assert refused(*command) == expected.format(tmp_path)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("download", "scene"), f"params.yaml: {UNKNOWN.format('source', 'scene', 'scenes')}"),
        (("augment", "corps"), f"params.yaml: {UNKNOWN.format('dataset', 'corps', 'crops')}"),
        (("train", "corps"), f"params.yaml: {UNKNOWN.format('experiment', 'corps', 'crops')}"),
        (("train", "crops"), "train@crops: expected data/augmented/crops; received: no such file or folder. Run `cnnkeras augment crops` or"),
        (("show", "crops", "any.png"), "expected the trained model results/crops/model/model.keras; received: no such file. Run `cnnkeras train crops` or"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_named_with_what_makes_it(command, message):
    """An entry that does not exist with the nearest one, data and networks with their command."""
    assert refused(*command).startswith(message)


def test_a_misspelt_command_is_answered_with_the_nearest():
    """Once, under click's two lines of usage."""
    ended = CliRunner().invoke(main, ["trian", "yolo"])
    assert ended.exit_code == 2
    assert ended.stderr.splitlines()[-1].startswith(
        "Error: unknown command 'trian'; did you mean 'train'? (known: augment"
    )
    assert ended.stderr.count("did you mean") + ended.stderr.count("Did you mean") == 1


@pytest.mark.usefixtures("project")
def test_a_disk_without_room_is_one_line():
    """The system refuses to write more than 20 kB to a file, as on a full disk: no archive is left."""
    program = """
import resource, sys
from pipeline.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
main(["download", "scenes"])
"""
    # Python would leave byte code cut at this size, and no later process could import the module.
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line.startswith(
        "Error: download@scenes: expected room on the disk for data/raw/scenes; received: [Errno 27]"
    )
    assert list(Path("data").rglob("*")) == [Path("data/raw")]
