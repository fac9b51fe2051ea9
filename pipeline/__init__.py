"""The stages and the command line. They read and write files, measure times, print, and use DVC and MLflow; `cnnkeras` does not."""

import sys
from pathlib import Path

if Path(sys.argv[0]).name == "cnnkeras" or "pipeline.cli" in sys.orig_argv[1:5]:
    # The program starts, nobody imports it for another purpose: a signal during its own imports is one line and no traceback.
    from pipeline.runtime import signals

    signals.end_at_once()

from pipeline.runtime import loaded  # noqa: F401 - it records the text of every module that is loaded after it
