"""The site of these pages: `make docs` builds docs/_build/html with Sphinx."""

import os
import re
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

from cnnkeras import __version__  # noqa: E402 - a clone need not be installed

project = "cnnkeras"
author = "The cnnkeras authors"
copyright = f"2026, {author}"
version = release = __version__
language = "en"

extensions = ["myst_parser"]  # Markdown, so that a hosting page shows the files as they are
exclude_patterns = ["_build"]
nitpicky = True  # a reference that leads nowhere is a warning, and with `make docs` an error
myst_heading_anchors = 3  # `page.md#heading`, as hosting pages have them
pygments_style = "friendly"
pygments_dark_style = "monokai"

html_theme = "furo"
html_title = "cnnkeras"
html_copy_source = html_show_sourcelink = False
html_last_updated_fmt = None  # equal pages, equal bytes


def _pages_elsewhere_as_files(app, name: str, source: list[str]) -> None:  # noqa: ARG001 - what Sphinx gives
    """Links to Markdown beside docs/, such as README.md: the site gives the file to read, where MyST looks for a page."""
    folder = (FOLDER / name).parent

    def link(match: re.Match) -> str:
        is_page = Path(os.path.normpath(folder / match[1])).is_relative_to(FOLDER)
        return match[0] if is_page else f"](path:{match[1]})"

    source[0] = re.sub(r"\]\((\.\./[^)#:]*\.md)\)", link, source[0])


def setup(app) -> None:
    """What Sphinx calls to extend itself."""
    app.connect("source-read", _pages_elsewhere_as_files)
