"""Threat models by the names of their norms."""

from atcore.attacks.spatial import Spatial
from atcore.attacks.threats import L2, Linf, ThreatModel


def threat_model(norm: str, eps: float, smoothness: float = 0.0) -> ThreatModel:
    """A ball of radius `eps` of the norm `linf`, `l2` or `spatial`; its units as in the class.

    Args:
        smoothness: of `spatial` alone.
    """
    if norm == "spatial":
        return Spatial(eps, smoothness)
    return Linf(eps) if norm == "linf" else L2(eps)
