"""FMCE-Net: the networks that predict FMCS from feature maps, and what they see of a bag."""
