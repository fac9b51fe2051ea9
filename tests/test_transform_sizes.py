"""The sizes that transforms leave, known from params.yaml alone, against those that albumentations' transforms do leave."""

import inspect
import math
import warnings

import albumentations
import numpy as np
import pytest

from pipeline.images import transform_sizes
from pipeline.images.augmentation import transform
from pipeline.images.transform_sizes import ANY, Sides, after, scaled
from pipeline.images.transform_table import table

SHAPES = (60, 80), (80, 60), (70, 70)
EXAMPLES = {
    "Resize": {"height": 20, "width": 30},
    "RandomResizedCrop": {"size": (20, 30)},
    "RandomSizedCrop": {"min_max_height": (20, 40), "size": (20, 30)},
    "RandomSizedBBoxSafeCrop": {"height": 20, "width": 30},
    "RandomCrop": {"height": 20, "width": 30},
    "CenterCrop": {"height": 20, "width": 30},
    "AtLeastOneBBoxRandomCrop": {"height": 20, "width": 30},
    "CropNonEmptyMaskIfExists": {"height": 20, "width": 30},
    "Crop": {"x_min": 5, "y_min": 10, "x_max": 45, "y_max": 30},
    "SmallestMaxSize": {"max_size": (40, 50)},
    "ShorterSideJitter": {"limits": (40, 50)},
    "LongestMaxSize": {"max_size": (40, 50)},
    "PadIfNeeded": {"min_height": 70, "min_width": 70},
    "CropAndPad": {"percent": (-0.2, 0.2)},
    "GridElasticDeform": {"num_grid_xy": (4, 4), "magnitude": 3},
}
# These need what a project cannot give them, or are fitted first, or draw text.
WITHOUT = {
    "FDA",
    "HistogramMatching",
    "Mosaic",
    "OverlayElements",
    "PixelDistributionAdaptation",
    "RandomCropNearBBox",
    "TextImage",
    "PCALighting",
}


def sizes_after(name: str, arguments: dict, shape: tuple[int, int]) -> set[tuple[int, int]]:
    """The sizes that a transform makes of an image, with several seeds."""
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    found = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(12):
            boxes = albumentations.BboxParams(format="pascal_voc", label_fields=["positions"])
            compose = albumentations.Compose([transform(name)(**arguments)], bbox_params=boxes, seed=seed)
            targets = {"bboxes": np.array([[10.0, 10, 30, 30]]), "positions": np.array([0])}
            found.add(compose(image=image, mask=image[..., 0], **targets)["image"].shape[:2])
    return found


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", sorted(table().keys() - WITHOUT))
def test_what_a_transform_leaves_lies_within_what_is_known(name, shape):
    """Of every transform of the table, with its defaults or the arguments above; those that are not listed keep the size."""
    arguments = EXAMPLES.get(name, {})
    known = after(name, arguments, Sides.exactly(shape))
    for height, width in sizes_after(name, arguments, shape):
        assert known.low[0] <= height <= known.high[0], known
        assert known.low[1] <= width <= known.high[1], known


@pytest.mark.parametrize("arguments", [{"keep_size": False}, {"fit_output": True}, {"crop_border": True}], ids=str)
def test_a_transform_that_may_change_the_size_by_a_key_is_listed(arguments):
    """Affine, Perspective, Rotate and CropAndPad leave any size with that key."""
    (key,) = arguments
    having = [name for name, entry in table().items() if key in entry["arguments"] and name in transform_sizes._CHANGES]
    assert having
    listed = {"keep_size": {"CropAndPad", "Perspective"}, "fit_output": {"Affine"}, "crop_border": {"Rotate"}}[key]
    for name in listed:
        assert after(name, {**arguments, "p": 1.0}, Sides.exactly((60, 80))) == ANY


def test_the_chances_are_albumentations_own():
    """A transform that does not always act leaves the size before or the one after."""
    for name in transform_sizes._CHANGES:
        default = inspect.signature(transform(name).__init__).parameters["p"].default
        assert default == transform_sizes._CHANCES.get(name, 1), name
    known = after("Resize", {"height": 20, "width": 30, "p": 0.5}, Sides.exactly((60, 25)))
    assert known == Sides((20, 25), (60, 30))


@pytest.mark.parametrize(
    ("transforms", "expected"),
    [
        ([("SmallestMaxSize", {"max_size": 256}), ("RandomCrop", {"height": 224, "width": 224})], "224 x 224"),
        ([("LongestMaxSize", {"max_size": 448}), ("PadIfNeeded", {"min_height": 448, "min_width": 448})], "448 x 448"),
        ([("LongestMaxSize", {"max_size": 448})], "1 to 448 x 1 to 448"),
        ([("SmallestMaxSize", {"max_size": 256})], "256 or more x 256 or more"),
        ([("PadIfNeeded", {"min_height": 448, "min_width": 448})], "448 or more x 448 or more"),
    ],
)
def test_images_of_any_size_end_as_reckoned_by_hand(transforms, expected):
    """VGG's crop, a letterbox, and three that do not end at one size."""
    sides = ANY
    for name, arguments in transforms:
        sides = after(name, arguments, sides)
    assert str(sides) == expected


def test_a_crop_of_more_than_there_is_is_refused():
    """256 x 256 out of images whose shorter side is 224; not where they are padded first."""
    sides = Sides((224, 224))
    with pytest.raises(
        ValueError, match=r"at least 256 x 256 pixels to cut out of; received: 224 or more x 224 or more"
    ):
        after("RandomCrop", {"height": 256, "width": 256}, sides)
    assert after("RandomCrop", {"height": 256, "width": 256, "pad_if_needed": True}, sides).is_exactly((256, 256))


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ({"Resize": {"height": 100, "width": 50}}, (100, 50)),
        ({"SmallestMaxSize": {"max_size": 100}}, (100, 133)),
        ({"ShorterSideJitter": {}}, (512, 683)),
        ({"LongestMaxSize": {"max_size": 100}}, (75, 100)),
        ({"HorizontalFlip": {}}, None),
        ({"Resize": {"height": 100, "width": 50, "p": 0.5}}, None),
    ],
)
def test_what_the_first_transform_needs(first, expected):
    """Of an image of 300 x 400, by hand: 400 x 100 / 300 = 133; nothing is known where the first transform needs all pixels."""
    assert scaled([first, {"RandomCrop": {"height": 10, "width": 10}}], (300, 400)) == expected
    assert math.isinf(ANY.high[0])
