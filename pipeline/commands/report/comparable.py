"""Whether a published number may stand beside ours: it was measured on the same test images, of the same classes, and seen alike.

A test set is known by the checksum of its archive, its part and its number of classes, not by its name in params.yaml. That a result is of the
published system, `published` of its entry says; the views of its test protocol are compared all the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cnnkeras.architectures import Published
from pipeline.params import Params
from pipeline.sources import SourceEntry


@dataclass(frozen=True)
class TestSet:
    """The test images of a benchmark that are public.

    Attributes:
        checksum: MD5 or SHA-256 of the archive that holds them.
        part: How the part ends that `splits.test` names.
        classes: How many there are.
    """

    checksum: str
    part: str
    classes: int

    def is_of(self, source: SourceEntry) -> bool:
        """Whether a source's test split is this set."""
        files = getattr(source, "files", ())
        sums = [value for file in files for values in file.checksums.values() for value in values] if files else []
        part = f"{getattr(source, 'root', '') or ''}/{source.splits.test}" if sums else ""
        classes = getattr(source, getattr(source, "CLASSES", "classes"))  # `all`: not known, and no published set
        return self.checksum in sums and part.endswith(self.part) and len(classes) == self.classes


# By how `Published.data` begins. What is on a test server alone (VOC2012 test) is nobody's local test split.
TEST_SETS: dict[str, Callable[[SourceEntry], bool]] = {
    "ILSVRC-2012 validation": TestSet(
        "29b22e2961454d5413ddabcf34fc5622", "ILSVRC2012_validation_ground_truth.txt", 1000
    ).is_of,
    "VOC2007 test": TestSet(
        "6836888e2e01dca84577a849d339fa4f73e1e4f135d312430c4856b5609b4892", "VOC2007/test", 20
    ).is_of,
    "MNIST-1D test split": lambda source: source.kind == "mnist1d",
}


def split(params: Params, name: str, rows: Sequence[Published]) -> tuple[list[Published], list[Published]]:
    """Published numbers that may stand beside an entry's, and the others.

    Args:
        params: Of the project.
        name: Of an experiment or an ensemble.
        rows: The numbers of its architecture, those that its `published` names alone where it names some.
    """
    beside = [row for row in rows if _is_comparable(params, name, row)]
    return beside, [row for row in rows if row not in beside]


def _is_comparable(params: Params, name: str, row: Published) -> bool:
    entry = params.measured(name)
    dataset = params.dataset(entry.dataset)
    known = [is_of for data, is_of in TEST_SETS.items() if row.data.startswith(data)]
    if (
        not known
        or not known[0](params.source(dataset.source))
        or dataset.examples != "images"
        or dataset.on_error != "fail"
    ):
        return False
    seen = [params.experiment(model).predict for model in params.models(name)]
    views = {tuple(view.name for view in predict.views) for predict in seen}
    has_regions = any(predict.regions for predict in seen)
    # Without a choice of views there is one protocol: the test split, whole.
    is_said = entry.published is not None or not row.views
    return is_said and views == {row.views} and not has_regions
