"""The papers' test protocols, as pure functions: the parts of an image that a model gets, and the combination of its outputs.

    fits             how an image of any size becomes one input: stretched, with borders, or its centre
    views            parts of an image that a classifier gets, one function a view
    regions          parts of an image that are segmented one by one, one function a kind
    windows          parts of an image given by boxes in whole pixels
    posteriors       softmax, and averages over views and models
    label_inference  label maps by greedy inference, one class at a time

A fit, a view or a kind of regions is a function, named as in params.yaml. The function's keyword arguments are the settings, with their ranges; the
object that it returns computes the parts of an image, counts them and describes them. No file here imports Keras.
"""
