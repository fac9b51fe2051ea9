"""A project with a trained model of each kind of look at an image, as all stages and `cnnkeras log` leave it."""

import os
import subprocess
import sys
from pathlib import Path

from pipeline.formats.packed import open_split

REPOSITORY = Path(__file__).parents[1]
PARAMS = """
seed: 1
sources:
  scenes: {kind: digit_scenes, seed: 1, scenes: {train: 16, val: 4, test: 5}}
  signals: {kind: mnist1d, validation_examples: 400}
datasets:
  crops: {source: scenes, task: classification, size: [32, 32], examples: objects}
  stored: {source: scenes, task: classification, shorter_side: 100, jpeg_quality: 90, examples: objects}
  boxes: {source: scenes, task: detection, max_shorter_side: 90, jpeg_quality: 80}
  masks: {source: scenes, task: segmentation, size: [48, 48]}
  signals: {source: signals, task: classification, size: [40]}
experiments:
  crops: &experiment
    dataset: crops
    architecture: yolo
    model: {variant: small, width: 0.125, batch_norm: true}
    input: {mean: dataset, std: dataset}
    train:
      epochs: 1
      batch_size: 8
      optimizer: {name: sgd, learning_rate: 0.0001}
      schedule: {name: constant}
      initial_weights: {experiment: scratch}
    predict: {batch_size: 4}
    postprocess: {top_k: 3}
    evaluate: {images: 1}
  centred:
    <<: *experiment
    dataset: stored
    input: {mean: dataset, std: dataset, size: [32, 32], fit: {name: centre, shorter_side: 40}}
  viewed:
    <<: *experiment
    predict: {batch_size: 16, views: [{name: crop_grid, scales: [40], places: 2, mirrored: true}, {name: centre_crop, scales: [36]}]}
  letterboxed:
    <<: *experiment
    dataset: boxes
    input: {mean: dataset, std: dataset, size: [48, 48], fit: {name: letterbox, fill: 99}}
    postprocess: {confidence_threshold: 0.02, nms_iou: 0.4, display_threshold: best}
  masks: &masks
    <<: *experiment
    dataset: masks
    architecture: deconvnet
    model: {width: 0.0625, score_stddev: 0.05, batch_norm: false}  # whose maps have several classes
    input: {mean: dataset, std: dataset, size: [32, 32], fit: {name: letterbox, fill: 0}}
    postprocess: {resize: bilinear}
  merged:
    <<: *masks
    input: {mean: dataset, std: dataset, size: [32, 32], fit: {name: stretch}}
    predict: {batch_size: 4, regions: {name: boxes, fractions: [0.9], merge: mean}}
  signals:
    <<: *experiment
    dataset: signals
    architecture: mnist1d_conv
    model: {}
ensembles:
  both: {dataset: crops, members: [crops, viewed], combine: mean, postprocess: {top_k: 3}, evaluate: {images: 1}}
"""
MAKE = """
from pipeline.params import load_params
from pipeline.stages import augment, combine, download, evaluate, log, postprocess, predict, train
params = load_params()
for name in params.sources:
    download.run(name)
for name in params.datasets:
    augment.run(name, workers=1)
for name in params.experiments:
    train.run(name, workers=1)
    predict.run(name)
for name in params.ensembles:
    combine.run(name)
for name in (*params.experiments, *params.ensembles):
    postprocess.run(name)
    evaluate.run(name)
log.run()
"""


def run(*command: object, cwd: Path, **more: str) -> subprocess.CompletedProcess:
    """Run Python in a process of its own, with this project's code."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "3", **more}
    command = [sys.executable, *map(str, command)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600)


def make(folder: Path) -> Path:
    """Make the project in a folder that is there; the files of each data set's test images are in `files/DATASET`."""
    (folder / "params.yaml").write_text(PARAMS)
    done = run("-c", MAKE, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    for dataset in ("crops", "stored", "boxes", "masks"):
        split = open_split(folder / "data/augmented" / dataset, "test")
        (folder / "files" / dataset).mkdir(parents=True)
        for id, content in zip(split["ids"], split["originals"], strict=True):
            (folder / "files" / dataset / f"{id}.png").write_bytes(content.tobytes())
    return folder
