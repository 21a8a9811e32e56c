"""Grad-CAM of functional modules, and how it changes over training."""
