"""The losses that trainings minimise, and the metrics shown during training: one file, one task.

A task's file holds its loss and its metric as Keras classes, or functions that return those of Keras; `cnnkeras.tasks` builds them.
Importing this package does not import Keras; the first use of a name does.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "classification": ["CrossEntropy", "top_k_accuracies"],
        "detection": ["ResponsibleIoU", "YoloLoss"],
        "segmentation": ["SegmentationCrossEntropy", "ValidPixelAccuracy"],
    },
)
