"""The predictions of an experiment or an ensemble for the test split, in forms that other tools read.

    classification  probabilities.npy, float32 (N, C); top_k.csv, the most probable classes by name
    detection       detections.json, COCO results; images.json, the images and categories that they refer to
    segmentation    label_maps/ID.png, at the images' own size, as palette PNGs in PASCAL VOC's colours

chosen.json has the settings that are `best` in params.yaml, as they were chosen on the validation split.
protocol.json says of which views, regions or models they are, where that is not one look of one model at the packed input.

Equal predictions give equal files: rows have a fixed order, numbers in text are rounded (probabilities and scores to 6
decimals, boxes to hundredths of a pixel), and nothing says when it was written.
"""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnkeras import label_maps
from cnnkeras.answers import PIXEL_DECIMALS, SCORE_DECIMALS
from cnnkeras.boxes import Detections, clip_boxes, convert_boxes
from pipeline.runtime.reading import read_object, reading

_PROBABILITIES, _TOP_K = "probabilities.npy", "top_k.csv"
_DETECTIONS, _IMAGES = "detections.json", "images.json"
_LABEL_MAPS, _PROTOCOL, _CHOSEN = "label_maps", "protocol.json", "chosen.json"


def write_protocol(folder: Path, protocol: Sequence[str]) -> None:
    """Write how the outputs came about, a sentence each."""
    text = json.dumps(list(protocol), indent=2, ensure_ascii=False)
    (folder / _PROTOCOL).write_text(text + "\n", encoding="utf-8")


def read_protocol(folder: Path) -> list[str]:
    """How the outputs came about; empty: one look of one model at the packed input."""
    file = folder / _PROTOCOL
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []


def write_chosen(folder: Path, settings: Mapping[str, float], facts: Mapping[str, Any]) -> None:
    """Write the settings that were chosen on the validation split, and by what."""
    text = json.dumps({"settings": dict(settings), **facts}, indent=2)
    (folder / _CHOSEN).write_text(text + "\n", encoding="utf-8")


def read_chosen(folder: Path) -> dict[str, float]:
    """The settings that were chosen on the validation split; empty: none was."""
    file = folder / _CHOSEN
    if not file.is_file():
        return {}
    with reading(file):
        return dict(read_object(file)["settings"])


def write_probabilities(
    folder: Path, probabilities: np.ndarray, best: np.ndarray, *, ids: Sequence[str], classes: Sequence[str]
) -> None:
    """Write probabilities.npy and top_k.csv.

    Args:
        folder: Where the files go.
        probabilities: float32 (N, C).
        best: int (N, k), classes from the most probable one down.
        ids: N names.
        classes: C names.
    """
    np.save(folder / _PROBABILITIES, probabilities)
    with (folder / _TOP_K).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["id", "rank", "class", "probability"])
        for id, row, labels in zip(ids, probabilities, best, strict=True):
            writer.writerows(
                [id, rank, classes[label], f"{row[label]:.{SCORE_DECIMALS}f}"] for rank, label in enumerate(labels, 1)
            )


def read_probabilities(folder: Path) -> np.ndarray:
    """Class probabilities, float32 (N, C)."""
    return np.load(folder / _PROBABILITIES)


def write_detections(
    folder: Path, detections: Detections, *, ids: Sequence[str], sizes: np.ndarray, classes: Sequence[str]
) -> None:
    """Write detections.json and images.json; `image_id` counts the images from 1, `category_id` the classes.

    Args:
        folder: Where the files go.
        detections: Boxes as fractions of the image.
        ids: N names.
        sizes: (N, 2), height and width of each image in pixels.
        classes: C names.
    """
    _write_rows(folder / _DETECTIONS, coco_results(detections, sizes))
    images = [
        {"id": number, "file_name": str(id), "width": int(width), "height": int(height)}
        for number, (id, (height, width)) in enumerate(zip(ids, sizes, strict=True), 1)
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, 1)]
    text = json.dumps({"images": images, "categories": categories}, indent=1, ensure_ascii=False)
    (folder / _IMAGES).write_text(text + "\n", encoding="utf-8")


def read_detections(folder: Path) -> Detections:
    """Detections with boxes in pixels; an image is its position in the split, `image_id` - 1."""
    return from_coco(json.loads((folder / _DETECTIONS).read_text(encoding="utf-8")))


def from_coco(rows: Sequence[Mapping[str, Any]]) -> Detections:
    """Detections, with boxes in pixels, from COCO's results form."""
    boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    return Detections(
        images=np.array([row["image_id"] for row in rows], np.int64) - 1,
        labels=np.array([row["category_id"] for row in rows], np.int64) - 1,
        boxes=convert_boxes(boxes, "xywh", "xyxy"),
        scores=np.array([row["score"] for row in rows], np.float64),
    )


def coco_results(detections: Detections, sizes: np.ndarray) -> list[dict[str, Any]]:
    """Detections in COCO's results form, in pixels, cut at the image's edges and rounded.

    A box that lies outside its image, or is thinner than can be told, is left out. By image, then from the highest
    score down, then by class.

    Args:
        detections: Boxes as fractions of the image.
        sizes: (N, 2), height and width of each image in pixels.

    Returns:
        Per detection `image_id`, `category_id` (both from 1), `bbox` [left, top, width, height] and `score`.
    """
    sizes = sizes[detections.images].astype(np.float64)
    corners = clip_boxes(detections.boxes * np.tile(sizes[:, ::-1], 2), sizes)
    # Corners are rounded, not widths: so that neighbours that touch still do.
    boxes = convert_boxes(np.round(corners, PIXEL_DECIMALS), "xyxy", "xywh").round(PIXEL_DECIMALS)
    scores = np.round(detections.scores.astype(np.float64), SCORE_DECIMALS)
    order = np.lexsort((detections.labels, -scores, detections.images))
    order = order[(boxes[order, 2:] > 0).all(axis=1)]
    columns = (detections.images[order] + 1, detections.labels[order] + 1, boxes[order], scores[order])
    return [
        {"image_id": image, "category_id": category, "bbox": box, "score": score}
        for image, category, box, score in zip(*(column.tolist() for column in columns), strict=True)
    ]


def write_label_map(folder: Path, id: str, labels: np.ndarray) -> None:
    """Write the label map uint8 (H, W) of an image: 0 background, 1.. the classes in order."""
    file = folder / _LABEL_MAPS / f"{id}.png"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(label_maps.encode_png(labels))


def read_label_map(folder: Path, id: str) -> np.ndarray:
    """The label map uint8 (H, W) of an image."""
    return label_maps.decode_png((folder / _LABEL_MAPS / f"{id}.png").read_bytes())


def _write_rows(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    """A JSON list, one row a line."""
    lines = ",\n".join(json.dumps(row) for row in rows)
    file.write_text(f"[\n{lines}\n]\n" if lines else "[]\n", encoding="utf-8")
