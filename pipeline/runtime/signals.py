"""Signals: clean up after SIGTERM, end with the parent process, hold signals back during a block."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG in <linux/prctl.h>


@contextmanager
def ends_on_sigterm() -> Iterator[None]:
    """Raise SystemExit on SIGTERM while the block runs, so that clean-up code runs; exit code 143 = 128 + SIGTERM, as in a shell."""

    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    former = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def end_with_parent(number: int, is_orphan: Callable[[], bool]) -> None:
    """Have Linux send a signal to this process when its parent ends, or at once if it has ended; on other systems do nothing.

    Args:
        number: The signal: SIGTERM lets this process clean up, SIGKILL does not.
        is_orphan: Returns whether the parent ended before Linux was asked.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, number)
    if is_orphan():
        signal.raise_signal(number)


def is_adopted() -> bool:
    """Whether this process is an orphan: a parent in another process group has adopted it and did not start it."""
    try:
        return os.getpgid(os.getppid()) != os.getpgrp()
    except ProcessLookupError:
        return True


@contextmanager
def signals_held() -> Iterator[None]:
    """Deliver Ctrl-C and SIGTERM after the block. Python delivers signals to the main thread; in other threads this does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    former = {
        number: signal.signal(number, lambda number, _frame: received.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        for number in received:
            signal.raise_signal(number)
