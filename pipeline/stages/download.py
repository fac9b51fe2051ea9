"""Stage `download`: a source's archives, as published or as generated, verified, in data/raw/SOURCE."""

import os

from pipeline import sources
from pipeline.params import load_params
from pipeline.runtime import paths
from pipeline.runtime.guard import stage

MIRROR_VARIABLE = "CNNKERAS_MIRROR"


def run(name: str) -> None:
    """Fetch or generate the source `name`.

    Files are looked for where they already lie, then in the mirror that the environment variable CNNKERAS_MIRROR or the
    key `mirror` of params.yaml names (a URL, or a folder: relative ones are below the project), then at their own
    addresses.

    Raises:
        InputError: The source is unknown, or a file could not be had as its entry describes it.
    """
    params = load_params()
    source = params.source(name)
    for what, text in (("licence", source.license), ("please cite", source.citation)):
        if text:
            print(f"{name}: {what}: {' '.join(text.split())}")
    mirrors = [str(paths.raw(name))]
    if mirror := os.environ.get(MIRROR_VARIABLE) or params.mirror:
        mirrors.append(mirror if "://" in mirror else str(paths.root() / mirror))
    with stage("download", name, inputs=[], outputs=[paths.raw(name)]) as (folder,):
        sources.load(source.kind).fetch(source, folder, mirrors=mirrors)
