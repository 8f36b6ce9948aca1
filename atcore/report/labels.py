"""How numbers and levels read, in the page, the figures and the terminal."""

from typing import Protocol

from atcore.report.records import Record

# Of a network whose accuracy may be that of a guess: any, and one that was trained here.
GUESSES = "is not clearly better than a guess on clean images"
LEARNED_NOTHING = f"{GUESSES}: it has learned nothing"

_LEVELS = {
    "saturated": "p = {:g}",
    "patch_shuffled": "k = {:g}",
    "brightness": "factor {:g}",
    "edges": "σ = {:g} px",
    "low_pass": "up to {:g} cycles",
    "high_pass": "above {:g} cycles",
}
_AXES = {
    "saturated": "saturation p (2 leaves the image as it is)",
    "patch_shuffled": "k (patches per side, shuffled)",
    "brightness": "factor of pixel values (1 leaves the image as it is)",
    "edges": "σ of the blur before, in pixels",
    "low_pass": "largest frequency kept, in cycles per image",
    "high_pass": "largest frequency removed, in cycles per image",
    **dict.fromkeys(
        ("pgd_linf", "auto_attack_linf"),
        "ε of the attack, L∞ norm of pixels in [0, 1] (0: no attack)",
    ),
    **dict.fromkeys(
        ("pgd_l2", "auto_attack_l2"),
        "ε of the attack, L2 norm of pixels in [0, 1] (0: no attack)",
    ),
    "pgd_spatial": "ε of the attack, largest shift along an axis, in pixels (0: no attack)",
}
_MAPS = {
    "gradient": "Grad",
    "smoothgrad": "SmoothGrad",
    "integrated_gradients": "Integrated Gradients",
    "grad_cam": "Grad-CAM",
    "uniform": "a map without any structure",
}
_ATTACKS = {
    "pgd_linf": "PGD L∞",
    "pgd_l2": "PGD L2",
    "pgd_spatial": "PGD flow",
    "auto_attack_linf": "AutoAttack L∞",
    "auto_attack_l2": "AutoAttack L2",
}
_UNITS = {"pgd_spatial": " px"}
_MEASURES = {
    "accuracy_on_correct": "accuracy kept",
    "robust_accuracy": "accuracy under attack",
    "shape_bias": "shape bias",
    "salience_outline": "salience on outlines",
    "salience_edges": "salience on edges",
}


def eps(attack: str, level: float) -> str:
    """`8/255` for an L-infinity radius that is a whole number of grey levels, else decimal."""
    steps = round(level * 255)
    if attack.endswith("linf") and abs(level * 255 - steps) < 1e-6:
        return f"{steps}/255"
    return f"{level:g}"


def strength(kind: str, level: float) -> str:
    """One level of a variant: `p = 64`."""
    return _LEVELS.get(kind, "strength {:g}").format(level)


def part(variant: str, kind: str, level: float) -> str:
    """Name of one variant or attack at one level: `saturated, p = 64`."""
    if kind in _ATTACKS:
        return f"{_ATTACKS[kind]}, ε = {eps(kind, level)}{_UNITS.get(kind, '')}"
    return f"{variant}, {strength(kind, level)}"


def family(variant: str, kind: str) -> str:
    """Name of a variant or attack at all of its levels."""
    return _ATTACKS.get(kind, variant)


def axis(kind: str) -> str:
    """Name of the axis of levels."""
    return _AXES.get(kind, "strength of the style")


def salience_map(kind: str) -> str:
    """Name of a kind of salience map."""
    return _MAPS.get(kind, kind)


def measure(name: str) -> str:
    """What is compared of two networks."""
    return _MEASURES[name]


def percent(share: float) -> str:
    return f"{100 * share:.1f}%"


class Interval(Protocol):
    """Ends of an interval of shares."""

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...


def interval(found: Interval) -> str:
    return f"[{100 * found.low:.1f}, {100 * found.high:.1f}]"


def points(difference: float) -> str:
    """Difference of two shares in percentage points, with its sign."""
    # Without the minus sign of a zero that rounding leaves.
    return f"{round(100 * difference, 1) + 0.0:+.1f}".replace("-", "−")


def decimal(value: float) -> str:
    # Without the sign of a zero that rounding leaves.
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def full(record: Record) -> str:
    """Value, 95% interval, the number of seeds if it is a mean over them, and n."""
    seeds = f"{record.seeds}\u00a0seeds, " if record.seeds > 1 else ""
    return f"{percent(record.value)} {interval(record)} ({seeds}n\u00a0=\u00a0{record.n})"
