"""Writing what DVC recorded of a stage into dvc.lock, without writing all the other stages anew.

DVC reads the whole file so that it could keep comments, and writes the whole file, after each stage: half a second for a hundred stages.
Here the text of one stage, as DVC writes it, takes the place of that stage's former text; the file has the same bytes. It is replaced
in one step, so that a kill leaves the former file or the new one.
"""

import re
from pathlib import Path

from dvc.dvcfile import Lockfile
from dvc.stage import Stage, serialize
from dvc.utils.serialize import dumps_yaml

from pipeline.runtime.replacing import replacing

_HEAD = "schema: '2.0'\nstages:\n"
_STAGE = re.compile(r"^(?=  [^\s#])", flags=re.MULTILINE)  # before the line with a stage's name
_dump_all = Lockfile.dump_stages


def write_single_stages() -> None:
    """Let DVC, in this process, write stages so."""
    Lockfile.dump_stages = _dump_stages


def _dump_stages(lock: Lockfile, stages: list[Stage], **options: bool) -> None:
    """DVC's `Lockfile.dump_stages`, for a file as DVC writes it; any other is left to DVC."""
    file = Path(lock.path)
    former = file.read_text(encoding="utf-8") if file.is_file() else ""
    texts = _texts(former)
    if texts is None:
        _dump_all(lock, stages, **options)
        return
    for stage in stages:
        for name, recorded in serialize.to_lockfile(stage, **options).items():
            text = dumps_yaml({"stages": {name: recorded}}).removeprefix("stages:\n")
            texts[_first_line(text)] = text
    new = _HEAD + "".join(texts.values())
    if new != former:
        with replacing(file) as partial:
            partial.write_text(new, encoding="utf-8")
        lock.repo.scm_context.track_file(lock.relpath)


def _texts(content: str) -> dict[str, str] | None:
    """The text of each stage by its first line, which has its name; None if the content is not as DVC writes it."""
    body = content.removeprefix(_HEAD)
    if body == content or not all(line.startswith("  ") for line in body.splitlines()):
        return None
    before, *texts = _STAGE.split(body)
    return None if before else {_first_line(text): text for text in texts}


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
