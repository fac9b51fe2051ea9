"""Layers around a model that leaves this project: they take images as they are and give what a person wants to know.

What the pipeline does with NumPy and OpenCV before and after a model, these do in `keras.ops`, so that it is part of an exported file.
Importing this package does not import Keras; the first use of a name does.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "combining": ["CombinePosteriors"],
        "detections": ["DetectBoxes"],
        "fitting": ["FitImages"],
        "label_maps": ["LabelMaps"],
        "stretching": ["ResizeImages"],
    },
)


def register() -> None:
    """Register these layers and those of `cnnkeras.layers` with Keras, which otherwise cannot load an exported .keras file."""
    from cnnkeras import layers

    layers.register()
    for name in __all__:
        __getattr__(name)  # importing a layer's module registers it
