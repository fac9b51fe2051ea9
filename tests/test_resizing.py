"""Images at another size: averaged along each side that shrinks, interpolated along each that grows."""

import numpy as np
import pytest

from cnnkeras.resizing import resize


def three(grey: np.ndarray) -> np.ndarray:
    """A grey image in RGB."""
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def weights(old: int, new: int) -> np.ndarray:
    """What each of `new` pixels takes of each of `old`: shares of the area it covers, or of the two nearest centres; (new, old)."""
    matrix, scale = np.zeros((new, old)), old / new
    for pixel in range(new):
        if new < old:
            edges = pixel * scale, (pixel + 1) * scale
            for source in range(old):
                matrix[pixel, source] = max(0, min(edges[1], source + 1) - max(edges[0], source)) / scale
        else:
            place = (pixel + 0.5) * scale - 0.5
            below = int(np.floor(place))
            for source, share in ((below, 1 - (place - below)), (below + 1, place - below)):
                matrix[pixel, min(max(source, 0), old - 1)] += share
    return matrix


def test_one_axis_after_the_other_by_hand():
    """5 rows of 0 50 100 150 200 become 10, between them quarters: -.25 -> 0, .25 -> 12.5, .75 -> 37.5; whatever the columns do."""
    ramp = three(np.repeat(np.arange(5)[:, None] * 50, 10, axis=1))
    expected = [0, 12.5, 37.5, 62.5, 87.5, 112.5, 137.5, 162.5, 187.5, 200]
    for columns in (5, 10, 20):
        np.testing.assert_allclose(resize(ramp, (10, columns))[:, 0, 0], expected, atol=0.5)
    stripes = three(np.tile([0, 100], (5, 8)))  # columns of 0 and 100: any four of them have the mean 50
    for rows in (4, 5, 10):
        assert (resize(stripes, (rows, 4)) == 50).all()
        assert (resize(stripes.transpose(1, 0, 2), (4, rows)) == 50).all()


@pytest.mark.parametrize("old", [(37, 50), (50, 37), (11, 64)])
@pytest.mark.parametrize("new", [(44, 44), (20, 20), (80, 80), (37, 44), (12, 12), (1, 70)])
def test_resizing_is_a_matrix_along_each_axis(old, new):
    """A slow oracle from the definitions, for every way in which two sides can grow, stay and shrink."""
    image = np.random.default_rng(0).integers(0, 256, (*old, 3), dtype=np.uint8)
    expected = np.einsum("ij,jkc,lk->ilc", weights(old[0], new[0]), image, weights(old[1], new[1]))
    found = resize(image, new)
    assert found.dtype == np.uint8
    # OpenCV interpolates bytes in fixed point.
    np.testing.assert_allclose(found, expected, atol=1)
    np.testing.assert_allclose(resize(image.astype(np.float32), new), expected, atol=1e-3)


def test_a_photograph_of_voc_at_yolos_size():
    """500 x 375 at 448: stripes a pixel wide become grey across, where the width shrinks, though the height grows."""
    stripes = three(np.tile([0, 255], (375, 250)))
    found = resize(stripes, (448, 448)).astype(int)
    assert found.shape == (448, 448, 3)
    # Each pixel covers 500 / 448 = 1.116 columns, so at most 1 / 1.116 = 90 % of one colour.
    assert (np.diff(found[:, :, 0], axis=0) == 0).all()
    assert found.min() > 0
    assert found.max() < 255
