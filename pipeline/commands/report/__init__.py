"""`cnnkeras report`: what every experiment reached, beside the published numbers; and what the lab found.

`results` is the table of experiments with its figures, `claims` the paragraph for each claim of the lecture, `figures` what both show. These pages
and what they show are in git; `html` is the page for a browser, which is not. Times and machines are in the terminal's table alone, so that equal results are equal pages.
"""

from collections.abc import Sequence
from pathlib import Path

from pipeline.commands.report import claims, figures, files, results
from pipeline.params import load_params
from pipeline.runtime import paths
from pipeline.runtime.console import Console
from pipeline.runtime.errors import InputError
from pipeline.runtime.seals import Seals


def run(output: Path | None = None, *, html: bool = False) -> None:
    """Print the results table and write it, with the figures, as Markdown to `output` (default: results/README.md).

    Args:
        output: The Markdown's file.
        html: Whether to write results/report.html too. It is of what is there, in a clone without DVC's files of the numbers and small figures.

    Raises:
        InputError: Something else than a report is in the report's place; or a report is there and its results are not.
    """
    params = load_params()
    seals = Seals(params)
    file, numbers = output or paths.report(), claims.read(params, seals)
    for written in (
        file,
        *([paths.lab_report()] if numbers else []),
        *([paths.html_report(), paths.html_tour()] if html else []),
    ):
        files.require_own(written)
    rows = results.read(params, seals)
    console = Console()
    console.print(results.table(rows))
    console.print(results.NOTE, style="dim")
    for name in numbers:
        figures.update_claim(name)
    if numbers:
        files.write(paths.lab_report(), claims.markdown(numbers))
        console.print(f"The lecture's claims: {paths.lab_report()}", soft_wrap=True)
    if html and any(row.metrics is not None for row in rows):
        from pipeline.commands import tour
        from pipeline.commands.report import html as page

        console.print(f"For a browser: {page.write(params, rows, numbers, seals)}", soft_wrap=True)
        tour.write_html()
    _require_results(rows, file)
    shown = [row.name for row in rows if row.metrics is not None]
    for name in shown:
        figures.update_experiment(name)
    if output is None:
        figures.remove_others(shown, numbers)
    files.write(file, results.markdown(rows, file.parent.resolve()))
    console.print(f"Written to {file}", soft_wrap=True)


def _require_results(rows: Sequence[results.Result], file: Path) -> None:
    """Refuse to write where no result is, and to replace a report by one that lacks models and figures, as in a clone without DVC's files."""
    lacking = [row.name for row in rows if row.metrics is not None and not row.is_whole]
    if rows and all(row.metrics is None for row in rows):
        received = "none yet"
    elif lacking and file.exists():
        received = f"metrics without the model and the figures of {', '.join(lacking)}"
    else:
        return
    state = f"{file} stays as it was. " if file.exists() else ""
    raise InputError(
        f"expected results to report; received: {received}. {state}Run `dvc pull`, if they are in a remote, or `dvc repro` first"
    )
