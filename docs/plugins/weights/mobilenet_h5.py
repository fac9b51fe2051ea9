"""The published weights of MobileNet in `keras.applications`: HDF5 with the names of its layers, for RGB in -1..1.

The files are mobilenet_1_0_224_tf.h5, mobilenet_5_0_224_tf.h5 and mobilenet_2_5_224_tf.h5 of
https://storage.googleapis.com/tensorflow/keras-applications/mobilenet/.
"""

from typing import TYPE_CHECKING, BinaryIO

from cnnkeras.weights import Statistics, Values, find_statistics, keras_applications

if TYPE_CHECKING:
    import keras

# keras.applications.imagenet_utils, mode "tf"
STATISTICS = {("mobilenet", variant): Statistics((127.5, 127.5, 127.5), 127.5) for variant in ("1.0", "0.5", "0.25")}


def statistics(architecture: str, variant: str) -> Statistics:
    """The statistics of the inputs in the published models' training.

    Raises:
        ValueError: Another network than `mobilenet`.
    """
    return find_statistics(STATISTICS, architecture, variant, "mobilenet_h5")


def read(file: BinaryIO, network: "keras.Model", *, classes: int) -> Values:  # noqa: ARG001 - every format's signature
    """Read the weights; the layers have the same names in the file.

    Raises:
        ValueError: The file is not such a file, or it holds another network.
    """
    return keras_applications.read_named(file, network, str)
