"""Stage `stylizer`: train the decoder that puts other textures into one dataset's images.

Trains in one Ray task and goes on after a kill or a lost worker (`tasks.cluster.resumable`). The
encoder is written beside the decoder, so that the stage `variants` needs nothing else.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from atcore.base.errors import UserError
from atcore.base.files import replacing
from atcore.images.stored import StoredTable
from atcore.stylizing.progress import Stylizing
from tasks import params
from tasks.cluster import pool
from tasks.cluster.resumable import run_name, states
from tasks.cluster.tables import SharedTable, shared
from tasks.console.progress import track
from tasks.workspace import paths
from tasks.workspace.code import deciding

if TYPE_CHECKING:
    from atcore.stylizing.decoder import StylizingSpec

# Torch is imported on the workers: the process that only watches them starts in a third of the time
# without it.


def stylizing_spec(settings: params.Params, name: str) -> "StylizingSpec":
    """How a stylizer is trained, apart from its encoder, images and styles."""
    from atcore.stylizing.decoder import StylizingSpec  # noqa: PLC0415

    chosen = settings.stylizer[name]
    return StylizingSpec(
        steps=chosen.steps,
        batch_size=chosen.batch_size,
        learning_rate=chosen.learning_rate,
        style_weight=chosen.style_weight,
        identity_weight=chosen.identity_weight,
        size=chosen.size,
        precision=chosen.precision,
        threads=chosen.threads,
        seed=settings.run.seed,
    )


def _read(name: str, chosen: params.Stylizer, side: int) -> tuple[bytes, NDArray[np.uint8] | None]:
    """The encoder of a stylizer, and its styles for contents of a side; None: procedural ones."""
    from atcore.stylizing.adain import working_side  # noqa: PLC0415
    from atcore.stylizing.encoder import imagenet_encoder, read_encoder  # noqa: PLC0415
    from atcore.stylizing.styles import pictures  # noqa: PLC0415

    try:
        if chosen.encoder == params.IMAGENET:
            encoder = imagenet_encoder()
        else:
            encoder = read_encoder(Path(chosen.encoder))
    except UserError as error:
        raise UserError(f"stylizer.{name}.encoder: {error}") from error
    styles = None
    if chosen.styles is not None:
        styles = pictures(Path(chosen.styles), working_side(side, chosen.size))
    return encoder.to_bytes(), styles


def _train_remotely(
    settings: params.Params,
    name: str,
    encoder: bytes,
    contents: SharedTable,
    styles: NDArray[np.uint8] | None,
    checkpoint: bytes | None,
) -> Iterator[Stylizing]:
    import torch  # noqa: PLC0415

    from atcore.stylizing.decoder import train_stylizer  # noqa: PLC0415
    from atcore.stylizing.encoder import encoder_from  # noqa: PLC0415

    yield from train_stylizer(
        stylizing_spec(settings, name),
        encoder_from(encoder),
        contents.open().images,
        styles,
        checkpoint=checkpoint,
        device="cuda" if torch.cuda.is_available() else "cpu",
    )


def _trained(checkpoint: bytes, encoder: bytes) -> bytes:
    from atcore.stylizing.decoder import trained_stylizer  # noqa: PLC0415
    from atcore.stylizing.encoder import encoder_from  # noqa: PLC0415

    return trained_stylizer(checkpoint, encoder_from(encoder)).to_bytes()


def main(dataset: str, stylizer: str) -> None:
    """Write stylizer.safetensors (encoder and decoder) and stylizer.json (the losses, and the
    precision in which they were computed).

    Raises:
        UserError: a name is unknown, the encoder or the styles cannot be read, or training
            diverges.
    """
    settings = params.load()
    settings.require(dataset=dataset, stylizer=stylizer)
    chosen = settings.stylizer[stylizer]
    contents = StoredTable(paths.split(dataset, "train"))
    label = f"stylizer {dataset} {stylizer}"
    with pool.connect(), track(label, chosen.steps) as advance:
        encoder, styles = pool.call(_read, stylizer, chosen, contents.images.shape[1])
        drawn = None if styles is None else styles.tobytes()
        named = (dataset, stylizer)  # Entries of equal content are trained side by side.
        decisive = (named, chosen, settings.run.seed, encoder, drawn, contents.digest)
        saved = paths.CHECKPOINTS / f"{run_name(decisive, deciding('stylizer'))}.pt"
        done = 0
        arguments = (settings, stylizer, encoder, shared(contents, settings.ray.cache), styles)
        for progress in states(_train_remotely, *arguments, saved=saved, threads=chosen.threads):
            last = progress.history[-1]
            shown = f"content {last.content:.3g}, style {last.style:.3g}, {last.precision}"
            advance(last.step - done, shown)
            done = last.step
        weights = pool.call(_trained, progress.checkpoint, encoder)
    with replacing(paths.stylizer(dataset, stylizer)) as folder:
        folder.mkdir()
        (folder / "stylizer.safetensors").write_bytes(weights)
        history = {"losses": [asdict(entry) for entry in progress.history]}
        (folder / "stylizer.json").write_text(json.dumps(history, indent=2) + "\n")
    saved.unlink(missing_ok=True)
