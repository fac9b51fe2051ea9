"""`python -m pipeline.commands.dvc_process ARGUMENTS`: DVC in a process that ends when the process that started it ends."""

import signal
import sys

from dvc.cli import main

from pipeline.runtime.signals import end_with_parent, is_adopted

if __name__ == "__main__":
    end_with_parent(signal.SIGTERM, is_adopted)
    sys.exit(main(sys.argv[1:]))
