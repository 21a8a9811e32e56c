"""Evaluate the functional modules of a registered model."""
