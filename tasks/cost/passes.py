"""How many images pass through a network in each kind of stage, and how many of them at once.

Both follow from the parameters alone.
"""

import math
from dataclasses import astuple, dataclass

from atcore.attacks.pgd import PGD
from atcore.attacks.spatial import Spatial
from atcore.images.table import at_most
from atcore.quality.probe import HELD_OUT
from atcore.salience.maps import AT_ONCE
from atcore.training.losses import Trades
from atcore.training.run import VALIDATION_BATCH
from atcore.training.spec import TrainingSpec
from tasks.params import Params
from tasks.salience import SHARD


@dataclass(frozen=True, kw_only=True)
class Passes:
    """Images that pass through a network.

    Attributes:
        update: forward and backward, for the gradients of the weights.
        attack: forward and backward through the frozen network, for the gradient of the image.
        forward: forward alone.
        warp: no pass through the network, but what a step of a spatial attack takes beside it:
            moving the pixels, and the gradient of the flow.
    """

    update: float = 0
    attack: float = 0
    forward: float = 0
    warp: float = 0

    def __add__(self, other: "Passes") -> "Passes":
        return Passes(**{kind: n + getattr(other, kind) for kind, n in vars(self).items()})

    def __mul__(self, times: float) -> "Passes":
        return Passes(**{kind: n * times for kind, n in vars(self).items()})

    def seconds(self, of_one: "Passes") -> float:
        """How long they take, if one of each kind takes as many seconds as `of_one` says."""
        return sum(n * each for n, each in zip(astuple(self), astuple(of_one), strict=True))


def _attacked(attack: PGD) -> Passes:
    steps = attack.steps
    return Passes(attack=steps, warp=steps if isinstance(attack.threat, Spatial) else 0)


def training_passes(spec: TrainingSpec, images: int, validation: int) -> Passes:
    """All epochs of a training, with their validation; a control may need fewer."""
    step = Passes(update=spec.updates_per_batch)
    # The attack of free training costs no pass of its own.
    if spec.attack is not None and spec.replays is None:
        step += _attacked(spec.attack)
    if isinstance(spec.loss, Trades):
        # Its loss and its attack look at the clean images too.
        step += Passes(update=1, forward=1)
    check = Passes(forward=1)
    if spec.validation_attack is not None:
        check += _attacked(spec.validation_attack) + Passes(forward=1)
    return (step * images + check * validation) * spec.epochs


def learned_at_once(spec: TrainingSpec) -> int:
    """By one worker; TRADES keeps what it needs for two passes of every image."""
    passes = 2 if isinstance(spec.loss, Trades) else 1
    return passes * math.ceil(spec.batch_size / spec.workers)


def validated_at_once(images: int, side: int) -> int:
    """By one worker, of so many images of a side in pixels."""
    return at_most(min(VALIDATION_BATCH, images), side)


# Croce & Hein 2020, section 5: 100 steps of APGD on the cross-entropy, 100 for each of nine targets
# of APGD and of FAB, 5,000 queries of Square. Not less, as for an image that stands them all.
_AUTO_ATTACK = Passes(attack=100 + 2 * 9 * 100, forward=5000)


def evaluation_passes(settings: Params, images: int) -> Passes:
    """The most that it can be: what an attack has fooled leaves it early."""
    passes = Passes(forward=1 + len(settings.variant_levels))
    for robustness in settings.evaluate.robustness:
        # One look after the last step, and one for the answer.
        warped = robustness.steps if robustness.norm == "spatial" else 0
        passes += Passes(attack=robustness.steps, forward=2, warp=warped)
    passes *= images
    for entry in settings.evaluate.auto_attack:
        passes += _AUTO_ATTACK * min(entry.images, images)
    return passes


def evaluated_at_once(settings: Params, images: int, side: int) -> int:
    """By one task, of so many images of a side in pixels."""
    return at_most(min(settings.evaluate.shard, images), side)


def _gradients(settings: Params) -> dict[str, int]:
    """Of every kind of map that is measured, for one image."""
    own = settings.salience
    several = {"smoothgrad": own.smooth_samples, "integrated_gradients": own.integration_steps}
    return {kind: several.get(kind, 1) for kind in own.measured}


def explained_at_once(settings: Params) -> int:
    """By one task."""
    return min(AT_ONCE, SHARD * max(_gradients(settings).values()))


def salience_passes(settings: Params) -> Passes:
    """Maps of a network on every row (clean and each variant), and of an untrained one on clean."""
    own, rows = settings.salience, 1 + len(settings.variant_levels)
    each = _gradients(settings)
    gradients = sum(count * each[kind] for kind, count in own.measured.items())
    answers = max(own.measured.values()) * rows
    return Passes(attack=gradients * (rows + 1), forward=answers)


def probe_passes(settings: Params) -> Passes:
    """Of the two networks that are asked for the cues of a variant, with their validation."""
    own = settings.quality
    held_out = round(own.images * HELD_OUT)
    each = Passes(update=own.images - held_out, forward=held_out)
    return each * (2 * own.epochs)
