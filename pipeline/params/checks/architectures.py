"""Checks of an entry's architecture and of the statistics of its first layer."""

from types import ModuleType

from cnnkeras import architectures
from cnnkeras.by_name import unknown
from pipeline.params.experiments import Experiment, Import, Input
from pipeline.params.parsed import ParsedFile
from pipeline.params.sentences import checked_arguments
from pipeline.runtime.entries import Arguments

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
