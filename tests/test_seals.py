"""pipeline/runtime/seals.py: a result is read only as what made it. Whatever DVC believes: damage and changes are noticed by the next reader."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.runtime import definition, paths, seals
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import fingerprint, stage
from pipeline.runtime.seals import Seals

REPOSITORY = Path(__file__).parents[1]
PARAMS = """\
seed: 1
sources:
  scenes: {kind: voc}
datasets:
  digits: {source: scenes, size: [8, 8]}
experiments:
  vgg: {dataset: digits, architecture: vgg, model: {}, train: {initial_weights: {experiment: scratch}, epochs: 3}}
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose source was downloaded, and its dataset packed, in stages of their own."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    shutil.copy(REPOSITORY / "dvc.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    with stage("download", "scenes", inputs=[], outputs=[paths.raw("scenes")]) as (folder,):
        (folder / "archive").write_text("images")
    pack()
    return tmp_path


def pack() -> None:
    """Make the dataset: a split with two files, and a report."""
    outputs = [paths.augmented("digits"), paths.dataset_report("digits")]
    with stage("augment", "digits", inputs=[paths.raw("scenes")], outputs=outputs) as (folder, report):
        for name in ("train/inputs.npy", "val/inputs.npy", "index.json"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(f"the content of {name}")
        (report / "README.md").write_text("two images")


def train():
    """A stage that reads the dataset."""
    inputs = [paths.augmented("digits"), paths.raw("scenes")]
    return stage("train", "vgg", inputs=inputs, outputs=[paths.model_folder("vgg"), paths.history("vgg")])


def run_train() -> None:
    """Train, so far as the guard is concerned."""
    with train() as (model, history):
        (model / "model.keras").write_text("weights")
        history.write_text("epoch\n")


def flip(file: Path) -> None:
    """Another content of equal size and time: what neither DVC nor make sees."""
    before = file.stat()
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_a_seal_says_what_was_written_and_of_what(project):
    """By the names in the project, with values and code; equal results have equal seals."""
    seal = json.loads((project / "results/seals/augment@digits.json").read_text())
    assert list(seal) == ["outputs", "inputs", "values", "code"]
    assert list(seal["outputs"]) == [
        "data/augmented/digits/index.json",
        "data/augmented/digits/train/inputs.npy",
        "data/augmented/digits/val/inputs.npy",
        "results/datasets/digits/README.md",
    ]
    # printf 'two images' | sha256sum
    assert seal["outputs"]["results/datasets/digits/README.md"] == [
        10,
        "4c68a2d60da7646b299c5aa3814288b87bcb34fe8c2dbb1b0322b972eaa27a28",
    ]
    assert list(seal["inputs"]) == ["data/raw/scenes"]
    assert seal["values"] == {
        "seed": 1,
        "sources.scenes.kind": "voc",
        "datasets.digits.source": "scenes",
        "datasets.digits.size": [8, 8],
    }
    assert {"pipeline/sources/voc/__init__.py", "pipeline/stages/augment/packer.py"} < seal["code"].keys()
    before = (project / "results/seals/augment@digits.json").read_bytes()
    pack()
    assert (project / "results/seals/augment@digits.json").read_bytes() == before


DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    ("truncated", lambda file: os.truncate(file, 3), "has 3 bytes instead of 31"),
    ("edited", lambda file: file.write_text("the content of another inputs"[:31].ljust(31)), "has other content"),
    ("flipped", flip, "has other content"),
    ("gone", Path.unlink, "is missing"),
]


@pytest.mark.parametrize(("damage", "said"), [pytest.param(*row[1:], id=row[0]) for row in DAMAGE])
def test_a_damaged_input_is_refused(project, damage, said):
    """With the file, what is wrong, and the commands that make it again; the former result stays."""
    run_train()
    damage(project / "data/augmented/digits/train/inputs.npy")
    with pytest.raises(InputError) as error, train():
        pytest.fail("a stage went on with it")
    assert str(error.value) == (
        "train@vgg: expected data/augmented/digits as augment@digits wrote it; "
        f"received: data/augmented/digits/train/inputs.npy {said}. Run `cnnkeras augment digits` or `dvc repro augment@digits`"
    )
    assert paths.history("vgg").read_text() == "epoch\n"
    pack()
    run_train()


def test_a_strange_file_is_refused_and_a_hidden_one_is_not(project):
    """What systems leave behind in a folder is no result; a file that no stage wrote would be read as one."""
    (project / "data/augmented/digits/.DS_Store").write_text("")
    run_train()
    (project / "data/augmented/digits/train/extra.npy").write_text("")
    with pytest.raises(InputError, match=r"train/extra\.npy is no file of that stage"), train():
        pytest.fail("a stage went on with it")


def test_an_input_without_a_seal_is_read_as_it_is(project):
    """Nothing is known of it: it may be of an earlier version."""
    paths.seal("augment@digits").unlink()
    os.truncate(project / "data/augmented/digits/train/inputs.npy", 3)
    run_train()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"outputs": {"a": 1}}', '{"outputs": {}}'])
def test_a_damaged_seal_is_one_line(content):
    """With the command that writes it again."""
    paths.seal("augment@digits").write_text(content)
    with (
        pytest.raises(InputError, match=r"augment@digits\.json: .* damaged file\. Run `cnnkeras augment digits`"),
        train(),
    ):
        pytest.fail("a stage went on with it")
    pack()
    run_train()


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        ("[8, 8]", "[9, 9]", r"params\.yaml datasets\.digits\.size: \[8, 8\] -> \[9, 9\]"),
        ("seed: 1", "seed: 2", r"params\.yaml seed: 1 -> 2"),
        ("{kind: voc}", "{kind: voc, classes: [cat]}", r"params\.yaml sources\.scenes\.classes: nothing -> \['cat'\]"),
    ],
)
def test_what_was_made_of_other_values_is_refused(project, old, new, change):
    """Although nothing is damaged: a run by hand after an edit would mix two states. With the values back, it is right again."""
    (project / "params.yaml").write_text(PARAMS.replace(old, new))
    with pytest.raises(InputError, match=rf"data/augmented/digits as augment@digits makes it now; .*{change}"), train():
        pytest.fail("a stage went on with it")
    (project / "params.yaml").write_text(PARAMS)
    run_train()


def test_so_is_what_was_made_of_that(project):
    """The model is of the dataset, so it is refused when the dataset has changed, however far away the reader is."""
    run_train()
    (project / "params.yaml").write_text(PARAMS.replace("[8, 8]", "[9, 9]"))
    problem = next(Seals().problems(paths.model_file("vgg")))
    assert (problem.name, problem.label, problem.is_damage) == (
        "data/augmented/digits/index.json",
        "augment@digits",
        False,
    )
    pack()
    problem = next(Seals().problems(paths.model_file("vgg")), None)
    assert problem is None  # the same bytes again: the model is what a training would make


def test_other_bytes_of_an_input_are_noticed_without_the_input():
    """Raw data may be deleted once it is packed; where it is there, it counts."""
    run_train()
    shutil.rmtree(paths.raw("scenes"))
    assert list(Seals().problems(paths.model_file("vgg"))) == []
    with stage("download", "scenes", inputs=[], outputs=[paths.raw("scenes")]) as (folder,):
        (folder / "archive").write_text("other images")
    assert [problem.text for problem in Seals().problems(paths.model_file("vgg"))] == ["data/raw/scenes changed"]
    shutil.rmtree(paths.raw("scenes"))  # its seal remains
    assert [problem.text for problem in Seals().problems(paths.model_file("vgg"))] == ["data/raw/scenes changed"]


def test_defaults_count():
    """A value that params.yaml leaves to a default is in the seal; another default makes the result one of before."""
    with_default = {"experiments": {"vgg": {"train": {"precision": "float32"}}}, "datasets": {"digits": {"copies": 0}}}
    sha256 = seals.Digests().listing(paths.params_file())["params.yaml"].sha256
    params = SimpleNamespace(text_sha256=sha256, model_dump=lambda **_: with_default)
    outputs = [paths.augmented("digits")]
    with stage("augment", "digits", inputs=[], outputs=outputs, params=params) as (folder,):
        (folder / "index.json").write_text("{}")
    values = json.loads(paths.seal("augment@digits").read_text())["values"]
    assert values["datasets.digits.copies"] == 0
    assert "experiments.vgg.train.precision" not in values
    assert list(Seals(params).problems(paths.augmented("digits"))) == []
    with_default["datasets"]["digits"]["copies"] = 1
    (problem,) = Seals(params).problems(paths.augmented("digits"))
    assert problem.text == "params.yaml datasets.digits.copies: 0 -> 1"


def test_params_that_changed_before_the_stage_looked_are_refused():
    """Between reading params.yaml and the stage's first look at it."""
    params = SimpleNamespace(text_sha256="0" * 64, model_dump=lambda **_: {})
    outputs = [paths.augmented("digits")]
    with (
        pytest.raises(InputError, match=r"received: params\.yaml changed"),
        stage("augment", "digits", inputs=[], outputs=outputs, params=params),
    ):
        pytest.fail("the stage ran")


def test_a_touch_refuses_nothing(project):
    """Another time, or the same bytes in a new file, is no change."""
    with train() as (model, history):
        for file in (paths.params_file(), project / "data/augmented/digits/train/inputs.npy"):
            os.utime(file)
            shutil.copy(file, project / "copy")
            (project / "copy").replace(file)
        (model / "model.keras").write_text("weights")
        history.write_text("epoch\n")
    assert list(Seals().problems(paths.model_file("vgg"))) == []


def test_an_input_replaced_while_the_stage_runs_drops_the_result(project):
    """Even by one of equal size and time."""
    with (  # noqa: PT012
        pytest.raises(InputError, match=r"data/augmented/digits/train changed\. The result was dropped"),
        train() as outputs,
    ):
        (outputs[0] / "model.keras").write_text("weights")
        outputs[1].write_text("epoch\n")
        flip(project / "data/augmented/digits/train/inputs.npy")
    assert not paths.model_file("vgg").exists()
    assert not paths.seal("train@vgg").exists()


def test_equal_states_have_equal_fingerprints(project):
    """A journal or a checkpoint goes on only in the state that it was written in."""
    first = fingerprint("augment", "digits", [])
    os.utime(paths.params_file())
    assert fingerprint("augment", "digits", []) == first
    (project / "params.yaml").write_text(PARAMS.replace("seed: 1", "seed: 2"))
    assert fingerprint("augment", "digits", []) != first
    (project / "params.yaml").write_text(PARAMS)
    flip(paths.raw("scenes") / "archive")
    assert fingerprint("augment", "digits", []) != first


CODE = """
import importlib, sys
from pathlib import Path
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import stage

module, file = "cnnkeras.boxes", Path("cnnkeras/boxes.py")
assert module not in sys.modules
text = file.read_text()
{before}
try:
    with stage("augment", "digits", inputs=[], outputs=[paths.augmented("digits")]):
        {during}
except InputError as error:
    print(error)
"""


def run_with_own_code(project: Path, during: str, before: str = "") -> str:
    """Run a stage in a project that has the code in it, with what happens before and meanwhile. Returns what the stage says."""
    for package in ("cnnkeras", "pipeline"):
        shutil.copytree(REPOSITORY / package, project / package, ignore=shutil.ignore_patterns("__pycache__"))
    program = CODE.format(
        before=textwrap.dedent(before), during=textwrap.indent(textwrap.dedent(during), " " * 8).strip()
    )
    environment = {**os.environ, "PYTHONPATH": str(project)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("during", "is_dropped"),
    [
        ("""importlib.import_module(module)""", False),
        (
            """
            file.write_text(text + "# a comment\\n")
            importlib.import_module(module)
            file.write_text(text)
            """,
            False,
        ),
        (
            """
            file.write_text(text + "EDITED = True\\n")
            importlib.import_module(module)
            file.write_text(text)
            """,
            True,
        ),
        (
            """
            importlib.import_module(module)
            file.write_text(text + "EDITED = True\\n")
            """,
            True,
        ),
        (
            """
            importlib.import_module(module)
            file.write_text(text + "EDITED = True\\n")
            file.write_text(text)
            """,
            False,
        ),
    ],
    ids=["imported", "a comment while imported", "undone after it was imported", "edited later", "undone later"],
)
def test_the_code_that_was_loaded_counts(project, during, is_dropped):
    """A file that is edited and restored looks as it did before; but Python may have loaded the edit."""
    said = run_with_own_code(project, during)
    assert ("cnnkeras/boxes.py changed. The result was dropped" in said) if is_dropped else said == ""


def test_code_that_was_edited_after_it_was_loaded_is_refused_at_once(project):
    """Before the stage does anything: the result would be of code that is not there any more."""
    before = """
    importlib.import_module(module)
    file.write_text(text + "EDITED = True\\n")
    """
    assert run_with_own_code(project, 'print("ran")', before).startswith(
        "augment@digits: expected params.yaml, code and inputs to stay as they were while the stage ran; "
        "received: cnnkeras/boxes.py changed."
    )


def test_compiled_code_is_that_of_the_text(project):
    """Python takes a compiled file of equal length and time for that of the text; after two edits in a second it would run the first."""
    (project / "cnnkeras").mkdir()
    (project / "cnnkeras/__init__.py").write_text("")
    (project / "cnnkeras/number.py").write_text("NUMBER = 1\n")
    program = "import pipeline\nfrom cnnkeras.number import NUMBER\nprint(NUMBER)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = os.pathsep.join([str(project), str(REPOSITORY)])

    def number() -> str:
        command = [sys.executable, "-c", program]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    assert number() == number() == "1\n"
    assert list((project / "cnnkeras/__pycache__").glob("number.*.pyc"))
    before = (project / "cnnkeras/number.py").stat()
    (project / "cnnkeras/number.py").write_text("NUMBER = 2\n")
    os.utime(project / "cnnkeras/number.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert number() == number() == "2\n"


def test_what_a_stage_reads_is_what_dvc_says(project):
    """Expressions of dvc.yaml with positions in lists, too: members of an ensemble."""
    values = {"ensembles": {"both": {"dataset": "digits", "members": ["one", "two"]}}}
    read = [path.relative_to(project).as_posix() for path in definition.deps_of("combine", "both", values)]
    assert read == ["data/augmented/digits/index.json", "results/one/outputs", "results/two/outputs"]
    assert definition.lookup(values, "ensembles.both.members[1]") == "two"
    for nothing in ("ensembles.both.members[2]", "ensembles.both.members.first", "ensembles.both.dataset.d", "seed"):
        assert definition.lookup(values, nothing) is None


def test_every_stage_but_check_has_a_seal():
    """dvc.yaml lists it among the outputs, so that it comes and goes with the result: from DVC's cache, from a remote."""
    values = {section: {"name": {}} for section in set(definition.stages().values())}
    for name, entry in definition.labels(values):
        label = definition.label(name, entry)
        assert paths.seal(label) in definition.outputs_of(name, entry, values)
