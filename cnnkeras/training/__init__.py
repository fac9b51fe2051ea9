"""Training: `fit`, batches, optimizers, schedules, and initial weights.

`optimizers.py` and `schedules.py` hold one function for each name that params.yaml may give; the function's keyword arguments, with
their ranges, are the keys of the entry. A new optimizer or schedule is a new function there. Neither file imports Keras before a
function needs it, so params.yaml is checked without Keras. This file imports nothing: import from the other files.
"""
