"""What an HDF5 file of weights may hold: numbers, all of them in the file itself. Nothing of it is read to find out.

HDF5 lets a data set lie in any other file (external storage), be put together from others (virtual data sets) or stand elsewhere
(soft and external links), and declare a shape of which not a number is stored. Whoever reads such a file from elsewhere would read
files of this machine into the weights of a model, or fill its memory.

A damaged file can also end the process that reads it: the HDF5 library follows addresses in it. So `require_harmless` has another process
read it first.
"""

import io
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

import h5py

_KINDS_OF_NUMBERS = "biuf"  # of NumPy: truth, integers, unsigned integers, floats
_MAX_RATIO = 1100  # deflate, HDF5's usual compression, makes at most 1,032 bytes of one
# What the other process may take. Reading VGG19's 575 MB takes seconds and twice their memory; Python and NumPy reserve 2 GiB.
_SECONDS, _SECONDS_PER_GB = 10, 60
_BYTES, _BYTES_PER_BYTE = 4 * 2**30, 4
_NO_MEMORY = 12  # exit code: ENOMEM


def find(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset:
    """What is at a path below a group.

    Raises:
        ValueError: Nothing, or what a soft or an external link names; a data set whose numbers are not all in this file.
    """
    item = group
    for name in filter(None, path.split("/")):
        if not isinstance(item, h5py.Group) or name not in item.keys():  # noqa: SIM118 - `in` would follow links
            raise ValueError(f"expected {path} in the HDF5 file; received: none of that name")
        if not isinstance(item.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"expected {path} in the HDF5 file itself; received: a link to another place")
        item = item[name]
    if isinstance(item, h5py.Dataset):
        _check(item)
    return item


def datasets(group: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    """Every data set below a group, by its path.

    Raises:
        ValueError: As of `find`; a group that is in itself.
    """
    seen, waiting = set(), [("", group)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, h5py.Dataset):
            yield path, item
            continue
        if not isinstance(item, h5py.Group):
            raise ValueError(f"expected groups and data sets in the HDF5 file; received: another object, {path}")
        place = h5py.h5o.get_info(item.id).addr
        if place in seen:
            raise ValueError(f"expected each group of the HDF5 file once; received: {path} again")
        seen.add(place)
        waiting += [(f"{path}/{name}".lstrip("/"), find(item, name)) for name in item]


def require_harmless(file: BinaryIO, module: str) -> None:
    """Have another process read a file, within limits of time and memory, as the caller is going to; its errors are the caller's to raise.

    Args:
        file: Opened for reading bytes, seekable; it is at its beginning afterwards.
        module: Name of a module of this package with a function `read_all(file)` that reads all that the caller will read.

    Raises:
        ValueError: That process crashed, or was stopped at a limit.
        CalledProcessError: It could not be started in a useful way.
    """
    search_path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    trial = subprocess.Popen(
        [sys.executable, "-c", "from cnnkeras import hdf5; hdf5.try_reading()", module],
        env={**os.environ, "PYTHONPATH": search_path},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    file.seek(0)
    trial.communicate(file.read())
    file.seek(0)
    if trial.returncode > 0 and trial.returncode != _NO_MEMORY:
        raise subprocess.CalledProcessError(trial.returncode, trial.args)
    if trial.returncode:
        received = {
            -signal.SIGXCPU: "one that it does not come to the end of",
            _NO_MEMORY: "one that takes more memory than such a file can need",
        }.get(trial.returncode, "one that crashes it")
        raise ValueError(
            f"expected a whole file of the HDF5 library; received: {received}. The file is damaged: fetch it again"
        )


def try_reading() -> None:
    """Read the file at standard input by the function `read_all` of the module that the first argument names; for `require_harmless`."""
    content = sys.stdin.buffer.read()
    seconds, size = _SECONDS + _SECONDS_PER_GB * len(content) // 10**9, _BYTES + _BYTES_PER_BYTE * len(content)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    try:
        import_module(sys.argv[1]).read_all(io.BytesIO(content))
    except MemoryError:
        sys.exit(_NO_MEMORY)
    except Exception:
        sys.exit(0)  # the process that asks will meet the same error, and say it


def _check(dataset: h5py.Dataset) -> None:
    name = dataset.name
    if dataset.external:
        raise ValueError(f"expected {name} in the HDF5 file itself; received: one whose numbers are in another file")
    if dataset.is_virtual:
        raise ValueError(f"expected {name} in the HDF5 file itself; received: one put together from others")
    if dataset.shape is None or dataset.dtype.kind not in _KINDS_OF_NUMBERS:
        raise ValueError(f"expected numbers in {name} of the HDF5 file; received: values of type {dataset.dtype}")
    plan = dataset.id.get_create_plist()
    declared = dataset.size * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size() * (_MAX_RATIO if plan.get_nfilters() else 1)
    if declared > stored:
        shape = " x ".join(map(str, dataset.shape))
        raise ValueError(
            f"expected the {declared:,} bytes of {name} in the HDF5 file, {shape} as it says; received: {dataset.id.get_storage_size():,}"
        )
