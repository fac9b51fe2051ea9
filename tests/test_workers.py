"""Worker processes that somebody else ends."""

import os
import signal
import time

import pytest

from pipeline.runtime.errors import InputError
from pipeline.runtime.workers import ordered_map


def answer(task: int) -> int:
    """The task itself; the third one ends its process, as the system does when memory is short."""
    if task == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def test_a_killed_worker_is_one_line():
    """Within seconds, and with what to do; the results before it have come."""
    begin, received = time.monotonic(), []
    with (
        pytest.raises(InputError, match="one was killed"),
        ordered_map(answer, range(100), workers=2, initializer=int) as results,
    ):
        received.extend(results)
    assert received == list(range(len(received)))
    assert len(received) < 4
    assert time.monotonic() - begin < 60
