"""Plugin ``mlflow.dataset_constructor``: ``mlflow.data.from_images``. Import it from there, or from here.

MLflow loads it in every process that uses ``mlflow.data``, so it imports nothing heavy before it is asked to, nor
the rest of this folder, whose import may be what made MLflow load it. MLflow wants the return annotation as a class, so
annotations here are not postponed.
"""

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mlflow.data.dataset_source import DatasetSource
    from numpy.typing import ArrayLike

    from fmce_mlflow.image_dataset.dataset import ImageDataset
else:
    from mlflow.data.dataset import Dataset as ImageDataset


def from_images(
    images: Any,
    targets: "ArrayLike | None" = None,
    *,
    name: str | None = None,
    digest: str | None = None,
    source: "str | DatasetSource | None" = None,
    layout: Literal["auto", "NCHW", "NHWC"] = "auto",
    unreadable: Literal["raise", "skip"] = "raise",
    preprocessing: Any = None,
) -> ImageDataset:
    """Images as an MLflow dataset, to log or evaluate on; ``mlflow.data.from_images`` is this function.

    Images are read when they are used, a few at a time: 100,000 files or a memory-mapped array do not fill the memory.

    Args:
        images: An array or tensor (n, C, H, W), (n, H, W, C) or (n, H, W), uint8 or float; a list or Series of paths,
            encoded bytes, PIL images or arrays; a folder, of class folders or of images, or with ``train/`` and
            ``test/``, which stands for the images in ``test/``; a torch dataset.
        targets: A label for each image; by default those of the folder or dataset, if it has any.
        name: In MLflow; by default the folder's, else ``images``.
        digest: At most 36 characters; by default eight that are computed from the images and targets.
        source: Where they come from, a path or URI or MLflow's ``DatasetSource``; by default their folder or file, else
            the code that runs.
        layout: Where the channels of arrays are; ``auto`` finds them.
        unreadable: What becomes of an image that cannot be read: ``raise``, or ``skip`` it and report it.
        preprocessing: What turns 8-bit images into the network's input where a model's metadata does not say it:
            ``imagenet``, ``scale``, or a dict; see ``as_preprocessing``. Float arrays pass as they are.

    Raises:
        DataError: If there are no images, or they are in no such form.
        ConfigError: If the preprocessing is none.

    Example:
        >>> import numpy as np
        >>> dataset = from_images(np.zeros((6, 8, 8, 3), dtype=np.uint8), targets=[0, 1, 2, 0, 1, 2])
        >>> dataset.profile["num_images"], dataset.profile["size"], dataset.schema.features
        (6, '8 × 8', [Tensor('uint8', (-1, 8, 8, 3))])
    """
    from fmce_mlflow.image_dataset.dataset import ImageDataset, source_of
    from fmce_mlflow.method.images.inputs import image_inputs
    from fmce_mlflow.method.images.preprocessing import as_preprocessing

    inputs = image_inputs(images, targets, layout=layout, unreadable=unreadable)
    if preprocessing is not None:
        sizes = inputs.sizes()
        size = sizes.pop() if len(sizes) == 1 else (None, None)
        preprocessing = as_preprocessing(preprocessing, input_shape=(None, *size))
    return ImageDataset(inputs, source_of(source, inputs), name, digest, preprocessing)
