"""Levels of the variants as the report names them."""

import pytest

from atcore.report import labels


@pytest.mark.parametrize(
    ("kind", "level", "expected"),
    [
        ("stylized", 0.6, "mine, strength 0.6"),
        ("cue_conflict", 0.6, "mine, strength 0.6"),
        ("saturated", 64, "mine, p = 64"),
        ("patch_shuffled", 4, "mine, k = 4"),
        ("brightness", 0.25, "mine, factor 0.25"),
        ("edges", 1, "mine, σ = 1 px"),
        ("low_pass", 8, "mine, up to 8 cycles"),
        ("high_pass", 2.5, "mine, above 2.5 cycles"),
        ("pgd_linf", 8 / 255, "PGD L∞, ε = 8/255"),
        ("pgd_spatial", 1.0, "PGD flow, ε = 1 px"),
        ("auto_attack_linf", 8 / 255, "AutoAttack L∞, ε = 8/255"),
        ("auto_attack_l2", 0.5, "AutoAttack L2, ε = 0.5"),
    ],
)
def test_a_part_names_its_level_in_the_terms_of_its_kind(
    kind: str, level: float, expected: str
) -> None:
    assert labels.part("mine", kind, level) == expected


@pytest.mark.parametrize(
    "kind", ["saturated", "patch_shuffled", "brightness", "edges", "low_pass", "high_pass"]
)
def test_only_styles_have_a_strength_as_their_axis(kind: str) -> None:
    assert "style" not in labels.axis(kind)
    assert labels.axis("stylized") == "strength of the style"
