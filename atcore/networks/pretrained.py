"""Weights that others have trained, to start from: torchvision's for ResNet-18, from ImageNet.

They lie in torch's own cache (`TORCH_HOME`), under a name that holds the start of their SHA-256.
"""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from atcore.base.errors import UserError
from atcore.images.pixels import Channels

# Of ImageNet's pixels, scale [0, 1]: what these weights expect their input to be normalised with.
IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)
_HEAD = "fc."


@dataclass(frozen=True)
class Pretrained:
    """What a network starts from, small enough to be shown and large enough to be sent.

    Attributes:
        sha256: of the file that the weights come from, hexadecimal.
        tensors: all weights but those of the last layer, in safetensors format.
    """

    sha256: str
    tensors: bytes = field(repr=False)

    def copy_to(self, model: nn.Module) -> None:
        """Replace the weights of a ResNet-18 of `models.build`, except those of its last layer.

        Raises:
            UserError: they are those of another network.
        """
        network = model.get_submodule("1")
        own = {k: v for k, v in network.state_dict().items() if k.startswith(_HEAD)}
        try:
            network.load_state_dict({**load_tensors(self.tensors), **own})
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(f"pretrained weights do not fit the network: {reason}") from error


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def download(url: str) -> Path:
    """The file in torch's cache, downloaded unless it is there.

    Args:
        url: ends in a name with the start of the file's SHA-256: `resnet18-f37072fd.pth`.

    Raises:
        UserError: it cannot be downloaded, or the file is not the one that its name promises.
    """
    file = Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[1])
    (start,) = re.findall(r"-([0-9a-f]{8,})\.", file.name)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file), start, progress=False)
        except OSError as error:
            raise UserError(f"cannot download {url} to {file} ({error})") from error
        except RuntimeError as error:  # the hash
            raise UserError(f"cannot download {url}: {error}") from error
    # torch looks at the hash of what it downloads only, not of what it finds.
    if not _sha256(file).startswith(start):
        raise UserError(f"{file}: damaged, its SHA-256 does not start with {start}; remove it")
    return file


def imagenet() -> Pretrained:
    """ResNet-18 trained on ImageNet (torchvision's IMAGENET1K_V1).

    Raises:
        UserError: see `download`.
    """
    # A second that the runs without these weights save.
    from torchvision.models import ResNet18_Weights  # noqa: PLC0415

    return read(download(ResNet18_Weights.IMAGENET1K_V1.url))


def read(file: Path) -> Pretrained:
    """Weights from a file of torch, which holds tensors by name."""
    tensors = torch.load(file, map_location="cpu", weights_only=True)
    kept = {k: v.detach().contiguous() for k, v in tensors.items() if not k.startswith(_HEAD)}
    return Pretrained(_sha256(file), save_tensors(kept))
