"""Layers of the papers that Keras lacks. Importing this package does not import Keras; the first use of a name does."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "grouped_convolution": ["GroupedConv2D"],
        "local_response_normalization": ["LocalResponseNormalization"],
        "locally_connected": ["LocallyConnected2D"],
        "standardize": ["build_standardize"],
        "unpooling": ["MaxPoolingWithSwitches", "MaxUnpooling"],
    },
)


def register() -> None:
    """Register the layers with Keras, which otherwise cannot load models that contain them. Imports Keras."""
    for name in __all__:
        __getattr__(name)  # importing a layer's module registers it
