"""The contract of a loss (`cnnkeras/losses/__init__.py`): what it says of itself is true of random targets and outputs of each of its tasks."""

from types import ModuleType

import numpy as np

from cnnkeras import losses, tasks
from pipeline.commands.plugin_contract import require_keywords, require_tasks

_TOLERANCE = 1e-4  # relative: sums in float32 of a few hundred numbers


def check(module: ModuleType) -> None:
    """Check a module; its loss is computed.

    Raises:
        ValueError: A task or an argument is unknown, the loss is no finite number, or it is not of the kind that `IS_MEAN_OF_EXAMPLES` says.
    """
    require_tasks(module)
    require_keywords(module.build, reserved=(losses.NAME,))
    known = module.build.__kwdefaults__ or {}
    if unknown := [key for key in module.PER_CLASS if known.get(key, "") is not None]:
        raise ValueError(
            f"PER_CLASS: expected arguments of build whose default is None; received: {', '.join(unknown)}"
        )
    for task in module.TASKS:
        _check_task(module, tasks.load(task))


def _check_task(module: ModuleType, task: ModuleType) -> None:
    name = task.__name__.rpartition(".")[2]
    targets, outputs = task.tiny_batch(np.random.default_rng(0))
    whole = _loss(module, name, targets, outputs)
    parts = np.mean([_loss(module, name, targets[i : i + 1], outputs[i : i + 1]) for i in range(len(targets))])
    if module.IS_MEAN_OF_EXAMPLES and not np.isclose(whole, parts, rtol=_TOLERANCE):
        raise ValueError(
            f"IS_MEAN_OF_EXAMPLES: expected False, or for {name} the loss of a batch as the mean of those of its examples, {parts:.6g}; "
            f"received: {whole:.6g}"
        )
    if np.isclose(whole, _loss(module, name, targets[::-1], outputs), rtol=_TOLERANCE):
        raise ValueError(f"build: expected another loss of {name} for other targets; received: {whole:.6g} for both")
    if task.soft_targets is not None:
        soft = _loss(module, name, task.soft_targets(targets, classes=outputs.shape[-1]), outputs)
        if not np.isclose(whole, soft, rtol=_TOLERANCE):
            raise ValueError(
                f"build: expected the loss of {name} for targets as probabilities, as `mixup_alpha` gives them, to be that for the same classes "
                f"as indices, {whole:.6g}; received: {soft:.6g}"
            )


def _loss(module: ModuleType, task: str, targets: np.ndarray, outputs: np.ndarray) -> float:
    """The loss of a batch, as a training computes it."""
    import keras

    loss = module.build(**module.TINY)
    if not callable(loss):
        raise ValueError(
            f"build: expected a keras.losses.Loss or a function of targets and outputs; received: {loss!r}"
        )
    model = keras.Sequential([keras.Input(outputs.shape[1:]), keras.layers.Identity()])
    model.compile(loss=loss)
    values = np.asarray(loss(targets, keras.ops.convert_to_tensor(outputs)))
    if not isinstance(loss, keras.losses.Loss) and values.shape[:1] != (len(targets),):
        raise ValueError(
            f"build: expected a number for each of {len(targets)} examples of {task}; received: shape {values.shape}"
        )
    found = float(model.evaluate(outputs, targets, batch_size=len(targets), verbose=0))
    if not np.isfinite(found):
        raise ValueError(f"build: expected a finite loss for {task}; received: {found}")
    return found
