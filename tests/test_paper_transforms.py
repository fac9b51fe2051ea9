"""The papers' augmentations against their definitions."""

import colorsys

import numpy as np
import pytest

from pipeline.images import paper_transforms
from pipeline.images.annotated import AnnotatedImage
from pipeline.images.augmentation import Policy
from pipeline.runtime.errors import InputError


def applied(transforms: list[dict], image: np.ndarray, seed: int = 0, fit: list | None = None, **annotations):
    """One version of an image."""
    policy = Policy(transforms, "augmentation", boxes="boxes" in annotations)
    if fit is not None:
        policy.fit(len(fit), fit.__getitem__)
    return policy.apply(AnnotatedImage(image, **annotations), np.random.SeedSequence([1, seed]))


@pytest.mark.parametrize("magnitude", ["eigenvalues", "deviations"])
def test_the_light_changes_along_the_principal_components_of_the_training_set(magnitude):
    """Over many images the shifts have covariance P diag(.1 m)^2 P^T, with NumPy's covariance of all pixels, in 0..1."""
    random = np.random.default_rng(0)
    mixing = np.array([[40, 10, 0], [30, -20, 5], [20, 5, 10.0]])
    images = [np.clip(random.normal(size=(16, 16, 3)) @ mixing.T + 128, 0, 255).astype(np.uint8) for _ in range(5)]
    transform = paper_transforms.PCALighting(std=0.1, magnitude=magnitude)
    transform.fit(images)
    transform.set_random_seed(3)
    shifts = np.array([transform.get_params()["shift"] for _ in range(20_000)]) / 255
    values, vectors = np.linalg.eigh(np.cov(np.concatenate([p.reshape(-1, 3) for p in images]).T / 255, bias=True))
    sizes = values if magnitude == "eigenvalues" else np.sqrt(values)
    expected = vectors @ np.diag((0.1 * sizes) ** 2) @ vectors.T
    np.testing.assert_allclose(np.cov(shifts.T), expected, atol=0.05 * expected.max())


def test_the_shift_is_one_for_the_whole_image():
    """Every pixel moves by the same amount, up to rounding; another seed gives another one, the same seed the same."""
    random = np.random.default_rng(1)
    images = [random.integers(60, 190, (8, 8, 3), dtype=np.uint8) for _ in range(3)]
    policy = [{"PCALighting": {"magnitude": "deviations"}}]
    found = [applied(policy, images[0], seed, images).image.astype(int) for seed in (5, 5, 6)]
    moved = (found[0] - images[0]).reshape(-1, 3)
    assert (np.ptp(moved, axis=0) <= 1).all()
    assert np.abs(moved).max() > 0
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


def test_the_shorter_side_is_drawn_between_the_limits_and_the_aspect_kept():
    """Boxes move along: all sides from 32 to 40 occur and no other, of an image of 2 : 3."""
    image, box = np.zeros((60, 90, 3), np.uint8), np.array([[9.0, 6, 45, 30]])
    sides = set()
    for seed in range(80):
        labels = {"labels": np.zeros(1, np.int32), "difficult": np.zeros(1, bool)}
        found = applied([{"ShorterSideJitter": {"limits": [32, 40]}}], image, seed, boxes=box, **labels)
        height, width = found.image.shape[:2]
        sides.add(height)
        assert abs(width - 1.5 * height) <= 0.5
        np.testing.assert_allclose(found.boxes[0], box[0] * height / 60, atol=0.5)
    assert sides == set(range(32, 41))


def darknet_distorted(pixel: np.ndarray, saturation: float, exposure: float) -> list[float]:
    """One pixel as src/image.c of darknet has it: rgb_to_hsv, scale_image_channel, hsv_to_rgb, constrain_image."""
    hue, s, v = colorsys.rgb_to_hsv(*(pixel / 255))
    s, v = s * saturation, v * exposure
    sector = int(6 * hue) % 6
    f = 6 * hue - int(6 * hue)
    p, q, t = v * (1 - s), v * (1 - s * f), v * (1 - s * (1 - f))
    colours = [(v, t, p), (q, v, p), (p, v, t), (p, q, v), (t, p, v), (v, p, q)][sector]
    return [255 * min(max(colour, 0), 1) for colour in colours]


def test_colours_are_cut_when_they_are_rgb_again():
    """By hand: 230, 161, 161 at 1.5 times the value is 345, 241.5, 241.5, cut to 255, 241.5, 241.5.

    200, 100, 100 has a saturation of 1/2; at 2.5 times it is 1.25, and 200 (1 - 1.25) = -50, cut to 0.
    """
    transform = paper_transforms.HSVScale()
    light = np.full((2, 2, 3), (230, 161, 161), np.uint8)
    assert transform.apply(light, factors=[1.0, 1.5])[0, 0].tolist() in ([255, 242, 242], [255, 241, 241])
    assert transform.apply(np.full((2, 2, 3), (200, 100, 100), np.uint8), factors=[2.5, 1.0])[1, 1].tolist() == [
        200,
        0,
        0,
    ]


@pytest.mark.parametrize("factors", [(1.5, 1.5), (1 / 1.5, 1.5), (1.5, 1 / 1.5), (1.3, 0.7), (1.0, 1.0)])
def test_saturation_and_exposure_are_darknets(factors):
    """Pixel by pixel, for random colours, greys, black and white: within the rounding to whole numbers."""
    image = np.random.default_rng(3).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    image[0] = np.linspace(0, 255, 20, dtype=np.uint8)[:, None]
    found = paper_transforms.HSVScale().apply(image, factors=list(factors))
    for place in np.ndindex(20, 20):
        np.testing.assert_allclose(found[place], darknet_distorted(image[place], *factors), atol=0.51)


def test_factors_multiply_or_divide():
    """They lie in 1 / 1.5 .. 1.5 and both directions occur."""
    transform = paper_transforms.HSVScale()
    transform.set_random_seed(0)
    factors = np.array([transform.get_params()["factors"] for _ in range(500)])
    assert factors.min() >= 1 / 1.5
    assert factors.max() <= 1.5
    assert 0.4 < (factors > 1).mean() < 0.6


def test_yolos_jitter_of_the_edges_is_albumentations_own():
    """CropAndPad moves each edge by up to a fifth, its own way; where it pads it repeats the edge; the box is where its pixels are."""
    image = np.zeros((100, 100, 3), np.uint8)
    image[30:60, 40:80] = 255
    policy = [
        {"CropAndPad": {"percent": [-0.2, 0.2], "sample_independently": True, "keep_size": False, "border_mode": 1}}
    ]
    shapes = set()
    for seed in range(10):
        labels = {"labels": np.zeros(1, np.int32), "difficult": np.zeros(1, bool)}
        found = applied(policy, image, seed, boxes=np.array([[40.0, 30, 80, 60]]), **labels)
        shapes.add(found.image.shape[:2])
        rows, columns = np.nonzero(found.image[..., 0])
        white = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(found.boxes[0], white, atol=1)
    assert len(shapes) > 5
    assert all(60 <= side <= 140 for shape in shapes for side in shape)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        ({"PCALighting": {"std": 0}}, "expected arguments that it accepts; received: {'std': 0}"),
        ({"PCALigthing": {}}, "unknown transform 'PCALigthing'; did you mean 'PCALighting'?"),
        ({"ShorterSideJitter": {"limits": [512, 256]}}, "two limits that rise"),
        ({"HSVScale": {"hue": 1}}, "unknown argument 'hue'"),
        ({"HSVScale": {"exposure": 0.5}}, "limits of at least 1"),
    ],
)
def test_wrong_arguments_are_refused(transform, message):
    """As those of albumentations' own transforms."""
    with pytest.raises(InputError) as error:
        Policy([transform], "augmentation", boxes=False)
    assert message in str(error.value)
