"""Work spread over processes that never outlive their parent, with results in the order of the tasks."""

import ctypes
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the one with process id `parent`, which started it, ends (Linux only)."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # the parent ended before the kernel was told


def _start_worker(parent: int, initializer: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    die_with_parent(parent)
    # Ctrl-C goes to the whole process group; the parent alone decides what to do with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    initializer(*arguments)


def ordered_map(
    function: Callable[[Any], Any],
    tasks: Iterable[Any],
    *,
    workers: int,
    initializer: Callable[..., None],
    arguments: tuple[Any, ...] = (),
) -> Iterator[Any]:
    """Yield `function(task)` of each task, in the order of `tasks`, computed by `workers` processes.

    At most 2 x `workers` + 1 tasks are under way, so memory does not grow with their number. With one worker everything runs
    in this process.

    Args:
        function: Of a module's top level, so that it can be found from another process.
        tasks: Read in this process, one at a time.
        workers: At least 1.
        initializer: Called once in every worker with `arguments`, before its first task.

    Raises:
        Whatever `function` raises; the processes are stopped first.
    """
    if workers < 1:
        raise ValueError(f"expected at least 1 worker; received: {workers}")
    if workers == 1:
        initializer(*arguments)
        yield from map(function, tasks)
        return
    # Forked before this process starts any thread of its own: a worker starts in milliseconds, where importing what it
    # needs afresh takes seconds.
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("fork"),
        initializer=_start_worker,
        initargs=(os.getpid(), initializer, arguments),
    )
    waiting: deque[Any] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(function, task))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
