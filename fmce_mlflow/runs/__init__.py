"""MLflow runs: what is logged to them, and how it is read back."""
