"""Files of weights as others write them, and their networks as they compute them: channels first, BGR in Caffe, no Keras.

The writers and the forwards share no code with `cnnkeras.weights`: they are written from darknet's src/parser.c and cfg files, and from
caffe.proto and the prototxts.
"""

import struct

import numpy as np

from tests.oracles import pooled_with_switches

Arrays = list[np.ndarray]


def convolve(
    x: np.ndarray, kernel: np.ndarray, bias=0.0, stride: int = 1, padding: int = 0, groups: int = 1
) -> np.ndarray:
    """Map (C, H, W) with kernel (outputs, C / groups, K, K): zeros around, rounded down."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    size, outputs = kernel.shape[-1], []
    for part, filters in zip(np.split(x, groups), np.split(kernel, groups), strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(part, (size, size), axis=(1, 2))[:, ::stride, ::stride]
        outputs.append(np.einsum("cyxij,ocij->oyx", windows, filters, optimize=True))
    return np.concatenate(outputs) + np.reshape(bias, (-1, 1, 1))


def deconvolve(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, padding: int) -> np.ndarray:
    """Caffe's deconvolution of stride 1: kernel (inputs, outputs, K, K), each input adds it times its value."""
    size, (_, height, width) = kernel.shape[-1], x.shape
    y = np.zeros((kernel.shape[1], height + size - 1, width + size - 1))
    for row in range(size):
        for column in range(size):
            y[:, row : row + height, column : column + width] += np.einsum("iyx,io->oyx", x, kernel[:, :, row, column])
    return y[:, padding : y.shape[1] - padding, padding : y.shape[2] - padding] + bias[:, None, None]


def pool(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """Caffe's max pooling: as many windows as begin within the map, the last ones cut at its edge (rounded up)."""
    sides = [-(-(side - size) // stride) + 1 for side in x.shape[1:]]
    y = np.empty((x.shape[0], *sides))
    for row, column in np.ndindex(*sides):
        top, left = row * stride, column * stride
        y[:, row, column] = x[:, top : top + size, left : left + size].max(axis=(1, 2))
    return y


def normalize_channels(x: np.ndarray) -> np.ndarray:
    """Caffe's LRN with local_size 5, alpha 1e-4 (divided by 5), beta 0.75, k 1."""
    scale = np.ones_like(x)
    for channel in range(len(x)):
        scale[channel] += 1e-4 / 5 * np.square(x[max(0, channel - 2) : channel + 3]).sum(axis=0)
    return x / scale**0.75


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


# --- darknet ---------------------------------------------------------------------------------------------------------

_FULL = (
    "conv 64 7 2,max,conv 192 3 1,max,conv 128 1 1,conv 256 3 1,conv 256 1 1,conv 512 3 1,max,"
    + "conv 256 1 1,conv 512 3 1," * 4
    + "conv 512 1 1,conv 1024 3 1,max,"
    + "conv 512 1 1,conv 1024 3 1," * 2
    + "conv 1024 3 1,conv 1024 3 2,conv 1024 3 1,conv 1024 3 1"
)
_TINY = "".join(f"conv {filters} 3 1,max," for filters in (16, 32, 64, 128, 256, 512)) + "conv 1024 3 1"
# The cfg files without what has no weights and does nothing at test: commits 6103ecc4, eaf033c0, and cfg/yolov1*.cfg.
CONFIGURATIONS = {
    "full": f"{_FULL},connected 4096 leaky,connected",
    "fast": f"{_TINY},conv 1024 3 1,conv 1024 3 1,connected 256 linear,connected 4096 leaky,connected",
    "rerelease": f"{_FULL.replace('conv', 'bn')},local 256 3,connected",
    "rerelease_fast": f"{_TINY.replace('conv', 'bn')},bn 256 3 1,connected",
}


class Darknet:
    """A network of a cfg file with random weights: its file, and what it computes.

    Args:
        configuration: One of `CONFIGURATIONS`.
        side: Of the square input.
        outputs: Numbers of the last layer.
        width: Divides the hidden layers' channels.
        inputs_first: The connected kernels are (inputs, outputs), as in 2015; (outputs, inputs) otherwise.
    """

    def __init__(self, configuration: str, *, side: int, outputs: int, width: int, inputs_first: bool):
        self.layers, self._inputs_first, rng = [], inputs_first, np.random.default_rng(0)
        shape = (3, side, side)
        for line in CONFIGURATIONS[configuration].split(","):
            kind, *numbers = line.split()
            if kind == "max":
                shape, weights = (shape[0], shape[1] // 2, shape[2] // 2), []
            elif kind in ("conv", "bn"):
                filters, size, stride = max(1, int(numbers[0]) // width), int(numbers[1]), int(numbers[2])
                norm = [rng.uniform(0.5, 1.5, filters), rng.normal(0, 0.1, filters), rng.uniform(0.5, 1.5, filters)]
                kernel = self._kernel(rng, (filters, shape[0], size, size))
                weights = [rng.normal(0, 0.1, filters), *(norm if kind == "bn" else []), kernel]
                shape = (filters, *((edge + 2 * (size // 2) - size) // stride + 1 for edge in shape[1:]))
            elif kind == "local":
                filters, size = int(numbers[0]) // width, int(numbers[1])
                kernels = [self._kernel(rng, (filters, shape[0], size, size)) for _ in range(shape[1] * shape[2])]
                weights = [rng.normal(0, 0.1, (filters, *shape[1:])), np.stack(kernels)]
                shape = (filters, *shape[1:])
            else:
                units = int(numbers[0]) // width if numbers else outputs
                kernel = self._kernel(rng, (units, int(np.prod(shape))))
                weights = [rng.normal(0, 0.1, units), kernel]
                shape = (units,)
            self.layers.append((line, [array.astype("float32") for array in weights]))

    @staticmethod
    def _kernel(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)

    def write(self, header: bytes) -> bytes:
        """The file, after its header."""
        parts = [header]
        for line, weights in self.layers:
            for array in weights:
                transposed = line.startswith("connected") and array.ndim == 2 and self._inputs_first
                parts.append((array.T if transposed else array).astype("<f4").tobytes())
        return b"".join(parts)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Image (3, H, W), RGB in the network's own scale, to its outputs, flat."""
        for line, weights in self.layers:
            kind, *numbers = line.split()
            weights = [array.astype("float64") for array in weights]
            if kind == "max":
                x = pool(x, 2, 2)
            elif kind == "conv":
                x = convolve(x, weights[1], weights[0], int(numbers[2]), int(numbers[1]) // 2)
            elif kind == "bn":
                bias, scale, mean, variance, kernel = (
                    array[:, None, None] if array.ndim == 1 else array for array in weights
                )
                x = convolve(x, kernel, 0.0, int(numbers[2]), int(numbers[1]) // 2)
                x = (x - mean) / np.sqrt(variance + 1e-5) * scale + bias
            elif kind == "local":
                bias, kernels = weights
                padded, y = np.pad(x, ((0, 0), (1, 1), (1, 1))), np.empty(bias.shape)
                for place, (row, column) in enumerate(np.ndindex(*bias.shape[1:])):
                    window = padded[:, row : row + 3, column : column + 3]
                    y[:, row, column] = np.einsum("ocij,cij->o", kernels[place], window)
                x = y + bias
            else:
                x = weights[1] @ x.reshape(-1) + weights[0]
            if kind in ("conv", "bn", "local") or numbers[-1:] == ["leaky"]:
                x = np.where(x > 0, x, 0.1 * x)
        return x


# --- Caffe -----------------------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first, the eighth set while more follow."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def field(number: int, value: int | bytes) -> bytes:
    """One field of a message: an integer, or text, bytes, packed numbers, a message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def blob(array: np.ndarray, *, is_new: bool) -> bytes:
    """BlobProto: with a BlobShape, or the four old numbers in front of unpacked values."""
    values = array.astype("<f4").tobytes()
    if is_new:
        return field(5, values) + field(7, field(1, b"".join(map(varint, array.shape))))
    shape = (1,) * (
        4 - array.ndim
    ) + array.shape  # Blob::ToProto: biases as 1 x 1 x 1 x C, matrices as 1 x 1 x outputs x inputs
    singles = b"".join(varint(5 << 3 | 5) + values[place : place + 4] for place in range(0, len(values), 4))
    return b"".join(field(number, side) for number, side in enumerate(shape, 1)) + singles


def write_caffemodel(layers: dict[str, Arrays], *, is_new: bool, inference: bool = True) -> bytes:
    """NetParameter with these layers and a data layer; layers whose names hold `bn` say whether they are for inference."""
    parts = [field(1, b"a network")]
    for name, blobs in {"data": [], **layers}.items():
        encoded = [blob(array, is_new=is_new) for array in blobs]
        if is_new:
            content = field(1, name.encode()) + field(2, b"Type") + b"".join(field(7, part) for part in encoded)
            parts.append(field(100, content + field(10, 1)))
        else:
            content = field(2, b"bottom") + field(3, b"top") + field(4, name.encode()) + field(5, 4)
            norm = field(45, field(3, int(inference))) if "bn" in name else b""
            parts.append(field(2, content + b"".join(field(6, part) for part in encoded) + norm))
    return b"".join(parts)


class Caffe:
    """The layers of a prototxt, which get their random blobs the first time that they are computed."""

    def __init__(self):
        self.layers: dict[str, Arrays] = {}
        self._rng = np.random.default_rng(0)

    def blobs(self, name: str, *shapes: tuple[int, ...]) -> Arrays:
        """The blobs of a layer: a kernel and biases, or a scale and a shift."""
        if name not in self.layers:
            if "bn" in name:
                first = self._rng.uniform(0.5, 1.5, shapes[0])
            else:
                first = self._rng.normal(0, np.sqrt(2 / np.prod(shapes[0][1:])), shapes[0])
            rest = [self._rng.normal(0, 0.1, shape) for shape in shapes[1:]]
            self.layers[name] = [array.astype("float32") for array in (first, *rest)]
        return [array.astype("float64") for array in self.layers[name]]

    def conv(self, x: np.ndarray, name: str, outputs: int, size: int, **options) -> np.ndarray:
        """CONVOLUTION."""
        shape = (outputs, len(x) // options.get("groups", 1), size, size)
        return convolve(x, *self.blobs(name, shape, (outputs,)), **options)

    def inner(self, x: np.ndarray, name: str, outputs: int) -> np.ndarray:
        """INNER_PRODUCT: the map is flattened channel by channel."""
        kernel, bias = self.blobs(name, (outputs, x.size), (outputs,))
        return kernel @ x.reshape(-1) + bias

    def mark(self, name: str) -> None:
        """A layer without blobs."""
        self.layers.setdefault(name, [])


def alexnet(net: Caffe, x: np.ndarray, *, pools_first: bool) -> np.ndarray:
    """models/bvlc_alexnet or bvlc_reference_caffenet, deploy.prototxt, with a 32nd of the channels."""
    for number, (outputs, size, stride, padding, groups) in enumerate(((4, 11, 4, 0, 1), (8, 5, 1, 2, 2)), 1):
        x = relu(net.conv(x, f"conv{number}", outputs, size, stride=stride, padding=padding, groups=groups))
        for step in ("pool", "norm") if pools_first else ("norm", "pool"):
            x = normalize_channels(x) if step == "norm" else pool(x, 3, 2)
            net.mark(f"{step}{number}")
    x = relu(net.conv(x, "conv3", 12, 3, padding=1))
    x = relu(net.conv(x, "conv4", 12, 3, padding=1, groups=2))
    x = pool(relu(net.conv(x, "conv5", 8, 3, padding=1, groups=2)), 3, 2)
    for name in ("fc6", "fc7"):
        x = relu(net.inner(x, name, 128))
    return net.inner(x, "fc8", 5)


def vgg(net: Caffe, x: np.ndarray) -> np.ndarray:
    """VGG_ILSVRC_16_layers_deploy.prototxt, with a 32nd of the channels."""
    for block, (outputs, count) in enumerate(((2, 2), (4, 2), (8, 3), (16, 3), (16, 3)), 1):
        for number in range(1, count + 1):
            x = relu(net.conv(x, f"conv{block}_{number}", outputs, 3, padding=1))
        x = pool(x, 2, 2)
    for name in ("fc6", "fc7"):
        x = relu(net.inner(x, name, 128))
    return net.inner(x, "fc8", 5)


def deconvnet(net: Caffe, x: np.ndarray) -> np.ndarray:
    """DeconvNet_inference_deploy.prototxt, with a 32nd of the channels: BN in the mode INFERENCE is scale x + shift."""
    encoder = ((2, 2), (4, 2), (8, 3), (16, 3), (16, 3))
    decoder = ((16, 16, 16), (16, 16, 8), (8, 8, 4), (4, 2), (2, 2))
    places = {}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        shape = (1, len(x), 1, 1)  # bn_layer.cpp: new Blob<Dtype>(1, C_, 1, 1)
        scale, shift = net.blobs(name, shape, shape)
        return relu(scale[0] * x + shift[0])

    def deconv(x: np.ndarray, name: str, outputs: int, size: int, padding: int) -> np.ndarray:
        return deconvolve(x, *net.blobs(name, (len(x), outputs, size, size), (outputs,)), padding)

    for block, (outputs, count) in enumerate(encoder, 1):
        for number in range(1, count + 1):
            x = norm(net.conv(x, f"conv{block}_{number}", outputs, 3, padding=1), f"bn{block}_{number}")
        maxima, places[block] = pooled_with_switches(x.transpose(1, 2, 0)[None], 2)
        x = maxima[0].transpose(2, 0, 1)
    size = x.shape[-1]
    x = norm(net.conv(x, "fc6", 128, size), "bnfc6")
    x = norm(net.conv(x, "fc7", 128, 1), "bnfc7")
    x = norm(deconv(x, "fc6-deconv", 16, size, 0), "fc6-deconv-bn")
    for block, channels in zip((5, 4, 3, 2, 1), decoder, strict=True):
        unpooled = np.zeros((len(x), 2 * x.shape[1], 2 * x.shape[2]))
        for (channel, row, column), value in np.ndenumerate(x):
            switch = places[block][0, row, column, channel]
            unpooled[channel, 2 * row + switch // 2, 2 * column + switch % 2] = value
        x = unpooled
        for number, outputs in enumerate(channels, 1):
            x = norm(deconv(x, f"deconv{block}_{number}", outputs, 3, 1), f"debn{block}_{number}")
    return net.conv(x, "seg-score-voc", 4, 1)


def header_of_2015(rate: float = 0.001, seen: int = 40_000) -> bytes:
    """Learning rate, momentum, decay and images seen."""
    return struct.pack("<3fi", rate, 0.9, 0.0005, seen)


def header_since(minor: int) -> bytes:
    """Version 0.minor.0 and images seen, of 64 bits from 0.2 on."""
    return struct.pack("<3iQ" if minor >= 2 else "<3iI", 0, minor, 0, 2_560_000)
