"""Levels of a variant: which one stands for them all."""

from collections.abc import Iterable


def middle(levels: Iterable[float]) -> float:
    """The level that stands for a variant where there is room for one: neither best nor worst."""
    ordered = sorted(set(levels))
    return ordered[len(ordered) // 2]
