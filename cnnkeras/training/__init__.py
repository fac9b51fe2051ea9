"""Training: the only `fit`, its batches, its optimizers and schedules, and the weights that a model starts from.

`optimizers.py` and `schedules.py` hold one function for each name that params.yaml may give; its keyword arguments, with their
ranges, are the keys that the entry may have. Another optimizer or schedule is another function there. Neither file imports Keras
before a function needs it, so that params.yaml is checked without it. Import from the files: this one imports nothing.
"""
