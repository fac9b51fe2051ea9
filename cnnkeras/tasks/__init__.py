"""What a model is used for: one file, one task, and the file's name is its name in params.yaml.

A task's file defines

- `EXAMPLES`: what one example may be of: whole `images`, the `objects` in them cut out, object `proposals`;
- `OUTPUT_DTYPE`: in which precision a model's outputs are kept;
- `ANNOTATIONS`: the columns of a packed dataset that a training reads beside the inputs;
- `PROTOCOL`: which key of `predict:` in params.yaml says what a model sees of an image, `views` or `regions`; None: neither does;
- `MEMBERS_SHARE`: what the datasets of an ensemble's members have in common, keys of their entries; empty: the task has no ensembles;
- `encode_targets`: from annotations to what the loss takes; `encode_examples`: the same from the columns of a packed dataset;
- `build_loss`, whose keyword arguments are the settings under `train.loss`, and `build_metrics`, shown while training;
- `decode_outputs`: from a model's outputs to predictions;
- `postprocess`: the same by the settings under `postprocess`, which are its keyword arguments;
- `describe_outputs`: facts on a model's outputs that stand beside them.

Encoding and decoding are NumPy; Keras is imported when a loss or a metric is built.
"""

from cnnkeras.by_name import Files

_files = Files(__name__, "a task")
names, load = _files.names, _files.load
