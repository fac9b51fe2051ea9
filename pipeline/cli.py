"""The command line: a command for each stage, in the order of the pipeline, then the other commands.

A command's module is imported when the command runs, so that `cnnkeras --help` answers at once.
"""

from pathlib import Path

import click

from cnnkeras import __version__
from pipeline.runtime.garbage import uncollected
from pipeline.runtime.places import complete_environment
from pipeline.runtime.terminal import Group, use_code_of_this_project


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cnnkeras")
def main() -> None:
    """Train, test and compare the convolutional networks that params.yaml describes.

    \b
      cnnkeras new digits          make a project in a folder of its own
      cnnkeras inspect ../photos   say what data are, and suggest entries for params.yaml
      cnnkeras plan                list what `dvc repro` would run, and why
      cnnkeras train yolo          run one stage
      cnnkeras show yolo cat.jpg   draw what a trained model finds in an image of yours
    """  # noqa: D301 - click reads \b as "leave these lines as they are"
    use_code_of_this_project(Path(__file__))
    complete_environment()


@main.command()
def check() -> None:
    """Validate params.yaml; runs before every other stage.

    It also writes into results/code which code each stage runs. When that code changes, DVC runs the stage again.

    Example: cnnkeras check
    """
    with uncollected():
        from pipeline.stages import check

        check.run()


@main.command()
@click.argument("source")
def download(source: str) -> None:
    """Fetch or generate the archives of a source.

    Their checksums are verified, and they are put into data/raw/SOURCE. After an interruption the next run continues.

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

    The packed splits are put into data/augmented/DATASET. After an interruption the next run continues.

    Example: cnnkeras augment digit_detection --workers 4
    """
    from pipeline.stages import augment

    augment.run(dataset, workers=workers)


@main.command(name="import-weights")
@click.argument("name")
def import_weights(name: str) -> None:
    """Make a model from a file of published weights.

    NAME is an entry under `imports:`; the model is put into results/NAME/model. An experiment starts from it with `initial_weights: {experiment: NAME, layers: ["*"]}`; with `epochs: 0` as well, the experiment's model is the imported one.

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

    The model is put into results/EXPERIMENT/model, the losses and metrics of each epoch into results/EXPERIMENT/history.csv. An
    interrupted training goes on from its last checkpoint.

    Example: cnnkeras train yolo
    """
    from pipeline.stages import train

    train.run(experiment, workers=workers)


@main.command()
@click.argument("experiment")
def predict(experiment: str) -> None:
    """Compute a model's outputs for the test split.

    They are put into results/EXPERIMENT/outputs.

    Example: cnnkeras predict yolo
    """
    from pipeline.stages import predict

    predict.run(experiment)


@main.command()
@click.argument("ensemble")
def combine(ensemble: str) -> None:
    """Average the class probabilities of several models.

    ENSEMBLE is an entry under `ensembles:`, which names the models. The next stages, postprocess, evaluate and log, are run as for an experiment.

    Example: cnnkeras combine vgg_d_and_e
    """
    from pipeline.stages import combine

    combine.run(ensemble)


@main.command()
@click.argument("experiment")
def postprocess(experiment: str) -> None:
    """Turn a model's outputs into classes, boxes or label maps.

    Boxes pass the confidence threshold and non-maximum suppression. EXPERIMENT may be an ensemble.

    Example: cnnkeras postprocess yolo
    """
    from pipeline.stages import postprocess

    postprocess.run(experiment)


@main.command()
@click.argument("experiment")
def evaluate(experiment: str) -> None:
    """Compare predictions with the true labels.

    The metrics are put into results/EXPERIMENT/metrics.json, plots and figures into the folders beside it. EXPERIMENT may be an ensemble.

    Example: cnnkeras evaluate yolo
    """
    from pipeline.stages import evaluate

    evaluate.run(experiment)


@main.command()
@click.argument("experiment", required=False)
def log(experiment: str | None) -> None:
    """Show a result in MLflow, or all that it lacks.

    Without EXPERIMENT, every result that MLflow lacks is shown, those of the lab too. Logging a result again adds no second MLflow run. EXPERIMENT may be an ensemble. If the tracking server does not answer, what it lacks waits for the next `cnnkeras log`.

    Example: cnnkeras log yolo
    """
    with uncollected():
        from pipeline.stages import log

    log.run(experiment)


@main.command()
@click.argument("claim")
def lab(claim: str) -> None:
    """Measure a claim of the lecture.

    CLAIM is an entry under `lab:`. Its numbers and its figure are put into results/lab/CLAIM, and shown in MLflow.

    Example: cnnkeras lab size
    """
    from pipeline.stages import lab

    lab.run(claim)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--from", "data", metavar="PATH", help="A folder or an archive with data: params.yaml gets its entries.")
@click.option("--name", help="Of the entries. Default: the path's last part.")
@click.option(
    "--task",
    type=click.Choice(["classification", "detection", "segmentation"]),
    help="Default: the first one that the labels serve.",
)
def new(folder: Path, data: str | None, name: str | None, task: str | None) -> None:
    """Make a project, in a folder of its own.

    FOLDER gets a params.yaml, dvc.yaml and what git and DVC need; `dvc repro` runs there as it is. Without --from, params.yaml has a small
    example that needs no data. The code is the installed package.

    \b
    Examples: cnnkeras new digits
              cnnkeras new cells --from ../cells.zip --task detection
    """  # noqa: D301 - click reads \b as "leave these lines as they are"
    from pipeline.commands import new

    new.run(folder, data=data, name=name, task=task)


@main.command()
@click.argument("path")
@click.option("--name", help="Of the entries. Default: the path's last part.")
@click.option(
    "--task",
    type=click.Choice(["classification", "detection", "segmentation"]),
    help="Default: the first one that the labels serve.",
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="File for the contact sheet. Default: inspect/NAME.png here."
)
@click.option("--write", is_flag=True, help="Add the entries to params.yaml, at the ends of its sections.")
def inspect(path: str, name: str | None, task: str | None, output: Path | None, write: bool) -> None:
    """Say what a folder or an archive is, and suggest entries.

    PATH is looked at, not changed: its kind, counts per class and split, images' sizes, what is odd, and a contact sheet. The entries for
    params.yaml - a source, a dataset, a first experiment - pass `cnnkeras plan` as they are.

    \b
    Examples: cnnkeras inspect ../photos
              cnnkeras inspect ../cells.zip --task detection --write
    """  # noqa: D301 - click reads \b as "leave these lines as they are"
    from pipeline.commands import inspect

    inspect.run(path, name=name, task=task, output=output, add=write)


@main.command(name="check-plugin")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path))
def check_plugin(files: tuple[Path, ...]) -> None:
    """Check architectures and other files of your own.

    FILE is in a folder of plugins/ such as plugins/architectures of this project; without any, all are checked and listed. They have to keep
    the contract that ours keep: plugins/README.md says what that is.

    Example: cnnkeras check-plugin plugins/architectures/mobilenet.py
    """
    from pipeline.commands import check_plugin

    check_plugin.run(files)


@main.command()
def plan() -> None:
    """List what `dvc repro` would run, and why.

    Example: cnnkeras plan
    """
    with uncollected():
        from pipeline.commands import plan

        plan.run()


@main.command()
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Stages at a time; any number gives the same results. Default: one per core, at most four, and one for each GPU.",
)
@click.option("--keep-going", is_flag=True, help="After a failure, run all stages that do not depend on what failed.")
def repro(jobs: int | None, keep_going: bool) -> None:
    """Run the stages that changed, several at a time.

    The results are the same as with `dvc repro`. Several trainings at a time need the memory for all of them. Where there are GPUs, each training
    has one for itself and waits for it, and light stages run beside; with `--jobs 1` a training may use them all, and then rounds otherwise.

    Example: cnnkeras repro --jobs 2
    """
    from pipeline.commands import repro

    repro.run(jobs, keep_going=keep_going)


@main.command()
@click.argument("experiment")
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    help="Compare the first so many steps of two new trainings. Default: the whole training, with its result.",
)
def verify(experiment: str, steps: int | None) -> None:
    """Train again, elsewhere, and compare every bit.

    The whole training is compared with results/EXPERIMENT: each variable of the model, and the history. With --steps, or where there is no
    result, two new trainings run side by side and are compared after each step: all variables of the model, of the optimizer and of the
    metrics. Nothing of the project is changed.

    Exit code 0: every bit is the same. 1: there is a difference; the first epoch or step, the variables and its size are printed. 2: wrong input.

    \b
    Examples: cnnkeras verify yolo
              cnnkeras verify yolo --steps 100
    """  # noqa: D301 - click reads \b as "leave these lines as they are"
    from pipeline.commands import verify

    if not verify.run(experiment, steps=steps):
        raise click.exceptions.Exit(1)


@main.command()
@click.argument("experiment")
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option("--output", type=click.Path(path_type=Path), help="Folder for the drawn images. Default: show/ here.")
@click.option("--format", type=click.Choice(["json", "csv"]), help="Write the predictions too, in this format.")
def show(experiment: str, images: tuple[str, ...], output: Path | None, format: str | None) -> None:
    """Draw what a trained model finds in images.

    IMAGE is a file, a folder, or a pattern in quotes such as "photos/*.jpg"; without any, twelve examples of the test split are taken.
    EXPERIMENT may be an ensemble.

    Example: cnnkeras show yolo street.jpg --output drawn
    """
    from pipeline.commands import show

    show.run(experiment, images, output=output, format=format)


@main.command()
@click.argument("experiment")
@click.option("--format", type=click.Choice(["onnx", "tflite", "saved_model", "keras"]), required=True)
@click.option(
    "--output", type=click.Path(path_type=Path), help="The model's path. Default: export/EXPERIMENT.FORMAT here."
)
def export(experiment: str, format: str, output: Path | None) -> None:
    """Write a trained model for other programs.

    It takes RGB images of any size as they are, uint8, and gives probabilities, boxes after suppression in pixels of the image, or label
    maps of the image's size. A JSON file beside it has the classes, the thresholds, and what goes in and comes out. EXPERIMENT may be an
    ensemble.

    Example: cnnkeras export yolo --format onnx
    """
    from pipeline.commands import export

    export.run(experiment, format=format, output=output)


@main.command()
@click.argument("experiment")
@click.option("--name", help="Of the registered model. Default: the experiment's.")
@click.option("--alias", default="champion", show_default=True, help="Of this version; the former one loses it.")
def promote(experiment: str, name: str | None, alias: str) -> None:
    """Give a logged model a name and an alias in MLflow.

    `models:/NAME@ALIAS` then loads it, in Python and for `mlflow models serve`. A result is promoted as it is now and is logged; promoting
    it again adds no second version.

    Example: cnnkeras promote yolo --name digits
    """
    from pipeline.commands import promote

    promote.run(experiment, name=name, alias=alias)


@main.command()
@click.option("--output", type=click.Path(path_type=Path), help="The report's file. Default: results/README.md.")
@click.option(
    "--html", is_flag=True, help="Write results/report.html too, a page for a browser, with diagrams and a comparison."
)
def report(output: Path | None, html: bool) -> None:
    """Print the table of results, and write it to a file.

    A row has the paper's number and ours, each with its test protocol; the file has figures too. The lab's results are written to
    results/lab/README.md, a paragraph for each claim.

    Example: cnnkeras report --html
    """
    from pipeline.commands import report

    report.run(output=output, html=html)


@main.command()
@click.option(
    "--port", default=5000, show_default=True, type=click.IntRange(1, 65535), help="Port on the loopback interface."
)
def ui(port: int) -> None:
    """Serve the MLflow UI on this machine only.

    Example: cnnkeras ui --port 5001
    """
    from pipeline.commands import ui

    ui.run(port=port)


@main.command()
@click.argument("architecture")
@click.option("--variant", help="A row of the paper's table. Default: the architecture's default variant.")
@click.option("--width", type=float, help="Factor on the channels of every hidden layer, for example 0.125.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def summary(architecture: str, variant: str | None, width: float | None, as_json: bool) -> None:
    """Print the layers of an architecture.

    Columns are output shape, parameters, multiply-adds, receptive field and memory of the output.

    Example: cnnkeras summary vgg --variant E
    """
    from pipeline.commands import summary

    summary.run(architecture, variant=variant, width=width, as_json=as_json)


@main.command(name="output-size")
@click.argument("size")
@click.option("--kernel", required=True, help="Kernel size, for example 3 or 3x5.")
@click.option(
    "--stride", default="1", show_default=True, help="Step between two positions of the kernel, for example 2 or 2x1."
)
@click.option(
    "--padding", default="0", show_default=True, help="Zeros at each end, for example 1 or 1x2; or valid, or same."
)
@click.option(
    "--dilation", default="1", show_default=True, help="Distance between two taps of the kernel, for example 2 or 2x1."
)
@click.option("--transposed", is_flag=True, help="Compute the size for the transposed convolution.")
def output_size(size: str, kernel: str, stride: str, padding: str, dilation: str, transposed: bool) -> None:
    """Compute the size of a convolution's output.

    SIZE is the size of the input, for example 40 or 224x224. The lecture's formula is printed with the numbers in it.

    Example: cnnkeras output-size 224x224 --kernel 11 --stride 4 --padding 2
    """
    from pipeline.commands import output_size

    output_size.run(size, kernel=kernel, stride=stride, padding=padding, dilation=dilation, transposed=transposed)


@main.command()
@click.argument("page", type=click.Path(path_type=Path), required=False)
@click.option("--interactive", "-i", is_flag=True, help="Go on in Python afterwards, with what the page has defined.")
@click.option("--write", is_flag=True, help="Put what the code prints into the page.")
def tour(page: Path | None, interactive: bool, write: bool) -> None:
    """Run a page of the tour for learners.

    PAGE is a file of docs/tour, or an edited copy of one; without it, the pages are listed, and written into results/tour.html for a browser. Each step's code and what it prints are shown,
    and where that is not what the page shows.

    Exit code 0: all is as the page shows. 1: something is not. 2: wrong input.

    Example: cnnkeras tour docs/tour/1_convolution.md
    """
    from pipeline.commands import tour

    if not tour.run(page, interactive=interactive, write=write):
        raise click.exceptions.Exit(1)


if __name__ == "__main__":
    main(prog_name="cnnkeras")
