"""Sources of images in folders, of pairs of images and label maps, CIFAR's records and COCO's instances."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from click.testing import CliRunner
from ruamel.yaml import YAML

from cnnkeras.label_maps import VOID, encode_png
from pipeline import sources
from pipeline.cli import main
from pipeline.files.archives import Archives
from pipeline.files.image_files import images
from pipeline.files.splits import Splits
from pipeline.formats import packed as records
from pipeline.formats.objects import read_objects
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError
from pipeline.sources import SPLITS, cifar, coco, image_folder, mask_pairs
from pipeline.stages import augment
from pipeline.stages.augment.decoding import decode
from tests.archive_files import ANY_CHECKSUM, MIRROR, image, needs_mirror, write_archive

REPOSITORY = Path(__file__).parents[1]


def files(name):
    return [{"name": name, "sha256": ANY_CHECKSUM}]


# ---- image_folder ----


def folder_source(name="images.tar", **changes):
    entry = {
        "kind": "image_folder",
        "files": files(name),
        "folders": ["cat", "dog"],
        "splits": {"train": "train", "val": 0.25, "test": "val"},
    }
    return image_folder.Source(**entry | changes)


def folder_files(root="", parts=("train", "val")):
    return {
        f"{root}{part}/{name}/{number}.jpg": image(6, 4, value=number)
        for part in parts
        for name in ("cat", "dog")
        for number in range(6)
    }


def split_of(kind, source, folder, split, masks=False):
    return list(kind.examples(source, folder, masks=masks, split=split))


@pytest.mark.parametrize("name", ["images.tar", "images.tgz", "images.zip"])
def test_folders_are_classes(tmp_path, name):
    """ImageNet's layout below a root; ids are paths; a fraction of the training part validates; hidden files are none."""
    extra = {"top/train/cat/._0.jpg": b"a Mac's", "__MACOSX/top/train/cat/0.jpg": b"", "top/train/readme.txt": b"x"}
    write_archive(tmp_path / name, folder_files("top/") | extra)
    source = folder_source(name, root="top", folders={"cat": "Felis", "dog": "Canis"})
    assert sources.class_names(source, tmp_path) == ("Felis", "Canis")
    train, val, test = (split_of(image_folder, source, tmp_path, split) for split in SPLITS)
    assert (len(train), len(val), len(test)) == (9, 3, 12)
    assert {example.id for example in (*train, *val)} == {f"train_{c}_{n}" for c in ("cat", "dog") for n in range(6)}
    assert [example.label for example in test] == [0] * 6 + [1] * 6
    assert test[7].id == "val_dog_1"
    assert test[7].image == image(6, 4, value=1)


def test_a_link_among_images_is_not_passed_over(tmp_path):
    """Such an image would be missing from its class without a word; one that a list names is the same."""
    write_archive(tmp_path / "images.tar", folder_files())
    with tarfile.open(tmp_path / "images.tar", "a") as archive:
        for name in ("train/cat/link.png", "train/cat/.link.png"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, "0.jpg"
            archive.addfile(link)
    with pytest.raises(InputError, match=r"a member train/cat/link\.png; received: a link or device\. Put files"):
        [
            *split_of(image_folder, folder_source(), tmp_path, "train"),
            *split_of(image_folder, folder_source(), tmp_path, "val"),
        ]


def test_one_folder_can_serve_all_splits(tmp_path):
    """Fractions for validation and test are disjoint, drawn by the seed, and leave the rest to train."""
    write_archive(tmp_path / "images.tar", folder_files(parts=(".",)) | {"notes.txt": b""})
    drawn = {}
    for seed in (0, 1):
        source = folder_source(splits={"train": ".", "val": 0.25, "test": 0.5, "seed": seed})
        ids = [[example.id for example in split_of(image_folder, source, tmp_path, split)] for split in SPLITS]
        assert [len(part) for part in ids] == [3, 3, 6]
        assert len({id for part in ids for id in part}) == 12
        drawn[seed] = ids
    assert drawn[0] != drawn[1]


def test_lists_name_images(tmp_path):
    """By paths as on their author's disk, with the class as a folder, or behind it as a position or a folder."""
    lists = {
        "train.txt": b"/disk/me/train/dog/3.jpg\n\ntrain/cat/0.jpg\n",
        "test.txt": b"flat.png 1\nval/dog/1.jpg cat\n",
    }
    write_archive(tmp_path / "images.tar", folder_files() | lists | {"flat.png": image(3, 3, "PNG")})
    source = folder_source(splits={"train": "train.txt", "val": 0.4, "test": "test.txt"})
    test = split_of(image_folder, source, tmp_path, "test")
    assert [(example.id, example.label) for example in test] == [("flat", 1), ("val_dog_1", 0)]
    both = [split_of(image_folder, source, tmp_path, split)[0] for split in ("train", "val")]
    assert {(example.id, example.label) for example in both} == {("train_dog_3", 1), ("train_cat_0", 0)}


def tar(files):
    with tempfile.TemporaryDirectory() as folder:
        write_archive(Path(folder) / "x.tar", files)
        return (Path(folder) / "x.tar").read_bytes()


def test_imagenets_official_files_are_a_source(tmp_path):
    """A .tar of a .tar a class, a .tar of validation images without folders, and a .tar.gz of lists: by folders and by lists."""
    one, other = (tar({f"{wnid}_{n}.JPEG": image(3, 3, value=n) for n in range(4)}) for wnid in ("n01", "n02"))
    write_archive(tmp_path / "train.tar", {"n01.tar": one, "n02.tar": other})
    write_archive(tmp_path / "val.tar", {f"val_{n}.JPEG": image(4, 4, value=n) for n in range(2)})
    lists = {
        "train.txt": b"n01/n01_3.JPEG 0\nn02/n02_0.JPEG 1\nn02/n02_1.JPEG 1",
        "val.txt": b"val_0.JPEG 1\nval_1.JPEG 0",
    }
    write_archive(tmp_path / "lists.tar.gz", lists)
    names = ["train.tar", "val.tar", "lists.tar.gz"]
    source = folder_source(
        files=[*(files(name)[0] for name in names)],
        folders=["n01", "n02"],
        splits={"train": "train.txt", "val": 0.3, "test": "val.txt"},
    )
    train, val, test = (split_of(image_folder, source, tmp_path, split) for split in SPLITS)
    assert len(train) == 2
    assert {(example.label, example.image) for example in (*train, *val)} == {
        (0, image(3, 3, value=3)),
        (1, image(3, 3, value=0)),
        (1, image(3, 3, value=1)),
    }
    assert [(example.id, example.label) for example in test] == [("val_0", 1), ("val_1", 0)]
    by_folders = folder_source("train.tar", folders=["n01", "n02"], splits={"train": ".", "val": 0.3, "test": 0.3})
    assert len(split_of(image_folder, by_folders, tmp_path, "train")) == 4


DEVKIT = "ILSVRC2012_devkit_t12/data/"
GROUND_TRUTH = DEVKIT + "ILSVRC2012_validation_ground_truth.txt"


def meta_mat(ids, key="ILSVRC2012_ID"):
    """The development kit's meta.mat: a struct array `synsets`, the classes by their ids, then an inner node of WordNet."""
    fields = [key, "WNID", "words", "gloss", "num_children", "children", "wordnet_height", "num_train_images"]
    synsets = np.empty((len(ids) + 1, 1), [(name, object) for name in fields])
    for row, (wnid, id) in enumerate(ids.items()):
        synsets[row, 0] = (float(id), wnid, f"the {wnid}", "a gloss", 0.0, np.empty((0, 0)), 0.0, 4.0)
    synsets[-1, 0] = (1001.0, "n00", "entity", "what exists", 2.0, np.arange(1.0, 3.0), 1.0, 0.0)
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"synsets": synsets})
    return stream.getvalue()


def official_files(folder, labels="3\n1\n2\n2\n", meta=None, images=4):
    """The three files that image-net.org gives out, of three classes; returns the entry of their source."""
    wnids = ("n01", "n02", "n03")
    classes = {
        f"{c}.tar": tar({f"{c}_{n}.JPEG": image(3, 3, value=16 * int(c[1:]) + n) for n in range(4)}) for c in wnids
    }
    write_archive(folder / "ILSVRC2012_img_train.tar", classes)
    names = [f"ILSVRC2012_val_{n + 1:08d}.JPEG" for n in reversed(range(images))]  # of no order
    write_archive(folder / "ILSVRC2012_img_val.tar", {name: image(4, 4, value=int(name[-6])) for name in names})
    # The kit's numbers are in no order of the folders' names.
    meta = meta_mat({"n02": 1, "n03": 2, "n01": 3}) if meta is None else meta
    write_archive(folder / "ILSVRC2012_devkit_t12.tar.gz", {GROUND_TRUTH: labels.encode(), f"{DEVKIT}meta.mat": meta})
    archives = ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz")
    splits = {"train": ".", "val": 0.25, "test": GROUND_TRUTH}
    return folder_source(files=[files(name)[0] for name in archives], folders=list(wnids), splits=splits)


def test_imagenets_development_kit_labels_the_validation_images(tmp_path):
    """Line i is image i's number in the kit, which meta.mat turns into a folder; the classes are those of `folders`, in their order."""
    source = official_files(tmp_path)
    train, val, test = (split_of(image_folder, source, tmp_path, split) for split in SPLITS)
    # 3, 1, 2, 2 are n01, n02, n03, n03.
    assert [(example.id, example.label) for example in test] == [
        ("ILSVRC2012_val_00000001", 0),
        ("ILSVRC2012_val_00000002", 1),
        ("ILSVRC2012_val_00000003", 2),
        ("ILSVRC2012_val_00000004", 2),
    ]
    assert [example.image for example in test] == [image(4, 4, value=number) for number in range(1, 5)]
    # The training images are those in the classes' archives, without the ones that the kit labels.
    assert (len(train), len(val)) == (9, 3)
    assert {(example.id[:11], example.label) for example in (*train, *val)} == {
        ("n01.tar_n01", 0), ("n02.tar_n02", 1), ("n03.tar_n03", 2),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": "3\n4\n"}, "expected an ILSVRC2012_ID of meta.mat in line 2; received: '4'"),
        ({"labels": "3\n1001\n"}, "line 2: unknown class folder 'n00'"),
        ({"images": 3}, "expected ILSVRC2012_val_00000004.JPEG, which line 4 labels; received: no such image"),
        (
            {"meta": b"no MATLAB file"},
            "meta.mat: expected a struct array `synsets` with ILSVRC2012_ID and WNID; received",
        ),
        ({"meta": b""}, "meta.mat: expected a struct array"),
        ({"meta": meta_mat({"n01": 1}, key="ILSVRC2010_ID")}, "expected a struct array `synsets` with ILSVRC2012_ID"),
    ],
)
def test_a_wrong_development_kit_is_named(tmp_path, changes, message):
    """A number without a class, a class without a folder, an image that is not there, another file in place of meta.mat."""
    with pytest.raises(InputError, match=message):
        split_of(image_folder, official_files(tmp_path, **changes), tmp_path, "test")


def test_imagenet_is_told_where_to_be_put_and_packed_from_there(tmp_path, monkeypatch):
    """As in recipes/imagenet.yaml: MD5 sums, a login page and no address; found in the mirror, packed as JPEG files, nothing unpacked."""
    published = tmp_path / "put here"
    published.mkdir()
    source = official_files(published)
    recipe = YAML(typ="safe").load(REPOSITORY / "recipes/imagenet.yaml")
    entry = {**recipe["sources"]["imagenet"], "folders": list(source.folders), "splits": source.splits.model_dump()}
    for file in entry["files"]:
        file["md5"] = hashlib.md5((published / file["name"]).read_bytes()).hexdigest()
    assert recipe["sources"]["imagenet"]["splits"]["test"] == source.splits.test
    dataset = {key: value for key, value in recipe["datasets"]["imagenet"].items() if key != "shorter_side"}
    dataset["size"] = [8, 8]
    params = {"seed": 1, "sources": {"imagenet": entry}, "datasets": {"imagenet": dataset}, "experiments": {}}
    (tmp_path / "params.yaml").write_text(json.dumps(params), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(main, ["download", "imagenet"])
    assert refused.exit_code == 2
    assert "behind a login: get it from https://image-net.org/" in refused.stderr
    assert f"put it at {tmp_path}/data/raw/imagenet/ILSVRC2012_" in refused.stderr
    monkeypatch.setenv("CNNKERAS_MIRROR", str(published))
    for command in (["download", "imagenet"], ["augment", "imagenet", "--workers", "1"]):
        ended = CliRunner().invoke(main, command)
        assert ended.exit_code == 0, ended.output
    packed = records.open_split(tmp_path / "data/augmented/imagenet", "test")
    assert isinstance(packed["inputs"], records.Images)
    assert packed["labels"].tolist() == [0, 1, 2, 2]
    assert {file.suffix for file in (tmp_path / "data/raw/imagenet").iterdir()} == {".tar", ".gz"}


READER = '''
"""Images of one grey each, named in the entry."""

from typing import Literal

import numpy as np

from pipeline import sources

TASKS = ("classification",)


class Source(sources.SourceEntry):
    """Entry of a `greys` source."""

    kind: Literal["greys"]
    values: tuple[int, ...]

    @property
    def classes(self):
        return ("dark", "light")


def fetch(source, folder, *, mirrors):
    (folder / "values.txt").write_text(" ".join(map(str, source.values)))


def examples(source, folder, *, masks, split):
    start = ("train", "val", "test").index(split)
    values = [int(value) for value in (folder / "values.txt").read_text().split()][start::3]
    return [sources.Example(id=str(v), image=np.full((4, 4, 3), v, np.uint8), label=int(v > 127)) for v in values]
'''


def test_a_reader_of_ones_own_is_one_file(tmp_path):
    """A file in pipeline/sources is a kind: its name and keys are known to params.yaml, and stages run it."""
    repository = Path(__file__).parents[1]
    for package in ("cnnkeras", "pipeline"):
        shutil.copytree(repository / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "pipeline" / "sources" / "greys.py").write_text(READER)

    def run(values, *command):
        text = f"""\
seed: 1
sources: {{mine: {{kind: greys, {values}: [1, 2, 3, 201, 202, 203]}}}}
datasets: {{mine: {{source: mine, task: classification, size: [4, 4]}}}}
experiments: {{}}
"""
        (tmp_path / "params.yaml").write_text(text)
        return subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *command],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    ended = run("vlaues", "download", "mine")
    assert "params.yaml:2: sources.mine.vlaues: unknown key 'vlaues'; did you mean 'values'?" in ended.stderr
    for command in (["download", "mine"], ["augment", "mine", "--workers", "1"]):
        ended = run("values", *command)
        assert ended.returncode == 0, ended.stderr
    packed = records.open_split(tmp_path / "data/augmented/mine", "test")
    assert [packed["ids"].tolist(), packed["labels"].tolist()] == [["3", "203"], [0, 1]]


@pytest.mark.parametrize(
    ("changes", "extra", "message"),
    [
        ({"folders": ["cat", "dgo"]}, {}, "unknown class folder 'dog'; did you mean 'dgo'.* Name it under `folders`"),
        ({"folders": ["cat", "dog", "cow"]}, {}, "train: expected images of each class; received: none of cow"),
        ({"root": "top"}, {}, "expected images in a folder top/train/ of the archive; received: none, but train"),
        ({}, {"train/x.jpg": b""}, "train/x.jpg: expected images in a folder per class"),
        (
            {"splits": {"train": "l.txt", "val": 0.1, "test": "val"}},
            {"l.txt": b"no.jpg 0\nno.jpg 1"},
            "received: 'no.jpg'",
        ),
        (
            {"splits": {"train": "l.txt", "val": 0.1, "test": "val"}},
            {"l.txt": b"train/cat/0.jpg 2"},
            "unknown class folder '2'",
        ),
        *(
            (
                {"splits": {"train": "l.txt", "val": 0.1, "test": "val"}},
                {"l.txt": f"{line}\n{line}".encode()},
                f"images that are in the archive; received: '{line}'",
            )
            for line in ("train/cat/0.JPG", "train/cat/0.jpg,cat", '"train/cat/0.jpg"')
        ),
        ({"splits": {"train": "l.txt", "val": 0.1, "test": "val"}}, {"l.txt": b"\n"}, "received: an empty list"),
        ({"splits": {"train": "l.txt", "val": 0.1, "test": "val"}}, {}, "expected a member l.txt"),
        ({"splits": {"train": "train", "val": 0.9, "test": 0.09}}, {}, "expected more than 12 examples.*received: 12"),
    ],
)
def test_wrong_folders_are_named(tmp_path, changes, extra, message):
    """A folder, a class or a list that is not as the entry says gives one line."""
    write_archive(tmp_path / "images.tar", folder_files() | extra)
    with pytest.raises(InputError, match=message):
        split_of(image_folder, folder_source(**changes), tmp_path, "train")


def test_folders_are_distinct():
    """A folder twice in a list could be two classes."""
    with pytest.raises(ValueError, match=r"expected distinct names; received: cat, cat"):
        folder_source(folders=["cat", "cat"])


@pytest.mark.parametrize("kind", sources.names())
def test_every_kind_says_its_splits_alike(kind):
    """`splits` is the same entry in every kind that reads published parts; two kinds make their data and have none, and one has no data."""
    splits = sources.load(kind).Source.model_fields.get("splits")
    if kind in ("digit_scenes", "files", "mnist1d"):
        assert splits is None
    else:
        assert issubclass(splits.annotation, Splits)


def test_fractions_leave_some_to_train_on():
    """Half and half leave nothing: the entry is refused, whatever the number of examples."""
    with pytest.raises(
        ValueError, match=r"expected fractions of `train` below 1 together; received: val: 0.5 and test: 0.5"
    ):
        Splits[str](train="all", val=0.5, test=0.5)


def test_fractions_are_drawn_one_after_the_other():
    """NumPy's permutation of ten by seed 0 is 4 6 2 7 3 5 9 0 8 1: val has its first two, test the next, train the rest."""
    splits = Splits[str](train="all", val=0.2, test=0.14)
    drawn = {split: splits.positions(split, 10).tolist() for split in SPLITS}
    assert drawn == {"train": [0, 1, 3, 5, 7, 8, 9], "val": [4, 6], "test": [2]}
    assert {splits.part(split) for split in SPLITS} == set(splits.parts()) == {"all"}
    published = Splits[str](train="a", val="b", test="c")
    assert [published.part(split) for split in SPLITS] == published.parts() == ["a", "b", "c"]
    assert all(published.positions(split, 3).tolist() == [0, 1, 2] for split in SPLITS)


def test_ids_are_safe_and_unique(tmp_path):
    """Paths that differ in what no file name may hold still have ids of their own."""
    names = [
        "train/cat/a b.jpg",
        "train/cat/a:b.jpg",
        "train/cat/a?b.jpg",
        "train/cat/a?b.png",
        "train/dog/.jpg.jpg",
        "train/dog/ä.jpg",
    ]
    write_archive(tmp_path / "images.tar", {name: image(2, 2) for name in names} | folder_files(parts=["val"]))
    source = folder_source(splits={"train": "train", "val": "val", "test": "val"})
    ids = [example.id for example in split_of(image_folder, source, tmp_path, "train")]
    assert sorted(ids) == ["train_cat_a b", "train_cat_a_b", "train_cat_a_b-2", "train_cat_a_b-3", "train_dog_ä"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("gif.jpg", image(6, 4, "GIF", mode="P")),
        ("grey.jpg", image(6, 4, mode="L")),
        ("cmyk.jpg", image(6, 4, mode="CMYK")),
        ("palette.png", image(6, 4, "PNG", mode="P")),
        ("alpha.png", image(6, 4, "PNG", mode="RGBA")),
        ("bits.png", image(6, 4, "PNG", value=255, mode="1")),
    ],
)
def test_images_of_every_kind_become_rgb(tmp_path, name, data):
    """A GIF named .jpg, grey, CMYK, palette, transparent and black-and-white images."""
    write_archive(tmp_path / "images.zip", {f"train/{c}/{name}": data for c in ("cat", "dog")} | folder_files())
    examples = split_of(image_folder, folder_source("images.zip"), tmp_path, "train")
    found = [decode(example, classes=2).image for example in examples if name.split(".")[0] in example.id]
    assert found
    for pixels in found:
        assert pixels.shape == (4, 6, 3)
        assert pixels.dtype == np.uint8
        assert abs(pixels.mean() - (255 if name == "bits.png" else 90)) < 5


@needs_mirror
def test_real_imagenette_is_read():
    """The mirror's Imagenette: 1,000 + 400 images of 224 x 224 in a .tgz, some of them grey."""
    wnids = "n01440764 n02102040 n02979186 n03000684 n03028079 n03394916 n03417042 n03425413 n03445777 n03888257"
    source = folder_source("imagenette-subset.tgz", root="imagenette2", folders=wnids.split())
    train, val, test = (image_folder.examples(source, MIRROR, masks=False, split=split) for split in SPLITS)
    assert (len(train), len(val), len(test)) == (750, 250, 400)
    assert np.bincount([test[index].label for index in range(400)]).tolist() == [40] * 10
    assert decode(test[123], classes=10).image.shape == (224, 224, 3)


# ---- mask_pairs ----

MASK = np.array([[0, 1, 2], [2, 11, 0]], np.uint8)


def pairs_source(**changes):
    entry = {
        "kind": "mask_pairs",
        "files": files("pairs.tar"),
        "root": "CamVid",
        "classes": ["sky", "road", "car"],
        "class_values": [0, 1, 2],
        "background_values": [],
        "void_values": [11],
        "splits": {"train": "train.txt", "val": 0.5, "test": {"images": "test", "masks": "testannot"}},
    }
    return mask_pairs.Source(**entry | changes)


def pairs_files(mask=None):
    mask = encode_png(MASK) if mask is None else mask
    members = {f"CamVid/{part}/{n}.png": image(3, 2, "PNG") for part in ("train", "test") for n in range(4)}
    members |= {f"CamVid/{part}annot/{n}.png": mask for part in ("train", "test") for n in range(4)}
    lines = (f"/SegNet/CamVid/train/{n}.png /SegNet/CamVid/trainannot/{n}.png" for n in range(4))
    return members | {"CamVid/train.txt": "\n".join(lines).encode()}


def test_lists_and_folders_pair_images_with_label_maps(tmp_path):
    """SegNet's lists and folders; class values become 1, 2, ..., void 255."""
    write_archive(tmp_path / "pairs.tar", pairs_files())
    train, val, test = (split_of(mask_pairs, pairs_source(), tmp_path, split, masks=True) for split in SPLITS)
    assert sorted(example.id for example in (*train, *val)) == ["0", "1", "2", "3"]
    assert (len(train), len(val), len(test)) == (2, 2, 4)
    assert test[3].id == "3"
    assert decode(test[3], classes=3).mask.tolist() == [[1, 2, 3], [3, VOID, 1]]


def test_values_default_to_vocs(tmp_path):
    """Without values of its own: 0 background, 1, 2, ... the classes, 255 void; black and white is 0 and 1."""
    splits = {"train": "train.txt", "val": 0.5, "test": {"images": "test", "masks": "testannot"}}
    source = mask_pairs.Source(
        kind="mask_pairs", files=files("pairs.tar"), root="CamVid", classes=["figure"], splits=splits
    )
    write_archive(tmp_path / "pairs.tar", pairs_files(encode_png(np.array([[0, 1, 255], [1, 0, 0]], np.uint8))))
    (example, *_) = split_of(mask_pairs, source, tmp_path, "test", masks=True)
    assert example.mask.tolist() == [[0, 1, 255], [1, 0, 0]]
    write_archive(tmp_path / "pairs.tar", pairs_files(image(3, 2, "PNG", value=255, mode="1")))
    (example, *_) = split_of(mask_pairs, source, tmp_path, "test", masks=True)
    assert example.mask.tolist() == [[1, 1, 1], [1, 1, 1]]


@pytest.mark.parametrize(
    ("members", "split", "message"),
    [
        (pairs_files(encode_png(MASK + 1)), "test", r"testannot/0\.png: expected the values .*; received: 3"),
        (pairs_files(image(3, 2, "PNG")), "test", "expected a palette or grayscale image of labels; received: mode RGB"),
        (pairs_files(b"GIF"), "test", "expected a label map; received: cannot identify image file$"),
        (pairs_files() | {"CamVid/train.txt": b"train/0.png"}, "train", "expected an image and its label map a line"),
        (pairs_files() | {"CamVid/train.txt": b"a.png b.png\n" * 2}, "train", "received: a.png b.png"),
        (pairs_files() | {"CamVid/test/9.png": b""}, "test", "expected a label map CamVid/testannot/9.png for CamVid/test/9"),
        (pairs_files() | {"CamVid/test/1.bmp": b""}, "test", r"test/1: expected one image of that name; received: 1.bmp and 1.png"),
        (pairs_files() | {"CamVid/testannot/1.bmp": b""}, "test", "expected one label map of that name; received: 1.bmp and 1"),
        (pairs_files(image(3, 2, mode="L")), "test", "expected a label map in a format that keeps each value, .* received: JPEG"),
    ],
)  # fmt: skip
def test_wrong_pairs_are_named(tmp_path, members, split, message):
    """A value without a meaning, colours instead of labels, an image without its label map."""
    write_archive(tmp_path / "pairs.tar", members)
    with pytest.raises(InputError, match=message):
        split_of(mask_pairs, pairs_source(), tmp_path, split, masks=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_values": [0, 1]}, "class_values: expected 3 values, one a class; received: 2"),
        ({"background_values": [0]}, "expected each value once; received: 0 twice"),
        ({"classes": ["a", "a", "b"]}, r"expected distinct names"),
    ],
)
def test_values_mean_one_thing(changes, message):
    """Class, background and void values exclude each other."""
    with pytest.raises(ValueError, match=message):
        pairs_source(**changes)


@needs_mirror
def test_real_camvid_is_read():
    """The mirror's CamVid: 100 / 25 / 35 scenes of 480 x 360, eleven classes and void in all of them together."""
    names = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
    source = pairs_source(
        files=files("camvid-subset.tar"),
        classes=names,
        class_values=list(range(11)),
        splits={"train": "train.txt", "val": "val.txt", "test": "test.txt"},
    )
    seen = set()
    for split, count in zip(SPLITS, (100, 25, 35), strict=True):
        examples = mask_pairs.examples(source, MIRROR, masks=True, split=split)
        assert len(examples) == count
        for index in range(0, count, 5):
            decoded = decode(examples[index], classes=11)
            assert decoded.image.shape == (360, 480, 3)
            seen |= set(np.unique(decoded.mask).tolist())
    assert seen == {*range(1, 12), VOID}


# ---- cifar ----


def cifar_record(labels, red, green, blue):
    planes = np.array([red, green, blue], np.uint8)[:, None].repeat(1024, axis=1)
    planes[0, 1] = 7  # row 0, column 1 of red
    return bytes(labels) + planes.tobytes()


@pytest.mark.parametrize(
    ("variant", "members", "label", "classes"),
    [
        ("cifar10", (cifar.VARIANTS["cifar10"].train, cifar.VARIANTS["cifar10"].test), [3], 10),
        ("cifar100", (("cifar-100-binary/train.bin",), ("cifar-100-binary/test.bin",)), [19, 3], 100),
        ("cifar100_coarse", (("cifar-100-binary/train.bin",), ("cifar-100-binary/test.bin",)), [3, 99], 20),
    ],
)
def test_cifar_records_are_read(tmp_path, variant, members, label, classes):
    """Labels first, then the planes of red, green and blue, row by row; all batches count; the archive is a .tar.gz."""
    train, test = members
    record = cifar_record(label, 10, 20, 30)
    write_archive(tmp_path / "c.tar.gz", dict.fromkeys(train, 4 * record) | {test[0]: 3 * record})
    splits = {"train": "train", "val": 0.25, "test": "test"}
    source = cifar.Source(kind="cifar", variant=variant, file=files("c.tar.gz")[0], splits=splits)
    parts = [split_of(cifar, source, tmp_path, split) for split in SPLITS]
    assert [len(part) for part in parts] == [3 * len(train), len(train), 3]
    assert len({example.id for part in parts for example in part}) == 4 * len(train) + 3
    names = sources.class_names(source, tmp_path)
    assert len(names) == len(set(names)) == classes
    example = parts[2][0]
    assert (example.id, example.label) == ("test_00000", 3)
    assert example.image.shape == (32, 32, 3)
    assert example.image[0, 0].tolist() == [10, 20, 30]
    assert example.image[0, 1].tolist() == [7, 20, 30]
    assert example.image[1, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (cifar_record([3], 0, 0, 0)[:-1], "test_batch.bin: expected records of 3,073 bytes; received: 3,072 bytes"),
        (cifar_record([10], 0, 0, 0), "test_batch.bin: expected labels below 10, the number of classes; received: 10"),
        (b"", "test_batch.bin: expected records of 3,073 bytes; received: 0 bytes"),
    ],
)
def test_broken_cifar_records_are_named(tmp_path, data, message):
    """A file that is cut, empty, or of another data set."""
    write_archive(tmp_path / "c.tar", {"cifar-10-batches-bin/test_batch.bin": data})
    source = cifar.Source(kind="cifar", variant="cifar10", file=files("c.tar")[0])
    with pytest.raises(InputError, match=message):
        split_of(cifar, source, tmp_path, "test")


# ---- ImageNet itself ----

# Russakovsky et al. (2015), table 2; the folder named by this variable holds the archives as image-net.org gives them.
IMAGENET = os.environ.get("CNNKERAS_IMAGENET", "")
IMAGENET_IMAGES = {
    "ILSVRC2012_img_train.tar": 1_281_167,
    "ILSVRC2012_img_val.tar": 50_000,
    "ILSVRC2012_img_test_v10102019.tar": 100_000,
}


@pytest.mark.parametrize("name", IMAGENET_IMAGES)
def test_imagenet_has_its_published_numbers_of_images(name):
    """1,281,167 to train on in a thousand archives, 50,000 and 100,000: checked where the archives are."""
    archive = Path(IMAGENET, name)
    if not IMAGENET or not archive.is_file():
        pytest.skip(f"no {name} in the folder that CNNKERAS_IMAGENET names")
    assert len(images(Archives([archive]), ".")) == IMAGENET_IMAGES[name]


# ---- coco ----

WIDTH, HEIGHT = 8, 6


def encode_counts(counts):
    """COCO's text of a run-length code, written from its definition: differences, then five bits a character."""
    text = ""
    for position, count in enumerate(counts):
        value = count - counts[position - 2] if position > 2 else count
        more = True
        while more:
            bits, value = value & 0x1F, value >> 5
            more = value != -1 if bits & 0x10 else value != 0
            text += chr(48 + (bits | (0x20 if more else 0)))
    return text


def runs(mask):
    """Lengths of the runs of 0 and 1 down the columns, 0 first."""
    counts, current = [0], 0
    for value in mask.T.ravel().tolist():
        if value != current:
            counts.append(0)
            current = value
        counts[-1] += 1
    return counts


def instance(image, category, bbox, segmentation=None, **others):
    return {"image_id": image, "category_id": category, "bbox": bbox, "segmentation": segmentation, **others}


def coco_files(annotations, **changes):
    content = {
        "images": [{"id": 7, "file_name": "b.jpg"}, {"id": 3, "file_name": "a.jpg"}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}, {"id": 90, "name": "brush"}],
        "annotations": annotations,
    }
    members = {f"train/{name}.jpg": image(WIDTH, HEIGHT) for name in "ab"}
    return members | {"ann.json": json.dumps(content | changes).encode()}


def coco_source(**changes):
    part = {"annotations": "ann.json", "images": "train"}
    entry = {"kind": "coco", "files": files("coco.zip"), "classes": ["person", "dog"]}
    return coco.Source(**entry | {"splits": {"train": part, "val": 0.5, "test": part}} | changes)


def coco_test_split(folder, annotations, masks=False, **changes):
    write_archive(folder / "coco.zip", coco_files(annotations, **changes))
    return split_of(coco, coco_source(), folder, "test", masks)


def test_coco_boxes_become_corners(tmp_path):
    """x, y, width, height become corners; bad boxes and other classes are dropped and counted; a crowd is one."""
    first, second = coco_test_split(
        tmp_path,
        [
            instance(3, 18, [1, 2, 3, 2.5]),
            instance(3, 1, [-1, 4, 20, 20], iscrowd=1),
            instance(3, 1, [2, 2, 0, 4]),
            instance(3, 1, [8, 0, 2, 2]),
            instance(3, 90, [0, 0, 2, 2]),
        ],
    )
    assert (first.id, second.id) == ("a", "b")
    assert first.boxes.tolist() == [[1, 2, 4, 4.5], [0, 4, 8, 6]]
    assert first.labels.tolist() == [1, 0]
    assert first.difficult.tolist() == first.crowd.tolist() == [False, True]
    assert first.dropped == {
        "boxes without area": 1,
        "boxes outside the image": 1,
        "objects of other classes": 1,
    }
    assert second.boxes.shape == (0, 4)


def test_crowds_are_packed_for_the_evaluation(tmp_path, monkeypatch):
    """From the JSON through augmentation and the packed rows to the objects that COCO's rule sees; other kinds have no such column."""
    monkeypatch.chdir(tmp_path)
    part = "{annotations: ann.json, images: train}"
    (tmp_path / "params.yaml").write_text(f"""\
seed: 1
sources:
  people:
    kind: coco
    files: [{{name: coco.zip, sha256: "{ANY_CHECKSUM}"}}]
    classes: [person, dog]
    splits: {{train: {part}, val: {part}, test: {part}}}
datasets:
  people:
    source: people
    task: detection
    size: [8, 8]
    copies: 1
    augmentation: [Affine: {{scale: [0.8, 1.2], p: 1.0}}]
    leaks: allow
experiments: {{}}
""")
    found = [
        instance(3, 18, [1, 2, 3, 2.5]),
        instance(3, 1, [0, 0, 6, 6], iscrowd=1),
        instance(7, 1, [0, 0, 4, 4]),
    ]
    paths.raw("people").mkdir(parents=True)
    write_archive(paths.raw("people") / "coco.zip", coco_files(found))
    augment.run("people")
    assert "crowd" not in records.open_split(paths.augmented("people"), "train")
    objects = read_objects(records.open_split(paths.augmented("people"), "test"))
    assert objects.images.tolist() == [0, 0, 1]
    assert objects.crowd.tolist() == [False, True, False]
    assert objects.is_uncounted.tolist() == [False, True, False]


def test_coco_masks_are_drawn(tmp_path):
    """Polygons, runs as numbers and runs as text; a smaller object on top of a larger one; a crowd is void below both."""
    lower = np.zeros((HEIGHT, WIDTH), int)
    lower[3:] = 1
    dot = np.zeros((HEIGHT, WIDTH), int)
    dot[0, 0] = 1
    size = [HEIGHT, WIDTH]
    (first, _) = coco_test_split(
        tmp_path,
        [
            instance(3, 1, [2, 1, 2, 1], [[2, 1, 4, 1, 4, 2, 2, 2]]),
            instance(3, 18, [1, 0, 6, 4], [[1, 0, 7, 0, 7, 4, 1, 4], [7, 4, 8, 4, 8, 5, 7, 5]]),
            instance(3, 1, [0, 3, 8, 3], {"size": size, "counts": runs(lower)}, iscrowd=1),
            instance(3, 1, [0, 0, 1, 1], {"size": size, "counts": encode_counts(runs(dot))}),
        ],
        "segmentation",
    )
    assert first.mask.tolist() == [
        [1, 2, 2, 2, 2, 2, 2, 0],
        [0, 2, 1, 1, 2, 2, 2, 0],
        [0, 2, 2, 2, 2, 2, 2, 0],
        [255, 2, 2, 2, 2, 2, 2, 255],
        [255, 255, 255, 255, 255, 255, 255, 2],
        [255, 255, 255, 255, 255, 255, 255, 255],
    ]


SQUARE = [[2, 1], [5, 1], [5, 4], [2, 4]]  # nine pixels


@pytest.mark.parametrize(
    ("outline", "pixels"),
    [
        ([[2, 1, 5, 1, 5, 4, 2, 4]], 9),
        ([SQUARE], 9),
        (SQUARE, 9),
        ([2, 1, 5, 1, 5, 4, 2, 4], 9),
        ([[[2, 1], [5, 1], [5, 2.5], [2, 2.5]], [2, 2.5, 5, 2.5, 5, 4, 2, 4]], 9),
        ([SQUARE, [[0, 0], [8, 6]]], 9),
        ([[1.9, 1], [5, 1], [5, 4.1]], 6),  # three, two and one above the diagonal
        ([], 0),
        ([[]], 0),
        ([[2, 1]], 0),
        ([[2, 1], [5, 4]], 0),
        ([[2, 1, 5, 4]], 0),
        ([[2.1, 1.1, 2.3, 1.1, 2.3, 1.3]], 0),  # between the centres
        ([[20, 20, 30, 20, 30, 30]], 0),  # outside the image
        ({"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}, 0),
    ],
)
def test_outlines_are_points_as_pairs_or_flat(tmp_path, outline, pixels):
    """Worked by hand on a square of three pixels a side; an object without a pixel is counted, not lost."""
    (example, _) = coco_test_split(tmp_path, [instance(3, 18, [2, 1, 3, 3], outline)], "segmentation")
    assert (example.mask == 2).sum() == pixels
    assert dict(example.dropped) == ({} if pixels else {"outlines without area": 1})
    assert len(example.boxes) == len(example.labels) == (pixels > 0)


@pytest.mark.parametrize(
    "outline", [[[2, 1, 1e300, 1, 5, 4]], [[2, 1, -1e17, 1, 5, 4]], [[True, False, True, True, False, True]]]
)
def test_outlines_of_no_numbers_of_pixels_are_refused(tmp_path, outline):
    """Numbers beyond those that JSON holds exactly, and true and false."""
    with pytest.raises(InputError, match="expected a segmentation of polygons or a run-length code"):
        coco_test_split(tmp_path, [instance(3, 18, [2, 1, 3, 3], outline)], "segmentation")


def test_run_length_text_is_read_back():
    """Reading undoes writing for runs of every length and every difference, and a hand-made code is what it should be.

    By hand: 5 is "5" (48 + 5); 40 is 8 with "more follow" (48 + 32 + 8 = "X"), then 1 ("1").
    """
    assert coco.decode_counts("5X1") == [5, 40]
    rng = np.random.default_rng(0)
    for _ in range(50):
        counts = rng.integers(0, 3000, rng.integers(1, 30)).tolist()
        assert coco.decode_counts(encode_counts(counts)) == counts


def inside(x, y, polygon):
    """Whether a point lies in a polygon: the sum of the angles at which its edges are seen is a whole turn, or none."""
    to = polygon - [x, y]
    angles = np.arctan2(to[:, 1], to[:, 0])
    turns = np.diff(np.append(angles, angles[0]))
    return round(((turns + np.pi) % (2 * np.pi) - np.pi).sum() / (2 * np.pi)) % 2 == 1


def test_polygons_hold_the_pixels_whose_centres_they_hold():
    """Against the angles at each pixel's centre, for polygons that also reach beyond the image and cross themselves."""
    rng = np.random.default_rng(1)
    for corners in (3, 4, 6, 9):
        polygon = rng.uniform(-4, 16, (corners, 2))
        filled = coco.fill(polygon, (12, 14))
        expected = [[inside(x + 0.5, y + 0.5, polygon) for x in range(14)] for y in range(12)]
        np.testing.assert_array_equal(filled, expected)


@pytest.mark.parametrize(
    ("annotations", "changes", "message"),
    [
        ([instance(3, 1, [0, 0, 1])], {}, "ann.json: a.jpg: expected a bbox of four numbers"),
        ([instance(3, 1, [0, 0, 1, 1], {"size": [6, 8], "counts": [1, 2]})], {}, "code of 6 x 8 pixels; .* 3 pixels"),
        ([instance(3, 1, [0, 0, 1, 1], {"size": [8, 6], "counts": [48]})], {}, r"received: size \[8, 6\]"),
        ([instance(3, 1, [0, 0, 1, 1], [[1, 2, 3]])], {}, "expected a segmentation of polygons"),
        (
            [instance(3, 1, [0, 0, 1, 1], [[[1, 2, 2], [3, 4, 2], [4, 1, 2]]])],
            {},
            "expected a segmentation of polygons",
        ),
        (
            [instance(3, 1, [0, 0, 0.25, 0.5])],
            {},
            "ann.json: expected boxes in pixels; .* from 0, 0, 0.25, 0.5. Are they fra",
        ),
        ([instance(3, 1, [0, 0, 1, 1], [[1, 2, 3, float("inf"), 0, 0]])], {}, "expected a segmentation of polygons"),
        ([instance(3, 1, [0, 0, 1, 1])], {}, "expected a segmentation of polygons"),
        ([instance(4, 1, [0, 0, 1, 1])], {}, "expected an image of id 4; received: none"),
        ([{"image_id": 3}], {}, "received: no key 'category_id'"),
        ([], {"categories": [{"id": 1, "name": "persons"}]}, "unknown category 'person'; did you mean 'persons'"),
        ([], {"images": []}, "expected images under `images`; received: none"),
        ([], {"images": [{"id": 1, "file_name": "../c.jpg"}]}, r"expected a member train/\.\./c\.jpg"),
    ],
)
def test_wrong_instances_are_named(tmp_path, annotations, changes, message):
    """The JSON, the image, and what was expected."""
    with pytest.raises(InputError, match=message):
        coco_test_split(tmp_path, annotations, masks=True, **changes)


def test_what_is_no_json_is_named(tmp_path):
    """A cut JSON gives one line."""
    write_archive(tmp_path / "coco.zip", {"ann.json": b'{"images": ['})
    with pytest.raises(
        InputError, match=r"ann\.json: expected COCO's JSON of instances .*; received: Invalid JSON: EOF"
    ):
        split_of(coco, coco_source(), tmp_path, "test")
