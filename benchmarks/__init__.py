"""How fast things are: each script writes `benchmarks/results/NAME.json` (`python -m benchmarks.NAME` runs one)."""
