"""The rules of the house that a machine can check: imports, dvc.yaml, params files, start-up time, the lock file."""

import ast
import itertools
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

from cnnkeras import architectures
from pipeline import sources
from pipeline.lab import claims
from pipeline.params import load_params

REPOSITORY = Path(__file__).parents[1]
STAGES = YAML(typ="safe").load(REPOSITORY / "dvc.yaml")["stages"]
HEAVY = ("tensorflow", "keras.src", "jax", "torch")  # `keras` itself may be lazy_loader's stand-in
LIGHT = (
    "download",
    "augment",
    "combine",
    "postprocess",
    "evaluate",
    "log",
    "lab",
    "plan",
    "report",
    "ui",
    "output_size",
)

# Modules that cannot change what a stage writes, so that no stage depends on them.
NEUTRAL = {
    "cnnkeras.by_name",  # imports the module that params.yaml names
    "pipeline.entries",  # checks params.yaml's keys
    "pipeline.errors",  # the exception for wrong input
    "pipeline.params",  # checks params.yaml, whose values DVC itself compares
    "pipeline.paths",  # where things are, not what is in them
    "pipeline.progress",  # the terminal
    "pipeline.stage",  # locks and renames
    "pipeline.workers",  # which process does what, not what is done
}
# What else is only shown, such as curves in MLflow while a training runs, and what only `download` calls.
NEUTRAL_FOR = {
    "augment": {"pipeline.fetch", "pipeline.places"},
    "train": {"pipeline.live"},
    "lab": {"pipeline.fetch", "pipeline.places", "pipeline.fingerprints", "pipeline.provenance", "pipeline.tracking"},
}

# Packages whose modules are found by name or at first use, where an import graph cannot see it. Those of which a stage uses
# one, named in params.yaml, are in ONE_OF.
LOADED_BY_NAME = ("cnnkeras.tasks", "cnnkeras.weights", "pipeline.sources")
LOADED_WITH_KERAS = ("cnnkeras.layers", "cnnkeras.losses")
ONE_OF = {"cnnkeras.architectures": architectures.names(), "pipeline.claims": claims.names()}
# What one entry may choose: an architecture, and a claim of the lab.
CHOICES = list(itertools.zip_longest(architectures.names(), claims.names(), fillvalue=""))
CHOICES = [(architecture or architectures.names()[0], claim or claims.names()[0]) for architecture, claim in CHOICES]


def run(*command: str, **options) -> subprocess.CompletedProcess:
    """Run a command in the repository; its output is in the failure's message."""
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, **options)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended


def command(stage: str) -> str:
    """The command of a stage, which experiments and ensembles share."""
    return stage.removesuffix("_ensemble")


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Which module imports which, function bodies included."""
    return grimp.build_graph("cnnkeras", "pipeline", exclude_type_checking_imports=True, cache_dir=None)


def closure(graph: grimp.ImportGraph, stage: str, architecture: str, claim: str) -> set[str]:
    """Every module of ours that a stage may run, apart from the neutral ones. An ensemble has no architecture."""
    is_of_ensembles = STAGES[stage]["foreach"] == "${ensembles}"
    stage = command(stage)
    neutral = NEUTRAL | NEUTRAL_FOR.get(stage, set())
    uses_keras = stage in ("import-weights", "train", "predict", "lab")
    seen: set[str] = set()
    waiting = [f"pipeline.{stage.replace('-', '_')}"]
    while waiting:
        module = waiting.pop()
        if module in seen | neutral | {"cnnkeras", "pipeline"}:
            continue  # these two hold a docstring and a version
        seen.add(module)
        for imported in graph.find_modules_directly_imported_by(module):
            waiting.append(imported)
            if imported in LOADED_BY_NAME or (imported in LOADED_WITH_KERAS and uses_keras):
                waiting += graph.find_children(imported)
            elif imported in ONE_OF and not is_of_ensembles:
                waiting.append(f"{imported}.{claim if imported == 'pipeline.claims' else architecture}")
        waiting.append(module.rpartition(".")[0])
    return seen


def covers(dependencies: Iterable[str], module: str) -> bool:
    """Whether the module's file, or a folder that holds it, is among the dependencies."""
    path = REPOSITORY.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return any(file.is_relative_to(REPOSITORY / dependency) for dependency in dependencies)


@pytest.mark.parametrize("stage", STAGES)
def test_deps_cover_what_a_stage_imports(graph, stage):
    """DVC does not follow imports: each stage's `deps` name every module whose change could change its outputs."""
    for architecture, claim in CHOICES:
        dependencies = [
            path.replace("${item.architecture}", architecture).replace("${item.claim}", claim)
            for path in STAGES[stage]["do"]["deps"]
        ]
        missing = {module for module in closure(graph, stage, architecture, claim) if not covers(dependencies, module)}
        assert not missing


@pytest.mark.parametrize("stage", STAGES)
def test_deps_name_only_code_that_the_stage_imports(graph, stage):
    """A dependency that is not used makes results stale without a reason."""
    used = set().union(*(closure(graph, stage, *choice) for choice in CHOICES))
    for dependency in STAGES[stage]["do"]["deps"]:
        if dependency.startswith(("cnnkeras/", "pipeline/")) and "${" not in dependency:
            assert any(covers([dependency], module) for module in used), dependency


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_a_command_of_the_same_name(stage):
    """A stage run by hand and by DVC is the same code; that of an ensemble is an experiment's."""
    assert STAGES[stage]["do"]["cmd"] == f"exec cnnkeras {command(stage)} ${{key}}"
    run(sys.executable, "-m", "pipeline.cli", command(stage), "--help")


@pytest.mark.parametrize(
    "file", [Path("params.yaml"), *sorted(REPOSITORY.glob("recipes/*.yaml"))], ids=lambda file: file.name
)
def test_every_params_file_is_valid(file):
    """The committed params files, all recipes included, pass the validation that runs before any stage."""
    load_params(REPOSITORY / file)


def test_import_rules():
    """The contracts of import-linter in pyproject.toml hold."""
    run(str(Path(sys.executable).with_name("lint-imports")), "--no-cache")


def test_light_stages_import_no_backend():
    """Stages that need no network never pay for TensorFlow, and neither does the validation of params.yaml."""
    modules = [name for name in LIGHT if (REPOSITORY / "pipeline" / f"{name}.py").is_file()]
    kinds = [f"sources.{kind}" for kind in sources.names()]
    program = f"""
import importlib, sys
from pipeline import cli, params
for name in {modules + kinds}:
    importlib.import_module("pipeline." + name)
params.load_params()
print(*[name for name in {HEAVY} if name in sys.modules])
"""
    assert run(sys.executable, "-c", program).stdout.strip() == ""


def test_help_answers_at_once():
    """`cnnkeras --help` takes 0.06 s where `import click` takes 0.05 s: less than twice as long, on a busy machine too."""
    ratios = []
    for _ in range(9):
        start = time.perf_counter()
        run(sys.executable, "-c", "import click")
        middle = time.perf_counter()
        run(sys.executable, "-m", "pipeline.cli", "--help")
        ratios.append((time.perf_counter() - middle) / (middle - start))
    assert statistics.median(ratios) < 2, ratios


def test_help_lists_stages_then_commands():
    """The stages of dvc.yaml in one list, what is for people in another, and a whole sentence for each."""
    listed = run(sys.executable, "-m", "pipeline.cli", "--help").stdout
    _, stages, commands = re.split(r"Stages, [^\n]*:|Other commands:", listed)
    assert set(re.findall(r"^  (\S+)", stages, flags=re.MULTILINE)) == {command(stage) for stage in STAGES}
    assert {"plan", "repro", "show", "report", "ui", "summary", "output-size"} == set(
        re.findall(r"^  (\S+)", commands, flags=re.MULTILINE)
    )
    assert "..." not in stages + commands


def test_the_command_runs_the_code_of_the_project_it_is_in(tmp_path):
    """In a copy of the project (`dvc exp run --temp`, a second clone) `cnnkeras` runs the copy's code, whose hash DVC records."""
    (tmp_path / "params.yaml").write_text("")
    for folder in ("cnnkeras", "pipeline"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "pipeline" / "commands" / "plan.py").write_text("def run():\n    print('of the copy')\n")
    command = Path(sys.executable).with_name("cnnkeras")
    answer = subprocess.run([command, "plan"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout == "of the copy\n"


@pytest.mark.parametrize(("folder", "extras"), [("cnnkeras", ()), ("pipeline", ()), ("tests", ("dev",))])
def test_what_is_imported_is_declared(folder, extras):
    """pyproject.toml names every package that the code imports, so that none is there only by another one's grace."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["dependencies"] + [line for extra in extras for line in project["optional-dependencies"][extra]]
    declared = {canonicalize_name(Requirement(line).name) for line in lines} | {"cnnkeras"}
    distributions = packages_distributions()
    for module in imported_modules(REPOSITORY / folder) - sys.stdlib_module_names - {"tests"}:
        assert declared & set(map(canonicalize_name, distributions.get(module, []))), module


def imported_modules(folder: Path) -> set[str]:
    """First parts of the names of all modules that the files below a folder import."""
    found = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(node.module.partition(".")[0])
    return found


def test_lock_file_fits_pyproject():
    """requirements.lock holds every direct dependency, at a version that pyproject.toml allows, with hashes and no index address."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", lock, flags=re.MULTILINE))
    for line in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), line
    assert lock.count("==") <= lock.count("--hash=sha256:")
    assert not re.search(r"://|--index|--find-links", lock)


def test_no_file_names_a_place_of_one_machine():
    """What is committed runs anywhere: no home folder, no path of the machine that it was written on."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("needs git to know which files are the project's")
    tracked = run("git", "ls-files", "-z").stdout.split("\0")
    places = re.compile(rb"/(?:home|Users)/\w|/root/|" + re.escape(os.fsencode(REPOSITORY)) + rb"\b")
    binary = (".png", ".jpg", ".npy", ".npz", ".keras", ".gz")
    guilty = [
        name
        for name in tracked
        if name
        and not name.endswith(binary)
        and (REPOSITORY / name).is_file()
        and places.search((REPOSITORY / name).read_bytes())
        and Path(name).name != Path(__file__).name
    ]
    assert not guilty
