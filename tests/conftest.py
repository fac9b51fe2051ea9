"""What all tests share: an environment without a screen, without chatter and without the network."""

import os
import signal

os.environ |= {
    "MPLBACKEND": "Agg",
    "NO_ALBUMENTATIONS_UPDATE": "1",  # it would look for a newer version online
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
# What the person at the terminal has set up for their own runs is no business of the tests.
for name in ("CNNKERAS_MIRROR", "DVC_ROOT", "DVC_STAGE", "MLFLOW_TRACKING_URI"):
    os.environ.pop(name, None)
# A shell without a terminal starts background jobs deaf to Ctrl-C, and children inherit it; the tests that send one need ears.
signal.signal(signal.SIGINT, signal.default_int_handler)
