"""Frames of videos in a folder per class.

    ROOT/walk/a.mp4  ROOT/run/b.avi                          splits: {train: ., val: 0.1, test: 0.2}
    ROOT/train/walk/a.mp4  ROOT/test/walk/b.mp4              splits: {train: train, val: 0.1, test: test}

A frame every `every_seconds` is an example with the class of its video. The frames of a video are drawn together, so that none of them is in two splits;
with `groups` those of several videos are, such as takes of one person. Fractions are of the frames. How many frames there are is what the video's header says: one
that is not there is an example that cannot be read. Frames that were extracted to files are `image_folder`'s, with `groups` for their videos.
"""

import os
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import AfterValidator, Field

from pipeline import sources
from pipeline.files import image_files, texts
from pipeline.files.archives import Archives
from pipeline.files.classes import Classified, in_order
from pipeline.files.published_archives import PublishedArchives, fetch_archives
from pipeline.files.splits import Splits
from pipeline.images import videos
from pipeline.runtime.errors import InputError
from pipeline.sources.image_folder import Folders

TASKS = ("classification",)
HAS_OBJECTS = False

Part = Annotated[str, Field(min_length=1), AfterValidator(texts.normal_path)]


class Source(PublishedArchives, Classified, sources.SourceEntry):
    """Entry of a `video_folder` source.

    Attributes:
        root: Folder inside the archives that everything else is below; empty where that is the archive itself.
        folders: The classes' folders, in the order of the classes; as a mapping, with the name of each class; or `all`.
        every_seconds: Time from one frame that is taken to the next; the first one is at 0.
        max_frames: At most as many frames of a video, evenly over those.
        splits: Which folder below the root, with the classes' folders, serves which split; `.` is the root itself.
    """

    CLASSES = "folders"

    kind: Literal["video_folder"]
    root: str = ""
    folders: Folders
    every_seconds: Annotated[float, Field(gt=0)] = 1.0
    max_frames: Annotated[int, Field(ge=1)] | None = None
    splits: Splits[Part]


fetch = fetch_archives


class Frame(NamedTuple):
    """A frame of a video.

    Attributes:
        video: Name of the member.
        number: Of the frame, from 0.
        folder: The class's folder.
        problem: Why the video has no frames; it is said when the example is read.
    """

    video: str
    number: int
    folder: str
    problem: str = ""


def examples(source: Source, folder: Path, *, masks: bool, split: str) -> sources.Examples:  # noqa: ARG001 - there are none
    """Frames of a split with their classes; an id is the video's path below the root and the frame's number.

    Raises:
        InputError: A folder has no videos, or one is none of the classes'.
    """
    archives, classes = source.open(folder), source.table(folder)
    indices, frames, others = classes.indices(), [], []
    for name, class_folder in _videos(archives, source, source.splits.part(split)):
        if class_folder in indices:
            frames += _frames(archives, source, name, class_folder)
        elif classes.drops_others:
            others.append(name)
        else:
            raise classes.refused(class_folder, name, "class folder")
    chosen = source.splits.chosen(
        split,
        [frame.video for frame in frames],
        archives=archives,
        root=source.root,
        labels=lambda position: [indices[frames[position].folder]],
        groups=[frame.video for frame in frames],
    )
    frames = [frames[position] for position in chosen]
    start = len(image_files.below(source.root))
    ids = image_files.ids(f"{frame.video[start:].rpartition('.')[0]}_{frame.number:06d}.png" for frame in frames)
    return sources.Examples(list(zip(ids, frames, strict=True)), _Reader(archives, indices).read, others=others)


def labels_in(source: Source, folder: Path) -> dict[str, str]:
    """The folders that the videos of the training part are in."""
    return in_order(label for _, label in _videos(source.open(folder), source, source.splits.train))


def _videos(archives: Archives, source: Source, part: str) -> list[tuple[str, str]]:
    """Names of the videos of a part, in alphabetical order, each with its class's folder."""
    start = image_files.below(source.root) + image_files.below(part)
    inside = sorted(name for name in archives if name.startswith(start) and videos.is_video(name))
    names = [name for name in inside if image_files.is_visible(name[len(start) :])]
    if not names:
        raise InputError(
            f"expected videos in a folder {start or './'} of the archive; received: none{archives.note_on_names}"
        )
    for name in names:
        if "/" not in name[len(start) :]:
            raise InputError(f"{name}: expected videos in a folder per class; received: one right in {start or './'}")
    return [(name, PurePosixPath(name[len(start) :]).parts[0]) for name in names]


def _frames(archives: Archives, source: Source, name: str, class_folder: str) -> list[Frame]:
    try:
        numbers = videos.read_facts(archives[name], name).numbers(source.every_seconds)
    except InputError as error:
        return [Frame(name, 0, class_folder, str(error))]
    if source.max_frames is not None and len(numbers) > source.max_frames:
        numbers = [numbers[round(place)] for place in np.linspace(0, len(numbers) - 1, source.max_frames)]
    return [Frame(name, number, class_folder) for number in numbers]


class _Reader:
    """Reads frames, and keeps the last video open, as the next frame is one of its.

    Args:
        archives: What holds the videos.
        indices: Class of each folder.
    """

    def __init__(self, archives: Archives, indices: dict[str, int]):
        self._archives, self._indices = archives, indices
        self._opened: tuple[int, str, videos.Frames] | None = None  # by the process: a forked one must not share it

    def read(self, item: tuple[str, Frame]) -> sources.Example:
        """The example of an id and a frame.

        Raises:
            InputError: The video is none, or ends before the frame.
        """
        id, frame = item
        if frame.problem:
            raise InputError(frame.problem)
        if self._opened is None or self._opened[:2] != (os.getpid(), frame.video):
            self._opened = os.getpid(), frame.video, videos.Frames(self._archives[frame.video], frame.video)
        return sources.Example(id=id, image=self._opened[2].read(frame.number), label=self._indices[frame.folder])
