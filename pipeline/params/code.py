"""What each stage of each entry depends on beside data and written values: the code that it runs, and defaults.

    5b0c42d3a8f1e977  cnnkeras/losses/detection.py
    default experiments.yolo.train.precision = "float32"

The stage `check` writes this text for DVC; `cnnkeras plan` compares it with what DVC has recorded.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.params.whole import Params
from pipeline.runtime import definition, paths
from pipeline.runtime.code import Code
from pipeline.runtime.nested import leaves


def code_of_stages(params: Params) -> dict[str, str]:
    """The text of each stage of each entry of the project's params.yaml, by what DVC calls the stage."""
    values = definition.read_yaml(paths.params_file())
    whole = params.model_dump(mode="json")
    code, texts = Code(), {}
    for stage, entry in definition.labels(values):
        lines = [f"{digest}  {path}" for path, digest in code.dependencies(stage, entry, values).items()]
        lines += _defaults(definition.params_of(stage, entry, values), values, whole)
        texts[definition.label(stage, entry)] = "\n".join(lines) + "\n"
    code.save()
    return texts


def _defaults(keys: list[str], values: Mapping[str, Any], whole: Mapping[str, Any]) -> Iterator[str]:
    """What params.yaml leaves to a default, below some keys."""
    for key in keys:
        written = dict(leaves({key: definition.lookup(values, key)}))
        for name, value in leaves({key: definition.lookup(whole, key)}):
            if name not in written:
                yield f"default {name} = {json.dumps(value, ensure_ascii=False)}"
