"""Videos as the bytes of their files, read frame by frame by OpenCV's FFmpeg. Frames are counted from 0."""

import io
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from pipeline.runtime.errors import InputError

ENDINGS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".ogv", ".flv", ".3gp", ".ts")
_MAX_FRAMES = 10**8  # a month at 30 frames a second; a header that says more is wrong


def is_video(name: str) -> bool:
    """Whether a file is a video, by the ending of its name."""
    return PurePosixPath(name).suffix.lower() in ENDINGS


@dataclass(frozen=True)
class Facts:
    """What a video's header says.

    Attributes:
        frames: How many there are; some files have a few less.
        per_second: Frames a second.
    """

    frames: int
    per_second: float

    def numbers(self, every_seconds: float) -> list[int]:
        """The frames at these times, from the first one on, each once."""
        last = int((self.frames - 1) / self.per_second / every_seconds) + 1
        times = np.arange(last + 1) * (every_seconds * self.per_second)
        return [int(number) for number in dict.fromkeys(np.rint(times).astype(int)) if number < self.frames]


def read_facts(content: bytes, name: str) -> Facts:
    """What a video's header says; `name` is for messages.

    Raises:
        InputError: It is no video, or says neither its length nor its speed.
    """
    import cv2

    capture = _opened(content, name)
    frames, per_second = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    if not (1 <= frames <= _MAX_FRAMES and 0 < per_second < float("inf")):
        raise InputError(
            f"{name}: expected a video whose header says its frames and their number a second; received: {frames:g} and {per_second:g}. "
            "Write it again, by `ffmpeg -i OLD NEW.mp4`"
        )
    return Facts(int(frames), float(per_second))


class Frames:
    """The frames of a video. Reading one decodes those before it that were not decoded yet: seeking is inexact in many formats.

    Args:
        content: The file.
        name: What messages call it.

    Raises:
        InputError: It is no video.
    """

    def __init__(self, content: bytes, name: str):
        self._content, self._name = content, name
        self._capture, self._next = _opened(content, name), 0

    def read(self, number: int) -> np.ndarray:
        """A frame, uint8 RGB (H, W, 3), upright.

        Raises:
            InputError: The video ends before it, or is damaged there.
        """
        if number < self._next:
            self._capture, self._next = _opened(self._content, self._name), 0
        while self._next <= number:
            if not self._capture.grab():
                message = f"{self._name}: expected a frame {number}; received: a video that ends after {self._next}"
                self._capture, self._next = _opened(self._content, self._name), 0
                raise InputError(message)
            self._next += 1
        is_whole, frame = self._capture.retrieve()
        if not is_whole:
            raise InputError(f"{self._name}: expected a frame {number}; received: one that cannot be decoded")
        return np.ascontiguousarray(frame[..., ::-1])


def _opened(content: bytes, name: str) -> Any:
    import cv2  # 0.1 s, and every command reads entries

    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong is said here
    try:
        capture = cv2.VideoCapture(io.BytesIO(content), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    finally:
        cv2.utils.logging.setLogLevel(level)
    if not capture.isOpened():
        raise InputError(f"{name}: expected a video that FFmpeg reads; received: another file, or a damaged one")
    return capture
