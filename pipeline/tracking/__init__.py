"""MLflow, and only here: a view of the local files, which can be made again from them at any time.

- `store`: finds the project's store and the runs in it; `runs`: all that can be done with a run.
- `results`: one run for each distinct result, shown once; `curves`: a training's history as points.
- `live`: the curves of a training while it runs.
- `models`, `serving`: a model that `mlflow.pyfunc.load_model` loads; `server`: the UI.
- `fingerprints`, `provenance`: what makes two results the same; where a result comes from.

MLflow takes seconds to import: `live`, `fingerprints` and `provenance` do without it.
"""

import os

# MLflow reads its settings from the environment while it is imported, so they are made here, before any module of this package. Its
# own limits are 7 retries of 120 s. Those that the user has set stay.
LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
_SETTINGS = {**LIMITS, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
for _key, _value in _SETTINGS.items():
    os.environ.setdefault(_key, _value)
