"""Python's collection of garbage, where it costs time and finds nothing."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Without garbage collection: for what makes many objects that live until the end, a large import or a short command.

    That is a tenth of a short command's time and a sixth of the import of Keras. Another tenth is the collection at the end of the
    process, which then looks at nothing that was there before.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
