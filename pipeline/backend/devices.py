"""Set-up of Keras' backend: messages, seed, precision, the accelerators of this machine; TensorFlow's input pipeline.

The backend is the one that `backend` in params.yaml names, outside of a project KERAS_BACKEND, else TensorFlow. Keras' settings file, in which a
user may have another backend, format of images or precision, decides nothing.
"""

import contextlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.backend import compiled
from pipeline.runtime import cores, definition, paths, places
from pipeline.runtime.errors import InputError
from pipeline.runtime.garbage import uncollected
from pipeline.runtime.workers import available

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_FATAL_ONLY = "3"  # errors reach Python as exceptions, except TensorFlow's message that there is no GPU
# By default TensorFlow uses oneDNN's convolutions only on processors with AVX-512; on others a training takes a third less time with them.
_ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
_OUT_OF_MEMORY = (
    "MemoryError",
    "OUT_OF_MEMORY",
    "RESOURCE_EXHAUSTED",
    "ResourceExhausted",
    "bad_alloc",
    "out of memory",
)
_BACKEND, _XLA_FLAGS = "KERAS_BACKEND", "XLA_FLAGS"
_DETERMINISTIC_XLA = (
    "--xla_gpu_deterministic_ops=true"  # without it, two trainings of AlexNet by JAX on one H200 differed
)
_JAX_THREADS = "NPROC"  # the number of threads that XLA starts for its operations on a processor
# PyTorch asks for it where operations are to be deterministic.
_CUBLAS, _DETERMINISTIC_CUBLAS = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
BACKENDS = ("tensorflow", "jax", "torch")  # the first is the default
Profile = Literal["deterministic", "fast"]
IMAGE_DATA_FORMAT, _EPSILON = "channels_last", 1e-7  # Keras' defaults, which its settings file may change
# Optional packages that Keras and TensorFlow import if installed, and that are not needed here: they make the import half as long again.
_OPTIONAL = ("matplotlib", "pandas", "sklearn")
_OPTIONAL_TO_TENSORFLOW = ("jax",)


def set_up(
    *, seed: int, precision: str = "float32", profile: Profile = "deterministic", threads: int | None = None
) -> AbstractContextManager[None]:
    """Prepare the backend before a model is built. Build, load and train models inside the returned context.

    On TensorFlow the memory of a GPU is allocated as needed, and several GPUs divide each batch (MirroredStrategy). On other backends
    Keras' default device is used. On all of them operations are deterministic, unless the profile is `fast`.

    Args:
        seed: Seed of Python's, NumPy's and the backend's generators, which draw initial weights and dropout.
        precision: Keras' dtype policy.
        profile: `deterministic`: equal bits each time; `fast`: kernels that may sum in another order each time, and XLA where `compiles` says so.
        threads: Number of cores for an operation; None: all. It affects the rounding of sums.

    Raises:
        InputError: The profile `fast` with mixed precision on several GPUs, which hangs (keras-team/keras#20763), or the backend has
            started in this process with other settings.
    """
    if threads == 1:
        cores.keep_to_own()
    if chosen_backend() == "jax":
        _set_up_jax(threads)
    backend = import_keras(profile)
    import keras

    if backend == "jax":
        compiled.keep(processor(), str(os.environ.get(_JAX_THREADS) or available()))

    deterministic = profile == "deterministic"
    if backend == "torch":
        _set_up_torch(deterministic=deterministic, threads=threads)

    gpus = _set_up_tensorflow(deterministic=deterministic, threads=threads) if backend == "tensorflow" else 0
    if gpus > 1 and not deterministic and precision != "float32":
        raise InputError(
            f"expected `profile: deterministic` or `precision: float32` on several GPUs; received: {profile} with {precision} on {gpus}, "
            "which hangs (keras-team/keras#20763). Or set CUDA_VISIBLE_DEVICES to a single one"
        )
    with quiet():  # Keras imports TensorFlow here, on any backend
        keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(precision)
    return _mirrored() if gpus > 1 else contextlib.nullcontext()


def import_keras(profile: Profile = "deterministic") -> str:
    """Import Keras with its backend, without the messages of TensorFlow's import; returns the backend's name.

    TF_CPP_MIN_LOG_LEVEL=0 shows these and TensorFlow's later messages. TensorFlow uses oneDNN on any processor unless
    TF_ENABLE_ONEDNN_OPTS=0.

    Args:
        profile: As for `set_up`; it decides the switches.

    Raises:
        InputError: As `chosen_backend`.
    """
    places.require_temporary_folder()
    os.environ[_BACKEND] = chosen = chosen_backend()
    os.environ.setdefault(_ONEDNN, "1")  # also beside JAX, where Keras imports TensorFlow
    os.environ.update({name: value for name, value in switches(chosen, profile).items() if value})
    optional = _OPTIONAL if chosen != "tensorflow" else _OPTIONAL + _OPTIONAL_TO_TENSORFLOW
    with quiet(), _packages_hidden(optional), uncollected():
        import keras

        backend = keras.backend.backend()  # a lazily loaded Keras is imported by this line
    keras.config.set_image_data_format(IMAGE_DATA_FORMAT)
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(_EPSILON)
    return backend


def chosen_backend() -> str:
    """Name of the backend: `backend` in params.yaml, which KERAS_BACKEND may not contradict; outside of a project KERAS_BACKEND decides.

    Raises:
        InputError: KERAS_BACKEND names another one, or the backend is not installed.
    """
    stated, chosen = os.environ.get(_BACKEND), _backend_of_project()
    if chosen and stated and stated != chosen:
        raise InputError(
            f"{_BACKEND}: expected {chosen}, the `backend` of params.yaml; received: {stated}. Unset it, or write `backend: {stated}` there"
        )
    chosen = chosen or stated or BACKENDS[0]
    if find_spec(chosen) is None:
        raise InputError(
            f"expected a backend that is installed; received: {chosen!r}. Install it: TensorFlow by `pip install -e '.[cpu]'`, "
            "JAX by `pip install -e '.[jax]'`, PyTorch by `pip install -e '.[torch]'`"
        )
    return chosen


def _backend_of_project() -> str | None:
    """The `backend` of params.yaml; None outside of a project."""
    try:
        file = paths.params_file()
    except InputError:
        return None
    return definition.lookup(definition.read_yaml(file), "backend") or BACKENDS[0]


def switches(backend: str, profile: Profile = "deterministic") -> dict[str, str]:
    """The variables of the environment that decide bits, as `set_up` sets them for a backend; what the user has set stays."""
    flags = os.environ.get(_XLA_FLAGS, "")
    if backend == "jax" and profile == "deterministic" and _DETERMINISTIC_XLA not in flags:
        flags = f"{flags} {_DETERMINISTIC_XLA}".strip()
    own = {}
    if backend == "tensorflow":
        own = {_ONEDNN: os.environ.get(_ONEDNN, "1")}
    elif backend == "torch":
        own = {_CUBLAS: os.environ.get(_CUBLAS, _DETERMINISTIC_CUBLAS if profile == "deterministic" else "")}
    return {**own, _XLA_FLAGS: flags}


def quiet() -> AbstractContextManager[None]:
    """Hold back what TensorFlow says on the terminal, unless TF_CPP_MIN_LOG_LEVEL asks for it or the block fails."""
    if os.environ.setdefault(_LOG_LEVEL, _FATAL_ONLY) == _FATAL_ONLY:
        return _stderr_held()
    return contextlib.nullcontext()


@contextlib.contextmanager
def _packages_hidden(packages: Iterable[str]) -> Iterator[None]:
    """Hide packages, as if they were not installed; packages that are already imported are not hidden."""
    hidden = [package for package in packages if package not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # with the value None an import raises ImportError
    try:
        yield
    finally:
        for package in hidden:
            del sys.modules[package]


@contextlib.contextmanager
def _stderr_held() -> Iterator[None]:
    """Hold back output to file descriptor 2, also from C++, and write it only if the block raises an exception."""
    sys.stderr.flush()
    terminal_descriptor = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            yield
        except BaseException:
            messages.seek(0)
            with os.fdopen(os.dup(terminal_descriptor), "wb") as terminal:
                shutil.copyfileobj(messages, terminal)
            raise
        finally:
            os.dup2(terminal_descriptor, 2)
            os.close(terminal_descriptor)


def _set_up_tensorflow(*, deterministic: bool, threads: int | None) -> int:
    """Configure threads, memory and determinism of TensorFlow; returns the number of GPUs."""
    import tensorflow as tf

    if os.environ[_LOG_LEVEL] == _FATAL_ONLY:
        # Hides the messages from Python, such as a warning at every second model that a process builds.
        tf.get_logger().setLevel("ERROR")

    gpus, threading = tf.config.list_physical_devices("GPU"), tf.config.threading
    current = threading.get_intra_op_parallelism_threads()
    try:
        if current != (threads or 0):  # 0: all cores
            threading.set_intra_op_parallelism_threads(threads or 0)
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError as error:  # TensorFlow has started, and would keep what it has
        raise _too_late("TensorFlow", threads, current or None) from error
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    return len(gpus)


def _set_up_jax(threads: int | None) -> None:
    """Give XLA its number of threads, which it reads when JAX starts."""
    current = os.environ.get(_JAX_THREADS)
    if threads is None or current == str(threads):
        return
    if "jax" in sys.modules:
        raise _too_late("JAX", threads, current)
    os.environ[_JAX_THREADS] = str(threads)


def _set_up_torch(*, deterministic: bool, threads: int | None) -> None:
    torch = import_module("torch")  # of an extra, which few install
    if threads is not None:
        torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def _too_late(library: str, threads: int | None, current: int | str | None) -> InputError:
    return InputError(
        f"expected `threads: {threads or 'null'}` before {library} starts; received: a process in which {library} runs with "
        f"`threads: {current or 'null'}`. Run each training in a process of its own, as `cnnkeras train` does"
    )


def _mirrored() -> AbstractContextManager:
    import tensorflow as tf

    return tf.distribute.MirroredStrategy().scope()


def compiles(profile: Profile) -> bool:
    """Whether TensorFlow compiles a training step with XLA: in the profile `fast` on a GPU. JAX always does.

    On a processor XLA makes the steps of our networks longer: 1.4 times the processor time of AlexNet at a quarter of its width and of YOLO
    with nine convolutions, with one thread, where TensorFlow's own kernels are oneDNN's.
    """
    import keras

    if profile != "fast" or keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def feed(batches: "keras.utils.PyDataset") -> "keras.utils.PyDataset | tf.data.Dataset":
    """The batches in the form for `fit`: on TensorFlow a tf.data.Dataset without autotuning, on other backends the batches themselves.

    Keras would make a dataset with autotuning. At the end of an epoch the tuning thread can miss the request to stop, and the epoch
    waits for it, up to a minute: the thread is notified before the flag that it reads is set (TensorFlow 2.21, `Model::OptimizeLoop`
    in core/framework/model.cc and `StartCancelWithStatus` in xla/tsl/framework/cancellation.cc). Autotuning is for parallel maps
    over files, which batches do not have.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    def read() -> Iterator["tuple[np.ndarray, ...]"]:
        for index in range(len(batches)):
            yield batches[index]

    signature = tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in batches[0])
    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_generator(read, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(len(batches))).prefetch(2).with_options(options)


def to_device() -> Callable[[Any], Any]:
    """A function that begins to copy a batch to the accelerator: on JAX; on other backends, where `feed` or Keras does it, it returns the batch.

    Keras does so too, but in the thread that starts the steps, which takes a tenth of AlexNet's speed on an H200.
    """
    import keras

    if keras.backend.backend() != "jax":
        return lambda batch: batch
    return import_module("jax").device_put  # of an extra


def lacks_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, says that memory, of an accelerator or of this machine, was used up.

    The backends have no common class for it: TensorFlow's ResourceExhaustedError, JAX's XlaRuntimeError with that status, and Python's
    MemoryError, which TensorFlow repeats as text if a batch was being read.
    """
    while error is not None:
        text = f"{type(error).__name__} {error}"
        if any(sign in text for sign in _OUT_OF_MEMORY):
            return True
        error = error.__cause__ or error.__context__
    return False


def describe() -> str:
    """This machine in words: processor, number of cores, accelerators."""
    import_keras()
    import keras

    with quiet():  # the backend starts here, unless it has
        accelerators = [device for device in keras.distribution.list_devices() if not device.startswith("cpu")]
    return ", ".join([processor(), f"{os.cpu_count()} cores", *accelerators])


def processor() -> str:
    """The kind of processor, as the system calls it."""
    information = Path("/proc/cpuinfo")  # on Linux; on other systems `platform` is used
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
