"""What an optimizer of Keras does in a step to one variable."""

from collections.abc import Callable
from functools import partial

import lazy_loader

keras = lazy_loader.load("keras")


def change_step(
    update: "keras.optimizers.Optimizer", change: Callable[[Callable[..., None]], Callable[..., None]]
) -> None:
    """Replace what an optimizer of Keras does in a step to one variable by `change` of it: of (gradient, variable, learning rate)."""
    update.update_step = change(update.update_step)
    if keras.backend.backend() == "torch":
        # There Keras' own optimizers step all variables at once, without `update_step`.
        update._backend_update_step = partial(keras.optimizers.Optimizer._backend_update_step, update)
