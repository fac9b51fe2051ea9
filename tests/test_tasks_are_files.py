"""A task is a file of its name in each folder that differs by task, and no other code asks which task it is."""

import ast
from pathlib import Path

import pytest

from cnnkeras import tasks

REPOSITORY = Path(__file__).parents[1]
FOLDERS = (
    "cnnkeras/tasks",
    "cnnkeras/losses",
    "cnnkeras/objectives",
    "cnnkeras/metrics",
    "cnnkeras/answers",
    "pipeline/stages/augment/rows",
    "pipeline/stages/postprocess",
    "pipeline/stages/evaluate",
    "pipeline/commands/export",
    "pipeline/commands/show",
    "pipeline/commands/inspect/first",
)


def names_of_tasks(node: ast.AST) -> set[str]:
    """Names of tasks that stand in an expression as text."""
    texts = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}
    return texts & set(tasks.names())


def decisions(tree: ast.AST) -> list[tuple[int, str]]:
    """Line and name of each task that code compares with, matches, or looks up by."""
    found: list[tuple[int, set[str]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            found.append((node.lineno, names_of_tasks(node)))
        elif isinstance(node, ast.MatchValue):
            found.append((node.value.lineno, names_of_tasks(node)))
        elif isinstance(node, ast.Dict):
            found += [(key.lineno, names_of_tasks(key)) for key in node.keys if key is not None]
        elif isinstance(node, ast.Subscript):
            found.append((node.lineno, names_of_tasks(node.slice) if isinstance(node.ctx, ast.Load) else set()))
    return [(line, name) for line, names in found for name in sorted(names)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_folders_hold_a_file_for_each_task(folder):
    """And nothing else beside what all tasks share."""
    files = {path.stem for path in (REPOSITORY / folder).glob("*.py")} - {"__init__"}
    assert files == set(tasks.names())


@pytest.mark.parametrize(
    "code",
    [
        "x = 1 if task == 'detection' else 2",
        "if task in ('classification', 'segmentation'): pass",
        "match task:\n    case 'detection': pass",
        "x = {'detection': 1}[task]",
        "x = table['segmentation']",
    ],
)
def test_what_a_decision_is(code):
    """The next test would see each of these."""
    assert decisions(ast.parse(code))


def test_no_other_code_asks_which_task_it_is():
    """Adding a task is adding its files."""
    guilty = [
        f"{path.relative_to(REPOSITORY)}:{line}: {name}"
        for package in ("cnnkeras", "pipeline")
        for path in sorted((REPOSITORY / package).rglob("*.py"))
        if not any(path.is_relative_to(REPOSITORY / folder) for folder in FOLDERS)
        for line, name in decisions(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not guilty
