"""A logged model as others use it: loaded by MLflow without this project, and behind MLflow's own server. It says what `show` says and `evaluate` measures."""

import base64
import csv
import io
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkeras.label_maps import encode_png
from cnnkeras.looking import given
from pipeline.formats.packed import open_split
from pipeline.formats.predictions import read_chosen
from tests import looking_project
from tests.tracked_project import answers, free_port, until

# MLflow 3.17 calls what SQLAlchemy 2.1 deprecates; that is between the two.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

DATASETS = {
    "crops": "crops",
    "viewed": "crops",
    "centred": "stored",
    "letterboxed": "boxes",
    "masks": "masks",
    "merged": "masks",
}
STORE = {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}

# Whoever uses the models: MLflow, Keras, and `cnnkeras` from inside the logged model.
USE = """
import json, sys, mlflow, numpy as np
from pathlib import Path
models = {model.name: f"models:/{model.model_id}" for model in mlflow.MlflowClient().search_logged_models(["1"])}
found, outputs = {}, {}
for name, dataset in json.loads(sys.argv[1]).items():
    model = mlflow.pyfunc.load_model(models[name])
    files = sorted(map(str, Path("files", dataset).glob("*.png")))
    given = model.predict(files, params={"outputs": True})
    outputs |= {f"{name} {Path(file).stem}": one.pop("outputs") for file, one in zip(files, given)}
    found[name] = {Path(file).stem: one for file, one in zip(files, given)}
    assert model.predict(files[0]) == [found[name][Path(files[0]).stem]], "alone, it is the same"
    assert model.predict(model.input_example)[0]["predictions"] is not None
    assert model.metadata.get_input_schema() and model.metadata.get_params_schema()
signals = mlflow.pyfunc.load_model(models["signals"])
values = np.load("data/augmented/signals/test/inputs.npy")[:20]
found["signals"] = {str(n): one for n, one in enumerate(signals.predict(values))}
assert signals.predict(values[0].ravel().tolist()) == [found["signals"]["0"]]
import cnnkeras
assert ".zip" in cnnkeras.__file__, cnnkeras.__file__
assert "pipeline" not in sys.modules
Path("served.json").write_text(json.dumps(found))
np.savez("served.npz", **outputs)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The project, with what its logged models say of the files of its test images, in `served.json` and `served.npz`."""
    folder = looking_project.make(tmp_path_factory.mktemp("looking"))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    used = subprocess.run(
        [sys.executable, "-c", USE, json.dumps(DATASETS)],
        env={**environment, **STORE, "TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert used.returncode == 0, used.stderr
    return folder


@pytest.fixture(scope="module")
def said(made) -> dict[str, dict[str, dict]]:
    """What each model says of each image, by the image's id."""
    return json.loads((made / "served.json").read_text())


def predicted(project: Path, name: str) -> Path:
    return project / "results" / name / "predictions"


@pytest.mark.parametrize("name", ["crops", "viewed", "centred", "signals"])
def test_probabilities_are_those_that_evaluate_measures(made, said, name):
    """To the last digit that top_k.csv has: for images packed as pixels and as JPEG, by a fit, by views; and for signals."""
    with (predicted(made, name) / "top_k.csv").open() as file:
        rows = list(csv.DictReader(file))
    written: dict[str, list] = {}
    for row in rows:
        written.setdefault(row["id"], []).append((row["rank"], row["class"], row["probability"]))
    if name == "signals":
        written = {str(number): rows for number, rows in enumerate(list(written.values())[:20])}
    served = {
        id: [(str(row["rank"]), row["class"], f"{row['probability']:.6f}") for row in answer["predictions"]]
        for id, answer in said[name].items()
    }
    assert served == written
    assert len({rows[0][2] for rows in written.values()}) > 1


def test_boxes_are_those_that_evaluate_measures(made, said):
    """To the last digit that detections.json has: those of at least the threshold that the validation split chose, in pixels of each image."""
    folder = predicted(made, "letterboxed")
    ids = {image["id"]: image["file_name"] for image in json.loads((folder / "images.json").read_text())["images"]}
    threshold = read_chosen(folder)["display_threshold"]
    written = sorted(
        (ids[row["image_id"]], row["score"], *row["bbox"])
        for row in json.loads((folder / "detections.json").read_text())
        if row["score"] >= threshold
    )
    served = sorted(
        (
            id,
            row["score"],
            row["left"],
            row["top"],
            round(row["right"] - row["left"], 2),
            round(row["bottom"] - row["top"], 2),
        )
        for id, answer in said["letterboxed"].items()
        for row in answer["predictions"]
    )
    assert served == written
    assert served


@pytest.mark.parametrize("name", ["masks", "merged"])
def test_label_maps_are_those_that_evaluate_measures(made, said, name):
    """The files of `label_maps` byte by byte, of one look with borders and of several regions."""
    for id, answer in said[name].items():
        assert (
            base64.b64decode(answer["label_map"]) == (predicted(made, name) / "label_maps" / f"{id}.png").read_bytes()
        )
        assert sum(row["fraction"] for row in answer["predictions"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", DATASETS)
def test_raw_outputs_are_those_of_predict(made, name):
    """Every bit: the file goes through JPEG where the packed image did, and is never computed alone."""
    outputs = np.load(made / "results" / name / "outputs/outputs.npy")
    ids = open_split(made / "data/augmented" / DATASETS[name], "test")["ids"]
    with np.load(made / "served.npz") as served:
        found = [served[f"{name} {id}"] for id in ids]
    found = np.concatenate([scores.reshape(-1, scores.shape[-1]) for scores in found]) if name == "merged" else found
    np.testing.assert_array_equal(np.stack(found), outputs)


@pytest.mark.parametrize("name", ["letterboxed", "centred"])
def test_show_says_the_same(made, said, name):
    """The entries of `--format json`."""
    files = sorted((made / "files" / DATASETS[name]).glob("*.png"))
    done = looking_project.run("-m", "pipeline.cli", "show", name, *files, "--format", "json", cwd=made)
    assert done.returncode == 0, done.stderr
    shown = json.loads((made / "show" / f"{name}.json").read_text())["images"]
    assert {Path(entry["file"]).stem: entry["predictions"] for entry in shown} == {
        id: answer["predictions"] for id, answer in said[name].items()
    }


def test_an_ensemble_shows_what_evaluate_measures(made):
    """To the last digit: its members' outputs are combined as the stage `combine` does."""
    files = sorted((made / "files/crops").glob("*.png"))
    done = looking_project.run("-m", "pipeline.cli", "show", "both", *files, "--format", "csv", cwd=made)
    assert done.returncode == 0, done.stderr
    with (made / "show/both.csv").open() as shown, (predicted(made, "both") / "top_k.csv").open() as written:
        mine = {(Path(row["file"]).stem, row["rank"], float(row["probability"])) for row in csv.DictReader(shown)}
        assert mine == {(row["id"], row["rank"], float(row["probability"])) for row in csv.DictReader(written)}


def model_of(project: Path, name: str) -> tuple[str, Path]:
    """Address and folder of a logged model."""
    code = f"import mlflow; print(*(m.model_id for m in mlflow.MlflowClient().search_logged_models(['1']) if m.name == {name!r}))"
    done = looking_project.run("-c", code, cwd=project, **STORE)
    id = done.stdout.strip()
    return f"models:/{id}", project / "mlartifacts/models" / id / "artifacts"


def test_a_server_answers_a_picture(made, said):
    """`mlflow models serve`: a photograph in base64 and an array; it opens no file of its machine, and says what it expects."""
    model, _ = model_of(made, "masks")
    port = free_port()
    serve = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", model, "--env-manager", "local"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | STORE
    with (made / "server.log").open("w") as output:
        server = subprocess.Popen(
            [*serve, "--port", str(port), "--workers", "1"], env=environment, cwd=made, stdout=output, stderr=output
        )

    def ask(body: object) -> tuple[int, dict]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    file = sorted((made / "files/masks").glob("*.png"))[0]
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/ping"), seconds=300)
        text = base64.b64encode(file.read_bytes()).decode()
        _, found = ask({"inputs": [text]})
        array = np.asarray(Image.open(file).convert("RGB")).tolist()
        _, raw = ask({"inputs": array, "params": {"outputs": True}})
        refused, why = ask({"inputs": [str(file)]})
    finally:
        server.terminate()
        server.wait(20)
    assert found["predictions"] == [said["masks"][file.stem]]
    (raw,) = raw["predictions"]
    assert np.shape(raw.pop("outputs")) == (32, 32, 11)
    assert raw == said["masks"][file.stem]
    assert refused == 400
    assert "expected the path of an image file that is there, or base64 of one; received: " in json.dumps(why)


NEEDED_ALONE = """
import importlib.metadata as metadata, re, sys
def closure(names, known):
    for name in names:
        name = re.split(r"[\\s;<>=!~\\[(]", name)[0].lower().replace("_", "-")
        if name not in known:
            try:
                more = [need for need in metadata.requires(name) or [] if "extra ==" not in need]
            except metadata.PackageNotFoundError:
                continue
            known.add(name)
            closure(more, known)
    return known
allowed = closure([line for line in open(sys.argv[1] + "/requirements.txt")], set())
owners = metadata.packages_distributions()
class Only:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in owners and top != "cnnkeras" and not {owner.lower().replace("_", "-") for owner in owners[top]} & allowed:
            raise ModuleNotFoundError(f"No module named {top!r}", name=top)
sys.meta_path.insert(0, Only())
try:
    import albumentations
except ModuleNotFoundError:
    import mlflow
    print(mlflow.pyfunc.load_model(sys.argv[1]).predict(sys.argv[2])[0]["predictions"][0])
import keras
assert keras.backend.backend() == sys.argv[3], keras.backend.backend()
"""


def test_the_requirements_are_what_it_needs(made):
    """With nothing to import but them and what they need: it answers. No package of the other stages, and one TensorFlow."""
    _, folder = model_of(made, "crops")
    file = sorted((made / "files/crops").glob("*.png"))[0]
    done = looking_project.run("-c", NEEDED_ALONE, folder, file, "tensorflow", cwd=made)
    assert "'rank': 1" in done.stdout, done.stderr
    names = [line.partition("==")[0] for line in (folder / "requirements.txt").read_text().split()]
    assert len(names) == len(set(names))
    assert sum(name.startswith("tensorflow") for name in names) == 1
    assert all(metadata.version(name) for name in names)


def test_a_model_of_another_backend_needs_no_tensorflow(made, said, tmp_path):
    """The same weights as a model of JAX: with nothing else to import than what such a model is said to need, it gives the same digits."""
    from pipeline.tracking import models

    _, folder = model_of(made, "crops")
    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    text = (copy / "MLmodel").read_text()
    assert "backend: tensorflow" in text
    (copy / "MLmodel").write_text(text.replace("backend: tensorflow", "backend: jax"))
    needed = ["mlflow", *models._requirements("jax")]
    assert not any("tensorflow" in line for line in needed)
    (copy / "requirements.txt").write_text("\n".join(needed))
    file = sorted((made / "files/crops").glob("*.png"))[0]
    done = looking_project.run("-c", NEEDED_ALONE, copy, file, "jax", cwd=made)
    first = said["crops"][file.stem]["predictions"][0]
    assert f"'class': '{first['class']}'" in done.stdout, done.stderr


# ---- what is given ----


def png(pixels: np.ndarray, **more) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "png", **more)
    return content.getvalue()


PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        PIXELS,
        PIXELS.tolist(),
        PIXELS.astype(np.float64),
        png(PIXELS),
        base64.b64encode(png(PIXELS)).decode(),
        "data:image/png;base64," + base64.b64encode(png(PIXELS)).decode(),
        base64.encodebytes(png(PIXELS)).decode(),  # in lines
    ],
)
def test_an_image_comes_as_its_user_has_it(image):
    """Alone, in a list, beside another, in a table: always the same pixels."""
    table = pytest.importorskip("pandas").DataFrame({"image": [image, image]})
    ways = [image, [image], (image, image), table, table["image"]]
    if isinstance(image, np.ndarray):
        ways.append(np.stack([image, image, image]))
    for way, count in zip(ways, (1, 1, 2, 2, 2, 3), strict=False):
        found = given.examples(way, is_of_signals=False)
        assert len(found) == count
        for one in found:
            np.testing.assert_array_equal(given.image(one), PIXELS)
            assert given.image(one).dtype == np.uint8


def test_a_file_is_seen_as_a_person_sees_it():
    """Turned by its EXIF tag, palette, 16 bits, transparent on white."""
    exif = Image.Exif()
    exif[0x0112] = 6
    np.testing.assert_array_equal(given.image(png(PIXELS, exif=exif)), np.rot90(PIXELS, -1))
    deep = np.random.default_rng(0).integers(2**12, 2**16, (4, 4), np.uint16)
    np.testing.assert_array_equal(given.image(png(deep))[..., 0], deep >> 8)
    clear = np.concatenate([PIXELS, np.zeros((5, 7, 1), np.uint8)], axis=2)
    assert (given.image(png(clear)) == 255).all()
    np.testing.assert_array_equal(given.image(encode_png(np.ones((2, 2), np.uint8))), [[[128, 0, 0]] * 2] * 2)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no/such.jpg", "expected the path of an image file that is there, or base64 of one; received: 'no/such.jpg'"),
        (base64.b64encode(b"no image").decode(), "expected a whole image; received: cannot identify"),
        (np.zeros((4, 4), np.uint8), r"expected an image \(height, width, 3\); received: an array of shape \(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), r"received: an array of shape \(4, 4, 4\)"),
        (PIXELS / 255, "expected whole numbers from 0 to 255; received: from 0 to 0.97.*, float64"),
        (PIXELS.astype(int) - 1, "expected whole numbers from 0 to 255; received: from -1 to"),
        ([[[1, 2, 3], [1, 2]]], "as numbers; received:"),
        ({"image": "x"}, "expected a path, base64, an array, or a list of such; received: dict"),
        ([{"image": "x"}], "as numbers; received: {'image'"),
        (None, "received: NoneType"),
        ("", "received: ''"),
    ],
)
def test_what_is_no_image_is_refused(what, message):
    """With what was expected, and the beginning of what came."""
    with pytest.raises(ValueError, match=message):
        [given.image(one) for one in given.examples(what, is_of_signals=False)]


def test_signals_come_as_numbers():
    """Alone, flat or as a column, or several; of the model's length, and finite."""
    values = np.arange(4, dtype=np.float32)
    for way, count in ((values, 1), (values[:, None], 1), (values.tolist(), 1), (np.stack([values] * 3), 3)):
        found = given.examples(way, is_of_signals=True)
        assert len(found) == count
        np.testing.assert_array_equal(given.signal(found[0], 4), values[:, None])
    for wrong in (values[:3], values * np.nan, "x.npy"):
        with pytest.raises(ValueError, match="expected a signal of 4 numbers"):
            given.signal(wrong, 4)
