"""pipeline/runtime/code.py: which files a stage of an entry runs, by their text, and by what is really imported."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

import pytest

from pipeline.runtime import code, definition
from pipeline.runtime.code import Code
from pipeline.runtime.source_text import read_source
from tests.conftest import Project
from tests.copied_project import IMPORTS, write_published

REPOSITORY = Path(__file__).parents[1]
VALUES = definition.read_yaml(REPOSITORY / "params.yaml")

PLAIN = """\
import os
RATE = "1 # 2"
def train(seed):
    return seed
"""


@pytest.mark.parametrize(
    ("text", "is_equal"),
    [
        ('"""What it is."""\n' + PLAIN, True),
        ("# why\n\n\n" + PLAIN.replace("os\n", "os  # for paths\n"), True),
        (PLAIN.replace("(seed):\n", '(seed):\n    """Größe, in\n\n    several lines."""\n'), True),
        (PLAIN.replace("return seed", "return seed + 1"), False),
        (PLAIN.replace("1 # 2", "1 # 3"), False),
        (PLAIN.replace("    return", '    x = """no docstring"""\n    return'), False),
        (PLAIN.replace("def train", "@staticmethod\ndef train"), False),
    ],
)
def test_a_digest_is_of_code_alone(text, is_equal):
    """Comments, docstrings and blank lines do not count; all else does, and what looks like a comment in a string."""
    before, after = read_source(PLAIN), read_source(text)
    assert ((before.rest, before.functions) == (after.rest, after.functions)) is is_equal


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes files of packages, and says what a stage of them loads."""
    monkeypatch.setattr(code, "SOURCES", tmp_path)
    monkeypatch.setattr(code.paths, "root", lambda: tmp_path)

    def loaded(files: dict[str, str], *words: str) -> dict[str, str]:
        for name, text in files.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text))
            for folder in (file.parent, tmp_path / file.relative_to(tmp_path).parts[0]):
                (folder / "__init__.py").touch()
        now = Code()
        modules = now.closure("pipeline.stages.train", "train", set(words))
        return {module: now._digest(module, taken, set(words)) for module, taken in modules.items()}

    return loaded


def test_imports_are_followed_into_functions_but_not_those_for_types(packages):
    """And a package's own file counts where one of its modules does."""
    found = packages(
        {
            "pipeline/stages/train.py": """
                from typing import TYPE_CHECKING
                from pipeline.formats import packed
                if TYPE_CHECKING:
                    from pipeline.formats import other
                def run():
                    import cnnkeras.layers.unpooling
                    from cnnkeras.boxes import iou
            """,
            "pipeline/formats/packed.py": "import numpy",
            "pipeline/formats/other.py": "",
            "cnnkeras/layers/unpooling.py": "",
            "cnnkeras/boxes.py": "def iou(): ...",
        }
    )
    assert found.keys() == {
        "pipeline.stages",
        "pipeline.stages.train",
        "pipeline.formats",
        "pipeline.formats.packed",
        "cnnkeras.layers",
        "cnnkeras.layers.unpooling",
        "cnnkeras.boxes",
    }


BY_NAME = {
    "pipeline/stages/train.py": "from cnnkeras import nets\ndef run(name): nets.load(name)",
    "cnnkeras/nets/__init__.py": "_files = Files(__name__, 'a net')\nload = _files.load",
    "cnnkeras/nets/small.py": "",
    "cnnkeras/nets/large.py": "from cnnkeras import blocks",
    "cnnkeras/blocks.py": "",
}


def test_files_found_by_name_are_those_that_the_entry_names(packages):
    """All where it names none; none where the package is imported for something else."""
    files = {name: text for name, text in BY_NAME.items() if not name.endswith("__init__.py")}
    packages(files)
    found = packages({"cnnkeras/nets/__init__.py": BY_NAME["cnnkeras/nets/__init__.py"]}, "small")
    assert "cnnkeras.nets.small" in found
    assert "cnnkeras.nets.large" not in found
    assert packages({}, "other").keys() >= {"cnnkeras.nets.small", "cnnkeras.nets.large", "cnnkeras.blocks"}
    found = packages({"pipeline/stages/train.py": "from cnnkeras import nets\nnets.scaled(1)"})
    assert found.keys() == {"pipeline.stages", "pipeline.stages.train", "cnnkeras.nets"}


def test_functions_found_by_name_count_where_the_entry_names_them(packages):
    """Another optimizer, or an edit of one, concerns those alone that use it; what the file's functions share concerns all."""
    optimizers = "RATE = 1\ndef sgd(): return RATE\ndef adam(): return 2 * RATE\n"
    files = {
        "pipeline/stages/train.py": "from cnnkeras import optimizers\ndef run(entry): entry.call(optimizers)",
        "cnnkeras/optimizers.py": optimizers,
    }
    before = {name: packages(files, name)["cnnkeras.optimizers"] for name in ("sgd", "adam")}
    for text, changed in (
        (optimizers.replace("2 * RATE", "3 * RATE"), {"adam"}),
        (optimizers + "def adamw(): ...\n", set()),
        (optimizers.replace("RATE = 1", "RATE = 5"), {"sgd", "adam"}),
    ):
        after = {name: packages({"cnnkeras/optimizers.py": text}, name)["cnnkeras.optimizers"] for name in before}
        assert {name for name in before if before[name] != after[name]} == changed


def test_of_names_that_a_package_loads_late_those_that_are_used_count(packages):
    """Any of them where a function of the package is called, which may touch them all."""
    lazy = "__getattr__, __dir__, __all__ = attach(__name__, submod_attrs={'relu': ['Relu'], 'pool': ['Pool']})"
    files = {"cnnkeras/layers/relu.py": "", "cnnkeras/layers/pool.py": "", "cnnkeras/layers/__init__.py": lazy}
    for text, used in (
        ("from cnnkeras.layers import Relu", {"relu"}),
        ("from cnnkeras import layers\nlayers.Pool()", {"pool"}),
        ("from cnnkeras import layers\nlayers.register()", {"relu", "pool"}),
    ):
        found = packages({**files, "pipeline/stages/train.py": text})
        assert {module.rpartition(".")[2] for module in found if module.startswith("cnnkeras.layers.")} == used


def test_what_was_read_before_is_known_by_its_content(packages, tmp_path):
    """A kept answer is used for equal text alone."""
    packages(BY_NAME)
    now = Code()
    now.closure("pipeline.stages.train", "train", set())
    now.save()
    again = Code()
    assert again._known == now._known
    (tmp_path / "cnnkeras" / "blocks.py").write_text("EDITED = True")
    found = again.closure("pipeline.stages.train", "train", set())
    assert again._digest("cnnkeras.blocks", found["cnnkeras.blocks"], set())


def test_an_entry_of_the_lab_depends_on_the_architectures_that_it_lists():
    """`geometry` names five; `size` none, and reads no source and no model."""
    folder = "cnnkeras/architectures/"
    listed = {f"{folder}{name}.py" for name in VALUES["lab"]["geometry"]["architectures"]}
    assert {file for file in Code().dependencies("lab", "geometry", VALUES) if file.startswith(folder)} == {
        *listed,
        f"{folder}__init__.py",
    }
    assert not [
        file for file in Code().dependencies("lab", "size", VALUES) if file.startswith((folder, "pipeline/sources"))
    ]


# Runs commands and notes which module imports which, by name too.
WATCH = """
import builtins, importlib, json, sys
edges = set()
import_statement, import_by_name = builtins.__import__, importlib.import_module

def note(who, what):
    if what in sys.modules and what.split(".")[0] in ("cnnkeras", "pipeline"):
        edges.add((who, what))

def watched_statement(name, globals=None, locals=None, fromlist=(), level=0):
    module = import_statement(name, globals, locals, fromlist, level)
    for imported in (name, *(f"{name}.{part}" for part in fromlist or ())):
        note((globals or {}).get("__name__", "__main__"), imported)
    return module

def watched_by_name(name, package=None):
    module = import_by_name(name, package)
    frame = sys._getframe(1)
    while frame.f_globals["__name__"].startswith(("importlib", "lazy_loader", "cnnkeras.by_name")):
        frame = frame.f_back
    note(frame.f_globals["__name__"], name)
    return module

builtins.__import__, importlib.import_module = watched_statement, watched_by_name
from pipeline.cli import main
from pipeline.tracking import live
live._start = lambda order: None  # the process that shows curves, of which nothing is seen here
for command in json.loads(sys.argv[1]):
    if code := main(command, prog_name="cnnkeras", standalone_mode=False):
        sys.exit(code)
with open(sys.argv[2], "w") as file:
    json.dump(sorted(edges), file)
"""
MORE = """\
  again:
    <<: *experiment
    train:
      epochs: 2
      seed: 2
      batch_size: 1
      optimizer: {name: adam, learning_rate: 0.1}
      schedule: {name: step, every_epochs: 1, factor: 0.5}
      initial_weights: {experiment: scratch}
      augmentation: [{HorizontalFlip: {p: 1.0}}]
    predict: {views: [{name: crop_grid, scales: [32], places: 2}, {name: dense, scales: [32]}]}
  parts:
    <<: *experiment
    dataset: masks
    architecture: deconvnet
    predict: {regions: {name: sliding_windows, side: 64, stride: 64}}
    postprocess: {resize: bilinear, greedy: {}}
  authors:
    <<: *experiment
    dataset: boxes
    architecture: yolo
    model: {variant: rerelease_fast, width: 0.03125}
    input: {mean: 0.0, std: 255.0}
    train:
      epochs: 0
      batch_size: 1
      optimizer: {name: sgd, learning_rate: 0.1}
      schedule: {name: constant}
      initial_weights: {experiment: published, layers: ["*"]}
    postprocess: {confidence_threshold: 0.25, nms_iou: 0.5, display_threshold: 0.3}
ensembles:
  both: {dataset: crops, members: [crops, again], combine: mean, postprocess: {top_k: 2}, evaluate: {images: 4}}
lab:
  toeplitz: {claim: toeplitz, models: &none {classifier: scratch, encoder: scratch, segmenter: scratch, detector: scratch}}
  geometry: {claim: geometry, models: *none, trials: 10, real: 2, stacks: 2, architectures: [mnist1d_conv]}
"""
OF_DATA = ("download", "augment")
OF_MODELS = ("train", "predict", "postprocess", "evaluate")


@pytest.fixture(scope="module")
def whole_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One experiment a task and one with signals, an import, an ensemble, two claims. Its tests run in order."""
    folder = tmp_path_factory.mktemp("whole")
    project = Project(folder)
    project.edit("scenes: {train: 4", "digits_per_scene: [0, 0, 0, 1], scenes: {train: 6")  # all digits to train on
    with project.params.open("a", encoding="utf-8") as file:
        file.write(MORE + IMPORTS)
    write_published(folder)
    return project


@pytest.mark.parametrize(
    "runs",
    [
        [("download", "signals"), ("augment", "signals"), *((stage, "signals") for stage in OF_MODELS)],
        [("download", "scenes"), ("augment", "crops"), *((stage, "crops") for stage in (*OF_MODELS, "log"))],
        [("augment", "boxes"), *((stage, "boxes") for stage in OF_MODELS)],
        [("augment", "masks"), *((stage, "masks") for stage in OF_MODELS)],
        [(stage, "parts") for stage in OF_MODELS],
        [("import-weights", "published"), *((stage, "authors") for stage in OF_MODELS)],
        [
            ("train", "again"),
            ("predict", "again"),
            ("combine", "both"),
            ("postprocess_ensemble", "both"),
            ("evaluate_ensemble", "both"),
            ("log_ensemble", "both"),
        ],
        [("lab", "toeplitz")],
        [("lab", "geometry")],
    ],
    ids=[
        "signals",
        "classification",
        "detection",
        "segmentation",
        "regions",
        "import",
        "ensemble",
        "toeplitz",
        "geometry",
    ],
)
def test_what_a_stage_imports_is_what_it_depends_on(whole_project, runs):
    """The closure by the files' text misses nothing of what running a stage really loads: that would be a false "up to date"."""
    commands = [
        [definition.command(stage), entry, *(["--workers", "1"] if stage in ("augment", "train") else [])]
        for stage, entry in runs
    ]
    ended = subprocess.run(
        [sys.executable, "-c", WATCH, json.dumps(commands), "edges.json"],
        cwd=whole_project.folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    edges = json.loads((whole_project.folder / "edges.json").read_text())
    values = definition.read_yaml(whole_project.params)
    for stage, entry in runs:
        command = definition.command(stage)
        imported = reached(edges, f"pipeline.stages.{command.replace('-', '_')}", command)
        assert len(imported) > 1
        followed = Code().modules(stage, entry, values).keys()
        assert imported <= followed, imported - followed


def reached(edges: Iterable[tuple[str, str]], root: str, command: str) -> set[str]:
    """Modules that were imported by a module and by what it imported, neutral ones aside."""
    now, waiting, seen = Code(), [root], set[str]()
    while waiting:
        module = waiting.pop()
        if module not in seen and module not in code.PACKAGES and not now.is_neutral(module, command):
            seen.add(module)
            waiting += [imported for importer, imported in edges if importer == module]
    return seen
