"""results/tour.html: all pages of the tour for a browser, without a server and without the network, in the looks of the report.

Images are links to files beside it, as in the report. Links between pages lead to their sections, addresses stay links; a link to another file of the
project becomes its name, because results/ may be moved.
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from pipeline.commands import tour
from pipeline.commands.report import files
from pipeline.commands.report.html import STYLE, environment
from pipeline.commands.report.html.images import image
from pipeline.runtime import paths
from pipeline.runtime.replacing import replacing


@dataclass(frozen=True)
class Chapter:
    """A page of the tour as a section.

    Attributes:
        name: The page's file, without its ending.
        title: Its heading.
        body: What follows.
    """

    name: str
    title: str
    body: Markup


def write(pages: list[Path]) -> Path:
    """Write all pages as one for a browser, and return its path.

    Raises:
        InputError: Another file is in its place, or a page is no text.
    """
    file = paths.html_tour()
    files.require_own(file)
    text = (
        environment(Path(__file__).parent)
        .get_template("tour.html")
        .render(
            chapters=[_chapter(page, {page.name for page in pages}) for page in pages],
            has_report=paths.html_report().is_file(),
            style=STYLE,
            mark=files.MARK,
        )
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as partial:
        partial.write_text(text, encoding="utf-8")
    return file


def _chapter(page: Path, names: set[str]) -> Chapter:
    markdown = MarkdownIt()
    tokens = markdown.parse(tour.read(page))
    rest = tokens[3:]  # without the opening of the heading, its words and its closing, which are the chapter's
    for token in rest:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{int(token.tag[1]) + 1}"  # below the chapter's own heading
        elif token.type == "inline":
            token.children = _with_links(token.children or [], page, names)
    body = markdown.renderer.render(rest, markdown.options, {})
    # Code is escaped, so that a tag in the text is one of the page's own; what scrolls sideways is reached by the keyboard.
    return Chapter(page.stem, tour.title(page), Markup(body.replace("<pre>", '<pre tabindex="0">')))


def _with_links(tokens: list[Token], page: Path, names: set[str]) -> list[Token]:
    """Inline parts of a page, with images and links as the browser's page needs them."""
    parts, is_dropped = [], False
    for token in tokens:
        if token.type == "link_open":
            target = _target(str(token.attrs["href"]), names)
            is_dropped = target is None
            token.attrs["href"] = target or ""
        if token.type == "image":
            parts.append(_image(token, page))
        elif not (is_dropped and token.type in ("link_open", "link_close")):
            parts.append(token)
    return parts


def _target(link: str, names: set[str]) -> str | None:
    """Where a link of a page leads to from the browser's page; None if to a file that may not be beside it."""
    if urlsplit(link).scheme:
        return link
    if link in names:
        return f"#{Path(link).stem}"
    return "#main" if link == "README.md" else None


def _image(token: Token, page: Path) -> Token:
    """An image with its size and a link to itself; its words alone where there is none."""
    shown = image(token.content, page.parent / str(token.attrs["src"]))
    if shown is None:
        return Token("text", "", 0, content=token.content)
    tag = Markup(
        '<a class="picture" href="{0}"><img src="{0}" alt="{1}" width="{2}" height="{3}" loading="lazy" decoding="async"></a>'
    )
    return Token("html_inline", "", 0, content=tag.format(shown.link, shown.alt, shown.width, shown.height))
