"""The images that a packed dataset keeps beside its inputs: as they were published, at their own size."""

import io

import numpy as np
from PIL import Image


def read_image(file: np.ndarray) -> np.ndarray:
    """The image (H, W, 3) in uint8 RGB of an image file's bytes, as `originals` of a packed dataset holds them."""
    with Image.open(io.BytesIO(np.asarray(file).tobytes())) as image:
        return np.array(image.convert("RGB"))
