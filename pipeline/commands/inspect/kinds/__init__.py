"""Recognisers: a file for each kind of source that data may be, of its name.

It has a function

    recognise(data) -> Found | None

that tells by names, and by as few files as are needed, whether a folder or an archive is of this kind. `RANK` says who is asked first: a kind
whose layout others would take for theirs has the smaller number.
"""

from cnnkeras.by_name import Files

_files = Files(__name__, "a kind with a recogniser")
names, load = _files.names, _files.load
