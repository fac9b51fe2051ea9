"""dvc.yaml with DVC itself: what reruns and what does not, and what is left when DVC or a person interferes.

But for one test, the stages are stand-ins that take a blink: they write a digest of what they read, inside the real guard of pipeline/runtime/guard.py.
Everything else is the project's own: dvc.yaml, .dvc/, .dvcignore, the code that stages depend on, and `cnnkeras plan`.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import networkx
import numpy as np
import psutil
import pytest
from ruamel.yaml import YAML

from pipeline.commands.repro import chains
from tests.contents import digests
from tests.copied_project import IMPORTS, copy_project, environment, write_published

SCENES = """\
seed: 1
sources:
  scenes: {kind: digit_scenes, seed: 1, digits_per_scene: [0, 0, 0, 1], scenes: {train: 6, val: 1, test: 1}}
datasets:
  detection: {source: scenes, task: detection, size: [64, 64]}
  crops: {source: scenes, task: classification, size: [64, 64], examples: objects}
experiments:
"""
EXPERIMENT = """\
  {name}:
    dataset: {dataset}
    architecture: {architecture}
    model: {{width: 0.25}}
    input: {{mean: 127.5, std: 127.5}}
    train:
      epochs: 1
      batch_size: 2
      optimizer: {{name: adam, learning_rate: 0.001}}
      schedule: {{name: constant}}
      initial_weights: {initial_weights}
    predict: {{batch_size: 8}}
    postprocess: {postprocess}
    evaluate: {{images: 1}}
"""
CLASSIFIER = {"dataset": "crops", "initial_weights": "{experiment: scratch}", "postprocess": "{top_k: 5}"}
VGG = EXPERIMENT.format(name="vgg", architecture="vgg", **CLASSIFIER)
YOLO_CLASSIFIER = EXPERIMENT.format(name="yolo_classifier", architecture="yolo", **CLASSIFIER)
YOLO = EXPERIMENT.format(
    name="yolo",
    dataset="detection",
    architecture="yolo",
    initial_weights='{experiment: yolo_classifier, layers: ["conv*"]}',
    postprocess="{confidence_threshold: 0.1, nms_iou: 0.5, display_threshold: 0.2}",
)
# What the authors of a file of weights trained, as an experiment of no epochs.
AUTHORS = (
    EXPERIMENT.format(
        name="authors",
        dataset="detection",
        architecture="yolo",
        initial_weights='{experiment: published, layers: ["*"]}',
        postprocess="{confidence_threshold: 0.1, nms_iou: 0.5, display_threshold: 0.2}",
    )
    .replace("epochs: 1", "epochs: 0")
    .replace("mean: 127.5, std: 127.5", "mean: 0.0, std: 255.0")
    .replace("{width: 0.25}", "{variant: rerelease_fast, width: 0.03125}")
)

# The commands of all stages but `check`, which is the real one.
STAND_IN = """\
#!{python}
import hashlib, os, sys, time
sys.path.insert(0, os.getcwd())
from pathlib import Path
if sys.argv[1] == "check":
    from pipeline.cli import main
    main(prog_name="cnnkeras")
from pipeline.runtime import definition
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import stage

name, entry = os.environ["DVC_STAGE"].split("@")
assert [definition.command(name), entry] == sys.argv[1:]
values = definition.read_yaml(Path("params.yaml"))

# The defaults that `check` wrote down, in place of a params.yaml that takes long to validate.
class Checked:
    text_sha256 = hashlib.sha256(Path("params.yaml").read_bytes()).hexdigest()

    def model_dump(self, *, mode):
        nested = {{}}
        files = Path("results/code").iterdir()
        for key, value in [item for file in files for item in definition.read_values(file.read_text()).items()]:
            *sections, last = key.split(".")
            inner = nested
            for section in sections:
                inner = inner.setdefault(section, {{}})
            inner[last] = value
        return nested

outputs = [path for path in definition.outputs_of(name, entry, values) if path.parent.name != "seals"]
try:
    inputs = definition.deps_of(name, entry, values)
    with stage(name, entry, inputs=inputs, outputs=outputs, params=Checked()) as partials:
        values = definition.read_yaml(Path("params.yaml"))
        entries = [(values.get(section) or {{}}).get(entry) for section in ("experiments", "datasets", "sources")]
        content = '{{"digest": "' + hashlib.md5(repr((name, entries)).encode()).hexdigest() + '"}}'
        made = {{"augment": ["index.json", "train/made", "val/made", "test/made"]}}.get(name, ["made"])
        for partial in partials:
            for file in [partial] if partial.suffix else [partial / part for part in made]:
                file.parent.mkdir(exist_ok=True)
                file.write_text(content)
        if name == "augment":
            (partials[0] / "contact_sheet.png").write_bytes(Path("pipeline/stages/augment/contact_sheet.py").read_bytes())
        if os.environ.get("FAIL") == f"{{name}}@{{entry}}":
            raise InputError("told to fail")
        if os.environ.get("HOLD") == f"{{name}}@{{entry}}":
            Path("held").write_text(str(os.getpid()))
            while not Path("go").exists():
                time.sleep(0.02)
    if os.environ.get("EDIT_AFTER", "").startswith(f"{{name}}@{{entry}} "):
        old, new = os.environ["EDIT_AFTER"].split(" ", 1)[1].split(" -> ")
        text = Path("params.yaml").read_text()
        assert text.count(old) == 1
        Path("params.yaml").write_text(text.replace(old, new))
except InputError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""


REPRO = (sys.executable, "-m", "pipeline.cli", "repro", "--jobs", "3")


class Project:
    """A copy of the project in a folder of its own, with git."""

    def __init__(self, folder: Path, environment: dict[str, str]):
        self.folder, self.environment, self.params = folder, environment, folder / "params.yaml"

    def run(self, *command: str, code: int = 0) -> str:
        """Run a command in the project; returns all that it printed."""
        ended = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    def repro(self, *targets: str) -> list[str]:
        """Stages that `dvc repro` runs now, `check` aside."""
        return ran(self.run("dvc", "repro", *targets))

    def repro_beside(self, *, code: int = 0) -> list[str]:
        """Stages that `cnnkeras repro` runs now, three at a time, in the order in which they begin, `check` aside."""
        return ran(self.run(*REPRO, code=code))

    def stale(self) -> set[str]:
        """Stages that have changed themselves, as `dvc status` says once `check` has run."""
        self.run("dvc", "repro", "--quiet", "check")
        return set(json.loads(self.run("dvc", "status", "--json")))

    def plan(self) -> dict[str, str]:
        """Stages and reasons that `cnnkeras plan` prints."""
        printed = self.run(sys.executable, "-m", "pipeline.cli", "plan")
        lines = [re.split(r"\s{2,}", line, maxsplit=2) for line in printed.splitlines() if "@" in line]
        return {stage: reasons for stage, _duration, reasons in lines}

    def recorded(self, stage: str) -> dict:
        """What dvc.lock says of a stage."""
        return YAML(typ="safe").load(self.folder / "dvc.lock")["stages"][stage]

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace a text that occurs once."""
        text = (self.folder / file).read_text(encoding="utf-8")
        assert text.count(old) == 1
        (self.folder / file).write_text(text.replace(old, new), encoding="utf-8")

    def hold(self, stage: str, command: Sequence[str] = ()) -> tuple[subprocess.Popen, int]:
        """Start `dvc repro`, or another command, until the stage is in the middle of its work; returns it and the stage's process id."""
        dvc = subprocess.Popen(
            command or ["dvc", "repro", stage],
            cwd=self.folder,
            env={**self.environment, "HOLD": stage},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        held = self.folder / "held"
        until(lambda: (held.is_file() and held.read_text()) or dvc.poll() is not None)
        assert dvc.poll() is None, dvc.stderr.read()
        return dvc, int(held.read_text())

    def files(self) -> dict[str, str]:
        """What is below data/ and results/, but for what `check` writes."""
        found = digests(self.folder, "data", "results")
        return {name: digest for name, digest in found.items() if not name.startswith("results/code/")}

    def half_written(self) -> list[Path]:
        """What stages have not cleaned up."""
        return list(self.folder.rglob(".partial-*"))


def ran(printed: str) -> list[str]:
    """Stages that DVC or `cnnkeras repro` says it ran, in the order in which they began, `check` aside."""
    return re.findall(r"^(?:Running stage '|\[ *\d+/\d+\] )(\S+@\S+?)(?:':)?$", printed, flags=re.MULTILINE)


def until(condition, seconds: float = 120) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def is_alive(process: int) -> bool:
    """Whether a process runs; one that has ended but that nobody asked about does not."""
    return psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE


def lay_out(base: Path, params: str, command: str | None = None) -> Project:
    """A copy of the project in which nothing has run, with a params.yaml; `command` is in the place of `cnnkeras`."""
    folder, commands = base / "project", base / "bin"
    copy_project(folder, params)
    commands.mkdir()
    if command is not None:
        (commands / "cnnkeras").write_text(command)
        (commands / "cnnkeras").chmod(0o755)
    project = Project(folder, environment(base, commands))
    project.run("git", "init", "--quiet")
    return project


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which everything has run and is committed. Not to be changed: see `project`."""
    project = lay_out(
        tmp_path_factory.mktemp("dvc"), SCENES + VGG + YOLO_CLASSIFIER + YOLO, STAND_IN.format(python=sys.executable)
    )
    assert len(project.repro()) == 1 + 2 + 3 * 5
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "All results")
    return project


@pytest.fixture
def project(reproduced: Project, tmp_path: Path) -> Project:
    """A copy of the reproduced project, to be changed."""
    shutil.copytree(reproduced.folder, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project", reproduced.environment)


def test_a_second_repro_runs_nothing(reproduced):
    """What is up to date stays as it is, byte code and all, and `cnnkeras plan` says so."""
    assert reproduced.repro() == []
    assert reproduced.stale() == set()
    assert "nothing to do" in reproduced.run(sys.executable, "-m", "pipeline.cli", "plan")
    assert reproduced.run("git", "status", "--porcelain") == ""


def test_the_nms_threshold_reruns_three_stages(project):
    """Changing nms_iou reruns exactly postprocess, evaluate and log of that experiment, which `cnnkeras plan` foretells."""
    project.edit("params.yaml", "nms_iou: 0.5", "nms_iou: 0.4")
    expected = ["postprocess@yolo", "evaluate@yolo", "log@yolo"]
    plan = project.plan()
    assert list(plan) == expected
    assert plan["postprocess@yolo"] == "experiments.yolo.postprocess.nms_iou: 0.5 -> 0.4"
    assert "follows postprocess@yolo" in plan["evaluate@yolo"]
    assert project.repro() == expected


def test_an_architecture_concerns_its_own_experiments(project):
    """Editing cnnkeras/architectures/yolo.py makes no stage of another architecture stale."""
    with (project.folder / "cnnkeras" / "architectures" / "yolo.py").open("a") as file:
        file.write("EDITED = True\n")
    experiments = {"yolo", "yolo_classifier"}
    assert {stage.partition("@")[2] for stage in project.stale()} == experiments
    plan = project.plan()
    assert {stage.partition("@")[2] for stage in plan} == experiments
    assert plan["train@yolo_classifier"] == "cnnkeras/architectures/yolo.py changed"
    assert plan["train@yolo"].endswith("follows train@yolo_classifier")


def test_of_a_dataset_only_what_is_read_counts(project):
    """Another contact sheet of the same examples trains and measures nothing again; log, which names the data, runs."""
    with (project.folder / "pipeline" / "stages" / "augment" / "contact_sheet.py").open("a") as file:
        file.write("EDITED = True\n")
    began = project.repro()
    assert {stage.partition("@")[0] for stage in began} == {"augment", "log"}
    assert len(began) == 2 + 3


def test_a_dataset_that_is_made_again_is_the_one_reason(project):
    """`cnnkeras plan` does not count what stages read of it as missing beside that."""
    shutil.rmtree(project.folder / "data" / "augmented" / "crops")
    plan = project.plan()
    assert plan["augment@crops"] == "data/augmented/crops is missing"
    assert plan["evaluate@vgg"] == "follows augment@crops, train@vgg, postprocess@vgg"
    project.repro()
    assert project.stale() == set()


def test_initial_weights_are_a_dependency(project):
    """An experiment that starts from another one's weights is trained again when those have changed."""
    project.edit("params.yaml", YOLO_CLASSIFIER, YOLO_CLASSIFIER.replace("epochs: 1", "epochs: 2"))
    assert list(project.plan())[:2] == ["train@yolo_classifier", "train@yolo"]
    began = project.repro()
    assert {"train@yolo_classifier", "train@yolo"} <= set(began)
    assert not {stage for stage in began if stage.endswith("@vgg")}


def test_imported_weights_are_a_dependency(project):
    """An imported file, once imported, is evaluated: predict onward and nothing else; another file, and it all runs again."""
    published = project.folder / "data" / "published.weights"
    published.write_bytes(b"those of the authors")
    with (project.folder / "params.yaml").open("a") as file:
        file.write(AUTHORS + IMPORTS)
    assert project.plan()["import-weights@published"] == "never run"
    project.run("dvc", "repro", "train@authors")
    recorded = project.recorded("import-weights@published")
    assert "data/published.weights" in [dependency["path"] for dependency in recorded["deps"]]
    onward = [f"{stage}@authors" for stage in ("predict", "postprocess", "evaluate", "log")]
    assert project.repro() == onward
    assert project.repro() == []
    published.write_bytes(b"those of somebody else")
    assert project.plan()["import-weights@published"] == "data/published.weights changed"
    assert project.stale() == {"import-weights@published"}
    with (project.folder / "cnnkeras" / "weights" / "darknet.py").open("a") as file:
        file.write("EDITED = True\n")
    assert project.stale() == {"import-weights@published"}


def test_a_published_file_is_run_by_dvc(tmp_path):
    """The commands themselves, by DVC: what a file's authors would compute is what `predict` writes; again, and nothing runs."""
    project = lay_out(tmp_path, SCENES + AUTHORS + IMPORTS)
    net = write_published(project.folder)
    stages = ["download@scenes", "augment@detection", "import-weights@published", "train@authors", "predict@authors"]
    assert sorted(project.repro("predict@authors")) == sorted(stages)
    images = np.load(project.folder / "data/augmented/detection/test/inputs.npy")
    expected = [net.forward(image.transpose(2, 0, 1) / 255) for image in images]
    # A single cell: its classes, the confidences of its two boxes and their places, in darknet's order and in ours.
    received = np.load(project.folder / "results/authors/outputs/outputs.npy")[:, 0, 0]
    np.testing.assert_allclose(received, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    assert project.repro("predict@authors") == []


def test_an_experiment_is_one_entry(project):
    """A new entry under `experiments:` is all it takes; nothing else runs, and git sees only params, lock and metrics."""
    with (project.folder / "params.yaml").open("a") as file:
        file.write(VGG.replace("vgg:", "vgg_small:", 1))
    stages = [f"{stage}@vgg_small" for stage in ("train", "predict", "postprocess", "evaluate", "log")]
    assert project.plan() == dict.fromkeys(stages, "never run")
    assert project.repro() == stages
    changed = project.run("git", "status", "--porcelain", "--untracked-files=all").split("\n")
    assert sorted(line[3:] for line in changed if line) == [
        "dvc.lock",
        "params.yaml",
        "results/vgg_small/metrics.json",
    ]


def test_a_missing_output_is_made_again(project):
    """`cnnkeras plan` names an output that somebody deleted; `dvc repro` brings it back."""
    predictions = project.folder / "results" / "vgg" / "predictions"
    shutil.rmtree(predictions)
    assert project.plan()["postprocess@vgg"] == "results/vgg/predictions is missing"
    project.repro()
    assert predictions.is_dir()


def test_sigterm_leaves_no_orphan(project):
    """When DVC is told to end, its stage ends with it, cleans up, and the next repro goes through."""
    project.edit("params.yaml", "nms_iou: 0.5", "nms_iou: 0.4")
    dvc, stage = project.hold("postprocess@yolo")
    dvc.send_signal(signal.SIGTERM)
    dvc.communicate()
    until(lambda: not is_alive(stage), seconds=60)
    assert project.half_written() == []
    assert project.repro() == ["postprocess@yolo", "evaluate@yolo", "log@yolo"]


def test_chains_are_what_only_follows_one_another():
    """A chain ends where several stages follow, or where one follows several; longer ways are those to begin first."""
    graph = networkx.DiGraph(
        [
            ("raw", "a"),
            ("raw", "b"),
            ("a", "a2"),
            ("a2", "a3"),
            ("a", "a3"),
            ("a2", "both"),
            ("b", "both"),
            ("both", "end"),
        ]
    )
    graph.add_node("alone")
    found = chains(graph)
    assert {(chain.stages, chain.follows, chain.depth) for chain in found.values()} == {
        (("raw",), frozenset(), 5),
        (("a", "a2"), frozenset({"raw"}), 4),
        (("b",), frozenset({"raw"}), 3),
        (("a3",), frozenset({"a"}), 1),
        (("both", "end"), frozenset({"a", "b"}), 2),
        (("alone",), frozenset(), 1),
    }
    assert all(chain.stages[0] == first for first, chain in found.items())


def forget(project: Project) -> dict:
    """Have no stage run so far; returns what dvc.lock said."""
    lock = project.folder / "dvc.lock"
    recorded = YAML(typ="safe").load(lock)
    lock.unlink()
    for made in (
        ".dvc/cache",
        "data",
        "results/code",
        "results/datasets",
        "results/vgg",
        "results/yolo",
        "results/yolo_classifier",
    ):
        shutil.rmtree(project.folder / made)
    return recorded


def test_stages_side_by_side_give_the_results_of_one_after_another(project):
    """While a training goes on, all that does not need it runs to its end; dvc.lock is that of `dvc repro`, and each stage ran once."""
    recorded = forget(project)
    project.environment = {**project.environment, "HOLD": "train@vgg"}
    repro = subprocess.Popen(
        REPRO, cwd=project.folder, env=project.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    until(
        lambda: (project.folder / "results" / "yolo" / "mlflow.json").is_file() or repro.poll() is not None, seconds=120
    )
    assert (project.folder / "held").is_file()
    assert not (project.folder / "results" / "vgg" / "model").exists()
    (project.folder / "go").touch()
    printed, _ = repro.communicate()
    assert repro.returncode == 0, printed
    assert sorted(ran(printed)) == sorted(recorded["stages"].keys() - {"check"})
    assert YAML(typ="safe").load(project.folder / "dvc.lock") == recorded
    assert project.repro_beside() == []


def test_after_a_failure_what_runs_beside_it_ends_and_nothing_else_begins(project):
    """The exit code is not 0, what is over stays, and the next run goes on from there."""
    recorded = forget(project)
    began = Project(project.folder, {**project.environment, "FAIL": "train@vgg"}).repro_beside(code=255)
    assert "train@vgg" in began
    assert "predict@vgg" not in began
    assert project.half_written() == []
    again = project.repro_beside()
    assert set(began) & set(again) == {"train@vgg"}
    assert set(began) | set(again) == recorded["stages"].keys() - {"check"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ended_side_by_side_leaves_no_orphan(project, number):
    """Ended in the middle, `cnnkeras repro` leaves neither a DVC nor a stage behind, nor anything half-written."""
    forget(project)
    repro, stage = project.hold("train@vgg", REPRO)
    processes = [child.pid for child in psutil.Process(repro.pid).children(recursive=True)]
    assert stage in processes
    for process in [repro.pid] if number != signal.SIGINT else [repro.pid, *processes]:  # a terminal tells all of them
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
    repro.communicate()
    assert repro.returncode != 0
    until(lambda: not any(map(is_alive, processes)), seconds=60)
    assert project.half_written() == []
    if number != signal.SIGKILL:  # whose orphans, where nobody adopts them, stay as zombies, which DVC takes for alive
        (project.folder / "go").touch()
        project.repro()


def test_an_edit_between_the_end_of_a_stage_and_the_lock_is_noticed(project):
    """DVC looks at params.yaml only after the command: it records the edit with the result of before, and takes it for up to date."""
    project.edit("params.yaml", "nms_iou: 0.5", "nms_iou: 0.4")
    project.environment["EDIT_AFTER"] = "postprocess@yolo nms_iou: 0.4 -> nms_iou: 0.3"
    refused = project.run("dvc", "repro", "evaluate@yolo", code=255)
    del project.environment["EDIT_AFTER"]
    change = "experiments.yolo.postprocess.nms_iou: 0.4 -> 0.3"
    assert (
        f"results/yolo/predictions as postprocess@yolo makes it now; received: one from before a change: params.yaml {change}"
        in refused
    )
    assert "postprocess@yolo" not in project.stale()
    assert project.plan()["postprocess@yolo"] == f"made before params.yaml {change}, which DVC does not see"
    assert project.repro_beside() == ["postprocess@yolo", "evaluate@yolo", "log@yolo"]
    assert project.plan() == {}
    assert project.repro() == []


def test_a_forced_commit_is_noticed(project):
    """`dvc commit --force` records the current params with whatever results are there."""
    project.edit("params.yaml", "nms_iou: 0.5", "nms_iou: 0.4")
    project.run("dvc", "commit", "--force", "postprocess@yolo")
    assert "postprocess@yolo" not in project.stale()
    assert list(project.plan()) == ["postprocess@yolo", "evaluate@yolo", "log@yolo"]
    assert project.repro_beside() == ["postprocess@yolo", "evaluate@yolo", "log@yolo"]
    assert project.plan() == {}


def test_damage_that_dvc_does_not_see_is_repaired(project):
    """A file of equal size, time and inode is for DVC the same file. Its stage runs again; what follows is still right."""
    file, former = project.folder / "results/yolo/predictions/made", project.files()
    assert project.stale() == set()  # DVC has hashed it
    stat = file.stat()
    file.chmod(0o644)
    with file.open("r+b") as stream:
        stream.write(b"?")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert project.stale() == set()
    assert project.plan() == {
        "postprocess@yolo": "results/yolo/predictions/made has other content, which DVC does not see",
        "evaluate@yolo": "follows postprocess@yolo",
        "log@yolo": "follows evaluate@yolo, postprocess@yolo",
    }
    assert project.repro_beside() == ["postprocess@yolo"]
    assert project.files() == former
    assert project.plan() == {}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("params.yaml", "nms_iou: 0.4", "nms_iou: 0.3"),
        ("cnnkeras/boxes.py", "NMS_BLOCK = 1 << 15", "NMS_BLOCK = 1 << 16"),
    ],
)
def test_an_edit_during_a_stage_does_not_falsify_the_lock(project, file, old, new):
    """A result of the old state is not recorded under the new one: the stage fails, and is still stale afterwards."""
    project.edit("params.yaml", "nms_iou: 0.5", "nms_iou: 0.4")
    recorded = project.recorded("postprocess@yolo")
    dvc, _ = project.hold("postprocess@yolo")
    project.edit(file, old, new)
    (project.folder / "go").touch()
    _, message = dvc.communicate()
    assert dvc.returncode != 0
    assert f"{file}" in message
    assert "to stay as they were while the stage ran; received: " in message
    assert project.recorded("postprocess@yolo") == recorded
    assert "postprocess@yolo" in project.stale()
    assert project.half_written() == []
    assert not (project.folder / "results" / "yolo" / "predictions").exists()


def test_every_stage_has_its_place_in_gitignore(reproduced):
    """DVC writes no .gitignore of its own: the one at the top names what is in DVC's cache, whatever the experiment is called."""
    definitions = YAML(typ="safe").load(reproduced.folder / "dvc.yaml")["stages"]
    assert set(definitions) == {
        "check",
        "download",
        "augment",
        "import-weights",
        "train",
        "predict",
        "postprocess",
        "evaluate",
        "log",
        "combine",
        "postprocess_ensemble",
        "evaluate_ensemble",
        "log_ensemble",
        "lab",
    }
    tracked = reproduced.run("git", "ls-files").split()
    assert [name for name in tracked if name.endswith(".gitignore")] == [".dvc/.gitignore", ".gitignore"]
    results = [name for name in tracked if name.startswith(("results/", "data/"))]
    metrics = [f"results/{experiment}/metrics.json" for experiment in ("vgg", "yolo", "yolo_classifier")]
    assert sorted(results) == sorted([*metrics, "results/scratch/model/README.md"])


def test_metrics_and_plots_are_declared(project):
    """`dvc metrics` shows what a change did, figures of merit alone, and `dvc plots show` draws (tests/test_dvc_tables.py)."""
    project.edit("params.yaml", "nms_iou: 0.5", "nms_iou: 0.4")
    project.repro()
    assert "results/yolo/metrics.json" in project.run("dvc", "metrics", "diff")
    assert "results/lab/" not in project.run("dvc", "metrics", "show", "--json")
    assert "index.html" in project.run("dvc", "plots", "show", "results/vgg/plots")


MASKS = EXPERIMENT.format(
    name="masks",
    dataset="masks",
    architecture="deconvnet",
    initial_weights="{experiment: scratch}",
    postprocess="{resize: bilinear}",
).replace("name: adam", "name: sgd")
REST = """\
ensembles:
  both: {dataset: crops, members: [vgg, yolo_classifier], combine: mean, postprocess: {top_k: 5}, evaluate: {images: 1}}
lab:
  size: {claim: size, sides: [7, 14], models: &none {classifier: scratch, encoder: scratch, segmenter: scratch, detector: scratch}}
  geometry: {claim: geometry, models: *none, trials: 10, real: 10, stacks: 10, architectures: [vgg, deconvnet]}
"""


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """An experiment a task, an import, an ensemble and two claims, all reproduced. Whoever changes it puts it back."""
    signals = "  signals: {kind: mnist1d, validation_examples: 400}\n"
    masks = "  masks: {source: scenes, task: segmentation, size: [64, 64]}\n"
    data = SCENES.replace("datasets:\n", f"{signals}datasets:\n{masks}")
    params = data + VGG + YOLO_CLASSIFIER + YOLO + MASKS + AUTHORS + IMPORTS + REST
    project = lay_out(tmp_path_factory.mktemp("varied"), params, STAND_IN.format(python=sys.executable))
    (project.folder / "data").mkdir()
    (project.folder / "data" / "published.weights").write_bytes(b"those of the authors")
    project.repro()
    return project


def stages_of(*entries: str, of: Sequence[str]) -> set[str]:
    return {f"{stage}@{entry}" for entry in entries for stage in of}


CODE = "\nEDITED = True\n"
EXPERIMENTS = ("vgg", "yolo_classifier", "yolo", "masks", "authors")


@pytest.mark.parametrize(
    ("file", "added", "expected"),
    [
        ("cnnkeras/losses/detection.py", CODE, stages_of("yolo", "authors", of=["train"])),
        ("cnnkeras/objectives/detection.py", CODE, stages_of("yolo", "authors", of=["train"])),
        (
            "cnnkeras/architectures/yolo.py",
            CODE,
            stages_of("yolo", "yolo_classifier", "authors", of=["train"]) | {"import-weights@published"},
        ),
        (
            "cnnkeras/architectures/deconvnet.py",
            CODE,
            {"train@masks", "lab@geometry"},
        ),
        ("cnnkeras/weights/darknet.py", CODE, {"import-weights@published"}),
        (
            "cnnkeras/training/fit.py",
            '\ndef documented():\n    """A docstring."""\n',
            stages_of(*EXPERIMENTS, of=["train"]),
        ),
        ("pipeline/sources/mnist1d.py", CODE, {"download@signals"}),
        ("pipeline/lab/claims/size.py", CODE, {"lab@size"}),
        ("cnnkeras/metrics/segmentation.py", CODE, {"evaluate@masks"}),
    ],
)
def test_what_an_edit_of_code_makes_stale(varied, file, added, expected):
    """Exactly the stages of the entries that run it, by DVC itself and by `cnnkeras plan`, which needs no `check` before."""
    path = varied.folder / file
    before = path.read_bytes()
    try:
        with path.open("a") as edited:
            edited.write(added)
        own = {stage for stage, why in varied.plan().items() if not why.startswith("follows")}
        assert own == expected
        assert varied.stale() == expected
    finally:
        path.write_bytes(before)


def test_edits_that_concern_no_stage_make_nothing_stale(varied):
    """Of docstrings, comments, and code that no entry runs: DVC runs nothing but `check`, and `cnnkeras plan` says that there is nothing to do."""
    added = {
        "cnnkeras/losses/detection.py": "\n# a comment\n",
        "cnnkeras/weights/caffe.py": CODE,
        "cnnkeras/training/schedules.py": "\ndef another(): ...\n",
        "pipeline/sources/another.py": CODE,
        "pipeline/sources/coco/__init__.py": CODE,
        "pipeline/runtime/progress.py": CODE,
    }
    new = varied.folder / "pipeline/sources/another.py"
    fit = varied.folder / "cnnkeras/training/fit.py"
    before = {file: file.read_bytes() for file in (fit, *(varied.folder / name for name in added)) if file != new}
    try:
        for name, text in added.items():
            with (varied.folder / name).open("a", encoding="utf-8") as file:
                file.write(text)
        fit.write_bytes(before[fit].replace(b'"""', b'"""Edited. ', 1))
        assert varied.plan() == {}
        assert varied.repro() == []
    finally:
        new.unlink(missing_ok=True)
        for file, content in before.items():
            file.write_bytes(content)
        varied.run("dvc", "repro", "--quiet", "check")


def test_another_default_makes_stale_what_leaves_it_out(varied):
    """A default is no text of params.yaml, so that DVC cannot compare it; the experiment that gives its own value stays."""
    path = varied.folder / "pipeline" / "params" / "training.py"
    before = path.read_text(encoding="utf-8")
    assert before.count('profile: Profile = "deterministic"') == 1
    try:
        path.write_text(before.replace('Profile = "deterministic"', 'Profile = "fast"'), encoding="utf-8")
        plan = varied.plan()
        assert plan["train@vgg"] == "experiments.vgg.train.profile: deterministic -> fast"
        assert {stage for stage, why in plan.items() if "train.profile: deterministic -> fast" in why} == varied.stale()
        assert stages_of(*EXPERIMENTS, of=["train"]) <= varied.stale()
    finally:
        path.write_text(before, encoding="utf-8")
        varied.run("dvc", "repro", "--quiet", "check")


@pytest.mark.parametrize(
    "command",
    [("dvc", "repro"), ("dvc", "exp", "run"), REPRO, (*REPRO[:-1], "1")],
    ids=["repro", "exp run", "beside", "one job"],
)
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  yolo:\n", '  "x; touch owned":\n', "x; touch owned"),
        ("  yolo:\n", '  "../../victim":\n', "../../victim"),
        ("  yolo:\n", '  "../../../README.md":\n', "../../../README.md"),
        ("  vgg:\n", "  2024:\n", "quotes"),
        ("epochs: 1", "epocs: 1", "did you mean 'epochs'"),
    ],
)
def test_nothing_is_touched_before_params_are_good(project, command, old, new, said):
    """However it is started: no command runs, no output is deleted, and the message names the fault."""
    (project.folder.parent / "victim").mkdir()
    text = project.params.read_text(encoding="utf-8")
    project.params.write_text(text.replace(old, new, 1), encoding="utf-8")
    before = project.files()
    ended = subprocess.run(
        command, cwd=project.folder, env=project.environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode != 0
    assert said in ended.stdout + ended.stderr
    assert project.files() == before
    assert (project.folder.parent / "victim").is_dir()


def test_experiments_from_the_command_line(project):
    """`dvc exp run -S` changes a number, runs what depends on it, in a copy too, and `dvc exp show` lists it."""
    project.run("dvc", "exp", "run", "--temp", "--name", "tried", "-S", "experiments.yolo.postprocess.nms_iou=0.4")
    shown = json.loads(project.run("dvc", "exp", "show", "--json"))
    assert "tried" in json.dumps(shown)
    assert project.stale() == set()
