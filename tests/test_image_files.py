"""One reader of image files: upright, on white, of 8 bits; label maps as written; annotations of the size that they state."""

import hashlib
import io
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageOps

from cnnkeras import images
from cnnkeras.label_maps import encode_png
from pipeline.cli import main
from pipeline.commands import show_inputs
from pipeline.files import image_files
from pipeline.formats import packed
from pipeline.images.reading import read_image
from pipeline.runtime.errors import InputError
from pipeline.sources import Example
from pipeline.stages.augment.decoding import decode
from tests.archive_files import write_archive

REPOSITORY = Path(__file__).parents[1]


def encoded(pixels, kind="PNG", orientation=None, **keys) -> bytes:
    stream = io.BytesIO()
    if orientation is not None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        keys["exif"] = exif
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(stream, kind, **keys)
    return stream.getvalue()


def noise(height=6, width=9, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


# ---- images ----


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_pillow_turns_them(kind, orientation):
    """All eight tags, in every format that has them; the size that is read of the header is the one that they then have."""
    keys = {"WEBP": {"lossless": True}, "TIFF": {"compression": "tiff_lzw"}}.get(kind, {})
    data = encoded(noise(), kind, orientation, **keys)
    read = images.read(data)
    with Image.open(io.BytesIO(data)) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    np.testing.assert_array_equal(read.pixels, expected)
    assert read.orientation == orientation
    assert images.size(data) == expected.shape[1::-1] == ((6, 9) if orientation >= 5 else (9, 6))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_with_the_pixels(orientation):
    """The pixels in a box are those in the turned box of the turned image."""
    stored, box = noise(), np.array([[2.0, 1.0, 7.0, 3.0]])
    turned = images.turn(stored, orientation)
    ((x0, y0, x1, y1),) = images.turn_boxes(box, orientation, turned.shape[:2]).astype(int)
    np.testing.assert_array_equal(turned[y0:y1, x0:x1], images.turn(stored[1:3, 2:7], orientation))


def test_a_broken_tag_turns_nothing():
    """Viewers ignore it as well, and Pillow's warnings are not the user's."""
    for tag in (0, 9, 77):
        assert images.read(encoded(noise(), "PNG", tag)).orientation == 1
    data = bytearray(encoded(noise(), "JPEG", 6))
    at = data.index(b"Exif") + 10
    data[at : at + 4] = b"\xff\xff\xff\xff"
    assert images.read(bytes(data)).orientation == 1


def test_transparency_is_white():
    """Of RGBA, of grey with alpha, of a palette, of one colour, and of 16 bits; half transparent black is grey."""
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0] = (200, 0, 0, 255)
    rgba[1, 1] = (0, 0, 0, 128)
    assert images.read(encoded(rgba)).pixels.tolist() == [[[200, 0, 0]] * 2, [[255] * 3, [127] * 3]]
    assert (images.read(encoded(Image.new("LA", (2, 2), (7, 0)))).pixels == 255).all()
    palette = Image.new("P", (2, 2), 3)
    palette.putpalette([9] * 768)
    for image in (palette, Image.new("L", (2, 2), 3)):
        assert (images.read(encoded(image, transparency=3)).pixels == 255).all()
    deep = encoded(np.full((2, 2), 40000, np.uint16), transparency=40000)
    assert (images.read(deep).pixels == 255).all()


def deep_png(values, color_type):
    """A PNG of 16 bits a channel, which Pillow does not write: 2 is RGB, 4 grey and alpha."""
    rows = [row.astype(">u2").tobytes() for row in values]
    return written_png(rows, (values.shape[1], values.shape[0], 16, color_type, 0, 0, 0))


def written_png(rows, header):
    """A PNG of packed rows, each of which gets a filter byte of 0 before it."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *header))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_a_smaller_version_in_a_tiff_is_no_page():
    """A camera's TIFF holds a thumbnail, a map's smaller versions of itself; neither makes it two images."""
    marked = Image.fromarray(noise(seed=1))
    marked.encoderinfo = {"tiffinfo": {254: 1}}  # NewSubfileType: a version of less detail
    for other in (Image.fromarray(noise(3, 4)), marked):
        data = encoded(noise(), "TIFF", save_all=True, append_images=[other])
        assert Image.open(io.BytesIO(data)).n_frames == 2
        assert (images.read(data).pixels == noise()).all()


def test_of_an_animation_the_first_frame_is_read():
    """An image is; a label map is refused, as nobody says of which frame it is."""
    frames = {"save_all": True, "append_images": [Image.fromarray(noise(seed=1))], "lossless": True}
    assert (images.read(encoded(noise(), "WEBP", **frames)).pixels == noise()).all()
    labels = [Image.fromarray(np.full((4, 4), label, np.uint8)) for label in (0, 1)]
    with pytest.raises(ValueError, match="expected one label map; received: an animation of 2"):
        images.read_labels(encoded(labels[0], "GIF", save_all=True, append_images=labels[1:]))


def test_of_16_bits_the_upper_8_are_taken():
    """0x1234 is 0x12 in a PNG, a TIFF of either byte order and a PGM, as Pillow has it for 16 bits of RGB."""
    values = np.array([[0x1234, 0xFFFF]], np.uint16)
    files = [encoded(values), encoded(values, "TIFF"), b"P5 2 1 65535\n" + values.astype(">u2").tobytes()]
    files.append(encoded(Image.frombytes("I;16B", (2, 1), values.astype(">u2").tobytes()), "TIFF"))
    for data in files:
        assert images.read(data).pixels[..., 0].tolist() == [[0x12, 0xFF]]
        assert images.read(data).pixels.shape == (1, 2, 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (encoded(np.array([[0, 70000]], np.int32), "TIFF"), "8 or 16 bits a channel; received: mode I"),
        (encoded(np.array([[0, 0.5]], np.float32), "TIFF"), "8 or 16 bits a channel; received: mode F"),
        (encoded(np.array([[0, 4095]], np.uint16)), "16 bits with values up to 4,095"),
        (deep_png(np.full((2, 2, 3), 4095), 2), "16 bits of which the upper 8 are at most 15"),
        (deep_png(np.dstack([np.full((2, 2), 255), np.full((2, 2), 65535)]), 4), "the upper 8 are at most 0"),
        (encoded(noise(), "TIFF", save_all=True, append_images=[Image.fromarray(noise(seed=1))]), "a TIFF of 2 pages"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "received: cannot identify image file$"),
        (encoded(noise())[:90], "expected a whole image; received:"),
        (b"P5 20000 20000 255\n", "exceeds limit of"),
        (b"", "cannot identify image file$"),
    ],
)
def test_what_cannot_be_read_rightly_is_refused(data, message):
    """In one line, whatever Pillow raises; documents are no images: Pillow would start Ghostscript on them."""
    with pytest.raises(InputError, match=f"^x: .*{message}"):
        read_image(data, "x")


@pytest.mark.parametrize("orientation", [None, 6])
def test_augment_predict_show_and_a_served_model_see_one_image(tmp_path, orientation):
    """What a network has learnt from and is tested on is what it is shown; the reader comes with the library that a served model has."""
    rgba = np.concatenate([noise(), np.full((6, 9, 1), 90, np.uint8)], axis=2)
    for name, data in (
        ("x.png", encoded(rgba, orientation=orientation)),
        ("y.jpg", encoded(noise(), "JPEG", orientation)),
    ):
        (tmp_path / name).write_bytes(data)
        learnt = decode(Example(id="x", image=data), 2).image
        assert learnt.shape == ((9, 6, 3) if orientation else (6, 9, 3))
        np.testing.assert_array_equal(show_inputs.read_image(tmp_path / name), learnt)
        np.testing.assert_array_equal(
            read_image(np.frombuffer(data, np.uint8), "x"), learnt
        )  # as `originals` are packed
        np.testing.assert_array_equal(images.read(data).pixels, learnt)
    command = (
        "import sys, cnnkeras.images; assert not any(name.startswith(('pipeline', 'keras')) for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", command], cwd=REPOSITORY, check=True)


# ---- label maps ----


def test_labels_are_those_that_were_written():
    """Palette and grey, 1 to 16 bits, any range of a PGM: Pillow stretches some to 0..255, and label 1 would be void or nothing."""
    labels = np.array([[0, 1, 2, 3], [3, 2, 1, 0]], np.uint8)
    palette = Image.fromarray(labels)
    palette.putpalette([9, 9, 9] * 4)
    files = [
        encoded(labels),
        encoded(palette),
        encoded(palette, "GIF"),
        encoded(labels, "BMP"),
        encoded(labels, "TIFF"),
        encode_png(labels),
    ]
    files += [encoded(palette, bits=bits) for bits in (2, 4)]
    files += [encoded(labels.astype(kind), "TIFF") for kind in (np.uint16, np.int32, np.float32)] + [
        encoded(labels.astype(np.uint16))
    ]
    files += [b"P5 4 2 %d\n" % top + labels.tobytes() for top in (3, 20, 255)]
    files += [b"P2 4 2 %d\n" % top + b" ".join(b"%d" % value for value in labels.ravel()) for top in (3, 255, 1000)]
    files += [b"P5 4 2 1000\n" + labels.astype(">u2").tobytes()]
    files += [grey_png(labels, bits) for bits in (2, 4)]
    for data in files:
        np.testing.assert_array_equal(images.read_labels(data).pixels, labels)
    black_and_white = encoded(Image.fromarray(labels > 1))
    np.testing.assert_array_equal(images.read_labels(black_and_white).pixels, labels > 1)


def grey_png(labels, bits):
    """A grey PNG of 2 or 4 bits a pixel, written by hand: its rows are the packed labels behind a filter byte of 0."""
    rows = [np.packbits(np.unpackbits(row[:, None], axis=1)[:, -bits:].ravel()).tobytes() for row in labels]
    return written_png(rows, (labels.shape[1], labels.shape[0], bits, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (encoded(np.zeros((4, 4), np.uint8), "JPEG"), "a format that keeps each value, such as PNG; received: JPEG"),
        (encoded(np.zeros((4, 4), np.uint8), "JPEG2000"), "received: JPEG2000"),
        (encoded(np.zeros((4, 4, 3), np.uint8), "WEBP"), "received: WEBP"),
        (encoded(np.zeros((16, 16), np.uint8), "TIFF", compression="jpeg"), "received: TIFF with jpeg"),
        (encoded(np.zeros((4, 4, 3), np.uint8)), "received: mode RGB. Save labels, not colours"),
        (encoded(np.zeros((4, 4, 4), np.uint8)), "received: mode RGBA"),
        (encoded(np.full((4, 4), 300, np.uint16)), "expected labels from 0 to 255; received: 300"),
        (encoded(np.full((4, 4), -1, np.int32), "TIFF"), "received: -1"),
        (encoded(np.full((4, 4), 0.5, np.float32), "TIFF"), "received: 0.5"),
        (encoded(np.full((4, 4), np.nan, np.float32), "TIFF"), "received: nan"),
        (b"P5 20000 20000 255\n", "exceeds limit of"),
    ],
)
def test_what_holds_no_labels_is_refused(data, message):
    """A lossy format, colours, values that are no labels, and more pixels than an image may have."""
    with pytest.raises(ValueError, match=message):
        images.read_labels(data)


# ---- the size that an annotation states ----


BOX = np.array([[2.0, 1.0, 7.0, 3.0]])


def of_tag(orientation, size, mask=None, pixels=None):
    pixels = noise() if pixels is None else pixels
    data = encoded(pixels, orientation=orientation)
    return Example(id="x", image=data, annotated_size=size, boxes=BOX, labels=np.zeros(1, np.int32), mask=mask)


def test_annotations_of_the_image_as_seen_stay():
    """Stored 9 x 6 and turned to 6 x 9, as its annotation says; so does one that says nothing."""
    for size in ((6, 9), None):
        read = decode(of_tag(6, size), 1)
        assert read.image.shape == (9, 6, 3)
        assert read.boxes.tolist() == BOX.tolist()


def test_annotations_of_the_pixels_as_stored_are_turned():
    """Tag 6 turns clockwise: by hand, the box 2..7 x 1..3 of 9 x 6 is 6-3..6-1 x 2..7; its label map moves with it."""
    mask = np.zeros((6, 9), np.uint8)
    mask[1:3, 2:7] = 1
    read = decode(of_tag(6, (9, 6), mask), 1)
    assert read.boxes.tolist() == [[3, 2, 5, 7]]
    assert read.mask.shape == (9, 6)
    assert (read.mask[2:7, 3:5] == 1).all()
    assert read.mask.sum() == 10
    drawn = np.zeros((9, 6), np.uint8)
    assert decode(of_tag(6, (6, 9), drawn), 1).mask.shape == (9, 6)


@pytest.mark.parametrize(
    ("orientation", "size", "message"),
    [
        (1, (18, 12), "x: expected an image of 18 x 12 pixels, as its annotation states; received: 9 x 6. If"),
        (1, (6, 9), "received: 9 x 6, and no EXIF tag that turns it"),
        (3, (6, 9), "received: 9 x 6, and no EXIF tag that turns it"),
        (6, (6, 8), "expected an image of 6 x 8 pixels"),
    ],
)
def test_another_size_is_refused(orientation, size, message):
    """The boxes are somebody's of another image."""
    with pytest.raises(InputError, match=message):
        decode(of_tag(orientation, size), 1)


def test_label_maps_of_another_size_are_refused():
    """Swapped without a tag, too."""
    with pytest.raises(InputError, match=r"expected a mask of the image's size \(6, 9\); received: \(9, 6\)"):
        decode(of_tag(1, None, np.zeros((9, 6), np.uint8)), 1)


# ---- through the stages ----

XML = """<annotation><size><width>{0}</width><height>{1}</height></size>{2}</annotation>"""
OBJECT = (
    "<object><name>cat</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)


def augment(folder, files, source, dataset):
    write_archive(folder / "a.zip", files)
    checksum = hashlib.sha256((folder / "a.zip").read_bytes()).hexdigest()
    archive = {"name": "a.zip", "urls": [f"file://{folder}/a.zip"], "sha256": checksum}
    entries = {"seed": 1, "sources": {"s": source | {"files": [archive]}}, "datasets": {"d": dataset | {"source": "s"}}}
    (folder / "params.yaml").write_text(json.dumps(entries | {"experiments": {}}), encoding="utf-8")
    for command in (["download", "s"], ["augment", "d", "--workers", "1"]):
        ended = CliRunner().invoke(main, command)
        if ended.exit_code:
            return ended
    return ended


def red_at(box, size=(60, 40), orientation=1):
    """A file that shows a red rectangle at a box when it is upright: the pixels are stored turned back by Pillow."""
    seen = Image.new("RGB", size, "white")
    seen.paste((255, 0, 0), box)
    back = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[
        orientation
    ]
    return encoded(seen if back is None else seen.transpose(back), orientation=orientation)


def voc(folder, orientation=1, annotation=None, extra=None, **dataset):
    """Five scenes of one red object, drawn at the same place as it is seen."""
    box = (10, 5, 30, 25)
    annotation = annotation or XML.format(60, 40, OBJECT.format(11, 6, 30, 25))
    files = {f"JPEGImages/{n}.png": red_at(box, orientation=orientation) for n in range(5)}
    files = {name: encode_again(data, n) for n, (name, data) in enumerate(files.items())}
    files |= {
        f"Annotations/{n}.xml": (annotation if n == 0 else XML.format(60, 40, OBJECT.format(11, 6, 30, 25))).encode()
        for n in range(5)
    }
    files |= {
        f"ImageSets/Main/{split}.txt": ids for split, ids in {"train": b"0\n1\n2", "val": b"3", "test": b"4"}.items()
    }
    source = {"kind": "voc", "root": "", "classes": ["cat"], "splits": {"train": "train", "val": "val", "test": "test"}}
    return augment(folder, files | (extra or {}), source, {"task": "detection", "size": [40, 60]} | dataset)


def encode_again(data, number):
    """Another image for each scene: no example is in two splits."""
    with Image.open(io.BytesIO(data)) as opened:
        opened.load()
        opened.putpixel((opened.width - 1, opened.height - 1), (0, 0, number))
        opened.putpixel((0, 0), (0, 0, number))
        return encoded(opened, orientation=opened.getexif().get(0x0112, 1))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("as_stored", [False, True])
def test_boxes_lie_on_what_they_name(tmp_path, monkeypatch, orientation, as_stored):
    """Annotated as seen, or on the stored pixels where the stated size says so: the packed box holds the red pixels, and so does the original's."""
    monkeypatch.chdir(tmp_path)
    stated = None
    if as_stored and orientation in (6, 8):
        # By hand, of a 60 x 40 image stored as 40 x 60: tag 6 was turned counterclockwise, (x, y) -> (y, 60 - x); tag 8 clockwise.
        stored = OBJECT.format(6, 31, 25, 50) if orientation == 6 else OBJECT.format(16, 11, 35, 30)
        stated = XML.format(40, 60, stored)
    ended = voc(tmp_path, orientation, stated)
    assert ended.exit_code == 0, ended.output
    for split in ("train", "test"):
        rows = packed.open_split(tmp_path / "data/augmented/d", split)
        red = (rows["inputs"][0] == (255, 0, 0)).all(axis=-1)
        ys, xs = np.nonzero(red)
        assert (rows["boxes"][0] * [60, 40, 60, 40]).round(3).tolist() == [
            [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        ]
        assert red.sum() == 400
    assert rows["original_boxes"][0].tolist() == [[10, 5, 30, 25]]
    assert read_image(rows["originals"][0], "x").shape == (40, 60, 3)


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (XML.format(120, 80, OBJECT.format(21, 11, 60, 50)), "0: expected an image of 120 x 80 pixels"),
        (
            XML.format(60, 40, OBJECT.format(0.2, 0.1, 0.5, 0.6)),
            "Annotations/0.xml: expected boxes in pixels; .*fractions",
        ),
    ],
)
def test_boxes_of_another_image_are_named_or_skipped(tmp_path, monkeypatch, annotation, message):
    """Of another scale, or as fractions."""
    monkeypatch.chdir(tmp_path)
    ended = voc(tmp_path, annotation=annotation)
    assert ended.exit_code == 2
    assert not Path("data/augmented/d").exists()
    ended.stderr.index(message.split(";")[0])
    ended = voc(tmp_path, annotation=annotation, on_error="skip")
    assert ended.exit_code == 0, ended.output
    assert "d: 2 train, 1 val, 1 test; 1 unreadable skipped" in ended.stdout


@pytest.mark.parametrize("size", ["<width>0</width><height>0</height>", "<width/><height/>", ""])
def test_a_size_of_nothing_states_nothing(tmp_path, monkeypatch, size):
    """As some tools write it."""
    monkeypatch.chdir(tmp_path)
    annotation = f"<annotation><size>{size}</size>{OBJECT.format(11, 6, 30, 25)}</annotation>"
    ended = voc(tmp_path, annotation=annotation)
    assert ended.exit_code == 0, ended.output


def test_a_voc_image_is_an_image_and_one(tmp_path, monkeypatch):
    """Labels and hidden files beside it are none; two of one id are named."""
    monkeypatch.chdir(tmp_path)
    beside = {f"JPEGImages/{name}": b"0 .5 .5 .2 .2" for name in ("0.txt", "1.xml", "._0.png")}
    assert voc(tmp_path, extra=beside).exit_code == 0
    ended = voc(tmp_path, extra={"JPEGImages/0.jpg": b"x"})
    assert ended.exit_code == 2
    assert (
        "JPEGImages/0: expected one image of that name; received: JPEGImages/0.jpg and JPEGImages/0.png" in ended.stderr
        or (
            "JPEGImages/0: expected one image of that name; received: JPEGImages/0.png and JPEGImages/0.jpg"
            in ended.stderr
        )
    )


def pairs(folder, masks, classes=("cat",), extra=None, on_error="fail", **keys):
    files = {f"i/{n}.png": encoded(noise(8, 8, seed=n)) for n in range(len(masks))}
    files |= {
        f"m/{n}.png": mask if isinstance(mask, bytes) else encoded(mask)
        for n, mask in enumerate(masks)
        if mask is not None
    }
    splits = {"train": {"images": "i", "masks": "m"}, "val": 0.2, "test": 0.2}
    source = {"kind": "mask_pairs", "classes": list(classes), "splits": splits, **keys}
    dataset = {"task": "segmentation", "size": [8, 8], "on_error": on_error}
    return augment(folder, files | (extra or {}), source, dataset)


def square(value, ground=0):
    mask = np.full((8, 8), ground, np.uint8)
    mask[2:5, 3:6] = value
    return mask


@pytest.mark.parametrize(
    ("mask", "classes", "keys", "message"),
    [
        (square(255), ["cat"], {}, "0 of cat. What is no background there is void. Void is 255 by default: where objects are 255, say `class"),
        (square(1), ["cat", "dog"], {}, "expected a pixel of each class in the training split; received: 0 of dog. Has it another value"),
        (square(1), ["background", "cat"], {}, "sources.s.classes: expected the classes without what is none; received: 'background'"),
        (square(1), ["cat", "__Background__"], {}, "received: '__Background__'. Leave it out"),
        (square(255, 255), ["cat"], {}, "the split 'train': expected pixels that are not void; received: void everywhere"),
        (encoded(square(1), "JPEG"), ["cat"], {}, "expected a label map in a format that keeps each value"),
    ],
)  # fmt: skip
def test_a_class_without_a_pixel_is_refused(tmp_path, monkeypatch, mask, classes, keys, message):
    """With the likely cause; nothing is written."""
    monkeypatch.chdir(tmp_path)
    ended = pairs(tmp_path, [mask] * 5, classes, **keys)
    assert ended.exit_code == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.output
    assert not Path("data/augmented/d").exists()


def test_binary_masks_are_read_by_their_values(tmp_path, monkeypatch):
    """0 and 255, as the refusal says: nine pixels of the class in each."""
    monkeypatch.chdir(tmp_path)
    ended = pairs(tmp_path, [square(255)] * 5, class_values=[255], void_values=[])
    assert ended.exit_code == 0, ended.output
    assert (packed.open_split(tmp_path / "data/augmented/d", "train")["masks"][0] == 1).sum() == 9


def test_a_split_that_is_void_everywhere_is_refused(tmp_path, monkeypatch):
    """The drawn test image alone: a mean over nothing would be measured on it."""
    monkeypatch.chdir(tmp_path)
    masks = [square(1)] * 5
    masks[4] = np.full(
        (8, 8), 255, np.uint8
    )  # the generator of seed 0 orders five as 2, 4, 3, 0, 1: 2 validates and 4 tests
    ended = pairs(tmp_path, masks)
    assert "the split 'test': expected pixels that are not void; received: void everywhere" in ended.stderr


def test_an_image_without_its_label_map_can_be_skipped(tmp_path, monkeypatch):
    """It cannot be read; what is no image among the images is counted."""
    monkeypatch.chdir(tmp_path)
    masks = [square(1)] * 3 + [None] + [square(1)] * 4
    assert "expected a label map m/3.png for i/3.png; received: none of that name" in pairs(tmp_path, masks).stderr
    ended = pairs(tmp_path, masks, on_error="skip", extra={"i/9.heic": b"x"})
    assert ended.exit_code == 0, ended.output
    assert "1 unreadable skipped; left out as no images: 1 .heic" in ended.stdout
    report = json.loads(Path("results/datasets/d/report.json").read_text())
    assert [entry["reason"] for entry in report["skipped"]] == [
        "expected a label map m/3.png for i/3.png; received: none of that name"
    ]


# ---- which files are images ----


def test_every_format_that_is_read_counts_as_image():
    """By the endings that Pillow knows for it; tables, films and documents of Pillow's do not."""
    for name in (
        "a.JPG",
        "a.jfif",
        "a.jpe",
        "a.jp2",
        "a.tiff",
        "a.webp",
        "a.avif",
        "a.mpo",
        "a.dib",
        "a.pnm",
        "a.pjpeg",
    ):
        assert image_files.is_image(name), name
    for name in ("a.txt", "a.xml", "a.json", "a.h5", "a.eps", "a.mpg", "a.pdf", "a.heic", "a", "jpg", "a.jpg.txt"):
        assert not image_files.is_image(name), name


@pytest.mark.parametrize(
    ("path", "is_visible"),
    [
        ("a/b.jpg", True),
        ("a/.b.jpg", False),
        (".ipynb_checkpoints/b.jpg", False),
        ("a/.git/x/b.jpg", False),
        ("x.zip/__MACOSX/a/b.jpg", False),
        ("a/@eaDir/b.jpg/SYNOPHOTO_THUMB_XL.jpg", False),
        ("$RECYCLE.BIN/b.jpg", False),
        ("a/Thumbs.db", False),
        ("a/lost+found/b.jpg", False),
        ("thumbs/b.jpg", True),
    ],
)
def test_nothing_hidden_or_left_behind_counts(path, is_visible):
    """In any folder of the path, whatever the case of its letters."""
    assert image_files.is_visible(path) == is_visible
