"""Mistakes that would show only when a stage meets them - some after hours - are refused before anything runs."""

import re
import time
from pathlib import Path

import pytest

from pipeline.backend import layer_table, write_layer_table
from pipeline.params import load_params
from pipeline.runtime.errors import InputError
from tests.conftest import PARAMS

HASH = "a" * 64
CROPS = "task: classification, size: [32, 32], examples: objects}"
MASKS = "task: segmentation, size: [64, 64]}"
FLIP = "augmentation: [HorizontalFlip: {}]"
LAB = "lab: {{{}, models: {{classifier: scratch, encoder: scratch, segmenter: scratch, detector: scratch}}}}}}\n"
SECOND = """\
  second:
    <<: *experiment
    train:
      epochs: 1
      batch_size: 1
      optimizer: {name: sgd, learning_rate: 0.1}
      schedule: {name: constant}
      initial_weights: {experiment: EXPERIMENT, layers: LAYERS}
"""


def checked(text: str) -> str | None:
    """What is said of a params.yaml, without the file's name; None if it is accepted."""
    Path("params.yaml").write_text(text, encoding="utf-8")
    begin = time.process_time()
    try:
        load_params(Path("params.yaml"), with_files=True)
    except InputError as error:
        (line,) = str(error).splitlines()
        return line.removeprefix("params.yaml:")
    finally:
        assert time.process_time() - begin < 3
    return None


def edited(old: str, new: str) -> str:
    """The smallest project's params with a text replaced, once."""
    assert old in PARAMS
    return PARAMS.replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # Objects where there are none
        ("task: classification, size: [40]}", "task: classification, size: [40], examples: objects}", "7: datasets.signals.examples: expected 'images', as signals has no objects with boxes; received: 'objects'"),
        ("task: detection, size: [64, 64]}", "task: detection, size: [64, 64], examples: objects}", "8: datasets.boxes.examples: expected 'images' for detection; received: 'objects'"),
        (CROPS, "task: classification, size: [32, 32]}", "6: datasets.crops.examples: expected 'objects', as images of scenes have no class of their own; received: 'images'"),
        # Parts of a batch, and the best epoch
        ("batch_size: 1\n", "batch_size: 1\n      accumulate: 2\n", "19: experiments.crops.train.accumulate: expected a number that divides batch_size, 1; received: 2"),
        ("width: 0.03125}\n    input: {mean: 128.0, std: 64.0}\n    train:\n      epochs: 1\n      batch_size: 1\n", "width: 0.03125, batch_norm: true}\n    input: {mean: 128.0, std: 64.0}\n    train:\n      epochs: 1\n      batch_size: 2\n      accumulate: 2\n", "19: experiments.crops.train.accumulate: expected none, as this vgg has batch normalisation, bn1_1 for example, whose statistics are those of what is computed at once; received: 2. Take a smaller batch_size"),
        ("architecture: deconvnet\n", "architecture: deconvnet\n    train:\n      epochs: 1\n      batch_size: 2\n      accumulate: 2\n      optimizer: {name: sgd, learning_rate: 0.1}\n      schedule: {name: constant}\n      initial_weights: {experiment: scratch}\n", "42: experiments.masks.train.accumulate: expected none, as the loss of segmentation averages over more than one example; received: 2. Take a smaller batch_size"),
        ("batch_size: 1\n", "batch_size: 1\n      keep: best\n      keep_by: val_top1_acuracy\n", "20: experiments.crops.train.keep_by: unknown number of the validation split 'val_top1_acuracy'; did you mean 'val_top1_accuracy'? (known: val_loss, val_top1_accuracy, val_top5_accuracy)"),
        ("batch_size: 1\n", "batch_size: 1\n      keep_by: val_top1_accuracy\n", "19: experiments.crops.train.keep_by: expected keep: best beside it; received: val_top1_accuracy by which nothing is kept"),
        ("batch_size: 1\n", "batch_size: 1\n      keep: best\n      keep_by: val_loss\n", None),
        ("seed: 1\n", "seed: 1\ncheckpoint: {minutes: 0}\n", "2: checkpoint.minutes: expected a number greater than 0; received: 0"),
        ("seed: 1\n", "seed: 1\ncheckpoint: {seconds: 10}\n", "2: checkpoint.seconds: unknown key 'seconds' (known: minutes, steps)"),
        ("seed: 1\n", "seed: 1\ncheckpoint: {minutes: 0.5, steps: 10}\n", None),
        # Copies without augmentation
        (CROPS, f"copies: 2, {CROPS}", "6: datasets.crops.copies: expected 0 without augmentation, as all copies would be equal; received: 2"),
        ("task: classification, size: [40]}", f"task: classification, size: [40], copies: 1, {FLIP}}}", "7: datasets.signals.augmentation: expected none for signals; received: some"),
        # Boxes that must show, where none move
        (MASKS, f"min_visible_fraction: 0.5, {FLIP}, {MASKS}", "9: datasets.masks.min_visible_fraction: expected none, as segmentation has no boxes; received: 0.5"),
        ("task: detection, size: [64, 64]}", "task: detection, size: [64, 64], min_visible_fraction: 0.0}", "8: datasets.boxes.min_visible_fraction: expected none without augmentation, as no box moves; received: 0"),
        # Proposals without a file, and the reverse
        (MASKS, f"examples: proposals, {MASKS}", "9: datasets.masks: expected the key 'proposals' with examples: proposals; received: none"),
        (MASKS, f"examples: proposals, proposals: {{max_proposals: 5}}, {MASKS}", "9: datasets.masks.proposals: expected the keys 'file' and 'sha256'; received: none"),
        (MASKS, f"proposals: {{file: a.json, sha256: {HASH}}}, {MASKS}", "9: datasets.masks.proposals: expected none without examples: proposals; received: some, with examples: images"),
        (CROPS, f"proposals: {{file: a.json, sha256: {HASH}}}, {CROPS}".replace("objects", "proposals"), "6: datasets.crops.examples: expected 'images' or 'objects' for classification; received: 'proposals'"),
        (MASKS, f"examples: proposals, proposals: {{file: a.json, sha256: {HASH}}}, {MASKS}", "9: datasets.masks.proposals.file: expected a file in the project; received: 'a.json', which is not there"),
        (MASKS, f"examples: proposals, proposals: {{file: {300 * 'a'}, sha256: {HASH}}}, {MASKS}", "9: datasets.masks.proposals.file: expected a file in the project; received: '" + 300 * "a" + "', which is not there"),
        (MASKS, f"examples: proposals, proposals: {{file: ../a.json, sha256: {HASH}}}, {MASKS}", "9: datasets.masks.proposals.file: expected the path of a file in the project; received: '../a.json'"),
        # A size that the source does not have, or that cannot be held
        ("size: [40]", "size: [41]", "7: datasets.signals.size: expected [40], the signals' length; received: [41]"),
        ("size: [40]", "size: [40, 40]", "7: datasets.signals.size: expected [40], the signals' length; received: [40, 40]"),
        ("size: [32, 32]", "size: [32]", "6: datasets.crops.size: expected [height, width] for images; received: [32]"),
        ("size: [32, 32]", "size: [100000, 100000]", "6: datasets.crops.size: expected images of at most 9,459 x 9,459 pixels in all; received: [100000, 100000]"),
        ("size: [32, 32]", "size: [100000000, 1]", "6: datasets.crops.size.0: expected a number of at most 1,000,000; received: 100000000"),
        # A schedule that never acts, or is not over when the training is
        ("{name: constant}", "{name: step, every_epochs: 1, factor: 0.5}", "20: experiments.crops.train.schedule.every_epochs: expected changes of the rate within the 1 epochs of training; received: one after 1"),
        ("{name: constant}", "{name: piecewise, epochs: [0.5, 1.5], factors: [1, 0.1, 0.01]}", "20: experiments.crops.train.schedule.epochs: expected changes of the rate within the 1 epochs of training; received: one after 1.5"),
        ("{name: constant}", "{name: plateau, factor: 0.1, patience_epochs: 3}", "20: experiments.crops.train.schedule.patience_epochs: expected changes of the rate within the 1 epochs of training; received: one after 3"),
        ("{name: constant}", "{name: cosine, epochs: 1.5}", "20: experiments.crops.train.schedule.epochs: expected at most 1, the epochs of training, so that the schedule reaches its end; received: 1.5"),
        ("epochs: 1\n      batch_size: 1\n      optimizer: {name: sgd, learning_rate: 0.1}\n      schedule: {name: constant}", "epochs: 3\n      batch_size: 1\n      optimizer: {name: sgd, learning_rate: 0.1}\n      schedule: {name: cosine, epochs: 2}", "20: experiments.crops.train.schedule: expected a rate above 0 in each of the 3 epochs of training; received: 0 in the last one"),
        ("{name: constant}", "{name: cosine, epochs: 1, last_factor: 1.0}", "20: experiments.crops.train.schedule.last_factor: expected a number less than 1; received: 1.0"),
        ("{name: constant}", "{name: cosine, epochs: 0}", "20: experiments.crops.train.schedule.epochs: expected a number greater than 0; received: 0"),
        ("{name: constant}", "{name: cosine, epochs: 1}", None),
        # Mixtures of examples, losses and gradients
        ("architecture: deconvnet\n", "architecture: deconvnet\n    train:\n      epochs: 1\n      batch_size: 2\n      mixup_alpha: 0.2\n      optimizer: {name: sgd, learning_rate: 0.1}\n      schedule: {name: constant}\n      initial_weights: {experiment: scratch}\n", "42: experiments.masks.train.mixup_alpha: expected none, as the targets of segmentation cannot be mixed; received: 0.2"),
        ("batch_size: 1\n", "batch_size: 1\n      mixup_alpha: 0\n", "19: experiments.crops.train.mixup_alpha: expected a number greater than 0; received: 0"),
        ("batch_size: 1\n", "batch_size: 1\n      mixup_alpha: 0.2\n", "31: experiments.boxes.train.mixup_alpha: expected none, as the targets of detection cannot be mixed; received: 0.2"),
        ("batch_size: 1\n", "batch_size: 1\n      loss: {label_smoothing: 1.0}\n", "19: experiments.crops.train.loss.label_smoothing: expected a number less than 1; received: 1.0"),
        ("batch_size: 1\n", "batch_size: 1\n      loss: {class_weights: [1, 2]}\n", "19: experiments.crops.train.loss.class_weights: expected 10 numbers, one for each class; received: 2"),
        ("batch_size: 1\n", "batch_size: 1\n      loss: {class_weights: [1, 2, 1, 1, 1, 1, 1, 1, 1, 0]}\n", "19: experiments.crops.train.loss.class_weights.9: expected a number greater than 0; received: 0"),
        ("batch_size: 1\n", "batch_size: 1\n      loss: {class_weights: [1, 2, 1, 1, 1, 1, 1, 1, 1, 0.5], label_smoothing: 0.1}\n", "31: experiments.boxes.train.loss.class_weights: unknown key 'class_weights'; did you mean 'coord_weight'? (known: coord_weight, noobj_weight)"),
        ("architecture: deconvnet\n", "architecture: deconvnet\n    train:\n      epochs: 1\n      batch_size: 2\n      loss: {class_weights: [1, 2, 3]}\n      optimizer: {name: sgd, learning_rate: 0.1}\n      schedule: {name: constant}\n      initial_weights: {experiment: scratch}\n", "42: experiments.masks.train.loss.class_weights: expected 10 numbers, one for each class; received: 3"),
        ("architecture: deconvnet\n", "architecture: deconvnet\n    train:\n      epochs: 1\n      batch_size: 2\n      loss: {class_weights: [1, 2, 3, 1, 2, 3, 1, 2, 3, 0.5], background_weight: 0.5}\n      optimizer: {name: sgd, learning_rate: 0.1}\n      schedule: {name: constant}\n      initial_weights: {experiment: scratch}\n", None),
        ("batch_size: 1\n", "batch_size: 1\n      loss: {coord_weight: 1.0}\n", "19: experiments.crops.train.loss.coord_weight: unknown key 'coord_weight'; did you mean 'class_weights'? (known: class_weights, label_smoothing)"),
        ("{name: sgd, learning_rate: 0.1}", "{name: adamw, learning_rate: 0.1, global_clipnorm: 0}", "19: experiments.crops.train.optimizer.global_clipnorm: expected a number greater than 0; received: 0"),
        ("{name: sgd, learning_rate: 0.1}", "{name: adamw, learning_rate: 0.1, momentum: 0.9}", "19: experiments.crops.train.optimizer.momentum: unknown key 'momentum' (known: global_clipnorm, learning_rate, name, weight_decay)"),
        ("{name: sgd, learning_rate: 0.1}", "{name: adamw, learning_rate: 0.1, global_clipnorm: 1}", None),
        # Averages of the weights
        ("batch_size: 1\n", "batch_size: 1\n      ema_momentum: 1.0\n", "19: experiments.crops.train.ema_momentum: expected a number less than 1; received: 1.0"),
        ("batch_size: 1\n", "batch_size: 1\n      ema_momentum: 0\n", "19: experiments.crops.train.ema_momentum: expected a number greater than 0; received: 0"),
        ("batch_size: 1\n", "batch_size: 1\n      ema_momentum: 0.99\n", None),
        ("{name: constant}", "{name: constant, warmup_epochs: 2}", "20: experiments.crops.train.schedule.warmup_epochs: expected a warm-up shorter than the training, 1 epochs; received: 2"),
        ("{name: constant}", "{name: piecewise, epochs: [0.5], factors: [1, 0.1, 0.01]}", "20: experiments.crops.train.schedule: expected 2 factors for 1 epochs; received: 3"),
        # More examples a step than there are, or than fit
        ("batch_size: 1\n", "batch_size: 13\n", "18: experiments.crops.train.batch_size: expected at most 12 examples, as crops has no more to train on; received: 13"),
        ("batch_size: 1\n", "batch_size: 100000000000000000000000\n", "18: experiments.crops.train.batch_size: expected a number of at most 1,000,000; received: 100000000000000000000000"),
        ("predict: {batch_size: 1}", "predict: {batch_size: 9999999999}", "22: experiments.crops.predict.batch_size: expected a number of at most 1,000,000; received: 9999999999"),
        ("predict: {batch_size: 1}", "predict: {batch_size: 700000}", r"30: experiments.boxes.predict.batch_size: expected at most 699,050 inputs of this size at once, 32 GiB; received: 700000"),
        # Values that only a slip explains
        ("train: 4,", "train: 1000000000000,", "3: sources.scenes.scenes.train: expected a number of at most 999,999; received: 1000000000000"),
        ("epochs: 1\n", "epochs: 100000000000000000000\n", "17: experiments.crops.train.epochs: expected a number of at most 1,000,000; received: 100000000000000000000"),
        ("batch_size: 1\n", "batch_size: 1\n      steps_per_execution: 1000000000\n", "19: experiments.crops.train.steps_per_execution: expected a number of at most 1,000,000; received: 1000000000"),
        ("batch_size: 1\n", "batch_size: 1\n      threads: 10000\n", "19: experiments.crops.train.threads: expected a number of at most 1,024; received: 10000"),
        ("evaluate: {images: 4}", "evaluate: {images: 1000000000}", "24: experiments.crops.evaluate.images: expected a number of at most 1,000; received: 1000000000"),
        ("top_k: 2", "top_k: 99999999999", "23: experiments.crops.postprocess.top_k: expected at most 10, the number of classes of crops; received: 99999999999"),
        ("top_k: 2", "top_k: 11", "23: experiments.crops.postprocess.top_k: expected at most 10, the number of classes of crops; received: 11"),
        # A decay of what the network does not have
        ("learning_rate: 0.1}", "learning_rate: 0.1, normalization_decay: 0.0005}", "19: experiments.crops.train.optimizer.normalization_decay: expected none, as this vgg has no batch normalisation; received: 0.0005"),
        ("predict: {batch_size: 1}", "predict: {batch_size: 1, views: [{name: crop_grid, places: 100000, scales: [32]}]}", "22: experiments.crops.predict.views.0: expected at most 10,000 views; received: 20,000,000,000"),
        ("predict: {batch_size: 1}", "predict: {batch_size: 1, views: [{name: dense, scales: [32, 1000000]}]}", "22: experiments.crops.predict.views.0.scales: expected shorter sides of at most 10,000 pixels; received: 1000000"),
        # What an architecture does not do
        ("architecture: deconvnet", "architecture: vgg", "38: experiments.masks.architecture: vgg cannot serve dataset masks: expected a task of classification for vgg; received: 'segmentation'"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("project")
def test_what_would_fail_late_is_refused_at_once(old, new, message):
    """With the line, the key, and what was expected."""
    assert checked(edited(old, new)) == message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (CROPS, f"copies: 2, {FLIP}, {CROPS}"),
        (MASKS, f"examples: objects, {MASKS}"),
        ("epochs: 1\n", "epochs: 0x10\n"),
        ("width: 0.03125}\n    input: {mean: 128.0, std: 64.0}\n    train:\n      epochs: 1\n      batch_size: 1\n", "width: 0.03125}\n    input: {mean: 128.0, std: 64.0}\n    train:\n      epochs: 1\n      batch_size: 2\n      accumulate: 2\n"),
        ("batch_size: 1\n", "batch_size: 12\n"),
        ("epochs: 1\n      batch_size: 1\n      optimizer: {name: sgd, learning_rate: 0.1}\n      schedule: {name: constant}", "epochs: 3\n      batch_size: 1\n      optimizer: {name: sgd, learning_rate: 0.1}\n      schedule: {name: step, every_epochs: 2, factor: 0.1, warmup_epochs: 0.5}"),
        ("predict: {batch_size: 1}", "predict: {batch_size: 100000}"),
        ("top_k: 2", "top_k: 10"),
        ("width: 0.03125}", "width: 0.03125, batch_norm: true}"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("project")
def test_what_can_be_is_no_mistake(old, new):
    """Neighbours of the mistakes above."""
    text = edited(old, new)
    if "batch_norm" in new:
        text = text.replace("learning_rate: 0.1}", "learning_rate: 0.1, normalization_decay: 0.0005}", 1)
        text = text.split("  signals:\n    <<")[0]
    if "accumulate" in new:
        text = text.split("  masks:\n    <<")[0]
    if "batch_size: 12" in new:
        text = text.replace("dataset: boxes", "dataset: crops").split("  boxes:\n    <<")[0]
    assert checked(text) is None


@pytest.mark.usefixtures("project")
def test_proposals_that_are_there_are_accepted():
    """Relative to the project's folder; what the file holds is looked at when it is used. Only what runs stages needs it."""
    text = edited(MASKS, f"examples: proposals, proposals: {{file: a.json, sha256: {HASH}}}, {MASKS}")
    Path("params.yaml").write_text(text)
    assert load_params().datasets["masks"].proposals.file == "a.json"
    Path("a.json").write_text("[]")
    assert checked(text) is None


@pytest.mark.parametrize(
    ("experiment", "layers", "message"),
    [
        ("crops", '["*"]', None),
        ("crops", '["conv1_?", "fc[67]"]', None),
        ("crops", '["kernel*"]', r"47: experiments\.second\.train\.initial_weights\.layers\.0: expected a pattern of layers that second and crops both have \(conv1_1, .*fc8\); received: 'kernel\*'"),
        ("crops", '["conv*", "conv1_3"]', r"47: .*layers\.1: .*received: 'conv1_3'; did you mean 'conv\d_3'\?"),
        ("crops", '["bn*"]', r"47: .*received: 'bn\*'"),
        ("signals", '["*"]', r"47: .*both have \(there are none\); received: '\*'"),
        ("boxes", '["conv1"]', r"47: .*received: 'conv1'"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("project")
def test_patterns_that_match_no_layer_of_both_models_are_refused(experiment, layers, message):
    """VGG without batch normalisation has no bn*; YOLO's layers are conv1 and so on, VGG's conv1_1."""
    said = checked(PARAMS + SECOND.replace("EXPERIMENT", experiment).replace("LAYERS", layers))
    assert said is None if message is None else re.fullmatch(message, said), said


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ("classifier: crops, encoder: crops, segmenter: masks, detector: boxes", None),
        ("classifier: boxes, encoder: crops, segmenter: masks, detector: boxes", "classifier: expected an experiment for classification; received: one for detection, boxes"),
        ("classifier: crops, encoder: signals, segmenter: masks, detector: boxes", "encoder: expected an experiment on images; received: one on signals, signals"),
        ("classifier: crops, encoder: crops, segmenter: crops, detector: boxes", "segmenter: expected an experiment for segmentation; received: one for classification, crops"),
        ("classifier: crops, encoder: crops, segmenter: masks, detector: masks", "detector: expected an experiment for detection; received: one for segmentation, masks"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("project")
def test_a_claim_gets_models_that_it_can_examine(models, message):
    """The figure of what the convolutions see has a classifier, an encoder, a segmenter and a detector of images."""
    text = f"{PARAMS}lab: {{a: {{claim: features, models: {{{models}}}}}}}\n"
    assert checked(text) == (message and f"40: lab.a.models.{message}")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("a: {claim: sampling, digit: 1797", "40: lab.a.digit: expected a number less than 1,797; received: 1797"),
        ("a: {claim: features, scene: 1000000", "40: lab.a.scene: expected a number less than 400; received: 1000000"),
        ("a: {claim: toeplitz, trials: 2000000", "40: lab.a.trials: expected a whole number of at most 1,000,000; received: 2000000"),
        ("a: {claim: geometry, architectures: [mnist_conv]", "40: lab.a.architectures.0: expected one of mnist1d_conv, alexnet, vgg, yolo, deconvnet; received: 'mnist_conv'; did you mean 'mnist1d_conv'?"),
        ("a: {claim: features", "40: lab.a.models: expected an experiment for each; received: 'scratch' among them"),
        ("a: {claim: translation, seeds: 2, steps: 1, rate: 0.1, shifts: 5", "40: lab.a.shifts: expected at most 4, which leave the digit whole; received: 5"),
        ("a: {claim: sampling, digit: 1796", None),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("project")
def test_what_the_lab_does_not_have_is_refused(entry, message):
    """scikit-learn has 1,797 digits, the default params.yaml 400 test scenes."""
    assert checked(PARAMS + LAB.format(entry)) == message


def test_the_table_of_layers_is_what_would_be_written():
    """Otherwise run `python -m pipeline.backend.write_layer_table`. An architecture of one's own need not be there."""
    rows = write_layer_table.rows()
    table = layer_table.table()
    assert {name: rows[name] for name in table} == table
    assert {"alexnet", "deconvnet", "mnist1d_conv", "mnist1d_fc", "vgg", "yolo"} <= set(table)


def test_an_architecture_of_ones_own_is_in_no_table():
    """The training itself then says what matches nothing."""
    assert layer_table.layers("mine", "classification", {"variant": "A"}) is None
