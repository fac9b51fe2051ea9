"""The backend: silent, seeded, at a precision, on the accelerators of this machine.

Nothing here takes TensorFlow for granted: Keras runs on what KERAS_BACKEND says.
"""

import contextlib
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.runtime.errors import InputError
from pipeline.runtime.signals import signals_held

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_FATAL_ONLY = "3"  # errors reach Python as exceptions; to have no GPU is an error that does not
# On processors without AVX-512 TensorFlow leaves oneDNN's convolutions off, though a training takes a third less time with them.
_ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
# What Keras and TensorFlow import where it is installed, for what nothing here does: half as long again as their own import.
_OPTIONAL = ("matplotlib", "pandas", "sklearn")
_OPTIONAL_TO_TENSORFLOW = ("jax",)


def set_up(
    *, seed: int, precision: str = "float32", xla: bool = False, threads: int | None = None
) -> AbstractContextManager[None]:
    """Prepare the backend, before any network is built; build, load and train inside the context that this returns.

    On TensorFlow every GPU takes memory as it needs it, several share each batch (MirroredStrategy), and operations are
    deterministic unless `xla`: the two exclude each other. On other backends Keras' default device is used.

    Args:
        seed: Of Python's, NumPy's and the backend's generators, hence of initial weights and dropout.
        precision: Keras' dtype policy.
        xla: Whether the training step will be compiled with XLA.
        threads: Cores that one of TensorFlow's operations may use; None: all. Its sums are rounded as their number has it.

    Raises:
        InputError: XLA with mixed precision on several GPUs, which hangs (keras-team/keras#20763).
    """
    backend = import_keras()
    import keras

    gpus = _set_up_tensorflow(deterministic=not xla, threads=threads) if backend == "tensorflow" else 0
    if gpus > 1 and xla and precision != "float32":
        raise InputError(
            f"expected `xla: false` or `precision: float32` on several GPUs; received: xla with {precision} on {gpus}, "
            "which hangs (keras-team/keras#20763). Or set CUDA_VISIBLE_DEVICES to a single one"
        )
    with _quiet():  # Keras imports TensorFlow here, on any backend
        keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(precision)
    return _mirrored() if gpus > 1 else contextlib.nullcontext()


def import_keras() -> str:
    """Import Keras with its backend, whose name is returned, without the lines that TensorFlow writes while it loads.

    TF_CPP_MIN_LOG_LEVEL=0 shows them, and TensorFlow's later messages. TensorFlow uses oneDNN on any processor unless
    TF_ENABLE_ONEDNN_OPTS=0. Ctrl-C and SIGTERM wait until it is imported: what is raised in the middle of it gets lost in there,
    and half a package is left.

    Raises:
        InputError: The backend is not installed.
    """
    os.environ.setdefault(_ONEDNN, "1")
    if find_spec(chosen := _chosen_backend()) is None:
        raise InputError(
            f"expected a backend that is installed, by KERAS_BACKEND or Keras' settings; received: {chosen!r}. "
            "Install it: JAX by `pip install -e '.[jax]'`"
        )
    optional = _OPTIONAL if chosen != "tensorflow" else _OPTIONAL + _OPTIONAL_TO_TENSORFLOW
    with signals_held(), _quiet(), _missing(optional):
        import keras

        return keras.backend.backend()  # a lazily loaded Keras is imported by this line


def _chosen_backend() -> str:
    """What Keras will take: KERAS_BACKEND, else its own settings file, else TensorFlow."""
    settings = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "keras.json"
    with contextlib.suppress(OSError, ValueError, KeyError):
        return os.environ.get("KERAS_BACKEND") or json.loads(settings.read_text(encoding="utf-8"))["backend"]
    return "tensorflow"


def _quiet() -> AbstractContextManager[None]:
    if os.environ.setdefault(_LOG_LEVEL, _FATAL_ONLY) == _FATAL_ONLY:
        return _stderr_held()
    return contextlib.nullcontext()


@contextlib.contextmanager
def _missing(packages: Iterable[str]) -> Iterator[None]:
    """Have these packages look as if they were not installed, but for those that are imported already."""
    hidden = [package for package in packages if package not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # None: an import of it is an ImportError
    try:
        yield
    finally:
        for package in hidden:
            del sys.modules[package]


@contextlib.contextmanager
def _stderr_held() -> Iterator[None]:
    """Keep what is written to file descriptor 2, from C++ too, and show it only when the block fails."""
    sys.stderr.flush()
    former = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            with os.fdopen(os.dup(former), "wb") as terminal:
                shutil.copyfileobj(held, terminal)
            raise
        finally:
            os.dup2(former, 2)
            os.close(former)


def _set_up_tensorflow(*, deterministic: bool, threads: int | None) -> int:
    """Returns the number of GPUs."""
    import tensorflow as tf

    if os.environ[_LOG_LEVEL] == _FATAL_ONLY:
        tf.get_logger().setLevel("ERROR")  # Python's side, which warns of every second network that a process builds

    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    return len(gpus)


def _mirrored() -> AbstractContextManager:
    import tensorflow as tf

    return tf.distribute.MirroredStrategy().scope()


def feed(batches: "keras.utils.PyDataset") -> "keras.utils.PyDataset | tf.data.Dataset":
    """What `fit` should read batches from: on TensorFlow a tf.data.Dataset that tunes nothing, elsewhere the batches themselves.

    Keras would make one that does. The thread that tunes it can miss at the end of an epoch that it is to end, and the epoch
    then waits for it, up to a minute: it is woken before what it looks at has changed (TensorFlow 2.21, `Model::OptimizeLoop`
    in core/framework/model.cc and `StartCancelWithStatus` in xla/tsl/framework/cancellation.cc). Tuning is for parallel maps
    over files; batches have none.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    def read() -> Iterator[tuple[np.ndarray, ...]]:
        for index in range(len(batches)):
            yield batches[index]

    signature = tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in batches[0])
    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_generator(read, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(len(batches))).prefetch(2).with_options(options)


def describe() -> str:
    """This machine, for people: processor, cores, accelerators."""
    import keras

    accelerators = [device for device in keras.distribution.list_devices() if not device.startswith("cpu")]
    return ", ".join([_processor(), f"{os.cpu_count()} cores", *accelerators])


def _processor() -> str:
    information = Path("/proc/cpuinfo")  # Linux; elsewhere Python knows better
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
