"""FMCS-datasets: labelled tables of the feature maps of backbone runs."""
