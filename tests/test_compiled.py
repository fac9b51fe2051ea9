"""JAX's persistent cache: a later start reads what an earlier one compiled, and no bit changes, whatever happens to the cache."""

import os
import shutil
from pathlib import Path

import pytest

from tests.killed_training import TRAIN, VARIABLES, outputs, write_small_project
from tests.test_environment import python
from tests.test_train_predict import finish, start

JAX, NONE = VARIABLES["jax"], {"JAX_ENABLE_COMPILATION_CACHE": "false"}
STEP = "jit_train_step-"  # Keras' name for the step of a training
PLACE = """
import os, sys
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])
from pipeline.backend import devices
devices.set_up(seed=1, threads=int(sys.argv[2]) or None)
import jax
print(jax.config.jax_compilation_cache_dir)
"""


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A project in which a training compiled everything and kept nothing, and the digests of what it gave."""
    root = write_small_project(tmp_path_factory.mktemp("reference") / "project", "jax")
    train(root, **NONE)
    assert not (root / ".cnnkeras/compiled").exists() or not programs(root)
    return root, outputs(root, "simple")


@pytest.fixture
def root(reference, tmp_path: Path) -> Path:
    """A copy of the project, in which nothing was trained or compiled."""
    return shutil.copytree(reference[0], tmp_path / "project", ignore=shutil.ignore_patterns("results", ".cnnkeras"))


def programs(root: Path) -> list[Path]:
    return sorted((root / ".cnnkeras/compiled").glob("*/*-cache"))


def train(*roots: Path, **variables: str) -> None:
    """Train in each place at the same time, and check that what is said is of the training: JAX' warnings would be among it."""
    processes = [start(TRAIN, root, "simple", **JAX, **variables) for root in roots]
    for said in ["".join(finish(process)) for process in processes]:
        assert all(line.startswith("train simple") for line in said.splitlines()), said


def test_a_second_start_reads_the_step_and_changes_no_bit(reference, root):
    """Also after a kill while programs were written, which leaves them cut and without the time of their use: these are compiled again."""
    train(root)
    (step,) = [file for file in programs(root) if file.name.startswith(STEP)]
    used = step.with_name(step.name.replace("-cache", "-atime"))
    before = used.read_bytes(), step.stat().st_mtime_ns, step.stat().st_size
    assert outputs(root, "simple") == reference[1]
    train(root)
    assert (used.read_bytes() != before[0], step.stat().st_mtime_ns) == (True, before[1])
    assert outputs(root, "simple") == reference[1]
    for number, file in enumerate(programs(root)):
        file.write_bytes(file.read_bytes()[:1000])
        time = file.with_name(file.name.replace("-cache", "-atime"))
        time.unlink() if number % 2 or file == step else time.write_bytes(b"1234")
    train(root)
    assert step.stat().st_size == pytest.approx(before[2], rel=0.1)
    assert outputs(root, "simple") == reference[1]


def test_processes_share_a_cache_that_is_bounded(reference, root, tmp_path):
    """Two begin at once without a program; both have the bytes of a training alone, and what was not used for the longest time goes."""
    other, limit = shutil.copytree(root, tmp_path / "other"), 150_000
    for place in (root, other):
        (place / ".cnnkeras").mkdir()
    (root / ".cnnkeras/compiled").mkdir()
    (other / ".cnnkeras/compiled").symlink_to(root / ".cnnkeras/compiled")
    train(root, other, JAX_COMPILATION_CACHE_MAX_SIZE=str(limit))
    assert 0 < sum(file.stat().st_size for file in programs(root)) <= limit
    assert outputs(root, "simple") == outputs(other, "simple") == reference[1]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_what_was_compiled_for_one_core_is_not_taken_on_two(root, monkeypatch):
    """JAX gives both programs one name, but divides them among the cores when it compiles. One thread on two cores is one core."""
    monkeypatch.chdir(root)
    one, other, thread = [python(PLACE, *machine, **JAX) for machine in (("1", "0"), ("2", "0"), ("2", "1"))]
    assert one != other
    assert thread == one


def test_where_the_cache_lies(root, monkeypatch, tmp_path):
    """In the project; nowhere outside of one and where its folder cannot be made; where the user says."""
    monkeypatch.chdir(root)
    assert Path(python(PLACE, "1", "1", **JAX)).parent == root / ".cnnkeras/compiled"
    own = str(tmp_path / "own")
    assert python(PLACE, "1", "1", **JAX, JAX_COMPILATION_CACHE_DIR=own) == own
    shutil.rmtree(root / ".cnnkeras")
    (root / ".cnnkeras").write_text("in its place")
    assert python(PLACE, "1", "1", **JAX) == "None"
    monkeypatch.chdir(tmp_path)
    assert python(PLACE, "1", "1", **JAX, KERAS_BACKEND="jax") == "None"
