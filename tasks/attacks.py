"""From the attacks of `params.yaml` to those of atcore."""

from atcore.attacks import L2, PGD, Linf, ThreatModel
from tasks.params import FgsmAttack, Method, Params, PgdAttack, Robustness, TradesLoss

_NORMS: dict[str, type[ThreatModel]] = {"linf": Linf, "l2": L2}
# Madry et al. 2018 choose steps that together are 2.5 times as long as the radius.
_REACH = 2.5
# Zhang et al. 2019, algorithm 1.
_TRADES_START = 0.001


def training_attack(method: Method, steps: int) -> PGD | None:
    """The attack of a method; `steps` is the dataset's number of PGD steps."""
    attack = method.attack
    if attack is None:
        return None
    threat = _NORMS[attack.norm](attack.eps)
    step_size = attack.step_size * attack.eps
    if isinstance(attack, FgsmAttack):
        return PGD(threat=threat, step_size=step_size, steps=1, random_start=attack.random_start)
    start = _TRADES_START if isinstance(method.loss, TradesLoss) else None
    return PGD(threat=threat, step_size=step_size, steps=steps, start_deviation=start)


def validation_attack(attack: FgsmAttack | PgdAttack | None, params: Params) -> PGD | None:
    """PGD in the threat model of a method, to watch its robustness while it trains."""
    if attack is None:
        return None
    steps = params.training.validation_steps
    threat = _NORMS[attack.norm](attack.eps)
    return PGD(threat=threat, step_size=_REACH * attack.eps / steps, steps=steps)


def evaluation_attack(attack: Robustness) -> PGD:
    return PGD(
        threat=_NORMS[attack.norm](attack.eps), step_size=attack.step_size, steps=attack.steps
    )
