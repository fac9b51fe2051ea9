"""Lists and names as Windows and Macs write them: what people have packed is what is read."""

import io
import struct
import tarfile
import unicodedata
import zipfile
import zlib

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.files import image_files, texts
from pipeline.files.archives import Archives
from pipeline.files.published import PublishedFile
from pipeline.runtime.errors import InputError
from pipeline.sources import idx, image_folder, mask_pairs, voc
from tests.archive_files import ANY_CHECKSUM, image, write_archive

LIST = "Äpfel/1.jpg\nb/2.jpg\n"
NFC, NFD = (unicodedata.normalize(form, "Äpfel") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    "content",
    [
        LIST.encode(),
        LIST.encode("utf-8-sig"),
        LIST.encode("utf-16"),
        b"\xfe\xff" + LIST.encode("utf-16-be"),
        LIST.encode("utf-32"),
        LIST.replace("\n", "\r\n").encode(),
        LIST.replace("\n", "\r").encode(),
        b"\n \n" + LIST.encode() + b"\t\n\x1a",
    ],
    ids=["utf-8", "mark", "utf-16", "utf-16-be", "utf-32", "windows", "old mac", "dos"],
)
def test_a_list_is_lines_whatever_wrote_it(content):
    """Every Unicode encoding with its mark, every end of a line, and DOS' end of a file."""
    assert texts.lines(content, "l.txt") == ["Äpfel/1.jpg", "b/2.jpg"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_a_list_without_a_mark_tells_its_encoding_by_its_zeros(encoding):
    """Where the first characters are ASCII, as of most paths."""
    assert texts.lines("b/2.jpg\nÄpfel/1.jpg".encode(encoding), "l.txt") == ["b/2.jpg", "Äpfel/1.jpg"]


def test_a_list_in_another_encoding_is_named():
    """One line says which bytes, where, and the fix."""
    with pytest.raises(
        InputError, match=r"l\.txt: expected text in UTF-8; received: .*\(c4 70 66 65 at byte 2\)\. Save it as UTF-8"
    ):
        texts.lines("a\nÄpfel".encode("latin-1"), "l.txt")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b.jpg", "a/b.jpg"),
        (".\\a\\b.jpg", "a/b.jpg"),
        ("././a", "a"),
        (f"{NFD}/1", f"{NFC}/1"),
        ("/a", "/a"),
        ("C:\\a", "C:/a"),
    ],
)
def test_paths_have_one_form(path, expected):
    """Forward slashes, composed letters, nothing before."""
    assert texts.normal_path(path) == expected


def zipped(path, names, *, flag=0, extra=b""):
    """A .zip whose names are these bytes, with or without the flag that says UTF-8."""
    stand_ins = [f"{number:0{len(name)}d}" for number, name in enumerate(names)]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for stand_in in stand_ins:
            info = zipfile.ZipInfo(stand_in)
            info.extra = extra
            archive.writestr(info, b"data")
    content = stream.getvalue()
    for stand_in, name in zip(stand_ins, names, strict=True):
        content = content.replace(stand_in.encode(), name)
    if flag:
        for start, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
            parts = content.split(start)
            parts[1:] = [part[: place - 4] + flag.to_bytes(2, "little") + part[place - 2 :] for part in parts[1:]]
            content = start.join(parts)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("raw", "flag", "expected"),
    [
        (f"{NFC}/number1.jpg".encode(), 0x800, f"{NFC}/number1.jpg"),
        (f"{NFD}/number1.jpg".encode(), 0, f"{NFC}/number1.jpg"),  # Finder: UTF-8, decomposed, and no flag
        (f"{NFC}/number1.jpg".encode("cp437"), 0, f"{NFC}/number1.jpg"),  # Explorer
        (b"folder\\sub\\number1.jpg", 0, "folder/sub/number1.jpg"),  # .NET before 4.6.1
    ],
)
def test_a_zips_names_are_read_as_it_has_them(tmp_path, raw, flag, expected):
    """UTF-8 with and without the flag, DOS' code page, back slashes; the bytes are the member's."""
    opened = Archives([zipped(tmp_path / "x.zip", [raw], flag=flag)])
    assert list(opened) == [expected]
    assert opened[expected] == b"data"


def test_a_zip_may_state_a_name_in_utf_8_beside_another(tmp_path):
    """Info-ZIP's field 0x7075 counts if its checksum is that of the other name."""
    raw = b"number1.jpg" + b"\x87"
    field = b"\1" + zlib.crc32(raw).to_bytes(4, "little") + "猫/1.jpg".encode()
    opened = Archives([zipped(tmp_path / "x.zip", [raw], extra=struct.pack("<HH", 0x7075, len(field)) + field)])
    assert dict(opened) == {"猫/1.jpg": b"data"}


def test_names_in_an_encoding_that_nothing_tells_are_named_as_the_cause(tmp_path):
    """A .zip and a .tar whose names are GBK: whoever asks for 猫 learns why it is not there; different names stay different."""
    names = ["猫/number1.jpg".encode("gbk"), "狗/number1.jpg".encode("gbk")]
    zipped(tmp_path / "x.zip", names)
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name.decode("utf-8", "surrogateescape")))
    for kind in ("x.zip", "x.tar"):
        opened = Archives([tmp_path / kind])
        assert len(opened) == 2
        "".join(opened).encode()  # no half characters, which no terminal and no file takes
        with pytest.raises(
            InputError, match=rf"expected a member 猫/.*The names in {kind} are not in UTF-8.*Pack it again"
        ):
            opened["猫/number1.jpg"]


def test_two_spellings_of_one_name_are_refused(tmp_path):
    """Composed and decomposed, or both slashes: one would hide the other."""
    for one, other in ((f"{NFC}/1", f"{NFD}/1"), ("a/b", "a\\b")):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            for name in (one, other):
                archive.writestr(zipfile.ZipInfo(name), name)
        with pytest.raises(InputError, match="differ by more than slashes and accents"):
            Archives([tmp_path / "x.zip"])


def test_columns_are_every_way_to_divide_a_line():
    """From the right, so that paths may hold spaces; at tabs alone where there are some."""
    assert list(image_files.columns("a b.jpg  1")) == [("a b.jpg", "1"), ("a", "b.jpg  1")]
    assert list(image_files.columns("a b.jpg\tblack cat")) == [("a b.jpg", "black cat")]
    assert list(image_files.columns("a.jpg")) == []


def folder_examples(folder, lists, files, folders=("black cat", NFC)):
    write_archive(folder / "x.zip", files | lists)
    names = list(lists)
    source = image_folder.Source(
        kind="image_folder",
        files=[{"name": "x.zip", "sha256": ANY_CHECKSUM}],
        folders=list(folders),
        splits={"train": names[0], "val": 0.3, "test": names[-1]},
    )
    return [(example.id, example.label) for example in image_folder.examples(source, folder, masks=False, split="test")]


@pytest.mark.parametrize(
    "line",
    [
        "black cat\\my cat 1.jpg",
        ".\\black cat\\my cat 1.jpg",
        "D:\\data\\black cat\\my cat 1.jpg 0",
        "black cat/my cat 1.jpg black cat",
        "black cat/my cat 1.jpg\tblack cat",
        "black cat/my cat 1",  # as Food-101 writes it
    ],
)
def test_a_line_of_a_list_may_hold_spaces_and_back_slashes(tmp_path, line):
    """The image and its class are those that its author meant."""
    files = {f"{folder}/my cat {n}.jpg": image(3, 3) for folder in ("black cat", NFD) for n in range(4)}
    second = f"{NFD}/my cat 2.jpg"
    lists = {"l.txt": f"{line}\r\n{second}\r\n".encode("utf-16")}
    assert folder_examples(tmp_path, lists, files) == [("black cat_my cat 1", 0), (f"{NFC}_my cat 2", 1)]


def test_pairs_may_hold_spaces(tmp_path):
    """Of all ways to divide a line, the one with two files that are there."""
    mask = image(4, 4, "PNG", value=0, mode="L")
    files = {"im/a b.jpg": image(4, 4), "an/a b.png": mask, "l.txt": b"\xef\xbb\xbf\\x\\im\\a b.jpg x\\an\\a b.png\r\n"}
    write_archive(tmp_path / "x.zip", files)
    source = mask_pairs.Source(
        kind="mask_pairs",
        files=[{"name": "x.zip", "sha256": ANY_CHECKSUM}],
        classes=["cat"],
        splits={"train": "l.txt", "val": "l.txt", "test": "l.txt"},
    )
    (example,) = mask_pairs.examples(source, tmp_path, masks=True, split="test")
    assert (example.id, example.image) == ("a b", files["im/a b.jpg"])
    np.testing.assert_array_equal(example.mask, np.zeros((4, 4), np.uint8))


XML = "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></object></annotation>"


def voc_ids(folder, lines, ids):
    files = {f"D/JPEGImages/{id}.jpg": image(4, 4) for id in ids} | {
        f"D/Annotations/{id}.xml": XML.encode() for id in ids
    }
    write_archive(folder / "x.zip", files | {"D/ImageSets/Main/l.txt": lines})
    source = voc.Source(
        kind="voc",
        files=[{"name": "x.zip", "sha256": ANY_CHECKSUM}],
        root="D",
        classes=["cat"],
        splits={"train": "l", "val": "l", "test": "l"},
    )
    return [example.id for example in voc.examples(source, folder, masks=False, split="test")]


@pytest.mark.parametrize(
    ("line", "id", "expected"),
    [
        ("IMG 0001", "IMG 0001", "IMG 0001"),
        ("IMG 0001  -1", "IMG 0001", "IMG 0001"),
        ("IMG 1", "IMG 1", "IMG 1"),  # no column: the whole line is an image
        ("IMG 1", "IMG", "IMG"),
        ("2008_000002  1", "2008_000002", "2008_000002"),
        ("photo (1).jpg", "photo (1)", "photo _1_"),
        ("/data/x/VOCdevkit/VOC2007/JPEGImages/000012.jpg", "000012", "000012"),
        ("D:\\JPEGImages\\000012.JPG", "000012", "000012"),
        (NFD, NFC, NFC),
        (NFC, NFD, NFC),
    ],
)
def test_ids_of_voc_may_hold_spaces_and_endings(tmp_path, line, id, expected):
    """Behind an id a list of a class has 1, 0 or -1; an id may end so itself; darknet's lists have paths."""
    assert voc_ids(tmp_path, f"{line}\r\n".encode("utf-8-sig"), [id]) == [expected]


def test_a_line_of_two_meanings_is_refused(tmp_path):
    """`IMG 1` where there are an IMG and an IMG 1."""
    with pytest.raises(InputError, match=r"received: 'IMG 1', which may be 'IMG 1' or 'IMG'\. Rename one"):
        voc_ids(tmp_path, b"IMG 1\n", ["IMG", "IMG 1"])


@pytest.mark.parametrize("name", ["a\nb.zip", "a\x1b.zip", "x/" + 201 * "a", 67 * "猫" + ".zip"])
def test_names_of_files_can_be_names_of_files(name):
    """Said before a download: a disk takes 255 bytes, and a control character belongs into no name."""
    with pytest.raises(ValueError, match="expected names of at most 200 bytes without control characters"):
        PublishedFile(name=name, sha256=64 * "0")


def test_checksums_in_capitals_are_checksums():
    """As Windows' certutil and Get-FileHash say them."""
    file = PublishedFile(name="a", sha256="AB" * 32, md5=["CD" * 16])
    assert file.checksums == {"sha256": ("ab" * 32,), "md5": ("cd" * 16,)}
    with pytest.raises(ValidationError):
        PublishedFile(name="a", sha256="XY" * 32)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a.gz", "b.gz", "a.gz", "c.gz"), r"expected files of different names; received: a\.gz twice"),
        (("a.gz", "b.gz", "./a.gz", "c.gz"), "twice"),
        ((f"{NFC}.gz", "b.gz", f"{NFD}.gz", "c.gz"), "twice"),
        (("a", "a/b.gz", "c", "d"), r"received: a, which is a folder in a/b\.gz"),
    ],
)
def test_each_file_of_a_source_has_a_place_of_its_own(names, message):
    """Whatever the kind calls its files: the second would be put over the first."""
    keys = ("train_images", "train_labels", "test_images", "test_labels")
    files = {key: {"name": name, "sha256": ANY_CHECKSUM} for key, name in zip(keys, names, strict=True)}
    with pytest.raises(ValidationError, match=message):
        idx.Source(kind="idx", files=files, classes=["a", "b"])
    listed = [{"name": name, "sha256": ANY_CHECKSUM} for name in names]
    with pytest.raises(ValidationError, match=message):
        voc.Source(kind="voc", files=listed, root="", splits={"train": "a", "val": 0.1, "test": "b"})


def test_classes_are_equal_however_their_letters_are_written():
    """A class's name is composed, and two spellings of one name are no two classes."""
    entry = {
        "kind": "voc",
        "files": [{"name": "a", "sha256": ANY_CHECKSUM}],
        "root": "",
        "splits": {"train": "a", "val": 0.1, "test": "b"},
    }
    assert voc.Source(**entry, classes=[NFD]).classes == (NFC,)
    with pytest.raises(ValidationError, match="distinct names"):
        voc.Source(**entry, classes=[NFD, NFC])
