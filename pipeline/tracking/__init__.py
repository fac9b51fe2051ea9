"""MLflow, and only here: the store, live curves, serving, fingerprints, provenance."""
