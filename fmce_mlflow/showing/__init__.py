"""Show a person feature maps, of a recording or of a model."""
