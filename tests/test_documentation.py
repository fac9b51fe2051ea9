"""The pages of docs/: those made of the code are as it is, and the site builds without a link that leads nowhere."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import pages_of_code as pages
from pages_of_code import tables
from pipeline.cli import main
from pipeline.params.training import Train

DOCS = Path(__file__).parents[1] / "docs"


class _Page(HTMLParser):
    """Links, and what they may lead to, of a built page."""

    def __init__(self, file: Path):
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):  # noqa: ARG002 - HTMLParser's signature
        attributes = dict(attrs)
        self.links += [attributes[key] for key in ("href", "src") if attributes.get(key)]
        self.anchors.add(attributes.get("id", ""))


def _build(source: Path, target: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", source, target]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", pages.names())
def test_a_page_made_of_the_code_is_as_the_code(name):
    """`python -m pages_of_code` writes it again."""
    assert pages.file(name).read_text(encoding="utf-8") == pages.load(name).page()


def test_the_site_builds_and_its_links_lead_somewhere(tmp_path):
    """Sphinx warns of nothing; every local link of every built page is a file there, and its fragment an element of that page."""
    built = _build(DOCS, tmp_path)
    assert (built.returncode, built.stderr) == (0, "")
    found = {file: _Page(file) for file in tmp_path.rglob("*.html")}
    written = {file.relative_to(DOCS).with_suffix(".html") for file in DOCS.rglob("*.md") if "_build" not in file.parts}
    assert written <= {file.relative_to(tmp_path) for file in found}
    checked = 0
    for file, page in found.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            assert target.is_file(), f"{file.name}: {link}"
            if parts.fragment and target in found:
                assert unquote(parts.fragment) in found[target].anchors, f"{file.name}: {link}"
            checked += 1
    assert checked > 1000


def test_a_site_with_dead_links_or_a_lost_page_is_an_error(tmp_path):
    """A missing page, a missing heading and a page in no list are said, with the file."""
    shutil.copy(DOCS / "conf.py", tmp_path)
    (tmp_path / "index.md").write_text("# A\n\n[one](gone.md), [two](lost.md#no-such-heading)\n")
    (tmp_path / "lost.md").write_text("# B\n")
    (tmp_path / "cnnkeras").symlink_to(DOCS.parent / "cnnkeras")
    built = _build(tmp_path, tmp_path / "built")
    assert built.returncode == 1
    for said in ("gone.md", "no-such-heading", "lost.md: WARNING: document isn't included in any toctree"):
        assert said in built.stderr, built.stderr


def test_a_table_of_keys_says_values_defaults_and_meanings():
    """A row by hand: the range and the default of a key of `train`, and of a function's argument; no key is missing."""
    rows = tables.of_entry(Train).splitlines()[2:]
    assert [re.match(r"\| `(\w+)`", row)[1] for row in rows] == list(Train.model_fields)
    threads = (
        "| `threads` | whole number, above 0, up to 1,024 | none | Cores that one operation of TensorFlow may use."
    )
    assert rows[-1].startswith(threads)

    def smooth(*, share: "float" = 0.25, sides: tuple[int, ...]) -> None:
        """Smooth.

        Args:
            share: Of what | is there,
                in words.
            sides: In pixels.
        """

    smooth.__annotations__.update(share=float)
    assert tables.of_function(smooth).splitlines()[2:] == [
        r"| `share` | number | `0.25` | Of what \| is there, in words. |",
        "| `sides` | list: whole number |  | In pixels. |",
    ]


@pytest.mark.parametrize(
    "page", [file for file in DOCS.glob("*.md") if file.stem != "commands"], ids=lambda file: file.stem
)
def test_commands_that_a_page_shows_exist_with_these_options(page):
    """In blocks of shell, each `cnnkeras COMMAND` is one that the command line takes; placeholders are in capitals."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for line in re.findall(r"(?:^|&& )cnnkeras ([^#&\n]+)", "\n".join(blocks), re.MULTILINE):
        name, *arguments = line.split()
        main.commands[name].make_context(name, arguments)
