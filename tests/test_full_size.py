"""The papers' nets at the papers' sizes: one training step each. Minutes and gigabytes, so `make test` leaves them to `make slow`."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

PEAK_GIBIBYTES = 12
# A process each, whose peak memory is the net's alone.
STEP = """
import json, resource, sys
import keras, numpy as np
from cnnkeras import architectures, losses as losses_by_name, tasks
from cnnkeras.training import batches, fit, optimizers, schedules

name, variant, batch, rate, options = json.loads(sys.argv[1])
module = architectures.load(name)
keras.utils.set_random_seed(1)
input_shape, output_shape = module.PAPER_SHAPES[variant]
model = module.build(input_shape=input_shape, output_shape=output_shape, variant=variant, input_mean=128.0, input_std=64.0, **options)
rng = np.random.default_rng(1)
images = rng.integers(0, 256, (batch, *input_shape), "uint8")
task = tasks.load(module.TASKS[0])
if module.TASKS[0] == "classification":
    encoded = task.encode_targets(rng.integers(0, output_shape[-1], batch))
elif module.TASKS[0] == "segmentation":
    encoded = task.encode_targets(rng.integers(0, output_shape[-1], (batch, *input_shape[:2])).astype("uint8"))
else:
    boxes, labels = [np.array([[0.2, 0.3, 0.6, 0.9]])] * batch, [np.array([7])] * batch
    encoded = task.encode_targets(boxes, labels, grid=output_shape[0], classes=20)
examples = batches.Batches(images, lambda rows, epoch: encoded[rows], batch_size=batch)
losses = []

def sample():
    # A few thousand numbers of each weight: a copy of all would be gigabytes, and a sum can be the same though its parts are not.
    return [keras.ops.convert_to_numpy(keras.ops.reshape(weight, (-1,))[:4096]).copy() for weight in model.trainable_variables]

before = sample()
fit.fit(
    model, examples, examples, epochs=1,
    optimizer=optimizers.sgd(learning_rate=rate, momentum=0.9, weight_decay=5e-4),
    schedule=schedules.constant(),
    loss=losses_by_name.load(module.TASKS[0]).build(),
    callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: losses.append(logs["loss"]))],
)
after = sample()
print(json.dumps({
    "loss": float(losses[0]),
    "unchanged": [w.path for w, b, a in zip(model.trainable_variables, before, after) if np.array_equal(b, a)],
    "gibibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
}))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "variant", "batch", "rate", "options"),
    [
        ("alexnet", "two_tower", 32, 1e-3, {}),
        ("vgg", "D", 4, 1e-3, {}),
        ("vgg", "E", 4, 1e-3, {}),
        # Without the pre-training of the paper and without batch normalisation, the first gradient has a norm of 100,000.
        ("yolo", "full", 2, 1e-5, {}),
        ("yolo", "fast", 4, 1e-5, {}),
        ("yolo", "rerelease", 2, 1e-3, {}),
        ("deconvnet", "vgg16", 2, 1e-3, {"batch_norm": True}),
    ],
)
def test_a_step_at_full_size_fits_into_12_gib(name, variant, batch, rate, options, capsys):
    """Forward, backward, momentum and decay at the paper's size: a finite loss, all kernels moved, memory as promised."""
    start = time.perf_counter()
    run = subprocess.run(
        [sys.executable, "-c", STEP, json.dumps([name, variant, batch, rate, options])],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert run.returncode == 0, run.stderr[-2000:]
    facts = json.loads(run.stdout.splitlines()[-1])
    with capsys.disabled():
        print(f"\n{name} {variant}, batch {batch}: {time.perf_counter() - start:.0f} s, {facts['gibibytes']:.1f} GiB")
    assert np.isfinite(facts["loss"])
    assert not [path for path in facts["unchanged"] if path.endswith("kernel")]
    assert facts["gibibytes"] < PEAK_GIBIBYTES
