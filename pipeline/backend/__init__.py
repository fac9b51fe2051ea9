"""Keras started, saved, run."""
