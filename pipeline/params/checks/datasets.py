"""Entries under `datasets:`, in view of their source."""

from cnnkeras.by_name import unknown
from pipeline import sources
from pipeline.params.checks.transforms import check_transforms
from pipeline.params.parsed import ParsedFile
from pipeline.params.whole import Params


def check_dataset(file: ParsedFile, params: Params, name: str) -> None:
    """Refuse a dataset that its source cannot serve."""
    dataset, location = params.datasets[name], ("datasets", name)
    if dataset.jpeg_quality is not None and len(dataset.size) != 2:
        raise file.error((*location, "jpeg_quality"), f"expected none for signals; received: {dataset.jpeg_quality}")
    check_transforms(file, (*location, "augmentation"), dataset.augmentation)
    if dataset.source not in params.sources:
        raise file.error((*location, "source"), unknown(dataset.source, params.sources, "source"))
    kind = params.sources[dataset.source].kind
    if dataset.task not in sources.load(kind).TASKS:
        served = ", ".join(sources.load(kind).TASKS)
        raise file.error(
            (*location, "task"),
            f"expected a task that a source of kind {kind} serves ({served}); received: {dataset.task!r}",
        )
