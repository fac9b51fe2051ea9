"""Stage `import-weights`: writes a model from a file of published weights, in the same format as a trained model."""

from typing import TYPE_CHECKING

from cnnkeras import architectures, weights
from pipeline.backend import devices
from pipeline.params import Import, load_params
from pipeline.runtime import outcome, paths
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import stage

if TYPE_CHECKING:
    import keras

_SEED = 0  # every weight comes from the file


def run(name: str) -> None:
    """Write the model of an import.

    Args:
        name: Entry under `imports:`.

    Raises:
        InputError: There is no such entry; its file does not exist, has another format, or has weights of another architecture.
    """
    params = load_params()
    entry = params.imported(name)
    file = paths.imported(entry.file)
    if not file.is_file():
        raise InputError(
            f"imports.{name}.file: expected the file {entry.file}; received: none. Put the published file there, "
            f"for example with `dvc import-url URL {entry.file}`, or name another"
        )
    with (
        stage("import-weights", name, inputs=[file], outputs=[paths.model_folder(name)], params=params) as (folder,),
        devices.set_up(seed=_SEED),
    ):
        # Importing Keras takes seconds: the errors above come first.
        from pipeline.backend import model_files

        model = _build(entry)
        try:
            with file.open("rb") as content:
                values = weights.load(entry.format).read(content, model, classes=entry.classes)
            weights.assign(model, values)
        except ValueError as error:
            raise InputError(f"{entry.file}: {error}") from error
        model_files.save(model, folder / paths.model_file(name).name)
    outcome.say("import-weights", name, f"{model.count_params():,} parameters", paths.model_folder(name))


def _build(entry: Import) -> "keras.Model":
    architecture = architectures.load(entry.architecture)
    output_shape = architecture.output_shape(
        task=architecture.TASKS[0], classes=entry.classes, input_shape=entry.input_shape, **entry.model
    )
    return architecture.build(
        input_shape=entry.input_shape,
        output_shape=output_shape,
        input_mean=entry.input.mean,
        input_std=entry.input.std,
        **entry.model,
    )
