"""The report: ours beside what was published, each with its protocol, nothing made up for what is missing."""

import json
import re
import shutil
import zipfile
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cnnkeras import architectures, keras_file, metrics
from pipeline.commands import report
from pipeline.commands.report import results
from pipeline.params import load_params
from pipeline.runtime import durations, paths
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import stage
from pipeline.runtime.seals import Seals
from tests.contents import digests

PRETRAINED = """
  pretrained:
    <<: *experiment
    architecture: yolo
    model: {variant: small}
"""
METRICS = {
    "map_voc07": 0.8125,
    "map_voc10": 0.82,
    "map_coco": None,
    "examples": 1200,
    "protocol": ["the rules"],
    "conditions": ["one thing", "another"],
    "per_class": [],
}


@pytest.fixture(autouse=True)
def project(project, monkeypatch):
    """The smallest project, with a result of the detector, and its network as a classifier among the experiments without."""
    monkeypatch.setenv("COLUMNS", "150")
    with project.params.open("a") as file:
        file.write(PRETRAINED)
    paths.figures("boxes").mkdir(parents=True)
    paths.metrics("boxes").write_text(json.dumps(METRICS))
    for name in ("worst", "predictions", "notes"):
        draw(paths.figures("boxes") / f"{name}.png")
    paths.timings("boxes").parent.mkdir(parents=True)
    timing = {"machine": "2 cores", "seconds": 75.4, "seconds_per_epoch": [75.4]}
    paths.timings("boxes").write_text(json.dumps(timing))
    write_weights(paths.model_file("boxes"))


def draw(file: Path, size: tuple[int, int] = (1500, 600), *, seed: int = 0) -> None:
    """A figure of more colours than a palette holds: a photograph's worth of noise."""
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1] // 10, size[0] // 10, 3), np.uint8)
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(file)


def write_weights(file: Path) -> None:
    """A .keras file with a layer of 12 + 3 weights and a dropout layer with its generator's state."""
    buffer = BytesIO()
    with h5py.File(buffer, "w") as weights:
        weights["layers/dense/vars/0"] = np.zeros((4, 3), np.float32)
        weights["layers/dense/vars/1"] = np.zeros(3, np.float32)
    file.parent.mkdir(parents=True)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(keras_file.CONFIG, "{}")
        archive.writestr(keras_file.METADATA, "{}")
        archive.writestr(keras_file.WEIGHTS, buffer.getvalue())


def write_metrics(name: str, **values) -> None:
    """A result of an experiment."""
    paths.metrics(name).parent.mkdir(parents=True, exist_ok=True)
    paths.metrics(name).write_text(json.dumps({**METRICS, "examples": 1000, **values}))


def row_of(name: str) -> list[str]:
    """The cells of an experiment's row of the first table."""
    (row,) = re.findall(rf"^\| .*\*\*\[?{name}\b.*$", paths.report().read_text(), re.M)
    return row.strip("| ").split(" | ")


def test_ours_and_the_published_number_of_the_same_data_stand_in_one_row():
    """MNIST-1D's own test split: each in its own cell, with its own data and rules, under the name of the metric that both have."""
    write_metrics("signals", top1_error=0.125, top1_accuracy=0.875, top5_accuracy=1.0, top5_error=0.0)
    report.run()
    _, ours, published = row_of("signals")
    assert ours.startswith("**top1_error 0.125**<br>")
    first = architectures.load("mnist1d_conv").PUBLISHED[0]
    assert published.startswith(f"**{first.metric} {first.value:.3f}**<br>{first.system}<br>{first.data}")
    assert first.protocol not in paths.report().read_text().split(f"## {results.ELSEWHERE}")[1]


def test_a_published_number_of_other_data_stands_in_a_section_of_its_own():
    """Scenes of digits are not VOC 2007, whatever `published` of the entry says: nothing beside ours, all of it under its own heading."""
    for published in ("", "    published: {system: YOLO}\n"):
        with paths.params_file().open("a") as file:
            file.write(
                f"""
  boxes_again:
    <<: *experiment
    dataset: boxes
    architecture: yolo
    postprocess: {{confidence_threshold: 0.25, nms_iou: 0.5, display_threshold: 0.3}}
{published}"""
                if published
                else ""
            )
        report.run()
        text, elsewhere = paths.report().read_text().split(f"## {results.ELSEWHERE}")
        _, ours, beside = row_of("boxes")
        assert ours == "**map_voc07 0.812**<br>boxes, test split, 1,200 examples, input 64 x 64<br>the rules"
        assert beside == "-"
        assert "0.634" not in text
        assert elsewhere.count("| map_voc07 | 0.634 | YOLO | VOC2007 test") == 1
    assert row_of("boxes_again")[2] == "-"
    assert row_of("boxes")[0].endswith("<br>15 parameters")


def test_every_published_number_of_the_task_is_quoted():
    """With data, protocol and source; ours that is not defined is said to be so."""
    report.run()
    text = paths.report().read_text()
    rows = [row for row in architectures.load("yolo").PUBLISHED if row.metric in metrics.load("detection").METRICS]
    assert all(row.protocol in text and row.source in text for row in rows)
    section = text.split("## boxes")[1]
    assert "the rules; one thing; another" in section
    assert "| map_coco | undefined |" in section


def test_experiments_without_a_result_are_listed_as_such(capsys):
    """With the command that makes one, without a section, and without another task's published numbers."""
    report.run()
    said, text = capsys.readouterr().out, paths.report().read_text()
    for shown in (said, text):
        assert "dvc repro evaluate@pretrained" in shown
        assert "map_voc07 0.812" in shown
    assert "## pretrained" not in text
    (row,) = re.findall(r"^\| .*pretrained.*$", text, re.M)
    assert "map_" not in row


@pytest.fixture
def sealed() -> None:
    """The detector's numbers and model are of stages that sealed them, after the params.yaml that is there."""
    shutil.copy(Path(__file__).parents[1] / "dvc.yaml", paths.root())
    params, model = load_params(), paths.model_file("boxes").read_bytes()
    with stage("train", "boxes", inputs=[], outputs=[paths.model_folder("boxes")], params=params) as (folder,):
        (folder / "model.keras").write_bytes(model)
    outputs = [paths.metrics("boxes"), paths.figures("boxes")]
    with stage("evaluate", "boxes", inputs=[], outputs=outputs, params=params) as (file, folder):
        file.write_text(json.dumps(METRICS))
        for name in ("worst", "predictions"):
            draw(folder / f"{name}.png")


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize("path", [paths.metrics, paths.model_file, lambda name: paths.figures(name) / "worst.png"])
def test_a_damaged_result_is_refused(path):
    """With the command that makes it again; the former report stays."""
    report.run()
    before = paths.report().read_text()
    path("boxes").write_bytes(path("boxes").read_bytes().replace(b"0", b"1"))
    with pytest.raises(
        InputError, match=r"expected results/boxes/.* wrote it; received: .* has other content\. Run `cnnkeras"
    ):
        report.run()
    assert paths.report().read_text() == before


@pytest.mark.parametrize(
    "content",
    ["", '{"examples": 12', "[]", "null", "{}", "[" * 100_000, json.dumps({**METRICS, "map_voc07": "much"}), "\udcff"],
)
def test_metrics_without_a_seal_that_nobody_can_read_are_one_line(content):
    """Cut, of another type, or without what a report shows: which file, who writes it; no report is written."""
    shutil.copy(Path(__file__).parents[1] / "dvc.yaml", paths.root())
    paths.report().unlink(missing_ok=True)
    paths.metrics("boxes").write_bytes(content.encode(errors="surrogateescape"))
    expected = (
        "^results/boxes/metrics.json: expected a file as cnnkeras evaluate boxes writes it; received: .*Run that again$"
    )
    with pytest.raises(InputError, match=expected):
        report.run()
    assert not paths.report().exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"seconds": 3}'])
def test_times_that_nobody_can_read_are_one_line(content):
    """No stage's output: it is to be deleted."""
    paths.timings("boxes").parent.mkdir(parents=True, exist_ok=True)
    paths.timings("boxes").write_text(content)
    with pytest.raises(InputError, match=r"^\.cnnkeras/timings/boxes\.json: expected .*\. Delete it$"):
        report.run()


@pytest.mark.parametrize("content", ["{", "[]", '{"claim": "It holds."}'])
def test_numbers_of_a_claim_that_nobody_can_read_are_one_line(content):
    """As of metrics."""
    file = paths.claim_numbers("size")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    with pytest.raises(
        InputError, match=r"^results/lab/size/numbers\.json: expected a file as .* writes it; received: "
    ):
        report.run()


@pytest.mark.parametrize(
    ("mean", "deviation", "text"),
    [
        (0.99812, 0.000577, "0.99812 ± 0.00058"),
        (0.87973, 0.0066, "0.8797 ± 0.0066"),
        (0.5, 0.0996, "0.50 ± 0.10"),
        (0.75, 0.25, "0.75 ± 0.25"),
        (12.34, 1.26, "12.3 ± 1.3"),
        (0.5, 0.0000004, "0.500000 ± 0.000000"),
        (0.5, 0.0, "0.500 ± 0.000"),
        (None, None, "undefined ± undefined"),
    ],
)
def test_a_mean_has_the_decimals_of_two_digits_of_its_deviation(mean, deviation, text):
    """By hand."""
    assert results.with_deviation(mean, deviation) == text


@pytest.mark.usefixtures("sealed")
def test_a_result_of_other_params_is_called_one(capsys):
    """Its architecture and its settings in the table are those of params.yaml, which did not make it."""
    report.run()
    assert "from before a change" not in row_of("boxes")[1]
    text = paths.params_file().read_text()
    paths.params_file().write_text(text.replace("learning_rate: 0.1", "learning_rate: 0.2"))
    report.run()
    note = "from before a change, params.yaml experiments.boxes.train.optimizer.learning_rate: 0.1 -> 0.2: run `cnnkeras repro`"
    assert note in row_of("boxes")[1]
    assert "from before a change" in capsys.readouterr().out


def test_figures_are_linked_from_wherever_the_report_lies():
    """Those that exist, in the order in which they tell the story."""
    for output in (None, Path("elsewhere/deep/report.md")):
        report.run(output)
        file = output or paths.report()
        links = re.findall(r"!\[boxes: (\w+)\]\((.+)\)", file.read_text())
        assert [name for name, _ in links] == ["predictions", "worst"]
        assert all((file.parent / link).resolve() == paths.small_figure("boxes", name) for name, link in links)
        assert all((file.parent / link).is_file() for _, link in links)
        assert not list(file.parent.glob(".partial*"))


def test_what_a_page_shows_is_small_and_looks_like_the_figure():
    """Each pixel is near to that of the figure, brought to the page's width; a small figure keeps its size."""
    draw(paths.figures("boxes") / "per_class.png", (400, 300))
    report.run()
    for name, size in (("worst", (1000, 400)), ("per_class", (400, 300))):
        figure, copy = Image.open(paths.figures("boxes") / f"{name}.png"), Image.open(paths.small_figure("boxes", name))
        assert (copy.mode, copy.size) == ("P", size)
        expected = np.asarray(figure.resize(size, Image.Resampling.LANCZOS), np.float64)
        assert np.abs(expected - np.asarray(copy.convert("RGB"))).mean() < 12  # of 256; 85 between two random pictures
        assert (
            paths.small_figure("boxes", name).stat().st_size
            < (paths.figures("boxes") / f"{name}.png").stat().st_size / 2
        )


def tracked() -> dict[Path, bytes]:
    """What `cnnkeras report` writes into git."""
    files = [paths.report(), paths.lab_report(), *paths.small_figures().rglob("*")]
    return {file: file.read_bytes() for file in files if file.is_file()}


def test_equal_results_give_equal_pages(capsys):
    """No time and no machine, which the terminal shows; and a small figure that shows the same stays, however it was compressed."""
    report.run()
    assert "trained in 1 min 15 s on 2 cores" in " ".join(capsys.readouterr().out.split())
    first = tracked()
    assert len(first) == 3
    assert not any(b"1 min" in content or b"2 cores" in content for content in first.values())
    timing = {"machine": "64 cores", "seconds": 7.0, "seconds_per_epoch": [7.0]}
    paths.timings("boxes").write_text(json.dumps(timing))
    report.run()
    assert tracked() == first
    worst = paths.small_figure("boxes", "worst")
    small = Image.open(worst)
    text = PngInfo()
    text.add_text("figure", small.info["figure"])
    small.save(worst, compress_level=1, pnginfo=text)
    compressed_otherwise = worst.read_bytes()
    assert compressed_otherwise != first[worst]
    report.run()
    assert worst.read_bytes() == compressed_otherwise
    for damaged in (compressed_otherwise[:-500], compressed_otherwise.replace(b"IDAT", b"IDAU"), b"", b"other"):
        worst.write_bytes(damaged)
        report.run()
        assert worst.read_bytes() == first[worst]
    draw(paths.figures("boxes") / "worst.png", seed=1)
    report.run()
    assert worst.read_bytes() not in (first[worst], compressed_otherwise)


def test_a_clone_shows_its_figures_and_keeps_them():
    """Where the figures are not, their copies stay and are shown: beside metrics in git, and for a claim of the lab."""
    write_claim("size")
    draw(paths.claim_figure("size"), (800, 450))
    report.run()
    before = tracked()
    assert set(before) == {
        paths.report(),
        paths.lab_report(),
        *(paths.small_figure("boxes", name) for name in ("predictions", "worst")),
        paths.small_figure("lab", "size"),
    }
    assert "![size](../small_figures/lab/size.png)" in paths.lab_report().read_text()
    paths.claim_figure("size").unlink()
    shutil.rmtree(paths.figures("boxes"))
    paths.model_file("boxes").unlink()
    with pytest.raises(InputError, match="without the model and the figures of boxes"):
        report.run()
    assert tracked() == before


def test_small_figures_that_no_page_shows_go():
    """Those of a figure that is no longer drawn, of an experiment and of a claim that are no longer there; other reports remove nothing."""
    write_claim("size")
    draw(paths.claim_figure("size"), (800, 450))
    report.run()
    gone = [
        paths.small_figure("former", "worst"),
        paths.small_figure("lab", "former"),
        paths.small_figure("boxes", "errors"),
    ]
    for file in gone:
        draw(file)
    report.run(Path("elsewhere.md"))
    assert [file.is_file() for file in gone] == [True, True, False]
    report.run()
    assert not any(file.exists() for file in gone)
    assert paths.small_figure("lab", "size").is_file()


def test_a_damaged_figure_is_one_line():
    """It names the file, and no page is replaced."""
    (paths.figures("boxes") / "worst.png").write_bytes(b"cut")
    with pytest.raises(InputError, match=r"figures/worst\.png: expected a figure; received: .*Make it again"):
        report.run()
    assert not paths.report().exists()


def write_claim(name: str) -> None:
    """The numbers of an entry of the lab."""
    content = {
        "claim": "It grows.",
        "published": {},
        "measured": {"sides": 3},
        "spread": {},
        "holds": True,
        "paragraph": "By 3.",
    }
    paths.claim_numbers(name).parent.mkdir(parents=True, exist_ok=True)
    paths.claim_numbers(name).write_text(json.dumps(content))


def test_a_clone_without_results_keeps_its_report():
    """Metrics are in git, models and figures are not: a report without them would replace a better one."""
    report.run()
    before = paths.report().read_bytes()
    shutil.rmtree(paths.figures("boxes"))
    with pytest.raises(
        InputError, match=r"without the model and the figures of boxes\. .*README.md stays as it was\. Run `dvc pull`"
    ):
        report.run()
    paths.metrics("boxes").unlink()
    with pytest.raises(InputError, match=r"received: none yet\. .*README.md stays as it was"):
        report.run()
    assert paths.report().read_bytes() == before
    with pytest.raises(InputError, match=r"received: none yet\. Run"):
        report.run(Path("new.md"))
    assert not Path("new.md").exists()


@pytest.mark.parametrize("place", ["params.yaml", "results", "notes.md", "/dev/null", "lost", "params.yaml/report.md"])
def test_a_place_that_is_taken_is_refused(place):
    """Whatever is there that is no report stays: a file, a folder, a device, a link that leads nowhere."""
    Path("notes.md").write_text("# Results\n\nof mine\n")
    Path("lost").symlink_to("nowhere")
    before = digests(Path())
    with pytest.raises(InputError, match=rf"{place}: expected a new file, or one that `cnnkeras report` has written"):
        report.run(Path(place))
    assert digests(Path()) == before
    assert Path("lost").is_symlink()
    assert Path("/dev/null").is_char_device()


def test_a_file_of_ones_own_in_the_usual_place_stays():
    """Somebody may have written a README.md there."""
    paths.report().write_text("mine")
    with pytest.raises(InputError, match="another file, which would be lost"):
        report.run()
    assert paths.report().read_text() == "mine"
    paths.report().write_text("")
    report.run()
    report.run()


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (75.4, "1 min 15 s"), (119.7, "2 min 0 s"), (7384, "2 h 3 min")]
)
def test_durations_are_said_in_words(seconds, words):
    """Seconds, minutes, hours."""
    assert durations.in_words(seconds) == words


def test_the_published_numbers_of_the_variant_come_first():
    """A VGG-16 stands beside the paper's D, not beside its A."""
    systems = [row.system for row in results._published(load_params().experiment("crops"), "classification")]
    assert systems[0] == "D"
    assert sorted(systems) == sorted(row.system for row in architectures.load("vgg").PUBLISHED)


IMAGENET = """\
seed: 1
sources:
  images:
    kind: image_folder
    files: [{name: val.tar, md5: 29b22e2961454d5413ddabcf34fc5622}, {name: kit.tgz, md5: fa75699e90414af021442c21a62c3abf}]
    splits: {train: ., val: 0.01, test: kit/data/ILSVRC2012_validation_ground_truth.txt}
    folders: FOLDERS
datasets:
  images: {source: images, task: classification, size: [224, 224]}
experiments:
  net:
    dataset: images
    architecture: alexnet
    model: {variant: two_tower}
    input: {mean: dataset, std: 1.0}
    train:
      epochs: 1
      batch_size: 1
      optimizer: {name: sgd, learning_rate: 0.1}
      schedule: {name: constant}
      initial_weights: {experiment: scratch}
    predict: {batch_size: 1, views: [{name: VIEW, scales: [256]}]}
    postprocess: {top_k: 5}
    evaluate: {images: 4}
    published: {system: one CNN}
"""


@pytest.mark.parametrize(
    ("changes", "is_beside"),
    [
        ({}, True),
        ({"FOLDERS": ", ".join(f"n{number:08}" for number in range(10))}, False),  # ten classes
        ({"VIEW": "centre_crop"}, False),  # another protocol
        ({"    published: {system: one CNN}\n": ""}, False),  # not said to be that system
        ({"29b22e2961454d5413ddabcf34fc5622": "a" * 32}, False),  # other images
        ({"kit/data/ILSVRC2012_validation_ground_truth.txt": "0.1"}, False),  # a part of the training images
    ],
)
def test_a_published_number_needs_the_same_images_classes_and_views(tmp_path, changes, is_beside):
    """ILSVRC-2012's validation images by their archive, its thousand classes, the ten patches."""
    usual = {"FOLDERS": ", ".join(f"n{number:08}" for number in range(1000)), "VIEW": "ten_patches"}
    text = IMAGENET
    for old, new in {**changes, **{key: value for key, value in usual.items() if key not in changes}}.items():
        text = text.replace(old, f"[{new}]" if old == "FOLDERS" else new)
    (tmp_path / "params.yaml").write_text(text)
    params = load_params(tmp_path / "params.yaml")
    (entry,) = results.read(params, Seals(params))
    assert {row.value for row in entry.published} == ({0.407, 0.182} if is_beside else set())
    assert {0.407, 0.182} <= {row.value for row in (*entry.published, *entry.elsewhere)}
