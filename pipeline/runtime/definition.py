"""dvc.yaml as data: the stages, the section of params.yaml that each is for, the values that each reads and the outputs that each makes."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from pipeline.runtime import paths
from pipeline.runtime.errors import InputError

WITH = "with"  # begins a line on a library and its version
CHECK = "check"  # the stage before all others; it has no entry
_EXPRESSION = re.compile(r"\$\{([^}]+)\}")  # ${key}, ${item.source}
_CODE_LINE = re.compile("^([0-9a-f]{16})  (.+)$", re.MULTILINE)
_VALUE_LINE = re.compile("^(\\S+) = (.+)$", re.MULTILINE)
_FOREACH = re.compile(r"\$\{(\w+)\}")


def read_yaml(file: Path) -> Any:
    """A YAML file's content, parsed as DVC parses it, to be read only: a text that was parsed before is not parsed again.

    Raises:
        InputError: The file is no valid YAML.
    """
    try:
        return _parsed(file.read_bytes())
    except YAMLError as error:
        reason = " ".join(str(error).split()).replace("<byte string>", file.name)
        raise InputError(f"{file.name}: expected valid YAML; received: {reason}") from None


@lru_cache(maxsize=8)
def _parsed(text: bytes) -> Any:
    return YAML(typ="safe").load(text)


def stages() -> dict[str, str]:
    """Section of params.yaml by the name of the stage that is for it, in the order of dvc.yaml, without `check`."""
    return {
        name: _FOREACH.fullmatch(stage["foreach"])[1] for name, stage in _definitions().items() if "foreach" in stage
    }


def command(stage: str) -> str:
    """Name of the command that runs a stage: `evaluate` runs the stages `evaluate` and `evaluate_ensemble`."""
    return stage.removesuffix("_ensemble")


def label(stage: str, entry: str) -> str:
    """DVC's name for a stage of an entry: `train@yolo`; `check`, which has no entry."""
    return f"{stage}@{entry}" if entry else stage


def read_code(text: str) -> dict[str, str]:
    """Digests of code by path, from a file that the stage `check` wrote. Lines with values of params.yaml are skipped."""
    return {match[2]: match[1] for match in _CODE_LINE.finditer(text)}


def read_values(text: str) -> dict[str, Any]:
    """Values of params.yaml by dotted key, from a file that the stage `check` wrote. Lines with digests are skipped."""
    return {match[1]: json.loads(match[2]) for match in _VALUE_LINE.finditer(text)}


def read_versions(text: str) -> dict[str, str]:
    """Versions of libraries by name, from a file that the stage `check` wrote. Other lines are skipped."""
    lines = (line.split(" ", 2) for line in text.splitlines() if line.startswith(f"{WITH} "))
    return {f"{WITH} {library}": version for _, library, version in lines}


def labels(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(stage, entry) of every stage that dvc.yaml defines for the content of a params.yaml, without `check`."""
    for stage, section in stages().items():
        for entry in values.get(section) or ():
            yield stage, entry


def params_of(stage: str, entry: str, values: Mapping[str, Any]) -> list[str]:
    """Dotted keys of params.yaml whose values the stage of an entry depends on and DVC compares: `params` in dvc.yaml."""
    return _keys(_body(stage).get("params", ()), stage, entry, values)


def checked_params_of(stage: str, entry: str, values: Mapping[str, Any]) -> list[str]:
    """Dotted keys whose values the stage `check` writes to a file that DVC compares: `params` under `meta`, which DVC ignores."""
    return _keys(_body(stage).get("meta", {}).get("params", ()), stage, entry, values)


def _keys(templates: Iterable[str], stage: str, entry: str, values: Mapping[str, Any]) -> list[str]:
    return [_resolve(template, section=stages().get(stage), entry=entry, values=values) for template in templates]


def maker(path: Path) -> str | None:
    """The command that makes a path, `cnnkeras train yolo`; None if no stage of a project here does."""
    try:
        made_by = stage_of(path, makers(read_yaml(paths.params_file())))
    except InputError:
        return None
    return f"cnnkeras {command(made_by[0])} {made_by[1]}" if made_by else None


def makers(values: Mapping[str, Any]) -> dict[Path, tuple[str, str]]:
    """(stage, entry) by each file and folder that the stages make, for the content of a params.yaml."""
    return {output: (stage, entry) for stage, entry in labels(values) for output in outputs_of(stage, entry, values)}


def stage_of(path: Path, makers: Mapping[Path, tuple[str, str]]) -> tuple[str, str] | None:
    """(stage, entry) that makes a path of the project, or a folder above it; None if no stage does."""
    return next((makers[place] for place in (path, *path.parents) if place in makers), None)


def outputs_of(stage: str, entry: str, values: Mapping[str, Any]) -> Iterator[Path]:
    """Files and folders that the stage of an entry makes."""
    body = _body(stage)
    for kind in ("outs", "metrics", "plots"):
        for output in body.get(kind, ()):
            template = output if isinstance(output, str) else next(iter(output))
            yield paths.root() / _resolve(template, section=stages().get(stage), entry=entry, values=values)


def deps_of(stage: str, entry: str, values: Mapping[str, Any]) -> list[Path]:
    """Files and folders that the stage of an entry reads, without those that `check` writes."""
    paths_read = (paths.root() / path for path in _keys(_body(stage).get("deps", ()), stage, entry, values))
    return [path for path in paths_read if not path.is_relative_to(paths.code())]


def local_of(stage: str, entry: str, values: Mapping[str, Any]) -> dict[str, Path]:
    """Folders and files outside the project that the stage of an entry reads, by their text in params.yaml.

    They are the `path` of each item of the list that `files` under `meta` in dvc.yaml names; DVC does not look at them.
    """
    key = _keys([_body(stage).get("meta", {}).get("files", "")], stage, entry, values)[0]
    items = lookup(values, key) if key else None
    found = [item.get("path") for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
    return {path: paths.local(path) for path in found if isinstance(path, str)}


def lookup(values: Any, dotted_key: str) -> Any:
    """The value of a dotted key, which may have positions in lists, `ensembles.both.members[0]`; None if there is none."""
    for part in re.findall(r"[^.\[\]]+", dotted_key):
        if isinstance(values, Sequence) and not isinstance(values, str):
            values = values[int(part)] if part.isdigit() and int(part) < len(values) else None
        else:
            values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _body(stage: str) -> Mapping[str, Any]:
    definition = _definitions()[stage]
    return definition.get("do", definition)


def _resolve(template: str, *, section: str | None, entry: str, values: Mapping[str, Any]) -> str:
    """A text of dvc.yaml with its expressions replaced by values, as DVC does for an entry of `foreach`."""

    def value(expression: re.Match) -> str:
        key = expression[1]
        return entry if key == "key" else str(lookup(values, key.replace("item", f"{section}.{entry}", 1)))

    return _EXPRESSION.sub(value, template)


def _definitions() -> Mapping[str, Any]:
    """The stages in the project's dvc.yaml; in the dvc.yaml that new projects get if the project has none."""
    file = paths.root() / paths.DEFINITION
    return _read(file if file.is_file() else paths.shipped(paths.DEFINITION))


@cache
def _read(file: Path) -> Mapping[str, Any]:
    return read_yaml(file)["stages"]
