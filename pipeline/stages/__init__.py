"""The stages of dvc.yaml, a file or folder for each command. No stage imports another: they hand over files, not functions."""
