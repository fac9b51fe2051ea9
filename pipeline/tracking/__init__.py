"""MLflow, imported only by this package. It shows results; all that it shows can be made again from the local files.

- `replay`: which results are to be shown; `results`: a result, read from the local files.
- `records`: each run that is to be shown, complete in a folder; `sending`: records on their way to the store.
- `store`: the tracking store and the runs in it; `own_store`: the project's own; `runs`: reading and changing one run.
- `live`: the curves of a training while it runs; `curves`: a training's history as points; `times`: when it ran.
- `models`, `serving`: a model that `mlflow.pyfunc.load_model` loads; `registry`: models by name and alias; `server`: the UI.
- `fingerprints`: digests that are equal for equal results; `provenance`: the commit and the data that a result comes from.

MLflow takes seconds to import: `live`, `times`, `fingerprints` and `provenance` do not import it.
"""

import os

# MLflow reads these variables while it is imported, so they are set here, before any module of this package is. MLflow's defaults are
# 7 retries of 120 s. Variables that the user has set stay.
LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
_SETTINGS = {
    **LIMITS,
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
for _key, _value in _SETTINGS.items():
    os.environ.setdefault(_key, _value)
