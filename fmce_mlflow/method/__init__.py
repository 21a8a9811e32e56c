"""The science: convergence, feature maps and FMCE-Net. Nothing in here knows of MLflow."""
