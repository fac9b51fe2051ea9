"""Trainings side by side have a core each, and a GPU each where there are some."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import networkx
import pytest

from pipeline.backend import gpus
from pipeline.commands import repro
from pipeline.commands.shares import computing
from pipeline.runtime import cores, definition
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
    monkeypatch.setattr(gpus, "separate", lambda _backend: [])
    jobs, shares = repro._shares(jobs, {})
    outcome = repro._run_chains(parts, jobs, shares, frozenset(), _Lines(), keep_going=True)
    assert not outcome.failed
    used = [file.name.partition(" ")[2] for file in tmp_path.glob("ran*")]
    assert len(used) == 5
    assert set(used) == ({""} if jobs == 1 else {"0", "1"} if jobs == 2 else {"0", "1", ""})


RUNS = """
import json, os, pathlib, sys, time
place, begin = pathlib.Path({place!r}), time.monotonic()
time.sleep(0.7)
line = {{"stage": sys.argv[-1], "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "times": [begin, time.monotonic()]}}
(place / f"ran-{{os.getpid()}}").write_text(json.dumps(line))
"""


def overlap(one: dict, other: dict) -> bool:
    return one["times"][0] < other["times"][1] and other["times"][0] < one["times"][1]


def test_a_training_has_a_gpu_and_light_stages_run_beside(project, tmp_path, monkeypatch):
    """No two at a time have one GPU, both GPUs are used, and what computes nothing with Keras waits for none and sees what was there."""
    assert project.params.is_file()
    monkeypatch.setattr(repro, "_DVC", (sys.executable, "-c", RUNS.format(place=str(tmp_path))))
    monkeypatch.setattr(gpus, "separate", lambda _backend: ["GPU-a", "GPU-b"])
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    values = definition.read_yaml(project.params)
    jobs, shares = repro._shares(6, values)
    heavy = [f"{stage}@{name}" for stage in ("train", "predict") for name in ("crops", "boxes", "masks")]
    light = [f"augment@{name}" for name in ("crops", "boxes", "masks")]
    parts = {name: repro.Chain((name,), frozenset(), 1, 0) for name in (*heavy, *light)}
    outcome = repro._run_chains(parts, jobs, shares, frozenset(), _Lines(), keep_going=False)
    assert (outcome.failed, outcome.skipped) == ([], [])
    ran = {line["stage"]: line for line in (json.loads(file.read_text()) for file in tmp_path.glob("ran-*"))}
    assert sorted(ran) == sorted((*heavy, *light))
    assert {name: ran[name]["gpu"] for name in light} == dict.fromkeys(light)
    assert {ran[name]["gpu"] for name in heavy} == {"GPU-a", "GPU-b"}
    pairs = [(ran[one], ran[other]) for one in heavy for other in heavy if one < other]
    assert not [pair for pair in pairs if overlap(*pair) and pair[0]["gpu"] == pair[1]["gpu"]]
    assert any(overlap(ran[one], ran[other]) for one in heavy for other in light)


def test_a_gpu_is_held_only_by_what_computes(project):
    """The stages that depend on the backend in params.yaml; a chain of others follows. Without a GPU, and one stage at a time, nothing is cut."""
    values = definition.read_yaml(project.params)
    stages = {stage.partition("@")[0] for stage in computing(values)}
    assert stages == {"train", "predict"}
    labels = [f"{stage}@crops" for stage in ("augment", "train", "predict", "postprocess", "evaluate")]
    graph = networkx.DiGraph(itertools.pairwise(labels))
    assert [chain.stages for chain in repro.chains(graph).values()] == [tuple(labels)]
    cut = [chain.stages for chain in repro.chains(graph, apart=computing(values)).values()]
    assert cut == [tuple(labels[:1]), tuple(labels[1:3]), tuple(labels[3:])]


@pytest.mark.parametrize("jobs", [None, 1, 2])
def test_the_number_of_jobs_grows_with_the_gpus(jobs, project, monkeypatch):
    """One training each, and as many stages beside as without; one at a time has no share and may use all."""
    values = definition.read_yaml(project.params)
    monkeypatch.setattr(repro, "available", lambda: 64)
    monkeypatch.setattr(gpus, "separate", lambda _backend: list("01234567"))
    number, shares = repro._shares(jobs, values)
    assert number == (jobs or 12)
    assert bool(shares.on_gpus) == (jobs != 1)


LISTED = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6-d33d)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-6e6cb1e7-e44e)
  MIG 3g.20gb     Device  0: (UUID: MIG-aaaa)
  MIG 3g.20gb     Device  1: (UUID: MIG-bbbb)
GPU 2: NVIDIA A100-SXM4-40GB (UUID: GPU-7f7dc2f8-f55f)
"""


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (None, ["GPU-5d5ba0d6-d33d", "MIG-aaaa", "MIG-bbbb", "GPU-7f7dc2f8-f55f"]),
        ("", []),
        ("2, 0", ["2", "0"]),
        ("1,-1,0", ["1"]),
        ("NoDevFiles", []),
        ("GPU-7f7dc2f8-f55f", ["GPU-7f7dc2f8-f55f"]),
    ],
)
def test_gpus_are_counted_by_the_driver_s_own_list(stated, expected, tmp_path, monkeypatch):
    """By nvidia-smi, a part of a GPU in place of it; of those that CUDA_VISIBLE_DEVICES leaves, as CUDA reads it."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n[ \"$*\" = -L ] && cat <<'END'\n{LISTED}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    if stated is not None:
        monkeypatch.setenv(gpus.VISIBLE, stated)
    monkeypatch.setattr(gpus, "_has_kernels", lambda _backend: True)
    assert gpus.separate("tensorflow") == expected


def test_gpus_without_nvidia_smi_or_without_kernels(tmp_path, monkeypatch):
    """The driver's folders are counted; none, where the installed backend computes on the processor alone."""
    for number in range(3):
        (tmp_path / "driver" / f"0000:0{number}:00.0").mkdir(parents=True)
    monkeypatch.setattr(gpus, "_LIST", ("no-such-program", "-L"))
    monkeypatch.setattr(gpus, "_DRIVER", str(tmp_path / "driver"))
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    versions = {"tensorflow": "2.21.0"}
    monkeypatch.setattr(gpus, "version", versions.get)
    assert gpus.separate("tensorflow") == ["0", "1", "2"]
    versions["tensorflow-cpu"] = "2.21.0"
    assert gpus.separate("tensorflow") == []
    assert gpus.separate("torch") == ["0", "1", "2"]
    versions["torch"] = "2.13.0+cpu"
    assert gpus.separate("torch") == []
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert gpus.separate("jax") == []
