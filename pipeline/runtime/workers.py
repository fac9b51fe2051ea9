"""Tasks spread over worker processes, which end with their parent; results come in the order of the tasks."""

import multiprocessing
import os
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import lazy_loader

from pipeline.runtime import plugins
from pipeline.runtime.errors import InputError
from pipeline.runtime.signals import end_with_parent

cv2 = lazy_loader.load("cv2")  # takes 30 ms to import, which commands that start no workers save


def available() -> int:
    """Number of cores that this process may use."""
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

    At most 2 x `workers` + 1 tasks are under way, so memory does not grow with the number of tasks. With one worker, this process
    does everything. However the block ends, the worker processes have ended by then.

    Args:
        function: Of a module's top level, so that a worker can import it.
        tasks: Read by this process, one at a time.
        workers: Number of processes, at least 1.
        initializer: As for `pool`.
        arguments: As for `pool`.

    Raises:
        Exception: The one that `function` raised.
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
    """Worker processes for the block, forked before it begins; OpenCV uses one thread in each.

    Args:
        workers: Number of processes, at least 1.
        initializer: Called once in each worker with `arguments`, before its first task.
        arguments: Inherited by the workers, not pickled.

    Raises:
        ValueError: `workers` is less than 1.
        InputError: A worker process was killed.
    """
    if workers < 1:
        raise ValueError(f"expected at least 1 worker; received: {workers}")
    # A forked worker starts in milliseconds; a new process takes seconds to import its modules.
    executor = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("fork"),
        initializer=_start_worker,
        initargs=(os.getpid(), initializer, arguments),
    )
    try:
        # The first task forks all workers: now, before the caller starts threads (a progress bar's), which a fork does not copy.
        with _no_threads_of_opencv():
            executor.submit(int).result()
        yield executor
    except BrokenProcessPool as error:
        raise InputError(
            f"expected {workers} worker processes to live as long as they have work; received: one was killed, as the system does "
            "where memory is short. Run it again with fewer workers, or with less beside it; nothing was half-written"
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _no_threads_of_opencv() -> Iterator[None]:
    """Stop OpenCV's threads while the block forks: a fork copies OpenCV's list of them but not the threads, and a child would wait for ever."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def call_in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a child process, which is a copy of this one and ends with it; returns what the function returns.

    What the function starts, imports or takes of memory and devices ends with the child. This process must not have started threads of a
    library, such as those of Keras' backend: the copy has no threads.

    Args:
        function: Its result can be pickled.
        arguments: Inherited by the child, not pickled.

    Raises:
        InputError: The child was killed.
        Exception: The one that the function raised.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(sender, os.getpid(), function, arguments))
    with _no_threads_of_opencv():
        child.start()
    sender.close()
    try:
        is_result, value = receiver.recv()
    except EOFError:
        child.join()
        raise InputError(
            f"expected a process that lives to the end of its work; received: one that ended with code {child.exitcode}, as if it was "
            "killed, which the system does where memory is short"
        ) from None
    except BaseException:  # Ctrl-C, SIGTERM
        child.kill()
        raise
    finally:
        child.join()
    if not is_result:
        raise value
    return value


def _answer(sender: Connection, parent: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Main function of the child of `call_in_child`."""
    _end_with(parent)
    try:
        answer = (True, function(*arguments))
    except Exception as error:
        if sentence := plugins.said(error):
            error = InputError(sentence)
        elif not isinstance(error, InputError):
            error.add_note("".join(traceback.format_exception(error)))  # a traceback is not pickled
        answer = (False, error)
    sender.send(answer)


def _in_order(
    executor: ProcessPoolExecutor, function: Callable[[Any], Any], tasks: Iterable[Any], *, under_way: int
) -> Iterator[Any]:
    waiting: deque[Future] = deque()
    for task in tasks:
        waiting.append(executor.submit(_task, function, task))
        if len(waiting) == under_way:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _task(function: Callable[[Any], Any], task: Any) -> Any:
    """Run a task; of an error of a plugin's only the sentence comes back, as its traceback stays here."""
    try:
        return function(task)
    except Exception as error:
        if sentence := plugins.said(error):
            raise InputError(sentence) from error
        raise


def _start_worker(parent: int, initializer: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    _end_with(parent)
    initializer(*arguments)


def _end_with(parent: int) -> None:
    """In a forked process: end with the parent, and by no signal that the parent acts on."""
    end_with_parent(signal.SIGKILL, lambda: os.getppid() != parent)
    # Ctrl-C reaches the whole process group; only the parent acts on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the inherited handler would clean up the parent's files
