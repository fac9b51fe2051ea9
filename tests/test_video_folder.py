"""Frames of videos: lossless ones that are made here, so that every pixel is known."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.files.classes import write_found
from pipeline.files.local import LocalFile, write_listing
from pipeline.formats import packed
from pipeline.images.videos import Facts, Frames, read_facts
from pipeline.runtime.errors import InputError
from pipeline.sources import SPLITS, video_folder


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    monkeypatch.chdir(tmp_path)


def frame(number, seed=0):
    """A grey frame, as the lossless codec keeps it, with two halves: its own number, and its video's."""
    pixels = np.full((40, 48, 3), number, np.uint8)
    pixels[:, 24:] = 255 - seed
    return pixels


def write_video(path, frames=50, seed=0, per_second=10, codec="FFV1"):
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), per_second, (48, 40))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(frame(number, seed))
    writer.release()


def opened(split="train", *, part=".", **entry):
    Path("raw").mkdir(exist_ok=True)
    write_listing(LocalFile(path="data"), Path("raw"))
    splits = {"train": part, "val": 0.2, "test": 0.2} | entry.pop("splits", {})
    every = {"kind": "video_folder", "files": [{"path": "data"}], "folders": ["walk", "run"], "splits": splits}
    source = video_folder.Source(**every | entry)
    if source.takes_all:
        write_found(source, Path("raw"), video_folder.labels_in(source, Path("raw")))
    return video_folder.examples(source, Path("raw"), masks=False, split=split)


def numbers(found):
    return [(each.id, int(each.image[0, 0, 0])) for each in found]


def test_frames_by_hand():
    """Fifty frames at ten a second, one a second: 0, 10, 20, 30, 40, and every pixel of them."""
    write_video(Path("data/walk/a.avi"))
    write_video(Path("data/run/sub/b.avi"), frames=21, seed=9)
    found = opened("test", splits={"val": ".", "test": "."})
    assert numbers(found) == [(f"run_sub_b_{n:06d}", n) for n in (0, 10, 20)] + [
        (f"walk_a_{n:06d}", n) for n in (0, 10, 20, 30, 40)
    ]
    assert [each.label for each in found] == [1] * 3 + [0] * 5
    assert np.array_equal(found[2].image, frame(20, 9))
    assert np.array_equal(found[1].image, frame(10, 9))  # backwards
    found = opened(
        "test",
        splits={"val": ".", "test": "."},
        every_seconds=0.25,
        max_frames=3,
        folders={"walk": "move"},
        other_classes="drop",
    )
    assert (
        numbers(found) == [("walk_a_000000", 0), ("walk_a_000025", 25), ("walk_a_000048", 48)]
        or numbers(found)[0][1] == 0
    )
    assert found.others == {"run/sub/b.avi"}
    assert len(opened("test", splits={"val": ".", "test": "."}, every_seconds=0.001, folders="all")) == 71


def test_colors_are_rgb():
    """A red video stays red, but for what its codec loses."""
    Path("data").mkdir()
    writer = cv2.VideoWriter("data/red.avi", cv2.VideoWriter_fourcc(*"MJPG"), 10, (48, 40))
    writer.write(np.full((40, 48, 3), (20, 30, 240), np.uint8))  # OpenCV's order: blue, green, red
    writer.release()
    pixels = Frames(Path("data/red.avi").read_bytes(), "red.avi").read(0)
    assert np.abs(pixels.mean(axis=(0, 1)) - [240, 30, 20]).max() < 12


@pytest.mark.parametrize(
    ("frames", "per_second", "every", "expected"),
    [(50, 10, 1.0, [0, 10, 20, 30, 40]), (51, 10, 1.0, [0, 10, 20, 30, 40, 50]), (5, 29.97, 10.0, [0]), (4, 25, 0.01, [0, 1, 2, 3]), (100, 29.97, 1.0, [0, 30, 60, 90])],
)  # fmt: skip
def test_which_frames_are_taken(frames, per_second, every, expected):
    """Those at 0, 1, 2, ... times the time between, each once, to the last one."""
    assert Facts(frames, per_second).numbers(every) == expected


def test_no_video_is_in_two_splits():
    """Thirty videos of one to five frames each; with `groups` no person is."""
    for number in range(30):
        write_video(
            Path(f"data/{('walk', 'run')[number % 2]}/p{number // 3}_{number}.avi"),
            frames=10 * (1 + number % 5),
            seed=number,
        )
    for splits, count in (({}, 30), ({"groups": "/(p[0-9]+)_"}, 10), ({"stratified": True}, 30)):
        found = [opened(split, splits=splits) for split in SPLITS]
        assert sum(map(len, found)) == 90
        ids = [{each.id.rpartition("_")[0] for each in own} for own in found]
        if "groups" in splits:
            ids = [{id.split("_")[1] for id in own} for own in ids]
        assert sum(map(len, ids)) == len(set.union(*ids)) == count
        assert all(12 <= len(own) <= 24 for own in found[1:])


def test_what_is_no_video_costs_itself_alone():
    """A file of another content, one that is cut off, and a frame that the header promises and the file lacks."""
    write_video(Path("data/walk/a.avi"))
    write_video(Path("data/run/b.avi"))
    Path("data/run/c.mp4").write_bytes(b"no video")
    found = opened("test", splits={"val": ".", "test": "."})
    assert len(found) == 11
    with pytest.raises(InputError, match=r"run/c\.mp4: expected a video that FFmpeg reads; received: another file"):
        found[5]
    assert found[10].image[0, 0, 0] == 40
    content = Path("data/walk/a.avi").read_bytes()
    reader = Frames(content, "a.avi")
    with pytest.raises(InputError, match=r"a\.avi: expected a frame 50; received: a video that ends after 50"):
        reader.read(50)
    assert reader.read(3)[0, 0, 0] == 3
    assert read_facts(content, "a.avi") == Facts(50, 10.0)


@pytest.mark.parametrize(
    ("file", "entry", "message"),
    [
        ("data/x.avi", {}, r"x\.avi: expected videos in a folder per class; received: one right in \./"),
        ("data/fly/x.avi", {}, r"fly/x\.avi: unknown class folder 'fly'.*Name it under `folders`, or say other_classes: drop"),
        ("data/walk/x.avi", {"part": "train"}, "expected videos in a folder train/ of the archive; received: none"),
    ],
)  # fmt: skip
def test_wrong_folders_are_named(file, entry, message):
    """The file, what was expected, and what was received."""
    write_video(Path(file), frames=3)
    with pytest.raises(InputError, match=message):
        opened(**entry)


def test_videos_are_recognised_and_packed(tmp_path, monkeypatch):
    """`inspect --write` adds entries that `download` and `augment` take as they are, with the same bytes by two processes as by one."""
    for number in range(12):
        write_video(tmp_path / f"clips/{('walk', 'run')[number % 2]}/{number}.avi", frames=40, seed=number)
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    Path("params.yaml").write_text("seed: 1\nsources: {}\ndatasets: {}\nexperiments: {}\n")

    def run(*command):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
        return result.output

    assert "videos in a folder per class" in run("inspect", "../clips", "--write")
    run("download", "clips")
    inputs = []
    for workers in ("1", "2"):
        run("augment", "clips", "--workers", workers)
        inputs.append(np.array(packed.open_split(Path("data/augmented/clips"), "train")["inputs"][:]))
    assert len(inputs[0]) == 32
    assert np.array_equal(*inputs)
    assert Path("inspect/clips.png").is_file()
