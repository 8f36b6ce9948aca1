"""Training: reproducible, resumable, and honest about how it ended."""

import copy
import io
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from atcore_samples import (
    halved,
    model_spec,
    native_precision,
    shapes_table,
    split_of,
    training_spec,
)
from torch import Tensor, nn

from atcore.attacks.pgd import PGD
from atcore.attacks.threats import Linf
from atcore.base.errors import UserError
from atcore.images.pixels import to_pixels
from atcore.networks.models import weights_to_bytes
from atcore.training.data import Batch, LoadedSplit
from atcore.training.loop import Progress, has_collapsed, train, trained_weights
from atcore.training.losses import CrossEntropy, Trades
from atcore.training.run import Training, TrainingDivergedError, follow, torch_rng
from atcore.training.spec import TrainingSpec

TABLE = shapes_table(140)
TRAIN, VALIDATION = (halved(split_of(TABLE.rows(r))) for r in (slice(0, 100), slice(100, 140)))
ATTACK = PGD(threat=Linf(4 / 255), step_size=2 / 255, steps=2)
TRADES_ATTACK = replace(ATTACK, start_deviation=0.001)
EVERYTHING = training_spec(
    epochs=3,
    attack=ATTACK,
    eps_warmup=0.3,
    validation_attack=replace(ATTACK, steps=3),
    augment="crop_flip",
)


def weights(progress: Progress, training: LoadedSplit = TRAIN) -> bytes:
    return weights_to_bytes(trained_weights(progress.checkpoint, model_spec(training)))


def run(spec: TrainingSpec, **arguments: Any) -> list[Progress]:
    return list(train(spec, model_spec(TRAIN), TRAIN, VALIDATION, **arguments))


# --- reproducible and resumable -----------------------------------------------------------------


TRADES = {"loss": Trades(beta=6), "attack": TRADES_ATTACK}
KINDS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "attack in train mode": {"attack_mode": "train"},
    "trades": TRADES,
    # Larger batches make so few updates that the accuracy jumps as in a collapse.
    "free": {"replays": 2, "batch_size": 16},
    "ema": {"ema": 0.9},
    "best average": {"ema": 0.9, "keep": "best_robust"},
    "standard": {"attack": None, "validation_attack": None},
}
# Once each, as most processors take five times as long for them.
IN_BF16 = [
    pytest.param(1, {"precision": "bf16"}, id="bf16-1"),
    pytest.param(2, {**TRADES, "precision": "bf16"}, id="trades in bf16-2"),
]


@pytest.mark.parametrize(
    ("stop_after", "changes"),
    [
        pytest.param(stop_after, changes, id=f"{kind}-{stop_after}")
        for kind, changes in KINDS.items()
        for stop_after in (1, 2)
    ]
    + IN_BF16,
)
def test_a_resumed_run_equals_an_uninterrupted_one(
    stop_after: int, changes: dict[str, Any]
) -> None:
    spec = replace(EVERYTHING, **changes)
    uninterrupted = run(spec)
    interrupted = train(spec, model_spec(TRAIN), TRAIN, VALIDATION)
    for _ in range(stop_after):
        checkpoint = next(interrupted).checkpoint
    interrupted.close()
    resumed = run(spec, checkpoint=checkpoint)
    assert [len(progress.history) for progress in resumed] == list(range(stop_after + 1, 4))
    assert resumed[-1].history == uninterrupted[-1].history
    assert resumed[-1].finished == uninterrupted[-1].finished == "epochs"
    assert weights(resumed[-1]) == weights(uninterrupted[-1])


def test_a_resumed_run_on_two_threads_equals_an_uninterrupted_one() -> None:
    spec = replace(EVERYTHING, epochs=2, batch_size=100, attack=replace(ATTACK, steps=1), threads=2)
    uninterrupted = run(spec)
    resumed = run(spec, checkpoint=uninterrupted[0].checkpoint)
    assert torch.get_num_threads() == 2
    assert resumed[-1].history == uninterrupted[-1].history
    assert weights(resumed[-1]) == weights(uninterrupted[-1])


@pytest.mark.parametrize("began_in", ["fp32", "bf16"])
def test_a_run_goes_on_in_the_precision_in_which_it_began(began_in: str) -> None:
    # As on a machine for which `auto` is something else than on the one where it was interrupted.
    uninterrupted = run(replace(EVERYTHING, precision=began_in))
    resumed = run(replace(EVERYTHING, precision="auto"), checkpoint=uninterrupted[0].checkpoint)
    assert [epoch.precision for epoch in resumed[-1].history] == [began_in] * 3
    assert resumed[-1].history == uninterrupted[-1].history
    assert weights(resumed[-1]) == weights(uninterrupted[-1])


def test_auto_is_bf16_where_the_processor_computes_it_and_fp32_elsewhere() -> None:
    spec = replace(EVERYTHING, epochs=1)
    auto, bf16, fp32 = (run(replace(spec, precision=p))[-1] for p in ("auto", "bf16", "fp32"))
    assert weights(bf16) != weights(fp32)
    expected = {"bf16": bf16, "fp32": fp32}[native_precision()]
    assert auto.history == expected.history
    assert weights(auto) == weights(expected)
    assert [bf16.kept.precision, fp32.kept.precision] == ["bf16", "fp32"]


def test_a_run_depends_on_its_seed_and_on_nothing_else_random() -> None:
    torch.manual_seed(1)
    first = run(EVERYTHING)[-1]
    torch.manual_seed(2)
    again = run(EVERYTHING)[-1]
    other = run(replace(EVERYTHING, seed=1))[-1]
    assert weights(again) == weights(first)
    assert again.history == first.history
    assert weights(other) != weights(first)


def test_so_does_one_with_dropout_also_where_it_goes_on_from_a_checkpoint() -> None:
    network = model_spec(TRAIN, "mobilenet_v3_small")
    spec = training_spec()
    torch.manual_seed(1)
    whole = list(train(spec, network, TRAIN, VALIDATION))
    torch.manual_seed(2)
    resumed = list(train(spec, network, TRAIN, VALIDATION, checkpoint=whole[0].checkpoint))
    ends = (trained_weights(each[-1].checkpoint, network) for each in (whole, resumed))
    expected, found = map(weights_to_bytes, ends)
    assert found == expected


def test_a_network_is_trained_on_crops_of_larger_images() -> None:
    larger = LoadedSplit(F.pad(TRAIN.images, (0, 0, 2, 2, 2, 2)), TRAIN.labels)
    training = Training(EVERYTHING, model_spec(TRAIN), len(TRAIN.labels), torch.device("cpu"))
    (part,) = training.parts(Batch(larger.images[:10], larger.labels[:10]), 5)
    assert part.clean.shape == part.attacked.shape == (10, 3, 16, 16)
    # The same pixels at the same places as where they are padded first.
    (padded,) = training.parts(Batch(TRAIN.images[:10], TRAIN.labels[:10]), 5)
    assert torch.equal(part.clean, padded.clean)


def test_training_leaves_the_random_numbers_of_its_caller_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    run(replace(EVERYTHING, epochs=1))
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("stop_at_accuracy", [None, 0.0], ids=["epochs", "accuracy"])
def test_the_checkpoint_of_a_finished_run_yields_its_end_at_once(
    stop_at_accuracy: float | None,
) -> None:
    spec = replace(EVERYTHING, stop_at_accuracy=stop_at_accuracy)
    last = run(spec)[-1]
    again = run(spec, checkpoint=last.checkpoint)
    assert [progress.finished for progress in again] == [last.finished]
    assert again[0].history == last.history
    assert weights(again[0]) == weights(last)


def test_history_grows_by_one_epoch_at_a_time() -> None:
    progresses = run(EVERYTHING)
    assert [progress.finished for progress in progresses] == [None, None, "epochs"]
    for count, progress in enumerate(progresses, start=1):
        assert [epoch.number for epoch in progress.history] == list(range(1, count + 1))
        assert progress.history == progresses[-1].history[:count]


# --- what is learned and measured ---------------------------------------------------------------


def colours(count: int, seed: int) -> LoadedSplit:
    """Eight colours with noise, 8 px: learned within an epoch, and robustly."""
    labels = np.arange(count) % 8
    sides = np.stack([(labels >> bit) & 1 for bit in range(3)], axis=-1) * 2 - 1
    noise = np.random.default_rng(seed).normal(0, 6, (count, 8, 8, 3))
    images = np.rint((128 + 60 * sides[:, None, None, :] + noise).clip(0, 255)).astype(np.uint8)
    return LoadedSplit(torch.from_numpy(images), torch.from_numpy(labels))


COLOURS, MORE_COLOURS = colours(256, 0), colours(128, 1)


def accuracy_of(progress: Progress) -> float:
    network = trained_weights(progress.checkpoint, model_spec(COLOURS)).eval()
    with torch.no_grad():
        answers = network(to_pixels(MORE_COLOURS.images)).argmax(1)
    return (answers == MORE_COLOURS.labels).float().mean().item()


def test_training_learns_and_reports_the_accuracy_of_the_weights_it_gives() -> None:
    spec = training_spec(epochs=3, batch_size=8)
    *_, last = train(spec, model_spec(COLOURS), COLOURS, MORE_COLOURS)
    assert last.history[-1].validation_accuracy > 0.9
    assert last.history[-1].accuracy > last.history[0].accuracy
    assert last.history[-1].loss < last.history[0].loss / 2
    assert accuracy_of(last) == pytest.approx(last.history[-1].validation_accuracy, abs=1.5 / 128)


def test_robust_accuracy_is_measured_only_where_an_attack_is_given() -> None:
    spec = replace(EVERYTHING, epochs=1)
    (without,) = run(replace(spec, validation_attack=None))
    assert without.history[0].validation_robust_accuracy is None
    (with_one,) = run(spec)
    assert with_one.history[0].validation_robust_accuracy is not None
    # Measuring does not change what is trained.
    assert weights(with_one) == weights(without)


def test_trades_with_beta_zero_is_standard_training() -> None:
    # The running statistics also see the attacked images, the trained parameters do not.
    standard, trades = (
        trained_weights(run(replace(EVERYTHING, **changes))[-1].checkpoint, model_spec(TRAIN))
        for changes in (
            {"attack": None},
            {"attack": TRADES_ATTACK, "loss": Trades(beta=0)},
        )
    )
    for expected, parameter in zip(standard.parameters(), trades.parameters(), strict=True):
        assert torch.equal(parameter, expected)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_stops_as_soon_as_the_wanted_accuracy_is_reached(precision: str) -> None:
    spec = training_spec(epochs=20, batch_size=4, precision=precision)
    *before, last = train(
        replace(spec, stop_at_accuracy=0.9), model_spec(COLOURS), COLOURS, MORE_COLOURS
    )
    assert last.finished == "accuracy"
    assert len(last.history) < spec.epochs
    assert last.history[-1].validation_accuracy >= 0.9
    assert all(progress.finished is None for progress in before)
    assert accuracy_of(last) >= 0.9 - 1 / 128
    # It stopped inside an epoch: the same run without the wish does better by the epoch's end.
    number = len(last.history)
    *_, unstopped = islice(train(spec, model_spec(COLOURS), COLOURS, MORE_COLOURS), number)
    assert weights(unstopped, COLOURS) != weights(last, COLOURS)


def test_an_accuracy_out_of_reach_ends_with_the_epochs() -> None:
    assert run(replace(EVERYTHING, epochs=1, stop_at_accuracy=1.1))[-1].finished == "epochs"


def test_the_average_follows_the_weights() -> None:
    model = nn.BatchNorm1d(1)
    average = copy.deepcopy(model)
    assert model.num_batches_tracked is not None
    assert average.num_batches_tracked is not None
    # Decays 1/10, 2/11 and, as 3/12 is more than it, 0.2.
    seen = []
    for step, value in enumerate([11.0, 22.0, 30.0]):
        model.weight.data.fill_(value)
        model.num_batches_tracked.fill_(step)
        follow(average, model, step, decay=0.2)
        seen.append(average.weight.item())
    assert seen == pytest.approx([10.0, 19.818182, 27.963636])  # from 1 on
    assert average.num_batches_tracked == 2
    assert model.weight.item() == 30.0


def test_the_averaged_weights_are_validated_and_handed_out() -> None:
    spec = training_spec(epochs=3, batch_size=8)
    *_, plain = train(spec, model_spec(COLOURS), COLOURS, MORE_COLOURS)
    *_, averaged = train(replace(spec, ema=0.9), model_spec(COLOURS), COLOURS, MORE_COLOURS)
    # Averaging does not change what is trained, but what is seen of it.
    assert [epoch.loss for epoch in averaged.history] == [epoch.loss for epoch in plain.history]
    assert weights(averaged, COLOURS) != weights(plain, COLOURS)
    assert accuracy_of(averaged) == pytest.approx(
        averaged.history[-1].validation_accuracy, abs=1.5 / 128
    )


def test_the_first_epoch_of_the_best_robust_accuracy_is_kept() -> None:
    # With this rate the accuracy goes up and down.
    attack = PGD(threat=Linf(16 / 255), step_size=8 / 255, steps=2)
    spec = training_spec(
        epochs=5, learning_rate=1.0, schedule="constant", attack=attack, validation_attack=attack
    )
    data = (model_spec(COLOURS), COLOURS, MORE_COLOURS)
    every = list(train(spec, *data))
    best = list(train(replace(spec, keep="best_robust"), *data))
    assert [progress.history for progress in best] == [progress.history for progress in every]
    robust = [epoch.validation_robust_accuracy or 0.0 for epoch in every[-1].history]
    assert any(progress.kept.number < len(progress.history) for progress in best)
    for end, progress in enumerate(best, start=1):
        number = robust.index(max(robust[:end])) + 1
        assert progress.kept == every[-1].history[number - 1]
        assert weights(progress, COLOURS) == weights(every[number - 1], COLOURS)
    assert [progress.kept for progress in every] == list(every[-1].history)


def test_the_best_robust_epoch_needs_a_validation_attack() -> None:
    with pytest.raises(UserError, match=r"^keep: 'best_robust' is not allowed without"):
        training_spec(keep="best_robust")


@pytest.mark.parametrize(
    "changes", [{"schedule": "constant"}, {"loss": CrossEntropy(label_smoothing=0.1)}], ids=repr
)
def test_options_change_what_is_trained(changes: dict[str, Any]) -> None:
    spec = training_spec(epochs=1)
    assert weights(run(replace(spec, **changes))[-1]) != weights(run(spec)[-1])


# --- free adversarial training --------------------------------------------------------------------

FREE = replace(ATTACK, step_size=ATTACK.threat.eps, steps=1, random_start=False)


def by_the_paper(spec: TrainingSpec) -> nn.Module:
    """Shafahi et al. 2019, algorithm 1, on 100 images in batches of 32, the last one apart."""
    model = Training(spec, model_spec(TRAIN), 100, torch.device("cpu")).model.train()
    eps = FREE.threat.eps
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=spec.learning_rate,
        momentum=spec.momentum,
        weight_decay=spec.weight_decay,
        nesterov=True,
    )
    for epoch in range(1, spec.epochs + 1):
        delta = torch.zeros(32, 3, 16, 16)
        order = torch.randperm(100, generator=torch_rng(spec.seed, "train/order", epoch))
        for chosen in order.split(32):
            x, y = to_pixels(TRAIN.images[chosen]), TRAIN.labels[chosen]
            if len(x) < 32:
                delta = torch.zeros_like(x)
            for _ in range(spec.replays or 1):
                delta = (x + delta).clamp(0, 1) - x
                attacked = (x + delta).requires_grad_()
                optimizer.zero_grad()
                F.cross_entropy(model(attacked), y).backward()
                optimizer.step()
                assert attacked.grad is not None
                delta = (delta + eps * attacked.grad.sign()).clamp(-eps, eps)
    return model


@pytest.mark.parametrize("replays", [1, 3])
def test_free_training_is_that_of_the_paper(replays: int) -> None:
    spec = training_spec(epochs=2, schedule="constant", attack=FREE, replays=replays)
    ours = trained_weights(run(spec)[-1].checkpoint, model_spec(TRAIN))
    for parameter, expected in zip(ours.parameters(), by_the_paper(spec).parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=1e-4, atol=1e-5)


def test_free_training_with_one_replay_and_no_attack_is_standard_training() -> None:
    free = replace(FREE, threat=Linf(0.0))
    spec = training_spec(epochs=2)
    assert weights(run(replace(spec, attack=free, replays=1))[-1]) == weights(run(spec)[-1])


@pytest.mark.parametrize(
    ("changes", "passes"),
    [({}, 4), ({"replays": 3}, 12), ({"attack": replace(FREE, steps=2), "replays": None}, 12)],
    ids=["standard", "free", "pgd of two steps"],
)
def test_a_replay_costs_one_backward_pass(changes: dict[str, Any], passes: int) -> None:
    # 100 images in batches of 32: four batches, each of 1, of 3, and of 2 + 1 passes.
    spec = replace(training_spec(epochs=1, attack=FREE if changes else None), **changes)
    state = Training(spec, model_spec(TRAIN), 100, torch.device("cpu"))
    gradients: list[Tensor] = []

    def count(_module: nn.Module, _images: object, logits: Tensor) -> None:
        if logits.requires_grad:
            logits.register_hook(gradients.append)

    for network in (state.model, state.twin.module):
        network.register_forward_hook(count)
    state.epoch(1, TRAIN, VALIDATION)
    assert len(gradients) == passes


def test_replays_need_an_attack() -> None:
    with pytest.raises(UserError, match=r"^replays: 2 is not allowed without an attack"):
        training_spec(replays=2)


# --- bad ends -----------------------------------------------------------------------------------


def assert_finite(checkpoint: bytes) -> None:
    network = trained_weights(checkpoint, model_spec(COLOURS))
    for name, value in network.state_dict().items():
        assert value.isfinite().all(), name


def test_a_loss_that_is_not_finite_ends_training_naming_epoch_and_step() -> None:
    spec = training_spec(learning_rate=1e30)
    with pytest.raises(TrainingDivergedError) as caught:
        run(spec)
    message = str(caught.value)
    assert "epoch 1, step 2 of 4" in message
    assert "learning_rate (now 1e+30)" in message
    assert "\n" not in message
    assert isinstance(caught.value, UserError)


def test_the_checkpoint_before_a_divergence_still_loads() -> None:
    # Weight decay times learning rate grows beyond 2: the weights grow at every step.
    spec = training_spec(epochs=30, batch_size=16, learning_rate=1.0, weight_decay=30.0)
    yielded: list[Progress] = []
    with pytest.raises(TrainingDivergedError) as caught:
        yielded.extend(train(spec, model_spec(COLOURS), COLOURS, MORE_COLOURS))
    assert yielded
    assert f"epoch {len(yielded) + 1}, step " in str(caught.value)
    assert_finite(yielded[-1].checkpoint)
    with pytest.raises(TrainingDivergedError, match=str(caught.value).split(";")[0]):
        list(
            train(
                spec,
                model_spec(COLOURS),
                COLOURS,
                MORE_COLOURS,
                checkpoint=yielded[-1].checkpoint,
            )
        )


def test_weights_that_are_not_finite_are_never_handed_on() -> None:
    # One step per epoch: its loss is finite, the weights after it are not.
    spec = training_spec(epochs=1, batch_size=256, learning_rate=1e38, weight_decay=100.0)
    yielded: list[Progress] = []
    with pytest.raises(TrainingDivergedError, match="epoch 1"):
        yielded.extend(train(spec, model_spec(COLOURS), COLOURS, MORE_COLOURS))
    assert not yielded


@pytest.fixture(scope="module")
def collapsing() -> tuple[TrainingSpec, list[Progress]]:
    """A run whose robust accuracy falls by more than half: the learning rate grows too large.

    Which rate does it depends on rounding, so several are tried.
    """
    attack = PGD(threat=Linf(8 / 255), step_size=8 / 255, steps=1, random_start=False)
    for learning_rate in (1.0, 3.0, 2.0, 5.0, 10.0):
        spec = training_spec(
            epochs=30,
            batch_size=16,
            learning_rate=learning_rate,
            weight_decay=0.0,
            attack=attack,
            validation_attack=attack,
        )
        progresses = list(train(spec, model_spec(COLOURS), COLOURS, MORE_COLOURS))
        if progresses[-1].finished == "collapse" and len(progresses) > 2:
            return spec, progresses
    return pytest.fail("no learning rate made the robust accuracy collapse")


def test_a_collapse_ends_training_with_the_last_good_weights(
    collapsing: tuple[TrainingSpec, list[Progress]],
) -> None:
    spec, progresses = collapsing
    *_, good, last = progresses
    robust = [epoch.validation_robust_accuracy or 0 for epoch in last.history]
    assert len(last.history) < spec.epochs
    assert robust[-1] < max(robust) / 2
    for end in range(2, len(robust)):  # and it did not stop too late
        assert robust[end - 1] >= max(robust[:end]) / 2
    assert last.history[:-1] == good.history
    assert last.checkpoint == good.checkpoint
    assert last.kept == good.kept == good.history[-1]
    assert accuracy_of(last) == pytest.approx(good.history[-1].validation_accuracy, abs=0.02)


@pytest.mark.parametrize(
    ("robust", "images", "collapsed"),
    [
        # Pooled 0.35: a standard error of 0.067, of which 0.3 is 4.4; with 40 images 2.8.
        ([0.3, 0.5, 0.2], 100, True),
        ([0.3, 0.5, 0.2], 40, False),
        # Not below half of the best.
        ([0.3, 0.5, 0.25], 10_000, False),
        # 5 of 9 images, then 1.
        ([5 / 9, 1 / 9], 9, False),
        ([0.9, 0.0], 9, True),
        ([0.0, 0.0], 500, False),
        ([0.5], 500, False),
    ],
)
def test_few_images_jump_without_a_collapse(
    robust: list[float], images: int, collapsed: bool
) -> None:
    assert has_collapsed(robust, images) is collapsed


def test_a_run_resumed_before_its_collapse_collapses_alike(
    collapsing: tuple[TrainingSpec, list[Progress]],
) -> None:
    spec, progresses = collapsing
    last = progresses[-1]
    again = list(
        train(spec, model_spec(COLOURS), COLOURS, MORE_COLOURS, checkpoint=last.checkpoint)
    )
    assert [progress.finished for progress in again] == ["collapse"]
    assert again[0].history == last.history


def test_epochs_of_the_warm_up_do_not_count_for_a_collapse(
    collapsing: tuple[TrainingSpec, list[Progress]],
) -> None:
    spec, progresses = collapsing
    collapsed_at = len(progresses[-1].history)
    assert spec.attack is not None
    warm = replace(spec, eps_warmup=(collapsed_at + 0.5) / spec.epochs)
    run_with_warm_up = train(warm, model_spec(COLOURS), COLOURS, MORE_COLOURS)
    for number in range(1, collapsed_at + 2):
        assert next(run_with_warm_up).finished is None, f"epoch {number}"


# --- warm-up of the attack -----------------------------------------------------------------------


def test_eps_grows_from_zero_to_its_value_over_the_warm_up() -> None:
    # One step per epoch, two epochs. Without random start, eps 0 is no attack at all.
    base = training_spec(epochs=2, batch_size=100)
    attack = replace(ATTACK, random_start=False)

    def after(epochs: int, **changes: Any) -> bytes:
        return weights(run(replace(base, **changes))[epochs - 1])

    clean = after(1)
    assert after(1, attack=attack, eps_warmup=0.0) != clean
    assert after(1, attack=attack, eps_warmup=0.5) == clean
    assert after(1, attack=attack, eps_warmup=1.0) == clean
    # In step 2, a warm-up of all steps is half way, one of half of the steps is over.
    assert after(2, attack=attack, eps_warmup=1.0) == after(
        2, attack=attack.scaled(0.5), eps_warmup=0.5
    )
    assert after(2, attack=attack, eps_warmup=1.0) != after(2, attack=attack, eps_warmup=0.5)


def test_the_optimizer_is_part_of_the_checkpoint() -> None:
    state = torch.load(io.BytesIO(run(EVERYTHING)[0].checkpoint), weights_only=True)
    assert state["momenta"]
    assert all(momentum.abs().max() > 0 for momentum in state["momenta"])
