"""`python -m pipeline.commands.dvc_process ARGUMENTS`: DVC in a process that ends when the process that started it ends, and that is quick."""

import signal
import sys

from dvc.cli import main

from pipeline.commands import lock_file
from pipeline.runtime.garbage import uncollected
from pipeline.runtime.signals import end_with_parent, is_adopted

if __name__ == "__main__":
    end_with_parent(signal.SIGTERM, is_adopted)
    lock_file.write_single_stages()
    with uncollected():
        sys.exit(main(sys.argv[1:]))
