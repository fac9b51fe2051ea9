"""A source's example as a decoded picture with its annotations."""

import io

import numpy as np
from PIL import Image

from cnnkeras.tasks.segmentation import VOID, decode_png
from pipeline import picture_files
from pipeline.annotated import AnnotatedPicture
from pipeline.errors import InputError
from pipeline.sources import Example


def decode(example: Example, classes: int) -> AnnotatedPicture:
    """Decode an example's picture and its mask.

    Grey, palette and CMYK pictures become RGB. A picture is read as stored, not turned by its EXIF tag.

    Args:
        example: Of a picture.
        classes: How many classes there are: the largest label that a mask may hold.

    Raises:
        InputError: A file is damaged, or the mask does not fit the picture or the classes.
    """
    picture = _decode_picture(example.picture, example.id)
    mask = _decode_mask(example.mask, example.id)
    if mask is not None:
        if mask.shape != picture.shape[:2]:
            raise InputError(
                f"{example.id}: expected a mask of the picture's size {picture.shape[:2]}; received: {mask.shape}"
            )
        labels = mask[mask != VOID]
        if labels.size and labels.max() > classes:
            raise InputError(f"{example.id}: expected mask labels 0..{classes} and {VOID}; received: {labels.max()}")
    return AnnotatedPicture(picture, example.boxes, example.labels, example.difficult, mask)


def _decode_picture(picture: bytes | np.ndarray, id: str) -> np.ndarray:
    if isinstance(picture, np.ndarray):
        return picture
    try:
        with Image.open(io.BytesIO(picture)) as image:
            mode, pixels = image.mode, np.array(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{id}: expected a whole picture; received: {picture_files.said(error)}") from error
    if mode[0] in "IF":  # Pillow would cut such values off at 255
        raise InputError(f"{id}: expected a picture of 8 bits a channel; received: mode {mode}")
    return pixels


def _decode_mask(mask: bytes | np.ndarray | None, id: str) -> np.ndarray | None:
    if not isinstance(mask, bytes):
        return mask
    try:
        return decode_png(mask)
    except ValueError as error:
        raise InputError(f"{id}: label map: {picture_files.said(error)}") from error
