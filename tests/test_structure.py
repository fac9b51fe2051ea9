"""The rules of the house that a machine can check: imports, dvc.yaml, params files, start-up time, the lock file."""

import ast
import contextlib
import hashlib
import os
import pkgutil
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
import tomllib
from importlib.metadata import PackageNotFoundError, distributions, files, packages_distributions
from pathlib import Path
from typing import get_args

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

import pipeline
from cnnkeras import __version__
from pipeline.params import Params, load_params
from pipeline.runtime import definition

REPOSITORY = Path(__file__).parents[1]
STAGES = YAML(typ="safe").load(REPOSITORY / "dvc.yaml")["stages"]
TENSORFLOW = ("cpu", "cuda")  # extras of pyproject.toml: each brings a TensorFlow, and has a lock
HEAVY = ("tensorflow", "keras.src", "jax", "torch")  # `keras` itself may be lazy_loader's stand-in


def run(*command: str, **options) -> subprocess.CompletedProcess:
    """Run a command in the repository; its output is in the failure's message."""
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, **options)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended


@pytest.mark.parametrize("stage", sorted(STAGES.keys() - {definition.CHECK}))
def test_every_stage_depends_on_the_code_that_it_runs(stage):
    """By the file that `check` writes for it, and on no file of code besides, so that no stage begins before `check` is over."""
    dependencies = STAGES[stage]["do"]["deps"]
    assert dependencies[:2] == [f"results/code/{stage}@${{key}}", "results/code/checked"]
    assert not [path for path in dependencies if path.startswith(("cnnkeras", "pipeline"))]


@pytest.mark.parametrize("stage", sorted(STAGES.keys() - {definition.CHECK}))
def test_dvc_finds_every_key_that_it_is_told_to_compare(stage):
    """DVC ends where params.yaml lacks a key of `params`: each is the whole entry, or a key that every entry must have."""
    for key in STAGES[stage]["do"].get("params", ()):
        section, *rest = re.sub(r"\$\{[^}]+\}", "entry", key).split(".")
        assert Params.model_fields[section].is_required() or section in STAGES[stage]["foreach"]
        for field in rest[1:]:
            _, entry = get_args(Params.model_fields[section].annotation)
            assert entry.model_fields[field].is_required(), key


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_a_command_of_the_same_name(stage):
    """A stage run by hand and by DVC is the same code; that of an ensemble is an experiment's."""
    command = definition.command(stage)
    body, entry = (STAGES[stage]["do"], " ${key}") if "foreach" in STAGES[stage] else (STAGES[stage], "")
    assert body["cmd"] == f"exec cnnkeras {command}{entry}"
    run(sys.executable, "-m", "pipeline.cli", command, "--help")


@pytest.mark.parametrize(
    "file", [Path("params.yaml"), *sorted(REPOSITORY.glob("recipes/*.yaml"))], ids=lambda file: file.name
)
def test_every_params_file_is_valid(file):
    """The committed params files, all recipes included, pass the validation that runs before any stage."""
    load_params(REPOSITORY / file)


def test_import_rules():
    """The contracts of import-linter in pyproject.toml hold."""
    run(str(Path(sys.executable).with_name("lint-imports")), "--no-cache")


def test_importing_a_module_loads_no_backend():
    """Keras is loaded where it is needed: no light stage, nor the validation of params.yaml, pays for it. One module's import is that."""
    modules = [module.name for module in pkgutil.walk_packages(pipeline.__path__, "pipeline.")]
    modules.remove("pipeline.backend.model_files")
    assert len(modules) > 60
    program = f"""
import importlib, sys
for name in {modules}:
    importlib.import_module(name)
importlib.import_module("pipeline.params").load_params()
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


def test_the_shell_completes_commands():
    """Click's completion gives the commands in the order of the help; the version is that of the code that runs."""
    variables = {"_CNNKERAS_COMPLETE": "bash_complete", "COMP_WORDS": "cnnkeras re", "COMP_CWORD": "1"}
    program = str(Path(sys.executable).with_name("cnnkeras"))
    completed = run(program, env={**os.environ, **variables})
    assert completed.stdout.split() == ["plain,repro", "plain,report"]
    assert run(program, "--version").stdout == f"cnnkeras, version {__version__}\n"


def test_help_lists_stages_then_commands():
    """The stages of dvc.yaml in one list, what is for people in another, and a whole sentence for each."""
    listed = run(sys.executable, "-m", "pipeline.cli", "--help").stdout
    _, stages, commands = re.split(r"Stages, [^\n]*:|Other commands:", listed)
    assert set(re.findall(r"^  (\S+)", stages, flags=re.MULTILINE)) == {definition.command(stage) for stage in STAGES}
    assert {
        "new",
        "inspect",
        "check-plugin",
        "plan",
        "repro",
        "verify",
        "show",
        "report",
        "ui",
        "export",
        "promote",
        "summary",
        "output-size",
        "tour",
    } == set(re.findall(r"^  (\S+)", commands, flags=re.MULTILINE))
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


@pytest.mark.parametrize(
    ("folder", "extras"),
    [("cnnkeras", ()), ("pipeline", ("onnx", *TENSORFLOW)), ("pages_of_code", ()), ("tests", ("dev", *TENSORFLOW))],
)
def test_what_is_imported_is_declared(folder, extras):
    """pyproject.toml names every package that the code imports, so that none is there only by another one's grace."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["dependencies"] + [line for extra in extras for line in project["optional-dependencies"][extra]]
    declared = {canonicalize_name(Requirement(line).name) for line in lines} | {"cnnkeras"}
    providers = packages_distributions()
    for module in imported_modules(REPOSITORY / folder) - sys.stdlib_module_names - {"tests", "pages_of_code"}:
        assert declared & set(map(canonicalize_name, providers.get(module, []))), module


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


def pins(lock: str) -> set[tuple[str, str]]:
    """Names and versions in a lock file; a package may have several, each for some Pythons."""
    text = (REPOSITORY / lock).read_text(encoding="utf-8")
    assert text.count("==") <= text.count("--hash=sha256:")
    assert not re.search(r"://|--index|--find-links", text)
    return set(re.findall(r"^([a-z0-9.-]+)==(\S+)", text, flags=re.MULTILINE))


@pytest.mark.parametrize("device", TENSORFLOW)
def test_lock_files_fit_pyproject(device):
    """The locks hold each direct dependency at a version that pyproject.toml allows, with hashes and no index address.

    What several hold is the same in all, so that developers run what users run. No user installs linters, pytest or JAX.
    """
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    project, users, developers = settings["project"], pins(f"requirements-{device}.lock"), pins("requirements-dev.lock")
    extras = project["optional-dependencies"]
    for lines, lock in (
        ([*project["dependencies"], *extras[device], *settings["build-system"]["requires"]], users),
        (extras["dev"], developers),
    ):
        for requirement in map(Requirement, lines):
            versions = [version for name, version in lock if name == canonicalize_name(requirement.name)]
            assert versions, requirement
            assert all(map(requirement.specifier.contains, versions)), requirement
    names = {name for name, _ in users}
    assert {pin for pin in developers if pin[0] in names} <= users
    assert not names & {"grimp", "import-linter", "jax", "jaxlib", "pytest", "ruff"}


def test_the_locks_differ_in_tensorflow_alone():
    """A machine without a GPU downloads nothing of CUDA; where TensorFlow is the same, both run the same versions of all else."""
    cpu, cuda = pins("requirements-cpu.lock"), pins("requirements-cuda.lock")
    assert {name for name, _ in cpu - cuda} == {"tensorflow-cpu"}
    assert all(name.startswith("nvidia-") for name, _ in cuda - cpu)
    assert {"nvidia-cudnn-cu12", "nvidia-cublas-cu12"} <= {name for name, _ in cuda - cpu}
    assert {version for name, version in cpu | cuda if name in ("tensorflow", "tensorflow-cpu")} == {
        version for name, version in cuda if name == "tensorflow"
    }


@pytest.mark.skipif((sys.platform, platform.machine()) != ("linux", "x86_64"), reason="CUDA's packages are for it")
@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="has an NVIDIA driver")
def test_make_takes_cuda_where_a_driver_answers(tmp_path):
    """nvidia-smi that lists a GPU: CUDA; one that fails: not. What is installed stays, whatever is found, unless DEVICE is given."""

    def lock(*arguments: str, installed: str = "") -> str:
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "DEVICE": "of something else"}
        (tmp_path / ".venv").mkdir(exist_ok=True)
        for stamp in (tmp_path / ".venv").iterdir():
            stamp.unlink()
        if installed:
            (tmp_path / ".venv" / f".runs-{installed}").touch()
            os.utime(tmp_path / ".venv" / f".runs-{installed}", (0, 0))  # older than the locks
        said = run("make", "-C", str(tmp_path), "--dry-run", "repro", *arguments, env=environment).stdout
        (named,) = set(re.findall(r"-r (requirements-\w+\.lock)", said))
        return named

    for name in ("Makefile", "pyproject.toml", "requirements-cpu.lock", "requirements-cuda.lock"):
        shutil.copy(REPOSITORY / name, tmp_path)
    assert lock() == "requirements-cpu.lock"
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho NVIDIA-SMI has failed\nexit 9\n")
    driver.chmod(0o755)
    assert lock() == "requirements-cpu.lock"
    driver.write_text("#!/bin/sh\necho GPU 0: NVIDIA H100\n")
    assert lock() == "requirements-cuda.lock"
    assert lock(installed="cpu") == "requirements-cpu.lock"
    assert lock("DEVICE=cuda", installed="cpu") == "requirements-cuda.lock"
    assert lock("DEVICE=cpu") == "requirements-cpu.lock"
    refused = subprocess.run(["make", "DEVICE=gpu", "help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "expected DEVICE to be one of cpu cuda; received: gpu." in refused.stderr


@pytest.mark.skipif((sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the figure was measured there")
def test_the_makefile_says_how_large_the_installation_is():
    """What `make repro` says before it installs is right to 15 %: the files of all packages in the lock that is installed."""
    here = {entry.name for entry in distributions()}
    device = "cuda" if "nvidia-cudnn-cu12" in here else "cpu"
    if {"cpu": "tensorflow-cpu", "cuda": "tensorflow"}[device] not in here:
        pytest.skip("neither lock is what is installed here")
    said = re.search(rf"^MB_ON_DISK_{device} := (\d+)$", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE)
    size = 0
    for name in {name for name, _ in pins(f"requirements-{device}.lock")}:
        with contextlib.suppress(PackageNotFoundError):  # for other systems
            paths = (Path(file.locate()) for file in files(name))
            size += sum(path.stat().st_size for path in paths if path.exists())
    assert size / 1e6 == pytest.approx(int(said[1]), rel=0.15)


def test_licence_and_version_are_the_same_everywhere():
    """In the metadata, in CITATION.cff and in LICENSE, which has the whole text as the Apache foundation publishes it."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = YAML(typ="safe").load(REPOSITORY / "CITATION.cff")
    assert (project["license"], project["license-files"]) == ("Apache-2.0", ["LICENSE"])
    assert (citation["license"], citation["version"]) == ("Apache-2.0", __version__)
    text = (REPOSITORY / "LICENSE").read_bytes()
    assert hashlib.sha256(text).hexdigest() == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


def test_the_hosting_service_runs_what_everybody_runs():
    """`.ci/run` and nothing else, with actions that nobody can exchange, no right to write, and an end."""
    workflow = YAML(typ="safe").load(REPOSITORY / ".github" / "workflows" / "ci.yml")
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"]) for step in job["steps"] if "uses" in step)
    assert workflow["permissions"] == {"contents": "read"}
    assert job["timeout-minutes"] <= 60
    assert os.access(REPOSITORY / ".ci" / "run", os.X_OK)


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
