"""The stages and the command line: the only code that touches files, clocks, the terminal and MLflow."""
