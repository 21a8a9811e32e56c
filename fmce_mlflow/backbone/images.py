"""What decides a backbone run, and where a run keeps it."""

from __future__ import annotations

from fmce_mlflow.backbone.options import BackboneOptions
from fmce_mlflow.method.images.split import ImageData, load_images


def load_options_images(options: BackboneOptions) -> ImageData:
    """The images that a run's options name."""
    return load_images(
        options.dataset,
        data_root=options.data_root,
        download=options.download,
        image_size=options.image_size,
        probe_size=options.probe_size,
        validation_size=options.validation_size,
        train_size=options.train_size,
        split_seed=options.split_seed,
    )
