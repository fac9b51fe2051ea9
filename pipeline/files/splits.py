"""A list dealt out to the splits by a seed, where a data set was published without a validation or a test split."""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from annotated_types import Gt, Lt

from pipeline.runtime.errors import InputError

Share = Annotated[float, Gt(0), Lt(1)]


def deal(count: int, shares: Mapping[str, float], seed: int) -> dict[str, np.ndarray]:
    """Positions 0 to `count` - 1 for each split that has a share, and the rest for `train`; each ascending.

    Args:
        count: Length of the list.
        shares: Of the list, for `val`, `test` or both; each gets one at least.
        seed: Draws them.

    Raises:
        InputError: Nothing is left to train on.
    """
    order, start, dealt = np.random.default_rng(seed).permutation(count), 0, {}
    for split, share in shares.items():
        stop = start + max(1, round(share * count))
        dealt[split], start = np.sort(order[start:stop]), stop
    if start >= count:
        raise InputError(
            f"expected more than {start} examples, so that some are left to train on after "
            f"{' and '.join(f'{split}: {share}' for split, share in shares.items())}; received: {count}"
        )
    return dealt | {"train": np.sort(order[start:])}
