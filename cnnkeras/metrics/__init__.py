"""Figures of merit by their benchmarks' own rules, in NumPy: one file, one task, and the file's name is the task's.

A task's file defines

- `METRICS`: the keys of metrics.json that a published number can stand beside;
- `ERROR_KINDS`: what errors are told apart by, where classes may be similar; empty: they are not;
- `evaluate`, which gives the numbers.
"""

from cnnkeras.by_name import Files

_files = Files(__name__, "a task")
names, load = _files.names, _files.load
