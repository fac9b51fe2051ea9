"""A source's example as a decoded image with its annotations."""

import numpy as np

from cnnkeras.label_maps import VOID, decode_png
from pipeline.images.annotated import AnnotatedImage
from pipeline.images.reading import read_image, said
from pipeline.runtime.errors import InputError
from pipeline.sources import Example


def decode(example: Example, classes: int) -> AnnotatedImage:
    """Decode an example's image and its mask.

    Grey, palette and CMYK images become RGB. An image is read as stored, not turned by its EXIF tag.

    Args:
        example: Of an image.
        classes: How many classes there are: the largest label that a mask may hold.

    Raises:
        InputError: A file is damaged, or the mask does not fit the image or the classes.
    """
    image = example.image if isinstance(example.image, np.ndarray) else read_image(example.image, example.id)
    mask = _decode_mask(example.mask, example.id)
    if mask is not None:
        if mask.shape != image.shape[:2]:
            raise InputError(
                f"{example.id}: expected a mask of the image's size {image.shape[:2]}; received: {mask.shape}"
            )
        labels = mask[mask != VOID]
        if labels.size and labels.max() > classes:
            raise InputError(f"{example.id}: expected mask labels 0..{classes} and {VOID}; received: {labels.max()}")
    return AnnotatedImage(image, example.boxes, example.labels, example.difficult, mask, example.crowd)


def _decode_mask(mask: bytes | np.ndarray | None, id: str) -> np.ndarray | None:
    if not isinstance(mask, bytes):
        return mask
    try:
        return decode_png(mask)
    except ValueError as error:
        raise InputError(f"{id}: label map: {said(error)}") from error
