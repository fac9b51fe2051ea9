"""Paths of the project's files and folders, as functions of the names in params.yaml."""

import os
from functools import cache
from pathlib import Path

from pipeline.runtime.errors import InputError

PARAMS, DEFINITION = "params.yaml", "dvc.yaml"
# Folders of results/ that belong to no experiment: the empty model that stands for "no experiment", the reports on datasets, the
# lab's results, the code that each stage runs, the stages' seals, and the small figures of the reports.
SCRATCH, DATASETS, LAB, CODE, SEALS, SMALL_FIGURES = "scratch", "datasets", "lab", "code", "seals", "small_figures"
RESERVED = (DATASETS, LAB, CODE, SEALS, SMALL_FIGURES)
CHECKED = "checked"  # in results/code: what every stage depends on, so that none starts before `check`


def root() -> Path:
    """The project's folder: the current folder or the nearest one above it that holds `params.yaml`.

    Raises:
        InputError: No such folder.
    """
    current = os.getcwd()  # noqa: PTH109 - asked thousands of times, hence without pathlib
    if os.path.isfile(f"{current}/{PARAMS}"):  # noqa: PTH113
        return _path(current)
    for folder in Path(current).parents:
        if (folder / PARAMS).is_file():
            return folder
    raise InputError(
        f"expected a {PARAMS} in this folder or one above it; received: {current}. Change into the project first"
    )


_path = cache(Path)


def home() -> Path:
    """The project's folder. In a copy made by `dvc exp run --temp` or `--queue`: the original folder, which DVC_ROOT names."""
    return Path(os.environ.get("DVC_ROOT") or root())


def shipped(name: str) -> Path:
    """A file or folder that a new project starts with, by its path there: in the repository, or in the installed package."""
    package = Path(__file__).parents[1]
    return (installed if (installed := package / "shipped").is_dir() else package.parent) / name


def params_file() -> Path:
    """`params.yaml`: the settings of every run."""
    return root() / PARAMS


def plugins() -> Path:
    """Folder of the project's own architectures, losses, sources, ... (`runtime/plugins.py`)."""
    return root() / "plugins"


def raw(source: str) -> Path:
    """Folder of a source's published or generated archives."""
    return root() / "data" / "raw" / source


def local(path: str) -> Path:
    """A folder or file on this disk that params.yaml names by a path from the project's folder, by `~/`, or by an absolute one."""
    return home() / os.path.expanduser(path)  # noqa: PTH111 - a path from nobody's home is no error here


def augmented(dataset: str) -> Path:
    """Folder of a dataset's packed splits."""
    return root() / "data" / "augmented" / dataset


def dataset_report(dataset: str) -> Path:
    """Folder of the report on a packed dataset."""
    return root() / "results" / DATASETS / dataset


def code(label: str = "") -> Path:
    """File that lists the code of a stage (label `train@yolo`), written by the stage `check`; without a label, the folder of these files."""
    return root() / "results" / CODE / label


def seal(label: str) -> Path:
    """JSON file that says what a stage (label `train@yolo`) wrote, and of what it made that (`runtime/seals.py`)."""
    return root() / "results" / SEALS / f"{label}.json"


def imported(file: str) -> Path:
    """A file of published weights; `file` is its path in the project, as params.yaml has it."""
    return root() / file


def results(experiment: str) -> Path:
    """Folder of all results of an experiment, an ensemble or an import."""
    return root() / "results" / experiment


def model_folder(experiment: str) -> Path:
    """Folder of an experiment's trained model, or of an imported model."""
    return results(experiment) / "model"


def model_file(experiment: str, part: str = "") -> Path:
    """An experiment's trained model, in Keras' own format; `part`: the folder of a further seed's, `seed-2`."""
    return model_folder(experiment) / part / "model.keras"


def training_batch(experiment: str) -> Path:
    """PNG of the first training batch as the network sees it, if the training augments."""
    return model_folder(experiment) / "training_batch.png"


def history(experiment: str, part: str = "") -> Path:
    """CSV file of a training's history: loss, metrics and learning rate, a row for each epoch. A further seed's lies beside its model."""
    return (model_folder(experiment) / part if part else results(experiment)) / "history.csv"


def environment(experiment: str) -> Path:
    """JSON file of what an experiment was trained with: backend, versions, processor."""
    return results(experiment) / "environment.json"


def outputs(experiment: str) -> Path:
    """Folder of the model's outputs for the test split, before any post-processing."""
    return results(experiment) / "outputs"


def predictions(experiment: str) -> Path:
    """Folder of the predictions: probabilities, detections or label maps."""
    return results(experiment) / "predictions"


def metrics(experiment: str) -> Path:
    """JSON file of the figures of merit on the test split."""
    return results(experiment) / "metrics.json"


def plots(experiment: str) -> Path:
    """Folder of the tables that `dvc plots` draws."""
    return results(experiment) / "plots"


def figures(experiment: str) -> Path:
    """Folder of the drawn predictions and diagrams."""
    return results(experiment) / "figures"


def receipt(experiment: str) -> Path:
    """JSON file that names the MLflow run of a result."""
    return results(experiment) / "mlflow.json"


def claim(name: str) -> Path:
    """Folder of the results of an entry of the lab."""
    return root() / "results" / LAB / name


def claim_numbers(name: str) -> Path:
    """JSON file with an entry's claim, and its published and measured numbers."""
    return claim(name) / "numbers.json"


def claim_figure(name: str) -> Path:
    """Figure of an entry of the lab, for the lecture hall."""
    return claim(name) / "figure.png"


def small_figures() -> Path:
    """Folder of the reports' small copies of figures, in git: a folder for each experiment, and `lab`."""
    return root() / "results" / SMALL_FIGURES


def small_figure(owner: str, figure: str) -> Path:
    """Small copy of a figure: of an experiment's (`yolo`, `worst`), or of a claim's (`lab`, `size`)."""
    return small_figures() / owner / f"{figure}.png"


def lab_report() -> Path:
    """Report on the lab: a paragraph and a figure for each claim."""
    return root() / "results" / LAB / "README.md"


def report() -> Path:
    """Report on the experiments: the table of results, with figures."""
    return root() / "results" / "README.md"


def html_report() -> Path:
    """The same and more as a page for a browser. Ignored by git, as figures are."""
    return root() / "results" / "report.html"


def tour() -> Path:
    """Folder of the tour for learners: Markdown pages with code."""
    return root() / "docs" / "tour"


def html_tour() -> Path:
    """The tour as a page for a browser, beside the report. Ignored by git, as the report is."""
    return root() / "results" / "tour.html"


def state() -> Path:
    """Folder of locks, checkpoints, timings and logs, which are neither inputs nor results. Ignored by git and DVC."""
    return root() / ".cnnkeras"


def launchers() -> Path:
    """`launch.yaml`: by what stages are started in this place (`runtime/launching.py`). Ignored by git; a copy of DVC's uses the original's."""
    return home() / "launch.yaml"


def compiled() -> Path:
    """Folder of what JAX has compiled (`backend/compiled.py`), also for the copies that `dvc exp run --temp` makes."""
    return home() / ".cnnkeras" / "compiled"


def lock(label: str) -> Path:
    """File that the process which runs a stage (label `train@yolo`) has locked."""
    return state() / "locks" / f"{label}.lock"


def duration(label: str) -> Path:
    """File with the seconds that a stage (label `train@yolo`) took when it last ran here."""
    return state() / "durations" / label


def checkpoints(training: str) -> Path:
    """Folder of what a training that is not finished goes on from: of an experiment, `yolo`, or of one of its seeds, `yolo-seed-2`."""
    return state() / "checkpoints" / training


def trained(experiment: str) -> Path:
    """Folder of an experiment's models and histories that were trained with one of several seeds."""
    return state() / "trained" / experiment


def timings(experiment: str) -> Path:
    """JSON file of a training's duration in seconds and its machine."""
    return state() / "timings" / f"{experiment}.json"
