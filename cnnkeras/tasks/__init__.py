"""The tasks of models: one file, one task, and the file's name is the task's name in params.yaml.

A task's file defines

- `EXAMPLES`: the kinds of examples that it takes: whole `images`, `objects` cut out of them, object `proposals`;
- `OUTPUT_DTYPE`: the type in which a model's outputs are stored;
- `ANNOTATIONS`: the columns of a packed dataset that a training reads beside the inputs;
- `METRICS`: the names of the metrics of `build_metrics`, each the better the higher it is;
- `PROTOCOL`: the key of `predict:` in params.yaml that sets which parts of an image a model gets, `views` or `regions`; None: no key;
- `COMMON_KEYS`: the keys whose values the datasets of an ensemble's members have in common; empty: the task has no ensembles;
- `encode_targets`: annotations to the loss's targets; `encode_examples`: the same from the columns of a packed dataset;
- `soft_targets`: targets as probabilities of the classes, which the loss and the metrics take too, so that they can be mixed; None: the
  task has none;
- `build_metrics`: the metrics shown during training; its loss is the file of its name in `cnnkeras/losses`;
- `tiny_batch`: targets and outputs of a few examples, by which losses are tried;
- `tiny_predictions`: predictions, truth and the number of classes of a few examples, by which metrics are tried;
- `decode_outputs`: a model's outputs to predictions;
- `postprocess`: the same with the settings under `postprocess`, its keyword arguments;
- `describe_outputs`: facts about a model's outputs, to be stored with them.

Encoding and decoding use NumPy; Keras is imported when a metric is built.
"""

from cnnkeras.by_name import Files

# A setting of `postprocess` with this value is chosen on the validation split.
BEST = "best"

_files = Files(__name__, "a task")
names, load = _files.names, _files.load
