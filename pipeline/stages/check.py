"""Stage `check`: params.yaml is validated whole, and what code each stage of each entry runs is written down.

It comes before every other stage: each depends on its own file in results/code, so that DVC itself starts no other command and deletes
no other output before params.yaml is known to be good, and runs again what other code would make otherwise.
"""

from pipeline.params import load_params
from pipeline.params.code import code_of_stages
from pipeline.runtime import definition, paths
from pipeline.runtime.guard import stage


def run() -> None:
    """Validate params.yaml and write a file for each stage of each entry.

    Raises:
        InputError: params.yaml is not as it has to be.
    """
    params = load_params(with_files=True)
    with stage(definition.CHECK, "", inputs=[paths.params_file()], outputs=[paths.code()]) as (folder,):
        for label, text in code_of_stages(params).items():
            (folder / label).write_text(text, encoding="utf-8")
        (folder / paths.CHECKED).write_text("params.yaml is as it has to be.\n", encoding="utf-8")
