"""The lecture as a lab: one claim, one file; what its trainings and figures share."""
