"""A source's example as a decoded image with its annotations, all of them upright."""

import numpy as np

from cnnkeras.images import Upright, turn, turn_boxes
from cnnkeras.label_maps import VOID
from pipeline.images.annotated import AnnotatedImage
from pipeline.images.reading import another_size, read_labels, read_upright
from pipeline.runtime.errors import InputError
from pipeline.sources import Example

_FIRST_SWAPPED = 5  # the EXIF tag's values from 5 to 8 exchange width and height


def decode(example: Example, classes: int) -> AnnotatedImage:
    """Decode an example's image and its mask.

    An image is turned upright by its EXIF tag. Boxes and mask belong to it as it is seen, unless the size that they have, or that their
    annotation states, is that of the pixels as stored: then they are turned with it. Where the size does not tell (a square image, or one
    that is only mirrored or upside down) they belong to it as it is seen.

    Args:
        example: Of an image.
        classes: How many classes there are: the largest label that a mask may hold.

    Raises:
        InputError: A file is damaged, or the annotation or the mask does not fit the image, or the mask not the classes.
    """
    image = example.image
    upright = Upright(image) if isinstance(image, np.ndarray) else read_upright(image, example.id)
    shape, boxes = upright.pixels.shape[:2], example.boxes
    if example.annotated_size is not None and _is_as_stored(example, upright):
        boxes = turn_boxes(boxes, upright.orientation, shape)
    mask = _mask(example, upright, classes)
    return AnnotatedImage(upright.pixels, boxes, example.labels, example.difficult, mask, example.crowd)


def _is_as_stored(example: Example, upright: Upright) -> bool:
    """Whether an annotation that states a size is one of the pixels as stored, which a tag turns."""
    stated, (height, width) = tuple(example.annotated_size), upright.pixels.shape[:2]
    if stated == (width, height):
        return False
    if stated == (height, width) and upright.orientation >= _FIRST_SWAPPED:
        return True
    raise another_size(example.id, stated, (width, height))


def _mask(example: Example, upright: Upright, classes: int) -> np.ndarray | None:
    mask, shape = example.mask, upright.pixels.shape[:2]
    if isinstance(mask, bytes):
        mask = read_labels(mask, f"{example.id}: label map")
    if mask is None:
        return None
    if mask.shape != shape and mask.shape == shape[::-1] and upright.orientation >= _FIRST_SWAPPED:
        mask = turn(mask, upright.orientation)
    if mask.shape != shape:
        raise InputError(f"{example.id}: expected a mask of the image's size {shape}; received: {mask.shape}")
    labels = mask[mask != VOID]
    if labels.size and labels.max() > classes:
        raise InputError(f"{example.id}: expected mask labels 0..{classes} and {VOID}; received: {labels.max()}")
    return mask
