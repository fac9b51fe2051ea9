"""The command line: one click command per stage, and a few for people. Nothing is imported before its command runs."""

import os
import signal
import sys
from pathlib import Path

import click

from pipeline.runtime.errors import InputError, first_reason, lacks_room

INTERRUPTED = 130  # the shell's exit code for Ctrl-C: 128 + SIGINT


class Group(click.Group):
    """Commands in the order of the pipeline; wrong input is one line and exit code 2, Ctrl-C is exit code 130."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Commands in the order in which this file defines them."""
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]):
        """Find a command; a misspelt one is answered with the nearest."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from cnnkeras.by_name import unknown

            raise click.UsageError(unknown(args[0], self.commands, "command"), ctx) from error

    def invoke(self, ctx: click.Context):
        """Run a command, turning wrong input into one line."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo("Interrupted: nothing was half-written.", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            # The reader of our output (head, less) left; Python would complain once more at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(128 + signal.SIGPIPE)
        except OSError as error:
            if not lacks_room(error):
                raise
            click.echo(
                f"Error: expected room on the disk; received: {first_reason(error)}. Make room and run this again",
                err=True,
            )
            ctx.exit(2)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cnnkeras")
def main() -> None:
    """Reproducible CNN experiments: params.yaml says what, `dvc repro` runs what changed.

    \b
    Each stage is a command of its own:
      cnnkeras train yolo          one stage by hand
      cnnkeras plan                what `dvc repro` would run, and why
      cnnkeras show yolo cat.jpg   a trained experiment on your image
    """  # noqa: D301 - click reads \b as "leave these lines as they are"
    _use_code_of_this_project()


def _use_code_of_this_project() -> None:
    """Start again with the code of the project that one is in, if that is another copy of it than the installed one.

    `dvc exp run --temp` and `--queue` work in a copy, whose code is what DVC records. So does who has two clones and one
    environment.
    """
    from pipeline.runtime import paths

    try:
        root = paths.root()
    except InputError:
        return  # commands such as `summary` need no project; the others say so themselves
    code = root / "pipeline" / Path(__file__).name
    if code.is_file() and not code.samefile(__file__):
        search_path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-P", "-m", "pipeline.cli", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": search_path})


@main.command()
@click.argument("source")
def download(source: str) -> None:
    """Fetch or generate SOURCE's archives into data/raw/SOURCE. An interrupted run is continued by the next.

    Example: cnnkeras download digit_scenes
    """
    from pipeline.stages import download

    download.run(source)


@main.command()
@click.argument("dataset")
@click.option(
    "--workers", type=click.IntRange(min=1), help="Processes; any number gives the same bytes. Default: all cores."
)
def augment(dataset: str, workers: int | None) -> None:
    """Resize, augment and pack DATASET into data/augmented/DATASET. A killed run is continued by the next.

    Example: cnnkeras augment digit_detection --workers 4
    """
    from pipeline.stages import augment

    augment.run(dataset, workers=workers)


@main.command(name="import-weights")
@click.argument("name")
def import_weights(name: str) -> None:
    """Read weights that others trained: the entry NAME under `imports:`, into results/NAME/model.

    An experiment starts from them by `initial_weights: {experiment: NAME, layers: ["*"]}`; with `epochs: 0` it is them.

    Example: cnnkeras import-weights yolo_authors
    """
    from pipeline.stages import import_weights

    import_weights.run(name)


@main.command()
@click.argument("experiment")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes that augment images; any number gives the same network. Default: all cores.",
)
def train(experiment: str, workers: int | None) -> None:
    """Train EXPERIMENT's network; writes results/EXPERIMENT/model and history.csv.

    Example: cnnkeras train yolo
    """
    from pipeline.stages import train

    train.run(experiment, workers=workers)


@main.command()
@click.argument("experiment")
def predict(experiment: str) -> None:
    """Run EXPERIMENT's network over the test split; writes its raw outputs.

    Example: cnnkeras predict yolo
    """
    from pipeline.stages import predict

    predict.run(experiment)


@main.command()
@click.argument("ensemble")
def combine(ensemble: str) -> None:
    """Average the posteriors of ENSEMBLE's members; what follows is as for an experiment.

    Example: cnnkeras combine vgg_d_and_e
    """
    from pipeline.stages import combine

    combine.run(ensemble)


@main.command()
@click.argument("experiment")
def postprocess(experiment: str) -> None:
    """Turn EXPERIMENT's raw outputs into probabilities, boxes after threshold and NMS, or label maps; or an ensemble's.

    Example: cnnkeras postprocess yolo
    """
    from pipeline.stages import postprocess

    postprocess.run(experiment)


@main.command()
@click.argument("experiment")
def evaluate(experiment: str) -> None:
    """Measure EXPERIMENT's predictions against the truth; writes metrics.json, plots and figures.

    Example: cnnkeras evaluate yolo
    """
    from pipeline.stages import evaluate

    evaluate.run(experiment)


@main.command()
@click.argument("experiment")
def log(experiment: str) -> None:
    """Show EXPERIMENT's result in MLflow: one run per distinct result, however often it is logged.

    Example: cnnkeras log yolo
    """
    from pipeline.stages import log

    log.run(experiment)


@main.command()
@click.argument("claim")
@click.option("--log-only", is_flag=True, help="Measure nothing: show the last result in MLflow.")
def lab(claim: str, log_only: bool) -> None:
    """Measure CLAIM, an entry under `lab:` of params.yaml: numbers, a figure for the lecture, an MLflow run.

    Example: cnnkeras lab size
    """
    from pipeline.stages import lab

    lab.run(claim, log_only=log_only)


@main.command()
def plan() -> None:
    """Say what `dvc repro` would run, and why.

    Example: cnnkeras plan
    """
    from pipeline.commands import plan

    plan.run()


@main.command()
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Stages at a time; any number gives the same results. Default: one a core, at most four.",
)
def repro(jobs: int | None) -> None:
    """Run what changed, like `dvc repro`, with stages that do not need each other side by side.

    Each may train, which takes memory: of the machine, and of its GPU, where `--jobs 1` is what fits most.

    Example: cnnkeras repro --jobs 2
    """
    from pipeline.commands import repro

    repro.run(jobs)


@main.command()
@click.argument("experiment")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE...")
@click.option("--output", type=click.Path(path_type=Path), help="Folder for the drawn images. Default: show/ here.")
def show(experiment: str, images: tuple[Path, ...], output: Path | None) -> None:
    """Run a trained EXPERIMENT, or an ensemble, on your images and draw what it sees.

    Example: cnnkeras show yolo street.jpg --output drawn
    """
    from pipeline.commands import show

    show.run(experiment, images, output=output)


@main.command()
@click.option("--output", type=click.Path(path_type=Path), help="The report's file. Default: results/README.md.")
def report(output: Path | None) -> None:
    """Print the results table - the paper's number with its protocol, ours with ours - and write it with its figures.

    What the lab found is written too: results/lab/README.md, a paragraph for each claim.

    Example: cnnkeras report
    """
    from pipeline.commands import report

    report.run(output=output)


@main.command()
@click.option(
    "--port", default=5000, show_default=True, type=click.IntRange(1, 65535), help="Port on this machine's loopback."
)
def ui(port: int) -> None:
    """Serve the MLflow UI on this project's runs, to this machine only.

    Example: cnnkeras ui --port 5001
    """
    from pipeline.commands import ui

    ui.run(port=port)


@main.command()
@click.argument("architecture")
@click.option("--variant", help="A row of the paper's table. Default: the architecture's own.")
@click.option("--width", type=float, help="Factor on every hidden layer's channels, for example 0.125.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def summary(architecture: str, variant: str | None, width: float | None, as_json: bool) -> None:
    """Print ARCHITECTURE's layers: shapes, parameters, multiply-adds, receptive field, memory.

    Example: cnnkeras summary vgg --variant E
    """
    from pipeline.commands import summary

    summary.run(architecture, variant=variant, width=width, as_json=as_json)


@main.command(name="output-size")
@click.argument("size")
@click.option("--kernel", required=True, help="Kernel size, for example 3 or 3x5.")
@click.option("--stride", default="1", show_default=True, help="Step between two applications, for example 2 or 2x1.")
@click.option(
    "--padding", default="0", show_default=True, help="Zeros at each end, for example 1 or 1x2; or valid, or same."
)
@click.option("--dilation", default="1", show_default=True, help="Zeros between two taps, plus one.")
@click.option("--transposed", is_flag=True, help="Of the transposed convolution.")
def output_size(size: str, kernel: str, stride: str, padding: str, dilation: str, transposed: bool) -> None:
    """Size of a convolution's output for an input of SIZE (40, or 224x224), with the lecture's formula.

    Example: cnnkeras output-size 224x224 --kernel 11 --stride 4 --padding 2
    """
    from pipeline.commands import output_size

    output_size.run(size, kernel=kernel, stride=stride, padding=padding, dilation=dilation, transposed=transposed)


if __name__ == "__main__":
    main(prog_name="cnnkeras")
