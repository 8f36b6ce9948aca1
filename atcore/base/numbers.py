"""Numbers as params.yaml writes them."""

from fractions import Fraction


def fraction(text: str) -> float:
    """The value of a fraction such as `8/255`.

    Raises:
        ValueError, ZeroDivisionError: it is none.
    """
    return float(Fraction(text.replace(" ", "")))
