"""How a command runs: the guard around a stage, signals, worker processes, progress, paths, errors. Knows nothing of data sets and models."""
