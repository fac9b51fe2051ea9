"""Ensembles: what is averaged with which weights, from the members' outputs to metrics.json, and that DVC knows the members."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from dvc.repo import Repo

from cnnkeras.label_maps import decode_png
from cnnkeras.protocols import posteriors
from pipeline.cli import main
from pipeline.images import annotated
from pipeline.params import load_params
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError
from pipeline.stages import combine, evaluate, postprocess

REPOSITORY = Path(__file__).parents[1]
MEMBERS = """
  second: {<<: *experiment}
  third: {<<: *experiment}
ensembles:
  two: &ensemble
    dataset: crops
    members: [crops, second]
    combine: mean
    postprocess: {top_k: 2}
    evaluate: {images: 2}
  three: {<<: *ensemble, members: [two, third]}
"""


@pytest.fixture
def project(project):
    """The smallest project with an ensemble of two networks and one of three, and three test images."""
    with project.params.open("a") as file:
        file.write(MEMBERS)
    examples = []
    for label, id in enumerate("abc"):
        original = np.full((32, 32, 3), 80 * label, np.uint8)
        fixed = {"inputs": original, "labels": np.int32(label), "sizes": np.array((32, 32), np.int32)}
        examples.append((id, fixed, {"originals": np.frombuffer(annotated.encode(original), np.uint8)}))
    project.pack_test_split("crops", examples)
    return project


def write_outputs(name: str, outputs: np.ndarray, **facts) -> None:
    """What `predict` leaves."""
    folder = paths.outputs(name)
    folder.mkdir(parents=True)
    np.save(folder / "outputs.npy", outputs)
    (folder / "outputs.json").write_text(
        json.dumps({"experiment": name, "dataset": "", "task": "", "classes": ["zero", "one", "two"], **facts})
    )


def test_the_mean_and_the_product():
    """(.9, .1) and (.2, .8): mean (.55, .45); product .18 : .08, its roots .4243 : .2828, so (.6, .4)."""
    logs = [np.log([[0.9, 0.1]]), np.log([[0.2, 0.8]])]
    np.testing.assert_allclose(np.exp(posteriors.combine(logs, [1, 1], "mean")), [[0.55, 0.45]])
    np.testing.assert_allclose(np.exp(posteriors.combine(logs, [1, 1], "product")), [[0.6, 0.4]], rtol=1e-9)


def test_every_network_weighs_the_same():
    """A member of two networks counts twice: (.9 x 2 + .3) / 3 = .7."""
    logs = [np.log([[0.9, 0.1]]), np.log([[0.3, 0.7]])]
    np.testing.assert_allclose(np.exp(posteriors.combine(logs, [2, 1], "mean")), [[0.7, 0.3]])


@pytest.mark.usefixtures("project")
def test_from_the_members_outputs_to_the_metrics():
    """Three networks, one of which saw two views: the probabilities are the plain mean of the three posteriors, and the metrics name them."""
    random = np.random.default_rng(0)
    outputs = {name: random.normal(size=(3, 3)).astype(np.float32) for name in ("crops", "third")}
    outputs["second"] = random.normal(size=(3, 2, 3)).astype(np.float32)
    for name, values in outputs.items():
        write_outputs(name, values, **({"views": [2], "protocol": ["two looks"]} if name == "second" else {}))
    for name in ("two", "three"):
        ended = CliRunner().invoke(main, ["combine", name], catch_exceptions=False)
        assert ended.exit_code == 0, ended.output
    postprocess.run("three")
    found = np.load(paths.predictions("three") / "probabilities.npy")
    softmax = {name: np.exp(values) / np.exp(values).sum(axis=-1, keepdims=True) for name, values in outputs.items()}
    expected = (softmax["crops"] + softmax["second"].mean(axis=1) + softmax["third"]) / 3
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    evaluate.run("three")
    metrics = json.loads(paths.metrics("three").read_text())
    assert metrics["top1_accuracy"] == pytest.approx(np.mean(expected.argmax(axis=1) == [0, 1, 2]))
    assert metrics["conditions"] == ["mean of the posteriors of 3 models: crops, second, third", "second: two looks"]
    drawn = {path.name for path in paths.figures("three").iterdir()}
    assert drawn == {"per_class.png", "confusion_matrix.png", "predictions.png", "best.png", "worst.png"}
    assert not list(Path().rglob(".partial*"))


def test_label_maps_of_two_networks(project):
    """Where one is sure of class two and the other slightly for class one, the mean follows the surer one."""
    project.edit("dataset: crops\n    members: [crops, second]\n    combine: mean\n    postprocess: {top_k: 2}",
                 "dataset: masks\n    members: [masks, other]\n    combine: mean\n    postprocess: {}")  # fmt: skip
    project.edit("  three: {<<: *ensemble, members: [two, third]}\n", "")
    project.edit(
        "ensembles:\n",
        "  other: {<<: *experiment, dataset: masks, architecture: deconvnet, postprocess: {}}\nensembles:\n",
    )
    project.pack_test_split("masks", [("a", {"sizes": np.array((8, 8), np.int32)}, {})])
    first, second = np.zeros((1, 8, 8, 4), np.float16), np.zeros((1, 8, 8, 4), np.float16)
    first[..., 1], second[..., 2] = 1, 6
    write_outputs("masks", first)
    write_outputs("other", second)
    combine.run("two")
    postprocess.run("two")
    assert (decode_png((paths.predictions("two") / "label_maps" / "a.png").read_bytes()) == 2).all()


@pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")  # pygtrie's, within DVC
def test_dvc_knows_the_members(project):
    """`combine` follows the members' `predict`, or their own `combine`; an ensemble is one entry, and none is none."""
    shutil.copy(REPOSITORY / "dvc.yaml", project.folder)
    (project.folder / "results" / "scratch").mkdir(parents=True)
    with Repo.init(str(project.folder), no_scm=True) as repo:
        graph = {
            stage.addressing: {before.addressing for before in repo.index.graph.successors(stage)}
            for stage in repo.index.stages
        }
    assert graph["combine@two"] >= {"predict@crops", "predict@second"}
    assert graph["combine@three"] >= {"combine@two", "predict@third"}
    assert graph["postprocess_ensemble@three"] >= {"combine@three"}
    assert graph["evaluate_ensemble@three"] >= {"postprocess_ensemble@three"}
    assert graph["log_ensemble@three"] >= {"evaluate_ensemble@three"}
    text = project.params.read_text()
    project.params.write_text(text[: text.index("ensembles:")])
    with Repo(str(project.folder)) as repo:
        assert not [stage for stage in repo.index.stages if "ensemble" in stage.addressing]


def test_a_missing_member_is_named_with_its_command(project):
    """Of an experiment `predict`, of an ensemble `combine`."""
    for member in ("crops", "third"):
        write_outputs(member, np.zeros((3, 3), np.float32))
    with pytest.raises(InputError, match=r"expected results/second/outputs; .* Run `cnnkeras predict second` or"):
        combine.run("two")
    with pytest.raises(InputError, match=r"expected results/two/outputs; .* Run `cnnkeras combine two` or"):
        combine.run("three")
    assert not [path for path in project.folder.rglob("*outputs*") if "two" in path.parts]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[crops, second]", "[crops, secnd]", "ensembles.two.members: unknown experiment 'secnd'; did you mean 'second'?"),
        ("[crops, second]", "[crops]", "ensembles.two.members: expected a length of at least 2; received: ['crops']"),
        ("[crops, second]", "[crops, crops]", "ensembles.two.members: expected every model once; received: crops twice"),
        ("[two, third]", "[two, second]", "ensembles.three.members: expected every model once; received: second twice"),
        ("[crops, second]", "[crops, three]", "expected ensembles that are not within each other; received: two <- three <- two"),
        ("[crops, second]", "[crops, masks]", "expected experiments whose datasets have the task of crops, 'classification'; received: masks"),
        ("dataset: crops\n    members", "dataset: boxes\n    members", "ensembles.two: expected a dataset for classification or segmentation; received: one for detection"),
        ("    combine: mean\n", "    combine: sum\n", "combine: expected 'mean' or 'product'; received: 'sum'"),
        ("  three: {", "  crops: {", "ensembles.crops: expected a name of its own; received: 'crops', which is another result's"),
    ],
)  # fmt: skip
def test_ensembles_that_cannot_be_are_refused(project, old, new, message):
    """Before anything runs, with the place in the file."""
    project.edit(old, new)
    with pytest.raises(InputError) as error:
        load_params()
    assert message in str(error.value)
