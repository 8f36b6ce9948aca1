"""Numbers as params.yaml writes them."""

from fractions import Fraction


def fraction(text: str) -> float:
    """The value of a fraction such as `8/255`.

    Raises:
        ValueError: it is none, or too large.
    """
    try:
        return float(Fraction(text.replace(" ", "")))
    except ArithmeticError as error:
        raise ValueError(f"{text} is no number that can be computed with") from error
