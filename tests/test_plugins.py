"""Plugins: files of a project that are found, listed, checked, digested and packed as ours are. Commands run in processes of their own."""

import hashlib
import importlib.util
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.commands.check_plugin import require
from pipeline.images import transform_table, transforms
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


TWO_LOSSES = """\
seed: 1
sources:
  digits: {kind: digit_scenes, seed: 1, scenes: {train: 16, val: 4, test: 4}}
datasets:
  digits: {source: digits, task: classification, size: [32, 32], examples: objects}
experiments:
  own: &own
    dataset: digits
    architecture: vgg
    model: {width: 0.03125}
    input: {mean: 128.0, std: 64.0}
    train: &train
      epochs: 1
      batch_size: 8
      optimizer: {name: sgd, learning_rate: 1.0e-6}
      schedule: {name: constant}
      loss: {name: focal, gamma: 3.0}
      initial_weights: {experiment: scratch}
    predict: {batch_size: 8}
    postprocess: {top_k: 2}
    evaluate: {images: 2}
  usual:
    <<: *own
    train: {<<: *train, loss: {}}
"""


@pytest.fixture
def place(tmp_path):
    """A new project, without plugins."""
    return Place(tmp_path)


def example(name: str = "architectures/mobilenet.py") -> str:
    return (EXAMPLES / name).read_text()


LOSS = example("losses/focal.py")


def loaded(file: Path, text: str | None = None):
    """A module from a file, with another text."""
    if text is not None:
        file.write_text(text)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


VIGNETTE = example("transforms/vignette.py")


CALIBRATION = example("metrics/calibration_error.py")


def ours() -> list[tuple[str, str]]:
    return [
        (kind, name) for kind, package in plugins.PACKAGES.items() for name in importlib.import_module(package).names()
    ]


@pytest.mark.parametrize(("kind", "name"), ours())
def test_ours_keep_the_contract_of_plugins(kind, name):
    """One contract: what a plugin is held to, ours are too."""
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


def stale(place) -> set[str]:
    """The stages that `plan` lists."""
    return set(re.findall(r"^(\S+@\S+)", place.run("plan"), re.MULTILINE))


def first_loss(place, experiment: str) -> float:
    """The loss of the first epoch."""
    header, row, *_ = (place.folder / f"results/{experiment}/history.csv").read_text().splitlines()
    return float(dict(zip(header.split(","), row.split(","), strict=True))["loss"])


def test_a_loss_of_ones_own_trains_a_model_that_loads_without_it(place):
    """With real DVC: chosen by its name with its settings, lower than the cross-entropy of the same steps' start, and recorded.

    An edit makes stale the training that names it and nothing else; the model is read where the loss is not.
    """
    place.write("plugins/losses/focal.py", example("losses/focal.py"))
    place.write("params.yaml", TWO_LOSSES)
    assert "plugins/losses/focal.py: as cnnkeras.losses has them" in place.run("check-plugin")
    place.start("dvc", "repro", "train@own", "train@usual")
    # Of ten classes p is about 1/10 before anything is learnt, and (1 - 1/10)^3 is 0.73.
    assert first_loss(place, "own") / first_loss(place, "usual") == pytest.approx(0.73, abs=0.08)
    assert "  plugins/losses/focal.py" in (place.folder / "results/code/train@own").read_text()
    for stage in ("train@usual", "predict@own"):
        assert "losses/focal.py" not in (place.folder / f"results/code/{stage}").read_text()
    before = stale(place)
    assert not before & {"train@own", "train@usual"}
    place.write("plugins/losses/focal.py", example("losses/focal.py").replace("# above 0", "# ABOVE 0"))
    assert stale(place) == before
    place.write("plugins/losses/focal.py", example("losses/focal.py").replace("1e-7", "1e-6"))
    assert stale(place) - before == {"train@own"}
    model = place.folder / "results/own/model/model.keras"
    loads = f"from pathlib import Path; from pipeline.backend import model_files; print(model_files.load(Path({str(model)!r})).output_shape)"
    done = subprocess.run(
        [sys.executable, "-c", loads], cwd=REPOSITORY, env=place.env, check=False, capture_output=True, text=True
    )
    assert done.stdout == "(None, 10)\n", done.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: focal", "name: fokal", "params.yaml:17: experiments.own.train.loss.name: unknown loss 'fokal'; did you mean 'focal'? (known: classification, detection, focal, segmentation)"),
        ("name: focal", "name: detection", "params.yaml:17: experiments.own.train.loss.name: expected a loss of classification; received: detection, one of detection"),
        ("gamma: 3.0", "gama: 3.0", "unknown key 'gama'; did you mean 'gamma'? (known: class_weights, gamma)"),
        ("gamma: 3.0", "gamma: -1", "experiments.own.train.loss.gamma: expected a number of at least 0; received: -1"),
        ("gamma: 3.0", "class_weights: [1, 2]", "experiments.own.train.loss.class_weights: expected 10 numbers, one for each class; received: 2"),
    ],
)  # fmt: skip
def test_what_params_says_of_a_loss_is_checked_by_its_signature(place, old, new, message):
    """As of ours."""
    place.write("plugins/losses/focal.py", example("losses/focal.py"))
    place.write("params.yaml", TWO_LOSSES.replace(old, new))
    assert message in place.run("check", code=2)


def test_a_loss_that_raises_in_a_training_is_one_line(place):
    """With the file and the line; nothing is left of the training."""
    place.write(
        "plugins/losses/focal.py",
        example("losses/focal.py").replace("return focal", "return lambda targets, outputs: outputs[:, 0] / nothing"),
    )
    place.write("params.yaml", TWO_LOSSES)
    place.start("dvc", "repro", "augment@digits")
    said = place.run("train", "own", code=2)
    line = example("losses/focal.py").splitlines().index("    return focal") + 1
    assert (
        f"Error: plugins/losses/focal.py:{line}: expected a plugin that runs; received: NameError: name 'nothing' is not defined"
        in said
    )
    assert "Traceback" not in said
    assert not (place.folder / "results/own/model").exists()


def test_the_example_of_a_loss_is_its_formula():
    """-1/n sum_i sum_c a_c q (1 - p)^g log p, by loops in float64, of classes and of mixed ones; without options cross-entropy."""
    focal = loaded(EXAMPLES / "losses/focal.py")
    rng = np.random.default_rng(0)
    outputs, labels, mixed = rng.normal(0, 2, (5, 3)), np.array([0, 1, 2, 0, 1]), rng.dirichlet(np.ones(3), 5)
    for gamma, weights in ((2.0, (1.0, 0.5, 2.0)), (0.5, None), (0.0, None)):
        for targets, shares in ((labels, np.eye(3)[labels]), (mixed, mixed)):
            expected = []
            for logits, share in zip(outputs, shares, strict=True):
                p = np.exp(logits) / np.exp(logits).sum()
                expected.append(
                    -sum((weights or (1, 1, 1))[c] * share[c] * (1 - p[c]) ** gamma * np.log(p[c]) for c in range(3))
                )
            found = focal.build(gamma=gamma, class_weights=weights)(targets, outputs.astype("float32"))
            np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-5)


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
        ("architectures/own.py", "A = 1\n", "own.py: expected TASKS, VARIANTS, PARAMETERS"),
        ("sources/own.py", SOURCE.replace('"""Grey images, dark and light."""', ""), "own.py: expected a docstring that says what it is"),
        ("architectures/own.py", example().replace("470_072", "470_073"), "PARAMETERS['0.25']: expected the number of trained parameters, 470,072"),
        ("architectures/own.py", example().replace("    *,\n    input_shape", "    input_shape"), "build: expected keyword-only arguments; received: input_shape"),
        ("sources/own.py", SOURCE.replace(", masks, split", ", split"), "expected examples(source, folder, *, masks, split); received: examples(source, folder, *, split)"),
        ("sources/own.py", SOURCE.replace("sources.SourceEntry", "object"), "expected Source, a class below pipeline.sources.SourceEntry"),
        ("weights/own.py", '"""Mine."""\n', "weights/own.py: expected statistics, read; received: none of statistics, read"),
        ("claims/own.py", '"""Mine."""\nSettings = measure = 1\n', "claims/own.py: expected Settings, a class below pipeline.lab.claims.ClaimEntry"),
        ("losses/own.py", '"""Mine."""\n', "plugins/losses/own.py: expected TASKS, IS_MEAN_OF_EXAMPLES, PER_CLASS, TINY, build; received: none of TASKS"),
        ("losses/detection.py", '"""Mine."""\n', "plugins/losses/detection: expected a name that none of ours has; received: detection. Call it otherwise"),
        ("nets/own.py", '"""Mine."""\n', "plugins/nets: expected a folder of architectures, claims, losses, "),
    ],
)  # fmt: skip
def test_what_is_no_plugin_is_one_line(place, name, text, message):
    """The file, what was expected and received."""
    place.write(f"plugins/{name}", text)
    said = place.run("check-plugin", code=2)
    assert message in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LOSS.replace('("classification",)', '("classifcation",)'), "TASKS: expected a tuple of some of classification, detection, segmentation; received: ('classifcation',)"),
        (LOSS.replace("*, gamma", "gamma"), "build: expected keyword-only arguments; received: gamma, class_weights"),
        (LOSS.replace("gamma:", "name:"), "build: expected another name than name, which params.yaml has beside it"),
        (LOSS.replace("terms, axis=-1)", "terms)"), "build: expected a number for each of 4 examples of classification; received: shape ()"),
        (LOSS.replace("-ops.sum(weights * terms, axis=-1)", "-ops.sum(weights * terms, axis=-1) / ops.cast(ops.shape(outputs)[0], 'float32')"), "IS_MEAN_OF_EXAMPLES: expected False, or for classification the loss of a batch as the mean"),
        (LOSS.replace("        log_p =", "        else:\n            targets = 2 * targets\n        log_p ="), "as `mixup_alpha` gives them"),
        (LOSS.replace("return focal", "return 3"), "build: expected a keras.losses.Loss or a function of targets and outputs; received: 3"),
        (LOSS.replace("weights * terms", "0 * terms"), "build: expected another loss of classification for other targets; received: "),
        (LOSS.replace("gamma: Annotated[float, Ge(0)] = 2.0", "gamma: 'Nothing' = 2.0"), "build: expected type hints"),
        (LOSS.replace('PER_CLASS = ("class_weights",)', 'PER_CLASS = ("gamma",)'), "PER_CLASS: expected arguments of build whose default is None; received: gamma"),
    ],
)  # fmt: skip
def test_a_loss_is_held_to_what_it_says_of_itself(text, message, tmp_path):
    """By random targets and outputs."""
    with pytest.raises(ValueError, match=re.escape(message)):
        require("losses", loaded(tmp_path / "own.py", text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (VIGNETTE, None),
        (VIGNETTE.replace("*,\n    strength", "strength"), "build: expected keyword-only arguments; received: strength, p"),
        (VIGNETTE.replace("self.py_random.uniform(*strength)", "np.random.default_rng().uniform(0.2, 0.9)"), "build: expected equal images for equal seeds; received: others"),
        (VIGNETTE.replace("return np.rint(img", "return np.rint(img[:8]").replace("r2[..., None]", "r2[:8, :, None]"), "build: expected images of the size that they had, (40, 56, 3); received: (8, 56, 3)"),
        (VIGNETTE.replace(".astype(np.uint8)", ""), "expected transforms that keep images RGB with values 0..255; received: float64"),
        (VIGNETTE.replace("return Vignette(p=p)", "return 3"), "expected an ImageOnlyTransform or a DualTransform of albumentations from build; received: builtins.int"),
        (VIGNETTE.replace("height, width = img.shape[:2]", "img[:] = 0\n            height, width = img.shape[:2]"), "build: expected a transform that leaves its input as it is"),
        (VIGNETTE.replace('TINY = {"strength": (0.5, 0.5)', 'TINY = {"strngth": (0.5, 0.5)'), "unknown key 'strngth'; did you mean 'strength'?"),
    ],
)  # fmt: skip
def test_a_transform_is_held_to_what_it_has_to_keep(text, message, tmp_path, monkeypatch):
    """By images of two sizes."""
    monkeypatch.setattr(transforms, "__path__", [str(tmp_path)])
    transform_table.arguments.cache_clear()
    name = f"own_{abs(hash(text))}"  # a module of this name is imported once
    (tmp_path / f"{name}.py").write_text(text)
    module = transforms.load(name)
    if message is None:
        require("transforms", module)
        return
    with pytest.raises(ValueError, match=re.escape(message)):
        require("transforms", module)


def test_the_example_of_a_transform_is_its_formula():
    """I / (1 + (s r)^2)^2, by loops: the centre as it is, a corner by 1 / (1 + s^2)^2, limits that hold."""
    vignette = loaded(EXAMPLES / "transforms/vignette.py").build(strength=(0.5, 0.5), p=1.0)
    image = np.full((5, 9, 3), 200, np.uint8)
    found = vignette(image=image)["image"]
    for y, x in np.ndindex(5, 9):
        r2 = ((y - 2) ** 2 + (x - 4) ** 2) / (2**2 + 4**2)
        assert (found[y, x] == round(200 / (1 + 0.25 * r2) ** 2)).all()
    assert found[2, 4, 0] == 200
    assert found[0, 0, 0] == round(200 / 1.25**2) == 128


OWN_TRANSFORM = """\
seed: 1
sources:
  digits: {kind: digit_scenes, seed: 1, scenes: {train: 30, val: 2, test: 2}}
datasets:
  own: {source: digits, task: detection, size: [32, 32], copies: 1, augmentation: [{vignette: {strength: [0.8, 0.8], p: 1.0}}]}
  usual: {source: digits, task: detection, size: [32, 32], copies: 1, augmentation: [{HorizontalFlip: {p: 1.0}}]}
experiments: {}
"""


def test_a_transform_of_ones_own_augments_by_worker_processes(place):
    """With real DVC: darker copies; an edit makes stale the data set that names it and no other; what raises or is wrong is one line."""
    place.write("plugins/transforms/vignette.py", VIGNETTE)
    place.write("params.yaml", OWN_TRANSFORM)
    place.start("dvc", "repro", "augment@own", "augment@usual")
    images = {name: np.load(place.folder / f"data/augmented/{name}/train/inputs.npy") for name in ("own", "usual")}
    plain, darker = images["own"][::2].astype(float), images["own"][1::2].astype(float)
    assert (darker <= plain + 1).all()
    assert darker[:, 0, 0].sum() < 0.6 * plain[:, 0, 0].sum()  # 1 / (1 + 0.64)^2 is 0.37
    np.testing.assert_array_equal(images["usual"][::2], images["own"][::2])
    before = stale(place)
    assert not before & {"augment@own", "augment@usual"}
    place.write("plugins/transforms/vignette.py", VIGNETTE.replace("** 2)\n", "** 2)  # dark\n"))
    assert stale(place) == before
    place.write("plugins/transforms/vignette.py", VIGNETTE.replace("drawn**2", "drawn**3"))
    assert stale(place) - before == {"augment@own"}
    place.write(
        "plugins/transforms/vignette.py",
        VIGNETTE.replace("height, width = img.shape[:2]", "height, width = img.shaep[:2]"),
    )
    said = place.run("augment", "own", "--workers", "2", code=2)
    assert re.search(
        r"Error: plugins/transforms/vignette\.py:\d+: expected a plugin that runs; received: AttributeError", said
    )
    for old, new, message in (
        ("vignette", "vignete", "unknown transform 'vignete'; did you mean 'vignette'?"),
        ("strength: [", "strenth: [", "unknown key 'strenth'; did you mean 'strength'? (known: p, strength)"),
        (
            "[0.8, 0.8]",
            "[-1, 0.8]",
            "augmentation.0.vignette.strength.0: expected a number of at least 0; received: -1",
        ),
    ):
        place.write("params.yaml", OWN_TRANSFORM.replace(old, new))
        assert message in place.run("check", code=2)
    place.write("params.yaml", OWN_TRANSFORM.replace("vignette", "Affine"))
    place.write("plugins/transforms/Affine.py", VIGNETTE)
    assert "plugins/transforms/Affine" in place.run("check", code=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CALIBRATION.replace('("calibration_error",)', '("examples",)'), "METRICS: expected a tuple of keys, none of examples, protocol"),
        (CALIBRATION.replace('METRICS = ("calibration_error",)', 'METRICS = ("ece",)'), "expected a mapping with ece from measure; received: {'calibration_error': "),
        (CALIBRATION.replace("float(np.abs(gaps).sum() / len(truth))", "gaps"), "expected a number for calibration_error from measure; received: array("),
        (CALIBRATION.replace("    *,\n    classes", "    classes"), "measure: expected 2 positional arguments, then keyword-only ones; received: classes, bins"),
        (CALIBRATION.replace("classes: int,", "count: int = 3,"), "expected measure(predictions, truth, *, classes); received: measure("),
        (CALIBRATION.replace("bins: Annotated[int, Ge(1)] = 15", "bins: int"), "measure: expected a default for each setting; received: none for bins"),
        (CALIBRATION.replace("    confidence, is", "    predictions[0] = 0\n    confidence, is"), "measure: expected a metric that leaves its arguments as they are"),
        (CALIBRATION.replace("/ len(truth))}", "/ len(truth) * np.random.default_rng().random())}"), "measure: expected equal numbers for equal predictions; received: "),
        (CALIBRATION.replace('("classification",)\nM', '("classifcation",)\nM'), "TASKS: expected a tuple of some of classification, detection, segmentation; received: ('classifcation',)"),
    ],
)  # fmt: skip
def test_a_metric_is_held_to_what_it_says_of_itself(text, message, tmp_path):
    """By a few predictions."""
    require("metrics", loaded(tmp_path / "fine.py", CALIBRATION))
    with pytest.raises(ValueError, match=re.escape(message)):
        require("metrics", loaded(tmp_path / "own.py", text))


def test_the_example_of_a_metric_is_its_formula():
    """By loops over the bins; by hand: .9 and right, .6 and wrong: .1 / 2 + .6 / 2."""
    measure = loaded(EXAMPLES / "metrics/calibration_error.py").measure
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.full(3, 0.3), 200), rng.integers(0, 3, 200)
    expected = 0.0
    for m in range(10):
        inside = [i for i in range(200) if m / 10 < probabilities[i].max() <= (m + 1) / 10]
        if inside:
            right = np.mean([probabilities[i].argmax() == labels[i] for i in inside])
            expected += len(inside) / 200 * abs(right - np.mean([probabilities[i].max() for i in inside]))
    assert measure(probabilities, labels, classes=3, bins=10)["calibration_error"] == pytest.approx(expected, rel=1e-9)
    by_hand = measure(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 1]), classes=2)
    assert by_hand["calibration_error"] == pytest.approx(0.35)


def test_an_evaluation_depends_on_the_metrics_that_it_names(place):
    """And on no other; what params.yaml says of them is checked by their signatures."""
    place.write("plugins/metrics/calibration_error.py", CALIBRATION)
    place.write("plugins/metrics/other.py", CALIBRATION)
    named = TWO_LOSSES.replace("{name: focal, gamma: 3.0}", "{}").replace(
        "evaluate: {images: 2}\n  usual:\n",
        "evaluate: {images: 2, metrics: [{name: calibration_error, bins: 5}]}\n  usual:\n    evaluate: {images: 2}\n",
    )
    place.write("params.yaml", named)
    assert "plugins/metrics/other.py: as cnnkeras.metrics has them" in place.run("check-plugin")
    place.run("check")
    codes = {name: (place.folder / f"results/code/evaluate@{name}").read_text() for name in ("own", "usual")}
    assert "  plugins/metrics/calibration_error.py" in codes["own"]
    assert "plugins/metrics/other.py" not in codes["own"]
    assert "plugins/metrics" not in codes["usual"]
    for old, new, message in (
        (
            "name: cal",
            "name: kal",
            "experiments.own.evaluate.metrics.0.name: unknown metric 'kalibration_error'; did you mean 'calibration_error'?",
        ),
        ("bins: 5", "bins: 0", "experiments.own.evaluate.metrics.0.bins: expected a number of at least 1; received: 0"),
        ("bins: 5", "bin: 5", "unknown key 'bin'; did you mean 'bins'? (known: bins)"),
        (
            "name: calibration_error, ",
            "",
            "experiments.own.evaluate.metrics.0: expected the key 'name' (calibration_error, classification, ",
        ),
        (
            "name: calibration_error, bins: 5",
            "name: detection",
            "expected a metric of classification; received: detection, one of detection",
        ),
        (
            "name: calibration_error, bins: 5",
            "name: classification",
            "expected a metric with other keys than top1_accuracy of classification; received: classification",
        ),
        (
            "bins: 5}",
            "bins: 5}, {name: other}",
            "metrics.1.name: expected a metric with other keys than calibration_error of calibration_error; received: other",
        ),
    ):
        place.write("params.yaml", named.replace(old, new))
        assert message in place.run("check", code=2)


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
