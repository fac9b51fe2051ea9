"""The scenes as one archive in PASCAL VOC's layout: images, annotations, label maps and lists."""

import io
import itertools
import tarfile
from pathlib import Path

import cv2
import numpy as np

from cnnkeras.label_maps import encode_png
from pipeline import sources
from pipeline.runtime.workers import available, ordered_map
from pipeline.sources.digit_scenes.drawing import Scene, draw_scene, handwriting
from pipeline.sources.digit_scenes.entry import CLASSES, Source

YEAR = 2012
JPEG_QUALITY = 92


def write_archive(source: Source, path: Path, *, root: str) -> None:
    """Draw the scenes and write them to `path` as one archive with VOC's folders below `root`, the same bytes every time."""
    handwriting(source.seed)  # read once, before the processes are forked
    tasks = [(split, number) for split in sources.SPLITS for number in range(getattr(source.scenes, split))]
    chunks = [tasks[start : start + 32] for start in range(0, len(tasks), 32)]
    lists = _ImageSets()
    drawn = ordered_map(_encode_scenes, chunks, workers=available(), initializer=_set_source, arguments=(source,))
    with drawn as results, tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for (split, id), labels, files in itertools.chain.from_iterable(results):
            lists.add(split, id, labels)
            for name, data in files.items():
                _add(archive, f"{root}/{name}", data)
        for name, data in lists.files().items():
            _add(archive, f"{root}/ImageSets/{name}", data)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # no time, no owner: equal content is an equal hash
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


class _ImageSets:
    """VOC's lists: one of ids for each split, and one for each split and class with 1 where the class is present."""

    def __init__(self):
        self._present: dict[str, dict[str, set[int]]] = {}

    def add(self, split: str, id: str, labels: list[int]) -> None:
        for name in (split, "trainval") if split != "test" else (split,):
            self._present.setdefault(name, {})[id] = set(labels)

    def files(self) -> dict[str, bytes]:
        files = {}
        for name, present in self._present.items():
            ids = "".join(f"{id}\n" for id in present).encode()
            files |= {f"Main/{name}.txt": ids, f"Segmentation/{name}.txt": ids}
            for label, class_name in enumerate(CLASSES):
                lines = (f"{id} {1 if label in labels else -1:2d}\n" for id, labels in present.items())
                files[f"Main/{class_name}_{name}.txt"] = "".join(lines).encode()
        return files


_source: Source


def _set_source(source: Source) -> None:
    global _source
    _source = source


def _encode_scenes(tasks: list[tuple[str, int]]) -> list[tuple[tuple[str, str], list[int], dict[str, bytes]]]:
    """Per scene: its split and id, its classes, its files by name below the archive's root."""
    finished = []
    for split, number in tasks:
        id = f"{split}_{number + 1:06d}"
        scene = draw_scene(_source, split, number)
        files = {
            f"JPEGImages/{id}.jpg": _jpeg(scene.image),
            f"Annotations/{id}.xml": _annotation(id, scene),
            f"SegmentationClass/{id}.png": encode_png(scene.mask),
        }
        finished.append(((split, id), scene.labels, files))
    return finished


def _jpeg(image: np.ndarray) -> bytes:
    encoded, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert encoded
    return data.tobytes()


def _annotation(id: str, scene: Scene) -> bytes:
    height, width = scene.mask.shape
    lines = [
        "<annotation>",
        f"\t<folder>VOC{YEAR}</folder>",
        f"\t<filename>{id}.jpg</filename>",
        "\t<source><database>digit_scenes</database><annotation>exact</annotation><image>composed</image></source>",
        f"\t<size><width>{width}</width><height>{height}</height><depth>3</depth></size>",
        "\t<segmented>1</segmented>",
    ]
    for label, (x0, y0, x1, y1), hidden in zip(scene.labels, scene.boxes + 1, scene.hidden, strict=True):
        lines += [
            "\t<object>",
            f"\t\t<name>{CLASSES[label]}</name>",
            "\t\t<pose>Unspecified</pose>",
            "\t\t<truncated>0</truncated>",
            f"\t\t<occluded>{int(hidden > 0)}</occluded>",
            f"\t\t<bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox>",
            "\t\t<difficult>0</difficult>",
            "\t</object>",
        ]
    return "\n".join([*lines, "</annotation>", ""]).encode()
