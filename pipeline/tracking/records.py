"""Runs that are to be shown, each complete in a folder of its own below `.cnnkeras/unlogged`, until the tracking store has them.

    record.json   tags, params, points with their times, begin, end, status
    files/        as they lie in the run
    model/        in MLflow's format, without ids

Whatever happens to the store, to the server or to this process, nothing has to be read from `results/` again, where a later result may lie by then.
`sending` sends records and removes them.
"""

import json
import shutil
import time
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.runtime.printable import without_secrets
from pipeline.runtime.replacing import partial_path, remove
from pipeline.tracking import times, waiting
from pipeline.tracking.curves import Dated, dated, digest, milliseconds
from pipeline.tracking.results import Result
from pipeline.tracking.runs import Data
from pipeline.tracking.times import Times

Ending = Literal["finished", "failed", "killed"]

_MAX_FILE_BYTES = 10_000_000  # of a predictions file that is logged unzipped, so that the UI can show it


@dataclass(frozen=True)
class Record:
    """A run that is to be shown.

    Attributes:
        name: Name of the run.
        part: Part of the store: "" for experiments, "lab" for claims.
        facts: Tags `cnnkeras.KEY`.
        tags: Other tags.
        params: Params as text, by key.
        points: Points of the training's curves.
        metrics: Figures of merit.
        start: Begin, in milliseconds since 1970.
        end: End, likewise.
        ending: How it ended.
        data: The dataset that the model was trained on; None for what has none.
        model: Name of the model in the store; "" if there is none.
    """

    name: str
    part: str
    facts: dict[str, str]
    tags: dict[str, str]
    params: dict[str, str]
    points: Dated
    metrics: dict[str, float]
    start: int
    end: int
    ending: Ending
    data: Data | None = None
    model: str = ""

    @property
    def folder(self) -> Path:
        """Folder of the record."""
        return waiting.folder() / self._key

    @property
    def _key(self) -> str:
        return self.facts.get("fingerprint") or f"{self.facts['training']}-{self.ending}"

    @property
    def is_waiting(self) -> bool:
        """Whether the store does not have it yet."""
        return self.folder.is_dir()

    def remove(self) -> None:
        """Remove it: the store has the run."""
        remove(self.folder)


def of_result(result: Result) -> Record:
    """Write the record of a result; reads the result's files."""
    now = Times(time.time())
    known = result.times or now
    tags = {"mlflow.source.name": result.command, "mlflow.note.content": result.description}
    facts = dict(result.facts)
    if result.times is None:
        facts["times"] = times.UNKNOWN
        tags["mlflow.note.content"] += f"\n\nIts times are {times.UNKNOWN}."
    points = dated(result.curves, known)
    if points:
        facts["curves"] = digest(points)
    if "git_commit" in facts:
        tags["mlflow.source.git.commit"] = facts["git_commit"]
    trained = result.model() if result.model else None
    record = Record(
        name=result.run_name,
        part=result.part,
        facts=facts,
        tags=tags,
        params=dict(result.params),
        points=points,
        metrics=dict(result.metrics),
        start=milliseconds(known.start),
        end=milliseconds(known.latest),
        ending="finished",
        data=result.data() if result.data else None,
        model=trained.name if trained else "",
    )
    partial = _begin(record)
    for path, folder in result.files:
        _copy(path, partial / "files" / folder)
    for name, text in result.texts.items():
        file = partial / "files" / "origin" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(without_secrets(text), encoding="utf-8")
    if trained:
        from pipeline.tracking.models import save_model

        save_model(partial / "model", trained)
    return _finish(record, partial)


def of_training(
    name: str, training: str, params: Mapping[str, str], points: Dated, span: Times, ending: Ending, reason: str
) -> Record:
    """Write the record of a training that failed or was killed."""
    facts = {
        "experiment": name,
        "training": training,
        "curves": digest(points),
        **({"reason": reason} if reason else {}),
    }
    tags = {"mlflow.note.content": f"The training failed: {reason}" if reason else f"The training was {ending}."}
    start, end = milliseconds(span.start), milliseconds(span.latest)
    record = Record(f"{name} (training)", "", facts, tags, dict(params), points, {}, start, end, ending)
    return _finish(record, _begin(record))


def all_waiting() -> list[Record]:
    """All records, the oldest first."""
    files = [waiting.folder() / key / "record.json" for key in waiting.names()]
    return [_read(file) for file in sorted(files, key=lambda file: (file.stat().st_mtime_ns, file))]


def is_waiting(fingerprint: str) -> bool:
    """Whether a result's record waits."""
    return (waiting.folder() / fingerprint).is_dir()


def _read(file: Path) -> Record:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    data = content.pop("data")
    points = [tuple(point) for point in content.pop("points")]
    return Record(**content, points=points, data=Data(**data | {"shape": tuple(data["shape"])}) if data else None)


def _begin(record: Record) -> Path:
    partial = partial_path(record.folder)
    remove(partial)
    partial.mkdir(parents=True)
    return partial


def _finish(record: Record, partial: Path) -> Record:
    """Make a record that is written in a partial folder one that waits."""
    text = without_secrets(json.dumps(asdict(record), ensure_ascii=False))
    (partial / "record.json").write_text(text + "\n", encoding="utf-8")
    remove(record.folder)
    partial.rename(record.folder)
    return record


def _copy(path: Path, folder: Path) -> None:
    """Copy a file into a folder, or the files below a folder; large and many predictions as one archive."""
    folder.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        shutil.copyfile(path, folder / path.name)
        return
    files = sorted(file for file in path.rglob("*") if file.is_file())
    is_predictions = folder.name == "predictions"
    for file in files:
        if is_predictions and not _is_small(file, path):
            continue
        target = folder / file.relative_to(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    if is_predictions and (others := [file for file in files if not _is_small(file, path)]):
        with zipfile.ZipFile(folder / "others.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zipped:
            for file in others:
                zipped.write(file, file.relative_to(path))


def _is_small(file: Path, folder: Path) -> bool:
    """Whether a file lies directly in a folder and is small: thousands of label maps lie below it."""
    return file.parent == folder and file.stat().st_size <= _MAX_FILE_BYTES
