"""Stage `check`: validates all of params.yaml and writes down which code each stage of each entry runs.

It runs before every other stage, because each depends on a file in results/code that `check` writes. So DVC starts no other command and
deletes no other output before params.yaml is valid, and runs a stage again when its code changed.
"""

from pipeline.backend import devices
from pipeline.params import load_params
from pipeline.params.code import code_of_stages
from pipeline.runtime import definition, paths
from pipeline.runtime.guard import stage


def run() -> None:
    """Validate params.yaml and write a file into results/code for each stage of each entry.

    Raises:
        InputError: params.yaml is not valid.
    """
    params = load_params(with_files=True)
    devices.chosen_backend()  # refused now rather than by the first training
    with stage(definition.CHECK, "", inputs=[paths.params_file()], outputs=[paths.code()], params=params) as (folder,):
        values = definition.read_yaml(paths.params_file())
        for label, text in code_of_stages(params, values).items():
            (folder / label).write_text(text, encoding="utf-8")
        (folder / paths.CHECKED).write_text("params.yaml is as it has to be.\n", encoding="utf-8")
