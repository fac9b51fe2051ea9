"""The backend: silent, seeded, at a precision, on the accelerators of this machine.

Nothing here takes TensorFlow for granted: Keras runs on what KERAS_BACKEND says.
"""

import contextlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from pipeline.errors import InputError
from pipeline.stage import signals_held

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_FATAL_ONLY = "3"  # errors reach Python as exceptions; to have no GPU is an error that does not
# On processors without AVX-512 TensorFlow leaves oneDNN's convolutions off, though a training takes a third less time with them.
_ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
# Keras imports them where they are installed, to take what they make. Nothing here makes any, and it is a sixth of the time.
_OPTIONAL = ("pandas", "sklearn")


def set_up(*, seed: int, precision: str = "float32", xla: bool = False) -> AbstractContextManager[None]:
    """Prepare the backend, before any network is built; build, load and train inside the context that this returns.

    On TensorFlow every GPU takes memory as it needs it, several share each batch (MirroredStrategy), and operations are
    deterministic unless `xla`: the two exclude each other. On other backends Keras' default device is used.

    Args:
        seed: Of Python's, NumPy's and the backend's generators, hence of initial weights and dropout.
        precision: Keras' dtype policy.
        xla: Whether the training step will be compiled with XLA.

    Raises:
        InputError: XLA with mixed precision on several GPUs, which hangs (keras-team/keras#20763).
    """
    backend = import_keras()
    import keras

    gpus = _set_up_tensorflow(deterministic=not xla) if backend == "tensorflow" else 0
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
    """
    os.environ.setdefault(_ONEDNN, "1")
    with signals_held(), _quiet(), _missing(_OPTIONAL):
        import keras

        return keras.backend.backend()  # a lazily loaded Keras is imported by this line


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


def _set_up_tensorflow(*, deterministic: bool) -> int:
    """Returns the number of GPUs."""
    import tensorflow as tf

    if os.environ[_LOG_LEVEL] == _FATAL_ONLY:
        tf.get_logger().setLevel("ERROR")  # Python's side, which warns of every second network that a process builds

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    return len(gpus)


def _mirrored() -> AbstractContextManager:
    import tensorflow as tf

    return tf.distribute.MirroredStrategy().scope()


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
