"""Vignetting: an image gets darker towards its corners, by the fourth power of the cosine, as behind a simple lens.

    I' = I cos⁴θ = I / (1 + (s r)²)²,  r = distance from the image's centre / that of a corner,  s = tan θ in a corner

Source: Born and Wolf, Principles of Optics, section 4.8.1 (illumination by an extended source). s -> `strength`.
"""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Le

if TYPE_CHECKING:
    import albumentations

TINY = {"strength": (0.5, 0.5), "p": 1.0}


def build(
    *,
    strength: tuple[Annotated[float, Ge(0)], Annotated[float, Ge(0)]] = (0.0, 0.7),
    p: Annotated[float, Ge(0), Le(1)] = 0.5,
) -> "albumentations.ImageOnlyTransform":
    """Darken images towards their corners.

    Args:
        strength: Limits between which s is drawn for each image.
        p: How often it acts.
    """
    import albumentations  # takes a second, and reading params.yaml needs only the signature

    class Vignette(albumentations.ImageOnlyTransform):
        def get_params(self) -> dict[str, float]:
            return {"drawn": self.py_random.uniform(*strength)}

        def apply(self, img: np.ndarray, drawn: float, **_params: object) -> np.ndarray:
            height, width = img.shape[:2]
            y, x = np.ogrid[:height, :width]
            y, x = y - (height - 1) / 2, x - (width - 1) / 2
            r2 = (y**2 + x**2) / max((height - 1) ** 2 / 4 + (width - 1) ** 2 / 4, 1)
            return np.rint(img / (1 + drawn**2 * r2[..., None]) ** 2).astype(np.uint8)

    return Vignette(p=p)
