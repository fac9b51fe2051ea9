"""Work spread over processes that never outlive their parent, with results in the order of the tasks."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import cv2

from pipeline.runtime.signals import end_with_parent


def available() -> int:
    """How many processes this one may keep busy."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def ordered_map(
    function: Callable[[Any], Any],
    tasks: Iterable[Any],
    *,
    workers: int,
    initializer: Callable[..., None],
    arguments: tuple[Any, ...] = (),
) -> Iterator[Iterator[Any]]:
    """`function(task)` of each task, in the order of `tasks`, computed by `workers` processes while the block runs.

    At most 2 x `workers` + 1 tasks are under way, so memory does not grow with their number. With one worker everything
    runs in this process. The processes have ended when the block has, however it ends.

    Args:
        function: Of a module's top level, so that it can be found from another process.
        tasks: Read in this process, one at a time.
        workers: At least 1.
        initializer: As for `pool`, and `arguments` too.

    Raises:
        Whatever `function` raises.
    """
    if workers == 1:
        initializer(*arguments)
        yield map(function, tasks)
        return
    with pool(workers, initializer=initializer, arguments=arguments) as executor:
        yield _in_order(executor, function, tasks, under_way=2 * workers + 1)


@contextmanager
def pool(
    workers: int, *, initializer: Callable[..., None], arguments: tuple[Any, ...] = ()
) -> Iterator[ProcessPoolExecutor]:
    """Processes that exist while the block runs, forked from this one before it begins; each on one core, as far as OpenCV goes.

    Args:
        workers: At least 1.
        initializer: Called once in every worker with `arguments`, before its first task.
        arguments: Inherited by the workers as they are, not pickled.
    """
    if workers < 1:
        raise ValueError(f"expected at least 1 worker; received: {workers}")
    # A forked worker starts in milliseconds, where importing what it needs afresh takes seconds.
    executor = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("fork"),
        initializer=_start_worker,
        initargs=(os.getpid(), initializer, arguments),
    )
    try:
        # The first task forks all of them: now, before the caller starts threads (a progress bar's), which no fork copies.
        with _no_threads_of_opencv():
            executor.submit(int).result()
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _no_threads_of_opencv() -> Iterator[None]:
    """While the block forks: no fork copies threads, but OpenCV's list of them, and a child would wait for those for ever."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _in_order(
    executor: ProcessPoolExecutor, function: Callable[[Any], Any], tasks: Iterable[Any], *, under_way: int
) -> Iterator[Any]:
    waiting: deque[Future] = deque()
    for task in tasks:
        waiting.append(executor.submit(function, task))
        if len(waiting) == under_way:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _start_worker(parent: int, initializer: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    end_with_parent(signal.SIGKILL, lambda: os.getppid() != parent)
    # Ctrl-C goes to the whole process group; the parent alone decides what to do with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the parent's handler cleans up what is the parent's
    initializer(*arguments)
