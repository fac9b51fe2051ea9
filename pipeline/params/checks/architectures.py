"""Checks of an entry's architecture, and of the size and the statistics of its input."""

import math
from types import ModuleType

from cnnkeras import architectures, tasks
from cnnkeras.by_name import unknown
from cnnkeras.protocols import fits
from pipeline.params.datasets import Dataset
from pipeline.params.experiments import Experiment, Import, Input
from pipeline.params.parsed import ParsedFile
from pipeline.params.sentences import checked_arguments
from pipeline.runtime.entries import Arguments

# Values of one input. In float32 they fill 1 GiB; after a first layer of 64 channels, as VGG's, they fill 21 GiB, and a training
# keeps several such maps.
MAX_INPUT_VALUES = 2**28
BUILD_RESERVED = ("input_shape", "output_shape", "input_mean", "input_std")


def known_architecture(file: ParsedFile, location: tuple[str, ...], entry: Experiment | Import) -> ModuleType:
    """The module of an entry's architecture."""
    if entry.architecture not in architectures.names():
        raise file.error(
            (*location, "architecture"), unknown(entry.architecture, architectures.names(), "architecture")
        )
    return architectures.load(entry.architecture)


def checked_model(
    file: ParsedFile, location: tuple[str, ...], entry: Experiment | Import, architecture: ModuleType
) -> Arguments:
    """The checked options of an entry's architecture."""
    model = checked_arguments(file, (*location, "model"), architecture.build, entry.model, reserved=BUILD_RESERVED)
    variant = model.get("variant")
    if variant is not None and variant not in architecture.VARIANTS:
        raise file.error((*location, "model", "variant"), unknown(variant, architecture.VARIANTS, "variant"))
    return model


def check_input(file: ParsedFile, location: tuple[str, ...], statistics: Input, channels: int) -> None:
    """Refuse a list of means or standard deviations that does not have one number per channel."""
    for key, value in (("mean", statistics.mean), ("std", statistics.std)):
        if isinstance(value, tuple) and len(value) != channels:
            raise file.error(
                (*location, "input", key),
                f"expected 'dataset', a number or {channels} of them, one a channel; received: {list(value)}",
            )


def check_input_size(file: ParsedFile, location: tuple[str, ...], dataset: Dataset, experiment: Experiment) -> None:
    """Refuse an input whose size is not said or is said in vain, and a fit by which boxes or label maps would lose a part of the image."""
    size, fit, place = experiment.input.size, experiment.input.fit, (*location, "input")
    missing = [key for key, value in (("size", size), ("fit", fit)) if value is None]
    if dataset.is_signal and (size or fit):
        raise file.error((*place, "size" if size else "fit"), "expected none for signals; received: some")
    if missing and (dataset.size is None or len(missing) == 1):
        why = f"as images of {experiment.dataset} have any size" if dataset.size is None else "as one needs the other"
        keys = " and ".join(repr(key) for key in missing)
        raise file.error(place, f"expected the key{'s' * (len(missing) > 1)} {keys}, {why}; received: none")
    if fit is None:
        return
    try:
        fit.call(fits).require(size)
    except ValueError as error:
        raise file.error((*place, "fit"), str(error)) from error
    if math.prod(size) * 3 > MAX_INPUT_VALUES:
        side = math.isqrt(MAX_INPUT_VALUES // 3)
        message = f"expected inputs of at most {side:,} x {side:,} pixels in all; received: {list(size)}"
        raise file.error((*place, "size"), message)
    if not fit.call(fits).is_whole and {"boxes", "masks"} & set(tasks.load(dataset.task).ANNOTATIONS):
        raise file.error(
            (*place, "fit", "name"),
            f"expected stretch or letterbox for {dataset.task}, which is measured on whole images; received: {fit.name}",
        )
