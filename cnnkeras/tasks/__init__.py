"""What a network is used for: one file, one task, and the file's name is its name in params.yaml.

Every task has `encode_targets` (from annotations to what the loss takes), `build_loss`, `build_metrics` (shown while
training) and `decode_outputs` (from the network's outputs to predictions). Encoding and decoding are NumPy; Keras is
imported when a loss or a metric is built.
"""

from cnnkeras.by_name import Files

_files = Files(__name__, "a task")
names, load = _files.names, _files.load
