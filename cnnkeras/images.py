"""Image files, as bytes, read in one way: by `augment`, `predict`, `evaluate` and `show`, and by whoever serves a model.

An image is upright by its EXIF tag, lies on white where it is transparent, and has 8 bits a channel: grey, palette and CMYK become
RGB, and of 16 bits the upper 8 are taken. Of an animation it is the first frame; a TIFF of several pages is no image. A label map is
turned by its own tag, and its values are those that its author wrote.
"""

import contextlib
import functools
import io
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, features

# Photographs and drawings. Pillow opens more: documents by Ghostscript, films, tables; it can make no pixels of some.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "QOI", "TGA", "TIFF", "WEBP")
_CODECS = {"AVIF": "avif", "JPEG2000": "jpg_2000", "WEBP": "webp"}  # what a build of Pillow may lack
_MORE_ENDINGS_OF_JPEG = {".jif", ".jfi", ".pjp", ".pjpeg"}  # browsers write them; Pillow does not know them
_EXACT = ("BMP", "DIB", "GIF", "PNG", "PPM", "QOI", "TGA", "TIFF")  # a TIFF may hold a JPEG all the same
_LOSSY_IN_TIFF = ("jpeg", "tiff_jpeg", "old-jpeg", "webp", "jpeg2000")

_ORIENTATION = 0x0112  # EXIF 2.32, section 4.6.4, tag 274
# What makes pixels upright, by the tag: exchange rows and columns, then reverse the rows, then the columns.
_TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
_SUBFILE, _REDUCED_OR_MASK = 254, 5  # TIFF 6.0, NewSubfileType: bit 0 a smaller version, bit 2 a mask of another page
_MIN_16_BIT = 4096  # values of 12 bits and fewer come in 16 as well; their upper 8 bits would be almost black
_ADDRESS = re.compile(r" <[\w.]+ object at 0x[0-9a-f]+>")


@dataclass(frozen=True)
class Upright:
    """What was read of a file.

    Attributes:
        pixels: uint8, (H, W, 3) RGB of an image, (H, W) of a label map; upright.
        orientation: The EXIF tag that turned it, 1..8; 1 where there is none.
    """

    pixels: np.ndarray
    orientation: int = 1


@dataclass(frozen=True)
class _Loaded:
    image: Image.Image  # decoded
    orientation: int
    is_turned: bool
    rawmode: str  # how a file's values become Pillow's
    max_value: int | None  # that a .pgm names


def read(content: bytes) -> Upright:
    """The image of a file.

    Raises:
        ValueError: It is no image, damaged, too large, or of more than 16 bits a channel.
    """
    loaded = _load(content, "a whole image")
    try:
        return _upright(loaded, _to_rgb(loaded))
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"expected a whole image; received: {said(error)}") from error


def read_labels(content: bytes) -> Upright:
    """The label map of a palette or grayscale file: the values as its author wrote them, not as an image viewer brightens them.

    Raises:
        ValueError: It is no image, damaged, too large, of a format that changes values, or its pixels are colours or no labels.
    """
    values = read_values(content)
    wrong = values.pixels[(values.pixels < 0) | (values.pixels > 255)]
    if wrong.size:
        raise ValueError(f"expected labels from 0 to 255; received: {wrong[0]}")
    return Upright(values.pixels.astype(np.uint8), values.orientation)


def read_values(content: bytes) -> Upright:
    """The values of a palette or grayscale file as its author wrote them, whole numbers of any size: `pixels` is int32 (H, W).

    Raises:
        ValueError: It is no image, damaged, too large, of a format that changes values, or its pixels are colours or no whole numbers.
    """
    loaded = _load_exact(content)
    image = loaded.image
    if image.mode[0] not in "1LPIF" or image.mode in ("LA", "La", "PA", "LAB"):
        raise ValueError(
            f"expected a palette or grayscale image of labels; received: mode {image.mode}. Save labels, not colours"
        )
    if loaded.rawmode.startswith("L;") and "I" in loaded.rawmode:
        raise ValueError("expected a label map whose 0 is black; received: a TIFF whose 0 is white. Save it as PNG")
    return _upright(loaded, whole_numbers(_as_written(np.asarray(image), loaded)))


def read_colors(content: bytes) -> Upright:
    """The colours of a file that keeps each value, uint8 (H, W, 3) RGB; a palette's are those that it names, and transparency is none.

    Raises:
        ValueError: It is no image, damaged, too large, of a format that changes values, or of more than 8 bits a channel.
    """
    loaded = _load_exact(content)
    if loaded.image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX") or ";16" in loaded.rawmode:
        raise ValueError(f"expected a label map of colours with 8 bits a channel; received: mode {loaded.image.mode}")
    return _upright(loaded, np.array(loaded.image.convert("RGBA" if "A" in loaded.image.mode else "RGB"))[..., :3])


def whole_numbers(values: np.ndarray) -> np.ndarray:
    """Values as int32.

    Raises:
        ValueError: One is no whole number, or too large.
    """
    with np.errstate(invalid="ignore"):
        is_whole = (np.abs(values) < 2**31) & (values == np.floor(values)) if values.dtype != bool else np.True_
    if not np.all(is_whole):
        raise ValueError(f"expected labels that are whole numbers; received: {values[~is_whole][0]:g}")
    return values.astype(np.int32)


def _load_exact(content: bytes) -> _Loaded:
    """A file of one label map, of a format that keeps each value."""
    loaded = _load(content, "a label map")
    image = loaded.image
    if getattr(image, "n_frames", 1) > 1 and image.format != "TIFF":
        raise ValueError(
            f"expected one label map; received: an animation of {image.n_frames}. Save each as a file of its own"
        )
    if image.format not in _EXACT or image.info.get("compression") in _LOSSY_IN_TIFF:
        inside = f" with {image.info['compression']}" if image.format == "TIFF" else ""
        raise ValueError(
            f"expected a label map in a format that keeps each value, such as PNG; received: {image.format}{inside}. "
            "Draw the labels again: a lossy file has others at every edge"
        )
    return loaded


def size(content: bytes) -> tuple[int, int]:
    """Width and height in pixels of an image as it is seen, from the image's file.

    Raises:
        ValueError: It is no image.
    """
    try:
        with _quiet(), _open(content) as image:
            width, height = image.size
            if image.format == "TIFF":  # Pillow gives the upright size
                return width, height
            swapped, _, _ = _TURNS[_orientation(image)]
    except Exception as error:
        raise ValueError(f"expected an image; received: {said(error)}") from error
    return (height, width) if swapped else (width, height)


@functools.cache
def endings() -> frozenset[str]:
    """Endings of the names of files that can be read here, in small letters: `.jpg`, ..."""
    readable = {name for name in FORMATS if name not in _CODECS or features.check(_CODECS[name])}
    known = {ending for ending, name in Image.registered_extensions().items() if name in readable}
    return frozenset(known | _MORE_ENDINGS_OF_JPEG)


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (H, W, ...) as stored, made upright by an EXIF tag."""
    swapped, rows, columns = _TURNS[orientation]
    turned = pixels.swapaxes(0, 1) if swapped else pixels
    return np.ascontiguousarray(turned[:: -1 if rows else 1, :: -1 if columns else 1])


def turn_boxes(boxes: np.ndarray, orientation: int, shape: tuple[int, int]) -> np.ndarray:
    """Boxes on the pixels as stored, moved with the pixels that an EXIF tag makes upright.

    Args:
        boxes: float (n, 4), corners x0, y0, x1, y1 in pixels.
        orientation: The tag.
        shape: Height and width of the upright image.
    """
    swapped, rows, columns = _TURNS[orientation]
    x0, y0, x1, y1 = boxes[:, [1, 0, 3, 2]].T if swapped else boxes.T
    height, width = shape
    if columns:
        x0, x1 = width - x1, width - x0
    if rows:
        y0, y1 = height - y1, height - y0
    return np.stack([x0, y0, x1, y1], axis=1)


def said(error: Exception) -> str:
    """What Pillow says of a broken image, without the address of the object that it was read from."""
    if isinstance(error, KeyError | IndexError) or not str(error):
        return f"{type(error).__name__} {error}".strip()
    return _ADDRESS.sub("", " ".join(str(error).split()))


def _load(content: bytes, expected: str) -> _Loaded:
    """A file, decoded. Pillow raises anything on files of others: struct.error, KeyError, zlib.error, ..."""
    try:
        with _quiet(), _open(content) as image:
            _require_one(image)
            rawmode, max_value = _conversion(image)
            is_turned = image.format == "TIFF"  # Pillow turns it while it loads it, and takes the tag away
            orientation = _orientation(image) if is_turned else 1
            image.load()
            return _Loaded(image, orientation if is_turned else _orientation(image), is_turned, rawmode, max_value)
    except Exception as error:
        raise ValueError(f"expected {expected}; received: {said(error)}") from error


def _require_one(image: Image.Image) -> None:
    """Refuse a TIFF of several pages, such as the slices of a microscope, of which Pillow would give the first."""
    if image.format != "TIFF" or image.n_frames == 1:
        return
    size, pages = image.size, 0
    for page in range(image.n_frames):
        image.seek(page)
        pages += image.size == size and not image.tag_v2.get(_SUBFILE, 0) & _REDUCED_OR_MASK
    image.seek(0)
    if pages > 1:
        raise ValueError(f"a TIFF of {pages} pages. Save each as a file of its own")


def _open(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content), formats=[name for name in FORMATS if name != "MPO"])  # JPEG opens MPO too


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Pillow's warnings of odd metadata and of large images: what it cannot read is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _orientation(image: Image.Image) -> int:
    try:
        tag = image.getexif().get(_ORIENTATION, 1)
        return int(tag) if tag in _TURNS else 1
    except Exception:  # broken EXIF data, which viewers ignore as well
        return 1


def _conversion(image: Image.Image) -> tuple[str, int | None]:
    """How Pillow makes its values of the file's, and the largest value that a .pgm names."""
    arguments = image.tile[0].args if image.tile else ""
    if image.format == "PPM" and isinstance(arguments, tuple) and isinstance(arguments[-1], int):
        return str(arguments[0]), arguments[-1]
    return str(arguments[0] if isinstance(arguments, tuple) else arguments), None


def _as_written(values: np.ndarray, loaded: _Loaded) -> np.ndarray:
    """Values before Pillow stretched them to the range of its mode, as it does for 2 and 4 bits and for a .pgm up to another value."""
    if values.dtype == bool:
        return values.astype(np.uint8)
    if loaded.max_value is not None and loaded.image.mode in ("L", "I"):
        return np.rint(values * (loaded.max_value / (255 if loaded.image.mode == "L" else 65535)))
    if loaded.rawmode[:3] in ("L;2", "L;4"):
        return values // (255 // (2 ** int(loaded.rawmode[2]) - 1))
    return values


def _to_rgb(loaded: _Loaded) -> np.ndarray:
    image = loaded.image
    if ";16" in loaded.rawmode and not image.mode.startswith("I"):  # Pillow has taken the upper 8
        colours = np.asarray(image)[..., : len(image.mode) - image.mode.endswith("A")]
        if colours.max() < _MIN_16_BIT >> 8:
            raise _almost_black(f"of which the upper 8 are at most {colours.max()}")
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        image = _upper_bits(image)
    elif image.mode[0] in "IF":  # Pillow would cut such values off at 255
        raise ValueError(f"expected an image of 8 or 16 bits a channel; received: mode {image.mode}")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.array(image.convert("RGB"))


def _upper_bits(image: Image.Image) -> Image.Image:
    """A grey image of 16 bits in 8, white where it is transparent."""
    values = np.asarray(image)
    if 0 < values.max() < _MIN_16_BIT:
        raise _almost_black(f"with values up to {values.max():,}")
    grey = (values >> 8).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey = np.where(values == transparent, np.uint8(255), grey)
    return Image.fromarray(grey)


def _almost_black(what: str) -> ValueError:
    return ValueError(
        f"expected an image of 8 bits a channel, or of 16 that it makes use of; received: 16 bits {what}, which would be almost black. "
        "Save it with 8"
    )


def _upright(loaded: _Loaded, pixels: np.ndarray) -> Upright:
    return Upright(pixels if loaded.is_turned else turn(pixels, loaded.orientation), loaded.orientation)
