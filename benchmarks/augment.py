"""Packing and augmenting: images per second of one core and of all cores, and the minutes for ImageNet.

    python -m benchmarks.augment

An image is a JPEG of 500 x 375; it is packed at 224 x 224, without copies and with one augmented copy. The speed of a core is by processor
time, which does not count other work on the machine. The projection to 16 cores assumes that the cores do not slow each other down and that
the disk is fast enough; the ratio of all workers to one shows how far this holds on this machine.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import measuring
from pipeline import sources
from pipeline.params import Dataset
from pipeline.runtime.workers import available
from pipeline.stages.augment.packer import VERSIONS, Packer
from pipeline.stages.augment.packing import pack

POLICY = ({"HorizontalFlip": {"p": 0.5}}, {"Affine": {"scale": [0.9, 1.1], "translate_percent": [-0.1, 0.1], "p": 1.0}})
POLICY += ({"HueSaturationValue": {"p": 0.5}},)


class Images:
    """The examples of a split, one image and label each: all images in the training split, one image in the others."""

    def __init__(self, files: list[bytes], split: str):
        self._files, self._split = files, split

    def __len__(self) -> int:
        return len(self._files) if self._split == "train" else 1

    def __getitem__(self, index: int) -> sources.Example:
        return sources.Example(id=f"{self._split}_{index}", image=self._files[index], label=index % 10)


def packer(files: list[bytes], *, copies: int) -> Packer:
    """The packer of the stage `augment`, with images in memory and this number of augmented copies."""
    entry = {"source": "photos", "task": "classification", "size": (224, 224), "copies": copies}
    dataset = Dataset(**entry | ({"augmentation": POLICY} if copies else {}))
    result = Packer.__new__(Packer)
    result.name, result.dataset, result.where, result._seed = "benchmark", dataset, "benchmark", 1
    result.source = Classes()
    result._policy = result._build_policy() if copies else None
    result.splits = {split: Images(files, split) for split in sources.SPLITS}
    return result


class Classes:
    """The attributes of a source's entry that a packer reads."""

    classes = tuple(map(str, range(10)))


def packing(dataset_packer: Packer, workers: int) -> Callable[[], object]:
    """A function that packs the dataset into a temporary folder."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            pack(dataset_packer, Path(folder), workers=workers)

    return run


def main() -> None:
    """Measure, print and write the result."""
    options = measuring.arguments(__doc__)
    files = measuring.photos(options.images)
    figures: dict[str, float] = {"image_kb": round(float(np.mean([len(file) for file in files])) / 1e3, 1)}
    ratios: dict[str, float] = {}
    for name, copies in (("pack", 0), ("pack_and_one_copy", 1)):
        made = packer(files, copies=copies)
        core_speed = options.images / measuring.cpu_seconds(packing(made, 1), options.repetitions)
        figures[f"{name}_images_per_s_of_a_core"] = round(core_speed, 1)
        one_worker_s, all_workers_s = (
            measuring.seconds(packing(made, workers), options.repetitions) for workers in (1, available())
        )
        figures[f"{name}_images_per_s_{available()}_workers"] = round(options.images / all_workers_s, 1)
        ratios[f"{name}_{available()}_workers_to_one"] = round(one_worker_s / all_workers_s, 2)
        minutes = measuring.IMAGENET_IMAGES / (core_speed * measuring.IMAGENET_CORES) / 60
        figures[f"imagenet_minutes_on_16_cores_{name}"] = round(minutes, 1)
    measuring.write("augment", list(VERSIONS), figures, ratios)


if __name__ == "__main__":
    main()
