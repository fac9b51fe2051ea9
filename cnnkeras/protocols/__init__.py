"""The papers' test protocols, as pure functions: which parts of an image a model sees, and what is made of its outputs.

    views            parts of an image that a classifier sees, one function a view
    regions          parts of an image that are segmented one by one, one function a kind
    windows          parts of an image given by boxes in whole pixels
    posteriors       softmax, and averages over views and models
    label_inference  label maps, a class at a time

A view, or a kind of regions, is a function of its name in params.yaml. Its keyword arguments are the settings, with their ranges; the
object that it returns finds the parts of an image, counts them and describes them. Nothing here imports Keras.
"""
