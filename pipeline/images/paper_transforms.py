"""Augmentations of the papers that albumentations lacks; they stand in params.yaml beside its own.

What it has: random crops (RandomCrop), mirror images (HorizontalFlip), YOLO's jitter of each edge by up to a fifth
(CropAndPad with `percent: [-0.2, 0.2]`, `sample_independently: true`; darknet repeats the edge's pixels, `border_mode: 1`).
"""

import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import albumentations
import cv2
import numpy as np
from albumentations.core.pydantic import nondecreasing
from albumentations.core.transforms_interface import ImageOnlyTransform
from annotated_types import Ge, Gt
from pydantic import AfterValidator

from pipeline.images.principal_components import IMAGES, WHITE, principal_components
from pipeline.images.transform_sizes import LIMITS

Limits = Annotated[tuple[Annotated[int, Gt(0)], Annotated[int, Gt(0)]], AfterValidator(nondecreasing)]


class PCALighting(ImageOnlyTransform):
    """AlexNet's change of colour and intensity of the light (Krizhevsky et al. 2012, section 4.1).

    To every pixel is added [p1 p2 p3] [a1 m1, a2 m2, a3 m3]: p_i the eigenvectors of the 3 x 3 covariance of the training set's
    RGB values, a_i ~ N(0, std^2) drawn once an image. `magnitude: eigenvalues` is the paper, m_i the eigenvalues, which are of
    the right order in pixels of 0..1 only; `magnitude: deviations` is the authors' code (cuda-convnet2, convdata.py), m_i their
    square roots, the same at any scale.

    Args:
        std: Deviation of a_i, 0.1 in the paper.
        magnitude: What is multiplied.
        images: How many of the training images it is fitted on, evenly spaced; fewer are taken whole.
        p: How often it acts.
    """

    def __init__(
        self,
        std: Annotated[float, Gt(0)] = 0.1,
        magnitude: Literal["eigenvalues", "deviations"] = "eigenvalues",
        images: Annotated[int, Ge(1)] = IMAGES,
        p: float = 1.0,
    ):
        super().__init__(p=p)
        if not std > 0 or magnitude not in ("eigenvalues", "deviations") or images < 1:
            raise ValueError("a std above 0, magnitude eigenvalues or deviations, and at least one of the images")
        self.std, self.magnitude, self.images = std, magnitude, images
        self._directions: np.ndarray | None = None

    def fit(self, images: Iterable[np.ndarray]) -> None:
        """Find the directions from images uint8 (H, W, 3)."""
        values, vectors = principal_components(images)
        self._directions = vectors * (values if self.magnitude == "eigenvalues" else np.sqrt(values))

    def get_params(self) -> dict[str, Any]:
        """The shift of R, G and B, in 0..255."""
        if self._directions is None:
            raise ValueError("PCALighting is fitted on the training images first")
        return {"shift": WHITE * self._directions @ self.random_generator.normal(0, self.std, 3)}

    def apply(self, img: np.ndarray, shift: np.ndarray, **_params: Any) -> np.ndarray:
        """The image with the shift added."""
        # By a table of the 256 values: the same numbers as of the pixels themselves, eight times as fast.
        table = np.clip(np.rint(np.arange(256)[:, None] + shift), 0, WHITE).astype(np.uint8)
        return cv2.LUT(img, table[None])


class ShorterSideJitter(albumentations.SmallestMaxSize):
    """VGG's scale jitter (Simonyan & Zisserman 2014, section 3.1): the shorter side becomes S pixels, the aspect is kept.

    Args:
        limits: S is drawn from the whole numbers between them, [256, 512] in the paper.
        p: How often it acts.
    """

    def __init__(self, limits: Limits = LIMITS, p: float = 1.0):
        low, high = limits
        if not 0 < low <= high:
            raise ValueError("two limits that rise, above 0")
        super().__init__(max_size=list(range(low, high + 1)), interpolation=cv2.INTER_LINEAR, p=p)


class HSVScale(ImageOnlyTransform):
    """Darknet's change of saturation and exposure (random_distort_image in src/image.c; Redmon et al. 2016, section 2.2).

    Each is multiplied, in HSV, by a factor s or by 1 / s, with equal chance, s ~ U(1, limit). What leaves 0..1 is cut when it is RGB
    again (constrain_image), not before: light colours burn out to white rather than keep their saturation.

    Args:
        saturation: Limit, 1.5 in the paper.
        exposure: Limit of the value channel, 1.5 in the paper.
        p: How often it acts.
    """

    def __init__(
        self, saturation: Annotated[float, Ge(1)] = 1.5, exposure: Annotated[float, Ge(1)] = 1.5, p: float = 1.0
    ):
        super().__init__(p=p)
        if not (1 <= saturation < math.inf and 1 <= exposure < math.inf):
            raise ValueError("limits of at least 1")
        self.saturation, self.exposure = saturation, exposure

    def get_params(self) -> dict[str, Any]:
        """The two factors."""
        return {"factors": [self._factor(limit) for limit in (self.saturation, self.exposure)]}

    def _factor(self, limit: float) -> float:
        factor = self.py_random.uniform(1, limit)
        return factor if self.py_random.random() < 0.5 else 1 / factor

    def apply(self, img: np.ndarray, factors: list[float], **_params: Any) -> np.ndarray:
        """The image with saturation and value scaled, and its colours cut at 0 and 1."""
        hsv = cv2.cvtColor(img.astype(np.float32) / WHITE, cv2.COLOR_RGB2HSV)
        hsv[..., 1:] *= np.float32(factors)
        return np.rint(np.clip(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), 0, 1) * WHITE).astype(np.uint8)


TRANSFORMS = {transform.__name__: transform for transform in (PCALighting, ShorterSideJitter, HSVScale)}
