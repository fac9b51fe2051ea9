"""Claim 4: one formula tells what kernel, padding, stride and dilation make of a size; and what each output sees.

Prince, Understanding Deep Learning, section 10.2 and figure 10.3, notebook 10.1, problems 10.9 and 10.17. The book's first
printing calls an undilated kernel "dilation 0", counting the zeros between taps; its errata and every library count the distance
between taps, 1 for an undilated kernel.
"""

import itertools
import math
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field

from cnnkeras import architectures
from cnnkeras.by_name import nearest
from cnnkeras.convolution import Window, output_size, pad_amounts, receptive_field
from cnnkeras.plain_convolution import convolution_matrix, convolve_2d, insert_zeros
from pipeline.backend import devices
from pipeline.lab import slides
from pipeline.lab.claims import ClaimEntry, Findings

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

PROBLEM_10_9 = [Window("conv", 3)] * 3
# Networks whose maps have windows, at heights that cost little and a width that holds the fields.
NETWORKS = {
    "mnist1d_conv": {"input_shape": (40, 1), "output_shape": (10,)},
    "alexnet": {"input_shape": (64, 224, 3), "output_shape": (10,), "variant": "one_tower", "width": 1 / 64},
    "vgg": {"input_shape": (32, 224, 3), "output_shape": (10,), "variant": "D", "width": 1 / 64},
    "yolo": {"input_shape": (32, 224, 3), "output_shape": (10,), "variant": "small", "width": 1 / 8},
    "deconvnet": {"input_shape": (32, 224, 3), "output_shape": (32, 224, 3), "variant": "vgg11", "width": 1 / 64},
}
MOST_ZEROS = 3  # at each edge
CHUNK = 32  # images at a time


def _known(architecture: str) -> str:
    if architecture not in NETWORKS:
        raise ValueError(
            f"expected one of {', '.join(NETWORKS)}; received: {architecture!r}{nearest(architecture, NETWORKS)}"
        )
    return architecture


class Settings(ClaimEntry):
    """How much to compare.

    Attributes:
        trials: Random settings of size, kernel, stride, padding and dilation, half of them in two dimensions.
        real: How many of them are computed by Keras, all values compared; of the others the layers say the shape.
        stacks: Random stacks of layers whose receptive field is compared with their gradient.
        architectures: Those whose receptive fields are measured.
    """

    trials: Annotated[int, Field(ge=10)] = 4000
    real: Annotated[int, Field(ge=1)] = 200
    stacks: Annotated[int, Field(ge=1)] = 100
    architectures: tuple[Annotated[str, AfterValidator(_known)], ...] = tuple(NETWORKS)


def measure(settings: Settings, *, seed: int) -> Findings:
    """Sizes against Keras, equalities of kernels, and receptive fields."""
    with devices.set_up(seed=seed):
        rng = np.random.default_rng(seed)
        cases = [_case(rng, axes=1 + trial % 2) for trial in range(settings.trials)]
        shapes = [_layer_shape(*case) for case in cases]
        values = max(_value_difference(rng, *case) for case in cases[: settings.real])
        padded = [_padded(np.random.default_rng([seed, trial])) for trial in range(settings.real)]
        fields = {name: _fields(name) for name in settings.architectures}
    dilated = [
        (case, shape)
        for case, shape in zip(cases, shapes, strict=True)
        if any(side > 1 and dilation > 1 for side, dilation in zip(case[1], case[4], strict=True))
    ]
    equalities = [_equalities(rng) for _ in range(settings.stacks)]
    pairs = [pair for layers in fields.values() for pair in layers.values()]
    measured = {
        "settings": len(cases),
        "wrong_sizes": sum(shape != _formula(*case) for case, shape in zip(cases, shapes, strict=True)),
        "max_value_difference": values,
        "dilation_is_distance": float(np.mean([shape == _formula(*case) for case, shape in dilated])),
        "dilation_is_zeros": float(np.mean([shape == _other_reading(*case) for case, shape in dilated])),
        "dilated_against_inserted_zeros": max(dilation for dilation, _ in equalities),
        "strided_against_subsampled": max(stride for _, stride in equalities),
        "wrong_padded_sizes": sum(wrong for wrong, _, _ in padded),
        "padded_keras_difference": max(keras for _, keras, _ in padded),
        "padded_matrix_difference": max(matrix for _, _, matrix in padded),
        "wrong_stack_fields": sum(_stack_is_wrong(rng) for _ in range(settings.stacks)),
        "layers_of_architectures": len(pairs),
        "wrong_layer_fields": sum(formula != measured_field for formula, measured_field in pairs),
        "three_layers_field": receptive_field(PROBLEM_10_9),
    }
    if "alexnet" in fields:
        measured["alexnet_conv3_field"] = fields["alexnet"]["conv3"][1]
    return _findings(settings, measured, fields)


Fields = dict[str, dict[str, tuple[int, int]]]  # of each architecture's layers, by formula and as measured


def _findings(settings: Settings, measured: dict[str, Any], fields: Fields) -> Findings:
    # Problems 10.9 and 10.17: 1 + 2 + 2 + 2, and 11 + 2 x 4 + 4 x 8 + 2 x 8 + 2 x 16, window by window.
    expected = {"three_layers_field": 7, "alexnet_conv3_field": 99}
    expected = {key: value for key, value in expected.items() if key in measured}
    difference = measured["max_value_difference"]
    holds = (
        measured["wrong_sizes"] == 0
        and difference < 1e-4  # float32 against float64
        and measured["dilated_against_inserted_zeros"] < 1e-12
        and measured["strided_against_subsampled"] < 1e-12
        and measured["wrong_stack_fields"] + measured["wrong_layer_fields"] == 0
        and measured["wrong_padded_sizes"] == 0
        and measured["padded_keras_difference"] < 1e-4
        and measured["padded_matrix_difference"] < 1e-12
        and all(measured[key] == value for key, value in expected.items())
    )
    return Findings(
        claim=(
            "floor((L + 2P - D(K - 1) - 1) / S + 1) is the size of every convolution's output, and the receptive field grows by "
            "D(K - 1) times the strides before."
        ),
        published={},
        expected=expected,
        measured=measured,
        holds=holds,
        paragraph=(
            f"The formula and Keras' layers differ in {measured['wrong_sizes']} of {measured['settings']:,} random settings in one and two dimensions; the "
            f"values of {settings.real} of them, by the definition and by Keras, by at most {difference:.1g}. With P zeros at each "
            f"edge, P up to {MOST_ZEROS}, a bias and a ReLU, the definition differs from Keras by at most {measured['padded_keras_difference']:.1g} "
            f"and from the convolution's matrix by at most {measured['padded_matrix_difference']:.1g}. With dilation as the distance "
            f"between taps (1 is undilated) it is right for {measured['dilation_is_distance']:.0%} of the dilated ones, with dilation as "
            f"the number of zeros between taps, the book's first printing, for {measured['dilation_is_zeros']:.0%}. A dilated kernel is a "
            f"dense one with zeros inserted and a strided convolution a dense one subsampled (differences up to "
            f"{max(measured['dilated_against_inserted_zeros'], measured['strided_against_subsampled']):.1g}). Receptive fields by formula "
            f"and by what really changes an output differ for {measured['wrong_stack_fields']} of {settings.stacks} random stacks and for "
            f"{measured['wrong_layer_fields']} of {measured['layers_of_architectures']} layers of {', '.join(fields)}."
        ),
        title="What one output sees: the formula, and what really changes it",
        draw=lambda figure: _draw(figure, fields, measured),
    )


Case = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], str, tuple[int, ...]]


def _case(rng: np.random.Generator, *, axes: int) -> Case:
    """Random sizes, kernel, strides, padding and dilations that Keras takes: it refuses strides and dilations at once."""
    while True:
        sizes, kernel = rng.integers(4, 16, axes), rng.integers(1, 6, axes)
        strides, dilations = np.ones(axes, int), np.ones(axes, int)
        if rng.integers(2):
            strides = rng.integers(1, 4, axes)
        else:
            dilations = rng.integers(1, 4, axes)
        padding = ("valid", "same")[rng.integers(2)]
        if (dilations * (kernel - 1) < sizes).all():
            return (
                tuple(sizes.tolist()),
                tuple(kernel.tolist()),
                tuple(strides.tolist()),
                padding,
                tuple(dilations.tolist()),
            )


def _formula(sizes, kernel, strides, padding, dilations) -> tuple[int, ...]:
    axes = zip(sizes, kernel, strides, itertools.repeat(padding, len(sizes)), dilations, strict=True)
    return tuple(output_size(*axis) for axis in axes)


def _other_reading(sizes, kernel, strides, padding, dilations) -> tuple[int, ...]:
    """Sizes if D counted the zeros between taps: D + 1 in the formula; as "valid" or by the padding of the other reading."""
    lengths = []
    for size, side, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        zeros = pad_amounts(size, side, stride, padding, dilation)
        fits = size + sum(zeros) > (dilation + 1) * (side - 1)
        lengths.append(output_size(size, side, stride, zeros, dilation + 1) if fits else 0)
    return tuple(lengths)


def _layer(filters: int, kernel, strides, padding, dilations) -> "keras.Layer":
    import keras

    kind = keras.layers.Conv1D if len(kernel) == 1 else keras.layers.Conv2D
    return kind(filters, kernel, strides, padding, dilation_rate=dilations)


def _layer_shape(sizes, kernel, strides, padding, dilations) -> tuple[int, ...]:
    """What a Keras layer says of its output."""
    layer = _layer(1, kernel, strides, padding, dilations)
    return tuple(layer.compute_output_shape((1, *sizes, 1))[1:-1])


def _value_difference(rng: np.random.Generator, sizes, kernel, strides, padding, dilations) -> float:
    """Largest difference between the definition and what a Keras layer computes; infinite if the shapes differ."""
    inputs, weights, bias = rng.normal(size=(*sizes, 2)), rng.normal(size=(*kernel, 2, 3)), rng.normal(size=3)
    layer = _layer(3, kernel, strides, padding, dilations)
    layer.build((1, *sizes, 2))
    layer.set_weights([weights, bias])
    theirs = np.asarray(layer(inputs[None].astype(np.float32)))[0]
    if len(sizes) == 1:
        inputs, weights, strides, dilations = inputs[None], weights[None], (1, *strides), (1, *dilations)
        theirs, padding = theirs[None], (0, padding)
    ours = convolve_2d(inputs, weights, bias, strides, padding, dilations)
    return float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else math.inf


def _padded(rng: np.random.Generator) -> tuple[bool, float, float]:
    """A whole layer, h = a[b + sum w x], of a random image with P zeros at each edge: by the definition, Keras and the matrix.

    Returns:
        Whether the formula's size is wrong, and the largest differences of the definition from Keras and from the matrix.
    """
    import keras

    sizes, kernel, strides, _, dilations = _case(rng, axes=2)
    zeros = tuple(rng.integers(0, MOST_ZEROS + 1, 2).tolist())
    inputs, weights, bias = rng.normal(size=(*sizes, 2)), rng.normal(size=(*kernel, 2, 3)), rng.normal(size=3)
    ours = np.maximum(convolve_2d(inputs, weights, bias, strides, zeros, dilations), 0)
    layer = keras.layers.Conv2D(3, kernel, strides, "valid", dilation_rate=dilations, activation="relu")
    padded = keras.layers.ZeroPadding2D(zeros)(inputs[None].astype(np.float32))
    layer.build(padded.shape)
    layer.set_weights([weights, bias])
    theirs = np.asarray(layer(padded))[0]
    matrix = convolution_matrix(weights, sizes, strides, zeros, dilations)
    by_matrix = np.maximum((matrix @ inputs.reshape(-1)).reshape(-1, 3) + bias, 0)
    axes = zip(sizes, kernel, strides, zeros, dilations, strict=True)
    if ours.shape != theirs.shape:
        return True, math.inf, math.inf
    is_wrong = theirs.shape[:2] != tuple(output_size(*axis) for axis in axes)
    return is_wrong, float(np.abs(ours - theirs).max()), float(np.abs(ours.reshape(-1, 3) - by_matrix).max())


def _equalities(rng: np.random.Generator) -> tuple[float, float]:
    """Of a random image: a dilated kernel against a dense one with zeros; stride against every S-th of stride 1."""
    image, weights = rng.normal(size=(11, 9)), rng.normal(size=(3, 2))
    factor = int(rng.integers(2, 4))
    dilated = convolve_2d(image, weights, dilation=factor, padding=1)
    dense = convolve_2d(image, insert_zeros(weights, factor, 2), padding=1)
    strided = convolve_2d(image, weights, stride=factor, padding=1)
    every = convolve_2d(image, weights, padding=1)[::factor, ::factor]
    return float(np.abs(dilated - dense).max()), float(np.abs(strided - every).max())


def _stack_is_wrong(rng: np.random.Generator) -> bool:
    """Whether the formula errs for a random stack: the gradient of an output is a row of the product of the layers' matrices."""
    windows = [
        Window(f"layer{n}", *(int(rng.integers(1, high)) for high in (5, 4)), 0, int(rng.integers(1, 3)))
        for n in range(rng.integers(1, 4))
    ]
    length, gradient = 100, np.eye(100)
    for window in windows:
        weights = rng.uniform(1, 2, window.kernel)
        matrix = convolution_matrix(weights, (length,), window.stride, 0, window.dilation)
        length, gradient = len(matrix), matrix @ gradient
    reach = np.flatnonzero(gradient[length // 2])
    return reach[-1] - reach[0] + 1 != receptive_field(windows)


def _fields(name: str) -> dict[str, tuple[int, int]]:
    """For each layer of an architecture whose field lies within the image: its width by formula, and as measured.

    Measured: all weights are made positive, so that what a pixel adds cannot cancel out, and one column of pixels after the other
    is raised; the field of the value in the middle of a map is from the first column that changes it to the last. That is where its
    gradient is not 0, but for maxima, which hand their gradient to one input of a window and would hide the others.
    """
    import keras

    from cnnkeras.summary import layer_table

    keras.config.set_dtype_policy("float64")  # a column at the edge of a field moves a value by one part in 10^9
    try:
        model = architectures.load(name).build(**NETWORKS[name])
    finally:
        keras.config.set_dtype_policy("float32")
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        if weight.path.endswith("kernel"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape) / math.prod(weight.shape[:-1]))
    width = model.input.shape[-2]
    rows = {row.name: row.receptive_field[-1] for row in layer_table(model)}
    layers = [layer for layer in model.layers if hasattr(layer, "kernel_size") or hasattr(layer, "pool_size")]
    layers = [layer for layer in layers if len(_first(layer.output).shape) == len(model.input.shape)]
    layers = [layer for layer in layers if rows[layer.name] < width]
    part = keras.Model(model.input, [_first(layer.output) for layer in layers])
    base = rng.uniform(1, 2, model.input.shape[1:])
    raised = np.repeat(base[None], width, axis=0)
    for column in range(width):
        raised[column, ..., column, :] += 1000
    before = [_middle(output)[0] for output in part.predict_on_batch(base[None])]
    after = [part.predict_on_batch(raised[start : start + CHUNK]) for start in range(0, width, CHUNK)]
    fields = {}
    for number, layer in enumerate(layers):
        values = np.concatenate([_middle(chunk[number]) for chunk in after])
        changing = np.flatnonzero(np.abs(values - before[number]).reshape(width, -1).max(axis=1) > 0)
        if changing[0] > 0 and changing[-1] < width - 1:  # the field of the middle is not cut off by the image's edge
            fields[layer.name] = rows[layer.name], int(changing[-1] - changing[0] + 1)
    return fields


def _first(output):
    return output[0] if isinstance(output, list | tuple) else output


def _middle(maps: np.ndarray) -> np.ndarray:
    """The middle column of maps (batch, ..., W, C)."""
    return np.asarray(maps)[..., maps.shape[-2] // 2, :]


def _draw(figure: "Figure", fields: Fields, measured: dict[str, Any]) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[2, 1])
    for color, (name, pairs) in zip(itertools.cycle(slides.COLORS), fields.items(), strict=False):
        numbers = range(1, len(pairs) + 1)
        left.plot(numbers, [formula for formula, _ in pairs.values()], color=color, label=name)
        left.plot(numbers, [width for _, width in pairs.values()], "o", color=color, markersize=11)
    left.set(
        xlabel="convolutions and poolings from the input",
        title="receptive field, pixels\n(line: formula; dots: measured)",
    )
    left.legend(loc="upper left")
    left.set_xticks(range(0, 20, 3))
    percent = [100 * measured["dilation_is_distance"], 100 * measured["dilation_is_zeros"]]
    slides.bars(right, ["D is the\ndistance", "D counts\nthe zeros"], percent)
    right.set_title("dilated layers whose size\nthe formula gives, %")
