"""The layer table of a network: shapes, parameters, multiply-adds, receptive fields, memory."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import keras

from cnnkeras import layers
from cnnkeras.convolution import Reach, multiply_adds


@dataclass(frozen=True)
class LayerRow:
    """One layer of a network; all counts are for one example.

    Attributes:
        name: Name of the layer.
        kind: Name of the layer's class.
        output_shape: Shape of the layer's first output, without the batch.
        parameters: Number of trainable parameters.
        multiply_adds: Multiply-adds of a convolution or a fully connected layer; biases, normalisation and activations are not counted.
        receptive_field: Number of input values that one output depends on, along each spatial axis of the network's input. Where the
            network branches, the widest path counts. A field may extend beyond the image, into the padding.
        activation_bytes: Memory of all outputs of the layer, in bytes.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    receptive_field: tuple[int, ...]
    activation_bytes: int


def build_outline(build: Callable[..., keras.Model], **arguments) -> keras.Model:
    """Build a network without values of its weights, for its shapes and counts: at any size in milliseconds.

    The network is built in another thread, so it has Keras' default dtype policy.

    Args:
        build: An architecture's `build`.
        **arguments: Arguments of `build`.
    """

    def build_without_values() -> keras.Model:
        with keras.StatelessScope(initialize_variables=False):
            return build(**arguments)

    # For each thread Keras keeps a list of the variables without values, and initialises them all, gigabytes, as soon as another network is
    # built in that thread outside such a scope. The list of a thread that ends is dropped with it.
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(build_without_values).result()


def layer_table(model: keras.Model) -> list[LayerRow]:
    """A row for each layer, in the order of computation.

    Args:
        model: A functional model with one input, built by an architecture; its weights are not read.
    """
    reaches = {id(model.input): tuple(Reach() for _ in model.input.shape[1:-1])}
    rows = []
    for layer in model.layers:
        outputs = layer.output if isinstance(layer.output, list | tuple) else [layer.output]
        if not isinstance(layer, keras.layers.InputLayer):
            inputs = layer.input if isinstance(layer.input, list | tuple) else [layer.input]
            paths = [_reaches_after(layer, tensor.shape[1:], reaches[id(tensor)]) for tensor in inputs]
            widest = tuple(max(axis, key=lambda reach: reach.field) for axis in zip(*paths, strict=True))
            reaches |= dict.fromkeys(map(id, outputs), widest)
        rows.append(_row(layer, outputs, tuple(round(reach.field) for reach in reaches[id(outputs[0])])))
    return rows


def _row(layer: keras.layers.Layer, outputs: list[keras.KerasTensor], receptive_field: tuple[int, ...]) -> LayerRow:
    return LayerRow(
        name=layer.name,
        kind=type(layer).__name__,
        output_shape=tuple(outputs[0].shape[1:]),
        parameters=sum(math.prod(weight.shape) for weight in layer.trainable_weights),
        multiply_adds=_multiply_adds(layer),
        receptive_field=receptive_field,
        activation_bytes=sum(math.prod(tensor.shape[1:]) * _item_bytes(tensor.dtype) for tensor in outputs),
    )


def _item_bytes(dtype: str) -> int:
    """Bytes of one number of a type: the digits in its name are bits (`float32`); without digits, as in `bool`, one byte."""
    return int("".join(filter(str.isdigit, dtype)) or 8) // 8


def _multiply_adds(layer: keras.layers.Layer) -> int:
    """As `convolution.multiply_adds`; 0 for layers without a kernel. Each weight of a dense or local kernel is used once."""
    if isinstance(layer, keras.layers.Dense | layers.LocallyConnected2D):
        return multiply_adds(layer.kernel.shape)
    if not hasattr(layer, "kernel_size"):
        return 0
    transposed = isinstance(layer, keras.layers.Conv1DTranspose | keras.layers.Conv2DTranspose)
    positions = (layer.input if transposed else layer.output).shape[1:-1]
    return multiply_adds(layer.kernel.shape, positions)


def _reaches_after(layer: keras.layers.Layer, shape: tuple[int, ...], reaches: tuple[Reach, ...]) -> tuple[Reach, ...]:
    """The reaches of a layer's outputs, along each axis of the network's input, given its input's shape and reaches."""
    if len(shape) != len(reaches) + 1:
        return reaches  # already flat: an output depends on the whole input
    if isinstance(layer, keras.layers.Flatten | keras.layers.GlobalAveragePooling2D):
        return tuple(reach.through(taps=size) for reach, size in zip(reaches, shape, strict=False))
    if isinstance(layer, layers.MaxUnpooling):
        return tuple(reach.through(taps=1, stride=1 / layer.pool_size) for reach in reaches)
    windows = _windows(layer, len(reaches))
    # A window never holds more values than the map has.
    return tuple(
        reach.through(min(taps, size), stride)
        for reach, size, (taps, stride) in zip(reaches, shape, windows, strict=False)
    )


def _windows(layer: keras.layers.Layer, axes: int) -> list[tuple[int, float]]:
    """Values under the layer's window, and its step in values, along each axis; (1, 1) for layers that work value by value."""
    if isinstance(layer, layers.MaxPoolingWithSwitches):
        return [(layer.pool_size, layer.pool_size)] * axes
    if isinstance(layer, layers.LocallyConnected2D):
        return [(layer.kernel_size, 1)] * axes
    if hasattr(layer, "pool_size"):
        return list(zip(layer.pool_size, layer.strides, strict=True))
    if not hasattr(layer, "kernel_size"):
        return [(1, 1)] * axes
    windows = zip(layer.kernel_size, layer.strides, layer.dilation_rate, strict=True)
    if isinstance(layer, keras.layers.Conv1DTranspose | keras.layers.Conv2DTranspose):
        return [(math.ceil((dilation * (kernel - 1) + 1) / stride), 1 / stride) for kernel, stride, dilation in windows]
    return [(dilation * (kernel - 1) + 1, stride) for kernel, stride, dilation in windows]
