"""Losses that the papers define and Keras lacks; importing this package does not import Keras, touching a name does."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "segmentation": ["SegmentationCrossEntropy", "ValidPixelAccuracy"],
        "detection": ["ResponsibleIoU", "YoloLoss"],
    },
)
