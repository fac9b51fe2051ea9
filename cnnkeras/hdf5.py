"""What an HDF5 file of weights may hold: numbers, all of them in the file itself. Nothing of it is read to find out.

HDF5 lets a data set lie in any other file (external storage), be put together from others (virtual data sets) or stand elsewhere
(soft and external links), and declare a shape of which not a number is stored. Whoever reads such a file from elsewhere would read
files of this machine into the weights of a model, or fill its memory.
"""

from collections.abc import Iterator

import h5py

_KINDS_OF_NUMBERS = "biuf"  # of NumPy: truth, integers, unsigned integers, floats
_MAX_RATIO = 1100  # deflate, HDF5's usual compression, makes at most 1,032 bytes of one


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
