"""`cnnkeras report --html`: results/report.html, one page for a browser, without a server and without the network.

`experiments`, `datasets` and the lab's numbers say what is there; `runs` what two results are compared by; `lineage` of what a result was made.
`page.html` is the page, `page.css` its looks, `page.js` draws the diagrams and compares, by Plotly, which is in the page. Images are links to files
beside the page, so that results/ can be moved. Equal results give equal bytes, but for times, machine and git's commit.

Class names, paths and texts come from others. Jinja escapes each; `printable` takes characters that turn a text's direction, and passwords; and the
page's own policy has a browser run the two scripts of the page alone, by their digests, and load nothing but images.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from pipeline.commands import tour
from pipeline.commands.report import files
from pipeline.commands.report.html import claims, datasets, experiments
from pipeline.commands.report.html.experiments import published
from pipeline.commands.report.results import ELSEWHERE, ELSEWHERE_NOTE, NOTE, Result
from pipeline.lab.numbers import Numbers
from pipeline.params import Params
from pipeline.runtime import paths
from pipeline.runtime.printable import printable
from pipeline.runtime.replacing import replacing
from pipeline.runtime.seals import Seals
from pipeline.tracking import provenance

_FOLDER = Path(__file__).parent
STYLE = Markup((_FOLDER / "page.css").read_text(encoding="utf-8"))


def write(params: Params, results: Sequence[Result], numbers: Mapping[str, Numbers], seals: Seals) -> Path:
    """Write the page of all results, and return its path.

    Raises:
        InputError: A file of a result is damaged.
    """
    file = paths.html_report()
    found = [experiments.read(params, result, seals) for result in results]
    values = {
        "experiments": found,
        "claims": [claims.read(name, content, seals) for name, content in numbers.items()],
        "datasets": datasets.read(params, seals),
        "elsewhere": published(dict.fromkeys(row for result in results for row in result.elsewhere)),
        "data": {
            "runs": [run.as_data() for experiment in found for run in experiment.runs],
            "charts": {f"{entry.name}/{chart.kind}": chart.data for entry in found for chart in entry.charts},
        },
        "facts": provenance.facts(),
        "tour": paths.html_tour().name if tour.pages() else None,
    }
    seals.save()
    with replacing(file) as partial:
        partial.write_text(render(values), encoding="utf-8")
    return file


def render(values: Mapping[str, Any]) -> str:
    """The page's text; every value is escaped."""
    scripts = [get_plotlyjs(), (_FOLDER / "page.js").read_text(encoding="utf-8")]
    return (
        environment(_FOLDER)
        .get_template("page.html")
        .render(
            **{**values, "data": _printable(values["data"])},
            mark=files.MARK,
            note=NOTE,
            elsewhere_title=ELSEWHERE,
            elsewhere_note=ELSEWHERE_NOTE,
            style=STYLE,
            scripts=[Markup(script) for script in scripts],
            digests=[base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts],
        )
    )


def environment(folder: Path) -> jinja2.Environment:
    """What fills in the templates of a folder: every value is escaped, and printable."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "words": lambda key: str(key).replace("_", " "), "code": _with_code}
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    return environment


def _printable(value: Any) -> Any:
    """A text, and every text in a nested value, without passwords and without characters that a reader does not see."""
    if isinstance(value, Mapping):
        return {_printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(item) for item in value]
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _with_code(text: str) -> Markup:
    """A text in which what stands between backquotes is set as code."""
    parts = [Markup.escape(_printable(part)) for part in text.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts)
    )


def _number(value: float | None) -> str:
    """A number for people: counts whole, others with three decimals, or digits where those say nothing; a dash for none."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if value == 0 or 0.001 <= abs(value) < 1000 else f"{value:.3g}"
