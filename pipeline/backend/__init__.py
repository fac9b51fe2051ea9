"""Keras: its set-up, models as files, a model's outputs, and a table of layers that is read without Keras."""
