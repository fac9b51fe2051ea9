"""The report: ours beside what was published, each with its protocol, nothing made up for what is missing."""

import json
import re
import zipfile
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pytest

from cnnkeras import architectures, keras_file, metrics
from pipeline.commands import report
from pipeline.commands.report import results
from pipeline.params import load_params
from pipeline.runtime import paths

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
    "protocol": "the rules",
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
    for name in ("worst.png", "predictions.png"):
        (paths.figures("boxes") / name).write_bytes(b"")
    paths.timings("boxes").parent.mkdir(parents=True)
    timing = {"machine": "2 cores", "seconds": 75.4, "seconds_per_epoch": [75.4]}
    paths.timings("boxes").write_text(json.dumps(timing))
    write_weights(paths.model_file("boxes"))


def write_weights(file: Path) -> None:
    """A .keras file with a layer of 12 + 3 weights and a dropout layer with its generator's state."""
    buffer = BytesIO()
    with h5py.File(buffer, "w") as weights:
        weights["layers/dense/vars/0"] = np.zeros((4, 3), np.float32)
        weights["layers/dense/vars/1"] = np.zeros(3, np.float32)
        weights["layers/dropout/seed_generator/vars/0"] = np.zeros(2, np.uint32)
    file.parent.mkdir(parents=True)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(keras_file.CONFIG, "{}")
        archive.writestr(keras_file.METADATA, "{}")
        archive.writestr(keras_file.WEIGHTS, buffer.getvalue())


def test_ours_and_the_published_number_stand_in_one_row_with_their_protocols():
    """Each in its own cell, with its own data and rules, under the name of the metric that both have."""
    report.run()
    text = paths.report().read_text()
    (row,) = re.findall(r"^\| .*\[boxes\].*$", text, re.M)
    _, ours, published = row.strip("| ").split(" | ")
    assert ours == "**map_voc07 0.812**<br>boxes, test split, 1,200 examples, input 64 x 64<br>the rules"
    first = architectures.load("yolo").PUBLISHED[0]
    assert published.startswith(f"**{first.metric} {first.value:.3f}**<br>{first.system}<br>{first.data}")
    assert "15 parameters<br>trained in 1 min 15 s on 2 cores" in row


def test_a_section_quotes_every_published_number_of_the_task():
    """With data, protocol and source; ours that is not defined is said to be so."""
    report.run()
    section = paths.report().read_text().split("## boxes")[1]
    rows = [row for row in architectures.load("yolo").PUBLISHED if row.metric in metrics.load("detection").METRICS]
    assert all(row.protocol in section and row.source in section for row in rows)
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


def test_figures_are_linked_from_wherever_the_report_lies():
    """Those that exist, in the order in which they tell the story."""
    for output in (None, Path("elsewhere/deep/report.md")):
        report.run(output)
        file = output or paths.report()
        links = re.findall(r"!\[boxes: (\w+)\]\((.+)\)", file.read_text())
        assert [name for name, _ in links] == ["predictions", "worst"]
        assert all((file.parent / link).resolve() == paths.figures("boxes") / f"{name}.png" for name, link in links)
        assert not list(file.parent.glob(".partial*"))


def test_equal_results_give_an_equal_report():
    """No time, no machine but the one that trained."""
    report.run()
    first = paths.report().read_bytes()
    report.run()
    assert paths.report().read_bytes() == first


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (75.4, "1 min 15 s"), (119.7, "2 min 0 s"), (7384, "2 h 3 min")]
)
def test_durations_are_said_in_words(seconds, words):
    """Seconds, minutes, hours."""
    assert results._duration(seconds) == words


def test_the_published_numbers_of_the_variant_come_first():
    """A VGG-16 stands beside the paper's D, not beside its A."""
    systems = [row.system for row in results._published(load_params().experiment("crops"), "classification")]
    assert systems[0] == "D"
    assert sorted(systems) == sorted(row.system for row in architectures.load("vgg").PUBLISHED)
