"""What a file of Python says, as far as following imports and digests of code need it; the file is read, not imported."""

import ast
import hashlib
import io
import tokenize
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.runtime.loaded import PACKAGES

ANY = "*"  # among the attributes that are taken of a module: a function that an entry names


@dataclass(frozen=True)
class Source:
    """Digests and imports of a file of Python.

    Attributes:
        functions: Digests of the code of the public functions, by name.
        rest: Digest of all other code.
        imports: [module, name] of `from module import name`; [module, ""] of `import module`.
        attributes: By imported "module.name": the attributes of it that the file uses; `ANY` if the file calls a function that the
            entry names.
        lazy: Names that the package imports at their first use, each with the module of the package that defines it.
        finds_files: Whether the file finds other files of its package by name (`cnnkeras.by_name.Files`).
        loads: Whether the file calls `load` itself.
    """

    functions: dict[str, str]
    rest: str
    imports: list[list[str]]
    attributes: dict[str, list[str]]
    lazy: dict[str, str] = field(default_factory=dict)
    finds_files: bool = False
    loads: bool = False


def read_source(text: str) -> Source:
    """Digests and imports of a file, from its text."""
    tree = ast.parse(text)
    lines = code_lines(text, tree)
    functions: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            functions[node.name] = hash_of([lines.pop(line, "") for line in range(first, node.end_lineno + 1)])
    imports, attributes, lazy = _names(tree)
    return Source(
        functions=functions,
        rest=hash_of(lines.values()),
        imports=imports,
        attributes=attributes,
        lazy=lazy,
        finds_files=any(isinstance(node, ast.Assign) and _is_call_of(node.value, "Files") for node in tree.body),
        loads=any(_is_call_of(node, "load") for node in ast.walk(tree)),
    )


def code_lines(text: str, tree: ast.Module) -> dict[int, str]:
    """The lines of a file without comments and docstrings, by their number, counted from 1."""
    lines = text.splitlines()
    cuts: list[tuple[int, int, int, int]] = []  # first line and column, last line and column
    if "#" in text:
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        cuts += [(*token.start, *token.end) for token in tokens if token.type == tokenize.COMMENT]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                cuts.append((first.lineno, first.col_offset, first.end_lineno, _column(lines, first)))
    for first, start, last, end in sorted(cuts, reverse=True):
        rest = lines[last - 1][end:]
        lines[first - 1] = lines[first - 1][:start] + rest
        for line in range(first, last):
            lines[line] = ""
    return {number: line.rstrip() for number, line in enumerate(lines, 1)}


def _column(lines: list[str], node: ast.Expr) -> int:
    """Column in which an expression ends, in characters; `ast` counts bytes."""
    return len(lines[node.end_lineno - 1].encode()[: node.end_col_offset].decode())


def _names(tree: ast.Module) -> tuple[list[list[str]], dict[str, list[str]], dict[str, str]]:
    """Imports, used attributes of the imports, and names imported lazily: see `Source`."""
    imports: list[list[str]] = []
    lazy: dict[str, str] = {}
    bound: dict[str, str] = {}  # imported names in the file, each with its full name
    used: dict[str, set[str]] = defaultdict(set)
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                imports.append([node.module, alias.name])
                bound[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                imports.append([alias.name, ""])
                bound[alias.asname or alias.name] = alias.name
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            used[node.value.id].add(node.attr)
        elif _calls_by_name(node):
            used[node.args[0].id].add(ANY)
        elif isinstance(node, ast.keyword) and node.arg == "submod_attrs":
            modules = ast.literal_eval(node.value)
            lazy |= {name: module for module, names in modules.items() for name in names}
        waiting += ast.iter_child_nodes(node)
    ours = [imported for imported in imports if imported[0].split(".")[0] in PACKAGES]
    attributes = {whole: sorted(used[name]) for name, whole in bound.items() if whole.split(".")[0] in PACKAGES}
    return sorted(ours), attributes, lazy


def _calls_by_name(node: ast.AST) -> bool:
    """Whether a node calls a function that params.yaml names: `settings.optimizer.call(optimizers)` (`entries.Named`)."""
    is_method = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "call"
    return is_method and len(node.args) > 0 and isinstance(node.args[0], ast.Name)


def _is_call_of(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def hash_of_text(text: str) -> str:
    """Digest of a text: 16 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hash_of(lines: Iterable[str]) -> str:
    """Hash of the lines that are not empty; "" if all are empty."""
    text = "\n".join(filter(None, lines))
    return hash_of_text(text) if text else ""
