"""Augmentation policies, written in params.yaml as albumentations transforms.

Source: Buslaev et al., "Albumentations: Fast and Flexible Image Augmentations" (Information 11, 2020), version 2.0.8,
the last under the MIT licence.
"""

import inspect
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from cnnkeras.by_name import nearest
from pipeline.images.annotated import AnnotatedImage
from pipeline.images.principal_components import evenly_spaced
from pipeline.images.transform_table import MIN_VISIBLE_FRACTION
from pipeline.runtime import plugins
from pipeline.runtime.errors import InputError

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it would ask the network for a newer version
import albumentations
from albumentations.core.transforms_interface import (
    BasicTransform,
    DualTransform,
    ImageOnlyTransform,
    NoOp,
    Transform3D,
)

from pipeline.images import paper_transforms, transform_sizes, transforms

Transforms = Sequence[Mapping[str, Mapping[str, Any]]]


class Policy:
    """A list of transforms, checked, that gives the same result for the same seed.

    Args:
        transforms: As in params.yaml: `{Name: {argument: value}}`, in order.
        where: The list's place in params.yaml, for messages.
        boxes: Whether boxes move with the images.
        min_visible_fraction: A box of which a transform leaves less of its area in the image is dropped.

    Raises:
        InputError: A transform or an argument is unknown (the message names the nearest) or a value is not allowed.
    """

    def __init__(
        self, transforms: Transforms, where: str, *, boxes: bool, min_visible_fraction: float = MIN_VISIBLE_FRACTION
    ):
        self._where, self._transforms = where, transforms
        built = [
            _build(name, arguments or {}, f"{where}.{position}")
            for position, transform in enumerate(transforms)
            for name, arguments in transform.items()
        ]
        # Without a transform that moves pixels, boxes stay as they are, and Compose would warn of having nothing to do.
        self._boxes = boxes and any(isinstance(transform, DualTransform) for transform in built)
        box_parameters = albumentations.BboxParams(
            format="pascal_voc",
            label_fields=["positions"],
            min_visibility=min_visible_fraction,
            clip=True,  # a box may stand over the image's edge by a rounding error
            filter_invalid_bboxes=True,
        )
        self._compose = albumentations.Compose(built, bbox_params=box_parameters if self._boxes else None)

    def fit(self, count: int, read: Callable[[int], np.ndarray | None]) -> None:
        """Fit what depends on the training images, of which there are `count`; `read` gives one by its position."""
        for transform in self._compose.transforms:
            if hasattr(transform, "fit"):
                found = (read(int(position)) for position in evenly_spaced(count, transform.images))
                transform.fit(image for image in found if image is not None)

    def scaled(self, shape: tuple[int, int]) -> tuple[int, int] | None:
        """The largest height and width that an image of `shape` is scaled to before anything else; None if it is not."""
        return transform_sizes.scaled(self._transforms, shape)

    @contextmanager
    def certain(self) -> Iterator[None]:
        """While the block runs, every transform acts, however rarely it would."""
        chances = [transform.p for transform in self._compose.transforms]
        try:
            for transform in self._compose.transforms:
                transform.p = 1.0
            yield
        finally:
            for transform, chance in zip(self._compose.transforms, chances, strict=True):
                transform.p = chance

    def apply(self, example: AnnotatedImage, seed: np.random.SeedSequence) -> AnnotatedImage:
        """One augmented version of an example: a function of the example and the seed alone.

        Raises:
            InputError: A transform cannot be applied to this image.
        """
        transforms = self._compose.transforms
        # Compose.set_random_seed would give every transform the same stream: two of p = 0.5 would always act together.
        for transform, own_seed in zip(transforms, seed.generate_state(len(transforms)), strict=True):
            transform.set_random_seed(int(own_seed))
        targets = {"image": example.image}
        if example.mask is not None:
            targets["mask"] = example.mask
        if self._boxes:
            # As an array: labels in a list would come back as floats.
            targets |= {"bboxes": example.boxes, "positions": np.arange(len(example.boxes))}
        try:
            result = self._compose(**targets)
        except Exception as error:  # albumentations' own, OpenCV's and Python's: no common base class
            raise InputError(
                plugins.said(error)
                or f"{self._where}: expected transforms that fit the images; received: {_first_line(error)}"
            ) from error
        return self._collect(example, result)

    def _collect(self, example: AnnotatedImage, result: Mapping[str, Any]) -> AnnotatedImage:
        image = result["image"]
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise InputError(
                f"{self._where}: expected transforms that keep images RGB with values 0..255; "
                f"received: {image.dtype} of shape {image.shape}. The model's first layer does the normalisation"
            )
        changes: dict[str, Any] = {"image": image}
        if example.mask is not None:
            changes["mask"] = result["mask"]
        if self._boxes:
            kept = np.asarray(result["positions"], np.int64)
            changes |= {
                "boxes": np.asarray(result["bboxes"], np.float64).reshape(-1, 4),
                "labels": example.labels[kept],
                "difficult": example.difficult[kept],
                "crowd": None if example.crowd is None else example.crowd[kept],
            }
        return replace(example, **changes)


def transform_names() -> list[str]:
    """Names of the transforms of images that albumentations has, and of the papers'."""
    bases = (BasicTransform, DualTransform, ImageOnlyTransform, Transform3D)
    found = {
        name
        for name, value in vars(albumentations).items()
        if inspect.isclass(value)
        and issubclass(value, DualTransform | ImageOnlyTransform | NoOp)
        and not issubclass(value, Transform3D)
        and value not in bases
    }
    return sorted(found | paper_transforms.TRANSFORMS.keys())


def transform(name: str) -> type[BasicTransform]:
    """The class of one of these names."""
    return paper_transforms.TRANSFORMS.get(name) or getattr(albumentations, name)


def _build(name: str, arguments: Mapping[str, Any], where: str) -> BasicTransform:
    if name in transforms.names():
        return _own(name, arguments, where)
    if name not in transform_names():
        raise InputError(f"{where}: unknown transform {name!r}{nearest(name, transform_names())}")
    cls = transform(name)
    known = [parameter for parameter in inspect.signature(cls.__init__).parameters if parameter != "self"]
    for argument in arguments:
        if argument not in known:
            raise InputError(
                f"{where}.{name}: unknown argument {argument!r}{nearest(argument, known)} (known: {', '.join(known)})"
            )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return cls(**arguments)
    except (ValueError, TypeError, UserWarning) as error:
        raise InputError(f"{where}.{name}: {_value_error(error, arguments)}") from error


def _own(name: str, arguments: Mapping[str, Any], where: str) -> BasicTransform:
    """A transform of the project's own, whose arguments were checked by its signature."""
    built = transforms.load(name).build(**arguments)
    if not isinstance(built, DualTransform | ImageOnlyTransform):
        received = f"{type(built).__module__}.{type(built).__name__}"
        raise InputError(
            f"{where}.{name}: expected an ImageOnlyTransform or a DualTransform of albumentations from build; received: {received}"
        )
    return built


def _value_error(error: Exception, arguments: Mapping[str, Any]) -> str:
    """One line of what pydantic writes: the argument stands on its second line, the problem on the third."""
    lines = [line.strip() for line in str(error).splitlines()]
    if len(lines) < 3 or "validation error" not in lines[0]:
        return f"expected arguments that it accepts; received: {dict(arguments)} ({_first_line(error)})"
    argument = lines[1].split(".")[0]
    if lines[2].startswith("Field required"):
        return f"expected the argument {argument!r}; received: none"
    problem = lines[2].split(" [type=")[0].removeprefix("Value error, ").removeprefix("Input should be ")
    return f"{argument}: expected {problem}; received: {arguments.get(argument, dict(arguments))!r}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
