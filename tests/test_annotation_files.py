"""COCO's JSON and VOC's XML as tools write them: read as meant, or one line with what was expected and received."""

import json
import time

import pytest

from pipeline.files.archives import Archives
from pipeline.files.classes import Classes
from pipeline.runtime.errors import InputError
from pipeline.sources import coco
from pipeline.sources.coco.instances import read_instances
from pipeline.sources.voc.annotations import read_annotation
from tests.archive_files import ANY_CHECKSUM, image, write_archive

CLASSES = ["person", "dog"]


def document(**changes):
    content = {
        "info": {"year": 2017},
        "images": [{"id": 7, "file_name": "b.jpg"}, {"id": 3, "file_name": "a.jpg"}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}, {"id": 90, "name": "brush"}],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 18, "bbox": [1, 2, 3, 2.5], "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0, 0, 2, 2], "iscrowd": 1},
            {"id": 3, "image_id": 7, "category_id": 90, "bbox": [0, 0, 2, 2], "iscrowd": 0},
        ],
    }
    return content | changes


def with_ids(images=int, categories=int, references=int):
    """The document with each id and each reference turned by a function."""
    content = document()
    for entry in content["images"]:
        entry["id"] = images(entry["id"])
    for entry in content["categories"]:
        entry["id"] = categories(entry["id"])
    for entry in content["annotations"]:
        entry["image_id"] = references(entry["image_id"])
        entry["category_id"] = (categories if references is images else references)(entry["category_id"])
    return content


def examples(folder, content, *, masks=False):
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    write_archive(folder / "x.zip", {"im/a.jpg": image(8, 6), "im/b.jpg": image(8, 6), "ann.json": text})
    part = {"annotations": "ann.json", "images": "im"}
    files = [{"name": "x.zip", "sha256": ANY_CHECKSUM}]
    source = coco.Source(kind="coco", files=files, classes=CLASSES, splits={"train": part, "val": part, "test": part})
    return coco.examples(source, folder, masks=masks, split="test")


def facts(read):
    return [
        (each.id, each.boxes.tolist(), each.labels.tolist(), each.difficult.tolist(), each.dropped) for each in read
    ]


EXPECTED = [
    ("a", [[1, 2, 4, 4.5]], [1], [False], {}),
    ("b", [[0, 0, 2, 2]], [0], [True], {"objects of other classes": 1}),
]


def named(value):
    return f"img_{value}"


@pytest.mark.parametrize(
    "content",
    [
        document(),
        with_ids(images=str),
        with_ids(categories=str),
        with_ids(references=str),
        with_ids(images=float, references=float),
        with_ids(images=lambda value: f"{value:012d}"),  # the file's name in place of the number
        with_ids(images=named, categories=named, references=named),
        json.dumps(document()).encode("utf-8-sig"),
        json.dumps(document()).encode("utf-16"),
        json.dumps(document()).encode("utf-16-le"),
        document(images=[{"id": 7, "file_name": ".\\b.jpg"}, {"id": 3, "file_name": "a.jpg"}]),
    ],
)
def test_ids_are_numbers_or_texts(tmp_path, content):
    """As given or both as numbers, in ids and in references: no object is lost for the type of its number."""
    assert facts(examples(tmp_path, content)) == EXPECTED


@pytest.mark.parametrize(
    ("changes", "difficult"),
    [
        ({"iscrowd": "0"}, False),
        ({"iscrowd": "1"}, True),
        ({"iscrowd": True}, True),
        ({"iscrowd": 1.0}, True),
        ({"iscrowd": None}, False),
        ({"bbox": ["1", "2", "3", "2.5"]}, False),
    ],
)
def test_values_of_another_type_are_read_as_meant(tmp_path, changes, difficult):
    """A crowd that is written as text is no crowd if it is "0"; numbers as text are numbers."""
    entry = {"image_id": 3, "category_id": 18, "bbox": [1, 2, 3, 2.5]} | changes
    (first, _) = examples(tmp_path, document(annotations=[entry]))
    assert first.boxes.tolist() == [[1, 2, 4, 4.5]]
    assert first.difficult.tolist() == [difficult]


@pytest.mark.parametrize(
    "changes",
    [
        {"bbox": [1, 2, 3]},
        {"bbox": [1, 2, 3, 4, 5]},
        {"bbox": "1234"},
        {"bbox": None},
        {"bbox": [1, 2, 3, float("nan")]},
        {"bbox": [1, 2, float("inf"), 3]},
        {"bbox": [1, 2, 1e300, 3]},
        {"bbox": [1, 2, True, 3]},
        {"bbox": [1, 2, "wide", 3]},
        {"bbox": {"x": 1, "y": 2, "width": 3, "height": 4}},
        {"iscrowd": 2},
        {"iscrowd": "maybe"},
        {"iscrowd": [0]},
    ],
)
def test_a_wrong_value_costs_its_image_alone(tmp_path, changes):
    """`on_error: skip` skips the image; the other one is read."""
    entry = {"image_id": 3, "category_id": 18, "bbox": [1, 2, 3, 2.5]} | changes
    read = examples(tmp_path, document(annotations=[entry]))
    with pytest.raises(
        InputError, match=r"ann\.json: a\.jpg: expected (a bbox of four numbers|an iscrowd of 0 or 1); received: "
    ) as failure:
        read[0]
    assert "\n" not in str(failure.value)
    assert read[1].id == "b"


IMAGES, CATEGORIES = document()["images"], document()["categories"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            document(images=[*IMAGES, {"id": "7", "file_name": "c.jpg"}]),
            "expected images of different ids; received: 7 2 times",
        ),
        (
            document(images=[*IMAGES, {"id": 8, "file_name": "./a.jpg"}]),
            r"different file names; received: 'a\.jpg' 2 times",
        ),
        (
            document(categories=[*CATEGORIES, {"id": 18, "name": "cow"}]),
            "expected categories of different ids; received: 18",
        ),
        (
            document(categories=[*CATEGORIES, {"id": 19, "name": "dog"}]),
            "expected one category of the name 'dog'; received: 2",
        ),
        (document(annotations=[{"image_id": 3, "category_id": 99}]), "expected a category of id 99; received: none"),
        (document(annotations=[{"image_id": "x", "category_id": 1}]), "expected an image of id 'x'; received: none"),
        (document(annotations=[{"category_id": 1}]), r"no key 'image_id' in annotations\[0\]"),
        (
            document(annotations=[{"image_id": True, "category_id": 1}]),
            r"'True' for annotations\[0\]\.image_id: an id is",
        ),
        (
            document(annotations=[{"image_id": 1.5, "category_id": 1}]),
            r"'1\.5' for annotations\[0\]\.image_id: an id is",
        ),
        (document(annotations=[{"image_id": float("nan"), "category_id": 1}]), "'nan' for .*: an id is"),
        (document(annotations=[{"image_id": [3], "category_id": 1}]), r"'\[3\]' for .*: an id is"),
        (document(annotations=[{"image_id": 10**20, "category_id": 1}]), "'1" + 20 * "0" + "' for .*: an id is"),
        (document(annotations={}), r"'\{\}' for annotations: input should be a valid array"),
        (
            document(images=[{"id": 1, "file_name": None}]),
            r"'None' for images\[0\]\.file_name: input should be a valid string",
        ),
        (document(images=[{"id": 1, "file_name": "a.jpg", "width": -8, "height": 6}]), r"'-8' for images\[0\]\.width"),
        (document(images=[{"id": 1}]), r"no key 'file_name' in images\[0\]"),
        (document(categories=[{"id": 1, "name": ["dog"]}]), r"categories\[0\]\.name: input should be a valid string"),
        ({"images": []}, "no key 'categories'"),
        ([], "'[]' for the whole: input should be an object"),
        (b'{"images":[{"id":' + 5000 * b"9" + b"}]}", "Invalid JSON: number out of range"),
        (200_000 * b"[", "Invalid JSON: recursion limit exceeded"),
        (b"<html>404</html>", "Invalid JSON: expected value"),
        ('{"a": "Ä"}'.encode("latin-1"), "Invalid JSON: invalid unicode code point"),
        (b"", "Invalid JSON: EOF"),
    ],
)
def test_wrong_documents_are_one_line(tmp_path, content, message):
    """What is wrong, where in the file, and what is there; never a traceback, never an object lost."""
    message = message.replace("'[]'", r"'\[\]'")
    with pytest.raises(InputError, match=rf"^ann\.json: .*{message}") as failure:
        examples(tmp_path, content)
    assert "\n" not in str(failure.value)


def test_names_that_no_class_uses_may_be_twice(tmp_path):
    """As in collections that were put together: the objects of both are other classes'."""
    content = document(categories=[*CATEGORIES, {"id": 91, "name": "brush"}])
    content["annotations"].append({"image_id": 7, "category_id": 91, "bbox": [0, 0, 1, 1]})
    assert examples(tmp_path, content)[1].dropped == {"objects of other classes": 2}


def test_a_run_length_without_end_is_refused():
    """Each character may say "more follows"; a number of COCO's has a dozen at most."""
    start = time.process_time()
    with pytest.raises(ValueError, match="a run of more than 60 bits"):
        coco.decode_counts("o" * 1_000_000)
    assert time.process_time() - start < 5


def test_reading_instances_is_fast(tmp_path):
    """COCO's training images have 860,000 annotations: they take a minute at the very most, a few seconds as a rule."""
    polygon = [[number + 0.25 for number in range(60)]]
    entry = {
        "image_id": 3,
        "category_id": 18,
        "bbox": [1, 2, 3, 4],
        "iscrowd": 0,
        "area": 12.5,
        "segmentation": polygon,
    }
    write_archive(tmp_path / "x.zip", {"ann.json": json.dumps(document(annotations=[entry] * 20_000)).encode()})
    archives = Archives([tmp_path / "x.zip"])
    start = time.process_time()
    instances = read_instances(archives, "ann.json", Classes.of(CLASSES))
    assert len(instances.objects[3]) == 20_000
    assert time.process_time() - start < 20_000 * 70e-6


# ---- VOC's XML ----

BOX = "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>7</xmax><ymax>6</ymax></bndbox>"


def xml(name="猫", inside="", around="{}", root="annotation"):
    return f"<{root}>{around.format(f'<object><name>{name}</name>{inside}{BOX}</object>')}</{root}>"


def declared(encoding, text, written=None):
    return f'<?xml version="1.0" encoding="{encoding}"?>\n{text}'.encode(written or encoding)


def objects(content):
    example = read_annotation(content, "a.xml", Classes.of(["cat", "猫", "Äpfel", "ネコ"]), lambda: (10, 8))
    return example.boxes.tolist(), example.labels.tolist(), example.difficult.tolist()


@pytest.mark.parametrize(
    ("content", "label"),
    [
        (xml().encode(), 1),
        (xml().encode("utf-8-sig"), 1),
        (b"\r\n " + declared("UTF-8", xml()), 1),
        (declared("gb2312", xml()), 1),
        (declared("GBK", xml()), 1),
        (declared("gb18030", xml()), 1),
        (declared("big5", xml("cat")), 0),
        (declared("Shift_JIS", xml("ネコ")), 3),
        (declared("iso-8859-1", xml("Äpfel")), 2),
        (declared("windows-1252", xml("Äpfel")), 2),
        (declared("utf-16", xml()), 1),
        (xml().encode("utf-16-le"), 1),
        (declared("utf-16", xml(), written="utf-8"), 1),  # .NET's StringWriter, saved as UTF-8
        (declared("gb2312", xml(), written="utf-8-sig"), 1),
        (xml("A\u0308pfel").encode(), 2),  # decomposed, as a Mac's names
        (xml("cat").replace("<annotation>", '<annotation xmlns="http://a.b/c">').encode(), 0),
        (b'<v:annotation xmlns:v="u">' + xml("cat").encode()[12:-13] + b"</v:annotation>", 0),
        (xml(" \n cat ").encode(), 0),
    ],
)
def test_an_annotation_is_decoded_as_it_declares(content, label):
    """Chinese, Japanese and Western encodings, marks that know better, namespaces: the box (2, 3, 7, 6) is (1, 2, 7, 6)."""
    assert objects(content) == ([[1, 2, 7, 6]], [label], [False])


def test_gb2312_is_read_as_what_programs_write():
    """They declare GB2312 and write its extension: 镕 is in GBK alone."""
    content = declared("gb2312", xml("镕"), written="gbk")
    assert read_annotation(content, "a.xml", Classes.of(["镕"]), lambda: (10, 8)).labels.tolist() == [0]


@pytest.mark.parametrize(
    ("flag", "difficult"),
    [
        ("", False),
        ("<difficult/>", False),
        ("<difficult></difficult>", False),
        ("<difficult>Unspecified</difficult>", False),
        ("<difficult> 0 </difficult>", False),
        ("<difficult>false</difficult>", False),
        ("<difficult>1</difficult>", True),
        ("<difficult>1.0</difficult>", True),
        ("<difficult>True</difficult>", True),
        ("<Difficult>1</Difficult>", True),
    ],
)
def test_what_is_not_said_is_not_difficult(flag, difficult):
    """An empty tag, and labelImg's and others' word for it."""
    assert objects(xml("cat", flag).encode())[2] == [difficult]


PAGES = ("<!DOCTYPE html>\n<html><body>404</body></html>", "<HTML><head><meta></head>", "\n<!-- x --><html></html>")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        *((page.encode(), r"received: a web page \(HTML\)") for page in PAGES),
        (b'<?xml version="1.0"?><!DOCTYPE html PUBLIC "x" "y"><html/>', "web page"),
        (declared("cp99999", xml("cat"), "ascii"), "expected an encoding that is known; received: 'cp99999'"),
        (declared("zip", xml("cat"), "ascii"), "expected an encoding that is known; received: 'zip'"),
        (declared("utf-8", xml("狗"), "gbk"), "expected text in UTF-8; received: .* at byte"),
        (xml(root="Annotations").encode(), "expected <annotation> around everything; received: <Annotations>"),
        (b"<annotation><object></annotation>", "expected XML; received: mismatched tag"),
        (b"", "expected XML; received: no element found"),
        (
            xml("cat", around="<objects>{}</objects>").encode(),
            "each <object> right below <annotation>; received: <object> in <objects>",
        ),
        (xml("cat").replace("object>", "Object>").encode(), "received: <Object> in <annotation>"),
        (xml("cat", BOX).encode(), "expected one <bndbox> in <object>; received: 2"),
        (xml("cat", "<name>dog</name>").encode(), "expected one <name> in <object>; received: 2"),
        *(
            (
                xml("cat", f"<difficult>{flag}</difficult>").encode(),
                f"expected 0 or 1 in <difficult>; received: '{flag}'",
            )
            for flag in ("2", "-1", "None")
        ),
        (
            xml("cat").replace("<object>", "<size><width>-4</width><height>3</height></size><object>").encode(),
            "expected a <size> in pixels; received: -4 x 3",
        ),
        (xml("cat", "<difficult>perhaps</difficult>").encode(), "expected 0 or 1 in <difficult>; received: 'perhaps'"),
        *(
            (xml("cat").replace(">2<", f">{number}<").encode(), "expected a number in <xmin>; received: '")
            for number in ("1_0", "nan", "1e999", "2,5", "２")
        ),
        (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + xml("&x;").encode(), "undefined entity"),
    ],
)
def test_what_is_no_annotation_file_is_named(content, message):
    """Never an image without objects, never a traceback."""
    with pytest.raises(InputError, match=rf"^a\.xml: .*{message}") as failure:
        objects(content)
    assert "\n" not in str(failure.value)
