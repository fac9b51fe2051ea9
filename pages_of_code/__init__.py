"""The pages of docs/ that are made of the code: `python -m pages_of_code` writes them.

It imports the command line and what lies below it, is imported by nothing of them, and is not in a wheel. A page is a file here with a function `page`, which gives the text of docs/NAME.md. `tables` reads docstrings and signatures.
"""

from pathlib import Path

from cnnkeras.by_name import Files

FOLDER = Path(__file__).parents[1] / "docs"
_NOT_PAGES = ("__main__", "tables")

_files = Files(__name__, "a page")
load = _files.load


def names() -> list[str]:
    """Names of the pages, in alphabetical order."""
    return [name for name in _files.names() if name not in _NOT_PAGES]


def file(name: str) -> Path:
    """The file of a page in the repository."""
    return FOLDER / f"{name}.md"
