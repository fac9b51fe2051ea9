"""What dvc.yaml runs: one name, one stage, one command. No stage imports another: they hand over files, not functions."""
