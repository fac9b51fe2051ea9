"""The code and the values that each stage of each entry depends on, beside data and the values that DVC compares itself.

    5b0c42d3a8f1e977  cnnkeras/losses/detection.py
    experiments.yolo.train.precision = "float32"
    with keras 3.15.1

The values are the defaults of keys that params.yaml leaves out, and the values that dvc.yaml lists under `meta`; without passwords and
tokens in addresses, which do not decide what a file holds. Versions are there for trainings, with `other_versions: stale`.

The stage `check` writes this text for DVC; `cnnkeras plan` compares it with the text that dvc.lock records.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.backend import environment
from pipeline.params.whole import Params
from pipeline.runtime import definition
from pipeline.runtime.code import Code
from pipeline.runtime.nested import leaves
from pipeline.runtime.printable import without_secrets


def code_of_stages(params: Params, values: Mapping[str, Any], code: Code | None = None) -> dict[str, str]:
    """The text for each stage of each entry of a params.yaml, by DVC's name for the stage: `train@yolo`.

    Args:
        params: The validated params.yaml.
        values: Its content, without defaults.
        code: The current code, if it was looked at before.
    """
    all_values, versions = params.model_dump(mode="json"), environment.versions(params.backend)
    code, texts = code or Code(), {}
    for stage, entry in definition.labels(values):
        compared = definition.params_of(stage, entry, values)
        checked = definition.checked_params_of(stage, entry, values)
        lines = [f"{digest}  {path}" for path, digest in code.dependencies(stage, entry, values).items()]
        written = _values(checked, values) | _defaults((*compared, *checked), values, all_values)
        lines += [
            f"{key} = {without_secrets(json.dumps(value, ensure_ascii=False))}"
            for key, value in sorted(written.items())
        ]
        if params.other_versions == "stale" and definition.command(stage) == "train":
            lines += [f"{definition.WITH} {library} {version}" for library, version in versions.items()]
        texts[definition.label(stage, entry)] = "\n".join(lines) + "\n"
    code.save()
    return texts


def _values(keys: Iterable[str], values: Mapping[str, Any]) -> dict[str, Any]:
    """All values below some dotted keys that exist, each by its own dotted key."""
    found = {key: definition.lookup(values, key) for key in keys}
    return dict(leaves({key: value for key, value in found.items() if value is not None}))


def _defaults(keys: Iterable[str], values: Mapping[str, Any], all_values: Mapping[str, Any]) -> dict[str, Any]:
    """Values below some dotted keys that params.yaml leaves to a default, by their own dotted keys."""
    written = _values(keys, values)
    return {key: value for key, value in _values(keys, all_values).items() if key not in written}
