"""The contract of a transform (`pipeline/images/transforms/__init__.py`): what it does to images of two sizes, with a mask and boxes."""

from types import ModuleType

import numpy as np

from pipeline.commands.plugin_contract import require_keywords
from pipeline.images import transform_table
from pipeline.images.annotated import AnnotatedImage
from pipeline.params.checks.transforms import with_tuples


def check(module: ModuleType) -> None:
    """Check a module; its transform is applied.

    Raises:
        ValueError: Its name is one of albumentations', an argument is wrong, or it does not keep what it has to.
    """
    name = module.__name__.rpartition(".")[2]
    if name in transform_table.table():
        raise ValueError(f"expected a name that no transform of albumentations or of ours has; received: {name}")
    require_keywords(module.build)
    transform_table.arguments(name).model_validate(with_tuples(module.TINY))
    for size in ((40, 56), (33, 32)):
        _check_size(name, module, size)


def _check_size(name: str, module: ModuleType, size: tuple[int, int]) -> None:
    """That equal seeds give equal images of the same size, whatever was drawn elsewhere; a label map keeps its labels."""
    from pipeline.images.augmentation import Policy

    generator = np.random.default_rng(0)
    image, mask = (
        generator.integers(0, 256, (*size, 3), np.uint8),
        generator.choice(np.array([0, 1, 255], np.uint8), size),
    )
    example = AnnotatedImage(
        image.copy(),
        boxes=np.array([[3.0, 4, 20, 22]]),
        labels=np.zeros(1, np.int32),
        difficult=np.zeros(1, bool),
        mask=mask,
    )
    policy = Policy([{name: module.TINY}], name, boxes=True)
    policy.fit(2, lambda _position: image)
    with policy.certain():
        first, again = (policy.apply(example, np.random.SeedSequence(1)) for _ in range(2))
    if first.image.shape != image.shape:
        raise ValueError(
            f"build: expected images of the size that they had, {image.shape}; received: {first.image.shape}"
        )
    if not np.array_equal(example.image, image):
        raise ValueError(
            "build: expected a transform that leaves its input as it is; received: one that writes into it"
        )
    if not np.array_equal(first.image, again.image):
        raise ValueError(
            "build: expected equal images for equal seeds; received: others. Draw from self.py_random or self.random_generator"
        )
    if first.mask.shape != size or not np.isin(first.mask, (0, 1, 255)).all():
        raise ValueError("build: expected a label map of the same size with labels that it had; received: others")
