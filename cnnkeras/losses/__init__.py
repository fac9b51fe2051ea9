"""What a training minimises, and the metrics that it shows: one file, one task.

A task's file holds its loss and its metric as Keras classes, or functions that give Keras' own; `cnnkeras.tasks` builds them. Importing
this package does not import Keras; touching a name does.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "classification": ["cross_entropy", "top_k_accuracies"],
        "detection": ["ResponsibleIoU", "YoloLoss"],
        "segmentation": ["SegmentationCrossEntropy", "ValidPixelAccuracy"],
    },
)
