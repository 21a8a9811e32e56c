"""FMCE-Net as an MLflow model: fit it, log it, find it, describe it."""
