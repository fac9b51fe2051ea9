"""Figures of merit by their benchmarks' own rules, in NumPy: one file, one task."""
