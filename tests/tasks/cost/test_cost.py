"""The cost model against what is really called, and the command that prints it."""

import multiprocessing
import os
import re
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn

from atcore.attacks import spatial
from atcore.attacks.pgd import PGD
from atcore.attacks.spatial import warp
from atcore.evaluation.asking import predict
from atcore.images.table import ImageTable
from atcore.networks.architecture import ModelSpec
from atcore.networks.folding import FoldedTwin
from atcore.networks.models import build
from atcore.salience.explain import explain
from atcore.salience.maps import MapSettings
from atcore.salience.rows import Row
from atcore.stylizing.encoder import Encoder
from atcore.training.data import LoadedSplit
from atcore.training.run import Training
from flows import paper
from tasks.cost.counts import Counts
from tasks.cost.memory import Memory, memory, most
from tasks.cost.model import stages
from tasks.cost.passes import (
    Passes,
    evaluation_passes,
    explained_at_once,
    salience_passes,
    training_passes,
    validated_at_once,
)
from tasks.cost.timing import Costs
from tasks.evaluate import evaluation_attack
from tasks.params import Params, load
from tasks.train import training_spec
from tasks.workspace import paths

PROJECT = Path(__file__).parents[3]
SETTINGS = load(PROJECT / "params.yaml")
CLASSES = ("a", "b", "c")


class Counter:
    """Images that passed through the networks that it watches, and how many of them at once."""

    def __init__(self) -> None:
        self.seen, self.at_once = Passes(), 0

    def watch(self, network: nn.Module, *, trained: bool = False) -> nn.Module:
        def count(_: nn.Module, inputs: tuple[Tensor, ...], __: Tensor) -> None:
            (x,) = inputs
            self.at_once = max(self.at_once, len(x))
            if trained:
                self.seen += Passes(update=len(x))
            elif torch.is_grad_enabled() and x.requires_grad:
                self.seen += Passes(attack=len(x))
            else:
                self.seen += Passes(forward=len(x))

        network.register_forward_hook(count)
        return network

    def watch_warps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def count(x: Tensor, flow: Tensor) -> Tensor:
            self.seen += Passes(warp=len(x) if flow.requires_grad else 0)
            return warp(x, flow)

        monkeypatch.setattr(spatial, "warp", count)


@pytest.mark.parametrize(
    "method", ["standard", "fgsm_8", "fast_8", "pgd_linf_8", "trades_8", "free_8", "stadv"]
)
def test_passes_of_a_training_are_those_of_its_modules(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(training_spec(SETTINGS, "shapes", method, 0), epochs=2, batch_size=4, threads=1)
    model = ModelSpec("small", CLASSES, 8, (0.5,) * 3, (0.25,) * 3)

    def split(count: int) -> LoadedSplit:
        return LoadedSplit(
            torch.zeros((count, 8, 8, 3), dtype=torch.uint8), torch.arange(count) % 3
        )

    run = Training(spec, model, 10, torch.device("cpu"))
    counter = Counter()
    counter.watch(run.model, trained=True)
    counter.watch(run.twin.module)
    counter.watch_warps(monkeypatch)
    for number in (1, 2):
        run.epoch(number, split(10), split(7))
    assert counter.seen == training_passes(spec, 10, 7)


class Unmoved(nn.Module):
    """Answers with the first class whatever it is shown."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor([9.0, 0, 0]) + 0 * x.sum((1, 2, 3))[:, None]


def images(count: int) -> ImageTable:
    return ImageTable(
        ids=np.arange(count),
        images=np.zeros((count, 8, 8, 3), np.uint8),
        labels=np.zeros(count, np.int32),
        classes=CLASSES,
        origin={},
    )


def test_passes_of_an_evaluation_are_those_of_a_network_that_no_attack_fools() -> None:
    counter = Counter()
    network = counter.watch(Unmoved())
    attacks: list[PGD | None] = [None] * (1 + len(SETTINGS.variant_levels))
    attacks += [evaluation_attack(one) for one in SETTINGS.evaluate.robustness]
    for attack in attacks:
        predict(network, images(5), variant="x", level=0, attack=attack, seed=0, device="cpu")
    found, wanted = counter.seen, evaluation_passes(SETTINGS, 5)
    # The look after the last step could still be a step, as the network is asked in the same way.
    last = 5 * len(SETTINGS.evaluate.robustness)
    assert found == wanted + Passes(attack=last, forward=-last)


def test_passes_of_salience() -> None:
    own = SETTINGS.salience.model_copy(
        update={
            "measured": {"gradient": 4, "smoothgrad": 2, "integrated_gradients": 3, "grad_cam": 4},
            "smooth_samples": 5,
        }
    )
    settings = SETTINGS.model_copy(update={"salience": own})
    spec = ModelSpec("small", CLASSES, 8, (0.5,) * 3, (0.25,) * 3)
    counter = Counter()
    # Also Grad-CAM's gradient, which is that of a layer, comes from images that ask for theirs.
    networks = [counter.watch(FoldedTwin(build(spec)).module) for _ in range(2)]
    rows = [Row("x", level, moved=False) for level in range(1 + len(settings.variant_levels))]
    explain(
        *networks,
        rows,
        [images(4)] * len(rows),
        own.measured,
        MapSettings(5, own.smooth_noise, own.integration_steps, (0.5,) * 3, 0),
        "cpu",
    )
    assert counter.seen == salience_passes(settings)


@pytest.mark.parametrize(
    "measured", [{"gradient": 8}, {"gradient": 8, "integrated_gradients": 8}, {"smoothgrad": 8}]
)
def test_images_that_are_explained_at_once(measured: dict[str, int]) -> None:
    own = SETTINGS.salience.model_copy(update={"measured": measured})
    network, counter = build(ModelSpec("small", CLASSES, 8, (0.5,) * 3, (0.25,) * 3)), Counter()
    counter.watch(network)
    maps = MapSettings(own.smooth_samples, own.smooth_noise, own.integration_steps, (0.5,) * 3, 0)
    row = Row("clean", 0, moved=False)
    explain(network, network, [row], [images(8)], own.measured, maps, "cpu")
    settings = SETTINGS.model_copy(update={"salience": own})
    assert counter.at_once == explained_at_once(settings)


def test_images_that_are_validated_at_once() -> None:
    # No more pixels than 250 images of 64 px have.
    images = torch.zeros((40, 256, 256, 3), dtype=torch.uint8)
    split = LoadedSplit(images, torch.zeros(40, dtype=torch.int64))
    spec = training_spec(SETTINGS, "shapes", "standard", 0)
    run = Training(
        spec, ModelSpec("small", CLASSES, 256, (0.5,) * 3, (0.25,) * 3), 40, torch.device("cpu")
    )
    counter = Counter()
    counter.watch(run.twin.module)
    run.validate(split, None)
    assert counter.at_once == validated_at_once(40, 256) == 250 * 64**2 // 256**2


MEGABYTE, CPU = 2**20, torch.device("cpu")


def fill(count: int) -> None:
    np.ones(count * 200 * MEGABYTE, np.uint8)


def test_memory_is_the_line_through_two_peaks() -> None:
    # This process has gigabytes of earlier tests, which may come or go meanwhile.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as another:
        found = another.submit(memory, fill, 6, CPU).result()
        assert found.image == pytest.approx(200 * MEGABYTE, rel=0.1)
        three, one = (another.submit(most, partial(fill, n), CPU).result() for n in (3, 1))
        assert found.of(3) == pytest.approx(three, rel=0.1)
        # An earlier, larger peak does not count.
        assert one < found.of(2)


TOOK = Costs(
    training=Passes(update=3, attack=2, forward=1),
    evaluation=Passes(attack=2, forward=1),
    read=0.5,
    variants=dict.fromkeys(SETTINGS.variant, 0.25),
    stylizers={"adain": 0.1},
    update=Memory(fixed=1000, image=10),
    attack=Memory(fixed=500, image=4),
    start=7,
)
COUNTS = Counts(classes=8, train=100, validation=10, test=20)


def estimated(settings: Params) -> dict[str, Any]:
    return stages(settings, "shapes", COUNTS, TOOK, weights=1000, share=2)


def test_seconds_and_bytes_follow_from_what_was_measured() -> None:
    found = estimated(SETTINGS)
    run = SETTINGS.run
    assert len(found) == 1 + 2 * len(run.variants) + 3 * len(run.models) * len(run.seeds)
    prepare, pixels = found["prepare@shapes"], 3 * 32 * 32
    assert (prepare.after, prepare.seconds, prepare.bytes) == ([], 7 + 65 / 2, 130 * pixels)
    variant = found["variants@shapes-patch_shuffled"]
    assert (variant.seconds, variant.bytes) == (7 + 3 * 20 * 0.25 / 2, 3 * 20 * pixels)
    train = found["train@shapes-standard-0"]
    assert (train.seconds, train.bytes) == (7 + 7 * (100 * 3 + 10), 4000)
    control = found["train_control@shapes-underfit-0"]
    assert control.after == ["train@shapes-pgd_linf_8-0"]
    # Two probes of 8 epochs on four fifths of 2,000 images, and a look at the others.
    probe = found["quality@shapes-stylized"]
    assert probe.seconds == 7 + 2 * 8 * (1600 * 3 + 400)
    assert found["quality@shapes-patch_shuffled"].seconds == 7
    # Two steps of training, five of validation.
    pgd = found["train@shapes-pgd_linf_8-0"]
    assert pgd.seconds == 7 + 7 * (100 * (3 + 2 * 2) + 10 * (1 + 1 + 5 * 2))


def test_memory_follows_from_the_images_at_once() -> None:
    def stage(name: str, method: str = "standard", **training: int) -> float:
        own = SETTINGS.dataset["shapes"]
        own = own.model_copy(update={"training": own.training.model_copy(update=training)})
        run = SETTINGS.run.model_copy(update={"methods": [method]})
        found = estimated(SETTINGS.model_copy(update={"dataset": {"shapes": own}, "run": run}))
        memory: float = found[f"{name}@shapes-{method}-0"].memory
        return memory

    assert stage("train") == 1000 + 32 * 10
    assert stage("train", batch_size=64) == 1000 + 64 * 10
    # Clean and attacked images.
    assert stage("train", "trades_8") == 1000 + 2 * 32 * 10
    # An attack on ten images for validation takes more than to learn from two.
    assert stage("train", "pgd_linf_8", batch_size=2) == 1000 + 10 * 4
    # Two tasks, of all twenty test images, and of 16 noisy copies of 8 images.
    assert stage("evaluate") == 2 * (500 + 20 * 4)
    assert stage("salience") == 2 * (500 + 128 * 4)


def test_a_stylizer_comes_before_the_variants_that_need_it() -> None:
    selected = {"stylizers": ["adain"], "transferred": ["stylized_adain"]}
    found = estimated(SETTINGS.model_copy(update={"run": SETTINGS.run.model_copy(update=selected)}))
    stylizer = found["stylizer@shapes-adain"]
    assert (stylizer.after, stylizer.seconds) == (["prepare@shapes"], 7 + 16_000)
    variant = found["variants_transferred@shapes-stylized_adain"]
    assert (variant.after, variant.seconds) == (["stylizer@shapes-adain"], 7 + 2 * 20 * 0.25 / 2)
    assert "variants_transferred@shapes-stylized_adain" in found["evaluate@shapes-standard-0"].after


def test_networks_of_ones_own_are_asked_and_not_trained() -> None:
    selected = {"methods": [], "controls": [], "networks": ["my_network"], "variants": ["edges"]}
    found = estimated(SETTINGS.model_copy(update={"run": SETTINGS.run.model_copy(update=selected)}))
    network, variant = "network@shapes-my_network", "variants@shapes-edges"
    assert (found[network].after, found[network].seconds) == (["prepare@shapes"], 7)
    asked = {name: stage.after for name, stage in found.items() if name.endswith("my_network-0")}
    assert asked == {
        "evaluate_network@shapes-my_network-0": [network, variant],
        "salience_network@shapes-my_network-0": [network, variant],
    }


def test_workers_share_the_time_of_a_training_and_not_its_cost() -> None:
    method = SETTINGS.method["standard"].model_copy(update={"workers": 4})
    many = SETTINGS.model_copy(update={"method": {**SETTINGS.method, "standard": method}})
    train = estimated(many)["train@shapes-standard-0"]
    assert (train.seconds, train.shares) == (7 + 7 * (100 * 3 + 10) / 4, 4)


def test_larger_images_are_stored_for_training() -> None:
    sizes = {"image_size": 24, "resize": 32}
    shapes = SETTINGS.dataset["shapes"].model_copy(update=sizes)
    found = estimated(SETTINGS.model_copy(update={"dataset": {"shapes": shapes}}))
    assert found["prepare@shapes"].bytes == 3 * (100 * 32 * 32 + 30 * 24 * 24)


def test_more_epochs_cost_more_in_training_alone() -> None:
    def epochs(number: int) -> dict[str, Any]:
        own = SETTINGS.dataset["shapes"]
        training = own.training.model_copy(update={"epochs": number})
        shapes = own.model_copy(update={"training": training})
        return estimated(SETTINGS.model_copy(update={"dataset": {"shapes": shapes}}))

    few, many = epochs(3), epochs(4)
    for name, stage in few.items():
        assert (many[name].seconds > stage.seconds) == name.startswith("train")
        assert many[name].seconds >= stage.seconds


def test_the_table_names_every_kind_and_the_total() -> None:
    small = {"after": [], "bytes": 0, "memory": 0, "shares": 1}
    found: dict[str, Any] = {
        "device": "CPU",
        "jobs": 2,
        "threads": 2,
        "raw": 2e9,
        "machine": {"jobs": 2, "memory": 8e9},
        "stages": {
            "train@a": {**small, "seconds": 3600, "bytes": 1e9, "memory": 3e9},
            "train@b": {**small, "seconds": 1800, "bytes": 1e9, "memory": 4e9, "shares": 2},
            "report": {**small, "after": ["train@a", "train@b"], "seconds": 1800},
        },
    }
    lines = [line.split() for line in paper.table(found).splitlines()]
    assert lines[1:4] == [
        ["train", "2", "4.00", "2.00", "4.0"],
        ["report", "1", "1.00", "0.00"],
        ["total", "3", "5.00", "2.00", "4.0"],
    ]
    assert "total time: 1.50 h with 2 stages at once on this cluster" in paper.table(found)
    assert "total disk: 6.00 GB: raw images 2.00, outputs 2.00" in paper.table(found)
    enough = "\ntotal memory: 8.0 GB at most, for train; a machine has 8.0"
    assert paper.table(found).endswith(enough)
    found["machine"]["memory"] = 7.9e9
    assert paper.table(found).endswith(
        "\nwarning: too much memory: 8.0 GB at most, for train; a machine has 7.9; "
        "lower batch_size, evaluate.shard or jobs"
    )
    assert paper.table(found | {"device": "GPU"}).count("a GPU has 7.9") == 1


def ahead(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return subprocess.run(
        [sys.executable, "-m", "tasks.cost.here"],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )


def refused(folder: Path, message: str) -> None:
    ended = ahead(folder)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: {message}")
    assert ended.stderr.count("\n") == 1


def test_a_line_says_ahead_how_long_a_comparison_takes_here(tmp_path: Path) -> None:
    document = yaml.safe_load((PROJECT / "params.yaml").read_text())
    file, raw = (tmp_path / name for name in ("params.yaml", "raw"))
    file.write_text(yaml.safe_dump(document))
    (raw / "shapes").mkdir(parents=True)
    run = document["run"]
    networks = len(run["methods"]) + len(run["controls"])
    ended = ahead(tmp_path)
    assert ended.returncode == 0, ended.stderr
    found = re.fullmatch(
        r"networks to train or take in: (\d+); (\d+) stages, one after the other: about [\d.]+ "
        r"(?:min|hours) on this machine \(\d+ CPUs\); what has been computed before is kept\n",
        ended.stdout,
    )
    assert found, ended.stdout
    assert (int(found[1]), int(found[2])) == (networks, 3 + 2 * len(run["variants"]) + 3 * networks)
    assert sorted(tmp_path.iterdir()) == [file, raw]

    run["datasets"] = ["my_folder"]
    file.write_text(yaml.safe_dump(document))
    refused(tmp_path, "raw/my_folder: no such folder; docs/data.md says what to put there\n")
    cafe = raw / "my_folder" / os.fsdecode(b"caf\xe9")
    cafe.mkdir(parents=True)
    refused(tmp_path, "raw/my_folder/caf\\xe9: a name that is not UTF-8; there are 1; rename them")
    cafe.rmdir()
    assert "how long it takes shows once images are prepared" in ahead(tmp_path).stdout

    run["networks"] = ["my_network"]
    file.write_text(yaml.safe_dump(document))
    for method in run["methods"] + run["controls"]:
        (tmp_path / paths.model("my_folder", method, 0)).mkdir(parents=True)
    assert ahead(tmp_path).stdout.startswith("networks to train or take in: 1; how long")
    (tmp_path / paths.model("my_folder", "my_network", 0)).mkdir(parents=True)
    assert "every selected network is there" in ahead(tmp_path).stdout

    run["methods"] = ["standart"]
    file.write_text(yaml.safe_dump(document))
    refused(tmp_path, "params.yaml: run.methods: 'standart' is unknown; allowed: ")


def dry(dataset: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.paper", dataset, "--dry"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.usefixtures("ray_cluster")
def test_a_dry_run_prints_the_total_and_writes_nothing(tmp_path: Path) -> None:
    document = yaml.safe_load((PROJECT / "params.yaml").read_text())
    document["dataset"]["cifar10_archive"]["training"] |= {"architecture": "small", "threads": 1}
    document["paper"]["cifar10"] |= {
        "variants": ["saturated"],
        "stylizers": ["adain"],
        "transferred": ["stylized_adain"],
    }
    narrow = tmp_path / "raw/encoder/narrow.safetensors"
    narrow.parent.mkdir(parents=True)
    save_file(Encoder((4,) * 9).state_dict(), narrow)
    document["stylizer"]["adain"] |= {"encoder": "raw/encoder/narrow.safetensors", "size": 32}
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(document))
    before = file.read_bytes()
    ended = dry("cifar10", tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "total time: " in ended.stdout
    assert "stylizer" in ended.stdout
    # A total or, on a small machine, a warning.
    assert re.search(r"memory: \d+\.\d GB at most, for \w+; a (machine|GPU) has ", ended.stdout)
    assert [path for path in sorted(tmp_path.rglob("*")) if path.is_file()] == [file, narrow]
    assert file.read_bytes() == before


def test_an_unknown_dataset_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes((PROJECT / "params.yaml").read_bytes())
    ended = dry("mnist", tmp_path)
    assert ended.returncode == 2
    assert ended.stderr == (
        "error: DATASET: 'mnist' is unknown; allowed: cifar10, tiny_imagenet, caltech256\n"
    )
