"""Hyperparameter search over FMCE-Net with Optuna, mirrored in MLflow."""
