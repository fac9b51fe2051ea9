"""What a training computes of targets and outputs, as Keras' classes: the losses, and the metrics shown during training. One file, one task.

`cnnkeras.losses` and `cnnkeras.tasks` build them. Importing this package does not import Keras; the first use of a name does.
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
