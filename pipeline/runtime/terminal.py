"""Common to all commands: errors in one line, exit codes, the list of commands in the help, and running the code of the current project."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from pipeline.runtime import paths, places, plugins, printable, signals
from pipeline.runtime.errors import InputError

STAGES = Path(__file__).parents[1] / "stages"
_STAGES_IN_A_CLONE = "pipeline"  # the package's name in the repository; an installed one has another


class Command(click.Command):
    """A command; that of a stage may be started through a launcher (`launching.py`)."""

    def invoke(self, ctx: click.Context):
        """Run the command, here or by what launch.yaml names."""
        arguments = [parameter.name for parameter in self.params if isinstance(parameter, click.Argument)]
        if self.name in _stages() and arguments and ctx.params[arguments[0]]:
            from pipeline.runtime import launching  # the help needs none

            launching.launch(self.name, ctx.params[arguments[0]])
        return super().invoke(ctx)


def _stages() -> set[str]:
    """Names of the commands that run stages."""
    return {path.stem.replace("_", "-") for path in STAGES.iterdir()}


class Group(click.Group):
    """Commands in the order of their definition, with the stages in a list of their own.

    Wrong input, a full disk and a place where this process may not read or write are one line and exit code 2. Ctrl-C is one line and
    exit code 130, SIGTERM 143, a closed standard output 141.
    """

    command_class = Command

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line; what it prints is printable, and signals are one line."""
        with signals.ends_on_signals(), printable.streams():
            return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names of the commands, in the order of their definition."""
        return list(self.commands)

    def sections(self) -> dict[str, dict[str, click.Command]]:
        """The commands by name, under the headings of the two lists: stages, then the others."""
        stages = _stages()
        return {
            heading: {name: command for name, command in self.commands.items() if (name in stages) == is_stage}
            for heading, is_stage in (
                ("Stages, in the order in which `dvc repro` runs them", True),
                ("Other commands", False),
            )
        }

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """Write the help's lists of commands."""
        width = formatter.width - 6 - max(map(len, self.commands))
        for heading, commands in self.sections().items():
            with formatter.section(heading):
                formatter.write_dl([(name, command.get_short_help_str(width)) for name, command in commands.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]):
        """Find a command by its name; the error for an unknown name suggests the nearest one."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from cnnkeras.by_name import unknown

            raise click.UsageError(unknown(args[0], self.commands, "command"), ctx) from error

    def invoke(self, ctx: click.Context):
        """Run a command and turn expected exceptions into one line and an exit code."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo(signals.SENTENCES[signals.INTERRUPTED], err=True)
            ctx.exit(signals.INTERRUPTED)
        except SystemExit as error:
            if error.code == signals.TERMINATED:
                click.echo(signals.SENTENCES[signals.TERMINATED], err=True)
            raise
        except BrokenPipeError:
            # The reader of our output (head, less) has ended. Without this, Python prints another error at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(128 + signal.SIGPIPE)
        except Exception as error:
            sentence = (places.said(error) if isinstance(error, OSError) else None) or plugins.said(error)
            if sentence is None or isinstance(error, click.ClickException | click.exceptions.Exit | click.Abort):
                raise
            click.echo(f"Error: {sentence}", err=True)
            ctx.exit(2)


def use_code_of_this_project(cli: Path) -> None:
    """Restart the command with the current project's own code, if the installed code is another copy.

    `dvc exp run --temp` and `--queue` run in a copy of the project, and DVC records the copy's code. Two clones may also share
    one environment.

    Args:
        cli: The running file of the command line, pipeline/cli.py.
    """
    try:
        root = paths.root()
    except InputError:
        return  # commands such as `summary` need no project; the other commands raise the error themselves
    code = root / _STAGES_IN_A_CLONE / cli.name
    if code.is_file() and (root / "cnnkeras" / "__init__.py").is_file() and not code.samefile(cli):
        search_path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-P", "-m", f"{_STAGES_IN_A_CLONE}.{cli.stem}", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": search_path})
