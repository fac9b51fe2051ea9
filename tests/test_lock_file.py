"""dvc.lock as `cnnkeras repro` writes it has the bytes that DVC writes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.copied_project import REPOSITORY

DVC_YAML = """
stages:
  first:
    cmd: echo "a command that is longer than the eighty characters after which a plain scalar is folded, and longer still" > first.txt
    params: [none, number, tiny, whole, yes, text, colon, long, list, nested]
    outs: [{first.txt: {cache: false}}]
  each:
    foreach: {"1": 1, "2024-01-01": 2, "on": 3, "ümlaut": 4}
    do:
      cmd: cat first.txt > "${key}.txt"
      deps: [first.txt]
      outs: ["${key}.txt"]
"""
PARAMS_YAML = """
none:
number: 0.1
tiny: 2.0e-05
whole: 1.0
yes: true
text: "yes"
colon: "a: b # c"
long: %s
list: [1, [2, "3", null], {}]
nested: {deep: {deeper: "0o7", "1": "1_000"}, empty: ""}
""" % ("word " * 40)


def run(folder: Path, *program: str) -> str:
    """Run a program in a folder, which must succeed; returns what it printed."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "DVC_NO_ANALYTICS": "1"}
    ended = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture
def twins(tmp_path) -> tuple[Path, Path]:
    """Two equal projects."""
    first, second = tmp_path / "dvc", tmp_path / "ours"
    first.mkdir()
    (first / "dvc.yaml").write_text(DVC_YAML, encoding="utf-8")
    (first / "params.yaml").write_text(PARAMS_YAML, encoding="utf-8")
    run(first, sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet")
    shutil.copytree(first, second)
    return first, second


def repro(twins: tuple[Path, Path], *arguments: str) -> str:
    """Reproduce both, the first by DVC and the second as `cnnkeras repro` does; returns the dvc.lock of the first, which the second has too."""
    for folder, program in zip(twins, ("dvc", "pipeline.commands.dvc_process"), strict=True):
        run(folder, sys.executable, "-m", program, "repro", *arguments)
    expected, received = (folder.joinpath("dvc.lock").read_text(encoding="utf-8") for folder in twins)
    assert received == expected
    return expected


def edit(twins: tuple[Path, Path], file: str, old: str, new: str) -> None:
    for folder in twins:
        text = (folder / file).read_text(encoding="utf-8")
        assert text.count(old) == 1
        (folder / file).write_text(text.replace(old, new), encoding="utf-8")


def test_the_bytes_are_dvcs(twins):
    """From nothing, with all values that YAML writes in a way of its own; after a change; and with nothing to do."""
    first = repro(twins)
    assert all(f"\n  {name}:\n" in first for name in ("first", "each@1", "each@2024-01-01", "each@on", "each@ümlaut"))
    edit(twins, "params.yaml", "number: 0.1", "number: 1.0e+30")
    edit(twins, "params.yaml", "none:", "none: ~")
    second = repro(twins)
    assert second != first
    assert repro(twins) == second
    edit(twins, "dvc.yaml", "longer still", "shorter")
    assert repro(twins, "--single-item", "first", "each@on") != second


def test_a_comment_of_another_stage_stays(twins):
    """As DVC keeps it."""
    repro(twins)
    edit(twins, "dvc.lock", "  each@on:\n", "  # mine\n  each@on:\n")
    edit(twins, "params.yaml", "whole: 1.0", "whole: 2.0")
    assert "# mine" in repro(twins, "--single-item", "first")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("schema: '2.0'\n", "# about\nschema: '2.0'\n"),
        ("schema: '2.0'\n", 'schema: "2.0"\n'),
        ("stages:\n  first:\n", "stages:\n  # mine\n  first:\n"),
        ("schema: '2.0'\nstages:\n", "schema: '2.0'\ndatasets: []\nstages:\n"),
    ],
)
def test_a_file_that_dvc_did_not_write_is_left_to_dvc(twins, old, new):
    """Its own way is slow and right."""
    repro(twins)
    edit(twins, "dvc.lock", old, new)
    edit(twins, "params.yaml", "whole: 1.0", "whole: 2.0")
    assert "whole: 2.0" in repro(twins, "--single-item", "first")


def test_a_kill_leaves_the_former_file(twins):
    """The file is replaced, not written into: who reads it meanwhile has a whole one."""
    repro(twins)
    ours = twins[1] / "dvc.lock"
    with ours.open(encoding="utf-8") as former:
        edit(twins, "params.yaml", "whole: 1.0", "whole: 2.0")
        repro(twins)
        assert "whole: 1.0" in former.read()
    assert "whole: 2.0" in ours.read_text(encoding="utf-8")
