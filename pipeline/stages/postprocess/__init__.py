"""Stage `postprocess`: from the network's outputs for the test split to predictions.

    classification  probabilities.npy, float32 (N, C); top_k.csv
    detection       detections.json, COCO results; images.json, the images and categories that they refer to
    segmentation    label_maps/ID.png, at the images' own size, as palette PNGs in PASCAL VOC's colours

Where the outputs are of several views or networks, protocol.json says of which: the evaluation quotes it.

Equal outputs give equal files: rows have a fixed order, numbers in text are rounded (probabilities and scores to 6
decimals, boxes to hundredths of a pixel), and nothing says when it was written.
"""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnkeras import label_maps
from cnnkeras.boxes import Detections, clip_boxes, convert_boxes
from cnnkeras.protocols.label_inference import infer_greedily
from cnnkeras.tasks import classification, detection, segmentation
from pipeline.formats.packed import Ragged, Split, open_index, open_split, split_files
from pipeline.params import ClassificationPostprocess, DetectionPostprocess, SegmentationPostprocess, load_params
from pipeline.runtime import paths, progress
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import stage

SCORE_DECIMALS = 6
PIXEL_DECIMALS = 2


def run(name: str) -> None:
    """Post-process the outputs of an experiment or an ensemble.

    Raises:
        InputError: There is no such experiment, what it needs has not been made or does not fit together, or the
            outputs are no numbers.
    """
    params = load_params()
    experiment = params.measured(name)
    dataset, raw = paths.augmented(experiment.dataset), paths.raw_outputs(name)
    inputs = [*split_files(dataset, "test"), raw]
    with stage(params.stage("postprocess", name), name, inputs=inputs, outputs=[paths.predictions(name)]) as (folder,):
        index, split = open_index(dataset), open_split(dataset, "test")
        outputs, facts = read_outputs(raw, name, examples=len(split), classes=index.classes)
        if "views" in facts:
            outputs = average_views(outputs, facts["views"])
        if "protocol" in facts:
            text = json.dumps(facts["protocol"], indent=2, ensure_ascii=False)
            (folder / "protocol.json").write_text(text + "\n", encoding="utf-8")
        WRITERS[index.task](outputs, split, index.classes, experiment.postprocess, folder)


def average_views(outputs: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """The logits of the mean posterior: the mean over each protocol's views, then over the protocols.

    Args:
        outputs: float (N, views, C), logits; the views of a protocol stand together.
        counts: How many views each protocol has.

    Returns:
        float64 (N, C), logarithms of probabilities.
    """
    ends = np.cumsum(counts)
    if outputs.ndim != 3 or outputs.shape[1] != ends[-1]:
        raise ValueError(f"expected outputs (N, {ends[-1]}, C); received: {outputs.shape}")
    mean = np.zeros((len(outputs), outputs.shape[2]))
    for number, views in enumerate(outputs):  # an image at a time: those of ImageNet would not fit into memory
        parts = np.split(classification.decode_outputs(views).astype(np.float64), ends[:-1])
        mean[number] = np.mean([part.mean(axis=0) for part in parts], axis=0)
    return np.log(np.maximum(mean, np.finfo(np.float64).tiny))


def write_probabilities(
    outputs: np.ndarray, split: Split, classes: Sequence[str], settings: ClassificationPostprocess, folder: Path
) -> None:
    """Write probabilities.npy, a row per example, and top_k.csv with the most probable classes by name.

    Args:
        outputs: float (N, C), logits.
        split: Its column `ids` names the examples.
        classes: C names.
        settings: How many classes are named.
        folder: Where the files go.
    """
    probabilities = classification.decode_outputs(outputs)
    np.save(folder / "probabilities.npy", probabilities)
    best = classification.most_probable(probabilities, settings.top_k)
    with (folder / "top_k.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["id", "rank", "class", "probability"])
        for id, row, labels in zip(split["ids"], probabilities, best, strict=True):
            writer.writerows(
                [id, rank, classes[label], f"{row[label]:.{SCORE_DECIMALS}f}"] for rank, label in enumerate(labels, 1)
            )


def write_detections(
    outputs: np.ndarray, split: Split, classes: Sequence[str], settings: DetectionPostprocess, folder: Path
) -> None:
    """Write detections.json and images.json; `image_id` counts the split's images from 1, `category_id` the classes.

    Args:
        outputs: float (N, S, S, C + 5B), as the architecture `yolo` gives them.
        split: Its columns `ids` and `sizes` describe the images.
        classes: C names.
        settings: Threshold of the scores, and of the IoU for non-maximum suppression.
        folder: Where the files go.
    """
    found = detection.detect(
        outputs,
        classes=len(classes),
        confidence_threshold=settings.confidence_threshold,
        nms_iou=settings.nms_iou,
    )
    sizes = np.asarray(split["sizes"])
    _write_rows(folder / "detections.json", coco_results(found, sizes))
    images = [
        {"id": number, "file_name": str(id), "width": int(width), "height": int(height)}
        for number, (id, (height, width)) in enumerate(zip(split["ids"], sizes, strict=True), 1)
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, 1)]
    text = json.dumps({"images": images, "categories": categories}, indent=1, ensure_ascii=False)
    (folder / "images.json").write_text(text + "\n", encoding="utf-8")


def coco_results(found: Detections, sizes: np.ndarray) -> list[dict[str, Any]]:
    """Detections in COCO's results form, in pixels, cut at the image's edges and rounded.

    A box that lies outside its image, or is thinner than can be told, is left out. By image, then from the highest
    score down, then by class.

    Args:
        found: Boxes as fractions of the image.
        sizes: (N, 2), height and width of each image in pixels.

    Returns:
        Per detection `image_id`, `category_id` (both from 1), `bbox` [left, top, width, height] and `score`.
    """
    sizes = sizes[found.images].astype(np.float64)
    corners = clip_boxes(found.boxes * np.tile(sizes[:, ::-1], 2), sizes)
    # Corners are rounded, not widths: so that neighbours that touch still do.
    boxes = convert_boxes(np.round(corners, PIXEL_DECIMALS), "xyxy", "xywh").round(PIXEL_DECIMALS)
    scores = np.round(found.scores.astype(np.float64), SCORE_DECIMALS)
    order = np.lexsort((found.labels, -scores, found.images))
    order = order[(boxes[order, 2:] > 0).all(axis=1)]
    columns = (found.images[order] + 1, found.labels[order] + 1, boxes[order], scores[order])
    return [
        {"image_id": image, "category_id": category, "bbox": box, "score": score}
        for image, category, box, score in zip(*(column.tolist() for column in columns), strict=True)
    ]


def write_label_maps(
    outputs: np.ndarray | Ragged, split: Split, _classes: Sequence[str], settings: SegmentationPostprocess, folder: Path
) -> None:
    """Write label_maps/ID.png for every image: 0 background, 1.. the classes in order.

    Args:
        outputs: float (N, H, W, C + 1), scores at the network's size, background first; or, of each image,
            (pixels, C + 1) at its own size.
        split: Its columns `ids` and `sizes` describe the images.
        settings: How the scores are enlarged, and labels found.
        folder: Where the folder goes.
    """
    (folder / "label_maps").mkdir()
    with progress.bar("postprocess", len(outputs), unit="images") as bar:
        for number, (id, size) in enumerate(zip(split["ids"], split["sizes"], strict=True)):
            scores = outputs[number]
            scores = scores.reshape(*size, -1) if scores.ndim == 2 else scores
            labels = label_map(scores, size, settings)
            (folder / "label_maps" / f"{id}.png").write_bytes(label_maps.encode_png(labels))
            bar.update(number + 1)


def label_map(scores: np.ndarray, size: Sequence[int], settings: SegmentationPostprocess) -> np.ndarray:
    """Label map uint8 of an image of (height, width) pixels from scores (H, W, C + 1)."""
    if settings.greedy is None:
        return segmentation.decode_outputs(scores, size, resize=settings.resize)
    greedy = {"threshold": settings.greedy.threshold, "min_fraction": settings.greedy.least_share}
    return infer_greedily(
        np.stack([*label_maps.resize_scores(scores, size, resize=settings.resize)], axis=-1), **greedy
    )


WRITERS = {
    "classification": write_probabilities,
    "detection": write_detections,
    "segmentation": write_label_maps,
}


def read_outputs(
    raw: Path, name: str, *, examples: int, classes: Sequence[str]
) -> tuple[np.ndarray | Ragged, dict[str, Any]]:
    """The outputs, mapped into memory, and what is known of them, after a look at whether they are numbers and of this test split.

    Raises:
        InputError: They are not.
    """
    place = raw.relative_to(paths.root())
    outputs = np.load(raw / "outputs.npy", mmap_mode="r", allow_pickle=False)
    if (offsets := raw / "outputs.offsets.npy").is_file():
        outputs = Ragged(outputs, np.load(offsets, allow_pickle=False))
    facts = json.loads((raw / "outputs.json").read_text(encoding="utf-8"))
    if len(outputs) != examples or facts["classes"] != list(classes):
        raise InputError(
            f"{place}: expected outputs for {examples} examples of the classes {', '.join(classes)}; "
            f"received: {len(outputs)} of {', '.join(facts['classes'])}. Run `cnnkeras predict {name}` again"
        )
    for number, output in enumerate(outputs):
        if not np.isfinite(output).all():
            raise InputError(
                f"{place}/outputs.npy: expected finite numbers; received: NaN or infinity for test example {number}. "
                f"The training has diverged: lower experiments.{name}.train.optimizer.learning_rate"
            )
    return outputs, facts


def _write_rows(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    """A JSON list, one row a line."""
    lines = ",\n".join(json.dumps(row) for row in rows)
    file.write_text(f"[\n{lines}\n]\n" if lines else "[]\n", encoding="utf-8")
