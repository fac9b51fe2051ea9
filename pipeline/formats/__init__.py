"""What lies between the stages: one file, one format, which it alone writes and reads.

    packed       data/augmented/DATASET: examples, packed into columns
    outputs      results/EXPERIMENT/outputs: what a model gives for the test split
    predictions  results/EXPERIMENT/predictions: probabilities, detections or label maps
    history      results/EXPERIMENT/history.csv: a row for every epoch of a training
    metrics      results/EXPERIMENT/metrics.json: how good the predictions are
    proposals    object proposals from elsewhere, in a JSON file
    columns      the .npy files that packed data and outputs are made of

Stages hand over files, not objects: what a stage needs to know of another one stands in its format.
"""
