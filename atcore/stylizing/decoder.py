"""Training of a stylizer's decoder (Huang & Belongie 2017, section 6).

Contents are the training images, enlarged where they are small; styles are drawn anew for each of
them. Every random number is a function of (seed, purpose, step), so that a run resumed from its
checkpoint equals, bit for bit on a CPU with the same number of threads, one never interrupted.
"""

import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atcore.base.errors import UserError
from atcore.base.rng import numpy_rng, stream_key
from atcore.images.pixels import to_pixels
from atcore.images.stored import StoredImages
from atcore.networks.precision import resolved
from atcore.networks.schedules import cosine
from atcore.stylizing.adain import Stylizer, losses, resized, working_side
from atcore.stylizing.encoder import Encoder
from atcore.stylizing.progress import Round, Stylizing
from atcore.stylizing.styles import draw

Images = NDArray[np.uint8] | StoredImages

# A run is saved, and its losses are told, so often.
_ROUNDS = 20


@dataclass(frozen=True, kw_only=True)
class StylizingSpec:
    """Everything that decides the decoder, apart from the encoder, the images and the styles.

    Attributes:
        steps, batch_size: whole numbers >= 1.
        learning_rate: peak of Adam's, which rises for a fifth of the steps and falls to zero.
        style_weight: of the style loss against the content loss (lambda of equation 11).
        identity_weight: of the identity loss against the content loss.
        size: images are enlarged to this side in pixels before they are stylized.
        precision: `fp32` or `bf16` (autocast) for the forward and backward passes; `auto` is bf16
            where the device computes it natively, fp32 elsewhere.
        threads: CPU threads; part of the computation, since sums depend on it.
        seed: of initialisation, order and styles.
    """

    steps: int
    batch_size: int
    learning_rate: float
    style_weight: float
    identity_weight: float
    size: int
    precision: str
    threads: int
    seed: int


class StylizerTraining:
    """The mutable state of one training run."""

    def __init__(self, spec: StylizingSpec, encoder: Encoder, device: torch.device) -> None:
        torch.set_num_threads(spec.threads)
        self.spec, self.device = spec, device
        self.precision = resolved(spec.precision, device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_key(spec.seed, "stylizer/weights") & (2**63 - 1))
            stylizer = Stylizer(encoder)
        self.stylizer = stylizer.to(device).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.stylizer.decoder.parameters())
        self.history: tuple[Round, ...] = ()

    def restore(self, checkpoint: bytes) -> None:
        state = torch.load(io.BytesIO(checkpoint), map_location=self.device, weights_only=True)
        self.history = tuple(Round(**fields) for fields in state["history"])
        # As it began, also on another device, so that it equals an uninterrupted run.
        self.precision = self.history[-1].precision
        self.stylizer.decoder.load_state_dict(state["decoder"])
        self.optimizer.load_state_dict(state["optimizer"])

    def save(self) -> Stylizing:
        buffer = io.BytesIO()
        state = {
            "history": [asdict(entry) for entry in self.history],
            "decoder": self.stylizer.decoder.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        torch.save(state, buffer)
        return Stylizing(self.history, buffer.getvalue())

    def batch(
        self, images: Images, pictures: NDArray[np.uint8] | None, step: int
    ) -> tuple[Tensor, Tensor]:
        """Contents and styles of a step, at the side at which they are stylized."""
        side = working_side(images.shape[1], self.spec.size)
        rng = numpy_rng(self.spec.seed, "stylizer/batch", step)
        contents = images[rng.integers(len(images), size=self.spec.batch_size)]
        styles = np.stack([draw(rng, side, pictures) for _ in contents])
        x, y = (
            to_pixels(torch.from_numpy(part).to(self.device, non_blocking=True))
            for part in (contents, styles)
        )
        return resized(x, side), y

    def update(self, contents: Tensor, styles: Tensor, step: int) -> Tensor:
        """One step of Adam; the three losses, on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = cosine(step, self.spec.steps, self.spec.learning_rate)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            content, style, identity = losses(
                self.stylizer, contents, styles, identity=self.spec.identity_weight > 0
            )
        self.optimizer.zero_grad(set_to_none=True)
        spec = self.spec
        (content + spec.style_weight * style + spec.identity_weight * identity).backward()
        self.optimizer.step()
        return torch.stack((content, style, identity)).detach()


def train_stylizer(
    spec: StylizingSpec,
    encoder: Encoder,
    images: Images,
    pictures: NDArray[np.uint8] | None,
    *,
    checkpoint: bytes | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[Stylizing]:
    """Train a decoder, yielding twenty times.

    Args:
        images: uint8, N x S x S x 3, in memory or on disk: the contents.
        pictures: the styles, as `atcore.stylizing.styles.pictures` gives them for crops of the
            working side; None draws procedural ones.
        checkpoint: of an earlier, interrupted run with the same arguments; a checkpoint of a
            finished run yields at once.

    Raises:
        UserError: a loss is not finite.
    """
    run = StylizerTraining(spec, encoder, torch.device(device))
    if checkpoint is not None:
        run.restore(checkpoint)
    first = run.history[-1].step if run.history else 0
    if first == spec.steps:
        yield run.save()
    every = -(-spec.steps // _ROUNDS)
    for start in range(first, spec.steps, every):
        end = min(start + every, spec.steps)
        found = [run.update(*run.batch(images, pictures, step), step) for step in range(start, end)]
        means = torch.stack(found).mean(0).tolist()
        if not np.isfinite(means).all():
            raise UserError(
                f"a loss is not finite in steps {start + 1} to {end}; "
                f"lower learning_rate (now {spec.learning_rate})"
            )
        content, style, identity = means
        run.history += (Round(end, content, style, identity, run.precision),)
        yield run.save()


def trained_stylizer(checkpoint: bytes, encoder: Encoder) -> Stylizer:
    """The stylizer of a run's checkpoint, on the CPU."""
    state = torch.load(io.BytesIO(checkpoint), map_location="cpu", weights_only=True)
    stylizer = Stylizer(encoder.cpu())
    stylizer.decoder.load_state_dict(state["decoder"])
    return stylizer
