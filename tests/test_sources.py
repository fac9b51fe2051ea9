"""Sources: what they generate, and what they read from archives."""

import collections
import gzip
import hashlib
import io
import pickle
import struct
import tarfile

import cv2
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from PIL import Image

from cnnkeras.label_maps import VOID, decode_png, encode_png, palette
from pipeline.files.archives import Archives
from pipeline.runtime.errors import InputError
from pipeline.sources import SPLITS, digit_scenes, idx, mnist1d, voc
from pipeline.sources.digit_scenes import archive, drawing, entry
from pipeline.stages.augment.decoding import decode
from tests.archive_files import ANY_CHECKSUM, MIRROR, image, needs_mirror, write_archive

# ---- digit_scenes ----


def scenes_source(**changes):
    entry = {"kind": "digit_scenes", "seed": 3, "scenes": {"train": 40, "val": 33, "test": 5}}
    return digit_scenes.Source(**entry | changes)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    digit_scenes.fetch(scenes_source(), folder, mirrors=[])
    return folder


def test_scenes_are_the_same_bytes_whatever_the_number_of_processes(scenes, tmp_path, monkeypatch):
    """The archive is a function of its entry: two processes and one write the same file."""
    monkeypatch.setattr(archive, "available", lambda: 1)
    digit_scenes.fetch(scenes_source(), tmp_path, mirrors=[])
    digests = [hashlib.sha256((folder / digit_scenes.ARCHIVE).read_bytes()).digest() for folder in (scenes, tmp_path)]
    assert digests[0] == digests[1]


def test_the_number_of_scenes_leaves_each_scene_as_it_is():
    """A scene depends on (seed, split, number) alone: a larger data set begins with the smaller one."""
    few, many = scenes_source(), scenes_source(scenes={"train": 4000, "val": 1, "test": 1})
    first, second = (drawing.draw_scene(source, "train", 7) for source in (few, many))
    np.testing.assert_array_equal(first.image, second.image)
    other = drawing.draw_scene(scenes_source(seed=4), "train", 7)
    assert other.image.shape != first.image.shape or (other.image != first.image).any()


def test_no_handwritten_digit_serves_two_splits():
    """The 1,797 digits are dealt out: each to exactly one split."""
    dealt = drawing.handwriting(3)
    digits = [digit.tobytes() for split in SPLITS for part in dealt[split] for digit in part]
    assert len(digits) == len(set(digits)) == 1797


def test_scenes_hold_one_to_three_digits_as_asked():
    """The fractions of scenes with 1, 2 and 3 digits are the entry's; at least half of the default's hold two or more."""
    source = scenes_source()
    counts = [len(drawing.draw_scene(source, "train", number).labels) for number in range(200)]
    fractions = np.bincount(counts, minlength=4)[1:] / len(counts)
    np.testing.assert_allclose(fractions, source.digits_per_scene, atol=0.1)
    assert fractions[1:].sum() >= 0.5


def test_digits_stay_readable():
    """No digit is hidden by more than the entry allows or cut by the edge, and heights stay near the range asked for."""
    source = scenes_source()
    for number in range(60):
        scene = drawing.draw_scene(source, "val", number)
        assert (scene.hidden <= source.max_covered_fraction).all()
        height, width = scene.mask.shape
        assert (scene.boxes[:, :2] > 0).all()
        assert (scene.boxes[:, 2:] < [width - 1, height - 1]).all()
        heights = scene.boxes[:, 3] - scene.boxes[:, 1] + 1
        assert (heights > 0.6 * entry.MIN_DIGIT_HEIGHT).all()
        assert (heights < 1.4 * source.digit_height[1]).all()


def test_digits_stand_out_from_the_ground():
    """A digit is clearly lighter or darker than the ground: by 15 of the 100 steps of CIE L* at least."""
    source = scenes_source()
    for number in range(40):
        scene = drawing.draw_scene(source, "train", number)
        lightness = cv2.cvtColor(scene.image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[..., 0]
        ground = lightness[scene.mask == 0]
        for label in set(scene.labels):
            digit = np.median(lightness[scene.mask == label + 1])
            assert abs(digit - np.median(ground)) > 15


def test_scenes_read_like_any_voc_archive(scenes):
    """What the VOC reader finds agrees: boxes enclose exactly the pixels of their class, and void rings the digits."""
    source = scenes_source()
    for split, count in (("train", 40), ("val", 33), ("test", 5)):
        examples = digit_scenes.examples(source, scenes, masks=True, split=split)
        assert len(examples) == count
    image = Image.open(io.BytesIO(examples[0].image))
    assert image.format == "JPEG"
    assert Image.open(io.BytesIO(examples[0].mask)).getpalette()[:6] == palette()[:2].ravel().tolist()
    for example in examples:
        mask = decode_png(example.mask)
        assert mask.shape == Image.open(io.BytesIO(example.image)).size[::-1]
        assert set(np.unique(mask)) == {0, VOID} | {label + 1 for label in example.labels}
        alone = [label for label in example.labels if (example.labels == label).sum() == 1]
        for label in alone:
            rows, columns = np.nonzero(mask == label + 1)
            box = example.boxes[example.labels == label][0]
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        objects = ((mask > 0) & (mask != VOID)).astype(np.uint8)
        grown = cv2.dilate(objects, np.ones((3, 3), np.uint8)).astype(bool)
        assert ((mask == VOID) == (grown & (objects == 0))).all()


def test_scene_archive_is_genuine_voc(scenes):
    """The archive has the devkit's folders and lists, no times and no owners."""
    with tarfile.open(scenes / digit_scenes.ARCHIVE) as archive:
        members = archive.getmembers()
    names = {member.name for member in members}
    for expected in (
        "JPEGImages/train_000001.jpg",
        "Annotations/train_000001.xml",
        "SegmentationClass/train_000001.png",
        "ImageSets/Main/trainval.txt",
        "ImageSets/Main/seven_val.txt",
        "ImageSets/Segmentation/test.txt",
    ):
        assert f"VOCdevkit/VOC2012/{expected}" in names
    assert {(member.mtime, member.uid, member.gid, member.uname) for member in members} == {(0, 0, 0, "")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"digits_per_scene": (0.5, 0.2)}, "add up to 1"),
        ({"scene_size": (150, 120)}, "minimum, maximum"),
        ({"digit_height": (32, 120)}, "three quarters"),
    ],
)
def test_impossible_scenes_are_refused(changes, message):
    """Values that exclude each other are named."""
    with pytest.raises(ValueError, match=message):
        scenes_source(**changes)


# ---- voc ----

AWKWARD = """<annotation>
  <filename>awkward.jpg</filename>
  <object>
    <name>person</name>
    <part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>
    <bndbox><ymax>20</ymax><xmax>30</xmax><ymin>5.70000076293945</ymin><xmin>11</xmin></bndbox>
  </object>
  <object><name>dog</name><difficult>1</difficult>
    <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>40</xmax><ymax>24</ymax></bndbox></object>
  <object><name>dog</name><bndbox><xmin>7</xmin><ymin>7</ymin><xmax>7</xmax><ymax>7</ymax></bndbox></object>
  <object><name>dog</name><bndbox><xmin>41</xmin><ymin>3</ymin><xmax>60</xmax><ymax>9</ymax></bndbox></object>
  <object><name>dog</name><difficult>0</difficult>
    <bndbox><xmin>30</xmin><ymin>-4</ymin><xmax>55</xmax><ymax>9</ymax></bndbox></object>
</annotation>
"""


def voc_files(root="VOCdevkit/VOC2012", annotation=AWKWARD, ids=("awkward",)):
    mask = np.zeros((24, 40), np.uint8)
    mask[2:9, 3:12] = 15
    files = {}
    for id in ids:
        files[f"{root}/JPEGImages/{id}.jpg"] = image(40, 24)
        files[f"{root}/Annotations/{id}.xml"] = annotation.encode()
        files[f"{root}/SegmentationClass/{id}.png"] = encode_png(mask)
    for folder in ("Main", "Segmentation"):
        for name in ("train", "val"):
            files[f"{root}/ImageSets/{folder}/{name}.txt"] = "".join(f"{id}  1\r\n" for id in ids).encode()
    return files


def voc_source(root="VOCdevkit/VOC2012", name="voc.tar", **changes):
    entry = {
        "kind": "voc",
        "root": root,
        "files": [{"name": name, "sha256": ANY_CHECKSUM}],
        "splits": {"train": "train", "val": "val", "test": "val"},
    }
    return voc.Source(**entry | changes)


@pytest.mark.parametrize(("name", "root"), [("voc.tar", "VOCdevkit/VOC2012"), ("voc.zip", "BCCD"), ("voc.tar", "")])
def test_awkward_annotations_are_read_as_meant(tmp_path, name, root):
    """1-based inclusive corners become continuous; fractions, parts, missing tags, edges and bad boxes are understood."""
    write_archive(tmp_path / name, {key.removeprefix("/"): data for key, data in voc_files(root).items()})
    (example,) = voc.examples(voc_source(root, name), tmp_path, masks=False, split="train")
    expected = [
        [10, 4.70000076293945, 30, 20],  # (11 - 1, 5.7 - 1, 30, 20): the box of the person, not of its head
        [0, 0, 40, 24],  # touches all edges of the 40 x 24 image
        [29, 0, 40, 9],  # clipped
    ]
    np.testing.assert_allclose(example.boxes, expected)
    assert [voc.CLASSES[label] for label in example.labels] == ["person", "dog", "dog"]
    assert example.difficult.tolist() == [False, True, False]
    assert example.dropped == {"boxes without area": 1, "boxes outside the image": 1}
    assert example.mask is None


def test_masks_come_with_the_segmentation_lists(tmp_path):
    """For segmentation an image has its label map, as published, and its boxes."""
    write_archive(tmp_path / "voc.tar", voc_files())
    (example,) = voc.examples(voc_source(), tmp_path, masks=True, split="test")
    decoded = decode(example, classes=20)
    assert decoded.image.shape == (24, 40, 3)
    assert set(np.unique(decoded.mask)) == {0, 15}
    with pytest.raises(InputError, match=r"expected mask labels 0\.\.3 and 255; received: 15"):
        decode(example, classes=3)


def test_a_fraction_of_the_training_list_can_serve_as_validation(tmp_path):
    """`val: 0.25` takes a quarter of the training list by the seed; the rest trains; nothing is in both."""
    ids = [f"image_{number:02d}" for number in range(20)]
    write_archive(tmp_path / "voc.tar", voc_files(ids=ids))

    def split(name, seed):
        source = voc_source(splits={"train": "train", "val": 0.25, "test": "val", "seed": seed})
        return [example.id for example in voc.examples(source, tmp_path, masks=False, split=name)]

    assert len(split("val", 0)) == 5
    assert sorted(split("val", 0) + split("train", 0)) == ids
    assert split("val", 0) == split("val", 0) != split("val", 1)
    assert split("test", 0) == ids


def test_two_years_are_one_source(tmp_path):
    """07+12: lists of two folders below one root, from two archives, one after the other; the fraction is drawn from both."""
    first, second = [f"{number:06d}" for number in range(6)], [f"2008_{number:06d}" for number in range(4)]
    write_archive(tmp_path / "07.tar", voc_files("VOCdevkit/VOC2007", ids=first))
    write_archive(tmp_path / "12.tar", voc_files("VOCdevkit/VOC2012", ids=second))
    source = voc_source(
        "VOCdevkit",
        files=[{"name": name, "sha256": ANY_CHECKSUM} for name in ("07.tar", "12.tar")],
        splits={"train": ["VOC2007/train", "VOC2012/train"], "val": 0.2, "test": "VOC2007/val"},
    )

    def split(name, masks=False):
        return [example.id for example in voc.examples(source, tmp_path, masks=masks, split=name)]

    assert sorted(split("train") + split("val")) == first + second
    assert len(split("val")) == 2
    assert split("test", masks=True) == first
    names = {"train": ["VOC2007/train", "VOC2007/val"], "val": 0.2, "test": "VOC2007/val"}
    twice = voc_source("VOCdevkit", files=source.files, splits=names)
    with pytest.raises(InputError, match=r"splits\.train: expected each id in one list, once; received: '?000000"):
        voc.examples(twice, tmp_path, masks=False, split="train")


def label_file(labels):
    """A label map as Hariharan et al. publish it: MATLAB's struct GTcls, with sparse boundaries of each class."""
    boundaries = np.empty((20, 1), object)
    for number in range(20):
        boundaries[number, 0] = scipy.sparse.csc_matrix(labels.shape, dtype=bool)
    stream = io.BytesIO()
    content = {"Boundaries": boundaries, "Segmentation": labels, "CategoriesPresent": np.unique(labels[labels > 0])}
    scipy.io.savemat(stream, {"GTcls": content}, do_compression=True)
    return stream.getvalue()


def test_masks_of_others_add_training_images(tmp_path):
    """Images that no split lists join the training split for segmentation with the other map; VOC's own maps stay."""
    every = ["own", "tested", "more", "another"]
    files = voc_files(ids=every)
    root = "VOCdevkit/VOC2012"
    for name, listed in (("train", b"own\n"), ("val", b"tested\n")):
        files[f"{root}/ImageSets/Segmentation/{name}.txt"] = listed
    for id in ("more", "another"):
        del files[f"{root}/SegmentationClass/{id}.png"]
    labels = np.zeros((24, 40), np.uint8)
    labels[3:9, 4:20] = 7
    extra = "benchmark_RELEASE/dataset"
    lists = {f"{extra}/train.txt": b"own\nmore\n", f"{extra}/val.txt": b"tested\nanother\nmore\n"}
    write_archive(tmp_path / "voc.tar", files)
    write_archive(tmp_path / "benchmark.tgz", lists | {f"{extra}/cls/{id}.mat": label_file(labels) for id in every})
    source = voc_source(
        files=[{"name": name, "sha256": ANY_CHECKSUM} for name in ("voc.tar", "benchmark.tgz")],
        extra_masks={"root": extra},
    )

    def split(name, masks=True):
        return list(voc.examples(source, tmp_path, masks=masks, split=name))

    assert [example.id for example in split("train")] == ["own", "more", "another"]
    assert [example.id for example in split("val")] == ["tested"]
    assert [example.id for example in split("train", masks=False)] == every
    own, more, _ = (decode(example, classes=20) for example in split("train"))
    assert set(np.unique(own.mask)) == {0, 15}
    np.testing.assert_array_equal(more.mask, labels)
    assert len(more.boxes) == len(own.boxes)


@pytest.mark.parametrize("damage", [lambda mat: mat[:200], lambda _: b"no MATLAB", lambda mat: mat[:-30] + bytes(30)])
def test_a_damaged_mask_of_others_is_named(damage):
    """Cut, of another kind, or overwritten."""
    whole = label_file(np.ones((24, 40), np.uint8))
    assert voc.read_label_map(whole, "cls/a.mat").sum() == 24 * 40
    with pytest.raises(InputError, match=r"cls/a\.mat: expected MATLAB's format 5 with GTcls"):
        voc.read_label_map(damage(whole), "cls/a.mat")


@needs_mirror
def test_the_real_years_are_one_source():
    """VOC 2007's samples and VOC 2012's subset: two difficult boxes in 000005, and both years' images."""
    files = [{"name": name, "sha256": ANY_CHECKSUM} for name in ("voc2007-samples.tar", "voc2012-subset.tar")]
    splits = {"train": ["VOC2007/trainval", "VOC2012/train"], "val": "VOC2012/val", "test": "VOC2007/test"}
    source = voc_source("VOCdevkit", files=files, splits=splits)
    train = voc.examples(source, MIRROR, masks=False, split="train")
    ids = [example.id for example in train]
    assert "000005" in ids
    assert any(id.startswith("2007_") for id in ids)
    assert train[ids.index("000005")].difficult.sum() == 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (voc_files(annotation="<annotation><object>"), r"awkward\.xml: expected XML"),
        (
            voc_files(annotation=AWKWARD.replace(">dog<", ">dgo<")),
            "unknown class 'dgo'; did you mean 'dog'",
        ),
        (voc_files(annotation=AWKWARD.replace(">11<", ">eleven<")), "expected a number in <xmin>; received: 'eleven'"),
        (voc_files(annotation=AWKWARD.replace("bndbox", "box")), "expected a <bndbox>"),
        (voc_files() | {"VOCdevkit/VOC2012/JPEGImages/awkward.jpg": b"GIF"}, "expected an image"),
        (
            voc_files() | {"VOCdevkit/VOC2012/ImageSets/Main/train.txt": b"../../etc/passwd\n"},
            r"expected an image .*passwd\.jpg in the archive; received: none",
        ),
        (voc_files() | {"VOCdevkit/VOC2012/ImageSets/Main/train.txt": b"\n"}, "an empty list"),
        (voc_files() | {"VOCdevkit/VOC2012/ImageSets/Main/train.txt": b"other\n"}, r"expected an image .*other\.jpg"),
        (voc_files(root="elsewhere"), "expected a list VOCdevkit/VOC2012/ImageSets/Main/train.txt"),
    ],
)
def test_a_broken_archive_is_named(tmp_path, files, message):
    """A member that is missing or not as VOC defines it gives one line that names it."""
    write_archive(tmp_path / "voc.tar", files)
    with pytest.raises(InputError, match=message):
        list(voc.examples(voc_source(), tmp_path, masks=False, split="train"))


def test_archives_refuse_what_is_none(tmp_path):
    """A file that is no archive, a cut one and a missing one are named; links inside are never followed."""
    (tmp_path / "voc.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(InputError, match=r"expected a \.tar .* or a \.zip"):
        Archives([tmp_path / "voc.tar"])
    with pytest.raises(InputError, match="no such file"):
        Archives([tmp_path / "missing.tar"])
    for name in ("whole.tar", "whole.zip"):
        write_archive(tmp_path / name, voc_files())
        whole = (tmp_path / name).read_bytes()
        for kept in (0, 100, 600, len(whole) // 2 // 512 * 512 + 100):
            (tmp_path / name).write_bytes(whole[:kept])
            with pytest.raises(InputError, match=rf"{name}: expected .* cut off, run `cnnkeras download`"):
                Archives([tmp_path / name])
    with tarfile.open(tmp_path / "link.tar", "w") as archive:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    assert "link" not in Archives([tmp_path / "link.tar"])


@needs_mirror
def test_real_voc_is_read():
    """The mirror's VOC 2012 subset: 93 masks (43 train, 50 val) of the images' size, boxes inside the images."""
    source = voc_source(name="voc2012-subset.tar")
    masks = collections.Counter()
    for split, count in (("train", 43), ("val", 50)):
        examples = voc.examples(source, MIRROR, masks=True, split=split)
        assert len(examples) == count
        for example in examples:
            decoded = decode(example, classes=20)
            masks.update(np.unique(decoded.mask).tolist())
            height, width = decoded.mask.shape
            assert (example.boxes >= 0).all()
            assert (example.boxes <= [width, height, width, height]).all()
    assert masks[VOID] == 93
    assert set(range(21)) <= set(masks)


@needs_mirror
def test_other_roots_and_classes_are_read():
    """BCCD: a .zip, another root, three classes, 4,888 boxes of which two have no area."""
    splits = {"train": "train", "val": "val", "test": "test"}
    source = voc_source("BCCD_Dataset/BCCD", "bccd.zip", classes=["RBC", "WBC", "Platelets"], splits=splits)
    boxes, dropped = 0, collections.Counter()
    for split, count in (("train", 205), ("val", 87), ("test", 72)):
        examples = voc.examples(source, MIRROR, masks=False, split=split)
        assert len(examples) == count
        for example in examples:
            boxes += len(example.boxes)
            dropped.update(example.dropped)
    assert dropped == {"boxes without area": 2}
    assert boxes + 2 == 4888


@needs_mirror
def test_broken_images_are_named():
    """A truncated JPEG is an error that names the image, not an image with a grey part."""
    from pipeline.sources import Example

    for name in ("truncated_8192B_VOC2007_000001.jpg", "truncated_tail_kangaroo_00090.jpg"):
        with pytest.raises(InputError, match=f"{name}: expected a whole image"):
            decode(Example(id=name, image=(MIRROR / "broken" / name).read_bytes()), classes=1)


# ---- mnist1d ----


@pytest.fixture(scope="module")
def signals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mnist1d")
    mnist1d.fetch(mnist1d.Source(kind="mnist1d"), folder, mirrors=[])
    return folder


class NumpyOnly(pickle.Unpickler):
    """Unpickles NumPy arrays and nothing else."""

    def find_class(self, module, name):
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): __import__("_codecs").encode,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return allowed[module, name]


@needs_mirror
def test_mnist1d_equals_the_published_file(signals):
    """The generated signals and labels equal mnist1d_data.pkl in float32."""
    with (MIRROR / "mnist1d" / "mnist1d_data.pkl").open("rb") as file:
        published = NumpyOnly(file).load()
    with np.load(signals / mnist1d.ARCHIVE) as generated:
        for name in ("x", "x_test"):
            np.testing.assert_array_equal(generated[name], published[name].astype(np.float32))
        for name in ("y", "y_test"):
            np.testing.assert_array_equal(generated[name], published[name])


def test_mnist1d_has_the_published_counts(signals):
    """4,000 + 1,000 signals with the published class counts; the last 400 of the training part validate."""
    source = mnist1d.Source(kind="mnist1d")
    train, val, test = (mnist1d.examples(source, signals, masks=False, split=split) for split in SPLITS)
    assert (len(train), len(val), len(test)) == (3600, 400, 1000)
    labels = np.array([example.label for part in (train, val) for example in part])
    assert np.bincount(labels).tolist() == [398, 396, 411, 394, 394, 402, 401, 404, 402, 398]
    assert np.bincount([example.label for example in test]).tolist() == [102, 104, 89, 106, 106, 98, 99, 96, 98, 102]
    assert train[0].image.shape == (40, 1)
    assert train[0].image.dtype == np.float32
    assert (val[0].id, test[0].id) == ("train_3600", "test_0000")


def test_mnist1d_is_the_same_bytes_and_leaves_global_generators_alone(signals, tmp_path):
    """The package seeds NumPy's global generator; afterwards it is as before."""
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - the global generator is what this is about
    mnist1d.fetch(mnist1d.Source(kind="mnist1d"), tmp_path, mirrors=[])
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert (tmp_path / mnist1d.ARCHIVE).read_bytes() == (signals / mnist1d.ARCHIVE).read_bytes()


# ---- idx ----


def idx_bytes(values):
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def write_idx(folder, *, train=20, test=4):
    rng = np.random.default_rng(0)
    for part, count in (("train", train), ("test", test)):
        images = rng.integers(0, 256, (count, 5, 7), dtype=np.uint8)
        (folder / f"{part}_images.gz").write_bytes(gzip.compress(idx_bytes(images)))
        (folder / f"{part}_labels").write_bytes(idx_bytes(np.arange(count, dtype=np.uint8) % 3))


def idx_source(**changes):
    names = ("train_images.gz", "train_labels", "test_images.gz", "test_labels")
    files = {name.removesuffix(".gz"): {"name": name, "sha256": ANY_CHECKSUM} for name in names}
    entry = {"kind": "idx", "classes": ["a", "b", "c"], "files": files}
    return idx.Source(**entry | changes)


def test_idx_files_are_read(tmp_path):
    """Plain and gzipped files; grey becomes RGB; the validation split is a seeded fraction of the training part."""
    write_idx(tmp_path)
    train, val, test = (idx.examples(idx_source(), tmp_path, masks=False, split=split) for split in SPLITS)
    assert (len(train), len(val), len(test)) == (18, 2, 4)
    assert len({example.id for example in (*train, *val)}) == 20
    images = idx.read_idx(tmp_path / "test_images.gz", dimensions=3)
    assert [example.label for example in test] == [0, 1, 2, 0]
    np.testing.assert_array_equal(test[3].image, np.stack([images[3]] * 3, axis=-1))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("test_labels", idx_bytes(np.zeros((3,), np.uint8)), "expected 4 labels"),
        ("test_labels", idx_bytes(np.full((4,), 7, np.uint8)), "unknown class .7. .known: 0, 1, 2"),
        ("test_labels", idx_bytes(np.zeros((4,), np.uint8))[:-1], "expected 4 bytes, as its header says; received: 3"),
        ("test_labels", b"PK..", "received: it starts with 504b2e2e"),
        (
            "test_images.gz",
            gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, 4, 5, 6) + bytes(120), mtime=0)[:-9],
            "expected an idx file, .* cut off, run `cnnkeras download`",
        ),
        ("test_images.gz", gzip.compress(b"abc" * 99, mtime=0), "received: it starts with 61626361"),
        (
            "test_images.gz",
            gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, 4, 5, 6) + bytes(10_000_000), mtime=0),
            "4 x 5 x 6 bytes, as its header says; received: more",
        ),
        (
            "test_images.gz",
            gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, *[2**32 - 1] * 3) + bytes(99), mtime=0),
            "as its header says; received: 99",
        ),
    ],
)
def test_broken_idx_files_are_named(tmp_path, name, content, message):
    """Files that are cut, mixed up or something else give one line that names them."""
    write_idx(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: .*{message}"):
        idx.examples(idx_source(), tmp_path, masks=False, split="test")


@needs_mirror
def test_real_fashion_mnist_is_read():
    """The mirror's Fashion-MNIST: 60,000 + 10,000 images of 28 x 28, evenly over ten classes."""
    names = {
        "train_images": "train-images-idx3-ubyte.gz",
        "train_labels": "train-labels-idx1-ubyte.gz",
        "test_images": "t10k-images-idx3-ubyte.gz",
        "test_labels": "t10k-labels-idx1-ubyte.gz",
    }
    files = {key: {"name": f"fashion-mnist/{name}", "sha256": ANY_CHECKSUM} for key, name in names.items()}
    source = idx_source(files=files, classes=[str(label) for label in range(10)])
    test = idx.examples(source, MIRROR, masks=False, split="test")
    assert test[0].image.shape == (28, 28, 3)
    assert np.bincount([example.label for example in test]).tolist() == [1000] * 10
    train, val = (idx.examples(source, MIRROR, masks=False, split=split) for split in ("train", "val"))
    assert (len(train), len(val)) == (54000, 6000)
