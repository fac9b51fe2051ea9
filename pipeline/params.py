"""params.yaml as frozen, validated objects: the only file that knows it.

The file is read as YAML 1.2, as DVC reads it (so that 5e-4 is a number), and validated whole before anything runs. What
a kind of source, an architecture or a loss may be told is declared where it lives - the fields of `sources/KIND.py`'s
`Source`, the keyword arguments of an architecture's `build` and of a task's `build_loss` - and checked here.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError, create_model, model_validator
from ruamel.yaml import YAML, YAMLError

from cnnkeras import architectures, tasks, weights
from pipeline import sources
from pipeline.lab import claims
from pipeline.lab.claims import ClaimEntry
from pipeline.runtime import paths
from pipeline.runtime.entries import Entry, Seed, unknown
from pipeline.runtime.errors import InputError
from pipeline.runtime.paths import SCRATCH
from pipeline.sources import SourceEntry, Task


def _checked_name(name: str) -> str:
    if not re.fullmatch("[a-z0-9][a-z0-9_]*", name):
        raise ValueError(f"expected a name of lower-case letters, digits and _; received: {name!r}")
    return name


Name = Annotated[str, AfterValidator(_checked_name)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Transforms = tuple[Annotated[dict[str, dict[str, Any]], Field(min_length=1, max_length=1)], ...]


class ProposalFile(Entry):
    """Object proposals from a file.

    Attributes:
        file: JSON, below the project's folder.
        sha256: Its checksum, so that other proposals are other params.
        most: Proposals of an image, the surest.
        smallest_side: Those with a shorter side are skipped, in pixels.
        margin: By how much of its sides a box is enlarged at each edge.
    """

    file: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    most: Positive = 50
    smallest_side: Count = 112
    margin: Annotated[float, Field(ge=0, le=2)] = 0.0


class TrainingProposals(ProposalFile):
    """Proposals to train on.

    Attributes:
        least_overlap: Intersection over union with the box of an object, difficult ones aside, at least.
    """

    least_overlap: Annotated[float, Field(ge=0, le=1)] = 0.5


class Dataset(Entry):
    """A source prepared for a task at a size, with an augmentation policy.

    Attributes:
        source: Entry under `sources:`.
        task: What the labels are prepared for.
        size: Height and width of the network's input in pixels, or the length of a signal.
        examples: `images` as they are; `objects`, one example per annotated object, its box enlarged by `object_margin`; or
            `proposals`, of the training images, the others as they are.
        object_margin: Border around an object's box, as a fraction of the box's longer side.
        proposals: Where they are from, and which are trained on.
        copies: Augmented versions of each training image, beside the plain one.
        augmentation: Albumentations transforms in order, each `{Name: {argument: value}}`.
        jpeg_quality: Images are packed as JPEG files of this quality, 1..100; none: as they are, without loss.
        on_error: What an example that cannot be read is: `fail` names it and ends, `skip` leaves it out, counted and listed in the
            dataset's report.
        leaks: What an example in two splits is: `fail` ends, `allow` counts it in the dataset's report.
    """

    source: str
    task: Task
    size: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=2)]
    examples: Literal["images", "objects", "proposals"] = "images"
    object_margin: Annotated[float, Field(ge=0, le=2)] = 0.2
    proposals: TrainingProposals | None = None
    copies: Count = 0
    augmentation: Transforms = ()
    # Left out of the dump where it is not used, so that results without it keep their fingerprint.
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None, exclude_if=lambda quality: quality is None
    )
    on_error: Literal["fail", "skip"] = "fail"
    leaks: Literal["fail", "allow"] = "fail"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one network input: (H, W, 3), or (L, 1) for a signal."""
        return (*self.size, 3 if len(self.size) == 2 else 1)


class SGD(Entry):
    """Stochastic gradient descent with momentum; `weight_decay` is the papers' (its gradient is decay x weight)."""

    name: Literal["sgd"]
    learning_rate: Rate
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class Adam(Entry):
    """Adam (Kingma and Ba 2015) with Keras' betas and epsilon; `weight_decay` as for SGD."""

    name: Literal["adam"]
    learning_rate: Rate
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class Schedule(Entry):
    """A learning-rate schedule; the first `warmup_epochs` raise the rate linearly from `warmup_factor` times its value."""

    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    warmup_factor: Annotated[float, Field(ge=0, le=1)] = 0.1


class Constant(Schedule):
    """The optimizer's learning rate throughout."""

    name: Literal["constant"]


class Step(Schedule):
    """Times `factor` after every `every_epochs`."""

    name: Literal["step"]
    every_epochs: Positive
    factor: Annotated[float, Field(gt=0, lt=1)]


class Piecewise(Schedule):
    """Times `factors[i]` from `epochs[i - 1]` until `epochs[i]`: one factor more than epochs."""

    name: Literal["piecewise"]
    epochs: tuple[Annotated[float, Field(gt=0)], ...]
    factors: tuple[Rate, ...]

    @model_validator(mode="after")
    def _lengths(self) -> "Piecewise":
        if len(self.factors) != len(self.epochs) + 1:
            raise ValueError(
                f"expected {len(self.epochs) + 1} factors for {len(self.epochs)} epochs; received: {len(self.factors)}"
            )
        if list(self.epochs) != sorted(set(self.epochs)):
            raise ValueError(f"expected epochs that rise; received: {list(self.epochs)}")
        return self


class Plateau(Schedule):
    """Times `factor` whenever `val_loss` has not fallen for `patience_epochs`."""

    name: Literal["plateau"]
    factor: Annotated[float, Field(gt=0, lt=1)]
    patience_epochs: Positive


class EarlyStopping(Entry):
    """Stop when `val_loss` has not fallen for `patience_epochs`; the best weights are kept."""

    patience_epochs: Positive


class InitialWeights(Entry):
    """Where the weights come from.

    Attributes:
        experiment: Another experiment, an entry under `imports:`, or `scratch` for the layers' own initialisers.
        layers: Names of the layers to copy, with * and ?.
    """

    experiment: str
    layers: tuple[str, ...] = ()


class Train(Entry):
    """How a network is trained.

    Attributes:
        epochs: Passes over the training split; 0 takes the initial weights, then of every layer, as they are.
        batch_size: Examples a step, over all devices.
        optimizer: `sgd` or `adam`.
        schedule: `constant`, `step`, `piecewise` or `plateau`.
        early_stopping: When to stop before `epochs`, or nothing.
        precision: Keras' dtype policy.
        xla: Compile the step with XLA (then without TensorFlow's op determinism: the two exclude each other).
        steps_per_execution: Steps between two returns to Python.
        threads: Cores that one operation may use, on TensorFlow; all of them if left out, and then weights are rounded as the number
            of cores has it.
        loss: Keyword arguments of the task's `build_loss`.
        initial_weights: Layers of another experiment, or imported ones, to start from.
        augmentation: Albumentations transforms as a dataset's, applied to the packed training images anew in each epoch.
        seed: Of initial weights, order, augmentation and dropout, instead of the file's own: the networks of an ensemble differ in it.
    """

    epochs: Count
    batch_size: Positive
    optimizer: Annotated[SGD | Adam, Field(discriminator="name")]
    schedule: Annotated[Constant | Step | Piecewise | Plateau, Field(discriminator="name")]
    early_stopping: EarlyStopping | None = None
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    xla: bool = False
    steps_per_execution: Positive = 1
    loss: dict[str, Any] = Field(default_factory=dict)
    initial_weights: InitialWeights
    # Left out of the dump where it is not used, so that results without it keep their fingerprint.
    augmentation: Transforms = Field(default=(), exclude_if=lambda transforms: not transforms)
    seed: Seed | None = Field(default=None, exclude_if=lambda seed: seed is None)
    threads: Positive | None = Field(default=None, exclude_if=lambda threads: threads is None)


class Input(Entry):
    """What the network's first layer subtracts and divides by: numbers per channel, or the dataset's own."""

    mean: Literal["dataset"] | float | tuple[float, ...] = "dataset"
    std: Literal["dataset"] | Rate | tuple[Rate, ...] = "dataset"


class View(Entry):
    """A test protocol of a classifier (pipeline/views.py). Each says whether its views are `mirrored`.

    Attributes:
        scales: Lengths of the image's shorter side in pixels, from the network's input size on.
    """

    scales: Annotated[tuple[Positive, ...], Field(min_length=1)]

    @property
    def places_at_a_scale(self) -> int:
        """Views of an image at one scale, mirror images not counted."""
        return 1

    @property
    def count(self) -> int:
        """Views of an image."""
        return self.places_at_a_scale * len(self.scales) * (1 + self.mirrored)


class CentreCrop(View):
    """One crop in the middle, and its mirror image if `mirrored`."""

    name: Literal["centre_crop"]
    mirrored: bool = False


class TenPatches(View):
    """The corners and the centre of the central square, and their mirror images."""

    name: Literal["ten_patches"]
    mirrored: ClassVar[bool] = True

    @property
    def places_at_a_scale(self) -> int:
        """The corners and the centre."""
        return 5


class CropGrid(View):
    """`places` x `places` crops spread over the whole image, and their mirror images if `mirrored`."""

    name: Literal["crop_grid"]
    places: Positive = 5
    mirrored: bool = True

    @property
    def places_at_a_scale(self) -> int:
        """Those of the grid."""
        return self.places**2


class Dense(View):
    """The whole image through the fully convolutional network, and its mirror image if `mirrored`."""

    name: Literal["dense"]
    mirrored: bool = True


class SlidingWindows(Entry):
    """Squares of `side` pixels of the image, every `stride` pixels (pipeline/regions.py)."""

    name: Literal["sliding_windows"]
    side: Positive
    stride: Positive
    merge: Literal["mean", "maximum"] = "mean"


class Boxes(Entry):
    """Boxes of the image's own shape, of these `shares` of its sides, every half box."""

    name: Literal["boxes"]
    shares: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)] = (1.0, 0.75, 0.5)
    merge: Literal["mean", "maximum"] = "maximum"


class Proposals(ProposalFile):
    """Regions that a file names.

    Attributes:
        merge: How the score maps are put together.
    """

    name: Literal["proposals"]
    merge: Literal["mean", "maximum"] = "maximum"


Regions = SlidingWindows | Boxes | Proposals


class Import(Entry):
    """A network that others trained, from their file.

    Attributes:
        file: Its place in the project.
        format: A file of `cnnkeras/weights/`.
        architecture: What it is a network of.
        model: Keyword arguments of the architecture's `build`.
        size: Height and width of its input in pixels.
        classes: How many it knows; for segmentation without the background.
        input: What it was trained with, for images in RGB, 0..255; by default what the format's published networks were.
    """

    file: str
    format: str
    architecture: str
    model: dict[str, Any] = Field(default_factory=dict)
    size: Annotated[tuple[Positive, ...], Field(min_length=2, max_length=2)]
    classes: Positive
    input: Input | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one network input: (H, W, 3)."""
        return (*self.size, 3)


class Predict(Entry):
    """How the network's outputs are computed.

    Attributes:
        batch_size: Inputs at once.
        views: Test protocols of a classifier, whose class posteriors are averaged; none: the packed input, once.
        regions: Parts of an image that are segmented one by one; none: the packed input, once.
    """

    batch_size: Positive = 64
    # Left out of the dump where it is not used, so that results without it keep their fingerprint.
    views: tuple[Annotated[CentreCrop | TenPatches | CropGrid | Dense, Field(discriminator="name")], ...] = Field(
        default=(), exclude_if=lambda views: not views
    )
    regions: Annotated[Regions, Field(discriminator="name")] | None = Field(
        default=None, exclude_if=lambda regions: regions is None
    )


class ClassificationPostprocess(Entry):
    """Which of the class probabilities are kept by name."""

    top_k: Positive = 5


class DetectionPostprocess(Entry):
    """From YOLO's outputs to boxes.

    Attributes:
        confidence_threshold: Boxes whose confidence x class probability is lower are dropped.
        nms_iou: Of two boxes of a class that overlap more than this, the less confident one is dropped.
        display_threshold: Only boxes at or above it are drawn.
        display_nms_iou: A second suppression of the boxes that are drawn: darknet draws at .2 and .4, and measures at .001 and .5.
    """

    confidence_threshold: Fraction
    nms_iou: Fraction
    display_threshold: Fraction = 0.2
    display_nms_iou: Fraction | None = Field(default=None, exclude_if=lambda iou: iou is None)


class Greedy(Entry):
    """Greedy label inference (pipeline/label_inference.py): least probability of a region's pixels, and least evidence."""

    threshold: Fraction = 0.25
    least_share: Annotated[float, Field(gt=0, le=1)] = 0.01


class SegmentationPostprocess(Entry):
    """From score maps to a label map at the image's own size.

    Attributes:
        resize: How the scores are enlarged.
        greedy: Label a class at a time; none: each pixel takes its highest score.
    """

    resize: Literal["bilinear", "nearest"] = "bilinear"
    greedy: Greedy | None = Field(default=None, exclude_if=lambda greedy: greedy is None)


class Evaluate(Entry):
    """What the evaluation draws and tells apart.

    Attributes:
        images: Images with predictions and truth to draw.
        similar_classes: Groups of classes that a detector may be forgiven to mix up, for the analysis of its errors.
    """

    images: Count = 12
    # Left out of the dump where it is not used, so that results without it keep their fingerprint.
    similar_classes: tuple[tuple[str, ...], ...] = Field(default=(), exclude_if=lambda groups: not groups)


POSTPROCESS: dict[str, type[Entry]] = {
    "classification": ClassificationPostprocess,
    "detection": DetectionPostprocess,
    "segmentation": SegmentationPostprocess,
}


class PublishedResult(Entry):
    """Which of an architecture's published numbers a result is to stand beside.

    Attributes:
        system: As its `PUBLISHED` names it.
        table: Of the paper, where the system stands in several.
    """

    system: str
    table: Positive | None = None


class Experiment(Entry):
    """A dataset, an architecture, a training, a post-processing, an evaluation.

    `model` holds keyword arguments of the architecture's `build`; `postprocess` is the model of the dataset's task; `published` is
    for the report.
    """

    dataset: str
    architecture: str
    model: dict[str, Any]
    input: Input
    train: Train
    predict: Predict
    postprocess: Any
    evaluate: Evaluate
    published: PublishedResult | None = Field(default=None, exclude_if=lambda published: published is None)


class Ensemble(Entry):
    """Experiments whose posteriors are averaged.

    Attributes:
        dataset: Whose test split it is measured on; the members' datasets have the same test images.
        members: Two names, each of an experiment or of another ensemble. Every network weighs the same.
        combine: The `mean` of the posteriors or their `product`.
        postprocess: As an experiment's.
        evaluate: As an experiment's.
        published: As an experiment's; a number of the first network's architecture.
    """

    dataset: str
    members: Annotated[tuple[str, ...], Field(min_length=2, max_length=2)]
    combine: Literal["mean", "product"] = "mean"
    postprocess: Any
    evaluate: Evaluate
    published: PublishedResult | None = Field(default=None, exclude_if=lambda published: published is None)


class Params(Entry):
    """The whole of params.yaml.

    Attributes:
        seed: Of augmentation and training.
        mirror: Folder or URL to try first for every file that a source downloads.
        sources: Where bytes come from.
        datasets: Sources prepared for a task.
        experiments: What is trained and measured.
        ensembles: What is measured of several experiments together.
        lab: The lecture's claims, measured.
        imports: Networks that others trained, for `initial_weights`.
    """

    seed: Seed
    mirror: str | None = None
    sources: dict[Name, Any]
    datasets: dict[Name, Dataset]
    experiments: dict[Name, Experiment]
    ensembles: dict[Name, Ensemble] = Field(default_factory=dict)
    lab: dict[Name, Any] = Field(default_factory=dict)
    imports: dict[Name, Import] = Field(default_factory=dict)

    def source(self, name: str) -> SourceEntry:
        """Entry of a source, or an `InputError` that names the known ones."""
        return _entry(self.sources, name, "source")

    def dataset(self, name: str) -> Dataset:
        """Entry of a dataset, or an `InputError` that names the known ones."""
        return _entry(self.datasets, name, "dataset")

    def experiment(self, name: str) -> Experiment:
        """Entry of an experiment, or an `InputError` that names the known ones."""
        return _entry(self.experiments, name, "experiment")

    def ensemble(self, name: str) -> Ensemble:
        """Entry of an ensemble, or an `InputError` that names the known ones."""
        return _entry(self.ensembles, name, "ensemble")

    def measured(self, name: str) -> Experiment | Ensemble:
        """Entry of an experiment or an ensemble, or an `InputError` that names the known ones."""
        return _entry({**self.experiments, **self.ensembles}, name, "experiment")

    def training_seed(self, experiment: str) -> int:
        """Seed of an experiment's training."""
        own = self.experiment(experiment).train.seed
        return self.seed if own is None else own

    def networks(self, name: str) -> list[str]:
        """Names of the experiments behind an ensemble, those of the ensembles among its members included; an experiment's own."""
        if name not in self.ensembles:
            return [name]
        return [network for member in self.ensembles[name].members for network in self.networks(member)]

    def network(self, name: str) -> Experiment:
        """Entry of an experiment, or of the first network of an ensemble."""
        return self.experiment(self.networks(name)[0])

    def stage(self, name: str, entry: str) -> str:
        """Name of a stage in dvc.yaml: there is one for experiments and one for ensembles."""
        return f"{name}_ensemble" if entry in self.ensembles else name

    def claim(self, name: str) -> ClaimEntry:
        """Entry of the lab, or an `InputError` that names the known ones."""
        return _entry(self.lab, name, "entry of the lab")

    def imported(self, name: str) -> Import:
        """Entry of an imported network, or an `InputError` that names the known ones."""
        return _entry(self.imports, name, "import")

    def task(self, experiment: str) -> Task:
        """Task of an experiment or an ensemble: its dataset's."""
        return self.dataset(self.measured(experiment).dataset).task

    def classes(self, dataset: str) -> tuple[str, ...]:
        """Class names of a dataset, in order, without background."""
        return tuple(self.source(self.dataset(dataset).source).classes)


def _entry(entries: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in entries:
        raise InputError(f"{paths.PARAMS}: {unknown(name, entries, what)}")
    return entries[name]


class _File:
    """A parsed params file that can say where a key is."""

    def __init__(self, path: Path):
        self.name = path.name if path.name == paths.PARAMS else str(path)
        try:
            self.tree = YAML(typ="rt").load(StringIO(path.read_text(encoding="utf-8")))
        except YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f":{mark.line + 1}" if mark else ""
            problem = getattr(error, "problem", None) or str(error).splitlines()[0]
            fix = ". Indent with spaces" if r"\t" in problem else ""
            raise InputError(f"{self.name}{where}: expected YAML; received: {problem}{fix}") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{self.name}: expected UTF-8 text; received: {error}") from error
        if not isinstance(self.tree, Mapping):
            raise InputError(
                f"{self.name}: expected a mapping with seed, sources, datasets and experiments; received: {self.tree!r}"
            )
        self.plain = _plain(self.tree)

    def line(self, location: tuple[Any, ...]) -> int | None:
        node, line = self.tree, None
        for key in location:
            try:
                line = node.lc.key(key)[0] + 1 if isinstance(node, Mapping) else node.lc.item(key)[0] + 1
                node = node[key]
            except (AttributeError, KeyError, IndexError, TypeError):
                # Names that pydantic adds to a location (a union's member) are no keys of the file.
                continue
        return line

    def error(self, location: tuple[Any, ...], message: str) -> InputError:
        line = self.line(location)
        where = ".".join(str(part) for part in location)
        return InputError(f"{self.name}{f':{line}' if line else ''}: {where + ': ' if where else ''}{message}")


def _plain(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    if isinstance(node, bool) or node is None:
        return node
    # ruamel's scalars are subclasses that remember how they were written.
    return next((kind(node) for kind in (int, float, str) if isinstance(node, kind)), node)


def load_params(path: Path | None = None) -> Params:
    """Read and validate a params file, by default the project's.

    Raises:
        InputError: Naming the file, the line, the key, what was expected and what was received.
    """
    path = path or paths.params_file()
    file = _File(path)
    params = _validate(file, (), Params, file.plain)
    params = params.model_copy(update={"sources": {name: _source(file, name) for name in params.sources}})
    for name in params.datasets:
        _check_dataset(file, params, name)
    experiments = {name: _experiment(file, params, name) for name in params.experiments}
    imports = {name: _import(file, params, name) for name in params.imports}
    params = params.model_copy(update={"experiments": experiments, "imports": imports})
    for name in params.experiments:
        _check_initial_weights(file, params, name)
    ensembles = {name: _ensemble(file, params, name) for name in params.ensembles}
    params = params.model_copy(update={"ensembles": ensembles})
    for section in ("experiments", "ensembles"):
        for name in getattr(params, section):
            _check_published(file, params, (section, name))
    return params.model_copy(update={"lab": {name: _claim(file, params, name) for name in params.lab}})


# Kinds of pydantic's errors that this file's readers would put otherwise.
_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "a number greater than {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "int_type": "a whole number",
    "less_than": "a number less than {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "model_attributes_type": "a mapping",
    "model_type": "a mapping",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_type": "text",
    "too_long": "a length of at most {max_length}",
    "too_short": "a length of at least {min_length}",
    "tuple_type": "a list",
}


def _validate(file: _File, location: tuple[str, ...], model: type[BaseModel], entry: Any) -> Any:
    try:
        return model.model_validate(entry)
    except ValidationError as error:
        errors = [{**found, "loc": location + found["loc"]} for found in error.errors()]
        raise file.error(*_explain(errors, file.plain)) from error


def _explain(errors: Sequence[Mapping[str, Any]], plain: Any) -> tuple[tuple[Any, ...], str]:
    """Location in the file, and a sentence for the first of pydantic's errors.

    What may be one of several things has an error for each: they are put together, unless one of them lies deeper, where
    the entry is nearly right.
    """
    first = max(errors, key=lambda error: _is_below(error, errors[0], plain))
    inside = _in_file(first["loc"], plain)
    if first["type"] == "unknown_key":
        return (*inside, first["ctx"]["key"]), first["ctx"]["message"]
    if first["type"] in ("missing", "union_tag_not_found"):
        key = first["loc"][-1] if first["type"] == "missing" else first["ctx"]["discriminator"].strip("'")
        return inside, f"expected the key {key!r}; received: none"
    if first["type"] == "union_tag_invalid":
        return inside, f"expected name: {first['ctx']['expected_tags']}; received: {first['ctx']['tag']!r}"
    if "received" in first["msg"]:
        return inside, first["msg"].removeprefix("Value error, ")
    alternatives = [_expected(error) for error in errors if _in_file(error["loc"], plain) == inside]
    received = list(first["input"]) if isinstance(first["input"], tuple) else first["input"]
    return inside, f"expected {' or '.join(dict.fromkeys(alternatives))}; received: {received!r}"


def _is_below(error: Mapping[str, Any], other: Mapping[str, Any], plain: Any) -> int:
    """By how many keys an error lies below another's place in the file."""
    inside, outside = _in_file(error["loc"], plain), _in_file(other["loc"], plain)
    return len(inside) - len(outside) if inside[: len(outside)] == outside else 0


def _expected(error: Mapping[str, Any]) -> str:
    if error["type"] == "missing":
        return f"a mapping with the key {error['loc'][-1]!r}"
    words = _EXPECTED.get(error["type"])
    return words.format(**error.get("ctx", {})) if words else error["msg"].removeprefix("Input should be ")


def _in_file(location: tuple[Any, ...], plain: Any) -> tuple[Any, ...]:
    kept = []
    for part in location:
        try:
            plain = plain[part]
        except (KeyError, IndexError, TypeError):
            continue
        kept.append(part)
    return tuple(kept)


def _source(file: _File, name: str) -> SourceEntry:
    entry = file.plain["sources"][name]
    location = ("sources", name)
    if not isinstance(entry, Mapping) or "kind" not in entry:
        raise file.error(
            location, f"expected a mapping with a kind ({', '.join(sources.names())}); received: {entry!r}"
        )
    if entry["kind"] not in sources.names():
        raise file.error((*location, "kind"), unknown(entry["kind"], sources.names(), "kind of source"))
    model = sources.load(entry["kind"]).Source
    return _validate(file, location, model, entry)


def _claim(file: _File, params: Params, name: str) -> ClaimEntry:
    entry, location = file.plain["lab"][name], ("lab", name)
    if not isinstance(entry, Mapping) or "claim" not in entry:
        raise file.error(
            location, f"expected a mapping with a claim ({', '.join(claims.names())}); received: {entry!r}"
        )
    if entry["claim"] not in claims.names():
        raise file.error((*location, "claim"), unknown(entry["claim"], claims.names(), "claim"))
    settings = _validate(file, location, claims.load(entry["claim"]).Settings, entry)
    for key, network in settings.networks.model_dump().items():
        if network not in (*params.experiments, SCRATCH):
            known = [*params.experiments, SCRATCH]
            raise file.error((*location, "networks", key), unknown(network, known, "experiment"))
    return settings


def _check_dataset(file: _File, params: Params, name: str) -> None:
    dataset, location = params.datasets[name], ("datasets", name)
    if dataset.jpeg_quality is not None and len(dataset.size) != 2:
        raise file.error((*location, "jpeg_quality"), f"expected none for signals; received: {dataset.jpeg_quality}")
    if dataset.source not in params.sources:
        raise file.error((*location, "source"), unknown(dataset.source, params.sources, "source"))
    kind = params.sources[dataset.source].kind
    if dataset.task not in sources.load(kind).TASKS:
        served = ", ".join(sources.load(kind).TASKS)
        raise file.error(
            (*location, "task"),
            f"expected a task that a source of kind {kind} serves ({served}); received: {dataset.task!r}",
        )


def _network(file: _File, location: tuple[str, ...], entry: Experiment | Import) -> tuple[ModuleType, dict[str, Any]]:
    """The architecture of an entry, and its checked options."""
    if entry.architecture not in architectures.names():
        raise file.error(
            (*location, "architecture"), unknown(entry.architecture, architectures.names(), "architecture")
        )
    architecture = architectures.load(entry.architecture)
    model = _arguments(file, (*location, "model"), architecture.build, entry.model, reserved=BUILD_RESERVED)
    variant = model.get("variant")
    if variant is not None and variant not in architecture.VARIANTS:
        raise file.error((*location, "model", "variant"), unknown(variant, architecture.VARIANTS, "variant"))
    return architecture, model


def _check_input(file: _File, location: tuple[str, ...], given: Input, channels: int) -> None:
    for key, value in (("mean", given.mean), ("std", given.std)):
        if isinstance(value, tuple) and len(value) != channels:
            raise file.error(
                (*location, "input", key),
                f"expected 'dataset', a number or {channels} of them, one a channel; received: {list(value)}",
            )


def _import(file: _File, params: Params, name: str) -> Import:
    """An entry under `imports:` with all its defaults."""
    entry, location = params.imports[name], ("imports", name)
    if name in (*params.experiments, SCRATCH, paths.DATASETS, paths.LAB):
        raise file.error(location, "expected a name that no experiment has; received: one that is taken")
    if entry.format not in weights.names():
        raise file.error((*location, "format"), unknown(entry.format, weights.names(), "format"))
    place = PurePosixPath(entry.file)
    if place.is_absolute() or ".." in place.parts or not place.name:
        raise file.error((*location, "file"), f"expected the path of a file in the project; received: {entry.file!r}")
    architecture, model = _network(file, location, entry)
    try:
        published = weights.load(entry.format).statistics(entry.architecture, str(model.get("variant")))
        architecture.output_shape(
            task=architecture.TASKS[0], classes=entry.classes, input_shape=entry.input_shape, **model
        )
    except ValueError as error:
        raise file.error(location, str(error)) from error
    given = entry.input or Input(mean=published.mean, std=published.std)
    _check_input(file, location, given, entry.input_shape[-1])
    if "dataset" in (given.mean, given.std):
        raise file.error(
            (*location, "input"), "expected the numbers that the network was trained with; received: 'dataset'"
        )
    return entry.model_copy(update={"model": model, "input": given})


def _experiment(file: _File, params: Params, name: str) -> Experiment:
    experiment, location = params.experiments[name], ("experiments", name)
    if name == SCRATCH:
        raise file.error(location, f"expected another name: {SCRATCH!r} means weights that come from no experiment")
    if name in (paths.DATASETS, paths.LAB):
        raise file.error(location, f"expected another name: results/{name} belongs to no experiment")
    if experiment.dataset not in params.datasets:
        raise file.error((*location, "dataset"), unknown(experiment.dataset, params.datasets, "dataset"))
    dataset = params.datasets[experiment.dataset]
    _check_input(file, location, experiment.input, dataset.input_shape[-1])
    architecture, model = _network(file, location, experiment)
    try:
        output_shape(architecture, params, experiment.dataset, model)
    except ValueError as error:
        raise file.error(
            (*location, "architecture"), f"{experiment.architecture} cannot serve dataset {experiment.dataset}: {error}"
        ) from error
    _check_similar_classes(file, params, name)
    if experiment.predict.regions and dataset.task != "segmentation":
        raise file.error((*location, "predict", "regions"), f"expected none for {dataset.task}; received: some")
    _check_views(file, (*location, "predict", "views"), dataset, experiment.predict.views)
    if experiment.train.augmentation and (len(dataset.size) != 2 or not experiment.train.epochs):
        received = f"some for size {list(dataset.size)}" if experiment.train.epochs else "some with epochs: 0"
        raise file.error(
            (*location, "train", "augmentation"), f"expected none, or images to train on; received: {received}"
        )
    loss = _arguments(file, (*location, "train", "loss"), tasks.load(dataset.task).build_loss, experiment.train.loss)
    postprocess = _validate(file, (*location, "postprocess"), POSTPROCESS[dataset.task], experiment.postprocess)
    return experiment.model_copy(
        update={"model": model, "train": experiment.train.model_copy(update={"loss": loss}), "postprocess": postprocess}
    )


def _check_similar_classes(file: _File, params: Params, name: str) -> None:
    experiment, location = params.experiments[name], ("experiments", name, "evaluate", "similar_classes")
    groups = experiment.evaluate.similar_classes
    if groups and params.datasets[experiment.dataset].task != "detection":
        raise file.error(location, f"expected none, as only detections have an analysis of errors; received: {groups}")
    for position, group in enumerate(groups):
        for label in group:
            if label not in params.classes(experiment.dataset):
                raise file.error((*location, position), unknown(label, params.classes(experiment.dataset), "class"))


def _check_views(file: _File, location: tuple[str, ...], dataset: Dataset, views: Sequence[View]) -> None:
    if views and (dataset.task != "classification" or len(dataset.size) != 2):
        raise file.error(location, f"expected none for {dataset.task} of size {list(dataset.size)}; received: {views}")
    for position, view in enumerate(views):
        if min(view.scales) < max(dataset.size):
            raise file.error(
                (*location, position, "scales"),
                f"expected shorter sides of at least {max(dataset.size)} pixels, the size of the dataset's inputs; "
                f"received: {min(view.scales)}",
            )


BUILD_RESERVED = ("input_shape", "output_shape", "input_mean", "input_std")


def _arguments(
    file: _File, location: tuple[str, ...], function: Callable, entry: Any, *, reserved: Iterable[str] = ()
) -> dict[str, Any]:
    """Keyword arguments from the file, checked against a function's signature; those not given take its defaults."""
    parameters = {n: p for n, p in inspect.signature(function).parameters.items() if n not in reserved}
    fields = {n: (p.annotation, ... if p.default is p.empty else p.default) for n, p in parameters.items()}
    schema = create_model(function.__module__, __base__=Entry, **fields)
    return dict(_validate(file, location, schema, entry))


def output_shape(architecture: ModuleType, params: Params, dataset: str, model: Mapping[str, Any]) -> tuple[int, ...]:
    """Shape of one output of an architecture for a dataset.

    Raises:
        ValueError: The architecture cannot serve the dataset's task or size.
    """
    entry = params.dataset(dataset)
    return architecture.output_shape(
        task=entry.task, classes=len(params.classes(dataset)), input_shape=entry.input_shape, **model
    )


def _check_initial_weights(file: _File, params: Params, name: str) -> None:
    seen = [name]
    location = ("experiments", name, "train", "initial_weights", "experiment")
    start = params.experiments[name].train.initial_weights
    while (other := params.experiments[seen[-1]].train.initial_weights.experiment) not in (SCRATCH, *params.imports):
        if other not in params.experiments:
            known = [*params.experiments, *params.imports, SCRATCH]
            raise file.error(location, unknown(other, known, "experiment"))
        if other in seen:
            raise file.error(
                location,
                f"expected experiments that do not start from each other; received: {' <- '.join([*seen, other])}",
            )
        seen.append(other)
    if (start.experiment == SCRATCH) == bool(start.layers):
        raise file.error(
            location[:-1],
            f"expected `layers` exactly when `experiment` is not {SCRATCH!r}; received: {list(start.layers)}",
        )
    if not params.experiments[name].train.epochs:
        _check_untrained(file, params, name)


def _check_untrained(file: _File, params: Params, name: str) -> None:
    """An experiment of no epochs has another's weights, and must see its images as that one did."""
    location, experiment = ("experiments", name), params.experiments[name]
    start = experiment.train.initial_weights.experiment
    if start == SCRATCH:
        raise file.error(
            (*location, "train", "epochs"),
            "expected a number greater than 0; received: 0, which takes `initial_weights` from elsewhere",
        )
    if start in params.imports:
        expected, received = params.imports[start].input, experiment.input
        if (_per_channel(expected.mean), _per_channel(expected.std)) != (
            _per_channel(received.mean),
            _per_channel(received.std),
        ):
            raise file.error(
                (*location, "input"),
                f"expected the input of {start}, {_in_yaml(expected)}; received: {_in_yaml(received)}",
            )


def _per_channel(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,) * 3


def _in_yaml(entry: Input) -> str:
    """An entry as one would write it."""
    values = {"mean": entry.mean, "std": entry.std}
    parts = (f"{key}: {list(value) if isinstance(value, tuple) else value}" for key, value in values.items())
    return "{" + ", ".join(parts) + "}"


def _ensemble(file: _File, params: Params, name: str) -> Ensemble:
    ensemble, location = params.ensembles[name], ("ensembles", name)
    if name in (*params.experiments, *params.imports, SCRATCH, paths.DATASETS, paths.LAB):
        raise file.error(location, f"expected a name of its own; received: {name!r}, which is another result's")
    if ensemble.dataset not in params.datasets:
        raise file.error((*location, "dataset"), unknown(ensemble.dataset, params.datasets, "dataset"))
    dataset = params.datasets[ensemble.dataset]
    if dataset.task not in ("classification", "segmentation"):
        raise file.error(
            location, f"expected a dataset for classification or segmentation; received: one for {dataset.task}"
        )
    for member in _networks(file, params, name, (name,)):
        other = params.datasets[params.experiments[member].dataset]
        for key in ("source", "task", "examples", *(["size"] if dataset.task == "segmentation" else [])):
            if getattr(other, key) != getattr(dataset, key):
                raise file.error(
                    (*location, "members"),
                    f"expected experiments whose datasets have the {key} of {ensemble.dataset}, "
                    f"{getattr(dataset, key)!r}; received: {member} with {getattr(other, key)!r}",
                )
    return ensemble.model_copy(
        update={
            "postprocess": _validate(file, (*location, "postprocess"), POSTPROCESS[dataset.task], ensemble.postprocess)
        }
    )


def _networks(file: _File, params: Params, name: str, above: tuple[str, ...]) -> list[str]:
    """The experiments of an ensemble, each once, those of the ensembles among its members included."""
    location, found = ("ensembles", above[0], "members"), []
    for member in params.ensembles[name].members:
        if member in above:
            raise file.error(
                location,
                f"expected ensembles that are not within each other; received: {' <- '.join([*above, member])}",
            )
        if member not in params.experiments and member not in params.ensembles:
            known = [*params.experiments, *params.ensembles]
            raise file.error(location, unknown(member, known, "experiment"))
        is_one = member in params.experiments
        found += [member] if is_one else _networks(file, params, member, (*above, member))
    twice = sorted({member for member in found if found.count(member) > 1})
    if twice:
        raise file.error(location, f"expected every network once; received: {', '.join(twice)} twice")
    return found


def _check_published(file: _File, params: Params, location: tuple[str, str]) -> None:
    published = params.measured(location[1]).published
    if published is None:
        return
    rows = architectures.load(params.network(location[1]).architecture).PUBLISHED
    systems = sorted({row.system for row in rows})
    if published.system not in systems:
        raise file.error((*location, "published", "system"), unknown(published.system, systems, "published system"))
    if not any(is_published(row, published) for row in rows):
        raise file.error(
            (*location, "published", "table"),
            f"expected a table with a number of {published.system}; received: {published.table}",
        )


def is_published(row: architectures.Published, published: PublishedResult) -> bool:
    """Whether a published number is of this system, and from this table where one is named."""
    return row.system == published.system and (
        published.table is None or row.source.endswith(f"table {published.table}")
    )
