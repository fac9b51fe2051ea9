"""A classifier turned into a network that slides over larger images.

Sermanet et al. (2014), OverFeat, section 3.3; Simonyan & Zisserman (2014), Very Deep Convolutional Networks, section 3.2: the
first fully connected layer becomes a convolution as large as the map it sees, the others become 1x1 convolutions. On a
image of the size that the classifier was built for, the result is the same function; on a larger one it is a map of scores.
It differs from the classifier applied to every crop in one way: what a convolution pads in a crop is, here, its
neighbourhood.

Departures from the paper: none. A network that ends in global average pooling gets a window of average pooling instead, which
is the same statement for it.
"""

import keras


def to_fully_convolutional(network: keras.Model) -> keras.Model:
    """The same weights, as a network of images (batch, height, width, channels) of any size not below the original's.

    Args:
        network: Images (batch, H, W, channels) to logits (batch, C); a Flatten or a global average pooling stands before
            its first fully connected layer.

    Returns:
        Images to a map of logits (batch, height', width', C); (batch, 1, 1, C) at H x W.

    Raises:
        ValueError: The network has no such layer, or its outputs are no logits (batch, C).
    """
    bridges = [
        layer
        for layer in network.layers
        if isinstance(layer, keras.layers.Flatten | keras.layers.GlobalAveragePooling2D)
    ]
    if len(bridges) != 1 or len(network.output_shape) != 2:
        raise ValueError(
            "expected a classifier with one Flatten or GlobalAveragePooling2D before its fully connected layers; "
            f"received: {network.name} with {len(bridges)} of them and outputs {network.output_shape}"
        )
    (bridge,) = bridges
    window = tuple(bridge.input.shape[1:3])
    first = next(layer for layer in network.layers if isinstance(layer, keras.layers.Dense))
    kernels = {first.name: window} if isinstance(bridge, keras.layers.Flatten) else {}

    def convolutional(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.Flatten):
            return keras.layers.Identity(name=layer.name)
        if isinstance(layer, keras.layers.GlobalAveragePooling2D):
            return keras.layers.AveragePooling2D(window, strides=1, dtype=layer.dtype_policy, name=layer.name)
        if isinstance(layer, keras.layers.Dense):
            return keras.layers.Conv2D(
                layer.units,
                kernels.get(layer.name, 1),
                activation=layer.activation,
                use_bias=layer.use_bias,
                dtype=layer.dtype_policy,
                name=layer.name,
            )
        return layer.__class__.from_config(layer.get_config())

    inputs = keras.Input((None, None, network.input_shape[-1]), name="inputs")
    result = keras.models.clone_model(network, input_tensors=inputs, clone_function=convolutional)
    for layer in network.layers:
        new = result.get_layer(layer.name) if layer.weights else None
        if isinstance(layer, keras.layers.Dense):
            kernel, *bias = layer.get_weights()
            # Flatten is row-major: the kernel's first axis is (y, x, channel).
            new.set_weights([kernel.reshape(new.kernel.shape), *bias])
        elif new is not None:
            new.set_weights(layer.get_weights())
    return result
