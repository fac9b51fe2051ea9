"""Where messages with style, tables and progress bars are written.

Strings are text and no markup: a path may hold `[x]`. Style is an argument (`print(text, style="bold")`) or a `rich.text.Text`.
"""

import sys
from collections.abc import Iterator
from typing import Any

import rich.console
from rich.segment import Segment
from rich.text import Text

from pipeline.runtime.printable import escaped, printable, raw


class Console(rich.console.Console):  # noqa: TID251 - the one to use
    """The terminal, for printable text (see `pipeline.runtime.printable`).

    Args:
        stderr: Write to standard error.
        soft_wrap: Leave long lines as they are, so that paths can be copied.
    """

    def __init__(self, *, stderr: bool = False, soft_wrap: bool = False):
        stream = raw(sys.stderr if stderr else sys.stdout)
        super().__init__(file=stream, markup=False, highlight=False, emoji=False, soft_wrap=soft_wrap)

    def render_str(self, text: str, **options: Any) -> Text:
        """A string, as text; an address is hidden before a line's end could cut it in two."""
        return super().render_str(printable(text), **options)

    def render(self, *arguments: Any, **options: Any) -> Iterator[Segment]:
        """Everything that is printed, in pieces of one style each; the console's own control characters are pieces of their own."""
        for segment in super().render(*arguments, **options):
            yield segment if segment.control else segment._replace(text=escaped(segment.text))
