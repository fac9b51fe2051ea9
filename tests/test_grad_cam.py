"""Grad-CAM against its formula, and the claim of the lab that looks at models by it."""

import keras
import numpy as np
import pytest
from keras import ops

from cnnkeras.grad_cam import activation_maps
from pipeline.backend import model_files
from pipeline.lab import scenes
from pipeline.lab.claims import grad_cam
from pipeline.runtime.errors import InputError

NOTHING = {"classifier": "scratch", "encoder": "scratch", "segmenter": "scratch", "detector": "scratch"}
IMAGES = np.random.default_rng(0).normal(size=(3, 8, 6, 3)).astype("float32")


def logit(labels):
    return lambda outputs: ops.sum(outputs * ops.one_hot(np.array(labels), outputs.shape[-1]), axis=-1)


def network(*layers: keras.Layer) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((8, 6, 3)), keras.layers.Conv2D(4, 3, activation="relu", name="conv"), *layers]
    )
    return keras.Model(model.inputs[0], model.outputs[0])


def test_with_one_dense_layer_after_the_mean_the_map_is_the_weighted_sum():
    """Section 3.1: y = sum_k w_k mean(A_k), so alpha_k is w_k / Z, and the map ReLU(sum_k w_k A_k) / Z."""
    model = network(keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(5, name="dense"))
    maps = np.asarray(keras.Model(model.input, model.get_layer("conv").output)(IMAGES))
    kernel, labels = np.asarray(model.get_layer("dense").kernel), [4, 0, 2]
    expected = np.stack([np.maximum(a @ kernel[:, label], 0) / (6 * 4) for a, label in zip(maps, labels, strict=True)])
    found = activation_maps(model, "conv", IMAGES, logit(labels))
    assert (expected > 0).any()
    assert (expected == 0).any()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_the_weights_are_mean_gradients_of_a_prediction():
    """By differences in each position of each map; dropout draws nothing and batch normalisation takes its own statistics."""
    layers = keras.layers
    model = network(
        layers.BatchNormalization(name="bn"),
        layers.Conv2D(5, 3, activation="tanh"),
        layers.Dropout(0.9),
        layers.Flatten(),
        layers.Dense(3),
    )
    model.get_layer("bn").set_weights([np.full(4, value, "float32") for value in (1.5, 0.2, 0.3, 2.0)])
    maps = model.get_layer("conv").output
    head, features = keras.Model(maps, model.output), np.asarray(keras.Model(model.input, maps)(IMAGES[:1]))
    step, gradients = 1e-2, np.zeros(features.shape)
    for place in np.ndindex(*features.shape):
        moved = [features.copy(), features.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        high, low = (float(np.asarray(head(each, training=False))[0, 1]) for each in moved)
        gradients[place] = (high - low) / (2 * step)
    expected = np.maximum((gradients.mean(axis=(1, 2), keepdims=True) * features).sum(axis=-1), 0)
    before = [value.copy() for value in model.get_weights()]
    found = activation_maps(model, "conv", IMAGES[:1], logit([1]))
    assert expected.max() > 0
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.005 * expected.max())
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("layer", "received"), [("convv", "received: 'convv', No such layer"), ("dense", "an output of shape")]
)
def test_a_layer_without_maps_is_refused(layer, received):
    """With those that have some."""
    model = network(keras.layers.Flatten(), keras.layers.Dense(2, name="dense"))
    with pytest.raises(ValueError, match="expected a layer with feature maps, such as conv; received") as error:
        activation_maps(model, layer, IMAGES, logit([0, 0, 0]))
    assert received in str(error.value)


def settings() -> grad_cam.Settings:
    return grad_cam.Settings(claim="grad_cam", models=NOTHING | {"classifier": "digits"}, layer="conv", scenes=6)


def test_the_claim_holds_for_maps_on_the_digits_and_not_for_those_on_the_other_one(monkeypatch):
    """Maps that are 1 in the box of their digit: all of it inside, and more than the other's. In the other's box: none."""
    given = keras.Input((96, 96, 3))
    flat = keras.layers.Flatten()(keras.layers.Conv2D(2, 3, name="conv")(given))
    model = keras.Model(given, keras.layers.Dense(10)(flat))
    monkeypatch.setattr(model_files, "load", lambda _file: model)
    drawn = grad_cam._two_digits(6)

    def maps(own: bool):
        found = []
        for scene in drawn:
            for number in (0, 1):
                left, upper, right, lower = np.rint(scene.boxes[number if own else 1 - number]).astype(int)
                each = np.zeros(scene.image.shape[:2], np.float32)
                each[upper:lower, left:right] = 1
                found.append(grad_cam.cv2.resize(each, (96, 96)))
        return lambda *_arguments: np.stack(found)

    for own, holds in ((True, True), (False, False)):
        monkeypatch.setattr("cnnkeras.grad_cam.activation_maps", maps(own))
        found = grad_cam.measure(settings(), seed=1)
        assert found.holds is holds
        assert found.measured["more_on_its_own_digit"] == float(own)
        assert (found.measured["inside_the_box"] > 0.9) is own
    monkeypatch.undo()
    monkeypatch.setattr(model_files, "load", lambda _file: model)
    assert not grad_cam.measure(settings(), seed=1).holds  # untrained
    with pytest.raises(InputError, match="grad_cam: expected a layer with feature maps, such as conv; received: 'c'"):
        grad_cam.measure(settings().model_copy(update={"layer": "c"}), seed=1)


def test_of_a_detector_the_score_of_a_class_is_that_of_all_its_boxes():
    """Sum over cells and boxes of confidence x class probability, by loops."""
    outputs = np.random.default_rng(0).uniform(size=(2, 3, 3, 20)).astype("float32")
    labels = np.array([7, 2])
    expected = [
        sum(
            outputs[n, row, column, labels[n]] * outputs[n, row, column, 10 + box]
            for row in range(3)
            for column in range(3)
            for box in range(2)
        )
        for n in range(2)
    ]
    np.testing.assert_allclose(np.asarray(grad_cam._score(labels)(outputs)), expected, rtol=1e-5)


def test_what_the_claim_cannot_look_at_is_refused():
    """No model, two, one of another role, one of other classes."""
    for models in (NOTHING, NOTHING | {"classifier": "a", "detector": "b"}, NOTHING | {"segmenter": "a"}):
        with pytest.raises(ValueError, match="expected one experiment, as classifier or as detector; received: "):
            grad_cam.Settings(claim="grad_cam", models=models, layer="conv")
    grad_cam.require_model("classifier", task="classification", input_shape=(8, 8, 3), classes=scenes.CLASSES)
    for shape, classes in (((40, 1), 10), ((8, 8, 3), 3)):
        with pytest.raises(ValueError, match="expected an experiment on images of the 10 digits"):
            grad_cam.require_model("classifier", task="classification", input_shape=shape, classes=classes)
