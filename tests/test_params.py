"""params.yaml through the command line: what is wrong with it is one line that says where, and nothing has run."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main

VOC = """\
  pictures:
    kind: voc
    root: VOC2007
    files: [{name: voc.tar, sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}]
    splits: {train: train, val: 0.1, test: test, seed: 1}
"""
LARGEST_SEED = 4294967295  # 2^32 - 1


def refused(*command: str) -> str:
    """Run a command that must end with exit code 2 and one line on the terminal; returns the line."""
    ended = CliRunner().invoke(main, command)
    assert (ended.exit_code, ended.stdout) == (2, ""), ended.output
    (line,) = ended.stderr.splitlines()
    return line


@pytest.mark.parametrize("seed", [-1, LARGEST_SEED + 1])
@pytest.mark.parametrize(
    ("where", "old"),
    [
        ("params.yaml:1: seed", "seed: 1\nsources"),
        ("params.yaml:3: sources.scenes.seed", "kind: digit_scenes, seed: 1"),
        ("params.yaml:9: sources.pictures.splits.seed", "test: test, seed: 1"),
    ],
)
def test_seeds_have_32_bits(project, seed, where, old):
    """NumPy's generators take no more: a larger seed would end a training with a traceback, or be taken for two numbers."""
    project.edit("datasets:\n", f"{VOC}datasets:\n")
    project.edit(old, old.replace("seed: 1", f"seed: {seed}"))
    line = refused("plan")
    assert line == f"Error: {where}: expected a seed from 0 to {LARGEST_SEED}; received: {seed}"


def test_the_largest_seed_is_one(project):
    """All 32 bits count."""
    project.edit("seed: 1", f"seed: {LARGEST_SEED}")
    CliRunner().invoke(main, ["download", "scenes"], catch_exceptions=False)
    assert Path("data/raw/scenes").is_dir()
