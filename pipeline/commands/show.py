"""`cnnkeras show`: a trained experiment on the user's own images (or signals), drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from rich.console import Console

from cnnkeras.boxes import clip_boxes
from cnnkeras.tasks import classification, detection
from pipeline.drawing import overlays
from pipeline.formats.packed import OUTPUT_DTYPES
from pipeline.images import annotated
from pipeline.params import (
    ClassificationPostprocess,
    DetectionPostprocess,
    Params,
    Proposals,
    SegmentationPostprocess,
    load_params,
)
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError
from pipeline.stages import combine
from pipeline.stages.evaluate.detection import displayed
from pipeline.stages.postprocess import average_views, label_map

FOLDER = "show"  # in the current folder
SIDES = 480, 1600  # pixels: the longer side of what is drawn is the image's own, but not less and not more


@dataclass(frozen=True)
class Shown:
    """A drawn image, and what was found on it, a line each."""

    image: np.ndarray
    lines: list[str]


def run(name: str, files: Sequence[Path], *, output: Path | None = None) -> None:
    """Run an experiment's network, or those of an ensemble, on files, print what it finds and draw it.

    An image is seen as `predict` sees it, by the experiment's `views` or `regions`, and an ensemble's networks are combined as
    `combine` does. Everything is read before a network is loaded, and everything is drawn before the first file is written.

    Args:
        name: Entry under `experiments:` or `ensembles:`.
        files: Images in any format; for a network of signals, .npy or .csv files of as many numbers as it takes.
        output: Folder for FILE-EXPERIMENT.png. Default: show/ here.

    Raises:
        InputError: The experiment is unknown or not trained, sees only regions of the test split's images, or a file is not
            what it should be.
    """
    params = load_params()
    entry = params.measured(name)
    dataset, classes = params.dataset(entry.dataset), params.classes(entry.dataset)
    for network in params.networks(name):
        _check_network(params, network)
    is_signal = len(dataset.size) == 1
    read = [read_signal(file, dataset.size[0]) if is_signal else read_image(file) for file in files]
    shown = [
        SHOW[dataset.task](image, outputs, classes, entry.postprocess)
        for image, outputs in zip(read, _outputs(params, name, read), strict=True)
    ]
    folder = Path(FOLDER) if output is None else output
    console = Console(highlight=False, soft_wrap=True)
    for file, target, result in zip(files, _targets(files, name, folder), shown, strict=True):
        _write(target, result.image)
        console.print(f"{file}", style="bold", markup=False)
        for line in result.lines:
            console.print(f"  {line}", markup=False)
        console.print(f"  drawn in {target}", markup=False)


def read_image(file: Path) -> np.ndarray:
    """An image file, of any format and colour mode, upright, as uint8 RGB (H, W, 3); transparency becomes white.

    Raises:
        InputError: It does not exist, is no image, or is damaged.
    """
    try:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.has_transparency_data:
                layer = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
            if upright.mode.startswith("I;16"):  # Pillow would cut at 255
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            return np.array(upright.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _not_readable(file, "a whole image", error) from error


def read_signal(file: Path, length: int) -> np.ndarray:
    """A signal, float32 (length, 1), from a .npy file or from numbers in text, separated by commas or lines.

    Raises:
        InputError: It does not exist, holds anything else than numbers, or another count of them.
    """
    try:
        if file.suffix == ".npy":
            values = np.load(file, allow_pickle=False)
        else:
            values = np.array(file.read_text(encoding="utf-8").replace(",", " ").split(), np.float32)
        signal = np.asarray(values, np.float32).reshape(-1, 1)
    except (OSError, ValueError, EOFError) as error:
        raise _not_readable(file, f"{length} numbers, as .npy or .csv", error) from error
    if len(signal) != length or not np.isfinite(signal).all():
        raise _not_readable(file, f"{length} finite numbers", f"{len(signal)}, {np.isfinite(signal).sum()} finite")
    return signal


def show_class(
    image: np.ndarray, outputs: np.ndarray, classes: Sequence[str], settings: ClassificationPostprocess
) -> Shown:
    """The image, or the signal, over bars of its most probable classes."""
    probabilities = classification.decode_outputs(outputs[None])[0]
    best = classification.most_probable(probabilities, settings.top_k)
    names, values = [classes[label] for label in best], probabilities[best]
    side = SIDES[0]
    drawn = overlays.draw_signal(image, side=side) if image.ndim == 2 else overlays.fit(image, side)
    page = np.full((drawn.shape[0], side, 3), 255, np.uint8)
    left = (side - drawn.shape[1]) // 2
    page[:, left : left + drawn.shape[1]] = drawn
    lines = [f"{name} {value:.3f}" for name, value in zip(names, values, strict=True)]
    return Shown(np.vstack([page, overlays.draw_bars(names, values, side=side)]), lines)


def show_objects(
    image: np.ndarray, outputs: np.ndarray, classes: Sequence[str], settings: DetectionPostprocess
) -> Shown:
    """The image with the boxes that are sure enough to be displayed, and their places in its own pixels."""
    found = detection.detect(
        outputs[None],
        classes=len(classes),
        confidence_threshold=settings.confidence_threshold,
        nms_iou=settings.nms_iou,
    )
    found = displayed(found, settings)
    found = found[np.argsort(-found.scores, kind="stable")]
    height, width = image.shape[:2]
    boxes = clip_boxes(found.boxes * [width, height, width, height], np.array([height, width]))
    drawn = overlays.draw_boxes(image, boxes, found.labels, classes, found.scores, side=_side(image))
    lines = [
        f"{classes[label]} {score:.3f} from ({box[0]:.0f}, {box[1]:.0f}) to ({box[2]:.0f}, {box[3]:.0f})"
        for label, score, box in zip(found.labels, found.scores, boxes, strict=True)
    ]
    return Shown(drawn, lines or [f"nothing with a score of at least {settings.display_threshold:g}"])


def show_regions(
    image: np.ndarray, outputs: np.ndarray, classes: Sequence[str], settings: SegmentationPostprocess
) -> Shown:
    """The image under its label map, and the share of the pixels that each class takes."""
    labels = label_map(outputs, image.shape[:2], settings)
    drawn = overlays.draw_mask(image, labels, classes, side=_side(image))
    shares = np.bincount(labels.reshape(-1), minlength=len(classes) + 1) / labels.size
    present = [label for label in np.argsort(-shares, kind="stable") if shares[label] > 0]
    return Shown(drawn, [f"{['background', *classes][label]} {shares[label]:.1%} of the pixels" for label in present])


SHOW: dict[str, Callable[..., Shown]] = {
    "classification": show_class,
    "detection": show_objects,
    "segmentation": show_regions,
}


def _check_network(params: Params, name: str) -> None:
    """Refuse a network that is not there, and one that sees images by what is known of the test split's alone."""
    if not paths.model_file(name).is_file():
        place = paths.model_file(name).relative_to(paths.root())
        raise InputError(
            f"expected the trained network {place}; received: no such file. "
            f"Run `cnnkeras train {name}` or `dvc repro train@{name}` first"
        )
    chosen = params.experiment(name).predict.regions
    if isinstance(chosen, Proposals):
        raise InputError(
            f"experiments.{name}.predict.regions: expected regions that every image has; received: proposals, and "
            f"{chosen.file} has none for your images. Choose boxes or sliding_windows to show them"
        )


def _outputs(params: Params, name: str, read: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What `postprocess` would be given of each image or signal: views averaged, regions merged, networks combined."""
    if name not in params.ensembles:
        return _network_outputs(params, name, read)
    ensemble = params.ensemble(name)
    members = [_outputs(params, member, read) for member in ensemble.members]
    networks = [len(params.networks(member)) for member in ensemble.members]
    for outputs in zip(*members, strict=True):
        combine.check_shapes(name, [member.shape for member in outputs])
    combined = (combine.combined(outputs, networks, ensemble.combine) for outputs in zip(*members, strict=True))
    return [outputs.astype(OUTPUT_DTYPES[params.task(name)]) for outputs in combined]


def _network_outputs(params: Params, name: str, read: Sequence[np.ndarray]) -> list[np.ndarray]:
    from pipeline.stages import predict

    experiment = params.experiment(name)
    settings, size = experiment.predict, params.dataset(experiment.dataset).size
    network = predict.load_network(name, seed=params.seed)
    if settings.views:
        outputs = predict.view_outputs(network, read, settings)
    elif settings.regions:
        outputs = (predict.region_outputs(network, image, settings) for image in read)
    else:
        inputs = read if len(size) == 1 else [annotated.resize(image, size) for image in read]
        outputs = (network.predict_on_batch(item[None])[0] for item in inputs)
    # The numbers that the file of raw outputs would hold.
    outputs = [np.asarray(seen, OUTPUT_DTYPES[params.task(name)]) for seen in outputs]
    counts = [view.count for view in settings.views]
    return [average_views(seen[None], counts)[0] for seen in outputs] if counts else outputs


def _targets(files: Sequence[Path], name: str, folder: Path) -> list[Path]:
    """Where each drawing goes: FILE-EXPERIMENT.png, numbered where several files share a name."""
    targets: list[Path] = []
    for file in files:
        target, number = folder / f"{file.stem}-{name}.png", 1
        while target in targets:
            number += 1
            target = folder / f"{file.stem}-{name}-{number}.png"
        targets.append(target)
    return targets


def _write(target: Path, image: np.ndarray) -> None:
    """Write a drawing in one step, so that an interruption leaves no half of one."""
    partial = target.with_name(f".partial-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        overlays.write_png(partial, image)
        partial.replace(target)
    except OSError as error:
        raise InputError(f"{target}: expected to be able to write; received: {error.strerror}") from error


def _side(image: np.ndarray) -> int:
    return int(np.clip(max(image.shape[:2]), *SIDES))


def _not_readable(file: Path, expected: str, received: object) -> InputError:
    if isinstance(received, OSError) and received.strerror:
        received = received.strerror.lower()
    return InputError(f"{file}: expected {expected}; received: {received}. Give another file")
