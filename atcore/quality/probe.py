"""Probes: networks retrained on a variant, to see which cue is still there to be learnt.

A network trained on unchanged images can be fooled by a variant that leaves its texture readable;
one that is retrained on the variant is not. Its images come from the generator of `shapes`, with
shape and texture drawn independently, so that neither tells the other.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from atcore.base.rng import numpy_rng
from atcore.images import shapes
from atcore.images.pixels import channel_statistics
from atcore.images.table import ImageTable
from atcore.networks.architecture import ModelSpec
from atcore.statistics.estimates import Estimate
from atcore.statistics.proportions import Proportion
from atcore.training.data import LoadedSplit
from atcore.training.loop import train
from atcore.training.spec import TrainingSpec

# Share of the images that the network does not see in training.
HELD_OUT = 1 / 5


def independent(ids: NDArray[np.int64], seed: int) -> ImageTable:
    """Images of `shapes`, each of a shape and of a texture drawn on its own.

    They are no images of the dataset: the seed of the generator is another one. An image depends
    on its id and the seed alone.
    """
    own = int(numpy_rng(seed, "probe/images").integers(2**32))
    labels, textures, images = [], [], []
    for image_id in ids.tolist():
        labels.append(shapes.label_of(image_id))
        rng = numpy_rng(seed, "probe/texture", image_id)
        textures.append(int(rng.integers(len(shapes.CLASSES))))
        images.append(shapes.render(own, image_id, labels[-1], textures[-1]).pixels)
    return ImageTable(
        ids,
        np.stack(images),
        np.array(labels, dtype=np.int32),
        shapes.CLASSES,
        texture_labels=np.array(textures, dtype=np.int32),
    )


def accuracy(
    images: NDArray[np.uint8], labels: NDArray[np.int32], *, epochs: int, seed: int
) -> Estimate:
    """Accuracy on the last fifth of the images of a small network trained on the others.

    Args:
        images: uint8, N x 32 x 32 x 3.
        labels: int32, N: what the network has to read.

    Returns:
        With Wilson's interval.
    """
    held_out = round(len(images) * HELD_OUT)
    pixels, wanted = torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))
    training = LoadedSplit(pixels[:-held_out], wanted[:-held_out])
    validation = LoadedSplit(pixels[-held_out:], wanted[-held_out:])
    mean, std = channel_statistics([training.images])
    spec = TrainingSpec(
        epochs=epochs,
        batch_size=32,
        learning_rate=0.02,
        momentum=0.9,
        weight_decay=5e-4,
        precision="auto",
        threads=1,
        seed=seed,
    )
    model = ModelSpec("small", shapes.CLASSES, images.shape[1], mean, std)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    *_, last = train(spec, model, training, validation, device=device)
    right = round(last.history[-1].validation_accuracy * held_out)
    return Proportion(right, held_out).estimate
