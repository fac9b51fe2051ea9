"""The GPUs that a training here may use, counted without starting a backend, which takes seconds and memory of each GPU."""

import os
import pkgutil
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from pipeline.backend.environment import version

VISIBLE = "CUDA_VISIBLE_DEVICES"  # CUDA's variable of the environment: the GPUs that a process sees, by number or by identifier
_LIST = ("nvidia-smi", "-L")  # comes with the driver
_LIST_SECONDS = 60.0  # a driver that no process holds is started by it
_UNIT = re.compile(r"^(\s*).*\(UUID: ([^)]+)\)$", re.MULTILINE)
_DRIVER = "/proc/driver/nvidia/gpus"  # a folder for each GPU; where nvidia-smi is missing, as in some containers
_PLATFORMS = "JAX_PLATFORMS"


def separate(backend: str) -> list[str]:
    """The GPUs that a backend can compute on, each as `VISIBLE` names it; none if its installed build is for the processor.

    Parts of a GPU (MIG) count in its place: a process can use one of them.
    """
    if not _has_kernels(backend):
        return []
    if (stated := os.environ.get(VISIBLE)) is not None:
        return list(_stated(stated))
    with suppress(OSError, subprocess.SubprocessError):
        listed = subprocess.run(_LIST, capture_output=True, text=True, check=True, timeout=_LIST_SECONDS).stdout
        return _units(listed)
    with suppress(OSError):
        return [str(number) for number, _ in enumerate(Path(_DRIVER).iterdir())]
    return []


def _stated(text: str) -> Iterator[str]:
    """The GPUs in a value of `VISIBLE`. As CUDA reads it, the first entry that is none ends it."""
    for entry in map(str.strip, text.split(",")):
        if not re.fullmatch(r"\d+|(GPU|MIG)-.+", entry):
            return
        yield entry


def _units(listed: str) -> list[str]:
    """The identifiers in nvidia-smi's list, in which the parts of a GPU are indented below it."""
    found: list[str] = []
    for indent, identifier in _UNIT.findall(listed):
        if indent and found and found[-1].startswith("GPU-"):
            found.pop()
        found.append(identifier)
    return found


def _has_kernels(backend: str) -> bool:
    """Whether the installed build of a backend may have kernels for GPUs."""
    if backend == "jax":
        plugins = find_spec("jax_plugins")
        names = [module.name for module in pkgutil.iter_modules(plugins.submodule_search_locations)] if plugins else []
        return os.environ.get(_PLATFORMS, "cuda") != "cpu" and any(name.startswith("xla_cuda") for name in names)
    if backend == "torch":
        return not (version("torch") or "").endswith("+cpu")
    return version("tensorflow-cpu") is None
