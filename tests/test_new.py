"""`cnnkeras new`, and the package outside of its repository: as a wheel, in an environment of its own."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.commands import new
from pipeline.params import load_params
from pipeline.runtime import paths
from tests.copied_project import COPIED, REPOSITORY, environment
from tests.test_inspect import class_folders, write_files

FILES = {
    ".dvc",
    ".dvcignore",
    ".git",
    ".gitignore",
    "README.md",
    "data",
    "dvc.yaml",
    "params.yaml",
    "plugins",
    "results",
}


def run_new(*arguments: str, code: int = 0) -> str:
    answer = CliRunner().invoke(main, ["new", *arguments])
    assert answer.exit_code == code, answer.output
    return answer.output


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder, where the test runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_project_has_what_the_repository_has(place):
    """The same files for git and DVC, byte by byte; a params.yaml that is valid; dvc.yaml without the code's folders."""
    assert "cd digits && cnnkeras repro" in run_new("digits")
    assert {path.name for path in (place / "digits").iterdir()} == FILES
    for name in set(COPIED) - {"dvc.yaml", "cnnkeras", "pipeline"}:
        for file in [REPOSITORY / name, *(REPOSITORY / name).rglob("*")]:
            if file.is_file():
                assert (place / "digits" / file.relative_to(REPOSITORY)).read_bytes() == file.read_bytes()
    ours = (REPOSITORY / "dvc.yaml").read_text().splitlines()
    theirs = (place / "digits/dvc.yaml").read_text().splitlines()
    assert [line.strip() for line in ours if line not in theirs] == ["- cnnkeras", "- pipeline"]
    assert ["always_changed: true" in line for line in theirs if line not in ours] == [True]
    assert (place / "digits/README.md").read_text().startswith("# digits\n")
    os.chdir("digits")
    assert list(load_params(with_files=True).experiments) == ["first"]
    assert paths.root() == place / "digits"


@pytest.mark.parametrize("is_absolute", [False, True])
def test_data_give_the_entries(place, is_absolute):
    """The path is the data's, seen from the new folder, or the absolute one that was given; the entries are those of `inspect`."""
    write_files(place / "photos", class_folders())
    data = str(place / "photos") if is_absolute else "photos"
    said = run_new("deep/own", "--from", data, "--name", "pets")
    assert "2 classes" in said or "cats" in said
    os.chdir("deep/own")
    params = load_params(with_files=True)
    assert params.sources["pets"].files[0].path == (data if is_absolute else "../../photos")
    assert list(params.experiments) == ["vgg_pets"]
    assert Path("inspect/pets.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("taken",), "expected the name of a new folder; received: "),
        (("full",), "where there is something already"),
        (("own", "--name", "pets"), "--name and --task: expected data that they are of; received: no --from"),
        (("own", "--from", "nowhere"), "expected a folder or an archive; received: "),
        (("own", "--from", "full"), "expected images; received: "),
        (("own", "--from", "photos", "--task", "detection"), "--task: expected classification"),
        (("taken/own",), "expected to be able to write to"),
    ],
)
def test_what_cannot_be_made_is_one_line_and_leaves_nothing(place, arguments, message):
    """Nothing is half-written, nothing of before is touched."""
    write_files(place / "photos", class_folders())
    (place / "taken").write_text("mine")
    (place / "full").mkdir()
    (place / "full/notes.txt").write_text("mine")
    before = sorted(place.rglob("*"))
    said = run_new(*arguments, code=2)
    assert message in said
    assert said.strip().count("\n") == 0
    assert sorted(place.rglob("*")) == before


def test_an_empty_folder_is_filled(place):
    """As by `mkdir NAME` first."""
    (place / "digits").mkdir()
    run_new("digits")
    assert (place / "digits/params.yaml").is_file()


def test_a_repository_that_has_the_folder_keeps_it(place):
    """Inside a git repository no second one begins; where that one leaves the folder out, one does."""
    subprocess.run(["git", "init", "-q"], check=True)
    run_new("digits")
    assert not (place / "digits/.git").exists()
    (place / "apart").mkdir()
    (place / ".gitignore").write_text("/apart/\n")
    run_new("apart/digits")
    assert (place / "apart/digits/.git").is_dir()


def test_without_git_dvc_does_without(place, monkeypatch):
    """DVC would refuse a folder that is no git repository."""
    monkeypatch.setattr(new.shutil, "which", lambda _: None)
    run_new("digits")
    assert not (place / "digits/.git").exists()
    env = environment(place)
    subprocess.run(["dvc", "status"], cwd=place / "digits", env=env, check=True, capture_output=True)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An environment that has this package as a wheel has it, and the tests' environment for everything else.

    Other packages are not downloaded: a `.pth` file names the folder that they are in. Python reads no `.pth` file there, so that the
    editable installation of the tests' environment does not count.
    """
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    install = ("install", "--quiet", "--no-index", "--no-deps")
    for command in (
        [*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, REPOSITORY],
        [sys.executable, "-m", "venv", "--without-pip", folder / "env"],
    ):
        subprocess.run(command, check=True, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "--python", folder / "env/bin/python", *install, wheel], check=True, cwd=folder)
    (site,) = folder.glob("env/lib/python*/site-packages")
    assert {file.name.partition("-")[0] for file in site.iterdir()} == {"cnnkeras", "cnnkeras_pipeline"}
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return site


def test_an_installed_package_runs_a_project_of_its_own(place, installed):
    """`new` and `dvc repro`, to the end; an upgrade makes stale what runs the code that it changes.

    Nothing is called `pipeline`: neither what is installed, nor what is imported, nor what the digests name.
    """
    env = environment(place, installed.parents[2] / "bin")
    env = {name: value for name, value in env.items() if name != "PYTHONPATH"}

    def run(*command, code=0):
        done = subprocess.run(command, cwd=Path.cwd(), env=env, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert "No module named 'pipeline'" in run("python", "-c", "import cnnkeras_pipeline, pipeline", code=1)
    run("cnnkeras", "new", "digits")
    os.chdir("digits")
    params = Path("params.yaml").read_text()
    scenes = "train: 1200, val: 100, test: 200"
    assert scenes in params
    Path("params.yaml").write_text(params.replace(scenes, "train: 40, val: 4, test: 4"))
    assert "top1_accuracy" in run("dvc", "repro")
    assert Path("results/first/metrics.json").is_file()
    code = Path("results/code/train@first").read_text()
    assert "  cnnkeras_pipeline/stages/train/__init__.py\n" in code
    assert "  cnnkeras/architectures/mnist_conv.py\n" in code
    assert "  pipeline" not in code
    assert "nothing to do" in run("cnnkeras", "plan")
    with (installed / "cnnkeras/losses/detection.py").open("a") as file:
        file.write("\nUNUSED = 1\n")
    assert "nothing to do" in run("cnnkeras", "plan")
    with (installed / "cnnkeras_pipeline/stages/evaluate/classification.py").open("a") as file:
        file.write("\nUSED = 1\n")
    stale = [line.split()[0] for line in run("cnnkeras", "plan").splitlines()]
    assert stale[:2] == ["evaluate@first", "log@first"]
    assert len(stale) == 3  # the sum
    said = run("dvc", "repro")
    assert re.findall("Running stage '(.*)'", said) == [
        "check",
        "evaluate@first",
    ]  # which gave the same, so that nothing follows
