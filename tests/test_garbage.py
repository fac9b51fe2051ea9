"""Garbage is not collected where that costs time and finds nothing."""

import subprocess
import sys

import pytest

CODE = """
import gc
from contextlib import nullcontext
from pipeline.runtime.garbage import uncollected

class Circle:
    def __init__(self):
        self.itself = self
    def __del__(self):
        print("collected")

with {context}():
    kept = Circle()
    Circle()
    gc.isenabled() and gc.collect()
    print("left")
print(gc.isenabled())
Circle.first = kept
"""


@pytest.mark.parametrize(
    ("context", "printed"),
    [("uncollected", ["left", "True"]), ("nullcontext", ["collected", "left", "True", "collected"])],
)
def test_a_short_command_collects_no_garbage_and_its_end_neither(context, printed):
    """The interpreter collects at its end, which takes as long as a tenth of `cnnkeras plan`."""
    result = subprocess.run(
        [sys.executable, "-c", CODE.format(context=context)], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.split("\n")[:-1] == printed
    assert not result.stderr
