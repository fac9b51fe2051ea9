"""`cnnkeras show`: what it reads, what it refuses, what it draws and says."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkeras import answers
from cnnkeras.tasks.detection import encode_targets
from pipeline.commands import show, show_inputs
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError
from tests.contents import digests

CLASSES = ("zero", "one")


@pytest.fixture
def trained(project):
    """The smallest project with two experiments' networks, as they are before any training."""
    from cnnkeras import architectures
    from pipeline.backend import model_files

    for name, architecture, arguments in (
        ("crops", "vgg", {"input_shape": (32, 32, 3), "width": 1 / 32}),
        ("signals", "mnist1d_conv", {"input_shape": (40, 1)}),
    ):
        paths.model_folder(name).mkdir(parents=True)
        network = architectures.load(architecture).build(output_shape=(10,), **arguments)
        model_files.save(network, paths.model_file(name))
    return project


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "P", "RGBA", "CMYK"])
def test_images_of_every_mode_become_rgb(tmp_path, mode):
    """Grey stays the same grey, whatever the file's colours are called."""
    file = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    Image.new("RGB", (9, 6), (51, 51, 51)).convert(mode).save(file)
    np.testing.assert_array_equal(show_inputs.read_image(file), np.full((6, 9, 3), 51))


def test_images_of_16_bits_keep_their_brightness(tmp_path):
    """The middle of 0..65535 is the middle of 0..255, not white."""
    Image.fromarray(np.full((6, 9), 0x80FF, np.uint16)).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(show_inputs.read_image(tmp_path / "deep.png"), np.full((6, 9, 3), 0x80))


def test_transparency_becomes_white(tmp_path):
    """Whatever colour hides under it."""
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (show_inputs.read_image(tmp_path / "clear.png") == 255).all()


def test_photographs_are_turned_upright(tmp_path):
    """A camera held sideways writes so into the file: orientation 6 is to be turned by 90 degrees to the right."""
    lying = Image.fromarray(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8))  # red, then blue
    exif = Image.Exif()
    exif[0x0112] = 6
    lying.save(tmp_path / "photo.png", exif=exif)
    np.testing.assert_array_equal(show_inputs.read_image(tmp_path / "photo.png")[:, 0], [[255, 0, 0], [0, 0, 255]])


@pytest.mark.usefixtures("trained")
def test_files_that_are_no_images_are_refused_before_anything_is_written():
    """One clear line naming the file; the good image before it is not drawn either."""
    Image.new("RGB", (50, 40)).save("good.png")
    Image.effect_noise((200, 200), 90).save("whole.jpg")
    Path("cut.jpg").write_bytes(Path("whole.jpg").read_bytes()[:4000])
    Path("text.jpg").write_text("no image")
    for bad in ("text.jpg", "cut.jpg", "missing.jpg"):
        with pytest.raises(InputError, match=rf"^{re.escape(bad)}: expected a whole image; received: .*"):
            show.run("crops", [Path("good.png"), Path(bad)])
    assert not Path("show").exists()


@pytest.mark.usefixtures("project")
def test_an_untrained_experiment_is_refused():
    """With the command that trains it."""
    with pytest.raises(InputError, match=r"results/crops/model/model.keras.*cnnkeras train crops"):
        show.run("crops", [Path("any.png")])


def test_signals_come_as_numbers(tmp_path):
    """A .npy file of any shape, or text with commas or lines; not fewer, not more, not words."""
    values = np.arange(40, dtype=np.float64)
    np.save(tmp_path / "a.npy", values[None])
    (tmp_path / "b.csv").write_text(",".join(map(str, values)))
    (tmp_path / "c.csv").write_text("\n".join(map(str, values)) + "\n")
    for name in ("a.npy", "b.csv", "c.csv"):
        signal = show_inputs.read_signal(tmp_path / name, 40)
        assert (signal.shape, signal.dtype) == ((40, 1), np.float32)
        np.testing.assert_array_equal(signal[:, 0], values)
    (tmp_path / "d.csv").write_text("1,2,three")
    (tmp_path / "e.csv").write_text(",".join(["nan"] * 40))
    np.save(tmp_path / "f.npy", np.array([{}] * 40, dtype=object), allow_pickle=True)
    np.save(tmp_path / "g.npy", values[:39])
    for name in ("d.csv", "e.csv", "f.npy", "g.npy", "none.npy"):
        with pytest.raises(InputError, match=rf"{name}: expected 40"):
            show_inputs.read_signal(tmp_path / name, 40)


@pytest.mark.usefixtures("trained")
def test_images_and_signals_are_drawn_and_described(capsys):
    """Top-2 classes per file; a drawing per file, also for two files of one name; the same bytes again."""
    Path("sub").mkdir()
    for file in (Path("cat.jpg"), Path("sub/cat.jpg")):
        Image.effect_noise((60, 40), 90).save(file)
    np.save("wave.npy", np.sin(np.arange(40)))
    show.run("crops", [Path("cat.jpg"), Path("sub/cat.jpg")])
    show.run("signals", [Path("wave.npy")], output=Path("drawn"))
    names = ("show/cat-crops.png", "show/cat-crops-2.png", "drawn/wave-signals.png")
    said = capsys.readouterr().out
    assert all(f"drawn in {name}" in said for name in names)
    assert len(re.findall(r"^  (?:zero|one|two|three|four|five|six|seven|eight|nine|\d) [01]\.\d{3}$", said, re.M)) == 6
    before = digests(Path(), "show", "drawn")
    assert np.array(Image.open(names[0])).shape[1] == show.SIDES[0]
    show.run("crops", [Path("cat.jpg"), Path("sub/cat.jpg")])
    assert digests(Path(), "show", "drawn") == before
    assert len(before) == len(names)


@pytest.mark.usefixtures("trained")
def test_an_unwritable_output_is_refused():
    """A file in the place of the folder."""
    Image.new("RGB", (50, 40)).save("cat.png")
    Path("taken").write_text("")
    with pytest.raises(InputError, match=r"expected to be able to write to taken; received: Not a directory"):
        show.run("crops", [Path("cat.png")], output=Path("taken"))


def said(task, image, outputs, settings):
    return answers.load(task).answer(outputs, image.shape[:2], CLASSES, settings, None)


def shown(task, image, outputs, settings):
    return show.load(task).show(image, said(task, image, outputs, settings), CLASSES, settings)


def test_objects_lie_where_the_network_puts_them():
    """A certain box over the right half of a 200 x 100 image comes out in the image's own pixels."""
    truth = encode_targets([np.array([[0.5, 0.0, 1.0, 1.0]])], [np.array([1])], grid=2, classes=2)[0]
    outputs = np.zeros((2, 2, 2 + 5), np.float32)
    row, column = np.argwhere(truth[..., 0])[0]
    outputs[row, column] = [0, 1, 0.9, *truth[row, column, 1:3], *np.sqrt(truth[row, column, 3:5])]
    settings = {"confidence_threshold": 0.1, "nms_iou": 0.5, "display_threshold": 0.5}
    drawn = shown("detection", np.zeros((100, 200, 3), np.uint8), outputs, settings)
    assert drawn.lines == ["one 0.900 from (100, 0) to (200, 100)"]
    assert drawn.image.shape == (240, 480, 3)
    higher = settings | {"display_threshold": 0.95}
    empty = shown("detection", np.zeros((100, 200, 3), np.uint8), outputs, higher)
    assert empty.lines == ["nothing with a score of at least 0.95"]


def test_regions_are_given_as_shares():
    """A quarter of class one, the rest background."""
    scores = np.zeros((4, 4, 3), np.float32)
    scores[..., 0], scores[:2, :2, 2] = 1, 9
    settings = {"resize": "nearest"}
    drawn = shown("segmentation", np.zeros((40, 80, 3), np.uint8), scores, settings)
    assert drawn.lines == ["background 75.0% of the pixels", "one 25.0% of the pixels"]


def test_classes_come_most_probable_first():
    """Logits of log 3 and 0 are probabilities of 3/4 and 1/4."""
    outputs = np.log(np.array([1, 3], np.float32))
    drawn = shown("classification", np.zeros((30, 40, 3), np.uint8), outputs, {"top_k": 5})
    assert drawn.lines == ["one 0.750", "zero 0.250"]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Three images in two folders, beside what is none."""
    monkeypatch.chdir(tmp_path)
    Path("photos/sub").mkdir(parents=True)
    for name in ("photos/b.png", "photos/a.jpg", "photos/sub/c.png", "photos/.hidden.png"):
        Image.new("RGB", (6, 4), (1, 2, 3)).save(name)
    Path("photos/notes.txt").write_text("no image")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["photos"], ["photos/a.jpg", "photos/b.png", "photos/sub/c.png"]),
        (["photos/*.png"], ["photos/b.png"]),
        (["photos/**/*.png"], ["photos/b.png", "photos/sub/c.png"]),
        (["photos/b.png", "photos", "photos/[ab].*"], ["photos/b.png", "photos/a.jpg", "photos/sub/c.png"]),
    ],
)
@pytest.mark.usefixtures("photos")
def test_files_folders_and_patterns_name_images(arguments, names):
    """A folder what lies in it and below, without what is hidden or no image; each image once, in the order of the arguments."""
    assert [image.name for image in show_inputs.given(arguments, dataset="", size=(64, 64))] == names


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("photos/*.gif", r"expected files that fit 'photos/\*.gif'; received: none"),
        ("empty", "empty: expected images in this folder; received: none"),
        ("missing.png", "missing.png: expected a whole image; received: no such file"),
        ("photos/*", "photos/notes.txt: expected"),
    ],
)
@pytest.mark.usefixtures("photos")
def test_what_names_no_image_is_refused(argument, message):
    """With what was given, and what to give."""
    Path("empty").mkdir()
    with pytest.raises(InputError, match=message):
        show_inputs.given([argument], dataset="", size=(64, 64))


def test_a_file_may_have_the_name_of_a_pattern(tmp_path, monkeypatch):
    """What exists is a file."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (6, 4)).save("a[1].png")
    assert [image.name for image in show_inputs.given(["a[1].png"], dataset="", size=(64, 64))] == ["a[1].png"]


def test_without_a_path_test_images_are_taken_evenly_spaced(project):
    """The originals, not the packed inputs: of 23 every second, the first and the last among them."""
    examples = []
    for number in range(23):
        content = io.BytesIO()
        Image.new("RGB", (9, 7), (number, 0, 0)).save(content, "png")
        ragged = {"originals": np.frombuffer(content.getvalue(), np.uint8)}
        examples.append((f"e{number}", {"inputs": np.zeros((32, 32, 3), np.uint8)}, ragged))
    project.pack_test_split("crops", examples)
    given = show_inputs.given([], dataset="crops", size=(32, 32))
    assert [image.name for image in given] == [f"e{number}" for number in range(0, 23, 2)]
    assert [image.values[0, 0, 0] for image in given] == list(range(0, 23, 2))
    assert given[0].values.shape == (7, 9, 3)
    assert all(image.is_test for image in given)


@pytest.mark.usefixtures("project")
def test_without_a_path_a_dataset_is_needed():
    """With the command that packs it."""
    with pytest.raises(InputError, match="cnnkeras augment crops"):
        show_inputs.given([], dataset="crops", size=(32, 32))


@pytest.mark.usefixtures("trained")
def test_predictions_are_written_as_json_and_csv():
    """What was printed, in a form that programs read: the same classes and probabilities, a row or an entry each."""
    for name in ("a.png", "b.png"):
        Image.effect_noise((60, 40), 90).save(name)
    show.run("crops", ["a.png", "b.png"], format="json")
    show.run("crops", ["a.png", "b.png"], format="csv")
    content = json.loads(Path("show/crops.json").read_text())
    assert content["experiment"] == "crops"
    assert [(entry["file"], entry["drawing"]) for entry in content["images"]] == [
        ("a.png", "a-crops.png"),
        ("b.png", "b-crops.png"),
    ]
    rows = list(csv.DictReader(Path("show/crops.csv").read_text().splitlines()))
    expected = [
        {"file": entry["file"], **{key: str(value) for key, value in row.items()}}
        for entry in content["images"]
        for row in entry["predictions"]
    ]
    assert rows == expected
    assert [row["rank"] for row in rows] == ["1", "2", "1", "2"]


def test_what_found_nothing_has_a_header_and_an_empty_list():
    """Not a missing file."""
    image, nothing = show_inputs.Given("a.png", "a", np.zeros((1, 1, 3))), answers.Answer([])
    arguments = ("boxes", ("class", "score"), [image], [Path("show/a-boxes.png")], [nothing])
    assert show.as_text("csv", *arguments) == "file,class,score\n"
    assert json.loads(show.as_text("json", *arguments))["images"] == [
        {"file": "a.png", "drawing": "a-boxes.png", "predictions": []}
    ]


def test_a_label_map_is_a_file_of_its_own():
    """As the stage `postprocess` writes it: classes from 1, at the image's own size."""
    scores = np.zeros((4, 4, 3), np.float32)
    scores[..., 0], scores[:2, :2, 2] = 1, 9
    answer = said("segmentation", np.zeros((40, 80, 3), np.uint8), scores, {"resize": "nearest"})
    labels = np.array(Image.open(io.BytesIO(answer.files["label_map.png"])))
    assert labels.shape == (40, 80)
    assert (labels[:20, :40] == 2).all()
    assert labels[:20, 40:].max() == labels[20:].max() == 0
    assert answer.rows == [{"class": "background", "fraction": 0.75}, {"class": "one", "fraction": 0.25}]
