"""results/lab/README.md: for each claim of the lecture a paragraph - claim, measurement, verdict - with its figure."""

import json
from pathlib import Path
from typing import Any

from pipeline.params import Params
from pipeline.runtime import paths
from pipeline.stages.lab import verdict

NOTE = (
    "Written by `cnnkeras report`. Each claim is an entry under `lab:` in params.yaml, measured by `dvc repro lab@NAME`; its numbers, with "
    "the published ones and the spread over seeds, are in NAME/numbers.json. The verdict is computed from them."
)


def write(params: Params) -> Path | None:
    """Write the report of all entries that have numbers, those of params.yaml first; returns its place, None if there are none."""
    found = read(params)
    if not found:
        return None
    file = paths.lab_report()
    partial = file.with_name(f".partial-{file.name}")
    partial.write_text(markdown(found), encoding="utf-8")
    partial.replace(file)
    return file


def read(params: Params) -> dict[str, dict[str, Any]]:
    """What each numbers.json holds, by the name of its entry; entries of other params files, such as a recipe, come last."""
    present = sorted(file.parent.name for file in paths.claim_numbers("*").parents[1].glob("*/numbers.json"))
    names = [*(name for name in params.lab if name in present), *(name for name in present if name not in params.lab)]
    return {name: json.loads(paths.claim_numbers(name).read_text(encoding="utf-8")) for name in names}


def markdown(found: dict[str, dict[str, Any]]) -> str:
    """The report's text."""
    lines = ["# The lecture as a lab", "", NOTE, "", "| claim | verdict |", "| --- | --- |"]
    lines += [f"| [{name}](#{name}): {content['claim']} | {verdict(content)} |" for name, content in found.items()]
    for name, content in found.items():
        lines += ["", f"## {name}", "", f"{content['claim']} {content['paragraph']} **The claim {verdict(content)}.**"]
        lines += ["", *_numbers(content), "", f"![{name}]({name}/figure.png)"]
    return "\n".join(lines) + "\n"


def _numbers(content: dict[str, Any]) -> list[str]:
    """A table of what was measured, beside what was published."""
    rows = ["| number | measured | published |", "| --- | --- | --- |"]
    names = {**content["measured"], **content["published"]}
    for name in names:
        ours, spread = _text(content["measured"].get(name)), content["spread"].get(name)
        spread = "" if spread is None else f" ± {_text(spread)}"
        rows.append(f"| {name.replace('_', ' ')} | {ours}{spread} | {_text(content['published'].get(name))} |")
    return rows


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
