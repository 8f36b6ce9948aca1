"""Weights out of the modules that a network was wrapped in when they were saved.

Each step takes one wrapping off. Which steps are right is seen by what fits the architecture.
"""

from collections.abc import Iterator
from dataclasses import replace

from atcore.foreign.weights import Weights, channels

# How first modules that normalise pixels call their two tensors: of RobustBench, of MadryLab's
# robustness, and as most write it.
_PAIRS = {"mean": "std", "mu": "sigma", "new_mean": "new_std", "_mean": "_std", "means": "sds"}
# Copies and helpers of training that are no part of a network that answers: of robustness, of
# torch.optim.swa_utils, and the further classifiers of GoogLeNet and Inception.
_HELPERS = ("attacker.", "n_averaged", "aux1.", "aux2.", "AuxLogits.")


def _without_normalisation(weights: Weights) -> Weights | None:
    for key, tensor in weights.tensors.items():
        place, dot, last = key.rpartition(".")
        other = f"{place}{dot}{_PAIRS.get(last, '')}"
        mean, std = channels(tensor), channels(weights.tensors.get(other))
        if last in _PAIRS and mean is not None and std is not None:
            return replace(
                weights,
                tensors={k: t for k, t in weights.tensors.items() if k not in (key, other)},
                normalisation=(mean, std),
                remarks=(*weights.remarks, f"It normalises pixels with its own {key} and {other}."),
            )
    return None


def _without_prefix(weights: Weights) -> Weights | None:
    firsts = {key.partition(".")[0] for key in weights.tensors}
    if len(firsts) > 1 or not all("." in key for key in weights.tensors):
        return None
    (first,) = firsts
    return replace(
        weights,
        tensors={key.partition(".")[2]: tensor for key, tensor in weights.tensors.items()},
        remarks=(*weights.remarks, f"Its names began with {first}."),
    )


def _without_helpers(weights: Weights) -> Weights | None:
    kept = {k: t for k, t in weights.tensors.items() if not k.startswith(_HELPERS)}
    if not kept or len(kept) == len(weights.tensors):
        return None
    left = sorted({k.partition(".")[0] for k in weights.tensors.keys() - kept.keys()})
    said = f"Left out, as it is no part of what answers: {', '.join(left)}."
    return replace(weights, tensors=kept, remarks=(*weights.remarks, said))


def unwrapped(weights: Weights) -> Iterator[Weights]:
    """The weights as they are, and with one wrapping after the other taken off."""
    found: Weights | None = weights
    while found is not None:
        yield found
        found = _without_prefix(found) or _without_helpers(found) or _without_normalisation(found)
