"""The CNN systems of an introductory deep-learning lecture, as defined in their papers, in Keras 3 on any of its backends."""

__version__ = "0.1.0"
