"""Shuffled batches of 224 x 224 uint8 images, from the packed format and from loaders that decode image files during the training.

    python -m benchmarks.loader [--archive IMAGES.tgz]

`packed` reads the output of the stage `augment`, as pixels or (`jpeg`) as JPEG files. `augmented` means that a training's policy, a resized
crop and a flip, is applied to it, by the worker processes of the stage `train` (`pipeline/stages/train/workers.py`) or by as many threads.
The other loaders decode the image files, crop at random and flip, with one worker a core: albumentations in our worker processes, in a
PyTorch DataLoader and in Grain, and tf.data with TensorFlow's operations. Packages that are not installed are listed as absent. The
images are generated (500 x 375), or read from an archive (those of 224 x 224 or more).

`delay` is the delay of another thread of this process that sleeps for a millisecond again and again meanwhile: the time for which a
training's Python code waits for a processor and for Python's global lock.
"""

import itertools
import os
import statistics
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import measuring
from cnnkeras.jpeg import encode_jpeg
from pipeline.files import image_files
from pipeline.files.archives import Archives
from pipeline.formats import packed as records
from pipeline.images import reading
from pipeline.images.principal_components import evenly_spaced
from pipeline.runtime.workers import available, ordered_map
from pipeline.stages.train.reader import Reader, augmenting_reader
from pipeline.stages.train.workers import read_with_processes

os.environ |= {"NO_ALBUMENTATIONS_UPDATE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
BATCH = 32
JPEG_QUALITY = 90
POLICY = ({"RandomResizedCrop": {"size": [224, 224], "scale": [0.4, 1.0]}}, {"HorizontalFlip": {"p": 0.5}})

_files: list[bytes]
_policy: Callable[..., dict[str, Any]]


def start(files: list[bytes]) -> None:
    """Initialise a worker: store its files and build its policy."""
    global _files, _policy
    import albumentations

    cv2.setNumThreads(1)
    _files = files
    _policy = albumentations.Compose([albumentations.RandomCrop(224, 224), albumentations.HorizontalFlip(p=0.5)])


def load(index: int) -> np.ndarray:
    """An image, uint8 (224, 224, 3), decoded and augmented."""
    image = cv2.imdecode(np.frombuffer(_files[index], np.uint8), cv2.IMREAD_COLOR_RGB)
    return _policy(image=image)["image"]


def load_batch(indices: Iterable[int]) -> np.ndarray:
    """A batch of images, uint8 (batch, 224, 224, 3)."""
    return np.stack([load(index) for index in indices])


def batches(count: int) -> list[list[int]]:
    """The indices of a shuffled epoch, in full batches."""
    order = np.random.default_rng(0).permutation(count)
    return order[: count // BATCH * BATCH].reshape(-1, BATCH).tolist()


def consume(loader: Iterable[Any], expected: int) -> None:
    """Read all batches, and check their shape, type and number of images, which are the same for all loaders."""
    count = 0
    for batch in loader:
        array = np.asarray(batch)
        assert array.shape == (BATCH, 224, 224, 3), array.shape
        assert array.dtype == np.uint8
        count += len(array)
    assert count == expected, count


def pack(files: list[bytes], folder: Path, quality: int | None) -> records.Split:
    """A packed training split: pixels (quality None), or JPEG files of this quality."""
    start(files)
    path = folder / f"train-{quality}"
    writer = records.SplitWriter(path, encoded={} if quality is None else {"inputs": ("jpeg", (224, 224, 3))})
    for index in range(len(files)):
        image = load(index)
        inputs = {"inputs": image if quality is None else encode_jpeg(image, quality)}
        fixed, ragged = (inputs, {}) if quality is None else ({}, inputs)
        writer.append(str(index), fixed=fixed | {"labels": np.int32(0)}, ragged=ragged)
    entry = writer.close()
    return records.Split(path, entry["columns"], entry["examples"])


def packed(files: list[bytes], folder: Path, quality: int | None = None) -> Callable[[], Iterable[np.ndarray]]:
    """The packed format, read in random order by this process."""
    inputs = pack(files, folder, quality)["inputs"]
    return lambda: (inputs[sorted(batch)] for batch in batches(len(files)))


def packed_jpeg(files: list[bytes], folder: Path) -> Callable[[], Iterable[np.ndarray]]:
    """As `packed`, with JPEG files."""
    return packed(files, folder, JPEG_QUALITY)


def augmented(files: list[bytes], folder: Path, quality: int | None = None) -> Callable[[], Iterable[np.ndarray]]:
    """The packed format, augmented with a training's policy in the worker processes of the stage `train`."""
    read = reader(pack(files, folder / "processes", quality))

    def run() -> Iterable[np.ndarray]:
        with read_with_processes(read, batch_size=BATCH, workers=available()) as ahead:
            waiting: deque[Callable] = deque()
            for batch in batches(len(files)):
                waiting.append(ahead.start(np.array(batch), 0, lambda read: read))
                if len(waiting) > ahead.ahead:
                    yield waiting.popleft()()[0]
            while waiting:
                yield waiting.popleft()()[0]

    return run


def augmented_jpeg(files: list[bytes], folder: Path) -> Callable[[], Iterable[np.ndarray]]:
    """As `augmented`, with JPEG files."""
    return augmented(files, folder, JPEG_QUALITY)


def augmented_by_threads(files: list[bytes], folder: Path) -> Callable[[], Iterable[np.ndarray]]:
    """The packed format, augmented with a training's policy in threads of this process, each with a separate policy."""
    split, local = pack(files, folder / "threads", None), threading.local()

    def read(batch: list[int]) -> np.ndarray:
        if not hasattr(local, "read"):
            local.read = reader(split)
        return local.read(np.array(batch), 0)[0]

    def run() -> Iterable[np.ndarray]:
        with ThreadPoolExecutor(available()) as pool:
            yield from pool.map(read, batches(len(files)))

    return run


def reader(split: records.Split) -> Reader:
    """The reader of the stage `train`, which reads and augments batches of a split."""
    return augmenting_reader(split, "classification", POLICY, "benchmark", seed=0, output_shape=(1,), classes=1)


def ours_on_the_fly(files: list[bytes], _folder: Path) -> Callable[[], Iterable[np.ndarray]]:
    """The worker processes of the stage `augment`, which decode, augment and return batches."""

    def run() -> Iterable[np.ndarray]:
        with ordered_map(
            load_batch, batches(len(files)), workers=available(), initializer=start, arguments=(files,)
        ) as results:
            yield from results

    return run


def torch_loader(files: list[bytes], _folder: Path) -> Callable[[], Iterable[Any]]:
    """A PyTorch DataLoader whose workers decode and augment images with albumentations."""
    from torch.utils.data import DataLoader, Dataset

    class Images(Dataset):
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, index: int) -> np.ndarray:
            return load(index)

    return lambda: DataLoader(
        Images(), batch_sampler=batches(len(files)), num_workers=available(), worker_init_fn=lambda _: start(files)
    )


class GrainSource:
    """Images for Grain, whose worker processes do not inherit this module's variables."""

    def __init__(self, files: list[bytes]):
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> np.ndarray:
        if globals().get("_files") is None:
            start(self._files)
        return load(index)


def grain_loader(files: list[bytes], _folder: Path) -> Callable[[], Iterable[Any]]:
    """Grain's worker processes, which decode and augment images with albumentations."""
    import grain
    from absl import flags

    flags.FLAGS.mark_as_parsed()  # Grain reads flags, which absl parses only in its own programs
    dataset = grain.MapDataset.source(GrainSource(files)).shuffle(seed=0).batch(BATCH, drop_remainder=True)
    options = grain.MultiprocessingOptions(num_workers=available())
    # The imports of Grain's workers take seconds: the workers start once, before the measurement, not in each epoch.
    iterator = iter(dataset.repeat().to_iter_dataset().mp_prefetch(options))
    return lambda: itertools.islice(iterator, len(files) // BATCH)


def tf_data(files: list[bytes], _folder: Path) -> Callable[[], Iterable[Any]]:
    """tf.data, which decodes and augments images with TensorFlow's operations."""
    import tensorflow as tf

    def prepare(file: Any) -> Any:
        image = tf.image.random_crop(tf.io.decode_jpeg(file, channels=3), (224, 224, 3))
        return tf.image.random_flip_left_right(image)

    dataset = tf.data.Dataset.from_tensor_slices(files).shuffle(len(files)).map(prepare, num_parallel_calls=available())
    return dataset.batch(BATCH, drop_remainder=True).prefetch(2).as_numpy_iterator


# Name, required package and function of each loader. TensorFlow comes last: its threads do not survive a fork.
LOADERS = (
    ("packed", "numpy", packed),
    ("packed_jpeg", "opencv-python-headless", packed_jpeg),
    ("packed_augmented", "albumentations", augmented),
    ("packed_augmented_by_threads", "albumentations", augmented_by_threads),
    ("packed_jpeg_augmented", "albumentations", augmented_jpeg),
    ("albumentations_our_workers", "albumentations", ours_on_the_fly),
    ("albumentations_torch_dataloader", "torch", torch_loader),
    ("albumentations_grain", "grain", grain_loader),
    ("tf_data", "tensorflow", tf_data),
)


def main() -> None:
    """Measure, print and write the result."""
    options = measuring.arguments(__doc__, images=512, archive=True)
    files = images_of(options.archive, options.images) if options.archive else measuring.photos(options.images)
    images = len(files) // BATCH * BATCH
    figures: dict[str, Any] = {"images": options.archive.name if options.archive else "made here", "count": images}
    with tempfile.TemporaryDirectory() as folder:
        for name, package, build in LOADERS:
            if measuring.version(package) is None:
                continue
            make = build(files, Path(folder))
            consume(make(), images)  # fills caches
            epoch_s = measuring.seconds(lambda make=make: consume(make(), images), options.repetitions)
            figures[f"{name}_images_per_s"] = round(images / epoch_s, 1)
            if build in (augmented, augmented_by_threads):
                delays = [delay_ms(lambda make=make: consume(make(), images)) for _ in range(options.repetitions)]
                figures[f"{name}_delay_ms"] = round(statistics.median(delays), 2)
        for name, quality in (("packed", None), ("packed_jpeg", JPEG_QUALITY)):
            size = (Path(folder) / f"train-{quality}" / "inputs.npy").stat().st_size
            figures[f"{name}_kb_a_image"] = round(size / len(files) / 1e3, 1)
    speeds = {name: value for name, value in figures.items() if name.endswith("_per_s")}
    fastest_other = max(value for name, value in speeds.items() if not name.startswith("packed"))
    ratios = {"packed_to_fastest_other": round(figures["packed_images_per_s"] / fastest_other, 1)}
    for name, other in (("packed_jpeg", "packed"), ("packed_augmented", "packed_augmented_by_threads")):
        key = "_images_per_s"
        ratios[f"{name}_to_{other}"] = round(figures[name + key] / figures[other + key], 2)
    ratios["threads_to_processes_delay"] = round(
        figures["packed_augmented_by_threads_delay_ms"] / figures["packed_augmented_delay_ms"], 1
    )
    ratios["packed_to_packed_jpeg_size"] = round(figures["packed_kb_a_image"] / figures["packed_jpeg_kb_a_image"], 1)
    measuring.write("loader", list(dict.fromkeys(package for _, package, _ in LOADERS)), figures, ratios)


def delay_ms(work: Callable[[], object]) -> float:
    """Mean delay, in ms, of a thread that sleeps for a millisecond again and again while `work` runs."""
    stop, delays = threading.Event(), []

    def sleep() -> None:
        while not stop.is_set():
            start = time.perf_counter()
            time.sleep(1e-3)
            delays.append(time.perf_counter() - start - 1e-3)

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    work()
    stop.set()
    sleeper.join()
    return float(np.mean(delays)) * 1e3


def images_of(archive: Path, count: int) -> list[bytes]:
    """Image files, evenly spaced in an archive, of images with both sides of at least 224 pixels."""
    members = Archives([archive])
    names = image_files.images(members, "")
    large = [name for name in names if min(reading.size(name, members[name])) >= 224]
    return [members[large[index]] for index in evenly_spaced(len(large), count)]


if __name__ == "__main__":
    main()
