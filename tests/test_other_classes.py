"""Objects of classes that are not listed, in every kind that has objects: an error, or left out and counted, as the entry says."""

import pytest

from pipeline import sources
from pipeline.files.published_archives import fetch_archives
from pipeline.runtime.errors import InputError
from tests.test_inspect import LAYOUTS, write_files

# The layouts whose images have objects of both classes, with the key that names them, one of the two being left out.
KINDS = {
    "voc": {"classes": ["nut"]},
    "coco": {"classes": ["nut"], "other_classes": "error"},
    "yolo": {"names": {0: "nut"}},
    "csv_boxes": {"classes": ["nut"]},
    "labelme": {"classes": ["nut"]},
}
GENERATED = {"digit_scenes"}


@pytest.fixture
def open_source(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    monkeypatch.chdir(tmp_path)

    def open_source(layout, **changes):
        files, kind, entry, _ = LAYOUTS[layout]
        if layout == "labelme":
            shapes = b'{"label": "bolt", "points": [[1, 1], [9, 9]], "shape_type": "rectangle"}'
            files = {
                name: text.replace(b"[{", b"[" + shapes + b", {", 1) if name.endswith("json") else text
                for name, text in files.items()
            }
        write_files(tmp_path / "data", files)
        (tmp_path / "raw").mkdir(exist_ok=True)
        every = {"kind": kind, "files": [{"path": "data"}], **entry, **KINDS[layout], **changes}
        source = sources.load(kind).Source(**every)
        fetch_archives(source, tmp_path / "raw", mirrors=[])
        return list(sources.load(kind).examples(source, tmp_path / "raw", masks=False, split="train"))

    return open_source


def test_every_kind_of_objects_is_here():
    """But for those that are generated."""
    assert {name for name in sources.names() if sources.load(name).HAS_OBJECTS} - GENERATED == set(KINDS)


@pytest.mark.parametrize("layout", KINDS)
def test_they_are_an_error(open_source, layout):
    """Which names the class, and both ways out."""
    with pytest.raises(
        InputError, match=r"(bolt|received: 1).*Name it under `(classes|names)`, or say other_classes: drop"
    ):
        open_source(layout)


@pytest.mark.parametrize("layout", KINDS)
def test_they_are_dropped_and_counted(open_source, layout):
    """Each image keeps its other objects, and one of bolts alone would be an image without objects."""
    found = open_source(layout, other_classes="drop")
    assert found
    for example in found:
        assert example.dropped == {"objects of other classes": 1}
        assert len(example.boxes) == len(example.labels) == (2 if layout == "voc" else 1)
        assert set(example.labels.tolist()) == {0}
