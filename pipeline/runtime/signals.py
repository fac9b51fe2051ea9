"""Signals: clean up after Ctrl-C and SIGTERM, end with the parent process, hold signals back during a block.

An exception that a signal raises while a module is imported is no help: TensorFlow and others swallow it, or leave a half-imported
package and a traceback. In that moment the process ends at once, after the functions of `on_abrupt_end`.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM  # exit codes, as of a shell
SENTENCES = {
    INTERRUPTED: "Interrupted: nothing was half-written.",
    TERMINATED: "Ended by SIGTERM: nothing was half-written.",
}
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG in <linux/prctl.h>
_IMPORTING = "<frozen importlib"  # begins the file name of Python's own frames of an import

_clean_ups: list[Callable[[], None]] = []
_terminal = 2  # file descriptor; `devices` puts another file in place of 2 during an import


def end_at_once() -> None:
    """From now on end at once, with one line and the shell's exit code, on Ctrl-C and SIGTERM; nothing is cleaned up yet."""
    for number in _heard():
        signal.signal(number, lambda number, _frame: _end(number))


@contextmanager
def ends_on_signals() -> Iterator[None]:
    """While the block runs, raise KeyboardInterrupt on Ctrl-C and SystemExit on SIGTERM; during an import end at once."""
    global _terminal
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former, _terminal = _terminal, os.dup(2)
    handlers = {number: signal.signal(number, _leave) for number in _heard()}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(_terminal)
        _terminal = former


@contextmanager
def on_abrupt_end(clean_up: Callable[[], None]) -> Iterator[None]:
    """While the block runs, call a function if a signal ends the process during an import; nothing else cleans up then."""
    _clean_ups.append(clean_up)
    try:
        yield
    finally:
        _clean_ups.remove(clean_up)


def _heard() -> list[int]:
    """SIGINT and SIGTERM without those that whoever started this process made it deaf to, as `nohup` and shells do."""
    return [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]


def _leave(number: int, frame: FrameType | None) -> None:
    while frame:
        if frame.f_code.co_filename.startswith(_IMPORTING):
            _end(number)
        frame = frame.f_back
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def _end(number: int) -> NoReturn:
    for clean_up in reversed(_clean_ups):
        with suppress(Exception):
            clean_up()
    with suppress(OSError):
        os.write(_terminal, f"{SENTENCES[128 + number]}\n".encode())
    os._exit(128 + number)


def end_with_parent(number: int, is_orphan: Callable[[], bool]) -> None:
    """Have Linux send a signal to this process when its parent ends, or at once if it has ended; on other systems do nothing.

    Args:
        number: The signal: SIGTERM lets this process clean up, SIGKILL does not.
        is_orphan: Returns whether the parent ended before Linux was asked.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes  # a tenth of the time of the help

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
