"""Plugins: files of a project that are found, listed, checked, digested and packed as ours are. Commands run in processes of their own."""

import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.commands.check_plugin import require
from pipeline.runtime import plugins
from pipeline.tracking import models
from tests.copied_project import REPOSITORY, environment

EXAMPLES = REPOSITORY / "docs" / "plugins"
SMALL = "train: {epochs: 0, batch_size: 8, optimizer: {name: adam, learning_rate: 0.001}, schedule: {name: constant}, initial_weights: {experiment: published, layers: ['*']}}"
PARAMS = f"""\
seed: 1
sources:
  digits: {{kind: digit_scenes, seed: 1, scenes: {{train: 16, val: 2, test: 2}}}}
  weights: {{kind: files, files: [{{name: mobile.h5, urls: ["file://ADDRESS"], sha256: CHECKSUM}}]}}
datasets:
  digits: {{source: digits, task: classification, size: [32, 32], examples: objects}}
imports:
  published: {{file: data/raw/weights/mobile.h5, format: mobilenet_h5, architecture: mobilenet, model: {{variant: "0.25"}}, size: [32, 32], classes: 10}}
experiments:
  mobile: &mobile
    dataset: digits
    architecture: mobilenet
    model: {{variant: "0.25"}}
    input: {{mean: 127.5, std: 127.5}}
    {SMALL}
    predict: {{batch_size: 8}}
    postprocess: {{top_k: 2}}
    evaluate: {{images: 2}}
"""
# A network of keras.applications as its authors save it, and what it says of an image.
AUTHORS = """
import sys, keras, numpy as np
keras.utils.set_random_seed(3)
model = keras.applications.MobileNet(input_shape=(32, 32, 3), alpha=0.25, weights=None, classes=10)
for layer in model.layers:
    if layer.name.endswith("_bn"):
        rng = np.random.default_rng(len(layer.name))
        layer.set_weights([rng.uniform(0.5, 2.0, value.shape) for value in layer.get_weights()])
model.save(sys.argv[1])
images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3))
np.save(sys.argv[2], model.predict(images / 127.5 - 1.0, verbose=0))
"""
OURS = """
import sys, numpy as np
from pathlib import Path
from pipeline.backend import model_files
logits = model_files.load(Path("results/mobile/model/model.keras")).predict(np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype("float32"), verbose=0)
powers = np.exp(logits - logits.max(axis=1, keepdims=True))
np.save(sys.argv[1], powers / powers.sum(axis=1, keepdims=True))
"""
OWN_LAYER = '''
@keras.saving.register_keras_serializable(package="own")
class Twice(keras.Layer):
    """Doubles."""

    def call(self, inputs):
        return 2 * inputs
'''
# Noise of two grey levels, from nowhere.
SOURCE = '''
"""Grey images, dark and light."""

from typing import Literal

import numpy as np

from pipeline import sources

TASKS = ("classification",)
HAS_OBJECTS = False


class Source(sources.SourceEntry):
    """Entry of a `greys` source."""

    kind: Literal["greys"]
    count: int

    @property
    def classes(self):
        return ("dark", "light")


def fetch(source, folder, *, mirrors):
    (folder / "count.txt").write_text(str(source.count))


def examples(source, folder, *, masks, split):
    def read(number):
        grey = 60 + 100 * (number % 2) + 10 * sources.SPLITS.index(split)
        return sources.Example(id=f"{number:03}", image=np.full((8, 8, 3), grey + number, "uint8"), label=number % 2)

    return sources.Examples(range(int((folder / "count.txt").read_text())), read)
'''


class Place:
    """A project of `cnnkeras new`, with plugins."""

    def __init__(self, folder: Path):
        self.folder, self.env = folder / "own", environment(folder)
        self.run("new", "own", cwd=folder)

    def run(self, *arguments: str, code: int = 0, cwd: Path | None = None) -> str:
        return self.start(sys.executable, "-m", "pipeline.cli", *arguments, code=code, cwd=cwd)

    def start(self, *command: object, code: int = 0, cwd: Path | None = None) -> str:
        env = self.env | {"PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(
            list(map(str, command)), cwd=cwd or self.folder, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)


@pytest.fixture
def place(tmp_path):
    """A new project, without plugins."""
    return Place(tmp_path)


def example(name: str = "architectures/mobilenet.py") -> str:
    return (EXAMPLES / name).read_text()


def ours() -> list[tuple[str, str]]:
    import importlib

    return [
        (kind, name) for kind, package in plugins.PACKAGES.items() for name in importlib.import_module(package).names()
    ]


@pytest.mark.parametrize(("kind", "name"), ours())
def test_ours_keep_the_contract_of_plugins(kind, name):
    """One contract: what a plugin is held to, ours are too."""
    import importlib

    require(kind, importlib.import_module(f"{plugins.PACKAGES[kind]}.{name}"))


def test_a_network_of_keras_applications_with_its_published_weights(place, tmp_path):
    """With real DVC: weights by name, address and checksum become the authors' network, bit by bit the same probabilities.

    Then an edit of the plugin makes stale what runs it and nothing else; a comment does not.
    """
    saved, expected, received = tmp_path / "mobile.h5", tmp_path / "expected.npy", tmp_path / "received.npy"
    place.start(sys.executable, "-c", AUTHORS, saved, expected)
    checksum = hashlib.sha256(saved.read_bytes()).hexdigest()
    place.write("params.yaml", PARAMS.replace("ADDRESS", str(saved)).replace("CHECKSUM", checksum))
    for name in ("architectures/mobilenet.py", "weights/mobilenet_h5.py"):
        place.write(f"plugins/{name}", example(name))
    place.start("dvc", "repro", "train@mobile")
    place.start(sys.executable, "-c", OURS, received)
    np.testing.assert_allclose(np.load(received), np.load(expected), rtol=0, atol=1e-5)
    assert np.ptp(np.load(expected)) > 1e-3  # no network that says the same of everything
    stale = set(re.findall(r"^(\S+@\S+)", place.run("plan"), re.MULTILINE))
    assert "train@mobile" not in stale
    for stage in ("train", "predict"):  # whoever loads a model may run a layer of its architecture's
        assert "  plugins/architectures/mobilenet.py" in (place.folder / f"results/code/{stage}@mobile").read_text()
    place.write("plugins/architectures/mobilenet.py", example() + "\n# A comment.\n")
    assert set(re.findall(r"^(\S+@\S+)", place.run("plan"), re.MULTILINE)) == stale
    place.write("plugins/architectures/mobilenet.py", example().replace("= 0.001", "= 0.002"))
    said = place.run("plan")
    assert re.search(r"import-weights@published .*plugins/architectures/mobilenet\.py changed", said)
    assert set(re.findall(r"^(\S+@\S+)", said, re.MULTILINE)) - stale == {"import-weights@published", "train@mobile"}
    ran = re.findall("Running stage '(.*)'", place.start("dvc", "repro", "import-weights@published"))
    assert ran == ["check", "import-weights@published"]


def test_a_source_of_ones_own_is_read_by_worker_processes(place):
    """Its kind, keys and classes are the plugin's; its code is among the digests."""
    place.write("plugins/sources/greys.py", SOURCE)
    place.write(
        "params.yaml",
        PARAMS.partition("sources:")[0]
        + "sources:\n  greys: {kind: greys, count: 6}\ndatasets:\n  greys: {source: greys, task: classification, size: [8, 8]}\nexperiments: {}\n",
    )
    assert "plugins/sources/greys.py: as pipeline.sources has them" in place.run("check-plugin")
    assert "6 train, 6 val, 6 test" in place.start("dvc", "repro", "augment@greys")
    assert "  plugins/sources/greys.py" in (place.folder / "results/code/augment@greys").read_text()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("architectures/vgg.py", '"""Mine."""\n', "plugins/architectures/vgg: expected a name that none of ours has"),
        ("architectures/own.py", "from . import vgg\n", "plugins/architectures/own.py:1: expected imports by full names"),
        ("architectures/own.py", "a = 1\nb = (\n", "plugins/architectures/own.py:2: expected Python; received: '(' was never"),
        ("architectures/own.py", '"""Mine."""\nimport nowhere\n', "own.py:2: expected a plugin that can be imported; received: ModuleNotFoundError: No module named 'nowhere'"),
        ("architectures/own.py", "A = 1\n", "own.py: expected a docstring that says what it is"),
        ("architectures/own.py", '"""Mine."""\n', "own.py: expected TASKS, VARIANTS, PARAMETERS"),
        ("architectures/own.py", example().replace("470_072", "470_073"), "PARAMETERS['0.25']: expected the number of trained parameters, 470,072"),
        ("architectures/own.py", example().replace("    *,\n    input_shape", "    input_shape"), "build: expected keyword-only arguments; received: input_shape"),
        ("sources/own.py", SOURCE.replace(", masks, split", ", split"), "expected examples(source, folder, *, masks, split); received: examples(source, folder, *, split)"),
        ("sources/own.py", SOURCE.replace("sources.SourceEntry", "object"), "expected Source, a class below pipeline.sources.SourceEntry"),
        ("weights/own.py", '"""Mine."""\n', "weights/own.py: expected statistics; received: none of statistics"),
        ("claims/own.py", '"""Mine."""\nSettings = 1\n', "claims/own.py: expected Settings, a class below pipeline.lab.claims.ClaimEntry"),
        ("losses/own.py", '"""Mine."""\n', "plugins/losses: expected a folder of architectures, claims, sources, weights; received: losses"),
    ],
)  # fmt: skip
def test_what_is_no_plugin_is_one_line(place, name, text, message):
    """The file, what was expected and received."""
    place.write(f"plugins/{name}", text)
    said = place.run("check-plugin", code=2)
    assert message in said
    assert "Traceback" not in said


def test_a_name_of_params_is_no_path(place):
    """What lies elsewhere is not run, whatever params.yaml says; the names that there are are listed, plugins among them."""
    place.write("evil.py", "raise SystemExit('ran')\n")
    place.write("plugins/architectures/mobilenet.py", example())
    for name in ("../../evil", "evil", "..evil", "/etc/passwd", "mobilenet.py"):
        text = (place.folder / "params.yaml").read_text()
        place.write("params.yaml", re.sub("architecture: .*", f"architecture: {name!r}", text))
        said = place.run("check", code=2)
        assert "unknown architecture" in said
        assert "mobilenet" in said
        assert "ran" not in said.split()


def test_a_layer_of_ones_own_goes_along_into_mlflow(place, tmp_path, monkeypatch):
    """The code that is saved beside a model has the plugin, so that the model loads where the project is not."""
    text = example().replace("TASKS =", f"{OWN_LAYER}\n\nTASKS =", 1)
    text = text.replace('keras = lazy_loader.load("keras")', "import keras")
    text = text.replace("(image),\n", "(Twice()(image)),\n")
    place.write("plugins/architectures/mobilenet.py", text)
    assert "as cnnkeras.architectures has them" in place.run("check-plugin")
    place.start(
        sys.executable,
        "-c",
        "from pathlib import Path; from pipeline.backend import model_files; from cnnkeras import architectures as a; m = a.load('mobilenet');"
        "model_files.save(m.build(**m.TINY), Path('model.keras'))",
    )
    monkeypatch.chdir(place.folder)
    models._zip_library(tmp_path / "code.zip")
    with zipfile.ZipFile(tmp_path / "code.zip") as archive:
        assert archive.read("cnnkeras/architectures/mobilenet.py").decode() == text
    loads = f"""
import sys
sys.path.insert(0, {str(tmp_path / "code.zip")!r})
import keras
from cnnkeras import keras_file, layers
keras_file.check(open({str(place.folder / "model.keras")!r}, "rb"))
layers.register()
print([layer.name for layer in keras.saving.load_model({str(place.folder / "model.keras")!r}, safe_mode=True).layers][:2])
"""
    env = {name: value for name, value in place.env.items() if name != "PYTHONPATH"}
    loaded = subprocess.run(
        [sys.executable, "-c", loads], cwd=tmp_path, check=False, env=env, capture_output=True, text=True
    )
    assert loaded.stdout == "['image', 'twice']\n", loaded.stderr
