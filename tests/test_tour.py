"""The tour for learners: its code runs, prints what the pages show, leads somewhere, and can be read in a browser."""

import contextlib
import io
import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt
from PIL import Image

from pipeline.cli import main
from pipeline.commands import tour
from pipeline.params import load_params
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError
from tests import browser
from tests.test_html_report import Elements, needs_chromium

REPOSITORY = Path(__file__).parents[1]
FOLDER = REPOSITORY / "docs" / "tour"
PAGES = sorted(FOLDER.glob("[0-9]*.md"))
ALL = [FOLDER / "README.md", *PAGES]
LIGHT = [page for page in PAGES if "import_keras" not in page.read_text(encoding="utf-8")]
by_name = {"ids": lambda page: page.stem}


@pytest.fixture
def _in_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


@pytest.mark.usefixtures("_in_repository")
@pytest.mark.parametrize("page", [page for page in PAGES if page not in LIGHT], **by_name)
def test_a_page_shows_what_its_code_prints(page):
    """Character by character."""
    printed = [(step.line, step.shown, output) for step, output in tour.execute(page, {"__name__": "__main__"})]
    assert [(line, output) for line, _, output in printed] == [(line, shown) for line, shown, _ in printed]


@pytest.mark.parametrize("page", LIGHT, **by_name)
def test_a_page_without_keras_is_right_and_loads_none(page):
    """By the command that learners use, in a process of its own: what needs no network is there at once."""
    program = f"""
import sys
from pipeline.cli import main
code = main(["tour", {str(page)!r}], standalone_mode=False)
print(code or 0, *[name for name in ("tensorflow", "jax", "mlflow", "albumentations") if name in sys.modules])
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.splitlines()[-1] == "0", done.stdout


@pytest.mark.parametrize("page", PAGES, **by_name)
def test_a_page_has_its_parts(page):
    """A heading, how to run it, exercises with answers that run, where to read on; and no output without the code that prints it."""
    text = page.read_text(encoding="utf-8")
    assert re.match(rf"# {page.name[0]}\. \w", text)
    assert f"`cnnkeras tour docs/tour/{page.name}`" in text
    assert re.findall(r"^## .*", text, re.MULTILINE)[-2:] == ["## Try", "## Read on"]
    exercises, answers = text.split("## Try\n")[1].split("<details><summary>Answers</summary>\n")
    assert 2 <= len(re.findall(r"^\d\. ", exercises, re.MULTILINE)) <= 3
    assert answers.index("```python") < answers.index("</details>")
    found = tour.steps(text)
    assert len(found) >= 6
    assert text.count("```") == 2 * sum(1 + bool(step.shown) for step in found)


@pytest.mark.parametrize("page", ALL, **by_name)
def test_every_link_of_a_page_is_in_a_clone(page):
    """Files and pictures are in git, so that a hosting page has them; papers are links to https."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    files = {REPOSITORY / name for name in tracked.stdout.split("\0")}
    parts = [part for token in MarkdownIt().parse(page.read_text(encoding="utf-8")) for part in token.children or []]
    links = [part.attrs["href"] for part in parts if part.type == "link_open"]
    images = [part.attrs["src"] for part in parts if part.type == "image"]
    assert links
    for link in links + images:
        if not link.startswith("https://"):
            assert Path(os.path.normpath(page.parent / link)) in files, link
    for image in images:
        with Image.open(page.parent / image) as picture:
            assert picture.width >= 300
    assert all(part.content for part in parts if part.type == "image")


def test_the_pages_lead_to_one_another():
    """The list has all of them, in order, by their names; each page leads to the next one, and the last one back."""
    listed = re.findall(r"^(\d)\. \[(.*?)\]\((.*?)\)", ALL[0].read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for _, _, name in listed] == [page.name for page in PAGES]
    for number, title, name in listed:
        assert tour.title(FOLDER / name).startswith(f"{number}. {title}")
    for page, following in itertools.pairwise([*PAGES, ALL[0]]):
        assert f"]({following.name})" in page.read_text(encoding="utf-8").splitlines()[-1]


@pytest.mark.usefixtures("_in_repository")
@pytest.mark.parametrize("page", ALL, **by_name)
def test_entries_and_commands_that_a_page_names_exist(page):
    """`lab.size` is an entry of params.yaml, and every command of a page is one with these options."""
    text, params = page.read_text(encoding="utf-8"), load_params()
    entries = re.findall(r"`(lab|experiments|datasets|sources)\.(\w+)`", text)
    assert entries
    assert [(section, name) for section, name in entries if name not in getattr(params, section)] == []
    commands = re.findall(r"^cnnkeras ([^#\n]+)|`cnnkeras ([^`]+)`", text, re.MULTILINE)
    assert commands
    for command in map("".join, commands):
        name, *arguments = command.split()
        main.commands[name].make_context(name, arguments)


OWN = """# Mine

```python
a = 2
print(a + a)
```

```text
5
```

```python
print("two\\nlines")
```

<details><summary>Answer</summary>

```python
if a > 1:
    b = "silent"
```

```text
loud
```

</details>
"""


def run(*arguments: str, stdin: str | None = None):
    """The command's result, as a terminal gets it."""
    return CliRunner().invoke(main, ["tour", *arguments], input=stdin)


def test_what_differs_is_said_and_can_be_written(tmp_path):
    """A wrong output, a missing one and one too many: named by their lines, exit code 1; `--write` puts them right, and then all is well."""
    page = tmp_path / "mine.md"
    page.write_text(OWN)
    result = run(str(page))
    assert result.exit_code == 1
    assert result.stdout.count("The page shows:") == 3
    assert "3 steps, 3 unlike the page: line 4, 13, 19" in result.stdout
    assert page.read_text() == OWN
    assert run(str(page), "--write").exit_code == 0
    right = OWN.replace("5\n```", "4\n```").replace("\n```text\nloud\n```\n", "")
    right = right.replace('lines")\n```\n', 'lines")\n```\n\n```text\ntwo\nlines\n```\n')
    assert page.read_text() == right
    result = run(str(page))
    assert (result.exit_code, "3 steps, all as the page shows" in result.stdout) == (0, True)


def test_python_goes_on_with_the_names_of_the_page(tmp_path):
    """What the page has defined is there to be tried."""
    page = tmp_path / "mine.md"
    page.write_text(OWN)
    assert "silent 102" in run(str(page), "--interactive", stdin="print(b, a + 100)\n").stdout


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("a = 1\nprint(missing)\n", r"mine\.md, line 5: expected code that runs; received: NameError: .*missing"),
        ("print(1\n", r"mine\.md, line 4: expected code that runs; received: SyntaxError: "),
        ("\nint('one')\n", r"mine\.md, line 5: expected code that runs; received: ValueError: "),
    ],
)
def test_an_error_names_the_line_of_the_page(tmp_path, code, said):
    """One line, by which the learner finds it, and nothing is written."""
    page = tmp_path / "mine.md"
    page.write_text(f"# Mine\n\n```python\n{code}```\n")
    before = page.read_bytes()
    with pytest.raises(InputError, match=said):
        tour.run(page, write=True)
    assert page.read_bytes() == before


def test_what_is_no_page_is_one_line(project, tmp_path):
    """A missing file, a folder, bytes; a project without a tour; another file where the browser's page belongs."""
    (tmp_path / "bytes.md").write_bytes(b"\xff\xfe")
    for name in ("missing.md", "bytes.md", "."):
        with pytest.raises(InputError, match="expected a page, a Markdown file; received: "):
            tour.run(tmp_path / name)
    with pytest.raises(InputError, match=r"expected pages such as .*1_convolution\.md; received: none"):
        tour.run(None)
    assert tour.write_html() is None
    shutil.copytree(FOLDER, project.folder / "docs" / "tour")
    paths.html_tour().parent.mkdir(exist_ok=True)
    paths.html_tour().write_text("<p>mine")
    with pytest.raises(InputError, match="another file, which would be lost"):
        tour.run(None)
    assert paths.html_tour().read_text() == "<p>mine"


@pytest.fixture
def html(project) -> Path:
    """The browser's page of a project with the tour and its figures, in another folder."""
    shutil.copytree(FOLDER, project.folder / "docs" / "tour")
    figures = paths.root() / "results" / paths.SMALL_FIGURES
    shutil.copytree(REPOSITORY / "results" / paths.SMALL_FIGURES, figures, dirs_exist_ok=True)
    listed = io.StringIO()
    with contextlib.redirect_stdout(listed):
        assert tour.run(None)
    assert [line.split("/")[-1].split()[0] for line in listed.getvalue().splitlines()[:-1]] == [p.name for p in PAGES]
    return paths.html_tour()


def test_the_browsers_page_has_everything_beside_it(html):
    """Each link leads into the page, to an image below results/ or to https; every page, code block and figure is there, and no script."""
    text = html.read_text(encoding="utf-8")
    elements = Elements(text).found
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    links = [attributes.get("href") or attributes.get("src") for tag, attributes in elements if tag in ("a", "img")]
    for link in links:
        parts = urlsplit(link)
        beside = html.parent / unquote(parts.path)
        assert parts.scheme == "https" or (link[1:] in ids if link.startswith("#") else beside.is_file()), link
        assert not link.startswith(".."), link
    sources = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert text.count("<pre tabindex") == sources.count("```") / 2
    assert len([tag for tag, _ in elements if tag == "img"]) == sources.count("![")
    assert not [tag for tag, _ in elements if tag == "script"]
    levels = [int(tag[1]) for tag, _ in elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert tour.write_html().read_text(encoding="utf-8") == text


def test_without_the_figures_their_words_stand(html):
    """A project with other experiments has no dead picture."""
    shutil.rmtree(html.parent / paths.SMALL_FIGURES)
    text = tour.write_html().read_text(encoding="utf-8")
    assert "<img" not in text
    assert "Convolutions as matrices: one colour, one weight" in text


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    with browser.chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@needs_chromium
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_a_browser_has_nothing_to_complain_of(tab, html, width, dark):
    """No error, no image missing, nothing asked of the network, no scrolling sideways; and axe, which knows WCAG, finds no violation."""
    tab.open(html.as_uri(), width=width, dark=dark)
    tab.run("document.querySelectorAll('details').forEach((entry) => { entry.open = true; })")
    tab.run("[...document.images].forEach((image) => { image.loading = 'eager'; })")
    tab.wait("[...document.images].every((image) => image.complete)")
    assert tab.complaints == []
    assert [address for address in tab.requests if not address.startswith(("file://", "data:"))] == []
    assert tab.run("document.images.length") > 10
    assert tab.run("[...document.images].filter((image) => !image.naturalWidth).map((image) => image.src)") == []
    assert tab.run("document.documentElement.scrollWidth") <= width
    tab.run(resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8") + ";0")
    found = tab.run(
        "axe.run().then((found) => found.violations.map((one) => [one.id, one.nodes.map((node) => node.html)]))"
    )
    assert found == []
