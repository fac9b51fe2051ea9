"""Learning-rate schedules: each public function makes one, and its name is the schedule's name in params.yaml.

Every schedule may begin with a warm-up: over the first `warmup_epochs` epochs the rate rises linearly, from `warmup_factor` times to all of
the rate without a warm-up (YOLO v1, section 2.2: from a tenth).
"""

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

Count = Annotated[int, Gt(0)]
Factor = Annotated[float, Gt(0)]
Decline = Annotated[float, Gt(0), Lt(1)]
WarmupEpochs = Annotated[float, Ge(0)]
WarmupFactor = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True)
class Schedule:
    """A learning rate as a function of time.

    Attributes:
        factor_at: A function from the epochs since the start, fractions included, and the validation losses of the epochs that are
            over, to the factor on the base rate.
        warmup_epochs: Length of the warm-up in epochs.
        warmup_factor: Fraction of the rate at the start of the warm-up, 0..1.
        needed_epochs: A training must be longer than this to use every factor of the schedule, or the first change of a schedule that
            has no last one.
        lasts_epochs: A training must be at least this long to reach the end of a schedule that changes all the time.
    """

    factor_at: Callable[[float, Sequence[float]], float]
    warmup_epochs: float
    warmup_factor: float
    needed_epochs: float = 0.0
    lasts_epochs: float = 0.0

    def rate_at(self, epoch: float, *, base: float, losses: Sequence[float] = ()) -> float:
        """The learning rate `epoch` epochs after the start: the base rate times the factor, reduced during the warm-up.

        `losses` are the validation losses of the epochs that are over.
        """
        rate = base * self.factor_at(epoch, losses)
        if epoch >= self.warmup_epochs:
            return rate
        return rate * (self.warmup_factor + (1 - self.warmup_factor) * epoch / self.warmup_epochs)


def constant(*, warmup_epochs: WarmupEpochs = 0.0, warmup_factor: WarmupFactor = 0.1) -> Schedule:
    """The optimizer's learning rate in all epochs."""
    return Schedule(lambda _epoch, _losses: 1.0, warmup_epochs, warmup_factor)


def step(
    *, every_epochs: Count, factor: Decline, warmup_epochs: WarmupEpochs = 0.0, warmup_factor: WarmupFactor = 0.1
) -> Schedule:
    """The rate is multiplied by `factor` after every `every_epochs` epochs."""
    return Schedule(
        lambda epoch, _losses: factor ** math.floor(epoch / every_epochs),
        warmup_epochs,
        warmup_factor,
        needed_epochs=every_epochs,
    )


def piecewise(
    *,
    epochs: tuple[Annotated[float, Gt(0)], ...],
    factors: tuple[Factor, ...],
    warmup_epochs: WarmupEpochs = 0.0,
    warmup_factor: WarmupFactor = 0.1,
) -> Schedule:
    """The base rate is multiplied by `factors[i]` from epoch `epochs[i - 1]` until `epochs[i]`: one factor more than epochs.

    Raises:
        ValueError: The number of factors is not one more than the number of epochs, or the epochs do not rise.
    """
    if len(factors) != len(epochs) + 1:
        raise ValueError(f"expected {len(epochs) + 1} factors for {len(epochs)} epochs; received: {len(factors)}")
    if list(epochs) != sorted(set(epochs)):
        raise ValueError(f"expected epochs that rise; received: {list(epochs)}")
    return Schedule(
        lambda epoch, _losses: factors[bisect.bisect_right(epochs, epoch)],
        warmup_epochs,
        warmup_factor,
        needed_epochs=epochs[-1] if epochs else 0.0,
    )


def sigmoid(
    *,
    half_epochs: Annotated[float, Gt(0)],
    width_epochs: Annotated[float, Gt(0)],
    warmup_epochs: WarmupEpochs = 0.0,
    warmup_factor: WarmupFactor = 0.1,
) -> Schedule:
    """Times 1 / (1 + exp((epoch - `half_epochs`) / `width_epochs`)): half the rate after `half_epochs`.

    Darknet's policy `sigmoid`, with `step` = half and 1 / `gamma` = width, in batches (cfg/darknet.cfg, pjreddie/darknet@6103ecc4).
    """
    return Schedule(
        lambda epoch, _losses: 0.5 - 0.5 * math.tanh((epoch - half_epochs) / width_epochs / 2),
        warmup_epochs,
        warmup_factor,
        needed_epochs=half_epochs,
    )


def cosine(
    *,
    epochs: Annotated[float, Gt(0)],
    last_factor: Annotated[float, Ge(0), Lt(1)] = 0.0,
    warmup_epochs: WarmupEpochs = 0.0,
    warmup_factor: WarmupFactor = 0.1,
) -> Schedule:
    """Falls along half a period of a cosine: times f + (1 - f) (1 + cos(pi epoch / `epochs`)) / 2, then f = `last_factor`.

    One cycle of Loshchilov and Hutter 2017 (SGDR), equation 5, with f = eta_min / eta_max.

    Args:
        epochs: Where the last factor is reached: usually the training's epochs.
        last_factor: Of the base rate, from there on.
        warmup_epochs: As of all schedules; the cosine begins with the warm-up, not after it.
        warmup_factor: As of all schedules.
    """
    fall = 1 - last_factor
    return Schedule(
        lambda epoch, _losses: last_factor + fall * (1 + math.cos(math.pi * min(epoch / epochs, 1.0))) / 2,
        warmup_epochs,
        warmup_factor,
        lasts_epochs=epochs,
    )


def plateau(
    *, factor: Decline, patience_epochs: Count, warmup_epochs: WarmupEpochs = 0.0, warmup_factor: WarmupFactor = 0.1
) -> Schedule:
    """The rate is multiplied by `factor` whenever the validation loss has not fallen below its minimum for `patience_epochs` epochs.

    AlexNet (section 5) and VGG (section 3.1) divide by 10 when the validation error stops improving.
    """

    def factor_at(_epoch: float, losses: Sequence[float]) -> float:
        current, minimum, stale_epochs = 1.0, math.inf, 0
        for loss in losses:
            stale_epochs = 0 if loss < minimum else stale_epochs + 1
            minimum = min(loss, minimum)
            if stale_epochs >= patience_epochs:
                current, stale_epochs = current * factor, 0
        return current

    return Schedule(factor_at, warmup_epochs, warmup_factor, needed_epochs=patience_epochs)
