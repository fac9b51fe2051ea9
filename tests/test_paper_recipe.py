"""recipes/paper.yaml: every row that the lecture quotes is there, DVC resolves it, and the report says which number is whose."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from dvc.repo import Repo

from cnnkeras.protocols import views
from cnnkeras.training import schedules
from pipeline.commands.report import comparable, results
from pipeline.images.annotated import AnnotatedImage
from pipeline.images.augmentation import Policy
from pipeline.params import Params, Predict, input_shape, load_params

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


# Examples of the training splits, of which the recipe takes a part to validate on; and objects an image of VOC2012 trainval that are
# not difficult, 27,450 in 11,540 images.
IMAGENET, VOC_07_12, VOC_MASKS, EXTRA_MASKS = 1_281_167, 5_011 + 11_540, 1_464, 10_582 - 1_464
OBJECTS = 27_450 / 11_540
EXAMPLES = {
    "imagenet": 0.99 * IMAGENET,
    "voc_07_12": 0.99 * VOC_07_12,
    "voc_2012": 0.95 * VOC_MASKS + EXTRA_MASKS,
}
ALEXNET = 90 * IMAGENET / 128  # section 5: roughly 90 cycles
# What the authors' texts and files say: the steps, and the steps after which the rate changes, where they say it.
STEPS = {
    **{f"alexnet_{number}": (ALEXNET, None) for number in range(1, 6)},
    **dict.fromkeys(("vgg_a", "vgg_d_256", "vgg_e_256"), (370000, None)),
    # Section 2.2: 135 epochs, 75 at 0.01, 30 at 0.001, 30 at 0.0001.
    "yolo": (135 * VOC_07_12 / 64, (75 * VOC_07_12 / 64, 105 * VOC_07_12 / 64)),
    # cfg/darknet.cfg, cfg/yolo-tiny.cfg (pjreddie/darknet@6103ecc4, eaf033c0)
    "fast_yolo_pretrain": (800_000, None),
    "fast_yolo": (40_000, (20, 40, 60, 80, 20_000, 30_000)),
    # training/00*/solver.prototxt of HyeonwooNoh/DeconvNet
    "deconvnet_objects": (20_000, (9_000, 18_000)),
    "deconvnet": (40_000, (10_000, 20_000, 30_000)),
}
UNPUBLISHED = {"vgg_d_384", "vgg_d", "vgg_e_384", "vgg_e", "yolo_pretrain"}  # no text and no file says how many steps


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
    beside, elsewhere = comparable.split(params, name, rows)
    # VOC 2012's test images are on its server alone; what is measured here is its validation split.
    assert [row.value for row in (elsewhere if name == "deconvnet" else beside) if row.metric == metric] == [value]


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


def steps_per_epoch(params: Params, name: str) -> float:
    """Batches of a pass over an entry's packed training split."""
    experiment = params.experiment(name)
    dataset = params.dataset(experiment.dataset)
    examples = EXAMPLES[dataset.source] * (OBJECTS if dataset.examples == "objects" else 1)
    return examples * (1 + dataset.copies) / experiment.train.batch_size


def test_every_entry_takes_the_authors_steps(params):
    """Examples x versions x epochs / batch, within 2.5 %, and each drop of the rate at its step."""
    assert set(params.experiments) == STEPS.keys() | UNPUBLISHED
    for name, (steps, drops) in STEPS.items():
        train, per_epoch = params.experiment(name).train, steps_per_epoch(params, name)
        assert train.epochs * per_epoch == pytest.approx(steps, rel=0.025), name
        if drops is not None:
            epochs = train.schedule.arguments["epochs"]
            np.testing.assert_allclose(np.array(epochs) * per_epoch, drops, rtol=0.012, err_msg=name)


def test_the_recipe_for_imagenet_alone_takes_the_authors_steps():
    """90 epochs of AlexNet, 370,000 steps of VGG, augmented anew in each epoch."""
    imagenet = load_params(RECIPE.with_name("imagenet.yaml"))
    for name, steps in (("alexnet", ALEXNET), ("vgg_a", 370_000)):
        taken = imagenet.experiment(name).train.epochs * steps_per_epoch(imagenet, name)
        assert taken == pytest.approx(steps, rel=0.025)


def test_rates_are_the_authors(params):
    """Fast YOLO's warm-up of 0.0001 x 5 x 5 x 2 x 2, its pre-training's sigmoid, DeconvNet's tenths, biases at twice the rate."""

    def rate(name: str, step: int) -> float:
        train = params.experiment(name).train
        base = train.optimizer.arguments["learning_rate"]
        return train.schedule.call(schedules).rate_at(step / steps_per_epoch(params, name), base=base)

    warm = [rate("fast_yolo", step) for step in (0, 19, 21, 41, 61, 81, 15_000, 25_000, 35_000)]
    np.testing.assert_allclose(warm, [1e-4, 1e-4, 5e-4, 2.5e-3, 5e-3, 1e-2, 1e-2, 1e-3, 1e-4])
    for step in (0, 200_000, 400_000, 600_000, 790_000):
        expected = 0.01 / (1 + np.exp(2e-5 * (step - 400_000)))
        assert rate("fast_yolo_pretrain", step) == pytest.approx(expected, rel=0.01)
    tenths = [rate("deconvnet", 10_000 * k + 5_000) for k in range(4)]
    np.testing.assert_allclose(tenths, [1e-2, 1e-3, 1e-4, 1e-5])
    for name, experiment in params.experiments.items():
        arguments = experiment.train.optimizer.arguments
        twice = name.startswith(("alexnet", "deconvnet"))
        assert arguments["bias_rate_factor"] == (2 if twice else 1), name
        assert arguments["normalization_decay"] == (5e-4 if name.startswith("deconvnet") else 0), name


def test_deconvnet_starts_from_the_net_that_saw_all_scales(params):
    """VGG-16 as published was trained on shorter sides of 256 to 512."""
    start = params.experiment("deconvnet_objects").train.initial_weights.experiment
    assert start == "vgg_d"
    (jitter, *_) = params.experiment(start).train.augmentation
    assert list(jitter["ShorterSideJitter"]["limits"]) == [256, 512]


def test_yolo_keeps_the_boxes_that_darknet_keeps(params):
    """Whatever shows of a box after the jitter; `encode_targets` then leaves out sides below .005."""
    assert (
        params.experiment("yolo").train.min_visible_fraction
        == params.experiment("fast_yolo").train.min_visible_fraction
        == 0
    )


def test_yolo_is_pre_trained_at_half_its_resolution(params):
    """224, then 448, by the same convolutions."""
    for name in ("yolo", "fast_yolo"):
        detector = params.experiment(name)
        start = params.experiment(detector.train.initial_weights.experiment)
        assert start.input.size == (224, 224)
        assert detector.input.size == (448, 448)
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


def test_every_policy_ends_at_the_input_of_its_network(params):
    """Each training's augmentation, on an image as its dataset packs it, with a box and a mask: the size of the model's input."""
    random = np.random.default_rng(0)
    for name, experiment in params.experiments.items():
        dataset = params.dataset(experiment.dataset)
        shape = dataset.stored_size((375, 500))
        image = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
        policy = Policy(experiment.train.augmentation, name, boxes=dataset.task == "detection")
        policy.fit(1, lambda _position, image=image: image)
        annotations = {"mask": np.zeros(shape, np.uint8)} if dataset.task == "segmentation" else {}
        if dataset.task == "detection":
            one = {"labels": np.zeros(1, np.int32), "difficult": np.zeros(1, bool)}
            annotations = {"boxes": np.array([[100.0, 100, 300, 200]]), **one}
        found = policy.apply(AnnotatedImage(image, **annotations), np.random.SeedSequence([1]))
        assert found.image.shape == input_shape(params, experiment), name


def test_no_image_is_packed_twice(params):
    """Every epoch has new crops of one version of each image, by the sizes of section 2 (AlexNet), 3.1 (VGG) and of VOC."""
    assert all(not dataset.copies for dataset in params.datasets.values())
    assert params.dataset("imagenet_256").stored_size((375, 500)) == (256, 341)
    assert params.dataset("imagenet_384").stored_size((375, 500)) == (375, 500)
    assert params.dataset("imagenet_384").stored_size((1200, 1600)) == (384, 512)
    assert params.dataset("voc_detection").stored_size((500, 333)) == (500, 333)
