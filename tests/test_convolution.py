"""The arithmetic of sliding windows against Keras, brute force and the lecture's numbers."""

import itertools

import numpy as np
import pytest

from cnnkeras.architectures import alexnet, mnist1d_conv
from cnnkeras.convolution import (
    Window,
    min_input_size,
    output_size,
    output_sizes,
    pad_amounts,
    receptive_field,
    transposed_output_size,
)
from cnnkeras.plain_convolution import convolve_1d, convolve_2d

# Prince, Understanding Deep Learning, notebook 10.1.
SIGNAL = [5.2, 5.3, 5.4, 5.1, 10.1, 10.3, 9.9, 10.3, 3.2, 3.4, 3.3, 3.1]


def grid():
    for size, kernel, stride, dilation in itertools.product(range(5, 11), (1, 2, 3, 5), (1, 2, 3), (1, 2)):
        if (stride == 1 or dilation == 1) and dilation * (kernel - 1) < size:  # Keras takes no more
            yield size, kernel, stride, dilation


def test_output_size_is_that_of_keras_convolutions():
    """What `output_size` computes is what a real layer returns, for every stride, dilation and padding of a grid."""
    import keras

    for size, kernel, stride, dilation in grid():
        for padding in ("valid", "same"):
            layer = keras.layers.Conv1D(1, kernel, stride, padding, dilation_rate=dilation)
            real = layer(np.zeros((1, size, 1))).shape[1]
            assert output_size(size, kernel, stride, padding, dilation) == real, (
                size,
                kernel,
                stride,
                dilation,
                padding,
            )
        for zeros in (1, (0, 3)):
            padded = keras.layers.ZeroPadding1D(zeros)(np.zeros((1, size, 1)))
            real = keras.layers.Conv1D(1, kernel, stride, dilation_rate=dilation)(padded).shape[1]
            assert output_size(size, kernel, stride, zeros, dilation) == real, (size, kernel, stride, dilation, zeros)


def test_output_size_is_that_of_keras_poolings():
    """Pooling obeys the formula too, the remainder being dropped (floor)."""
    import keras

    for size, pool, stride in itertools.product(range(5, 11), (2, 3), (1, 2, 3)):
        real = keras.layers.MaxPooling1D(pool, stride)(np.zeros((1, size, 1))).shape[1]
        assert output_size(size, pool, stride) == real


def test_transposed_output_size_is_that_of_keras():
    """A transposed convolution gives the size it computes, wherever the kernel is at least as long as the stride."""
    import keras

    for size, kernel, stride in itertools.product(range(1, 6), (2, 3, 5), (1, 2)):
        for padding in ("valid", "same"):
            real = keras.layers.Conv1DTranspose(1, kernel, stride, padding)(np.zeros((1, size, 1))).shape[1]
            assert transposed_output_size(size, kernel, stride, padding) == real, (size, kernel, stride, padding)


def test_transposed_output_size_inverts_output_size():
    """A convolution of the same numbers leads back, without remainder."""
    for size, kernel, stride, padding, dilation in itertools.product(range(2, 9), (1, 2, 3), (1, 2, 3), (0, 1), (1, 2)):
        length = stride * (size - 1) + dilation * (kernel - 1) + 1 - 2 * padding
        if length < 1:
            with pytest.raises(ValueError, match="Pad less"):
                transposed_output_size(size, kernel, stride, padding, dilation)
            continue
        assert transposed_output_size(size, kernel, stride, padding, dilation) == length
        assert output_size(length, kernel, stride, padding, dilation) == size


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 5), "at least 5 for a kernel that spans 5 with 0 padded zeros; received: 3"),
        ((4, 3, 1, 0, 2), "at least 5 for a kernel that spans 5"),
        ((0, 3), "expected a size of at least 1; received: 0"),
        ((8, 0), "expected a kernel of at least 1"),
        ((8, 3, 0), "expected a stride of at least 1"),
        ((8, 3, 1, 0, 0), "expected a dilation of at least 1"),
        ((8, 3, 1, -1), "expected a padding of at least 0"),
        ((8, 3, 1, "full"), "expected a padding of 'valid', 'same' or a number of zeros; received: 'full'"),
    ],
)
def test_impossible_sizes_are_refused(arguments, message):
    """A window that does not fit, or a number out of range, is an error that says so."""
    with pytest.raises(ValueError, match=message):
        output_size(*arguments)


def test_notebook_10_1():
    """The lecture's own convolutions of its signal: 3 taps of 1/3, 5 taps of 1/5, 3 taps with dilation 2."""
    assert convolve_1d(SIGNAL, [0.33] * 3, padding=1).sum() == pytest.approx(71.115)
    assert convolve_1d(SIGNAL, [0.2] * 5, padding=2).sum() == pytest.approx(69.56)
    assert convolve_1d(SIGNAL, [0.33] * 3, padding=2, dilation=2).sum() == pytest.approx(68.277)


def test_stride_keeps_every_second_output():
    """Stride 2 gives h[0::2] of stride 1 with padding 1; "same" on an even length starts one later, h[1::2]."""
    dense = convolve_1d(SIGNAL, [0.33] * 3, padding=1)
    assert np.array_equal(convolve_1d(SIGNAL, [0.33] * 3, padding=1, stride=2), dense[0::2])
    assert pad_amounts(len(SIGNAL), 3, 2, "same") == (0, 1)
    assert np.array_equal(convolve_1d(SIGNAL, [0.33] * 3, padding="same", stride=2), dense[1::2])


def test_kernel_is_not_flipped():
    """The lecture's convolution is cross-correlation: z_i = w_1 x_(i-1) + w_2 x_i + w_3 x_(i+1)."""
    # 1*0 + 10*1 + 100*2 = 210; 1*1 + 10*2 + 100*3 = 321; 1*2 + 10*3 + 100*0 = 32
    assert convolve_1d([1, 2, 3], [1, 10, 100], padding=1).tolist() == [210, 321, 32]


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_definition_is_what_keras_computes(padding, stride, dilation):
    """The definition in NumPy and Keras' layers agree, with channels, biases and non-square images and kernels."""
    import keras

    rng = np.random.default_rng(0)
    image, weights, bias = rng.normal(size=(9, 8, 3)), rng.normal(size=(3, 2, 3, 4)), rng.normal(size=4)
    layer = keras.layers.Conv2D(4, (3, 2), stride, padding, dilation_rate=dilation)
    layer.build((None, 9, 8, 3))
    layer.set_weights([weights, bias])
    ours = convolve_2d(image, weights, bias, stride, padding, dilation)
    np.testing.assert_allclose(ours, np.asarray(layer(image[None].astype("float32")))[0], atol=1e-5)


def test_one_channel_needs_no_channel_axis():
    """Plain vectors and matrices are images of one channel: the 2D sum of a 2x2 window, written out."""
    # 1 + 2 + 4 + 5 = 12, 2 + 3 + 5 + 6 = 16
    assert convolve_2d([[1, 2, 3], [4, 5, 6]], np.ones((2, 2))).tolist() == [[12, 16]]
    assert convolve_1d(np.ones((5, 2)), np.ones((3, 2, 4)), bias=1).tolist() == [[7] * 4] * 3
    with pytest.raises(
        ValueError, match=r"weights \(height, width, 3 channels, filters\); received: shape \(2, 2, 1, 1\)"
    ):
        convolve_2d(np.ones((4, 4, 3)), np.ones((2, 2)))


def test_receptive_fields_of_the_lecture():
    """AlexNet's conv1, conv2, conv3 see 11, 51, 99 pixels (problem 10.17); three dense 3-tap layers 7; the MNIST-1D net 15."""
    stack, seen = [], []
    for row in alexnet.CONVOLUTIONS:
        stack.append(Window(row.name, row.kernel, row.stride))
        seen.append(receptive_field(stack))
        stack += [Window("pool", 3, 2)] * ("pool" in row.after_relu)
    assert seen == [11, 51, 99, 131, 163]
    assert receptive_field([Window("conv", 3)] * 3) == 7
    assert receptive_field([Window(row.name, row.kernel, row.stride) for row in mnist1d_conv.VARIANTS["udl"]]) == 15
    assert receptive_field([Window("conv", 3, dilation=1), Window("conv", 3, dilation=2)]) == 7


def test_min_input_size_is_the_minimum():
    """Nothing shorter passes the stack, and everything from there on does; the error names the layer and that size."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        stack = [
            Window(f"layer{n}", int(rng.integers(1, 6)), int(rng.integers(1, 4)), int(rng.integers(0, 2)))
            for n in range(rng.integers(1, 5))
        ]
        minimum = min_input_size(stack)
        assert min(output_sizes((minimum, minimum + 1), stack)) >= 1
        if minimum > 1:
            with pytest.raises(ValueError, match=f"at least {minimum}x{minimum}, .* 'layer"):
                output_sizes((minimum, minimum - 1), stack)
