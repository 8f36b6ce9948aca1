"""Stage `stylizer`: train the decoder that puts other textures into one dataset's images.

Trains in one Ray task and goes on after a kill or a lost worker (`tasks.cluster.resumable`). The
encoder is written beside the decoder, so that the stage `variants` needs nothing else.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from atcore.base.errors import UserError
from atcore.base.files import replacing
from atcore.images.stored import StoredTable
from atcore.stylizing.adain import working_side
from atcore.stylizing.decoder import Stylizing, StylizingSpec, train_stylizer, trained_stylizer
from atcore.stylizing.encoder import Encoder, imagenet_encoder, read_encoder
from atcore.stylizing.styles import pictures
from tasks import params
from tasks.cluster import pool
from tasks.cluster.resumable import run_name, states
from tasks.cluster.tables import SharedTable, shared
from tasks.console.progress import track
from tasks.workspace import paths, stage
from tasks.workspace.code import deciding


def _train_remotely(
    spec: StylizingSpec,
    encoder: Encoder,
    contents: SharedTable,
    styles: NDArray[np.uint8] | None,
    checkpoint: bytes | None,
) -> Iterator[Stylizing]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = contents.open().images
    yield from train_stylizer(spec, encoder, images, styles, checkpoint=checkpoint, device=device)


def stylizing_spec(settings: params.Params, name: str) -> StylizingSpec:
    """How a stylizer is trained, apart from its encoder, images and styles."""
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


def main(dataset: str, name: str) -> None:
    """Write stylizer.safetensors (encoder and decoder) and stylizer.json (the losses, and the
    precision in which they were computed).

    Raises:
        UserError: a name is unknown, the encoder or the styles cannot be read, or training
            diverges.
    """
    settings = params.load()
    settings.require(dataset=dataset, stylizer=name)
    chosen = settings.stylizer[name]
    contents = StoredTable(paths.split(dataset, "train"))
    try:
        if chosen.encoder == params.IMAGENET:
            encoder = imagenet_encoder()
        else:
            encoder = read_encoder(Path(chosen.encoder))
    except UserError as error:
        raise UserError(f"stylizer.{name}.encoder: {error}") from error
    styles = None
    if chosen.styles is not None:
        styles = pictures(Path(chosen.styles), working_side(contents.images.shape[1], chosen.size))
    spec = stylizing_spec(settings, name)
    weights = [value.numpy().tobytes() for value in encoder.state_dict().values()]
    drawn = None if styles is None else styles.tobytes()
    run = run_name((spec, weights, drawn, contents.digest), deciding("stylizer"))
    saved = paths.CHECKPOINTS / f"{run}.pt"
    label = f"stylizer {dataset} {name}"
    with pool.connect(), track(label, spec.steps) as advance:
        done = 0
        arguments = (spec, encoder, shared(contents, settings.ray.cache), styles)
        for progress in states(_train_remotely, *arguments, saved=saved, threads=spec.threads):
            last = progress.history[-1]
            shown = f"content {last.content:.3g}, style {last.style:.3g}, {last.precision}"
            advance(last.step - done, shown)
            done = last.step
    with replacing(paths.stylizer(dataset, name)) as folder:
        folder.mkdir()
        trained = trained_stylizer(progress.checkpoint, encoder)
        (folder / "stylizer.safetensors").write_bytes(trained.to_bytes())
        history = {"losses": [asdict(entry) for entry in progress.history]}
        (folder / "stylizer.json").write_text(json.dumps(history, indent=2) + "\n")
    saved.unlink()


if __name__ == "__main__":
    stage.run(main, "dataset", "stylizer")
