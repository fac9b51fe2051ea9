"""A model's look at an image: what is computed alone has the bits of what is computed among others."""

import numpy as np
import pytest

from cnnkeras.looking.look import Look
from cnnkeras.looking.outputs import batch_outputs

SIDE = 48
LOOK = {"task": "classification", "classes": ["a", "b"], "postprocess": {"top_k": 2}, "input": {}}


@pytest.fixture(scope="module")
def model():
    """A fully connected layer behind many numbers, whose sums a processor makes in another order for a single input."""
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIDE, SIDE, 3))
    hidden = keras.layers.Dense(64, activation="relu")(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs)))
    return keras.Model(inputs, keras.layers.Dense(2)(hidden))


def test_an_input_alone_has_the_bits_of_one_in_a_batch(model):
    """Because it is computed beside a copy of itself; the model itself gives other bits for a batch of one."""
    inputs = np.random.default_rng(0).integers(0, 256, (6, SIDE, SIDE, 3), np.uint8)
    together = np.concatenate([*batch_outputs(model, inputs, 4)])
    alone = np.concatenate([next(batch_outputs(model, inputs[[row]], 4)) for row in range(6)])
    np.testing.assert_array_equal(alone, together)
    assert len(alone) == 6


def test_a_batch_of_one_is_what_was_asked_for():
    """`batch_size: 1` computes inputs one by one; more than there are fill no batch beyond two."""
    shapes = []

    class Recorder:
        def predict_on_batch(self, batch):
            shapes.append(len(batch))
            return batch

    for count, batch_size in ((3, 1), (1, 4), (3, 4), (5, 4)):
        found = np.concatenate([*batch_outputs(Recorder(), np.arange(count)[:, None], batch_size)])
        np.testing.assert_array_equal(found[:, 0], np.arange(count))
    assert shapes == [1, 1, 1, 2, 3, 4, 4]


def test_images_of_any_size_are_looked_at_together(model):
    """Each as `augment` packs it; none is none."""
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (*shape, 3), np.uint8) for shape in ((30, 70), (SIDE, SIDE), (200, 90))]
    look = Look(**LOOK, dataset={"size": [SIDE, SIDE]}, predict={"batch_size": 2})
    outputs = look.outputs(model, images)
    np.testing.assert_array_equal(outputs[1], look.outputs(model, images[1:2])[0])
    assert look.outputs(model, []) == []
    answer = look.answer(images[0].shape[:2], outputs[0])
    assert sum(row["probability"] for row in answer.rows) == pytest.approx(1, abs=2e-6)


def test_a_model_of_proposals_needs_them():
    """One clear sentence, before anything is computed."""
    regions = {"name": "proposals", "file": "proposals.json", "sha256": "0" * 64}
    look = Look(
        **{**LOOK, "task": "segmentation"},
        dataset={"size": [SIDE, SIDE]},
        predict={"batch_size": 2, "regions": regions},
    )
    with pytest.raises(ValueError, match=r"received: proposals, and proposals.json has none for your images"):
        look.outputs(None, [np.zeros((9, 9, 3), np.uint8)])
