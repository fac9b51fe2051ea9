"""Images and signals as a caller has them - files' bytes, base64, arrays, nested lists - as a model looks at them."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnkeras import images

_SHOWN = 60  # characters of a text that an error repeats


def examples(given: Any, *, is_of_signals: bool) -> list[Any]:
    """One or several images or signals as a list of them.

    Args:
        given: Bytes, a text, an array, a list of such, or an array or nested list of several; or a pandas table of one column.
        is_of_signals: Whether numbers are signals (L,) or (L, 1), not images (H, W, 3).

    Raises:
        ValueError: It is nothing of this.
    """
    if hasattr(given, "iloc"):  # a table, or a column of one
        if given.ndim == 2 and given.shape[1] != 1:
            raise ValueError(f"expected a table of one column; received: {given.shape[1]} columns")
        return list(given.iloc[:, 0] if given.ndim == 2 else given)
    if isinstance(given, bytes | str):
        return [given]
    if not isinstance(given, list | tuple | np.ndarray):
        raise ValueError(f"expected a path, base64, an array, or a list of such; received: {type(given).__name__}")
    if not len(given) or isinstance(given[0], bytes | str | dict):
        return list(given)
    sides = _sides(given)
    is_one = len(sides) == 1 or sides[1:] == [1] if is_of_signals else len(sides) <= 3
    return [given] if is_one else list(given)


def image(given: Any) -> np.ndarray:
    """An image uint8 RGB (H, W, 3): of a file's bytes, or of base64 of them, read as every stage reads it; or of an array of 0..255.

    Raises:
        ValueError: It is no image.
    """
    if isinstance(given, bytes):
        return images.read(given).pixels
    if isinstance(given, str):
        return images.read(_from_base64(given)).pixels
    values = _numbers(given, "an image (height, width, 3)")
    if values.ndim != 3 or values.shape[2] != 3 or 0 in values.shape:
        raise ValueError(f"expected an image (height, width, 3); received: an array of shape {values.shape}")
    if values.dtype != np.uint8 and not ((values >= 0) & (values <= 255) & (values == np.floor(values))).all():
        raise ValueError(
            f"expected whole numbers from 0 to 255; received: from {values.min():g} to {values.max():g}, {values.dtype}"
        )
    return values.astype(np.uint8)


def signal(given: Any, length: int) -> np.ndarray:
    """A signal float32 (length, 1), of an array or a list of so many numbers.

    Raises:
        ValueError: It is none.
    """
    expected = f"a signal of {length} numbers"
    if isinstance(given, bytes | str):
        raise ValueError(f"expected {expected}; received: {_shown(given)}")
    values = _numbers(given, expected)
    if values.shape not in ((length,), (length, 1)) or not np.isfinite(values).all():
        raise ValueError(f"expected {expected}, all finite; received: an array of shape {values.shape}")
    return values.astype(np.float32).reshape(length, 1)


def _from_base64(text: str) -> bytes:
    """The bytes of base64, also as an address `data:image/png;base64,...`."""
    head, comma, tail = text.partition(",")
    try:
        content = base64.b64decode(
            "".join((tail if comma and head.startswith("data:") else text).split()), validate=True
        )
    except (binascii.Error, ValueError):
        content = b""
    if not content:
        raise ValueError(
            f"expected the path of an image file that is there, or base64 of one; received: {_shown(text)}"
        )
    return content


def _numbers(given: Any, expected: str) -> np.ndarray:
    try:
        values = np.asarray(given)
    except ValueError:  # lists of different lengths
        values = np.array(None)
    if values.dtype.kind not in "uif":
        raise ValueError(f"expected {expected} as numbers; received: {_shown(given)}")
    return values


def _sides(given: Sequence | np.ndarray) -> list[int]:
    """Lengths of an array's sides, or of nested lists' along their first items."""
    sides = []
    while isinstance(given, list | tuple) or (isinstance(given, np.ndarray) and given.ndim):
        sides.append(len(given))
        if not len(given):
            break
        given = given[0]
    return sides


def _shown(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
