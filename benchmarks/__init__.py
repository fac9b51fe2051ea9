"""Measurements of speed: `python -m benchmarks.NAME` runs one and writes `benchmarks/results/NAME.json`."""
