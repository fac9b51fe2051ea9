"""Runs exported models as their users do, by ONNX Runtime, TensorFlow Lite, TensorFlow and Keras, in a process of its own.

python -m tests.exported_models TARGET.npz FORMAT MODEL INPUTS.npz
"""

import sys

import numpy as np


def onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    (taken,), given = session.get_inputs(), [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(given, session.run(None, {taken.name: inputs}), strict=True))


def tflite(path):
    import tensorflow as tf

    runner = tf.lite.Interpreter(path).get_signature_runner("serving_default")
    (taken,) = runner.get_input_details()
    return lambda inputs: runner(**{taken: inputs})


def saved_model(path):
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    serve = loaded.signatures["serving_default"]
    (taken,) = serve.structured_input_signature[1]
    return lambda inputs: {key: value.numpy() for key, value in serve(**{taken: tf.constant(inputs)}).items() if loaded}


def keras(path):
    import keras as keras_

    from cnnkeras import exported

    exported.register()
    model = keras_.saving.load_model(path, compile=False, safe_mode=True)
    return lambda inputs: model.predict_on_batch(inputs)


if __name__ == "__main__":
    target, format, folder, inputs = sys.argv[1:]
    models, results = {}, {}
    with np.load(inputs) as loaded:
        given_inputs = dict(loaded)
    for key, values in given_inputs.items():
        name = key.split(" ")[0]
        if name not in models:
            models[name] = globals()[format](f"{folder}/{name}.{format}")
        results |= {f"{key} {output}": given for output, given in models[name](values).items()}
    np.savez(target, **results)
