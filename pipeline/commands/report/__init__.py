"""`cnnkeras report`: what every experiment reached, beside the published numbers; and what the lab found.

`results` is the table of experiments with its figures, `claims` the paragraph for each claim of the lecture.
"""

from pathlib import Path

from pipeline.commands.report import claims, results
from pipeline.params import load_params
from pipeline.runtime import paths
from pipeline.runtime.console import Console
from pipeline.runtime.printable import without_secrets
from pipeline.runtime.replacing import replacing


def run(output: Path | None = None) -> None:
    """Print the results table and write it, with the figures, as Markdown to `output` (default: results/README.md)."""
    params = load_params()
    rows = results.read(params)
    console = Console()
    console.print(results.table(rows))
    console.print(results.NOTE, style="dim")
    file = output or paths.report()
    _write(file, results.markdown(rows, file.parent.resolve()))
    console.print(f"Written to {file}", soft_wrap=True)
    if numbers := claims.read(params):
        _write(paths.lab_report(), claims.markdown(numbers))
        console.print(f"The lecture's claims: {paths.lab_report()}", soft_wrap=True)


def _write(file: Path, text: str) -> None:
    with replacing(file) as partial:
        partial.write_text(without_secrets(text), encoding="utf-8")
