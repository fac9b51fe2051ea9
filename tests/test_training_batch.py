"""The sheet of the first training batch, as the network sees it."""

import cv2
import numpy as np
import pytest

from pipeline.drawing.overlays import fit
from pipeline.formats.packed import Index, SplitWriter, open_split
from pipeline.params import load_params
from pipeline.stages.train import feed
from pipeline.stages.train.batch_sheet import COLUMNS, SIDE, draw_batch
from pipeline.stages.train.training import resolve
from tests.conftest import DIGITS

EXAMPLES = 30


@pytest.fixture
def training(project):
    """A training of a classifier whose images are turned anew in each epoch."""
    project.edit(
        "    train:\n      epochs: 1\n",
        "    train:\n      augmentation: [{Rotate: {limit: [20, 70], p: 1.0}}]\n      epochs: 1\n",
    )
    project.edit(
        "architecture: mnist1d_conv\n",
        "architecture: mnist1d_conv\n    train: {epochs: 1, batch_size: 1, optimizer: {name: sgd, learning_rate: 0.1}, schedule: {name: constant}, initial_weights: {experiment: scratch}}\n",
    )
    folder, random = project.folder / "data/augmented/crops", np.random.default_rng(0)
    writer = SplitWriter(folder / "train")
    for number in range(EXAMPLES):
        image = random.integers(0, 255, (32, 32, 3), np.uint8)
        writer.append(f"e{number}", fixed={"inputs": image, "labels": np.int32(number % 3)})
    Index("classification", DIGITS, (32, 32, 3), (0.0,), (1.0,), {"train": writer.close()}, {}, {}).write(folder)
    return resolve(load_params().repeats("crops")[0])


def test_the_sheet_has_the_images_that_the_network_gets(training, tmp_path):
    """Those of the reader that the training batches come from, in the order of the batch; equal bytes each time."""
    read, ids = feed._reader(training, "train"), open_split(training.folder, "train")["ids"]
    indices = np.random.default_rng(1).permutation(EXAMPLES)[:8]
    for name in ("first.png", "again.png"):
        draw_batch(tmp_path / name, feed._reader(training, "train"), indices, ids, training)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    sheet = cv2.cvtColor(cv2.imread(str(tmp_path / "first.png")), cv2.COLOR_BGR2RGB)
    inputs, _ = read(indices, 0)
    assert not np.array_equal(inputs, read.inputs[indices])
    for position, image in enumerate(inputs):
        row, column = divmod(position, COLUMNS)
        left = 24 + column * (SIDE + 18)
        found = [
            top
            for top in range(sheet.shape[0] - SIDE)
            if np.array_equal(sheet[top : top + SIDE, left : left + SIDE], fit(image, SIDE))
        ]
        assert len(found) == 1
        assert (found[0] > SIDE) == (row > 0)
