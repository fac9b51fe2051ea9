"""Metrics in NumPy: one file, one metric. A task's own, by the rules of its benchmarks, is the file of its name; `evaluate: {metrics: [{name: NAME}]}` adds others.

A metric's file defines

- `TASKS`: the tasks whose predictions it takes;
- `METRICS`: the keys that it writes into metrics.json;
- `measure(predictions, truth, *, classes)`: a number for each of these keys, NaN where it is not defined, of predictions on a whole split and
  what was annotated. Further keyword-only arguments are the settings beside `name`, and their annotations the ranges. What the first two are
  says the task:

  | task | predictions | truth |
  | --- | --- | --- |
  | classification | probabilities, float (n, C) | labels, int (n,) |
  | detection | `cnnkeras.boxes.Detections`, in pixels of the original images | `cnnkeras.boxes.Objects` |
  | segmentation | a sequence of label maps, uint8 (H, W) each, 0 background | a sequence of the same sizes, 255 void |

  `classes` is C, without a background.

That of a task defines besides

- `ERROR_KINDS`: the kinds into which errors are divided, which depend on which classes are similar; empty: errors are not divided.

Published numbers can be compared with the `METRICS` of a task's own file.
"""

from cnnkeras.by_name import Files

DEFINES = ("TASKS", "METRICS", "measure")
SUPPLIED = ("classes",)  # to `measure`, by the data

_files = Files(__name__, "a metric")
names, load = _files.names, _files.load
