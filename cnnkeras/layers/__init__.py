"""Layers that the papers need and Keras lacks; importing this package does not import Keras, touching a name does."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "grouped_convolution": ["GroupedConv2D"],
        "local_response_normalization": ["LocalResponseNormalization"],
        "standardize": ["build_standardize"],
        "unpooling": ["MaxPoolingWithSwitches", "MaxUnpooling"],
    },
)
