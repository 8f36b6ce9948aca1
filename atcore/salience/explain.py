"""The maps of one network on a few images and all of their variants, and what they measure."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from atcore.base.rng import stream_key
from atcore.images import shapes
from atcore.images.pixels import to_pixels
from atcore.images.table import ImageTable
from atcore.networks.architecture import PROGRAM, ModelSpec
from atcore.networks.folding import FoldedTwin, load_folded
from atcore.networks.models import build, load, weights_to_bytes
from atcore.salience import scores
from atcore.salience.maps import MAPS, MapSettings
from atcore.salience.measured import UNIFORM, Measured
from atcore.salience.rows import Explained, Row


def _key(seed: int) -> int:
    return stream_key(seed, "salience/untrained") & (2**63 - 1)


def untrained_weights(spec: ModelSpec, seed: int) -> bytes:
    """Random weights as no training run starts from them, in safetensors format."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_key(seed))
        return weights_to_bytes(build(spec))


@torch.no_grad()
def _shuffled(network: nn.Module, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(_key(seed))
    for parameter in network.parameters():
        order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
        parameter.copy_(parameter.flatten()[order].view(parameter.shape))
    return network


@lru_cache(maxsize=1)
def untrained_network(spec: ModelSpec, weights: bytes, seed: int, device: str) -> nn.Module:
    """A network without what was learned, for maps; the last one asked for stays loaded.

    Of an architecture that is known, one of `untrained_weights`. Of a program, whose
    initialisation nobody knows, a copy with each of its parameters shuffled: what was learned lies
    in where the values are, and their distribution keeps activations in their range. Either does
    for the randomisation test of Adebayo et al. 2018.
    """
    if spec.architecture == PROGRAM:
        return FoldedTwin(_shuffled(load(spec, weights, device), seed)).module
    return load_folded(spec, untrained_weights(spec, seed), device)


def inside(table: ImageTable) -> NDArray[np.bool_] | None:
    """Where the objects are, N x H x W; None where the images do not come with that knowledge."""
    if table.origin.get("generator") != "shapes":
        return None
    pairs = zip(table.ids.tolist(), table.labels.tolist(), strict=True)
    seed = table.origin["seed"]
    return np.stack([shapes.render(seed, i, label, label).inside for i, label in pairs])


class _Object:
    """What is known of where the objects of the clean images are."""

    def __init__(self, table: ImageTable, x: Tensor) -> None:
        mask = inside(table)
        self._edges = scores.ranks(scores.edges(x)) if mask is None else None
        self._parts: dict[str, Tensor] = {}
        if mask is not None:
            object_ = torch.from_numpy(mask).to(x.device)
            self._parts = {"inside": object_, "outline": scores.outline(object_)}

    @property
    def known(self) -> bool:
        """Whether the outlines are."""
        return bool(self._parts)

    def measure(self, maps: Tensor, ranks: Tensor) -> dict[str, Tensor]:
        """How much of the salience of the first images is at their objects."""
        if self._edges is not None:
            return {"edges": scores.correlation(ranks, self._edges[: len(maps)])}
        parts = self._parts.items()
        return {name: scores.share(maps, part[: len(maps)]) for name, part in parts}


def _measured(
    row: Row, kind: str, ids: NDArray[np.int64], found: Mapping[str, Tensor]
) -> Iterator[Measured]:
    for measure, tensor in found.items():
        values = tensor.float().cpu().numpy()
        yield Measured(row.variant, row.level, kind, measure, ids[: len(values)], values)


def explain(
    model: nn.Module,
    untrained: nn.Module,
    rows: Sequence[Row],
    tables: Sequence[ImageTable],
    counts: Mapping[str, int],
    settings: MapSettings,
    device: str,
) -> Explained:
    """Maps and measures of the same n images on R rows.

    Args:
        model: maps N x 3 x H x W in [0, 1] to logits; on `device`, frozen, in eval mode.
        untrained: the same with random weights. A map that looks alike for both says nothing about
            what was learned (Adebayo et al. 2018, "Sanity checks for saliency maps").
        rows: the first is the clean one.
        tables: the images of each row, n in the same order.
        counts: how many of the images get each kind of map (names of `MAPS`).
    """
    ids = tables[0].ids
    pixels = [to_pixels(torch.from_numpy(table.images.copy()).to(device)) for table in tables]
    y = torch.from_numpy(tables[0].labels.astype(np.int64)).to(device)
    with torch.no_grad():
        predicted = torch.stack([model(x).argmax(dim=1) for x in pixels])
    objects = _Object(tables[0], pixels[0])
    maps: dict[str, NDArray[np.float32]] = {}
    measured: list[Measured] = []
    if objects.known:
        flat = torch.ones_like(pixels[0][:, 0])
        by_chance = objects.measure(flat, scores.ranks(flat))
        measured += _measured(rows[0], UNIFORM, ids, by_chance)
    for kind, count in counts.items():
        if not count:
            continue
        own = [MAPS[kind](model, x[:count], y[:count], settings) for x in pixels]
        control = MAPS[kind](untrained, pixels[0][:count], y[:count], settings)
        ranks = [scores.ranks(shown) for shown in own]
        for row, shown, ranked in zip(rows, own, ranks, strict=True):
            found = {"gini": scores.gini(shown)}
            if row is rows[0]:
                alike = scores.correlation(ranked, scores.ranks(control))
                found["untrained_rank_correlation"] = alike
            else:
                found["rank_correlation"] = scores.correlation(ranked, ranks[0])
                found["ssim"] = scores.ssim(shown, own[0])
            if not row.moved:
                found |= objects.measure(shown, ranked)
            measured += _measured(row, kind, ids, found)
        maps[kind] = torch.stack(own).cpu().numpy()
    return Explained(maps, predicted.cpu().numpy().astype(np.int32), measured)
