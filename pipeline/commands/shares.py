"""What each chain of stages that runs beside others has of this machine for itself: a core, and a GPU if it computes on one.

Two trainings on one GPU would take each other's memory. So a stage that computes with Keras waits for a free GPU, where there are any, and
sees no other; the stages that need none run beside it.
"""

from collections.abc import Mapping, Sequence, Set

from pipeline.backend import gpus
from pipeline.runtime import cores, definition, launching


def computing(values: Mapping) -> frozenset[str]:
    """The stages that compute with Keras on this machine, by the content of params.yaml: those that depend on its `backend` and have no launcher."""
    return frozenset(
        definition.label(stage, entry)
        for stage, entry in definition.labels(values)
        if "backend" in definition.checked_params_of(stage, entry, values) and not launching.launcher(stage, entry)
    )


class Shares:
    """Gives and takes back.

    Args:
        on_gpus: The stages that need a GPU for themselves; none where there are no GPUs.
        free_gpus: GPUs, as CUDA_VISIBLE_DEVICES names them.
        free_cores: Cores, by the system's numbers; chains beyond their number have none for themselves.
    """

    def __init__(self, on_gpus: Set[str] = frozenset(), free_gpus: Sequence[str] = (), free_cores: Sequence[int] = ()):
        self.on_gpus = on_gpus
        self._gpus, self._cores = list(free_gpus), list(free_cores)
        self._held: dict[str, dict[str, str]] = {}

    def has(self, stages: Sequence[str]) -> bool:
        """Whether a chain can start now."""
        return bool(self._gpus) or self.on_gpus.isdisjoint(stages)

    def take(self, name: str, stages: Sequence[str]) -> dict[str, str]:
        """The share of a chain, as variables of the environment."""
        own = self._held[name] = {}
        if self._cores:
            own[cores.CORE] = str(self._cores.pop(0))
        if not self.on_gpus.isdisjoint(stages):
            own[gpus.VISIBLE] = self._gpus.pop(0)
        return own

    def give_back(self, name: str) -> None:
        """The chain has ended."""
        own = self._held.pop(name)
        if cores.CORE in own:
            self._cores.append(int(own[cores.CORE]))
        if gpus.VISIBLE in own:
            self._gpus.append(own[gpus.VISIBLE])
