"""A decoded picture with what is known about its pixels, and what can be done to both at once."""

import io
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from cnnkeras.tasks.segmentation import VOID, decode_png
from pipeline import picture_files
from pipeline.errors import InputError
from pipeline.sources import Example


@dataclass(frozen=True)
class AnnotatedPicture:
    """A picture with its boxes and its label map.

    Attributes:
        picture: uint8 (H, W, 3), RGB.
        boxes: float64 (n, 4), corners x0, y0, x1, y1 in pixels, or None.
        labels: int32 (n,), class of each box, or None.
        difficult: bool (n,), or None.
        mask: uint8 (H, W): 0 background, 1.. classes, 255 void; or None.
    """

    picture: np.ndarray
    boxes: np.ndarray | None = None
    labels: np.ndarray | None = None
    difficult: np.ndarray | None = None
    mask: np.ndarray | None = None


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


def encode(picture: np.ndarray) -> bytes:
    """A PNG file of an RGB picture."""
    return cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()


def resize(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture stretched to (height, width): averaged where it shrinks, bilinear where it grows."""
    shrinks = picture.shape[0] > size[0] or picture.shape[1] > size[1]
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A label map stretched to (height, width): each pixel takes the label at its centre."""
    return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def cut_out(whole: AnnotatedPicture, number: int, margin: float) -> AnnotatedPicture:
    """The square around one object.

    It is centred on the object's box; its side is the box's longer side and twice `margin` times that. Beyond the
    picture's edge it continues by the edge's pixels, and its label map is void. The label map keeps the pixels of the
    object's class inside its own box, and void; everything else is background.
    """
    x0, y0, x1, y1 = whole.boxes[number]
    side = max(1, round(max(x1 - x0, y1 - y0) * (1 + 2 * margin)))
    columns = round((x0 + x1 - side) / 2) + np.arange(side)
    rows = round((y0 + y1 - side) / 2) + np.arange(side)
    height, width = whole.picture.shape[:2]
    inside = np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))
    if whole.mask is None:
        return AnnotatedPicture(whole.picture[inside])
    mask = whole.mask[inside]
    own_rows = (rows + 0.5 > y0) & (rows + 0.5 < y1)
    own_columns = (columns + 0.5 > x0) & (columns + 0.5 < x1)
    own = np.outer(own_rows, own_columns) & (mask == whole.labels[number] + 1)
    mask = np.where(own | (mask == VOID), mask, np.uint8(0))
    mask[(rows < 0) | (rows >= height)] = VOID
    mask[:, (columns < 0) | (columns >= width)] = VOID
    return AnnotatedPicture(whole.picture[inside], mask=mask)
