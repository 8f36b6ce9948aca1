"""What networks take against resolution, PGD steps, methods and variants, and what was foretold.

    python -m benchmarks.scaling [--sides 32 64 128 224] [--steps 1 3 7 10] [--rounds 3] ...

Each training is of a few random images for one epoch, in batches, with a few more to validate on
as they are: the epochs of `atcore.training`, after one of a single batch. An evaluation attacks a
batch with as many steps and asks for the images themselves, by `atcore.evaluation`, with labels
that no attack gets away from: the most that it can take. MB are the peak of a process, which is a
new one for each resolution. "said" is what the cost model of `make paper-dry` says, divided by what
was measured: it measures in a process of its own, right before. Prints medians [minimum, maximum]
over the rounds, and least squares through all rounds with their standard errors: of the logarithms
where an exponent is given. Writes nothing, and leaves a GPU alone.
"""

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import linregress

from atcore.attacks.pgd import PGD
from atcore.attacks.threats import Linf
from atcore.evaluation.asking import predict
from atcore.images.table import ImageTable
from atcore.networks.architecture import ModelSpec
from atcore.networks.folding import load_folded
from atcore.networks.models import build, weights_to_bytes
from atcore.training.data import LoadedSplit
from atcore.training.run import Training
from atcore.training.spec import TrainingSpec
from atcore.variants.kinds import vary
from tasks import params
from tasks.cost.memory import most
from tasks.cost.passes import Passes, learned_at_once, training_passes
from tasks.cost.timing import Costs, measured_here
from tasks.train import training_spec

PROJECT = Path(__file__).parents[1]
_DATASET = "shapes"
METHODS = ("standard", "fgsm_8", "free_8", "pgd_linf_8", "pgd_l2", "trades_8", "stadv")
_VALIDATION = 4
# No attack gets an image away from what the network says of it within so small a radius.
_HARMLESS = 1e-6
# Below this side in pixels ResNet-18 is another network: its first layers keep the resolution.
_LARGE = {"resnet18": 64}
_MEGABYTE = 1e6
_CPU = torch.device("cpu")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Case:
    """What is trained or asked.

    Attributes:
        side: of the images, in pixels.
        steps: of PGD.
        images, batch: how many of them, and how many a training takes at once.
        method: that trains.
        variants: so many sets of images are asked for beside the images themselves.
    """

    architecture: str
    side: int
    steps: int
    images: int
    batch: int
    method: str = "pgd_linf_8"
    variants: int = 0

    @property
    def settings(self) -> params.Params:
        """Those of the project but for this."""
        known = params.load(PROJECT / "params.yaml")
        own = known.dataset[_DATASET]
        training = own.training.model_copy(
            update={
                "architecture": self.architecture,
                "attack_steps": self.steps,
                "batch_size": self.batch,
                # There is nothing to learn: weights shall stay numbers.
                "learning_rate_factor": 0.001,
            }
        )
        dataset = own.model_copy(update={"image_size": self.side, "training": training})
        run = known.run.model_copy(update={"methods": METHODS})
        return known.model_copy(update={"dataset": {_DATASET: dataset}, "run": run})

    @property
    def model(self) -> ModelSpec:
        return ModelSpec(self.architecture, tuple("abcdefgh"), self.side, (0.5,) * 3, (0.25,) * 3)

    @property
    def spec(self) -> TrainingSpec:
        # Attacked, so few images for validation would cost more each than those in training.
        known = training_spec(self.settings, _DATASET, self.method, 0)
        return replace(known, validation_attack=None)

    def table(self) -> ImageTable:
        """Random images."""
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (self.images, self.side, self.side, 3), np.uint8)
        labels = np.arange(self.images, dtype=np.int32) % len(self.model.classes)
        return ImageTable(np.arange(self.images), pixels, labels, self.model.classes, origin={})


@dataclass(frozen=True)
class Taken:
    """Seconds in each round, and the most bytes that the process had."""

    seconds: list[float]
    memory: int


def apart(function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(function, *arguments).result()


def taken(call: Callable[[], object], rounds: int) -> Taken:
    """Of a call, which has been called before."""
    seconds: list[float] = []

    def timed() -> None:
        for _ in range(rounds):
            started = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - started)

    memory = most(timed, _CPU)
    return Taken(seconds, memory)


def _trained(case: Case, rounds: int) -> Taken:
    table = case.table()
    images, labels = torch.from_numpy(table.images), torch.from_numpy(table.labels.astype(np.int64))
    whole, one, few = (
        LoadedSplit(images[:count], labels[:count])
        for count in (case.images, case.batch, _VALIDATION)
    )
    run = Training(case.spec, case.model, case.images, _CPU)
    run.epoch(1, one, few)
    return taken(lambda: run.epoch(1, whole, few), rounds)


def trained(cases: Sequence[Case], rounds: int) -> list[Taken]:
    """An epoch of training, with its validation."""
    return [_trained(case, rounds) for case in cases]


def _asked(case: Case, rounds: int) -> Taken:
    torch.set_num_threads(1)
    network = load_folded(case.model, weights_to_bytes(build(case.model)), "cpu")
    attack = PGD(threat=Linf(_HARMLESS), step_size=_HARMLESS, steps=case.steps)

    def ask(attack: PGD | None, table: ImageTable) -> NDArray[np.int32]:
        found = predict(network, table, variant="", level=0, attack=attack, seed=0, device="cpu")
        return found.top3[:, 0]

    table = case.table()
    table = replace(table, labels=ask(None, table))

    def all_of_it() -> None:
        for _ in range(1 + case.variants):
            ask(None, table)
        ask(attack, table)

    all_of_it()
    return taken(all_of_it, rounds)


def asked(cases: Sequence[Case], rounds: int) -> list[Taken]:
    """Images asked as they are, with their variants and under attack, by one task."""
    return [_asked(case, rounds) for case in cases]


def varied(case: Case, rounds: int) -> dict[tuple[str, float], Taken]:
    """Images turned into every selected variant, by its name and level."""
    table, settings = case.table(), case.settings
    found = {}
    for name, level in settings.variant_levels:
        change = partial(vary, settings.variant[name].kind, table, level, table, 0)
        change()
        found[name, level] = taken(change, rounds)
    return found


# --- what the cost model says ---------------------------------------------------------------------


def foretold(case: Case) -> Costs:
    """What the cost model measures."""
    return apart(measured_here, case.settings, _DATASET, case.model)


@dataclass(frozen=True)
class Row:
    """What was measured beside what was said of it: seconds, and bytes where any are said.

    Attributes:
        amount: of what a table is about, or a name.
    """

    amount: int | str
    images: int
    taken: Taken
    seconds: float
    memory: float | None = None

    @property
    def each(self) -> list[float]:
        """Milliseconds per image, by round."""
        return [1000 * seconds / self.images for seconds in self.taken.seconds]


Amounts = Sequence[int | str]


def training(amounts: Amounts, cases: Sequence[Case], said: Costs, rounds: int) -> list[Row]:
    """Trainings, named by their amounts, in one process."""
    rows = []
    for amount, case, own in zip(amounts, cases, apart(trained, cases, rounds), strict=True):
        spec = replace(case.spec, epochs=1)
        seconds = training_passes(spec, case.images, _VALIDATION).seconds(said.training)
        rows.append(Row(amount, case.images, own, seconds, said.update.of(learned_at_once(spec))))
    return rows


def evaluation(amounts: Amounts, cases: Sequence[Case], said: Costs, rounds: int) -> list[Row]:
    """Evaluations of a batch, named by their amounts, in one process."""
    rows, alone = [], [replace(case, images=case.batch) for case in cases]
    for amount, case, own in zip(amounts, alone, apart(asked, alone, rounds), strict=True):
        # One look after the last step, and one for the answer.
        passes = Passes(attack=case.steps, forward=1 + case.variants + 2) * case.images
        seconds, memory = passes.seconds(said.evaluation), said.attack.of(case.images)
        rows.append(Row(amount, case.images, own, seconds, memory))
    return rows


def changes(case: Case, said: Costs, rounds: int) -> list[Row]:
    """Every variant at every level; the cost model knows one of each."""
    return [
        Row(f"{name} {level:g}", case.images, own, said.variants[name] * case.images)
        for (name, level), own in apart(varied, case, rounds).items()
    ]


# --- in words -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A least-squares line with standard errors.

    Attributes:
        n: points that it goes through.
    """

    slope: float
    slope_error: float
    start: float
    start_error: float
    n: int

    @classmethod
    def through(cls, x: Sequence[float], y: Sequence[Sequence[float]]) -> "Line":
        """Through all values at each x."""
        pairs = [(each, value) for each, values in zip(x, y, strict=True) for value in values]
        found = linregress([each for each, _ in pairs], [value for _, value in pairs])
        errors = found.stderr, found.intercept_stderr
        return cls(found.slope, errors[0], found.intercept, errors[1], len(pairs))


def power(x: Sequence[float], y: Sequence[Sequence[float]]) -> Line:
    """The line of the logarithms: its slope is the exponent of x."""
    return Line.through(np.log(x).tolist(), [np.log(values).tolist() for values in y])


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3g} [{min(values):.3g}, {max(values):.3g}]"


def _table(what: str, rows: Sequence[Row]) -> None:
    cells = [[what, "ms per image", "said", "MB", "said"], ["---"] * 5]
    for row in rows:
        held = "" if row.memory is None else f"{row.memory / row.taken.memory:.2f}"
        ratios = [row.seconds / seconds for seconds in row.taken.seconds]
        memory = f"{row.taken.memory / _MEGABYTE:.0f}"
        cells.append([str(row.amount), _spread(row.each), _spread(ratios), memory, held])
    print(*(f"| {' | '.join(each)} |" for each in cells), "", sep="\n")


def _add_up(what: str, rows: Sequence[Row]) -> None:
    """What the sum of all rows is, and what was said of it."""
    measured = sum(statistics.median(row.taken.seconds) for row in rows)
    said = sum(row.seconds for row in rows)
    print(f"All {len(rows)} {what} together: said {said / measured:.2f} of what they took.\n")


def _straight(what: str, rows: Sequence[Row]) -> None:
    """The law of what grows by so much for each of something."""
    x = [float(row.amount) for row in rows]
    own = Line.through(x, [row.each for row in rows])
    said = Line.through(x, [[1000 * row.seconds / row.images] for row in rows])
    print(
        f"{own.start:.3g} ± {own.start_error:.2g} ms per image, and {own.slope:.3g} ± "
        f"{own.slope_error:.2g} for each of the {what} (n = {own.n}); "
        f"said {said.start:.3g} and {said.slope:.3g}.\n"
    )


def _growing(cases: Sequence[Case], rows: Sequence[Row]) -> None:
    """The law of what grows with the side of images."""
    least = _LARGE.get(cases[0].architecture, 0)
    large = [(c, row) for c, row in zip(cases, rows, strict=True) if c.side >= least]
    own = power([case.side for case, _ in large], [row.each for _, row in large])
    pixels = [case.batch * case.side**2 / 1e6 for case, _ in large]
    held = Line.through(pixels, [[row.taken.memory / _MEGABYTE] for _, row in large])
    since = f" from {least} px on" if least else ""
    print(
        f"Time grows with the side to the power of {own.slope:.2f} ± {own.slope_error:.2f}{since} "
        f"(n = {own.n}), memory by {held.slope:.0f} ± {held.slope_error:.0f} MB for a million "
        f"pixels at once (n = {held.n}).\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--architectures", nargs="+", default=["small", "resnet18"])
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 64, 128, 224])
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 3, 7, 10])
    parser.add_argument("--counts", type=int, nargs="+", default=[0, 2, 5, 10])
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    rounds, steps = options.rounds, options.steps[0]
    print(
        f"Trainings of {options.images} images in batches of {options.batch}, evaluations of one "
        f"batch, {rounds} rounds; said: predicted / measured.\n"
    )

    def case(architecture: str, side: int) -> Case:
        return Case(architecture, side, steps, options.images, options.batch)

    for architecture in options.architectures:
        cases = [case(architecture, side) for side in options.sides]
        trainings, evaluations = [], []
        for each in cases:
            said = foretold(each)
            trainings += training([each.side], [each], said, rounds)
            evaluations += evaluation([each.side], [each], said, rounds)
        for what, rows in (("training", trainings), ("evaluation", evaluations)):
            _table(f"{architecture}, {what} with PGD-{steps}, side in px", rows)
            _growing(cases, rows)

    first = case(options.architectures[0], options.sides[0])
    said, name = foretold(first), f"{first.architecture}, {first.side} px"
    cases = [replace(first, steps=each) for each in options.steps]
    rows = training(options.steps, cases, said, rounds)
    _table(f"{name}, training, PGD steps", rows)
    _straight("steps", rows)
    cases = [replace(first, method=each) for each in METHODS]
    rows = training(METHODS, cases, said, rounds)
    _table(f"{name}, training with PGD-{steps}, method", rows)
    _add_up("methods", rows)
    cases = [replace(first, variants=each) for each in options.counts]
    rows = evaluation(options.counts, cases, said, rounds)
    _table(f"{name}, evaluation with PGD-{steps}, variants", rows)
    _straight("variants", rows)
    rows = changes(first, said, rounds)
    _table(f"{first.side} px, variant and level", rows)
    _add_up("variants", rows)


if __name__ == "__main__":
    main()
