"""Stage `download`: fetches or generates a source's archives, verifies them and puts them into data/raw/SOURCE."""

import os

from rich import filesize

from pipeline import sources
from pipeline.files.classes import write_found
from pipeline.files.local import amount
from pipeline.params import load_params
from pipeline.runtime import outcome, paths
from pipeline.runtime.guard import stage

MIRROR_VARIABLE = "CNNKERAS_MIRROR"


def run(name: str) -> None:
    """Fetch or generate the files of a source.

    A file is taken from data/raw/SOURCE, if it is there; else from the mirror that the environment variable CNNKERAS_MIRROR or the
    key `mirror` of params.yaml names (a URL, or a folder, relative to the project's folder); else from its own addresses.

    Args:
        name: Entry under `sources:`.

    Raises:
        InputError: There is no such source, or no address has a file with the checksum in its entry.
    """
    params = load_params()
    source = params.source(name)
    for label, text in (("licence", source.license), ("please cite", source.citation)):
        if text:
            print(f"{name}: {label}: {' '.join(text.split())}")
    mirrors = [str(paths.raw(name))]
    if mirror := os.environ.get(MIRROR_VARIABLE) or params.mirror:
        mirrors.append(mirror if "://" in mirror else str(paths.root() / mirror))
    with stage("download", name, inputs=[], outputs=[paths.raw(name)], params=params) as (folder,):
        kind = sources.load(source.kind)
        kind.fetch(source, folder, mirrors=mirrors)
        if sources.listed_class_names(source) is None:
            write_found(source, folder, kind.labels_in(source, folder))
        amounts = [amount(path) for path in folder.rglob("*") if path.is_file()]
    files, size = (sum(numbers) for numbers in zip(*amounts, strict=True))
    outcome.say(
        "download", name, f"{files:,} file{'' if files == 1 else 's'}, {filesize.decimal(size)}", paths.raw(name)
    )
