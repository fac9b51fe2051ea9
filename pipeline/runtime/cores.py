"""A core of its own for each training that uses one core, beside others.

The threads of a training with `threads: 1` take turns. Left to the system, those of two trainings side by side change cores and wait for
each other: a step then takes 10 to 15 % longer than with a core for each. `cnnkeras repro` gives every chain of stages a core; only a
training that uses one core keeps to it. The numbers are the same on any core.
"""

import os
from pathlib import Path

CORE = "CNNKERAS_CORE"  # variable of the environment: number of the core that a training may have for itself
_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def separate() -> list[int]:
    """One processor of each core that this process may use, by the system's numbers; none where the system does not tell.

    A core with two hardware threads is two processors to the system, and two trainings on it would halve each other.
    """
    if not hasattr(os, "sched_getaffinity"):
        return []
    first: dict[str, int] = {}
    for number in sorted(os.sched_getaffinity(0)):
        try:
            core = Path(_SIBLINGS.format(number)).read_text(encoding="ascii")
        except OSError:
            return []
        first.setdefault(core, number)
    return list(first.values())


def keep_to_own() -> None:
    """Run this thread, and the threads that it starts from now on, on the core that the environment names, if it names one."""
    core = os.environ.get(CORE, "")
    if core.isdecimal() and int(core) in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {int(core)})
