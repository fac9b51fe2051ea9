"""The architecture of an entry, and what its first layer subtracts and divides by."""

from types import ModuleType

from cnnkeras import architectures
from cnnkeras.by_name import unknown
from pipeline.params.experiments import Experiment, Import, Input
from pipeline.params.parsed import ParsedFile
from pipeline.params.sentences import checked_arguments
from pipeline.runtime.entries import Arguments

BUILD_RESERVED = ("input_shape", "output_shape", "input_mean", "input_std")


def known_architecture(file: ParsedFile, location: tuple[str, ...], entry: Experiment | Import) -> ModuleType:
    """The architecture of an entry."""
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


def check_input(file: ParsedFile, location: tuple[str, ...], given: Input, channels: int) -> None:
    """Refuse a mean or a deviation that has not one number a channel."""
    for key, value in (("mean", given.mean), ("std", given.std)):
        if isinstance(value, tuple) and len(value) != channels:
            raise file.error(
                (*location, "input", key),
                f"expected 'dataset', a number or {channels} of them, one a channel; received: {list(value)}",
            )
