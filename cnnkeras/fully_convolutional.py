"""A classifier turned into a fully convolutional model, which slides over larger images.

Sermanet et al. (2014), OverFeat, section 3.3; Simonyan & Zisserman (2014), Very Deep Convolutional Networks, section 3.2: the
first fully connected layer becomes a convolution whose kernel covers the layer's input map, the others become 1x1 convolutions. On an
image of the classifier's input size the result is the same function; on a larger image it is a map of scores. The map differs from the
classifier's scores of every crop in one way: where a convolution pads a crop with zeros, here it reads the pixels around the crop.

Departures from the paper: none. Global average pooling, which the papers' networks do not have, becomes average pooling over windows as large
as the classifier's last map.
"""

import keras


def to_fully_convolutional(model: keras.Model) -> keras.Model:
    """A model with the same weights for images (batch, height, width, channels) of any size from the classifier's on.

    Args:
        model: A classifier: images (batch, H, W, channels) to logits (batch, C), with one Flatten or global average pooling before
            its first fully connected layer.

    Returns:
        A model from images to a map of logits (batch, height', width', C); (batch, 1, 1, C) for images of H x W.

    Raises:
        ValueError: The model does not have one such layer, or its outputs are not logits (batch, C).
    """
    bridges = [
        layer for layer in model.layers if isinstance(layer, keras.layers.Flatten | keras.layers.GlobalAveragePooling2D)
    ]
    if len(bridges) != 1 or len(model.output_shape) != 2:
        raise ValueError(
            "expected a classifier with one Flatten or GlobalAveragePooling2D before its fully connected layers; "
            f"received: {model.name} with {len(bridges)} of them and outputs {model.output_shape}"
        )
    (bridge,) = bridges
    window = tuple(bridge.input.shape[1:3])
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
    kernel_sizes = {first.name: window} if isinstance(bridge, keras.layers.Flatten) else {}

    def convolutional(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.Flatten):
            return keras.layers.Identity(name=layer.name)
        if isinstance(layer, keras.layers.GlobalAveragePooling2D):
            return keras.layers.AveragePooling2D(window, strides=1, dtype=layer.dtype_policy, name=layer.name)
        if isinstance(layer, keras.layers.Dense):
            return keras.layers.Conv2D(
                layer.units,
                kernel_sizes.get(layer.name, 1),
                activation=layer.activation,
                use_bias=layer.use_bias,
                dtype=layer.dtype_policy,
                name=layer.name,
            )
        return layer.__class__.from_config(layer.get_config())

    inputs = keras.Input((None, None, model.input_shape[-1]), name="inputs")
    result = keras.models.clone_model(model, input_tensors=inputs, clone_function=convolutional)
    for layer in model.layers:
        copy = result.get_layer(layer.name) if layer.weights else None
        if isinstance(layer, keras.layers.Dense):
            kernel, *bias = layer.get_weights()
            # Flatten is row-major: the kernel's first axis is (y, x, channel).
            copy.set_weights([kernel.reshape(copy.kernel.shape), *bias])
        elif copy is not None:
            copy.set_weights(layer.get_weights())
    return result
