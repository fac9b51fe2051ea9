"""The four files of the MNIST family."""

from pathlib import PurePosixPath

from pipeline.commands.inspect.data import Data, Found
from pipeline.runtime import folders

RANK = 0
_FILES = {
    "train_images": "train-images",
    "train_labels": "train-labels",
    "test_images": "t10k-images",
    "test_labels": "t10k-labels",
}
_CLASSES = 10


def recognise(data: Data) -> Found | None:
    """Data of this kind, by the files' names."""
    found = {}
    for key, start in _FILES.items():
        names = [name for name in data.names if PurePosixPath(name).name.startswith(start) and "idx" in name]
        if len(names) != 1 or not (data.place / names[0]).is_file():
            return None
        file = data.place / names[0]
        url = file.resolve().as_uri()
        found[key] = {"name": file.name, "urls": [url], "sha256": folders.listed(file, str(file)).sha256}
    classes = [str(label) for label in range(_CLASSES)]
    odd = ["the files do not say what their classes are called: give 0 to 9 their names"]
    return Found("idx", "the MNIST family's files", ("classification",), {"classes": classes}, {"files": found}, odd)
