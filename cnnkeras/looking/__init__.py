"""How a trained model looks at an image that nobody prepared, in the test and afterwards: from pixels to what it says of them.

- `outputs`: what a model gives for packed inputs, for the views and for the regions of an image.
- `look`: all of it for an image of any size, from what params.yaml says of an experiment.
"""
