"""Command: make the encoder of stylizers out of a network that was trained here.

For machines without the ImageNet weights, or for images unlike ImageNet's: train a method on a
dataset with `training.architecture: vgg`, then
`python -m tasks.tools.encoder DATASET METHOD SEED NAME` writes raw/encoder/NAME.safetensors.
"""

from pathlib import Path

from atcore.base.files import write_bytes
from atcore.images.stored import StoredTable
from atcore.stylizing.own_encoder import encoder_of
from tasks import params
from tasks.console import command
from tasks.workspace import paths, trained


def main(dataset: str, method: str, number: str, name: str) -> None:
    """Write the encoder.

    Raises:
        UserError: a name is unknown, or the network is missing or of another architecture.
    """
    params.load().require(dataset=dataset, method=method)
    seed = params.seed(number)
    test = StoredTable(paths.split(dataset, "test"))
    network = trained.read(dataset, method, seed, test, "train")
    with network.named():
        encoder = encoder_of(network.spec, network.weights)
    file = Path("raw/encoder") / f"{name}.safetensors"
    write_bytes(file, encoder.to_bytes())
    print(f"wrote {file}")


if __name__ == "__main__":
    command.run(main, "dataset", "method", "seed", "name")
