"""The command line: a command for each stage, in the order of the pipeline, then those for people.

Nothing is imported before its command runs, so that `cnnkeras --help` answers at once.
"""

from pathlib import Path

import click

from cnnkeras import __version__
from pipeline.runtime.terminal import Group, use_code_of_this_project


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cnnkeras")
def main() -> None:
    """Train, test and compare convolutional networks; params.yaml says which, and on what.

    \b
      cnnkeras plan                what `dvc repro` would run, and why
      cnnkeras train yolo          one stage by hand
      cnnkeras show yolo cat.jpg   what a trained model finds in an image of yours
    """  # noqa: D301 - click reads \b as "leave these lines as they are"
    use_code_of_this_project(Path(__file__))


@main.command()
def check() -> None:
    """Validate params.yaml, before every other stage.

    What code each stage runs is written into results/code as well: with other code, DVC runs the stage again.

    Example: cnnkeras check
    """
    from pipeline.stages import check

    check.run()


@main.command()
@click.argument("source")
def download(source: str) -> None:
    """Fetch or generate the archives of a source.

    They are checked and put into data/raw/SOURCE. An interrupted run is continued by the next.

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
    """Resize, augment and pack the images of a dataset.

    They are put into data/augmented/DATASET. An interrupted run is continued by the next.

    Example: cnnkeras augment digit_detection --workers 4
    """
    from pipeline.stages import augment

    augment.run(dataset, workers=workers)


@main.command(name="import-weights")
@click.argument("name")
def import_weights(name: str) -> None:
    """Make a model of weights that others trained.

    NAME is an entry under `imports:`; the model is put into results/NAME/model. An experiment starts from it by `initial_weights: {experiment: NAME, layers: ["*"]}`; with `epochs: 0` it is that model.

    Example: cnnkeras import-weights yolo_authors
    """
    from pipeline.stages import import_weights

    import_weights.run(name)


@main.command()
@click.argument("experiment")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes that augment images; any number gives the same model. Default: all cores.",
)
def train(experiment: str, workers: int | None) -> None:
    """Train the model of an experiment.

    The model is put into results/EXPERIMENT/model, its losses and metrics of each epoch into history.csv beside it. An interrupted
    run is continued by the next.

    Example: cnnkeras train yolo
    """
    from pipeline.stages import train

    train.run(experiment, workers=workers)


@main.command()
@click.argument("experiment")
def predict(experiment: str) -> None:
    """Run the model of an experiment over the test split.

    Its outputs are put into results/EXPERIMENT/outputs.

    Example: cnnkeras predict yolo
    """
    from pipeline.stages import predict

    predict.run(experiment)


@main.command()
@click.argument("ensemble")
def combine(ensemble: str) -> None:
    """Average the probabilities that several models predict.

    ENSEMBLE is an entry under `ensembles:`, which names the models. The stages after this one are those of an experiment.

    Example: cnnkeras combine vgg_d_and_e
    """
    from pipeline.stages import combine

    combine.run(ensemble)


@main.command()
@click.argument("experiment")
def postprocess(experiment: str) -> None:
    """Turn outputs of a model into classes, boxes or label maps.

    Boxes are those left by the confidence threshold and non-maximum suppression. EXPERIMENT may be an ensemble.

    Example: cnnkeras postprocess yolo
    """
    from pipeline.stages import postprocess

    postprocess.run(experiment)


@main.command()
@click.argument("experiment")
def evaluate(experiment: str) -> None:
    """Measure predictions against the true labels.

    The numbers are put into results/EXPERIMENT/metrics.json, plots and figures beside it. EXPERIMENT may be an ensemble.

    Example: cnnkeras evaluate yolo
    """
    from pipeline.stages import evaluate

    evaluate.run(experiment)


@main.command()
@click.argument("experiment")
def log(experiment: str) -> None:
    """Show a result in MLflow.

    A result is one run of MLflow, however often it is logged. EXPERIMENT may be an ensemble.

    Example: cnnkeras log yolo
    """
    from pipeline.stages import log

    log.run(experiment)


@main.command()
@click.argument("claim")
@click.option("--log-only", is_flag=True, help="Measure nothing: show the last result in MLflow.")
def lab(claim: str, log_only: bool) -> None:
    """Measure a claim of the lecture.

    CLAIM is an entry under `lab:`. Its numbers and its figure are put into results/lab/CLAIM, and shown in MLflow.

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
    """Run what changed, several stages at a time.

    The results are those of `dvc repro`. Each stage may be a training, which takes memory of the machine or of its GPU: on a GPU
    take `--jobs 1`, unless two trainings fit into its memory.

    Example: cnnkeras repro --jobs 2
    """
    from pipeline.commands import repro

    repro.run(jobs)


@main.command()
@click.argument("experiment")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE...")
@click.option("--output", type=click.Path(path_type=Path), help="Folder for the drawn images. Default: show/ here.")
def show(experiment: str, images: tuple[Path, ...], output: Path | None) -> None:
    """Draw what a trained model finds in images of yours.

    EXPERIMENT may be an ensemble.

    Example: cnnkeras show yolo street.jpg --output drawn
    """
    from pipeline.commands import show

    show.run(experiment, images, output=output)


@main.command()
@click.option("--output", type=click.Path(path_type=Path), help="The report's file. Default: results/README.md.")
def report(output: Path | None) -> None:
    """Print the table of results, and write it with figures.

    A row has the paper's number and ours, each with the test that it was measured by. The lab's results are written to
    results/lab/README.md, a paragraph for each claim.

    Example: cnnkeras report
    """
    from pipeline.commands import report

    report.run(output=output)


@main.command()
@click.option(
    "--port", default=5000, show_default=True, type=click.IntRange(1, 65535), help="Port on this machine's loopback."
)
def ui(port: int) -> None:
    """Serve the MLflow UI, to this machine only.

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
    """Print the layers of an architecture.

    Each has its shape, parameters, multiply-adds, receptive field and memory.

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
    """Compute the size of a convolution's output.

    SIZE is the input's, as 40 or 224x224. The lecture's formula is printed with its numbers.

    Example: cnnkeras output-size 224x224 --kernel 11 --stride 4 --padding 2
    """
    from pipeline.commands import output_size

    output_size.run(size, kernel=kernel, stride=stride, padding=padding, dilation=dilation, transposed=transposed)


if __name__ == "__main__":
    main(prog_name="cnnkeras")
