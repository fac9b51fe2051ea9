"""The metrics of the tasks by the rules of their benchmarks, in NumPy: one file, one task, and the file's name is the task's.

A task's file defines

- `METRICS`: the keys of metrics.json that published numbers can be compared with;
- `ERROR_KINDS`: the kinds into which errors are divided, which depend on which classes are similar; empty: errors are not divided;
- `evaluate`, which computes the numbers.
"""

from cnnkeras.by_name import Files

_files = Files(__name__, "a task")
names, load = _files.names, _files.load
