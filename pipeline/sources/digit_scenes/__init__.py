"""Scenes of handwritten digits on textured grounds, made here, as a genuine PASCAL VOC archive.

The digits are the 1,797 real ones that scikit-learn ships (8x8 grey values of the UCI set "Optical Recognition of
Handwritten Digits", Alpaydin and Kaynak 1998). They are dealt out to train, val and test first, class by class, so no
digit that a model is tested on has been seen in training. Everything else - how many digits, which, how large,
turned, coloured and placed, and on what - is drawn from (seed, split, number of the scene): the same entry gives the
same bytes, whatever the number of processes.

A digit's pixels are the object; the ring of one pixel around it is void (255), as VOC's annotators drew it.

`entry.py` has the keys in params.yaml, `drawing.py` draws a scene on one of the textures of `grounds.py`, and `archive.py` writes all
scenes as one archive.
"""

from collections.abc import Sequence
from pathlib import Path

from pipeline import sources
from pipeline.files.archives import Archives
from pipeline.files.classes import Classes
from pipeline.sources import voc
from pipeline.sources.digit_scenes.entry import Source

TASKS = ("classification", "detection", "segmentation")
HAS_OBJECTS = True
ARCHIVE, ROOT = "digit_scenes.tar", "VOCdevkit/VOC2012"


def max_training_examples(source: Source, *, examples: str) -> int:
    """Scenes, or as many digits as they can hold."""
    return source.scenes.train * (1 if examples == "images" else len(source.digits_per_scene))


def fetch(source: Source, folder: Path, *, mirrors: Sequence[str]) -> None:  # noqa: ARG001 - nothing is downloaded
    """Draw the scenes and write them to `folder`."""
    from pipeline.sources.digit_scenes.archive import write_archive  # imports OpenCV, and every command reads entries

    write_archive(source, folder / ARCHIVE, root=ROOT)


def examples(source: Source, folder: Path, *, masks: bool, split: str) -> sources.Examples:
    """Scenes of a split, read like the images of any other VOC archive."""
    archives = Archives([folder / ARCHIVE])
    listed = voc.read_list(archives, ROOT, split, masks=masks)
    return voc.read_examples(archives, Classes.of(source.classes), listed, masks=masks, palette=source.classes)
