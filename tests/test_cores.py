"""Trainings side by side have a core each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.commands import repro
from pipeline.runtime import cores
from tests.tracked_project import environment

AFFINITY = "import os; from pipeline.backend import devices; devices.set_up(seed=1, threads={threads}); print(*os.sched_getaffinity(0))"
ALL = sorted(os.sched_getaffinity(0))


def siblings(folder: Path, cores_of: dict[int, str]) -> str:
    """Files that say which processors share a core, as Linux has them; their pattern."""
    for number, text in cores_of.items():
        file = folder / f"cpu{number}"
        file.write_text(text)
    return str(folder / "cpu{}")


@pytest.mark.parametrize(
    ("shared", "allowed", "expected"),
    [
        ({0: "0-1\n", 1: "0-1\n", 2: "2-3\n", 3: "2-3\n"}, {0, 1, 2, 3}, [0, 2]),
        ({0: "0,2\n", 1: "1,3\n", 2: "0,2\n", 3: "1,3\n"}, {0, 1, 2, 3}, [0, 1]),
        ({0: "0,2\n", 1: "1,3\n", 2: "0,2\n", 3: "1,3\n"}, {2, 3}, [2, 3]),
        ({0: "0\n", 1: "1\n"}, {0, 1}, [0, 1]),
        ({0: "0\n"}, {0, 1}, []),
    ],
    ids=["neighbours", "far apart", "a part of the machine", "one thread each", "not told"],
)
def test_cores_are_separate(shared, allowed, expected, tmp_path, monkeypatch):
    """Two processors of one core are one: no two trainings get them."""
    monkeypatch.setattr(cores, "_SIBLINGS", siblings(tmp_path, shared))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: allowed)
    assert cores.separate() == expected


@pytest.mark.parametrize(
    ("threads", "core", "expected"),
    [(1, ALL[-1], [ALL[-1]]), (None, ALL[-1], ALL), (1, 100_000, ALL), (1, "", ALL)],
    ids=["one thread", "all threads", "a core that is not ours", "none named"],
)
def test_only_a_training_of_one_thread_keeps_to_its_core(threads, core, expected):
    """The others need them all."""
    ended = subprocess.run(
        [sys.executable, "-c", AFFINITY.format(threads=threads)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=environment({cores.CORE: str(core)}),
    )
    assert sorted(map(int, ended.stdout.split())) == expected


class _Lines:
    environment = {}  # noqa: RUF012 - as of StageLines

    def read(self, *_facts, **_more) -> None: ...

    def end(self, _process) -> None: ...


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_chains_that_run_at_a_time_have_a_core_each(jobs, tmp_path, monkeypatch):
    """None has that of another, and a core that became free is given again. One at a time needs none of its own."""
    program = (
        f"import os, time, pathlib; core = os.environ.get({cores.CORE!r}, ''); "
        f"place = pathlib.Path({str(tmp_path)!r}); mine = place / f'busy{{core}}'; "
        "mine.touch(exist_ok=not core); time.sleep(0.5); core and mine.unlink(); "
        "(place / f'ran{os.getpid()} {core}').touch()"
    )
    monkeypatch.delenv(cores.CORE, raising=False)
    monkeypatch.setattr(repro, "_DVC", (sys.executable, "-c", program))
    monkeypatch.setattr(cores, "separate", lambda: [0, 1])
    parts = {name: repro.Chain((name,), frozenset(), 1, 0) for name in "abcde"}
    outcome = repro._run_chains(parts, jobs, frozenset(), _Lines(), keep_going=True)
    assert not outcome.failed
    used = [file.name.partition(" ")[2] for file in tmp_path.glob("ran*")]
    assert len(used) == 5
    assert set(used) == ({""} if jobs == 1 else {"0", "1"} if jobs == 2 else {"0", "1", ""})
