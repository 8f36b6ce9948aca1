"""How long an image takes, and how much memory, on a cluster or here.

Measured in a few real steps on random images.
"""

import io
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from PIL import Image

from atcore.attacks.pgd import PGD
from atcore.attacks.spatial import Spatial
from atcore.attacks.threats import Linf
from atcore.images.decode import decode
from atcore.images.table import ImageTable
from atcore.networks.architecture import ModelSpec
from atcore.networks.folding import load_folded
from atcore.networks.models import build, weights_to_bytes
from atcore.networks.vgg import VGG19
from atcore.stylizing.adain import Stylizer, working_side
from atcore.stylizing.decoder import StylizerTraining, StylizingSpec
from atcore.stylizing.encoder import Encoder, read_encoder
from atcore.stylizing.transfer import Adain
from atcore.training.data import Part
from atcore.training.run import Training
from atcore.training.spec import TrainingSpec
from atcore.variants.kinds import vary
from atcore.variants.styling import UNTRAINED, Styling
from tasks import params
from tasks.cluster import pool
from tasks.cost.memory import Memory, memory
from tasks.cost.passes import Passes
from tasks.prepare import centre
from tasks.stylizer import stylizing_spec
from tasks.train import training_spec

# Measured for so long, once everything has been done once.
_SECONDS = 0.1
# A stage takes so often what its imports take: DVC runs it, it connects, gets a worker, and ends.
# The second is of one that need not import (`tasks.cluster.prepared`).
_STAGE_OF_ITS_IMPORTS, _PREPARED_STAGE_OF_THEM = 3, 2
# On a CPU the time per image hardly depends on their number: so many pixels are enough.
_PIXELS_ON_CPU = 2**18
_SAMPLE = 8
# Two steps: one alone would also pay for what an attack does once.
_ATTACK = PGD(threat=Linf(8 / 255), step_size=2 / 255, steps=2)
_MOVING = Spatial(eps=0.5, smoothness=0.005)


@dataclass(frozen=True)
class Costs:
    """What was measured.

    Attributes:
        training, evaluation: per image, of one pass of each kind.
        read: per image that is decoded.
        variants: per image and level, by the name of the variant.
        stylizers: per step of a stylizer's training, by its name.
        update, attack: memory of a process that trains, and of one that attacks a trained network.
        start: per stage, of its process and of its first task on the cluster.
    """

    training: Passes
    evaluation: Passes
    read: float
    variants: Mapping[str, float]
    stylizers: Mapping[str, float]
    update: Memory
    attack: Memory
    start: float = 0.0


@dataclass(frozen=True)
class _Variant:
    """A variant at one of its levels; `stylizer` is the one that it needs, if any."""

    kind: str
    level: float
    stylizer: str | None


@dataclass(frozen=True)
class _Stylizer:
    """How a stylizer is trained, and the channels of its encoder."""

    spec: StylizingSpec
    widths: tuple[int, ...]


def _per_call(call: Callable[[], object]) -> float:
    """Mean seconds of a call, without the first one."""

    def wait() -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    call()
    wait()
    calls, started = 0, time.perf_counter()
    while calls == 0 or time.perf_counter() - started < _SECONDS:
        call()
        wait()
        calls += 1
    return (time.perf_counter() - started) / calls


def _photograph(pixels: NDArray[np.uint8], side: int) -> bytes:
    """A JPEG of that side in pixels, about as smooth as a photograph."""
    encoded = io.BytesIO()
    Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(encoded, "JPEG")
    return encoded.getvalue()


def _moved(x: torch.Tensor) -> None:
    """What a step of a spatial attack does beside its pass through the network."""
    flow = _MOVING.zero(x).requires_grad_()
    objective = _MOVING.objective(_MOVING.apply(x, flow).sum(), flow)
    torch.autograd.grad(objective, flow)


def _stylizer_step(stylizer: _Stylizer, images: NDArray[np.uint8], device: torch.device) -> float:
    run = StylizerTraining(stylizer.spec, Encoder(stylizer.widths).requires_grad_(False), device)
    return _per_call(lambda: run.update(*run.batch(images, None, 0), 0))


def _styling(stylizer: _Stylizer, side: int) -> Styling:
    """With weights that are not trained, which take as long."""
    transfer = Adain(Stylizer(Encoder(stylizer.widths)).to_bytes(), "", stylizer.spec.size)
    return Styling(transfer=transfer, side=working_side(side, stylizer.spec.size))


def _measure(
    spec: TrainingSpec,
    model: ModelSpec,
    shard: int,
    centre: int,
    variants: Mapping[str, _Variant],
    stylizers: Mapping[str, _Stylizer],
    spatial: bool,
) -> Costs:
    """Measure on the device of the machine that this is called on."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    enough = max(1, _PIXELS_ON_CPU // model.image_size**2)
    most = shard if device.type == "cuda" else enough
    generator = torch.Generator(device=device).manual_seed(0)

    def images(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        shape = (count, 3, model.image_size, model.image_size)
        x = torch.rand(shape, generator=generator, device=device)
        y = torch.randint(len(model.classes), (count,), generator=generator, device=device)
        return x.contiguous(memory_format=torch.channels_last), y

    # As tasks of an evaluation do; a training takes its own number.
    torch.set_num_threads(1)
    network = load_folded(model, weights_to_bytes(build(model)), device.type)

    def attack(x: torch.Tensor, y: torch.Tensor) -> None:
        _ATTACK.perturb(network, x, y, torch.zeros_like(x))

    def answer(x: torch.Tensor) -> None:
        with torch.no_grad():
            network(x)

    m = min(shard, most)
    x, y = images(m)
    # What takes more memory comes later, so that it finds little that was left to it.
    attack_memory = memory(lambda count: attack(*images(count)), m, device)
    evaluation = Passes(
        attack=_per_call(lambda: attack(x, y)) / m / _ATTACK.steps,
        forward=_per_call(lambda: answer(x)) / m,
        warp=_per_call(lambda: _moved(x)) / m if spatial else 0,
    )
    run = Training(replace(spec, attack=_ATTACK), model, spec.batch_size, device)
    run.model.train()
    n = spec.batch_size if device.type == "cuda" else min(spec.batch_size, enough)
    x, y = images(n)

    def perturb() -> None:
        run.run("attack", n, x, y, torch.zeros_like(x), 1.0)

    def update(x: torch.Tensor, y: torch.Tensor) -> None:
        run.update(Part(x, x, y, len(x), len(x)), 0.0)

    def forward() -> None:
        with torch.no_grad(), run.autocast():
            run.twin.module(x)

    update_memory = memory(lambda count: update(*images(count)), n, device)
    training = Passes(
        update=_per_call(lambda: update(x, y)) / n,
        attack=_per_call(perturb) / n / _ATTACK.steps,
        forward=_per_call(forward) / n,
        warp=_per_call(lambda: _moved(x)) / n if spatial else 0,
    )
    torch.set_num_threads(1)
    pixels = np.random.default_rng(0).integers(
        0, 256, (_SAMPLE, model.image_size, model.image_size, 3), np.uint8
    )
    labels = np.arange(_SAMPLE, dtype=np.int32) % len(model.classes)
    table = ImageTable(
        ids=np.arange(_SAMPLE), images=pixels, labels=labels, classes=model.classes, origin={}
    )
    # What is cropped is larger than what is made of it.
    raw = centre if centre == model.image_size else centre * 4 // 3
    encoded = _photograph(pixels[0], raw)
    stylings = {name: _styling(each, model.image_size) for name, each in stylizers.items()}

    def transform(variant: _Variant) -> None:
        styling = UNTRAINED if variant.stylizer is None else stylings[variant.stylizer]
        vary(variant.kind, table, variant.level, table, 0, styling)

    return Costs(
        training=training,
        evaluation=evaluation,
        read=_per_call(lambda: decode(encoded, model.image_size, "", centre)),
        variants={
            name: _per_call(partial(transform, variant)) / _SAMPLE
            for name, variant in variants.items()
        },
        stylizers={name: _stylizer_step(each, pixels, device) for name, each in stylizers.items()},
        update=update_memory,
        attack=attack_memory,
    )


def _timed(*arguments: Any) -> tuple[float, Costs]:
    started = time.perf_counter()
    took = _measure(*arguments)
    return time.perf_counter() - started, took


def _widths(encoder: str) -> tuple[int, ...]:
    return VGG19 if encoder == params.IMAGENET else read_encoder(Path(encoder)).widths


def _question(settings: params.Params, dataset: str, model: ModelSpec) -> tuple[Any, ...]:
    """What `_measure` is given."""
    # Where nothing is trained, any method has the passes of which networks are asked.
    method = next(iter([*settings.run.methods, *settings.method]))
    spec = training_spec(settings, dataset, method, 0)
    variants = {
        name: _Variant(chosen.kind, chosen.levels[0], settings.transfer(name))
        for name in settings.run.all_variants
        for chosen in [settings.variant[name]]
    }
    stylizers = {
        name: _Stylizer(stylizing_spec(settings, name), _widths(settings.stylizer[name].encoder))
        for name in settings.run.stylizers
    }
    side = centre(settings.dataset[dataset])
    attacks = (settings.method[name].attack for name in settings.run.trained)
    norms = {each.norm for each in (*attacks, *settings.evaluate.robustness) if each is not None}
    return spec, model, settings.evaluate.shard, side, variants, stylizers, "spatial" in norms


def _imports_of_a_stage() -> float:
    """Seconds."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import tasks.train"], check=True)
    return time.perf_counter() - started


def measured(settings: params.Params, dataset: str, model: ModelSpec) -> Costs:
    """Measure on the connected cluster, where a training would run.

    Args:
        model: the network of the dataset.

    Raises:
        UserError: the encoder of a stylizer cannot be read.
    """
    question = _question(settings, dataset, model)
    start = _STAGE_OF_ITS_IMPORTS * _imports_of_a_stage()
    cpus = pool.cpus(settings.dataset[dataset].training.threads)
    task: Any = ray.remote(num_cpus=cpus, num_gpus=pool.gpus())(_timed)
    started = time.perf_counter()
    with pool.users_mistakes():
        inside, took = ray.get(task.remote(*question))
    return replace(took, start=start + time.perf_counter() - started - inside)


def measured_here(settings: params.Params, dataset: str, model: ModelSpec) -> Costs:
    """The same in this process, for a cluster that has workers ready."""
    question = _question(settings, dataset, model)
    start = _PREPARED_STAGE_OF_THEM * _imports_of_a_stage()
    return replace(_measure(*question), start=start)
