"""Files that mean harm: archives that expand without end, HDF5 that reads other files, models that hold code."""

import io
import json
import os
import shutil
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from cnnkeras import hdf5, keras_file
from pipeline.files import archives
from pipeline.files.archives import Archives
from pipeline.runtime.errors import InputError
from tests.test_archives import packed, written


def test_all_that_an_archive_expands_to_has_one_budget(tmp_path, monkeypatch):
    """A zip of zips of a .tar of zeros: each is small enough by itself, together they are not, and no room on the disk is taken."""
    monkeypatch.setattr(archives, "HARMLESS_BYTES", 2**20)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    inner = packed("x.zip", {"x.tar": packed("x.tar", {"zeros": bytes(900_000)})})
    one = written(tmp_path, "one.zip", {"0.zip": inner})
    assert Archives([one])["0.zip/x.tar/zeros"] == bytes(900_000)
    before = shutil.disk_usage(temporary).used
    for kind in ("many.zip", "many.tgz", "many.tar"):
        path = written(tmp_path, kind, {f"{number}.zip": inner for number in range(30)})
        assert path.stat().st_size < 100_000
        with pytest.raises(InputError, match=rf"{kind}: expected at most 200 times .* does not look like a data set"):
            Archives([path])
    assert not list(temporary.iterdir())
    assert shutil.disk_usage(temporary).used - before < 8 * 2**20


def test_many_nested_archives_are_one_open_file(tmp_path):
    """A zip of a thousand zips, as of a class each, needs no thousand descriptors."""
    files = {f"{number}.zip": packed("x.zip", {"a": str(number).encode()}) for number in range(1200)}
    path = written(tmp_path, "x.tar", {"all.zip": packed("x.zip", files)})
    archives._opened.cache_clear()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    opened = Archives([path])
    assert len(os.listdir("/proc/self/fd")) <= before + 2  # noqa: PTH208
    assert opened["all.zip/777.zip/a"] == b"777"
    assert len(opened) == 1200


def test_a_name_again_and_again_is_refused(tmp_path):
    """A .tar that was added to has names twice, and the last counts; one of nothing but the same header is refused at once."""
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for content in (b"old", b"new"):
            info = tarfile.TarInfo("a")
            info.size = 3
            archive.addfile(info, io.BytesIO(content))
    assert dict(Archives([tmp_path / "x.tar"])) == {"a": b"new"}
    (tmp_path / "y.tar").write_bytes(tarfile.TarInfo("a").tobuf() * 2000)
    with pytest.raises(InputError, match="members of different names; received: 'a' again and again"):
        Archives([tmp_path / "y.tar"])


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_lying_zip_takes_no_memory(tmp_path, method):
    """A member that says 10 bytes and holds 300 MB is refused by its checksum, and never decompressed whole."""
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a", bytes(300_000_000))
    path.write_bytes(path.read_bytes().replace((300_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    opened = Archives([path])
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"expected to read a; received: "):
            opened["a"]
        assert tracemalloc.get_traced_memory()[1] < 150 * 2**20
    finally:
        tracemalloc.stop()


def test_bzip2_in_a_zip_is_refused(tmp_path):
    """Python's reader would make a gigabyte of 800 bytes before it looks at the size."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a", b"data")
    with pytest.raises(InputError, match=r"by deflate; received: a, by bzip2\. Pack it again"):
        Archives([tmp_path / "x.zip"])


def test_damaged_archives_are_one_line(tmp_path):
    """Of two thousand archives with wrong bytes each is read or refused, whatever Python's readers raise."""
    rng = np.random.default_rng(0)
    inner = {"a": b"1" * 300, "Ä": b"2", "n.tgz": packed("n.tgz", {"b": b"3"}), "n.zip": packed("n.zip", {"c": b"4"})}
    whole = [
        np.frombuffer(packed(kind, inner), np.uint8) for kind in ("x.tar", "x.tgz", "x.zip", "x.tar.xz", "x.tar.bz2")
    ]
    path, outcomes = tmp_path / "x", set()
    for number in range(2000):
        data = whole[number % len(whole)].copy()
        data[rng.integers(0, len(data), 4)] = rng.integers(0, 256, 4)
        path.write_bytes(data)
        archives._opened.cache_clear()
        try:
            dict(Archives([path]))
            outcomes.add("read")
        except InputError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


# ---- HDF5 ----


@pytest.fixture
def secret(tmp_path):
    (tmp_path / "secret").write_bytes(b"SECRET" * 100)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.arange(4, dtype="float32")
    return tmp_path


def external(group, folder):
    group.create_dataset("w", (4,), "float32", external=[(str(folder / "secret"), 0, 16)])


def virtual(group, folder):
    layout = h5py.VirtualLayout((4,), "float32")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "x", (4,))
    group.create_virtual_dataset("w", layout)


def linked(group, folder):
    group["w"] = h5py.ExternalLink(str(folder / "other.h5"), "/x")


def soft(group, folder):  # noqa: ARG001 - as the others
    group["real"] = np.zeros(4)
    group["w"] = h5py.SoftLink("/g/real")


def dangling(group, folder):  # noqa: ARG001
    group["w"] = h5py.SoftLink("/nowhere")


def unstored(group, folder):  # noqa: ARG001
    group.create_dataset("w", (10**6, 10**6), "float32", chunks=(1, 1000))


def unstored_compressed(group, folder):  # noqa: ARG001
    group.create_dataset("w", (10**6, 10**6), "float32", chunks=(1, 1000), compression="gzip")[0] = 1


def text(group, folder):  # noqa: ARG001
    group.create_dataset("w", (3,), h5py.string_dtype())


def complex_numbers(group, folder):  # noqa: ARG001
    group["w"] = np.array([1j])


def empty(group, folder):  # noqa: ARG001
    group["w"] = h5py.Empty("f")


HOSTILE = {
    external: "whose numbers are in another file",
    virtual: "put together from others",
    linked: "a link to another place",
    soft: "a link to another place",
    dangling: "a link to another place",
    unstored: "expected the 4,000,000,000,000 bytes of /g/w in the HDF5 file, 1000000 x 1000000 as it says; received: 0",
    unstored_compressed: "expected the 4,000,000,000,000 bytes of /g/w",
    text: "expected numbers in /g/w of the HDF5 file; received: values of type object",
    complex_numbers: "received: values of type complex128",
    empty: "expected numbers in /g/w",
}


def hostile_weights(make, folder):
    """An HDF5 file with a data set w in a group g, and a harmless one beside it."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file["g/ok"] = np.arange(6, dtype="float32").reshape(2, 3)
        make(file["g"], folder)
    return stream.getvalue()


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_hdf5_is_numbers_in_the_file_itself(secret, make):
    """What lies elsewhere, or nowhere, is refused before anything is read: by its path and in a walk over all."""
    with h5py.File(io.BytesIO(hostile_weights(make, secret))) as file:
        with pytest.raises(ValueError, match=HOSTILE[make]):
            hdf5.find(file, "g/w")
        with pytest.raises(ValueError, match=HOSTILE[make]):
            list(hdf5.datasets(file))
        assert hdf5.find(file, "g/ok")[...].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_groups_in_themselves_and_missing_names_are_refused():
    """A hard link to a group above would be walked for ever."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file["g/ok"] = np.zeros(3)
        file["g/again"] = file["g"]
        with pytest.raises(ValueError, match="g/again again"):
            list(hdf5.datasets(file))
        for path in ("g/no", "g/ok/no", "no"):
            with pytest.raises(ValueError, match=f"expected {path} in the HDF5 file; received: none"):
                hdf5.find(file, path)


def test_compressed_weights_are_read():
    """Numbers that were compressed are in the file, if they are as many as it can hold."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_dataset("w", data=np.zeros((100, 100)), compression="gzip", chunks=(10, 100))
        assert dict(hdf5.datasets(file)).keys() == {"w"}


# ---- .keras ----


def keras_content(config=None, weights=None, **members):
    """A .keras file of one layer."""
    if weights is None:
        stream = io.BytesIO()
        with h5py.File(stream, "w") as file:
            file["layers/dense/vars/0"] = np.zeros((4, 2), np.float32)
        weights = stream.getvalue()
    layer = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 2, "activation": "relu"}}
    config = config or {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": {"layers": [layer]},
    }
    files = {"config.json": json.dumps(config), "metadata.json": "{}", "model.weights.h5": weights} | members
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def activation(module, name):
    function = {"module": module, "class_name": "function", "config": name, "registered_name": name}
    layer = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 2, "activation": function}}
    return {"module": "keras.src.models.functional", "class_name": "Functional", "config": {"layers": [layer]}}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (activation("os", "system"), "without code of their own .* received: function"),
        (activation("keras.utils", "get_file"), "received: function"),
        ({"module": "keras.layers", "class_name": "Lambda", "config": {}}, "received: Lambda"),
        ({"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/x"}}, "received: TFSMLayer"),
        ({"module": "keras.config", "class_name": "enable_unsafe_deserialization", "config": {}}, "of 'keras.config'"),
        ({"module": "builtins", "class_name": "eval", "config": {}}, "received: 'eval' of 'builtins'"),
        ({"module": None, "class_name": "__lambda__", "config": {}}, "received: __lambda__"),
        ({"class_name": "Dense", "config": {}}, "received: 'Dense' of None"),
    ],
)
def test_a_model_is_layers_without_code(config, message):
    """Whatever Keras' safe mode lets pass: the classes of layers of Keras and of cnnkeras, and no function."""
    keras_file.check(io.BytesIO(keras_content()))
    with pytest.raises(ValueError, match=message):
        keras_file.check(io.BytesIO(keras_content(config)))


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_a_models_weights_are_in_it(secret, make):
    """As in any other HDF5 file of weights."""
    with pytest.raises(ValueError, match=HOSTILE[make]):
        keras_file.check(io.BytesIO(keras_content(weights=hostile_weights(make, secret))))


def damaged_models():
    whole = keras_content()
    compressed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive, zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as other:
        for name in archive.namelist():
            other.writestr(name, archive.read(name))
    place = whole.index(b"\x89HDF") + 600
    return {
        "empty": (b"", "not a zip file"),
        "cut": (whole[: len(whole) // 2], "not a zip file"),
        "noise": (os.urandom(2000), "not a zip file"),
        "page": (b"<html></html>", "not a zip file"),
        "flipped": (
            whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :],
            "received: a damaged model.weights.h5",
        ),
        "more": (
            keras_content(**{"assets/x": "x"}),
            "received: assets/x, config.json, metadata.json, model.weights.h5",
        ),
        "no json": (keras_content(**{"config.json": "{"}), "Expecting"),
        "deep": (keras_content(**{"config.json": "[" * 100_000}), "recursion"),
        "no hdf5": (keras_content(weights=b"\x89HDF"), "expected a .keras file; received: "),
        "compressed": (compressed.getvalue(), "received: a compressed config.json"),
    }


@pytest.mark.parametrize("kind", damaged_models())
def test_a_damaged_model_is_one_line_with_the_command_that_repairs_it(project, kind):
    """Wherever a model is read: its parameters counted, or the model loaded."""
    from pipeline.backend import model_files

    shutil.copyfile(Path(__file__).parents[1] / "dvc.yaml", project.folder / "dvc.yaml")
    content, message = damaged_models()[kind]
    path = project.folder / "results" / "boxes" / "model" / "model.keras"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    for read in (model_files.count_parameters, model_files.load):
        with pytest.raises(
            InputError, match=f"^results/boxes/model/model.keras: expected a model .*{message}"
        ) as failure:
            read(path)
        assert "\n" not in str(failure.value)
        assert str(failure.value).endswith(". Make it again with `cnnkeras train boxes`")


@pytest.mark.parametrize("content", ["", '{"format": 1', "[]", "null", "{}", '{"settings": 3}'])
def test_damaged_files_of_json_are_one_line(project, content):
    """A dataset's index and a choice on the validation split, cut, of another type, or without what they hold."""
    from pipeline.formats import packed as datasets
    from pipeline.formats import predictions

    for read, file in ((datasets.open_index, "index.json"), (predictions.read_chosen, "chosen.json")):
        path = project.folder / "data" / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        with pytest.raises(InputError, match=rf"data/{file}: expected .*; received: ") as failure:
            read(path.parent)
        assert "\n" not in str(failure.value)


def test_parameters_of_a_file_are_those_that_keras_counts(tmp_path):
    """Of a network with batch normalisation and dropout, whose generator has a state that is no parameter: 4 x 6 and 6 x 2 + 2."""
    import keras

    from pipeline.backend import model_files

    given = keras.Input((6,))
    hidden = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(given))
    model = keras.Model(given, keras.layers.Dense(2)(hidden))
    model_files.save(model, tmp_path / "model.keras")
    assert model_files.count_parameters(tmp_path / "model.keras") == model.count_params() == 24 + 14


def test_a_model_that_does_not_fit_together_is_one_line(tmp_path):
    """Layers and weights of which each is well, but not for the other: what Keras says, in one line."""
    from pipeline.backend import model_files

    path = tmp_path / "model.keras"
    path.write_bytes(keras_content())
    assert model_files.count_parameters(path) == 8
    with pytest.raises(InputError, match="expected a model as `cnnkeras train` writes it; received: ") as failure:
        model_files.load(path)
    assert "\n" not in str(failure.value)
