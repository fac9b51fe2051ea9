"""Label maps of VOC: indices of a palette as labels of our classes, and the maps that Hariharan et al. drew."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnkeras.label_maps import VOID
from pipeline.files import image_files
from pipeline.files.classes import Classes


def of_our_classes(
    published: np.ndarray, palette: Sequence[str], classes: Classes, member: str
) -> tuple[np.ndarray, int]:
    """A label map of our classes, and how many of its indices have a class that is left out.

    Args:
        published: uint8 (H, W), indices: 0 the background, 255 void.
        palette: Names by the index, less one.
        classes: Which class a name is.
        member: The file's name, for messages.

    Raises:
        InputError: An index has a name that is not listed, or none, and is not to be left out.
    """
    indices, others = classes.indices(), 0
    labels = np.arange(256, dtype=np.uint8)
    for index in set(np.unique(published).tolist()) - {0, VOID}:
        name = palette[index - 1] if index <= len(palette) else f"index {index}"
        if name not in indices and not classes.drops_others:
            raise classes.refused(name, member)
        others += name not in indices
        labels[index] = indices.get(name, -1) + 1
    return labels[published], others


def read_label_map(mat: bytes, member: str) -> np.ndarray:
    """Label map uint8 (H, W) of a file of Hariharan et al.: `GTcls.Segmentation`, 0 background, 1.. classes.

    Args:
        mat: The file, MATLAB's format 5.
        member: Its name, for messages.

    Raises:
        InputError: It is no such file.
    """

    def pick(variables: dict[str, Any]) -> np.ndarray:
        labels = np.asarray(variables["GTcls"]["Segmentation"])
        if labels.ndim != 2 or labels.dtype != np.uint8:
            raise ValueError(f"{labels.dtype} {labels.shape}")
        return labels

    expected = "MATLAB's format 5 with GTcls.Segmentation, uint8 (height, width)"
    return image_files.read_matlab(mat, member, pick, expected=expected)
