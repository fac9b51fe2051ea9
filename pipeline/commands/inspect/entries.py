"""Entries for params.yaml that are suggested for data: a source, a dataset, and a first experiment of modest size.

The experiment is a start, not a recipe: a narrow network from scratch that a CPU trains in minutes on a few thousand images.
"""

import io
import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML

from cnnkeras import tasks
from pipeline.commands.inspect import first
from pipeline.commands.inspect.data import Found

_WIDTH = 140  # characters of a line
_STEP = 32  # all networks of `first/` halve their input up to five times
_EPOCHS, _DROPS = 20, {"epochs": [14.0, 18.0], "factors": [1.0, 0.3, 0.1]}
_BATCH, _PREDICT_BATCH = 32, 100


def suggested(
    found: Found, summary: Mapping[str, Any], *, name: str, path: str, task: str, classes: int
) -> dict[str, Any]:
    """The entries by section, each with its name.

    Args:
        found: What was recognised.
        summary: What `counting.summary` says of it.
        name: Of the source and the dataset.
        path: Where the data are, for the source.
        task: What they are to be prepared for.
        classes: Number of classes.
    """
    source = {"kind": found.kind, **(found.files or {"files": [{"path": path}]}), **found.entry}
    dataset: dict[str, Any] = {"source": name, "task": task, "size": 2 * [side(summary["side"], task)]}
    if "labels" in tasks.load(task).ANNOTATIONS and len(found.tasks) > 1:  # of its objects, each cut out
        dataset |= {"examples": "objects", "object_margin": 0.2}
    if summary["unreadable"]:
        dataset["on_error"] = "skip"
    if summary["twice"]:
        dataset["leaks"] = "allow"
    start = first.load(task)
    experiment = {
        "dataset": name,
        "architecture": start.ARCHITECTURE,
        "model": start.MODEL,
        "input": {"mean": "dataset", "std": "dataset"},
        "train": {
            "epochs": _EPOCHS,
            "batch_size": max(1, min(_BATCH, summary["train"] // 2)),
            "optimizer": {"name": "adam", "learning_rate": 0.001},
            "schedule": {"name": "piecewise", **_DROPS},
            "initial_weights": {"experiment": "scratch"},
        },
        "predict": {"batch_size": _PREDICT_BATCH},
        "postprocess": start.postprocess(classes),
        "evaluate": {"images": 12},
    }
    named = {"sources": {name: source}, "datasets": {name: dataset}}
    return {**named, "experiments": {f"{start.ARCHITECTURE}_{name}": experiment}}


def side(image_side: int, task: str) -> int:
    """Side of the networks' input: that of the images, in steps of 32 pixels, at most what a CPU trains in a while."""
    return max(_STEP, min(first.load(task).MAX_SIDE, image_side // _STEP * _STEP))


def name_of(path: str) -> str:
    """A name for params.yaml from a path's last part: lower-case letters, digits and _."""
    last = re.sub(r"\.(zip|tar|tgz|tar\.\w+)$", "", re.split(r"[/\\]", path.rstrip("/\\"))[-1].lower())
    return re.sub("[^a-z0-9]+", "_", last).strip("_")[:40] or "data"


def as_yaml(entry: Mapping[str, Any], indent: int) -> str:
    """An entry with its name as lines of YAML, each indented, inner lists and mappings in one line where they fit."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.width, yaml.sort_base_mapping_type_on_output = None, _WIDTH - indent, False
    yaml.allow_unicode = True
    yaml.representer.ignore_aliases = lambda _data: True
    yaml.representer.add_representer(str, _quoted)
    text = io.StringIO()
    yaml.dump(entry, text)
    return "".join(f"{' ' * indent}{line.rstrip()}\n" for line in text.getvalue().splitlines())


def _quoted(representer: Any, text: str) -> Any:
    """Text in quotes where it has a colon: some readers of YAML take `[file:///a]` for a mapping."""
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style='"' if ":" in text else None)
