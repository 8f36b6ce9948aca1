"""Gradient attacks on pixels in [0, 1]. One PGD; the threat model is the seam."""

from atcore.attacks.pgd import PGD
from atcore.attacks.spatial import Spatial
from atcore.attacks.threats import L2, Linf, ThreatModel

__all__ = ["L2", "PGD", "Linf", "Spatial", "ThreatModel"]
