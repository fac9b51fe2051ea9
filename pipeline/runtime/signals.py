"""Signals: ended in order by SIGTERM, ended with the parent, undisturbed for a moment."""

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
    """Turn SIGTERM into SystemExit (143 = 128 + SIGTERM, as shells report it), so that the clean-up runs."""

    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    former = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def end_with_parent(number: int, is_orphan: Callable[[], bool]) -> None:
    """Ask Linux for a signal when the parent ends, and end at once if it has ended already; elsewhere nothing happens.

    Args:
        number: The signal: SIGTERM lets this process clean up, SIGKILL does not.
        is_orphan: Whether the parent has ended already, before Linux was asked.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, number)
    if is_orphan():
        signal.raise_signal(number)


def is_adopted() -> bool:
    """Whether the parent is in another process group: it is then whoever adopts orphans, and not the process that started this one."""
    try:
        return os.getpgid(os.getppid()) != os.getpgrp()
    except ProcessLookupError:
        return True


@contextmanager
def signals_held() -> Iterator[None]:
    """Deliver Ctrl-C and SIGTERM only after the block. Other threads than the main one never get them."""
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
