"""How a command runs - the guard around a stage, signals, workers, progress, paths, errors. It knows no data and no network."""
