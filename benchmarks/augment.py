"""Packing and augmenting: images a second of one core and of all, and what that means for ImageNet.

    python -m benchmarks.augment

An image is 500 x 375, a JPEG; it is packed at 224 x 224, plain and in one augmented copy. Of a core: by
processor time, so that other work on the machine does not count. The projection to 16 cores assumes that they do not hold each
other up, and a disk that keeps up; the ratio of all workers to one says how true that is here.
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
    """Examples of a class each; only the training split is long."""

    def __init__(self, files: list[bytes], split: str):
        self._files, self._split = files, split

    def __len__(self) -> int:
        return len(self._files) if self._split == "train" else 1

    def __getitem__(self, index: int) -> sources.Example:
        return sources.Example(id=f"{self._split}_{index}", image=self._files[index], label=index % 10)


def packer(files: list[bytes], *, copies: int) -> Packer:
    """What `augment` makes of an entry, on images in memory."""
    entry = {"source": "photos", "task": "classification", "size": (224, 224), "copies": copies}
    dataset = Dataset(**entry | ({"augmentation": POLICY} if copies else {}))
    made = Packer.__new__(Packer)
    made.name, made.dataset, made.where, made._seed = "benchmark", dataset, "benchmark", 1
    made.source = Classes()
    made._policy = made._build_policy() if copies else None
    made.splits = {split: Images(files, split) for split in sources.SPLITS}
    return made


class Classes:
    """What a packer asks of a source's entry."""

    classes = tuple(map(str, range(10)))


def packing(made: Packer, workers: int) -> Callable[[], object]:
    """A run that leaves nothing behind."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            pack(made, Path(folder), workers=workers)

    return run


def main() -> None:
    """Measure, and write the result."""
    options = measuring.arguments(__doc__)
    files = measuring.photos(options.images)
    figures: dict[str, float] = {"image_kb": round(float(np.mean([len(file) for file in files])) / 1e3, 1)}
    ratios: dict[str, float] = {}
    for name, copies in (("pack", 0), ("pack_and_one_copy", 1)):
        made = packer(files, copies=copies)
        core = options.images / measuring.cpu_seconds(packing(made, 1), options.repetitions)
        figures[f"{name}_images_per_s_of_a_core"] = round(core, 1)
        one, every = (measuring.seconds(packing(made, workers), options.repetitions) for workers in (1, available()))
        figures[f"{name}_images_per_s_{available()}_workers"] = round(options.images / every, 1)
        ratios[f"{name}_{available()}_workers_to_one"] = round(one / every, 2)
        minutes = measuring.IMAGENET_IMAGES / (core * measuring.IMAGENET_CORES) / 60
        figures[f"imagenet_minutes_on_16_cores_{name}"] = round(minutes, 1)
    measuring.write("augment", list(VERSIONS), figures, ratios)


if __name__ == "__main__":
    main()
