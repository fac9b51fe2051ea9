"""`cnnkeras tour`: runs the pages of docs/tour, and compares what their code prints with what the pages show.

A page is Markdown. Its blocks of `python` run from top to bottom and share their names, as in a notebook; a block of `text` right after one is
what it prints, and a block without one prints nothing. `html` makes results/tour.html of all pages.
"""

import code
import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from rich.syntax import Syntax
from rich.text import Text

from pipeline.runtime import paths
from pipeline.runtime.console import Console
from pipeline.runtime.errors import InputError
from pipeline.runtime.replacing import replacing

CODE, OUTPUT = "python", "text"  # what the blocks of code, and of what they print, are called after their backquotes
_FENCE = "```"


@dataclass(frozen=True)
class Step:
    """A block of code of a page.

    Attributes:
        code: Its text.
        line: Its first line in the page, from 1.
        shown: What the page says that it prints; empty if the page shows no output.
        end: The line before which the block ends that shows it, from 0; of the code, if there is none.
    """

    code: str
    line: int
    shown: str
    end: int


def run(page: Path | None, *, interactive: bool = False, write: bool = False) -> bool:
    """List the pages and write them for a browser; or run one, show its steps, and say where a step prints something else than the page shows.

    Args:
        page: A page's file; None: list the pages, and write results/tour.html.
        interactive: Go on in Python with the names that the page has defined.
        write: Put what is printed into the page.

    Returns:
        Whether the page shows what its code prints; True if `write` has seen to it.

    Raises:
        InputError: The page is missing or is no text, or a step fails.
    """
    console = Console()
    if page is None:
        for file in require_pages():
            console.print(f"{os.path.relpath(file):32} {title(file)}", soft_wrap=True)
        console.print(f"For a browser: {write_html()}", soft_wrap=True)
        return True
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = []
    for step, output in execute(page, names):
        printed.append((step, output))
        _show(console, page, step, output)
    different = [step for step, output in printed if output != step.shown]
    if write and different:
        _write(page, printed)
    console.print(_verdict(page, len(printed), different, written=write), style="bold", soft_wrap=True)
    if interactive:
        code.interact(banner="Python, with the names of the page; Ctrl-D ends.", local=names, exitmsg="")
    return write or not different


def pages() -> list[Path]:
    """The pages of the project's tour, in their order."""
    return sorted(paths.tour().glob("[0-9]*.md"))


def require_pages() -> list[Path]:
    """The same.

    Raises:
        InputError: The project has none.
    """
    if found := pages():
        return found
    raise InputError(
        f"expected pages such as {paths.tour() / '1_convolution.md'}; received: none in that folder. Copy docs/tour from the repository"
    )


def write_html() -> Path | None:
    """Write the pages for a browser, where the project has them; returns the page's path.

    Raises:
        InputError: Another file is in its place, or a page is no text.
    """
    from pipeline.commands.tour import html

    found = pages()
    return html.write(found) if found else None


def title(page: Path) -> str:
    """A page's first line, without the mark of a heading."""
    return read(page).partition("\n")[0].lstrip("# ")


def steps(text: str) -> list[Step]:
    """The blocks of code of a page, each with the output that the page shows."""
    blocks = [token for token in MarkdownIt().parse(text) if token.type != "inline"]
    found = []
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if block.type != "fence" or block.info.strip() != CODE:
            continue
        has_output = following is not None and following.type == "fence" and following.info.strip() == OUTPUT
        last = following if has_output else block
        found.append(Step(block.content, block.map[0] + 2, last.content if has_output else "", last.map[1]))
    return found


def execute(page: Path, names: dict[str, Any]) -> Iterator[tuple[Step, str]]:
    """Run a page's steps one after another; each with what it printed.

    Args:
        page: The page's file.
        names: What the steps define, and share.

    Raises:
        InputError: The page is missing or is no text, or a step fails.
    """
    for step in steps(read(page)):
        output = io.StringIO()
        try:
            with contextlib.redirect_stdout(output):
                # With empty lines before it, the code has the page's own line numbers.
                exec(compile("\n" * (step.line - 1) + step.code, str(page), "exec"), names)
        except Exception as error:
            line = _line(error, page) or step.line
            raise InputError(
                f"{page}, line {line}: expected code that runs; received: {type(error).__name__}: {error}. "
                "A step needs the names of those before it"
            ) from error
        yield step, output.getvalue()


def _line(error: Exception, page: Path) -> int | None:
    """The last line of the page that an error passed, or that cannot be read as Python."""
    if isinstance(error, SyntaxError) and error.filename == str(page):
        return error.lineno
    line, trace = None, error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == str(page):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def read(page: Path) -> str:
    """A page's text.

    Raises:
        InputError: It is missing or is no text.
    """
    try:
        return page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{page}: expected a page, a Markdown file; received: {error}. `cnnkeras tour` lists them"
        ) from error


def _show(console: Console, page: Path, step: Step, output: str) -> None:
    """A step in the terminal: where it is, its code, what it printed, and what the page shows if that differs."""
    console.print(f"{page}:{step.line}", style="dim", soft_wrap=True)
    console.print(Syntax(step.code, "python", theme="ansi_dark", background_color="default", word_wrap=True))
    console.print(Text(output, style="cyan"), end="", soft_wrap=True)
    if output != step.shown:
        console.print("The page shows:", style="yellow")
        console.print(step.shown or "nothing\n", end="", style="yellow", soft_wrap=True)
    console.print()


def _verdict(page: Path, count: int, different: Sequence[Step], *, written: bool) -> str:
    if not different:
        return f"{page}: {count} steps, all as the page shows"
    lines = ", ".join(str(step.line) for step in different)
    said = "now in the page" if written else "unlike the page"
    return f"{page}: {count} steps, {len(different)} {said}: line {lines}"


def _write(page: Path, printed: Sequence[tuple[Step, str]]) -> None:
    """Replace what the page shows by what was printed, from the last step to the first, so that lines before keep their numbers."""
    lines = read(page).splitlines(keepends=True)
    for step, output in reversed(printed):
        if output != step.shown:
            first = step.line + len(step.code.splitlines())  # the empty line after the code's fence
            lines[first : step.end] = [f"\n{_FENCE}{OUTPUT}\n{output}{_FENCE}\n"] if output else []
    with replacing(page) as partial:
        partial.write_text("".join(lines), encoding="utf-8")
