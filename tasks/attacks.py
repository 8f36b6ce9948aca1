"""From the attacks of `params.yaml` to those of atcore."""

from atcore.attacks import L2, PGD, Linf, Spatial, ThreatModel
from tasks.params import (
    FgsmAttack,
    FreeAttack,
    Method,
    Robustness,
    Threat,
    TradesLoss,
    TrainingThreat,
)

# Madry et al. 2018 choose steps that together are 2.5 times as long as the radius.
_REACH = 2.5
# Zhang et al. 2019, algorithm 1.
_TRADES_START = 0.001


def _threat(chosen: Threat) -> ThreatModel:
    if chosen.norm == "spatial":
        return Spatial(chosen.eps, chosen.smoothness)
    return Linf(chosen.eps) if chosen.norm == "linf" else L2(chosen.eps)


def _training_threat(attack: TrainingThreat, image_size: int) -> ThreatModel:
    """The threat model of a method on images of a side in pixels.

    At equal size per pixel an L2 norm grows with the side, so that a radius which is given at
    another side is scaled to this one.
    """
    if attack.at is not None:
        attack = attack.model_copy(update={"eps": attack.eps * image_size / attack.at})
    return _threat(attack)


def training_attack(method: Method, steps: int, image_size: int) -> PGD | None:
    """The attack of a method; `steps` is the dataset's number of PGD steps."""
    attack = method.attack
    if attack is None:
        return None
    threat = _training_threat(attack, image_size)
    if isinstance(attack, FreeAttack):
        return PGD(threat=threat, step_size=threat.eps, steps=1, random_start=False)
    step_size = attack.step_size * threat.eps
    if isinstance(attack, FgsmAttack):
        return PGD(threat=threat, step_size=step_size, steps=1, random_start=attack.random_start)
    start = _TRADES_START if isinstance(method.loss, TradesLoss) else None
    return PGD(threat=threat, step_size=step_size, steps=steps, start_deviation=start)


def validation_attack(method: Method, steps: int, image_size: int) -> PGD | None:
    """PGD in the threat model of a method, to watch its robustness while it trains."""
    if method.attack is None:
        return None
    threat = _training_threat(method.attack, image_size)
    return PGD(threat=threat, step_size=_REACH * threat.eps / steps, steps=steps)


def evaluation_attack(attack: Robustness) -> PGD:
    step_size = attack.step_size * attack.eps
    return PGD(threat=_threat(attack), step_size=step_size, steps=attack.steps)
