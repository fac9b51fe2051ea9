"""Label maps in files of every form that `mask_pairs` and `voc` read: colours, 16 bits, arrays, names by a template; hand-made pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from cnnkeras.label_maps import palette
from pipeline import sources
from pipeline.files.local import LocalFile, write_listing
from pipeline.runtime.errors import InputError
from tests.archive_files import image
from tests.test_inspect import write_files, xml

# Two rows of three pixels: background, the first class, the second one; void, the second, the first.
EXPECTED = [[0, 1, 2], [255, 2, 1]]


@pytest.fixture
def read(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    monkeypatch.chdir(tmp_path)

    def read(files, part, kind="mask_pairs", *, masks=True, **entry):
        write_files(tmp_path / "data", files)
        (tmp_path / "raw").mkdir(exist_ok=True)
        write_listing(LocalFile(path="data"), tmp_path / "raw")
        every = {"kind": kind, "files": [{"path": "data"}], "splits": dict.fromkeys(("train", "val", "test"), part)}
        source = sources.load(kind).Source(**every | {"classes": ["road", "car"]} | entry)
        return sources.load(kind).examples(source, tmp_path / "raw", masks=masks, split="test")

    return read


def png(pixels, mode=None):
    stream = io.BytesIO()
    picture = Image.fromarray(np.asarray(pixels))
    (picture.quantize(4) if mode == "P" else picture.convert(mode) if mode else picture).save(stream, "PNG")
    return stream.getvalue()


def npy(pixels, **options):
    stream = io.BytesIO()
    np.save(stream, pixels, **options)
    return stream.getvalue()


def values(*of):
    """Pixels whose values are those of the background, of the classes and of void, as `EXPECTED` has them."""
    return np.array([[of[0], of[1], of[2]], [of[3], of[2], of[1]]])


FOLDERS = {"images": "photos", "masks": "masks"}
PHOTO = {"photos/a.jpg": image(3, 2)}
COLORS = {"class_values": [[128, 64, 128], [0, 0, 142]]}
RGB = values((0, 0, 0), (128, 64, 128), (0, 0, 142), (255, 255, 255)).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "content", "entry"),
    [
        ("a.png", png(RGB), COLORS),
        ("a.png", png(RGB, "RGBA"), COLORS),
        ("a.png", png(RGB, "P"), COLORS),
        ("a.npy", npy(RGB), COLORS),
        ("a.png", png(RGB), {"classes": {"#804080": "road", "#00008E": "car"}}),
        ("a.png", png(values((9, 9, 9), (128, 64, 128), (0, 0, 142), (1, 2, 3)).astype(np.uint8)), COLORS | {"background_values": [9], "void_values": [[1, 2, 3]]}),
        ("a.png", png(values(0, 300, 40_000, 255).astype(np.uint16)), {"class_values": [300, 40_000]}),
        ("a.npy", npy(values(0, 300, 70_000, -1)), {"class_values": [300, 70_000], "void_values": [-1]}),
        ("a.npy", npy(values(0.0, 1.0, 2.0, 255.0)), {}),
        ("a.npy", npy(values(0, 1, 2, 255).astype(np.uint8)[..., None]), {}),
        ("a.npy", npy(values(False, True, True, False)), {"classes": {1: "road"}, "other_classes": "drop"}),
        ("a.png", png(values(0, 1, 2, 255).astype(np.uint8)), {}),
        ("a.png", png(values(0, 7, 3, 255).astype(np.uint8)), {"classes": {7: "road", 3: "car"}}),
    ],
)  # fmt: skip
def test_values_of_every_form(read, name, content, entry):
    """Each pixel by hand: 0 the background, 1 and 2 the classes, 255 void."""
    (example,) = read(PHOTO | {f"masks/{name}": content}, FOLDERS, **entry)
    expected = [[0, 1, 1], [0, 1, 1]] if entry.get("other_classes") else EXPECTED
    assert example.mask.tolist() == expected
    assert example.mask.dtype == np.uint8
    assert not example.dropped


def test_values_may_be_merged_and_left_out(read):
    """What is left out is background and counted, a value once an image."""
    pixels = np.array([[0, 1, 2], [9, 9, 8]], np.uint8)
    (example,) = read(
        PHOTO | {"masks/a.png": png(pixels)}, FOLDERS, classes={1: "road", 2: "road"}, other_classes="drop"
    )
    assert example.mask.tolist() == [[0, 1, 1], [0, 0, 0]]
    assert example.dropped == {"areas of other classes": 2}


@pytest.mark.parametrize(
    ("content", "entry", "message"),
    [
        (png(RGB), COLORS | {"class_values": [[128, 64, 128], [0, 0, 143]]}, r"masks/a\.png: .*received: #00008e\. Name it under class_values"),
        (png(RGB), {}, r"masks/a\.png: expected a palette or grayscale image of labels; received: mode RGB"),
        (image(3, 2), COLORS, r"a\.png: expected a label map in a format that keeps each value, such as PNG; received: JPEG"),
        (png(values(0, 300, 40_000, 255).astype(np.uint16)), COLORS, "colours with 8 bits a channel; received: mode I"),
    ],
)  # fmt: skip
def test_wrong_images_are_named(read, content, entry, message):
    """The file, what was expected, and what was received."""
    with pytest.raises(InputError, match=message):
        read(PHOTO | {"masks/a.png": content}, FOLDERS, **entry)[0]


@pytest.mark.parametrize(
    ("content", "entry", "message"),
    [
        (npy(values(0, 1, 2, 0.5)), {}, r"masks/a\.npy: expected an array \(height, width\) of whole numbers; received: .*0\.5"),
        (npy(values(0, 1, 2, np.nan)), {}, "whole numbers; received: .*nan"),
        (npy(np.zeros((2, 3, 4))), {}, r"received: float64 \(2, 3, 4\)"),
        (npy(values(0, 1, 2, 3)), COLORS, r"\(height, width, 3\) of whole numbers; received: int64 \(2, 3\)"),
        (npy(np.full((2, 3, 3), 256)), COLORS, "received: colours from 256 to 256"),
        (npy(np.array([{}]), allow_pickle=True), {}, "of whole numbers; received: Object arrays cannot be loaded"),
        (b"\x93NUMPY", {}, "of whole numbers; received"),
        (npy(values(0, 1, 2, 2**40)), {}, "whole numbers; received"),
    ],
)  # fmt: skip
def test_wrong_arrays_are_named(read, content, entry, message):
    """Nothing is unpickled, and nothing is cut off."""
    with pytest.raises(InputError, match=message):
        read(PHOTO | {"masks/a.npy": content}, FOLDERS, **entry)[0]


def test_names_by_a_template(read):
    """What an image and its label map share is between braces, in the same folder inside; other files are none."""
    mask = png(values(0, 1, 2, 255).astype(np.uint8))
    files = {f"img/{name}_rgb.png": image(3, 2, "PNG") for name in ("a/x", "b/x", "b/y")}
    files |= {f"gt/{name}_ids.png": mask for name in ("a/x", "b/x", "b/y")}
    files |= {"img/a/x_depth.png": image(3, 2, "PNG"), "gt/a/x_color.png": png(RGB)}
    part = {"images": "img", "masks": "gt", "image_names": "{}_rgb", "mask_names": "{}_ids"}
    found = read(files, part)
    assert [each.id for each in found] == ["x_rgb", "x_rgb-2", "y_rgb"]
    assert all(each.mask.tolist() == EXPECTED for each in found)
    with pytest.raises(InputError, match=r"img/: expected images called \{\}_left; received: 4 others"):
        read(files, part | {"image_names": "{}_left"})


def test_label_maps_beside_their_images(read):
    """They are no images themselves; one without a label map costs itself alone, and says the name that is missed."""
    mask = png(values(0, 1, 2, 255).astype(np.uint8))
    files = {
        "a.jpg": image(3, 2),
        "a_mask.png": mask,
        "b.png": image(3, 2, "PNG"),
        "c.jpg": image(3, 2),
        "c_mask.png": mask,
    }
    found = read(files, {"images": ".", "masks": ".", "mask_names": "{}_mask"})
    assert len(found) == 3
    assert found[0].mask.tolist() == found[2].mask.tolist() == EXPECTED
    with pytest.raises(InputError, match=r"expected a label map b_mask\.png for b\.png; received: none of that name"):
        found[1]


@pytest.mark.parametrize(
    ("part", "entry", "message"),
    [
        ({"images": ".", "masks": "."}, {}, "mask_names: expected other names than the images' in one folder"),
        (FOLDERS | {"mask_names": "mask"}, {}, "mask_names"),
        (FOLDERS, {"class_values": [1, [2, 3, 4]], "void_values": [300]}, "expected colours, or greys from 0 to 255; received: 300"),
        (FOLDERS, {"class_values": [[255, 255, 255], [2, 3, 4]]}, "expected each value once; received: #ffffff twice"),
        (FOLDERS, {"class_values": [[256, 0, 0], [2, 3, 4]]}, "class_values"),
        (FOLDERS, {"classes": {"red": "road"}}, "classes: expected values such as 7 or '#800000'; received: 'red'"),
        (FOLDERS, {"classes": {"7": "road"}, "class_values": [7]}, "class_values: expected none beside a mapping of classes"),
    ],
)  # fmt: skip
def test_wrong_entries_are_refused(read, part, entry, message):
    """Before anything is read."""
    with pytest.raises(ValueError, match=message):
        read(PHOTO, part, **entry)


VOC = {"root": "", "classes": ["nut", "bolt"]}


def test_voc_without_lists(read):
    """An example for each annotation file, in folders inside as well; images of any ending; one without an image costs itself alone."""
    files = {"img/a/1.png": image(40, 40, "PNG"), "img/2.jpeg": image(40, 40), "img/3.jpg": image(40, 40)}
    files |= {f"xml/{name}.xml": xml(("nut", 3), ("bolt", 14)) for name in ("a/1", "2", "4")}
    found = read(files, {"images": "img", "annotations": "xml"}, "voc", masks=False, **VOC)
    assert len(found) == 3
    assert [each.id for each in (found[0], found[2])] == ["2", "a_1"]
    assert found[2].boxes.tolist() == [[2, 1, 12, 12], [13, 1, 23, 12]]
    assert found[2].labels.tolist() == [0, 1]
    with pytest.raises(InputError, match=r"expected an image img/4\.jpg in the archive; received: none"):
        found[1]
    with pytest.raises(InputError, match="expected the key `masks`, the folder of the label maps, for segmentation"):
        read(files, {"images": "img", "annotations": "xml"}, "voc", **VOC)
    with pytest.raises(InputError, match=r"XML/: expected an annotation file ID\.xml for each image; received: none"):
        read(files, {"images": "img", "annotations": "XML"}, "voc", masks=False, **VOC)


def test_voc_beside_its_images_with_label_maps(read):
    """For segmentation every label map is an example, with an annotation file or without; its indices are those of `palette`."""
    files = {f"a/{n}.jpg": image(3, 2) for n in range(3)}
    files |= {f"a/{n}.xml": xml(("nut", 1)) for n in (0, 2)}
    files |= {f"m/{n}.gif": png(values(0, 2, 1, 255).astype(np.uint8)) for n in (0, 1)}
    part = {"images": "a", "annotations": "a", "masks": "m"}
    found = read(files, part, "voc", palette=["bolt", "nut"], **VOC)
    assert [each.mask.tolist() for each in found] == [EXPECTED, EXPECTED]
    assert found[1].boxes is None


def test_vocs_palette_is_read_by_index(read):
    """A palette file holds indices, whatever its colours are."""
    picture = Image.fromarray(values(0, 1, 2, 255).astype(np.uint8), "P")
    picture.putpalette(palette().ravel().tolist())
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    (example,) = read(PHOTO | {"masks/a.png": stream.getvalue()}, FOLDERS)
    assert example.mask.tolist() == EXPECTED
    colors = palette()[[1, 2]].tolist()
    entry = {"class_values": colors, "void_values": [palette()[255].tolist()]}
    (example,) = read(PHOTO | {"masks/a.png": stream.getvalue()}, FOLDERS, **entry)
    assert example.mask.tolist() == EXPECTED
