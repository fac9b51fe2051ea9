"""docs/commands.md: every command, with its arguments, its options and its examples, as `--help` has them."""

import inspect
import re

import click

from pages_of_code import tables
from pipeline.cli import main

_HEAD = """\
# Commands

`cnnkeras COMMAND --help` says the same. Exit codes: 0, all went well; 2, wrong input, said in one line; 130, Ctrl-C; 143, SIGTERM; any other is a bug. Where a command has
codes of its own, they are below.

This page is made of the code: `python -m pages_of_code`.
"""
_EXAMPLE = re.compile(r"^Examples?: ")


def page() -> str:
    """The page's text."""
    parts = [_HEAD]
    for heading, commands in main.sections().items():
        listed = (
            f"- [`{name}`]({tables.anchor(f'cnnkeras {name}')}): {command.get_short_help_str(200)}"
            for name, command in commands.items()
        )
        parts += [f"## {heading}\n", *listed, "", *(_section(name, command) for name, command in commands.items())]
    return "\n".join(parts)


def _section(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"cnnkeras {name}", help_option_names=["-h", "--help"])
    usage = " ".join([context.info_name, *command.collect_usage_pieces(context)])
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(command.help or ""))
    examples = [part for part in (each.removeprefix("\b\n") for each in paragraphs) if _EXAMPLE.match(part)]
    said = [
        " ".join(map(str.strip, each.splitlines()))
        for each in paragraphs
        if not _EXAMPLE.match(each.removeprefix("\b\n"))
    ]
    parts = [f"### cnnkeras {name}\n", f"```text\n{usage}\n```\n", *(f"{each}\n" for each in said)]
    if rows := [_row(option, context) for option in command.params if isinstance(option, click.Option)]:
        parts.append("\n".join(["| option | what |", "| --- | --- |", *rows, ""]))
    lines = [line.strip() for each in examples for line in _EXAMPLE.sub("", each).splitlines()]
    return "\n".join([*parts, "\n".join(["```sh", *lines, "```", ""])])


def _row(option: click.Option, context: click.Context) -> str:
    """A row of the table of options: as in the help, `--port INTEGER RANGE`."""
    spelling, what = option.get_help_record(context) or ("", "")
    return "| {} | {} |".format(*(cell.replace("|", r"\|") for cell in (f"`{spelling}`", what)))
