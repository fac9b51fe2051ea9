"""What a model says of one image, in names and numbers: one file for each task, and the file's name is the task's.

Whoever shows, writes or serves predictions takes them from here, so that all say the same to the last digit. A task's file defines

- `COLUMNS`: the keys of a row and the types of their values;
- `FILES`: names of the files that a prediction has besides its rows;
- `answer(outputs, shape, classes, settings, frame) -> Answer`, which takes a model's outputs for an image (or a signal), the image's height and width, the
  class names, the keyword arguments of the task's `postprocess`, and where the image lies in the model's input (`Fit.frame`; None: it fills it).
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnnkeras.by_name import Files

_files = Files(__name__, "a task")
names, load = _files.names, _files.load

# In text, numbers are rounded: probabilities and scores, and boxes in pixels.
SCORE_DECIMALS = 6
PIXEL_DECIMALS = 2


@dataclass(frozen=True)
class Answer:
    """What a model says of one image.

    Attributes:
        rows: Predictions, each with the task's `COLUMNS`.
        files: Predictions that are no rows: content by the file's name.
    """

    rows: Sequence[Mapping[str, Any]]
    files: Mapping[str, bytes] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The rows as `predictions`, and each file in base64, by its name without the ending."""
        files = {Path(name).stem: base64.b64encode(content).decode() for name, content in self.files.items()}
        return {"predictions": [dict(row) for row in self.rows], **files}
