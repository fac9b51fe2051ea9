"""Folders and archives on this disk as files of a source: read where they lie, as an archive is, and never otherwise than listed."""

import hashlib
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline import sources
from pipeline.files.archives import Archives
from pipeline.files.local import LocalFile, write_listing
from pipeline.files.published_archives import fetch_archives
from pipeline.params import load_params
from pipeline.runtime import folders
from pipeline.runtime.errors import InputError
from pipeline.stages import augment, download
from tests.archive_files import ANY_CHECKSUM, MIRROR, image, needs_mirror, write_archive

REPOSITORY = Path(__file__).parents[1]
SOURCES = {
    "bccd.zip": {
        "kind": "voc",
        "root": "BCCD_Dataset/BCCD",
        "classes": ["RBC", "WBC", "Platelets"],
        "splits": {"train": "train", "val": "val", "test": "test"},
    },
    "camvid-subset.tar": {
        "kind": "mask_pairs",
        "root": "CamVid",
        "classes": [
            "sky",
            "building",
            "pole",
            "road",
            "pavement",
            "tree",
            "sign",
            "fence",
            "car",
            "pedestrian",
            "bicyclist",
        ],
        "class_values": list(range(11)),
        "background_values": [],
        "void_values": [11],
        "splits": {"train": "train.txt", "val": "val.txt", "test": "test.txt"},
    },
    "photos.tar": {
        "kind": "image_folder",
        "folders": ["cats", "dogs"],
        "splits": {"train": ".", "val": 0.2, "test": 0.2},
    },
}


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    """A project's folder with a folder for data beside it."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "params.yaml").write_text("seed: 1\n")
    monkeypatch.chdir(tmp_path / "project")


def write_photos(folder, count=6):
    for label, name in enumerate(("cats", "dogs")):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            (folder / name / f"{number}.png").write_bytes(image(6, 4, "PNG", value=10 * number + 100 * label))
    return folder


def listed(file, folder):
    """The folder as its source reads it, after a download."""
    folder.mkdir(exist_ok=True)
    write_listing(file, folder)
    return Archives([folder / file.name])


def source_of(name, files):
    entry = SOURCES[name] | {"files": files}
    return sources.load(entry["kind"]).Source(**entry)


def first_of(source, folder, split):
    """What the first examples of a split hold."""
    examples = sources.load(source.kind).examples(source, folder, masks=source.kind == "mask_pairs", split=split)
    return [_comparable(examples[position]) for position in range(min(3, len(examples)))] or pytest.fail("none")


def _comparable(example):
    pixels = hashlib.sha256(example.image).hexdigest()
    parts = (example.boxes, example.labels, example.difficult, example.mask)
    return example.id, pixels, example.label, *(None if part is None else np.asarray(part).tolist() for part in parts)


@needs_mirror
@pytest.mark.parametrize("name", SOURCES)
def test_a_folder_is_read_as_its_archive_is(tmp_path, name):
    """Ids, images and annotations of each split are those of the archive, and no image is copied."""
    if name == "photos.tar":
        with tarfile.open(tmp_path / name, "w") as archive:
            archive.add(write_photos(tmp_path / "made"), ".")
    else:
        shutil.copy(MIRROR / name, tmp_path / name)
    shutil.unpack_archive(tmp_path / name, tmp_path / "unpacked")
    packed = source_of(name, [{"name": name, "sha256": ANY_CHECKSUM}])
    for path in ("../unpacked", f"../{name}", str(tmp_path / "unpacked")):
        source, folder = source_of(name, [{"path": path}]), tmp_path / "raw"
        folder.mkdir()
        fetch_archives(source, folder, mirrors=[])
        for split in sources.SPLITS:
            assert first_of(source, folder, split) == first_of(packed, tmp_path, split)
        assert sum(file.stat().st_size for file in folder.iterdir()) < 200_000
        shutil.rmtree(folder)


def test_what_lies_in_a_folder_and_what_does_not(tmp_path):
    """Hidden files are no data; links to files and folders, and pipes, are named when they are wanted and followed nowhere."""
    photos = write_photos(tmp_path / "photos")
    (photos / ".git").mkdir()
    (photos / ".git" / "config").write_text("x")
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key.png").write_text("a key")
    (photos / "cats" / "link.png").symlink_to(secret / "key.png")
    (photos / "linked").symlink_to(secret)
    os.mkfifo(photos / "cats" / "pipe.png")
    archives = listed(LocalFile(path="../photos"), tmp_path / "raw")
    assert sorted(archives) == sorted(f"{name}/{number}.png" for name in ("cats", "dogs") for number in range(6))
    assert archives.refused == {"cats/link.png", "linked", "cats/pipe.png"}
    with pytest.raises(InputError, match=r"\.\./photos: expected a member cats/link\.png; received: a link or device"):
        archives["cats/link.png"]
    assert "linked/key.png" not in archives
    (tmp_path / "by_link").symlink_to(photos)  # the folder itself may be one: somebody has named it
    assert sorted(listed(LocalFile(path="../by_link"), tmp_path / "raw")) == sorted(archives)


@pytest.mark.parametrize("change", ["other bytes", "more bytes", "a link", "nothing"])
def test_a_file_that_changed_since_it_was_listed_is_refused(tmp_path, change):
    """Whatever became of it, its bytes are not read as those that were listed."""
    photos = write_photos(tmp_path / "photos")
    archives, file = listed(LocalFile(path="../photos"), tmp_path / "raw"), photos / "cats" / "1.png"
    content = file.read_bytes()
    assert archives["cats/1.png"] == content
    file.unlink()
    if change == "a link":
        (tmp_path / "same.png").write_bytes(content)
        file.symlink_to(tmp_path / "same.png")
    elif change != "nothing":
        file.write_bytes(content[:-1] + b"x" if change == "other bytes" else content + b"x")
    with pytest.raises(InputError, match=r"\.\./photos: expected to read cats/1\.png; .*Run `cnnkeras download`"):
        archives["cats/1.png"]
    assert archives["cats/2.png"]


@pytest.mark.parametrize("change", ["cats/0.png", "dogs/new.png"])
def test_a_folder_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch, change):
    """A file that was read already, or a new one: there is no listing then."""
    photos, read = write_photos(tmp_path / "photos"), folders.open_file

    def read_and_write(place, name):
        if name == "dogs/5.png":
            (photos / change).write_bytes(b"something else")
        return read(place, name)

    monkeypatch.setattr(folders, "open_file", read_and_write)
    (tmp_path / "raw").mkdir()
    with pytest.raises(InputError, match=r"\.\./photos: expected it to stay as it was while it was read"):
        write_listing(LocalFile(path="../photos"), tmp_path / "raw")
    assert list((tmp_path / "raw").iterdir()) == []


def test_only_files_that_changed_are_read_again(tmp_path, monkeypatch):
    """By size, inode and times; the digest is that of the content, wherever the folder lies, and no other's."""
    photos, opened, read = write_photos(tmp_path / "photos"), [], folders.open_file
    monkeypatch.setattr(folders, "open_file", lambda place, name: opened.append(name) or read(place, name))
    first = folders.digest(photos, "photos")
    assert len(opened) == 12
    assert folders.digest(photos, "photos") == first
    assert len(opened) == 12
    (photos / "cats" / "3.png").write_bytes((photos / "cats" / "4.png").read_bytes())
    changed = folders.digest(photos, "photos")
    assert opened[12:] == ["cats/3.png"]
    assert changed != first
    assert folders.digest(shutil.copytree(photos, tmp_path / "moved"), "moved") == changed
    (photos / "cats" / "3.png").rename(photos / "cats" / "33.png")
    assert folders.digest(photos, "photos") not in (first, changed)
    assert folders.digest(tmp_path / "nowhere", "nowhere") is None


def test_archives_in_a_folder_are_folders(tmp_path):
    """As they are in an archive: ImageNet's folder has a .tar a class."""
    (tmp_path / "photos").mkdir()
    write_archive(tmp_path / "photos" / "cats.tar", {"0.png": b"a cat"})
    write_archive(tmp_path / "photos" / "dogs.zip", {"0.png": b"a dog"})
    (tmp_path / "photos" / "list.txt").write_text("x")
    archives = listed(LocalFile(path="../photos"), tmp_path / "raw")
    assert dict(archives) == {"cats.tar/0.png": b"a cat", "dogs.zip/0.png": b"a dog", "list.txt": b"x"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _place: None, r"expected a folder or an archive at \.\./photos; received: none"),
        (lambda place: place.mkdir(), r"expected files in \.\./photos; received: an empty folder"),
        (lambda place: (place.mkdir(), (place / "a").symlink_to("/etc")), r"received: links alone, such as a"),
        (lambda place: os.mkfifo(place), r"expected to read \.\./photos; received: neither a folder nor a file"),
    ],
)
def test_what_is_no_folder_of_files_is_refused(tmp_path, make, message):
    """With what it is, and nothing written."""
    make(tmp_path / "photos")
    (tmp_path / "raw").mkdir()
    with pytest.raises(InputError, match=message):
        write_listing(LocalFile(path="../photos"), tmp_path / "raw")
    assert list((tmp_path / "raw").iterdir()) == []


def test_a_checksum_pins_the_content(tmp_path):
    """The checksum that the message names is accepted, another one is not."""
    photos, raw = write_photos(tmp_path / "photos"), tmp_path / "raw"
    right = folders.digest(photos, "photos")
    raw.mkdir()
    with pytest.raises(InputError, match=rf"expected \.\./photos with sha256 0+; received: sha256 {right}"):
        write_listing(LocalFile(path="../photos", sha256=ANY_CHECKSUM), raw)
    assert len(listed(LocalFile(path="../photos", sha256=right), raw)) == 12


def test_a_listing_that_leads_out_of_its_folder_is_refused(tmp_path):
    """A listing may come from a cache that others write to."""
    write_photos(tmp_path / "photos")
    file = LocalFile(path="../photos")
    listed(file, tmp_path / "raw")
    listing = tmp_path / "raw" / file.name
    for name in ("../secret.png", "/etc/passwd"):
        listing.write_text(listing.read_text().replace("cats/0.png", name))
        with pytest.raises(InputError, match=r"expected a listing of a folder at .*received: the path"):
            Archives([listing])


PHOTOS = """\
sources:
  photos: {kind: image_folder, files: [{path: ../photos}], folders: [cats, dogs], splits: {train: ., val: 0.2, test: 0.2}}
datasets:
  photos: {source: photos, task: classification, size: [8, 8]}
experiments: {}
"""


def test_a_changed_folder_is_noticed_before_it_is_used(tmp_path, capsys):
    """The result of a download has a seal, and `augment` refuses one of a former content; a folder that is gone changes nothing."""
    photos = write_photos(tmp_path / "photos")
    Path("params.yaml").write_text("seed: 1\n" + PHOTOS)
    shutil.copy(REPOSITORY / "dvc.yaml", "dvc.yaml")
    download.run("photos")
    assert "download photos: 12 files" in capsys.readouterr().out
    augment.run("photos", workers=1)
    (photos / "cats" / "0.png").write_bytes(image(6, 4, "PNG", value=250))
    with pytest.raises(
        InputError, match=r"one from before a change: \.\./photos changed\. Run `cnnkeras download photos`"
    ):
        augment.run("photos", workers=1)
    download.run("photos")
    augment.run("photos", workers=1)
    photos.rename(tmp_path / "elsewhere")
    assert load_params(with_files=True).source("photos").files[0].path == "../photos"
    with pytest.raises(InputError, match=r"expected a folder or an archive at \.\./photos"):
        download.run("photos")


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (
            "{path: ../phots}",
            r"params.yaml:3: sources.photos.files.0.path: .*received: '../phots', and nothing is at /",
        ),
        ("{path: ..}", r"sources.photos.files.0.path: expected a folder without the project in it; received: '..'"),
        ("{path: data/raw/x}", r"sources.photos.files.0.path: expected a folder that no stage writes"),
        ("{path: ../photos, name: a}", r"sources.photos.files.0.name: unknown key 'name'"),
        ("{path: ''}", r"sources.photos.files.0.path: expected text that is not empty"),
        ("{name: a.zip}", r"sources.photos.files.0: expected sha256 \(or md5\) of a.zip"),
        ("5", r"sources.photos.files.0: expected a mapping; received: 5"),
        ("{path: ../photos}, {path: ../photos}", r"sources.photos: expected files of different names"),
    ],
)
def test_wrong_entries_are_named(tmp_path, item, message):
    """With the line, the key, what was expected and what was received."""
    write_photos(tmp_path / "photos")
    Path("params.yaml").write_text("seed: 1\n" + PHOTOS.replace("{path: ../photos}", item))
    with pytest.raises(InputError, match=message):
        load_params(with_files=True)


def test_a_zip_on_this_disk_needs_no_checksum(tmp_path):
    """It is an archive as it is, and its members are read in place."""
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("cats/0.png", b"a cat")
    assert dict(listed(LocalFile(path="../photos.zip"), tmp_path / "raw")) == {"cats/0.png": b"a cat"}
    (tmp_path / "photos.zip").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"\.\./photos\.zip: expected a \.tar .* or a \.zip"):
        listed(LocalFile(path="../photos.zip"), tmp_path / "raw2")
