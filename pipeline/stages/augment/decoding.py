"""A source's example as a decoded image with its annotations."""

import numpy as np

from cnnkeras.label_maps import VOID, decode_png
from pipeline.files import image_files
from pipeline.images.annotated import AnnotatedImage
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
    image = _decode_image(example.image, example.id)
    mask = _decode_mask(example.mask, example.id)
    if mask is not None:
        if mask.shape != image.shape[:2]:
            raise InputError(
                f"{example.id}: expected a mask of the image's size {image.shape[:2]}; received: {mask.shape}"
            )
        labels = mask[mask != VOID]
        if labels.size and labels.max() > classes:
            raise InputError(f"{example.id}: expected mask labels 0..{classes} and {VOID}; received: {labels.max()}")
    return AnnotatedImage(image, example.boxes, example.labels, example.difficult, mask)


def _decode_image(content: bytes | np.ndarray, id: str) -> np.ndarray:
    if isinstance(content, np.ndarray):
        return content
    with image_files.opened(id, content, expected="a whole image") as image:
        mode, pixels = image.mode, np.array(image.convert("RGB"))
    if mode[0] in "IF":  # Pillow would cut such values off at 255
        raise InputError(f"{id}: expected an image of 8 bits a channel; received: mode {mode}")
    return pixels


def _decode_mask(mask: bytes | np.ndarray | None, id: str) -> np.ndarray | None:
    if not isinstance(mask, bytes):
        return mask
    try:
        return decode_png(mask)
    except ValueError as error:
        raise InputError(f"{id}: label map: {image_files.said(error)}") from error
