"""The first experiment that `cnnkeras inspect` suggests: a file for each task, of its name.

It holds `ARCHITECTURE`, `MODEL` (its arguments), `MAX_SIDE` (of the input, in pixels, for a start) and `postprocess(classes)`, the section of
that name for a number of classes.
"""

from cnnkeras.by_name import Files

_files = Files(__name__, "a task")
names, load = _files.names, _files.load
