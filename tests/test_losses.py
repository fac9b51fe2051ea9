"""YOLO's loss against darknet's detection layer, number by number, and segmentation's against its formula."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnnkeras.objectives import ResponsibleIoU, SegmentationCrossEntropy, ValidPixelAccuracy, YoloLoss
from cnnkeras.tasks import detection

GRID, BOXES, CLASSES = 3, 2, 4


def random_batch(images: int = 20, seed: int = 0, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Targets of one to five objects an image, and outputs (images, 3, 3, 4 + 5 x 2)."""
    rng = np.random.default_rng(seed)
    boxes, labels = [], []
    for _ in range(images):
        count = rng.integers(1, 6)
        centre, size = rng.uniform(0.1, 0.9, (count, 2)), rng.uniform(0.05, 0.9, (count, 2))
        boxes.append(np.concatenate([centre - size / 2, centre + size / 2], axis=1))
        labels.append(rng.integers(0, CLASSES, count))
    targets = detection.encode_targets(boxes, labels, grid=GRID, classes=CLASSES)
    outputs = rng.normal(0.4, 0.4, (images, GRID, GRID, CLASSES + 5 * BOXES)) * scale
    return targets, outputs.astype(np.float32)


def loss_and_gradient(loss, targets, outputs, **function) -> tuple[float, np.ndarray]:
    """Of a batch, by TensorFlow."""

    @tf.function(**function)
    def differentiate(targets, outputs):
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            value = loss(targets, outputs)
        return value, tape.gradient(value, outputs)

    value, gradient = differentiate(tf.constant(targets), tf.constant(outputs, tf.float32))
    return float(value), gradient.numpy()


def darknet(target, output, coord_scale=5.0, noobject_scale=0.5) -> tuple[float, np.ndarray]:
    """src/detection_layer.c for one image, scalar by scalar: half the squared errors, and `delta`."""
    target, output = target.astype(float), output.astype(float)
    delta = np.zeros_like(output)
    weight = np.zeros_like(output)
    for row, column in itertools.product(range(GRID), range(GRID)):
        truth, out = target[row, column], output[row, column]
        d, w = delta[row, column], weight[row, column]
        for j in range(BOXES):
            w[CLASSES + j] = noobject_scale
            d[CLASSES + j] = noobject_scale * (0 - out[CLASSES + j])
        if not truth[0]:
            continue
        for c in range(CLASSES):
            w[c] = 1
            d[c] = truth[5 + c] - out[c]
        x, y, width, height = truth[1] / GRID, truth[2] / GRID, truth[3], truth[4]
        best, best_iou, best_rmse, ious = -1, 0.0, np.inf, []
        for j in range(BOXES):
            px, py, pw, ph = out[CLASSES + BOXES + 4 * j :][:4]
            px, py, pw, ph = px / GRID, py / GRID, pw * pw, ph * ph
            across = min(px + pw / 2, x + width / 2) - max(px - pw / 2, x - width / 2)
            down = min(py + ph / 2, y + height / 2) - max(py - ph / 2, y - height / 2)
            shared = across * down if across > 0 and down > 0 else 0.0
            iou = shared / (pw * ph + width * height - shared)
            rmse = np.sqrt((px - x) ** 2 + (py - y) ** 2 + (pw - width) ** 2 + (ph - height) ** 2)
            ious.append(iou)
            if best_iou > 0 or iou > 0:
                if iou > best_iou:
                    best, best_iou = j, iou
            elif rmse < best_rmse:
                best, best_rmse = j, rmse
        w[CLASSES + best] = 1
        d[CLASSES + best] = ious[best] - out[CLASSES + best]
        place = CLASSES + BOXES + 4 * best
        for offset, wanted in enumerate([truth[1], truth[2], np.sqrt(truth[3]), np.sqrt(truth[4])]):
            w[place + offset] = coord_scale
            d[place + offset] = coord_scale * (wanted - out[place + offset])
    # delta = scale x error, so that half of scale x error^2 is half of delta^2 / scale.
    cost = 0.5 * np.sum(np.divide(delta**2, weight, out=np.zeros_like(delta), where=weight > 0))
    return cost, delta


@pytest.mark.parametrize("scale", [1.0, 0.01, 10.0])
@pytest.mark.parametrize("weights", [{}, {"coord_weight": 2.0, "noobj_weight": 0.1}])
def test_the_loss_and_its_gradient_are_darknets(scale, weights):
    """The mean of the images' half squared errors; its gradient is minus darknet's delta over the batch size."""
    targets, outputs = random_batch(scale=scale)
    scales = dict(zip(("coord_scale", "noobject_scale"), weights.values(), strict=False))
    costs, deltas = zip(*(darknet(*image, **scales) for image in zip(targets, outputs, strict=True)), strict=True)
    value, gradient = loss_and_gradient(YoloLoss(**weights), targets, outputs)
    np.testing.assert_allclose(value, np.mean(costs), rtol=1e-5)
    np.testing.assert_allclose(gradient, -np.array(deltas) / len(targets), rtol=1e-4, atol=1e-6)


def test_xla_compiles_the_loss_to_the_same_numbers():
    """Keras compiles with XLA on a GPU."""
    targets, outputs = random_batch(seed=1)
    value, gradient = loss_and_gradient(YoloLoss(), targets, outputs)
    compiled_value, compiled_gradient = loss_and_gradient(YoloLoss(), targets, outputs, jit_compile=True)
    np.testing.assert_allclose(compiled_value, value, rtol=1e-5)
    np.testing.assert_allclose(compiled_gradient, gradient, rtol=1e-4, atol=1e-6)


def one_cell(boxes: list[list[float]], confidences=(0.0, 0.0), classes=(0.0, 0.0), target=(0.5, 0.5, 0.25, 0.25)):
    """Target and output of a 1 x 1 grid with an object of class 1 of 2, and two boxes (x, y, sqrt w, sqrt h)."""
    targets = np.array([1, *target, 0, 1], np.float32).reshape(1, 1, 1, 7)
    return targets, np.array([*classes, *confidences, *np.ravel(boxes)], np.float32).reshape(1, 1, 1, 12)


def test_the_loss_by_hand():
    """One cell, an object of .25 x .25 in its middle; the first box fits but for its x, the second is elsewhere.

    Box 1 is .125 off: it shares .125 x .25 of 2 x .25 x .25 - .125 x .25, IoU 1/3. Coordinates: 5 x .125² = .078125.
    Its confidence .5 misses 1/3 by 1/6: 1/36. Box 2's confidence .4 should be 0: .5 x .4² = .08. Classes (.2, .7) miss
    (0, 1): .04 + .09 = .13. Half the sum.
    """
    batch = one_cell([[0.625, 0.5, 0.5, 0.5], [0.1, 0.1, 0.1, 0.1]], confidences=(0.5, 0.4), classes=(0.2, 0.7))
    assert float(YoloLoss()(*batch)) == pytest.approx(0.5 * (0.078125 + 1 / 36 + 0.08 + 0.13), rel=1e-6)


def responsible_box(boxes: list[list[float]], **target) -> int:
    """Which of two boxes the coordinate error is of."""
    targets, outputs = one_cell(boxes, **target)
    gradient = loss_and_gradient(YoloLoss(), targets, outputs)[1].ravel()[4:].reshape(2, 4)
    (box,) = np.flatnonzero(gradient.any(axis=1))
    return int(box)


def test_without_any_overlap_the_nearest_box_is_responsible():
    """By the squared distance of (x/S, y/S, w, h) with w = (√w)², not of the square roots; of equals the first.

    The object is (.5, .5, .04, .04). Box (.5, .9, .2, .2) is .4² = .16 away. Box (.5, .85, -.2, -.2), of the same width
    and height, is .35² = .1225 away; compared by square roots it would be .1225 + .4² + .4².
    """
    target = (0.5, 0.5, 0.04, 0.04)
    far, near = [0.5, 0.9, 0.2, 0.2], [0.5, 0.85, -0.2, -0.2]
    assert responsible_box([far, near], target=target) == 1
    assert responsible_box([near, far], target=target) == 0
    assert responsible_box([far, far], target=target) == 0


def test_any_overlap_beats_any_distance():
    """A huge box that covers the object is responsible, however near the one beside it."""
    huge, beside = [0.5, 0.5, 3.0, 3.0], [0.76, 0.5, 0.5, 0.5]
    assert responsible_box([beside, huge]) == 1
    assert responsible_box([huge, beside]) == 0


def test_a_perfect_output_costs_nothing():
    """Coordinates, class and a confidence of 1, the IoU of a box with itself; silence elsewhere."""
    targets, _ = random_batch(seed=2)
    outputs = np.zeros((*targets.shape[:3], CLASSES + 5 * BOXES), np.float32)
    outputs[..., :CLASSES], outputs[..., CLASSES] = targets[..., 5:], targets[..., 0]
    outputs[..., CLASSES + BOXES :][..., :4] = np.concatenate([targets[..., 1:3], np.sqrt(targets[..., 3:5])], axis=-1)
    value, gradient = loss_and_gradient(YoloLoss(), targets, outputs)
    assert value == pytest.approx(0, abs=1e-10)
    np.testing.assert_allclose(gradient, 0, atol=1e-5)
    metric = ResponsibleIoU()
    metric.update_state(targets, outputs)
    assert float(metric.result()) == pytest.approx(1, rel=1e-5)


def test_no_finite_output_gives_nan():
    """Zeros, negative "square roots" and numbers whose squares overflow float32."""
    targets, _ = random_batch(seed=3)
    extremes = np.array([0, -1, 1e-30, 1e10, -1e19, 1e30, 3e38, -3e38], np.float32)
    for seed in range(5):
        outputs = np.random.default_rng(seed).choice(extremes, (*targets.shape[:3], CLASSES + 5 * BOXES))
        value, gradient = loss_and_gradient(YoloLoss(), targets, outputs)
        assert not np.isnan(value)
        assert not np.isnan(gradient).any()


def test_an_empty_batch_of_objects_pays_for_confidence_only():
    """Images without objects: half of .5 C² summed over all boxes."""
    targets = np.zeros((2, GRID, GRID, 5 + CLASSES), np.float32)
    outputs = random_batch(2)[1]
    expected = 0.25 * np.square(outputs[..., CLASSES : CLASSES + BOXES]).sum() / 2
    assert float(YoloLoss()(targets, outputs)) == pytest.approx(expected, rel=1e-5)


def test_targets_of_other_classes_are_refused():
    """14 numbers a cell hold no whole number of boxes beside 3 classes."""
    targets, outputs = random_batch()
    with pytest.raises(ValueError, match=r"received: \(20, 3, 3, 8\) and \(20, 3, 3, 14\)"):
        YoloLoss()(targets[..., :-1], outputs)


def test_the_loss_survives_serialization():
    """Keras restores it with its weights."""
    loss = keras.losses.deserialize(keras.losses.serialize(YoloLoss(coord_weight=3.0, noobj_weight=0.25)))
    assert (loss.coord_weight, loss.noobj_weight) == (3.0, 0.25)


def test_responsible_iou_is_averaged_over_objects():
    """IoU 1/3 (the example above) and, in another image, 1: two thirds. Cells without an object do not count."""
    first = one_cell([[0.625, 0.5, 0.5, 0.5], [0.1, 0.1, 0.1, 0.1]])
    second = one_cell([[0.1, 0.1, 0.1, 0.1], [0.5, 0.5, 0.5, 0.5]])
    empty = np.zeros_like(first[0]), first[1]
    metric = ResponsibleIoU()
    for batch in (first, empty, second):
        metric.update_state(*batch)
    assert float(metric.result()) == pytest.approx(2 / 3, rel=1e-6)


def segmentation_batch() -> tuple[np.ndarray, np.ndarray]:
    """Label maps (3, 4, 5) of classes 0..2, some void, the second image void throughout but for a pixel; scores."""
    rng = np.random.default_rng(4)
    labels = rng.choice(np.array([0, 1, 2, 255], np.uint8), (3, 4, 5))
    labels[1] = 255
    labels[1, 2, 3] = 1
    return labels, rng.normal(0, 3, (3, 4, 5, 3)).astype(np.float32)


def test_cross_entropy_is_averaged_over_the_batchs_valid_pixels():
    """-log softmax of the true class, summed over all pixels that are not void, over their number."""
    labels, scores = segmentation_batch()
    exponentials = np.exp(scores.astype(float))
    probabilities = exponentials / exponentials.sum(axis=-1, keepdims=True)
    losses = [
        -np.log(probabilities[*place, labels[place]]) for place in np.ndindex(*labels.shape) if labels[place] != 255
    ]
    value, gradient = loss_and_gradient(SegmentationCrossEntropy(), labels, scores)
    assert value == pytest.approx(np.mean(losses), rel=1e-5)
    expected = (probabilities - np.eye(3)[np.where(labels == 255, 0, labels)]) / len(losses)
    np.testing.assert_allclose(gradient, np.where(labels[..., None] == 255, 0, expected), atol=1e-6)


def test_background_pixels_can_weigh_less():
    """With weight 0.25 the loss is the mean over objects' pixels and a quarter of each background pixel."""
    labels, scores = segmentation_batch()
    scores = np.asarray(scores, np.float64)
    entropies = np.log(np.exp(scores).sum(axis=-1))
    entropies = entropies - np.take_along_axis(scores, np.where(labels == 255, 0, labels)[..., None], axis=-1)[..., 0]
    weights = np.select([labels == 255, labels == 0], [0.0, 0.25], 1.0)
    value, _ = loss_and_gradient(SegmentationCrossEntropy(0.25), labels, scores.astype(np.float32))
    assert value == pytest.approx((weights * entropies).sum() / weights.sum(), rel=1e-5)
    again = SegmentationCrossEntropy.from_config(SegmentationCrossEntropy(0.25).get_config())
    assert again.background_weight == 0.25


def test_the_pixels_of_a_class_can_weigh_more():
    """-1/S sum_i w(y_i) log p_i(y_i) with S the sum of the weights, by loops in float64, and its gradient w (p - y) / S."""
    labels, scores = segmentation_batch()
    weights, total, loss = {0: 0.5, 1: 3.0, 2: 0.25}, 0.0, 0.0
    expected = np.zeros(scores.shape)
    for place in np.ndindex(*labels.shape):
        if (label := int(labels[place])) != 255:
            powers = np.exp(scores[place].astype(float))
            total += weights[label]
            loss -= weights[label] * np.log(powers[label] / powers.sum())
            expected[place] = weights[label] * (powers / powers.sum() - np.eye(3)[label])
    built = SegmentationCrossEntropy(0.5, (3.0, 0.25))
    value, gradient = loss_and_gradient(built, labels, scores)
    assert value == pytest.approx(loss / total, rel=1e-5)
    np.testing.assert_allclose(gradient, expected / total, atol=1e-6)
    again = SegmentationCrossEntropy.from_config(built.get_config())
    assert float(again(labels, scores)) == value
    ones, without = SegmentationCrossEntropy(0.5, (1.0, 1.0)), SegmentationCrossEntropy(0.5)
    assert float(ones(labels, scores)) == float(without(labels, scores))


def test_pixels_without_a_label_cost_nothing():
    """A batch of void alone has the loss 0 and no gradient."""
    labels, scores = segmentation_batch()
    value, gradient = loss_and_gradient(SegmentationCrossEntropy(), np.full_like(labels, 255), scores)
    assert value == 0
    assert not gradient.any()


def test_pixel_accuracy_leaves_void_out():
    """Correct among valid pixels, over two batches of different numbers of them."""
    labels, scores = segmentation_batch()
    metric = ValidPixelAccuracy()
    metric.update_state(labels[:1], scores[:1])
    metric.update_state(labels[1:], scores[1:])
    correct = (scores.argmax(axis=-1) == labels)[labels != 255]
    assert float(metric.result()) == pytest.approx(correct.mean(), rel=1e-6)
