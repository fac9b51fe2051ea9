"""The layer table, and the two commands that print the arithmetic of networks."""

import json
from types import SimpleNamespace

import keras
import pytest

from cnnkeras import layers
from cnnkeras.architectures import alexnet, deconvnet, mnist1d_conv, vgg, yolo
from cnnkeras.summary import build_outline, layer_table
from pipeline.commands import output_size, summary
from pipeline.runtime.errors import InputError


def rows_of(module, variant, **arguments):
    input_shape, output_shape = module.PAPER_SHAPES[variant]
    model = build_outline(
        module.build, input_shape=input_shape, output_shape=output_shape, variant=variant, **arguments
    )
    return {row.name: row for row in layer_table(model)}


def test_multiply_adds_are_the_published_ones():
    """VGG A, B, C, D, E take 7.61, 11.31, 11.77, 15.47, 19.63 billion multiply-adds at 224 pixels."""
    for variant, billions in {"A": 7.61, "B": 11.31, "C": 11.77, "D": 15.47, "E": 19.63}.items():
        total = sum(row.multiply_adds for row in rows_of(vgg, variant).values())
        assert total / 1e9 == pytest.approx(billions, abs=0.005)


def test_multiply_adds_by_hand():
    """AlexNet's conv1 works 55 x 55 times on 11 x 11 x 3 values for 96 filters; conv2's filters see 48 of 96 channels."""
    rows = rows_of(alexnet, "two_tower")
    assert rows["conv1"].multiply_adds == 55 * 55 * 11 * 11 * 3 * 96
    assert rows["conv2"].multiply_adds == 27 * 27 * 5 * 5 * 48 * 256
    assert rows["fc6"].multiply_adds == 9216 * 4096
    assert rows["pool1"].multiply_adds == rows["norm1"].multiply_adds == 0
    deconvolution = rows_of(deconvnet, "vgg16")["fc6-deconv"]
    assert deconvolution.multiply_adds == 1 * 1 * 7 * 7 * 4096 * 512  # of its input's one position


def test_receptive_fields():
    """AlexNet's convolutions see 11, 51, 99, 131, 163 pixels; what is fully connected sees what its map sees."""
    rows = rows_of(alexnet, "one_tower")
    assert [rows[f"conv{n}"].receptive_field[0] for n in range(1, 6)] == [11, 51, 99, 131, 163]
    # pool5: 163 + 2 * 16 = 195; six positions of 32 pixels: 195 + 5 * 32 = 355
    assert rows["pool5"].receptive_field == (195, 195)
    assert rows["flatten"].receptive_field == rows["fc8"].receptive_field == (355, 355)
    rows = rows_of(mnist1d_conv, "udl")
    assert [rows[f"conv{n}"].receptive_field for n in (1, 2, 3)] == [(3,), (7,), (15,)]
    # VGG's fully connected fc6 and DeconvNet's 7x7 convolution are the same layer.
    assert rows_of(vgg, "D")["fc6"].receptive_field == rows_of(deconvnet, "vgg16")["fc6"].receptive_field == (404, 404)


def test_receptive_field_of_upsampling():
    """Unpooling halves the distance of neighbours; a strided transposed convolution sees ceil(K / S) values."""
    inputs = keras.Input((16, 16, 1))
    pooled, switches = layers.MaxPoolingWithSwitches(name="pool")(inputs)  # field 2, neighbours 2 apart
    x = layers.MaxUnpooling(name="unpool")([pooled, switches])  # field 2, neighbours 1 apart
    x = keras.layers.Conv2DTranspose(1, 3, padding="same", name="dense")(x)  # 2 + (3 - 1) * 1 = 4
    x = keras.layers.Conv2D(1, 2, strides=4, name="strided")(x)  # 4 + 1 = 5, neighbours 4 apart
    x = keras.layers.Conv2DTranspose(1, 3, strides=2, name="up")(x)  # 5 + (ceil(3 / 2) - 1) * 4 = 9, 2 apart
    x = keras.layers.Conv2D(1, (1, 3), dilation_rate=2, name="across")(x)  # across: 9 + 4 * 2 = 17
    x = keras.layers.GlobalAveragePooling2D(name="all")(x)
    fields = {row.name: row.receptive_field for row in layer_table(keras.Model(inputs, x))}
    assert [fields[name] for name in ("pool", "unpool", "dense", "strided", "up", "across")] == [
        (2, 2),
        (2, 2),
        (4, 4),
        (5, 5),
        (9, 9),
        (9, 17),
    ]


def test_memory_counts_every_output():
    """YOLO's first map: 224 x 224 x 64 float32; a pooling with switches keeps five bytes a value; mixed precision two."""
    assert rows_of(yolo, "full")["conv1"].activation_bytes == 224 * 224 * 64 * 4
    pooled = rows_of(deconvnet, "vgg16")["pool1"]
    assert pooled.output_shape == (112, 112, 64)
    assert pooled.activation_bytes == 112 * 112 * 64 * (4 + 1)

    def build_mixed():
        inputs = keras.Input((4, 4, 3))
        return keras.Model(inputs, keras.layers.Conv2D(8, 1, dtype="mixed_bfloat16")(inputs))

    assert layer_table(build_outline(build_mixed))[1].activation_bytes == 4 * 4 * 8 * 2


def test_summary_prints_the_table(capsys):
    """The command shows every layer, whole numbers and the sums, in 80 columns."""
    summary.run("deconvnet")
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "seg-score" in text
    assert "102,764,544" in text
    assert "251,805,653 parameters" in text
    assert "33,408 running statistics" in text


def test_summary_prints_json(capsys):
    """The same facts for programs, for a variant and a width."""
    summary.run("alexnet", variant="one_tower", width=0.5, as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["architecture"] == "alexnet"
    assert (facts["variant"], facts["width"]) == ("one_tower", 0.5)
    assert facts["input_shape"] == [224, 224, 3]
    assert facts["parameters"] == sum(layer["parameters"] for layer in facts["layers"])
    conv1 = next(layer for layer in facts["layers"] if layer["name"] == "conv1")
    assert conv1["output_shape"] == [55, 55, 48]
    assert conv1["receptive_field"] == [11, 11]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "vggg"}, "unknown architecture 'vggg'; did you mean 'vgg'"),
        ({"architecture": "yolo", "variant": "fats"}, "unknown variant 'fats'; did you mean 'fast'"),
        ({"architecture": "vgg", "width": 0.0}, "width above 0 and at most 1; received: 0"),
        ({"architecture": "vgg", "width": float("nan")}, "width above 0 and at most 1; received: nan"),
    ],
)
def test_summary_refuses(arguments, message):
    """Unknown names are answered with the nearest, a width out of range with the range."""
    with pytest.raises(InputError, match=message):
        summary.run(**arguments)


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            {"size": "40", "kernel": "3", "stride": "2"},
            ["length: floor((40 + 2*0 - 1*(3 - 1) - 1) / 2 + 1) = 19", "output: 19"],
        ),
        (
            {"size": "224x224", "kernel": "11", "stride": "4", "padding": "2"},
            ["height: floor((224 + 2*2 - 1*(11 - 1) - 1) / 4 + 1) = 55", "output: 55x55"],
        ),
        (
            {"size": "32x48", "kernel": "3x5", "stride": "2x1", "padding": "same"},
            ["height: floor((32 + 0 + 1 - 1*(3 - 1) - 1) / 2 + 1) = 16", "output: 16x48"],
        ),
        (
            {"size": "9x12", "kernel": "3", "padding": "1x0", "dilation": "1x2"},
            ["width: floor((12 + 2*0 - 2*(3 - 1) - 1) / 1 + 1) = 8", "output: 9x8"],
        ),
        (
            {"size": "7", "kernel": "3", "stride": "2", "padding": "1", "transposed": True},
            ["S(L - 1) + D(K - 1) + 1 - 2P", "length: 2*(7 - 1) + 1*(3 - 1) + 1 - 2*1 = 13", "output: 13"],
        ),
        (
            {"size": "7x5", "kernel": "3", "stride": "2", "padding": "same", "transposed": True},
            ["height: 2*7 = 14", "output: 14x10"],
        ),
    ],
)
def test_output_size_fills_in_the_formula(arguments, lines, capsys):
    """The lecture's formula with the numbers, one line an axis, and the size."""
    output_size.run(**arguments)
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line not in printed] == []


@pytest.mark.parametrize(
    ("arguments", "is_alexnets"),
    [
        ({"size": "224x224", "stride": "4"}, True),
        ({"size": "224", "stride": "4", "padding": "valid"}, True),
        ({"size": "227x227", "stride": "4"}, False),
        ({"size": "224x224", "stride": "4", "padding": "2"}, False),
        ({"size": "224x224", "stride": "4", "transposed": True}, False),
    ],
)
def test_alexnets_first_layer_is_explained(arguments, is_alexnets, capsys):
    """(224 - 11) / 4 + 1 = 54.25: 54 by the formula, 55 in the network; said below that size alone."""
    output_size.run(kernel="11", **arguments)
    printed = capsys.readouterr().out
    assert ("AlexNet's first layer has 55, not 54" in printed) == is_alexnets
    assert not is_alexnets or "= 54" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": "3x3x3", "kernel": "1"}, "one or two axes for SIZE.*received: '3x3x3'"),
        (
            {"size": "40", "kernel": "3x3"},
            r"one number for --kernel, or as many as SIZE has axes \(1\); received: '3x3'",
        ),
        ({"size": "40", "kernel": "-1"}, "whole numbers with x between them for --kernel; received: '-1'"),
        ({"size": "40", "kernel": "3", "padding": "full"}, r"\(or valid, or same\) for --padding; received: 'full'"),
        ({"size": "3", "kernel": "5"}, "at least 5 for a kernel that spans 5"),
        ({"size": "40", "kernel": "3", "stride": "0"}, "stride of at least 1; received: 0"),
        ({"size": "1", "kernel": "3", "padding": "2", "transposed": True}, "Pad less"),
    ],
)
def test_output_size_refuses(arguments, message):
    """What is no number, or fits nowhere, is one line that says so."""
    with pytest.raises(InputError, match=message):
        output_size.run(**arguments)


def test_an_architecture_without_a_width_has_a_summary(monkeypatch, capsys):
    """As a plugin may have none; a width is refused then."""

    def build(*, input_shape, output_shape, variant="fixed"):  # noqa: ARG001 - as of architectures
        return mnist1d_conv.build(input_shape=input_shape, output_shape=output_shape)

    shapes = {"fixed": next(iter(mnist1d_conv.PAPER_SHAPES.values()))}
    module = SimpleNamespace(build=build, VARIANTS=shapes, PAPER_SHAPES=shapes)
    monkeypatch.setattr(summary.architectures, "load", lambda _name: module)
    summary.run("mnist1d_conv")
    printed = capsys.readouterr().out
    assert "mnist1d_conv fixed" in printed
    assert "width" not in printed
    with pytest.raises(InputError, match=r"expected no --width, which this architecture does not have; received: 0.5"):
        summary.run("mnist1d_conv", width=0.5)
