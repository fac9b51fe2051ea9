"""The CNN systems of an introductory deep-learning lecture, as their papers define them, in Keras 3 on any backend."""

__version__ = "0.1.0"
