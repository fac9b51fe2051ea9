"""`cnnkeras summary`: the table of an architecture's layers, at the paper's input and output sizes."""

import inspect
import json
from collections.abc import Sequence
from dataclasses import asdict
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from cnnkeras import architectures
from cnnkeras.by_name import unknown
from pipeline.backend import devices
from pipeline.runtime.console import Console
from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    from cnnkeras.summary import LayerRow

FLOAT_BYTES = 4  # of a parameter in float32
MEBI = 2**20


def run(architecture: str, *, variant: str | None = None, width: float | None = None, as_json: bool = False) -> None:
    """Print every layer's output shape, parameters, multiply-adds, receptive field and memory.

    Args:
        architecture: Name of a file of `cnnkeras/architectures`.
        variant: A row of the paper's table; None: the architecture's default.
        width: Factor on the hidden layers' channels, in (0, 1]; None: 1, as in the paper.
        as_json: Print JSON instead of a table.

    Raises:
        InputError: The architecture or the variant is unknown, or the width is outside (0, 1].
    """
    if architecture not in architectures.names():
        raise InputError(unknown(architecture, architectures.names(), "architecture"))
    module = architectures.load(architecture)
    facts = summarize(module, _variant(module, variant), _width(module, width))
    if as_json:
        rows = [asdict(row) for row in facts["layers"]]
        print(json.dumps(facts | {"architecture": architecture, "layers": rows}, indent=2))
        return
    console = Console()
    width_words = "" if facts["width"] is None else f", width {facts['width']:g}"
    console.print(_table(f"{architecture} {facts['variant']}{width_words}", facts["layers"]))
    for line in _totals(facts):
        console.print(line)


def summarize(module: ModuleType, variant: str, width: float | None) -> dict[str, Any]:
    """The table's rows (`layers`) and their sums, for a variant at the paper's input and output sizes; `width` None: it has none."""
    devices.import_keras()
    from cnnkeras.summary import build_outline, layer_table

    input_shape, output_shape = module.PAPER_SHAPES[variant]
    options = {} if width is None else {"width": width}
    model = build_outline(module.build, input_shape=input_shape, output_shape=output_shape, variant=variant, **options)
    rows = layer_table(model)
    parameters = sum(row.parameters for row in rows)
    return {
        "variant": variant,
        "width": width,
        "input_shape": input_shape,
        "output_shape": output_shape,
        "parameters": parameters,
        "statistics": model.count_params()
        - parameters,  # running statistics of batch normalisation, which are not trained
        "multiply_adds": sum(row.multiply_adds for row in rows),
        "activation_bytes": sum(row.activation_bytes for row in rows),
        "layers": rows,
    }


def _variant(module: ModuleType, variant: str | None) -> str:
    if variant is None:
        return inspect.signature(module.build).parameters["variant"].default
    if variant not in module.VARIANTS:
        raise InputError(unknown(variant, module.VARIANTS, "variant"))
    return variant


def _width(module: ModuleType, width: float | None) -> float | None:
    """The width, 1 where none is given; None for an architecture without that option."""
    if "width" not in inspect.signature(module.build).parameters:
        if width is not None:
            raise InputError(f"expected no --width, which this architecture does not have; received: {width:g}")
        return None
    if width is None:
        return 1.0
    if not 0 < width <= 1:
        raise InputError(
            f"expected a width above 0 and at most 1; received: {width:g}. 0.125 is an eighth of the channels"
        )
    return width


def _table(title: str, rows: "Sequence[LayerRow]") -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("layer", no_wrap=True)
    table.add_column(
        "kind", no_wrap=False, overflow="ellipsis"
    )  # may be cut on a narrow terminal; columns of numbers are not
    for column in ("output", "parameters", "mult-adds", "field", "KiB"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.name,
            row.kind,
            _sizes(row.output_shape),
            f"{row.parameters:,}" if row.parameters else "",
            _millions(row.multiply_adds) if row.multiply_adds else "",
            _field(row.receptive_field),
            f"{row.activation_bytes / 1024:,.0f}",
        )
    return table


def _millions(number: int) -> str:
    return f"{number / 1e6:,.1f} M" if number >= 1e6 else f"{number:,}"


def _totals(facts: dict[str, Any]) -> list[str]:
    memory = facts["parameters"] * FLOAT_BYTES / MEBI
    lines = [f"{facts['parameters']:,} parameters ({memory:,.1f} MiB in float32)"]
    if facts["statistics"]:
        lines.append(f"{facts['statistics']:,} running statistics of batch normalisation")
    lines.append(f"{facts['multiply_adds']:,} multiply-adds for one example of {_sizes(facts['input_shape'])}")
    lines.append(f"{facts['activation_bytes'] / MEBI:,.1f} MiB of activations for one example, all layers kept")
    return lines


def _sizes(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _field(receptive_field: Sequence[int]) -> str:
    """A receptive field as text: one number if it is square."""
    return _sizes(receptive_field[:1] if len(set(receptive_field)) == 1 else receptive_field)
