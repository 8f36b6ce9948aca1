"""Adaptive instance normalisation (AdaIN): style transfer by the statistics of activations.

Huang & Belongie 2017, "Arbitrary style transfer in real-time with adaptive instance normalization",
ICCV, arXiv 1703.06868. An encoder that stays as it is gives the activations of a content and of a
style image; each channel of the content's gets the mean and the standard deviation that it has in
the style's, and a decoder, trained for that, turns the result into an image.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from atcore.base.errors import UserError
from atcore.networks.vgg import CONVOLUTIONS, OUTPUTS, STRIDE
from atcore.stylizing.encoder import Encoder, build_encoder

_VARIANCE_FLOOR = 1e-5
# Of the weights of a decoder's last layer at first: far from the flat ends of the sigmoid.
_GREY = 0.1


def statistics(activations: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (biased, floor 0.003) over the pixels: each N x C x 1 x 1."""
    # In bf16 the variance of a channel would have two digits.
    variance, mean = torch.var_mean(activations.float(), (2, 3), correction=0, keepdim=True)
    return mean, (variance + _VARIANCE_FLOOR).sqrt()


def adain(content: Tensor, style: Tensor) -> Tensor:
    """`content` with the statistics of `style` (equation 8), both N x C x H x W of any H and W."""
    mean, std = statistics(content)
    style_mean, style_std = statistics(style)
    return style_std * (content - mean) / std + style_mean


def build_decoder(widths: tuple[int, ...]) -> nn.Sequential:
    """The mirror image of an encoder of those widths: relu4_1 to pixels.

    Max pooling becomes nearest-neighbour upsampling; borders are reflected, no layer normalises
    (section 6.1: a normalisation would undo the style). The last layer ends in a sigmoid, which the
    paper's does not: pixels are in (0, 1), and training starts from an even grey.
    """
    layers: list[nn.Module] = []
    for index, inputs, outputs in zip(
        CONVOLUTIONS[::-1], widths[::-1], (*widths[-2::-1], 3), strict=True
    ):
        layer = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")
        # With torch's own initialisation nothing of the image comes through nine layers.
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        layers.append(layer)
        if index:
            layers.append(nn.ReLU())
        if index and index + 1 in OUTPUTS:
            layers.append(nn.Upsample(scale_factor=2))
    with torch.no_grad():
        layer.weight.mul_(_GREY)
    return nn.Sequential(*layers, nn.Sigmoid())


class Stylizer(nn.Module):
    """Encoder and decoder: everything that transfers a style.

    Args:
        encoder: whose weights stay as they are; the decoder is freshly initialised from torch's
            global generator.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = build_decoder(encoder.widths)

    def forward(self, contents: Tensor, styles: Tensor, strength: float) -> Tensor:
        """Content images in the style of the style images in the same place.

        Args:
            contents, styles: float32 N x 3 x H x W in [0, 1], H and W multiples of 8, at least 16.
            strength: alpha of equation 14, 0 (decodes the content as it is) to 1.

        Returns:
            float32 like `contents`, in (0, 1).
        """
        content = self.encoder(contents)[-1]
        styled = adain(content, self.encoder(styles)[-1])
        result: Tensor = self.decoder(strength * styled + (1 - strength) * content)
        return result

    def to_bytes(self) -> bytes:
        """The weights in safetensors format; equal weights give equal bytes."""
        return save({name: value.cpu().contiguous() for name, value in self.state_dict().items()})


def _part(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {k.removeprefix(f"{name}."): v for k, v in weights.items() if k.startswith(f"{name}.")}


def load_stylizer(data: bytes, source: str, device: torch.device | str = "cpu") -> Stylizer:
    """A trained stylizer on `device`, frozen; `source` is what messages call it.

    Raises:
        UserError: the bytes are no stylizer.
    """
    try:
        weights = load(data)
        stylizer = Stylizer(build_encoder(_part(weights, "encoder"), source))
        stylizer.decoder.load_state_dict(_part(weights, "decoder"))
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{source}: no stylizer: {reason}") from error
    return stylizer.requires_grad_(False).eval().to(device)


def losses(
    stylizer: Stylizer, contents: Tensor, styles: Tensor, *, identity: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """What training minimises: for stylized images of full strength equations 12 and 13, and the
    identity loss of pixels (Park & Lee 2019, "Arbitrary style transfer with style-attentional
    networks", CVPR, arXiv 1812.02342).

    The activations of a narrow encoder do not determine the pixels: without the third, a decoder
    finds those of an image in other pixels than the image's.

    Args:
        contents, styles: as in `Stylizer.forward`.
        identity: whether the third is wanted, which costs half of the time; 0 if not.

    Returns:
        Content loss: mean squared distance between the activations relu4_1 of the result and what
        was decoded. Style loss: mean squared distances of the channels' means and standard
        deviations from those of the style, summed over the four activations. Identity loss: mean
        squared distance of the pixels of contents and styles from what their own activations are
        decoded to.
    """
    wanted = stylizer.encoder(styles)
    content = stylizer.encoder(contents)[-1]
    target = adain(content, wanted[-1])
    found = stylizer.encoder(stylizer.decoder(target))
    style = torch.stack(
        [
            F.mse_loss(own, other)
            for result, example in zip(found, wanted, strict=True)
            for own, other in zip(statistics(result), statistics(example), strict=True)
        ]
    ).sum()
    pixels = torch.zeros_like(style)
    if identity:
        decoded = stylizer.decoder(torch.cat((content, wanted[-1])))
        pixels = F.mse_loss(decoded, torch.cat((contents, styles)))
    return F.mse_loss(found[-1], target), style, pixels


def working_side(side: int, size: int) -> int:
    """Side at which images of `side` pixels are stylized: at least `size`, a multiple of 8."""
    return -(-max(side, size) // STRIDE) * STRIDE


def resized(images: Tensor, side: int) -> Tensor:
    """N x 3 x H x W as N x 3 x side x side: bilinear, without aliasing."""
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
