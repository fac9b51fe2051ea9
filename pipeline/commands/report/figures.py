"""The figures that the pages show: small copies in results/small_figures, which git holds, of the figures, which DVC holds.

Where a figure is not here, as in a clone without DVC's files, its copy stays as it is.
"""

from collections.abc import Collection
from pathlib import Path

from pipeline.drawing import small_figures
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError
from pipeline.runtime.replacing import remove, replacing

# In the order of the story: what it does, how well, how it learned; then where it fails.
SHOWN = (
    "predictions",
    "per_class",
    "precision_recall",
    "f1",
    "errors",
    "confusion_matrix",
    "training_batch",
    "training_curves",
    "worst",
)


def of_experiment(name: str) -> list[Path]:
    """The small figures of an experiment or ensemble that are there, in the order of the story."""
    return [file for figure in SHOWN if (file := paths.small_figure(name, figure)).is_file()]


def of_claim(name: str) -> Path | None:
    """The small figure of an entry of the lab; None if there is none."""
    file = paths.small_figure(paths.LAB, name)
    return file if file.is_file() else None


def update_experiment(name: str) -> None:
    """Make the small figures those of an experiment's figures, if these are here.

    Raises:
        InputError: A figure is damaged.
    """
    if paths.figures(name).is_dir():
        for figure in SHOWN:
            beside_model = paths.training_batch(name)
            file = beside_model if figure == beside_model.stem else paths.figures(name) / f"{figure}.png"
            _update(file, paths.small_figure(name, figure))


def update_claim(name: str) -> None:
    """Make the small figure of an entry of the lab that of its figure, if this is here.

    Raises:
        InputError: The figure is damaged.
    """
    if paths.claim_figure(name).is_file():
        _update(paths.claim_figure(name), paths.small_figure(paths.LAB, name))


def _update(figure: Path, copy: Path) -> None:
    """Make the small copy that of a figure; without the figure there is none. One of the same pixels stays as it is."""
    if not figure.is_file():
        copy.unlink(missing_ok=True)
        return
    try:
        large = small_figures.read(figure)
    except OSError as error:
        raise InputError(
            f"{figure}: expected a figure; received: {error}. Make it again by the stage that draws it"
        ) from error
    if not small_figures.is_copy(copy, large):
        with replacing(copy) as partial:
            small_figures.write(large, partial)


def remove_others(shown: Collection[str], claims: Collection[str]) -> None:
    """Remove the small figures of experiments and claims that the pages no longer have."""
    for folder in paths.small_figures().glob("*"):
        if folder.name not in (*shown, paths.LAB):
            remove(folder)
    for file in (paths.small_figures() / paths.LAB).glob("*"):
        if file.stem not in claims:
            remove(file)
