"""What follows a network: YOLO's boxes decoded and suppressed, and label maps counted, beside the functions of OpenCV and TensorFlow.

    python -m benchmarks.post [--images N] [--repetitions N]

Suppression: the outputs of YOLO's 7 x 7 grid with 2 boxes a cell and 20 classes, made here: most cells are empty, a few around each of
three objects are sure. Decoding is part of each. Thresholds of .2 (drawn) and .005 (measured), IoU .5. OpenCV's `NMSBoxesBatched` gets the
boxes of an image at a time, TensorFlow's `combined_non_max_suppression` all of them.

Counting: pairs of label maps of 500 x 375 pixels with 21 classes, in which objects are moved a little, and one pixel in a hundred is wrong.
OpenCV's `calcHist` gives the same numbers.

All take turns within each repetition. Figures are images a second of processor time, ratios medians of the ratios within a repetition.
"""

import functools
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np

from benchmarks import measuring
from cnnkeras.metrics.segmentation import confusion_matrix
from cnnkeras.tasks import detection

GRID, BOXES, CLASSES, IOU = 7, 2, 20, 0.5
THRESHOLDS = (0.2, 0.005)


def yolo_outputs(images: int) -> np.ndarray:
    """Outputs float32 (images, 7, 7, 30) with three objects an image."""
    random = np.random.default_rng(0)
    outputs = np.zeros((images, GRID, GRID, CLASSES + 5 * BOXES), np.float32)
    outputs[..., :CLASSES] = random.dirichlet(np.full(CLASSES, 0.3), (images, GRID, GRID))
    outputs[..., CLASSES : CLASSES + BOXES] = random.beta(0.3, 8, (images, GRID, GRID, BOXES))
    outputs[..., CLASSES + BOXES :] = random.uniform(0.2, 0.8, (images, GRID, GRID, 4 * BOXES))
    for image in outputs:
        for row, column in random.integers(1, GRID - 1, (3, 2)):
            near = image[row - 1 : row + 2, column - 1 : column + 2]
            near[..., CLASSES : CLASSES + BOXES] = random.uniform(0.1, 0.9, (3, 3, BOXES))
            near[..., :CLASSES] = 0.01
            near[..., random.integers(CLASSES)] = 0.8
    return outputs


def by_opencv(outputs: np.ndarray, threshold: float) -> None:
    """`NMSBoxesBatched`, an image at a time."""
    boxes, scores = detection.decode_outputs(outputs, classes=CLASSES)
    for corners, own in zip(boxes, scores, strict=True):
        candidates, labels = np.nonzero(own > threshold)
        chosen = corners[candidates]
        chosen[:, 2:] -= chosen[:, :2]
        cv2.dnn.NMSBoxesBatched(chosen, own[candidates, labels], labels, threshold, IOU)


def by_tensorflow(outputs: np.ndarray, threshold: float) -> None:
    """`combined_non_max_suppression` of all images."""
    import tensorflow as tf

    boxes, scores = detection.decode_outputs(outputs, classes=CLASSES)
    count = boxes.shape[1]
    tf.image.combined_non_max_suppression(
        boxes[:, :, None], scores, count, count * CLASSES, IOU, threshold, clip_boxes=False
    )


def ours(outputs: np.ndarray, threshold: float) -> None:
    """`cnnkeras.tasks.detection.detect` of all images."""
    detection.detect(outputs, classes=CLASSES, confidence_threshold=threshold, nms_iou=IOU)


def label_maps(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of true and predicted label maps, uint8 (375, 500)."""
    random, pairs = np.random.default_rng(0), []
    for _ in range(count):
        truth = np.zeros((375, 500), np.uint8)
        for _ in range(4):
            centre, radius = [int(random.integers(0, side)) for side in (500, 375)], int(random.integers(30, 100))
            cv2.circle(truth, centre, radius + 3, 255, -1)
            cv2.circle(truth, centre, radius, int(random.integers(1, CLASSES + 1)), -1)
        predicted = np.roll(np.where(truth == 255, 0, truth), (5, 7), (0, 1)).astype(np.uint8)
        is_wrong = random.random(truth.shape) < 0.01
        predicted[is_wrong] = random.integers(0, CLASSES + 1, is_wrong.sum())
        pairs.append((truth, predicted))
    return pairs


def counted(pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """Our confusion matrix of each pair."""
    return [confusion_matrix(*pair, classes=CLASSES + 1) for pair in pairs]


def counted_by_opencv(pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """OpenCV's histogram of each pair, which has no bin for void."""
    bins = CLASSES + 1
    return [cv2.calcHist(list(pair), [0, 1], None, [bins, bins], [0, bins, 0, bins]) for pair in pairs]


def in_turns(ways: dict[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Processor seconds of each, once a repetition."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repetitions + 1):  # the first one warms up
        for name, work in ways.items():
            begin = time.process_time()
            work()
            times[name].append(time.process_time() - begin)
    return {name: found[1:] for name, found in times.items()}


def main() -> None:
    """Measure, print and write the result."""
    options = measuring.arguments(__doc__, images=500)
    outputs, pairs = yolo_outputs(options.images), label_maps(options.images)
    for found, expected in zip(counted(pairs), counted_by_opencv(pairs), strict=True):
        np.testing.assert_array_equal(found, expected)
    peers = {"opencv": by_opencv} | ({"tensorflow": by_tensorflow} if measuring.version("tensorflow") else {})
    measurements = {"counting": {"ours": lambda: counted(pairs), "opencv": lambda: counted_by_opencv(pairs)}}
    for threshold in THRESHOLDS:
        ways = {"ours": ours, **peers}
        measurements[f"suppression_{threshold}"] = {
            name: functools.partial(work, outputs, threshold) for name, work in ways.items()
        }
    figures, ratios = {"images": options.images}, {}
    for name, ways in measurements.items():
        times = in_turns(ways, options.repetitions)
        for way, found in times.items():
            figures[f"{name}_{way}_per_s"] = round(options.images / statistics.median(found))
            if way != "ours":
                pairwise = [theirs / own for theirs, own in zip(found, times["ours"], strict=True)]
                ratios[f"{name}_ours_to_{way}"] = round(statistics.median(pairwise), 2)
    measuring.write("post", ["numpy", "opencv-python-headless", "tensorflow"], figures, ratios)


if __name__ == "__main__":
    main()
