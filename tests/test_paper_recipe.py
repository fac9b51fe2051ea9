"""recipes/paper.yaml: every row that the lecture quotes is there, DVC resolves it, and the report says which number is whose."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from dvc.repo import Repo

from cnnkeras.protocols import views
from pipeline.commands.report import results
from pipeline.images.annotated import AnnotatedImage
from pipeline.images.augmentation import Policy
from pipeline.params import Params, Predict, load_params

REPOSITORY = Path(__file__).parents[1]
RECIPE = REPOSITORY / "recipes" / "paper.yaml"
# What the lecture quotes: the entry, the metric and its published value.
QUOTED = [
    ("alexnet_1", "top1_error", 0.407),
    ("alexnet_1", "top5_error", 0.182),
    ("alexnet_five", "top1_error", 0.381),
    ("alexnet_five", "top5_error", 0.164),
    ("vgg_a", "top1_error", 0.296),
    ("vgg_d_256", "top1_error", 0.270),
    ("vgg_e_384", "top1_error", 0.269),
    ("vgg_d", "top5_error", 0.072),
    ("vgg_e", "top1_error", 0.244),
    ("vgg_e", "top5_error", 0.071),
    ("vgg_d_and_e", "top1_error", 0.237),
    ("vgg_d_and_e", "top5_error", 0.068),
    ("yolo", "map_voc07", 0.634),
    ("fast_yolo", "map_voc07", 0.527),
    ("deconvnet", "mean_iou", 0.696),
]


@pytest.fixture(scope="module")
def params() -> Params:
    """The recipe, validated."""
    return load_params(RECIPE)


@pytest.mark.parametrize(("name", "metric", "value"), QUOTED)
def test_the_report_puts_the_published_number_beside_its_own_entry(params, name, metric, value):
    """Exactly one of the metric, and it is the quoted one."""
    entry = params.measured(name)
    rows = results._published(params.first_experiment(name), params.task(name), entry.published)
    assert [row.value for row in rows if row.metric == metric] == [value]


def views_of(predict: Predict) -> list[views.View]:
    """What an experiment's `predict` sees of an image."""
    return [named.call(views) for named in predict.views]


def test_the_quoted_ensembles_are_of_their_networks(params):
    """Five AlexNets that differ in their seeds, each by ten patches; VGG's D and E by 150 crops and dense at three scales."""
    five = [params.experiment(f"alexnet_{number}") for number in range(1, 6)]
    assert len({params.training_seed(f"alexnet_{number}") for number in range(1, 6)}) == 5
    assert {sum(view.count for view in views_of(entry.predict)) for entry in five} == {10}
    for name in params.ensembles["vgg_d_and_e"].members:
        predict = params.experiment(name).predict
        assert [view.name for view in predict.views] == ["crop_grid", "dense"]
        assert [(view.count, view.scales) for view in views_of(predict)] == [
            (150, (256, 384, 512)),
            (6, (256, 384, 512)),
        ]


def test_deeper_vggs_start_from_the_shallow_one(params):
    """The first four convolutions of A and the fully connected layers (section 3.1); then scale by scale, with a tenth of the rate."""
    for letter in "de":
        start = params.experiment(f"vgg_{letter}_256").train.initial_weights
        assert start.experiment == "vgg_a"
        assert start.layers == ("conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc*")
        chain = [params.experiment(f"vgg_{letter}{scale}").train for scale in ("_256", "_384", "")]
        assert [train.optimizer.arguments["learning_rate"] for train in chain] == [0.01, 0.001, 0.001]
        assert chain[2].initial_weights.experiment == f"vgg_{letter}_384"


def test_yolo_is_pre_trained_at_half_its_resolution(params):
    """224, then 448, by the same convolutions."""
    for name in ("yolo", "fast_yolo"):
        detector = params.experiment(name)
        start = params.experiment(detector.train.initial_weights.experiment)
        assert params.dataset(start.dataset).size == (224, 224)
        assert params.dataset(detector.dataset).size == (448, 448)
        assert start.model["variant"] == detector.model["variant"]


@pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")  # pygtrie's, within DVC
def test_dvc_resolves_every_stage(params, tmp_path):
    """As params.yaml beside the project's dvc.yaml: a stage per entry, and the ensembles behind their networks."""
    shutil.copy(RECIPE, tmp_path / "params.yaml")
    shutil.copy(REPOSITORY / "dvc.yaml", tmp_path)
    (tmp_path / "results" / "scratch").mkdir(parents=True)
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        names = {stage.name for stage in repo.index.stages}
        assert {f"train@{name}" for name in params.experiments} <= names
        assert {f"log_ensemble@{name}" for name in params.ensembles} <= names
        graph = {stage.name: stage for stage in repo.index.stages}
        before = {stage.name for stage in repo.index.graph.successors(graph["combine@alexnet_five"])}
        assert before >= {"combine@alexnet_four", "predict@alexnet_5"}


def test_every_policy_can_be_applied(params):
    """Each dataset's augmentation, on an image with a box and a mask, gives the dataset's size or what is stretched to it."""
    random = np.random.default_rng(0)
    for name, dataset in params.datasets.items():
        image = random.integers(0, 256, (300, 400, 3), dtype=np.uint8)
        policy = Policy(dataset.augmentation, name, boxes=dataset.task == "detection")
        policy.fit(1, lambda _position, image=image: image)
        annotations = {"mask": np.zeros((300, 400), np.uint8)} if dataset.task == "segmentation" else {}
        if dataset.task == "detection":
            one = {"labels": np.zeros(1, np.int32), "difficult": np.zeros(1, bool)}
            annotations = {"boxes": np.array([[100.0, 100, 300, 200]]), **one}
        found = policy.apply(AnnotatedImage(image, **annotations), np.random.SeedSequence([1]))
        assert dataset.task == "detection" or found.image.shape[:2] == dataset.size
