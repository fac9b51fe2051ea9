"""Where everything lies: the only file that spells a path of the project."""

from pathlib import Path

from pipeline.runtime.errors import InputError

PARAMS, DEFINITION = "params.yaml", "dvc.yaml"
# Names in results/ that are no experiment's: what stands where none is meant (an empty model that always exists), the reports on
# datasets, the lab's, and the code that stages run.
SCRATCH, DATASETS, LAB, CODE = "scratch", "datasets", "lab", "code"
RESERVED = (DATASETS, LAB, CODE)
CHECKED = "checked"  # in results/code: what every stage depends on, so that none starts before `check`


def root() -> Path:
    """Folder of the project: the nearest one, from the current folder upwards, that holds `params.yaml`.

    Raises:
        InputError: No folder above holds one.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / PARAMS).is_file():
            return folder
    raise InputError(
        f"expected a {PARAMS} in this folder or one above it; received: {here}. Change into the project first"
    )


def params_file() -> Path:
    """`params.yaml`: what runs, with which numbers."""
    return root() / PARAMS


def raw(source: str) -> Path:
    """Folder of a source's archives, as published."""
    return root() / "data" / "raw" / source


def augmented(dataset: str) -> Path:
    """Folder of a dataset's packed splits."""
    return root() / "data" / "augmented" / dataset


def dataset_report(dataset: str) -> Path:
    """Folder of the report on a packed dataset."""
    return root() / "results" / DATASETS / dataset


def code(label: str = "") -> Path:
    """Which code a stage of an entry runs (`train@yolo`), as the stage `check` writes it; without a label the folder of all."""
    return root() / "results" / CODE / label


def imported(file: str) -> Path:
    """A file of weights that others trained, at the place that params.yaml gives it."""
    return root() / file


def results(experiment: str) -> Path:
    """Folder of everything an experiment leaves behind."""
    return root() / "results" / experiment


def model_folder(experiment: str) -> Path:
    """Folder of an experiment's trained model, or of an imported one."""
    return results(experiment) / "model"


def model_file(experiment: str) -> Path:
    """An experiment's trained model, in Keras' own format."""
    return model_folder(experiment) / "model.keras"


def history(experiment: str) -> Path:
    """One row an epoch of training: loss, metrics, learning rate."""
    return results(experiment) / "history.csv"


def outputs(experiment: str) -> Path:
    """Folder of the model's outputs for the test split, before any post-processing."""
    return results(experiment) / "outputs"


def predictions(experiment: str) -> Path:
    """Folder of the predictions: probabilities, detections or label maps."""
    return results(experiment) / "predictions"


def metrics(experiment: str) -> Path:
    """The figures of merit on the test split."""
    return results(experiment) / "metrics.json"


def plots(experiment: str) -> Path:
    """Folder of the tables that `dvc plots` draws."""
    return results(experiment) / "plots"


def figures(experiment: str) -> Path:
    """Folder of the images that people look at."""
    return results(experiment) / "figures"


def receipt(experiment: str) -> Path:
    """Names the MLflow run that shows this result."""
    return results(experiment) / "mlflow.json"


def claim(name: str) -> Path:
    """Folder of what an entry of the lab found."""
    return root() / "results" / LAB / name


def claim_numbers(name: str) -> Path:
    """What was claimed, published and measured."""
    return claim(name) / "numbers.json"


def claim_figure(name: str) -> Path:
    """The image for the lecture hall."""
    return claim(name) / "figure.png"


def lab_report() -> Path:
    """A paragraph for each claim, with its figure."""
    return root() / "results" / LAB / "README.md"


def report() -> Path:
    """The results table with its figures."""
    return root() / "results" / "README.md"


def state() -> Path:
    """Folder of what is neither input nor result: locks and timings. Ignored by git and DVC."""
    return root() / ".cnnkeras"


def timings(experiment: str) -> Path:
    """How long a training took, and on what machine."""
    return state() / "timings" / f"{experiment}.json"
