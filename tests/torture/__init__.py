"""Kills and other faults at seeded random moments: `make torture KILLS=50 SEED=0`."""
