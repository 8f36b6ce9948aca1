"""How long an image takes on the cluster at hand: a few real steps on random images."""

import io
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import ray
import torch
from PIL import Image

from atcore.architecture import ModelSpec
from atcore.attacks import PGD, Linf
from atcore.evaluation import load_folded
from atcore.images.decode import decode
from atcore.images.table import ImageTable
from atcore.models import build, weights_to_bytes
from atcore.training import Part, Training, TrainingSpec
from atcore.variants import KINDS
from tasks import cluster, params
from tasks.passes import Passes
from tasks.train import training_spec

# Measured for so long, once everything has been done once.
_SECONDS = 0.5
# On a CPU the time per image hardly depends on their number: so many pixels are enough.
_PIXELS_ON_CPU = 2**18
_SAMPLE = 8
# Two steps: one alone would also pay for what an attack does once.
_ATTACK = PGD(threat=Linf(8 / 255), step_size=2 / 255, steps=2)


@dataclass(frozen=True)
class Seconds:
    """What was measured.

    Attributes:
        training, evaluation: per image, of one pass of each kind.
        read: per image that is decoded.
        variants: per image and level, by the name of the variant.
        start: per stage, of its process and of its first task on the cluster.
    """

    training: Passes
    evaluation: Passes
    read: float
    variants: Mapping[str, float]
    start: float = 0.0


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


def _measure(
    spec: TrainingSpec, model: ModelSpec, shard: int, variants: Mapping[str, tuple[str, float]]
) -> Seconds:
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

    run = Training(spec, model, spec.batch_size, device)
    run.model.train()
    n = spec.batch_size if device.type == "cuda" else min(spec.batch_size, enough)
    x, y = images(n)
    part = Part(x, x, y, n, n)
    noise = torch.zeros_like(x)

    def perturb() -> None:
        run.twin.refresh()
        with run.autocast():
            _ATTACK.perturb(run.twin.module, x, y, noise)

    def forward() -> None:
        with torch.no_grad(), run.autocast():
            run.twin.module(x)

    training = Passes(
        update=_per_call(lambda: run.update(part, 0.0)) / n,
        attack=_per_call(perturb) / n / _ATTACK.steps,
        forward=_per_call(forward) / n,
    )
    # As tasks of an evaluation do.
    torch.set_num_threads(1)
    network = load_folded(model, weights_to_bytes(build(model)), device.type)
    m = min(shard, most)
    x, y = images(m)
    noise = torch.zeros_like(x)

    def answer() -> None:
        with torch.no_grad():
            network(x)

    evaluation = Passes(
        attack=_per_call(lambda: _ATTACK.perturb(network, x, y, noise)) / m / _ATTACK.steps,
        forward=_per_call(answer) / m,
    )
    pixels = np.random.default_rng(0).integers(
        0, 256, (_SAMPLE, model.image_size, model.image_size, 3), np.uint8
    )
    labels = np.arange(_SAMPLE, dtype=np.int32) % len(model.classes)
    table = ImageTable(
        ids=np.arange(_SAMPLE), images=pixels, labels=labels, classes=model.classes, origin={}
    )
    encoded = io.BytesIO()
    Image.fromarray(pixels[0]).save(encoded, "JPEG")
    return Seconds(
        training=training,
        evaluation=evaluation,
        read=_per_call(lambda: decode(encoded.getvalue(), model.image_size, "")),
        variants={
            name: _per_call(partial(KINDS[kind].apply, table, level, table, 0)) / _SAMPLE
            for name, (kind, level) in variants.items()
        },
    )


def _timed(*arguments: Any) -> tuple[float, Seconds]:
    started = time.perf_counter()
    took = _measure(*arguments)
    return time.perf_counter() - started, took


def measured(settings: params.Params, dataset: str, model: ModelSpec) -> Seconds:
    """Measure on the connected cluster, where a training would run.

    Args:
        model: the network of the dataset.
    """
    spec = training_spec(settings, dataset, settings.run.methods[0], 0)
    variants = {
        name: (settings.variant[name].kind, settings.variant[name].levels[0])
        for name in settings.run.variants
    }
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import tasks.train"], check=True)
    task: Any = ray.remote(num_cpus=cluster.cpus(spec.threads), num_gpus=cluster.gpus())(_timed)
    with cluster.users_mistakes():
        inside, took = ray.get(task.remote(spec, model, settings.evaluate.shard, variants))
    return replace(took, start=time.perf_counter() - started - inside)
