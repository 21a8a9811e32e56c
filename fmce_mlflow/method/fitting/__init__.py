"""Fit FMCE-Net and its baselines to bags, and score them on what they have not seen."""
