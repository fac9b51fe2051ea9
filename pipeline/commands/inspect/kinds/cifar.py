"""CIFAR's binary version, as its archive or unpacked beside it."""

from pipeline.commands.inspect.data import Data, Found
from pipeline.runtime import folders
from pipeline.sources.cifar import VARIANTS

RANK = 0


def recognise(data: Data) -> Found | None:
    """Data of this kind, by the names of the members."""
    for name, variant in VARIANTS.items():
        if set(variant.train) | set(variant.test) <= set(data.names) and data.place.is_file():
            digest = folders.listed(data.place, data.path).sha256
            file = {"name": data.place.name, "urls": [data.place.resolve().as_uri()], "sha256": digest}
            return Found("cifar", "CIFAR's binary version", ("classification",), {"variant": name}, {"file": file})
    return None
