"""A cost model of a comparison: what each of its stages takes, and what it waits for.

How many images pass through a network, and in which way, follows from the parameters; how long one
takes, and how much memory, is measured where they will be computed, with a few steps of atcore's
own training and attacks on random images; what a stage costs beside that is measured too. Images of
the run's own size and its own network are measured, as neither time nor memory follows from those
of another size; what is assumed is that costs add up: of images, steps, methods and variants
(`benchmarks.scaling` holds that against what is measured). Neither raw data nor anything else of
the workspace but params.yaml is needed, and nothing is written.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import ray

from atcore.networks.architecture import ModelSpec
from atcore.networks.models import build
from atcore.training.spec import TrainingSpec
from tasks import params
from tasks.cluster import pool
from tasks.cost.counts import Counts, counts
from tasks.cost.memory import of_machine
from tasks.cost.passes import (
    evaluated_at_once,
    evaluation_passes,
    explained_at_once,
    learned_at_once,
    probe_passes,
    salience_passes,
    training_passes,
    validated_at_once,
)
from tasks.cost.timing import Costs, measured
from tasks.params import GIVEN_SEED
from tasks.prepare import centre
from tasks.quality import PROBED
from tasks.tools.download import ARCHIVES
from tasks.train import training_spec

# A prediction: ids, labels, three classes and their probabilities, compressed.
_BYTES_PER_ANSWER = 40


@dataclass(frozen=True)
class Stage:
    """A stage of the graph.

    Attributes:
        after: what it waits for.
        seconds: on its share of the cluster.
        bytes: of its outputs.
        shares: how many of them it takes: the workers of a training.
        memory: bytes that its processes take on such a share, of the kinds of stages that take
            much: those in which networks are trained, asked and explained.
    """

    after: list[str]
    seconds: float
    bytes: float
    shares: int = 1
    memory: float = 0


def _training_memory(took: Costs, spec: TrainingSpec, n: Counts, side: int) -> float:
    """Bytes of a process that trains; its validation may work on more images at once."""
    learning = took.update.of(learned_at_once(spec))
    if spec.validation_attack is None:
        return learning
    asked = validated_at_once(n.validation, side)
    return max(learning, took.update.fixed + took.attack.image * asked)


def stages(
    settings: params.Params, dataset: str, n: Counts, took: Costs, weights: int, share: int
) -> dict[str, Stage]:
    """The stages of one dataset, named as DVC names them.

    Args:
        weights: parameters of the network.
        share: CPUs (or 1 for a GPU) of one stage, over which all but training is spread.
    """
    run, own = settings.run, settings.dataset[dataset]
    image, large = 3 * own.image_size**2, 3 * centre(own) ** 2
    rows = 1 + len(settings.variant_levels)
    prepare = f"prepare@{dataset}"

    def spread(work: float) -> float:
        return took.start + work / share

    tables = n.train * large + (n.validation + n.test) * image
    found = {prepare: Stage([], spread(took.read * n.images), tables)}
    for name in run.stylizers:
        seconds = took.start + took.stylizers[name] * settings.stylizer[name].steps
        found[f"stylizer@{dataset}-{name}"] = Stage([prepare], seconds, 0)
    variants, probe = [], probe_passes(settings)
    for name in run.all_variants:
        count, stylizer = len(settings.variant[name].levels), settings.transfer(name)
        suffix = "" if stylizer is None else "_transferred"
        after = [prepare] if stylizer is None else [f"stylizer@{dataset}-{stylizer}"]
        variant = f"variants{suffix}@{dataset}-{name}"
        work = took.variants[name] * count * n.test
        found[variant] = Stage(after, spread(work), count * n.test * image)
        # Edges cost next to nothing.
        probed = own.format == "shapes" and settings.variant[name].kind in PROBED
        quality = took.start + probed * probe.seconds(took.training)
        found[f"quality{suffix}@{dataset}-{name}"] = Stage([variant], quality, 0)
        variants.append(variant)
    answers = (rows + len(settings.evaluate.robustness)) * n.test * _BYTES_PER_ANSWER
    # uint8 images, and float32 maps of one channel.
    kinds = len(settings.salience.measured)
    maps = rows * settings.salience.images * image * (1 + kinds * 4 / 3)
    look = evaluation_passes(settings, n.test).seconds(took.evaluation)
    explain = salience_passes(settings).seconds(took.evaluation)
    # A process on each CPU of the share.
    asking = share * took.attack.of(evaluated_at_once(settings, n.test, own.image_size))
    explaining = share * took.attack.of(explained_at_once(settings))
    for seed in run.seeds:
        for method in run.trained:
            name, suffix = f"{dataset}-{method}-{seed}", ""
            after, reference = [prepare], settings.method[method].stop_at
            if reference is not None:
                suffix = "_control"
                after = [f"train@{dataset}-{reference}-{seed}"]
            spec = training_spec(settings, dataset, method, seed)
            passes = training_passes(spec, n.train, n.validation)
            # As if workers lost no time to each other.
            seconds = took.start + passes.seconds(took.training) / spec.workers
            train = f"train{suffix}@{name}"
            memory = _training_memory(took, spec, n, own.image_size)
            found[train] = Stage(after, seconds, 4 * weights, spec.workers, memory)
            needs = [train, *variants]
            found[f"evaluate{suffix}@{name}"] = Stage(needs, spread(look), answers, memory=asking)
            found[f"salience{suffix}@{name}"] = Stage(
                needs, spread(explain), maps, memory=explaining
            )
    for method in run.networks:
        # Asked and explained as if it were as large as those that are trained on the dataset.
        name, network = f"{dataset}-{method}-{GIVEN_SEED}", f"network@{dataset}-{method}"
        found[network] = Stage([prepare], took.start, 4 * weights)
        needs = [network, *variants]
        found[f"evaluate_network@{name}"] = Stage(needs, spread(look), answers, memory=asking)
        found[f"salience_network@{name}"] = Stage(needs, spread(explain), maps, memory=explaining)
    return found


def _model(settings: params.Params, dataset: str, classes: int) -> ModelSpec:
    own = settings.dataset[dataset]
    return ModelSpec(
        architecture=own.training.architecture,
        classes=tuple(map(str, range(classes))),
        image_size=own.image_size,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
    )


def compared(
    settings: params.Params,
    share: int,
    measure: Callable[[params.Params, str, ModelSpec], Costs],
) -> dict[str, Stage]:
    """All stages of the selected comparison.

    Args:
        share: CPUs (or 1 for a GPU) of one stage.
        measure: what says how long an image takes, given the network of a dataset.

    Raises:
        UserError: nothing says how many images a dataset has.
    """
    found: dict[str, Stage] = {}
    for dataset in settings.run.datasets:
        n = counts(settings, dataset)
        model = _model(settings, dataset, n.classes)
        weights = sum(p.numel() for p in build(model).parameters())
        took = measure(settings, dataset, model)
        found |= stages(settings, dataset, n, took, weights, share)
    # A minute or less, on one CPU, of whatever a comparison takes.
    found["report"] = Stage(list(found), took.start, 0)
    found["selection"] = Stage([], took.start, 0)
    return found


def on_cluster(settings: params.Params) -> dict[str, Stage]:
    """All stages of the selected comparison on the connected cluster."""
    return compared(settings, pool.gpus() or pool.cpus(settings.threads), measured)


def estimate(settings: params.Params) -> dict[str, object]:
    """What the selected comparison costs on the connected cluster."""
    resources = ray.cluster_resources()
    gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
    threads = pool.cpus(settings.threads)
    found = on_cluster(settings)
    archives = [ARCHIVES[name] for name in settings.run.datasets if name in ARCHIVES]
    memory: Any = ray.remote(num_cpus=0, num_gpus=pool.gpus())(of_machine)
    return {
        "device": "GPU" if gpus else "CPU",
        "jobs": gpus or max(1, cpus // threads),
        "threads": threads,
        "raw": sum(archive.size for archive in archives),
        "machine": {
            "jobs": 1 if gpus else pool.cpus(cpus) // threads,
            "memory": ray.get(memory.remote()),
        },
        "stages": {name: asdict(each) for name, each in found.items()},
    }
