"""Batches of 224 x 224 uint8 pictures, shuffled, from the packed format and from loaders that decode while training.

    python -m benchmarks.loader

`packed` reads what `augment` has prepared. The others decode the JPEG files (500 x 375), crop at random and flip, with as many
workers as there are cores: albumentations in our worker processes, in a PyTorch DataLoader and in Grain, and tf.data with
TensorFlow's own operations. Packages that are absent are listed as such, not guessed at.
"""

import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import measuring
from pipeline import records
from pipeline.workers import available, ordered_map

os.environ |= {"NO_ALBUMENTATIONS_UPDATE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
BATCH = 32

_files: list[bytes]
_policy: Callable[..., dict[str, Any]]


def start(files: list[bytes]) -> None:
    """Give a worker its files and its policy."""
    global _files, _policy
    import albumentations

    cv2.setNumThreads(1)
    _files = files
    _policy = albumentations.Compose([albumentations.RandomCrop(224, 224), albumentations.HorizontalFlip(p=0.5)])


def load(index: int) -> np.ndarray:
    """One picture, decoded and augmented."""
    picture = cv2.imdecode(np.frombuffer(_files[index], np.uint8), cv2.IMREAD_COLOR_RGB)
    return _policy(image=picture)["image"]


def load_batch(indices: Iterable[int]) -> np.ndarray:
    """Some pictures, as one array."""
    return np.stack([load(index) for index in indices])


def batches(count: int) -> list[list[int]]:
    """A shuffled epoch of whole batches."""
    order = np.random.default_rng(0).permutation(count)
    return order[: count // BATCH * BATCH].reshape(-1, BATCH).tolist()


def consume(made: Iterable[Any], expected: int) -> None:
    """Take all batches, and make sure that they are what everybody else makes."""
    count = 0
    for batch in made:
        array = np.asarray(batch)
        assert array.shape == (BATCH, 224, 224, 3), array.shape
        assert array.dtype == np.uint8
        count += len(array)
    assert count == expected, count


def packed(files: list[bytes], folder: Path) -> Callable[[], Iterable[np.ndarray]]:
    """The packed format, read at random."""
    start(files)
    writer = records.SplitWriter(folder / "train")
    for index in range(len(files)):
        writer.append(str(index), fixed={"inputs": load(index)})
    entry = writer.close()
    split = records.Split(folder / "train", entry["columns"], entry["examples"])
    return lambda: (split["inputs"][sorted(batch)] for batch in batches(len(files)))


def ours_on_the_fly(files: list[bytes], _folder: Path) -> Callable[[], Iterable[np.ndarray]]:
    """The worker processes of `augment`, giving batches."""

    def run() -> Iterable[np.ndarray]:
        with ordered_map(
            load_batch, batches(len(files)), workers=available(), initializer=start, arguments=(files,)
        ) as made:
            yield from made

    return run


def torch_loader(files: list[bytes], _folder: Path) -> Callable[[], Iterable[Any]]:
    """A PyTorch DataLoader of albumentations' pictures."""
    from torch.utils.data import DataLoader, Dataset

    class Pictures(Dataset):
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, index: int) -> np.ndarray:
            return load(index)

    return lambda: DataLoader(
        Pictures(), batch_sampler=batches(len(files)), num_workers=available(), worker_init_fn=lambda _: start(files)
    )


class GrainSource:
    """Files for Grain, whose workers are started afresh."""

    def __init__(self, files: list[bytes]):
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> np.ndarray:
        if globals().get("_files") is None:
            start(self._files)
        return load(index)


def grain_loader(files: list[bytes], _folder: Path) -> Callable[[], Iterable[Any]]:
    """Grain's processes."""
    import grain

    dataset = grain.MapDataset.source(GrainSource(files)).shuffle(seed=0).batch(BATCH, drop_remainder=True)
    options = grain.MultiprocessingOptions(num_workers=available())
    return lambda: dataset.to_iter_dataset().mp_prefetch(options)


def tf_data(files: list[bytes], _folder: Path) -> Callable[[], Iterable[Any]]:
    """tf.data with TensorFlow's operations."""
    import tensorflow as tf

    def prepare(file: Any) -> Any:
        picture = tf.image.random_crop(tf.io.decode_jpeg(file, channels=3), (224, 224, 3))
        return tf.image.random_flip_left_right(picture)

    dataset = tf.data.Dataset.from_tensor_slices(files).shuffle(len(files)).map(prepare, num_parallel_calls=available())
    return dataset.batch(BATCH, drop_remainder=True).prefetch(2).as_numpy_iterator


# Name, the package that it needs, and what makes it. TensorFlow comes last: its threads do not survive a fork.
LOADERS = (
    ("packed", "numpy", packed),
    ("albumentations_our_workers", "albumentations", ours_on_the_fly),
    ("albumentations_torch_dataloader", "torch", torch_loader),
    ("albumentations_grain", "grain", grain_loader),
    ("tf_data", "tensorflow", tf_data),
)


def main() -> None:
    """Measure, and write the result."""
    options = measuring.arguments(__doc__, pictures=512)
    files = measuring.photos(options.pictures)
    pictures = options.pictures // BATCH * BATCH
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, package, build in LOADERS:
            if measuring.version(package) is None:
                continue
            make = build(files, Path(folder))
            consume(make(), pictures)  # warms caches, and checks
            taken = measuring.seconds(lambda make=make: consume(make(), pictures), options.repetitions)
            figures[f"{name}_pictures_per_s"] = round(pictures / taken, 1)
    fastest_other = max(value for name, value in figures.items() if not name.startswith("packed"))
    ratios = {"packed_to_fastest_other": round(figures["packed_pictures_per_s"] / fastest_other, 1)}
    measuring.write("loader", [package for _, package, _ in LOADERS], figures, ratios)


if __name__ == "__main__":
    main()
