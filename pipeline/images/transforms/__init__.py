"""Transforms of `augmentation` beside those of `transform_table.py`: one file, one transform, found by its name. They are a project's plugins.

A transform's file defines

- `build`: a transform, as albumentations has them: an `ImageOnlyTransform`, or a `DualTransform` that moves masks and boxes along. Its
  keyword-only arguments are what params.yaml may say, and their annotations the ranges;
- `TINY`: keyword arguments of `build` by which the transform is tried.

A transform keeps an image's size, type (uint8, 0..255) and channels, and draws from its own generators, `self.py_random` and
`self.random_generator`, which have a seed for each image. If it has a method `fit`, this is given some training images, as many as its
attribute `images` says, before it is used.

Reading a file need not import albumentations, which takes a second: `build` does.
"""

from cnnkeras.by_name import Files

DEFINES = ("TINY", "build")

_files = Files(__name__, "a transform")
names, load = _files.names, _files.load
