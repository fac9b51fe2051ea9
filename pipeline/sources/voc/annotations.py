"""The objects in an annotation file of VOC.

Boxes are published as 1-based inclusive pixels and become continuous corners: (xmin, ymin, xmax, ymax) is
(xmin - 1, ymin - 1, xmax, ymax). What genuine files contain besides is read as follows: coordinates may be fractions
and stand in any order; a `<part>`'s own box is none of an object's; missing tags other than `<name>` and `<bndbox>`
have their usual meaning (not difficult); a box without area or outside the image is dropped and counted, one that
sticks out is clipped. `<size>` is the image's, as stored or as its EXIF tag turns it; 0 x 0, and none, is no statement.
"""

from collections import Counter
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np

from pipeline import sources
from pipeline.files.classes import Classes
from pipeline.runtime.errors import InputError
from pipeline.sources.voc import annotation_xml


def read_names(xml: bytes, member: str) -> set[str]:
    """The names of the objects of an annotation file; `member` is its name, for messages.

    Raises:
        InputError: The file is no XML of VOC.
    """
    objects = annotation_xml.read_root(xml, member).findall("object")
    return {name for each in objects if (name := annotation_xml.read_text(each, "name", member))}


def read_annotation(
    xml: bytes, member: str, classes: Classes, image_size: Callable[[], tuple[int, int]]
) -> sources.Example:
    """The objects of an annotation file, as an example without a name and an image.

    Args:
        xml: The file.
        member: Its name, for messages.
        classes: Which class a name is.
        image_size: Reads the image's width and height in pixels, where the file does not state them.

    Raises:
        InputError: The file is no XML, or an object has no or an unknown name, no box, or a coordinate that is no
            number, or all boxes are below a pixel.
    """
    root = annotation_xml.read_root(xml, member)
    indices, boxes, labels, difficult, dropped = classes.indices(), [], [], [], Counter()
    stated = _read_size(root, member)
    width, height = stated or image_size()
    objects = root.findall("object")
    corners = [_read_corners(element, member) for element in objects]
    sources.refuse_fractions(np.array(corners, np.float64).reshape(-1, 4), member)
    for element, (x0, y0, x1, y1) in zip(objects, corners, strict=True):
        name = annotation_xml.read_text(element, "name", member) or ""
        if name not in indices and not (name and classes.drops_others):
            raise classes.refused(name, member)
        if name not in indices:
            dropped[sources.OTHER] += 1
        elif x0 >= x1 or y0 >= y1:
            dropped["boxes without area"] += 1
        elif x1 <= 0 or y1 <= 0 or x0 - 1 >= width or y0 - 1 >= height:
            dropped["boxes outside the image"] += 1
        else:
            boxes.append((max(x0 - 1, 0), max(y0 - 1, 0), min(x1, width), min(y1, height)))
            labels.append(indices[name])
            difficult.append(annotation_xml.read_flag(element, "difficult", member))
    return sources.Example(
        id="",
        image=b"",
        annotated_size=stated,
        boxes=np.array(boxes, np.float64).reshape(-1, 4),
        labels=np.array(labels, np.int32),
        difficult=np.array(difficult, bool),
        dropped=dict(dropped),
    )


def _read_size(root: ElementTree.Element, member: str) -> tuple[float, float] | None:
    """Width and height that an annotation file states, if it does."""
    size = annotation_xml.only(root, "size", member)
    if size is None:
        return None
    width, height = (
        annotation_xml.read_number(size, tag, member) if annotation_xml.read_text(size, tag, member) else 0
        for tag in ("width", "height")
    )
    if min(width, height) < 0:
        raise InputError(f"{member}: expected a <size> in pixels; received: {width:g} x {height:g}")
    return (width, height) if min(width, height) > 0 else None


def _read_corners(element: ElementTree.Element, member: str) -> tuple[float, float, float, float]:
    """xmin, ymin, xmax, ymax as published."""
    box = annotation_xml.only(element, "bndbox", member)  # right below: a <part> inside the object has a box of its own
    if box is None:
        raise InputError(f"{member}: expected a <bndbox> in each object; received: none")
    x0, y0, x1, y1 = (annotation_xml.read_number(box, tag, member) for tag in ("xmin", "ymin", "xmax", "ymax"))
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
