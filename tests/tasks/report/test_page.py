"""The page: what it says follows from the numbers, and names stay names."""

from pathlib import Path

import pytest
from report_artifacts import CLASSES, COUNTS, IMAGES, ROBUST, UNREADABLE, Page, parts_of

from atcore.evaluation import predictions
from atcore.evaluation.predictions import ATTACKS
from atcore.report import labels
from atcore.statistics.levels import middle
from tasks import report
from tasks.workspace import paths


@pytest.fixture(scope="module")
def html(reported: Path) -> Page:
    return Page((reported / "reports/index.html").read_text())


def test_page_is_self_contained_and_describes_its_pictures(html: Page) -> None:
    assert len(html.pictures) == 12
    assert all(
        (picture["src"] or "").startswith("data:image/png;base64,") for picture in html.pictures
    )
    assert all(picture["alt"] for picture in html.pictures)
    assert not {"script", "link", "iframe"} & set(html.elements)


def test_page_escapes_names(reported: Path, html: Page) -> None:
    assert UNREADABLE[1] in html.text
    assert UNREADABLE[1] not in (reported / "reports/index.html").read_text()


def test_page_has_the_results_with_intervals_and_n(html: Page) -> None:
    assert "83.3%" in html.text  # 30 of 36: stylized, on correctly classified images
    assert "[68.1, 92.1] n 36" in html.text
    for name in (
        "PGD L∞, ε = 8/255",
        "PGD L2, ε = 1",
        "saturated, p = 64",
        "patch_shuffled, k = 4",
    ):
        assert name in html.text


def test_page_says_what_the_variants_keep(html: Page) -> None:
    assert (
        "stylized, strength 0.6: a network retrained on such images finds the shape in 75.0% "
        "[50.0, 87.5] of 40 images, above chance, and the texture in 25.0% [12.5, 50.0] of 40 "
        "images, at chance (25.0%)."
    ) in html.text
    table = html.text.split("What the variants keep")[1].split("What the networks look at")[0]
    assert "stylized, strength 0.6 0.75 [0.50, 0.88] n 40 75.0% [50.0, 87.5] n 40" in table
    assert "saturated, p = 64 – – – –" in table
    assert "patch_shuffled, k = 8 0.75 [0.50, 0.88] n 40 – – –" in table


def test_headline_is_computed(html: Page) -> None:
    assert (
        f"{ROBUST} relies more on shape than standard: where shape and texture disagree, "
        "97.4% [86.8, 99.5] (n = 39) of its decisions follow the shape, "
        "against 5.3% [1.5, 17.3] (n = 38)."
    ) in html.text


def test_a_claim_that_does_not_show_is_said_not_to_show(html: Page) -> None:
    assert (
        "Over all 3 levels +0.0 points: that it keeps less is not decided by this run." in html.text
    )
    assert "as claimed at 0 of 3 levels" in html.text
    assert (
        f"From one k to the next, what {ROBUST} loses beyond standard changes by +0.0 points "
        "[+0.0, +0.0]: that it grows with k is not decided by this run."
    ) in html.text
    assert "as claimed at 0 of 2 steps" in html.text
    # Both get the same 20 of the 36 images right that both know.
    assert "not decided +0.0 [−" in html.text


def test_auto_attack_counts_its_own_images(html: Page) -> None:
    assert "AutoAttack L∞, ε = 8/255 0.0% [0.0, 16.1] n 20" in html.text
    assert f"Under AutoAttack L∞, ε = 8/255, {ROBUST} classifies 100.0% [83.9, 100.0]" in html.text


def test_claims_are_tested(html: Page) -> None:
    assert "Of 12 claims, " in html.text
    # Stylized, of the 36 images both know: 30 and 10 right, 20 of them by the robust one alone.
    assert "supported +55.6 [+35.9, +69.3] p < 0.001 n 36" in html.text


def test_headline_turns_with_the_numbers(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COUNTS, "standard", (40, 4, 0, 10, 38, 1))
    monkeypatch.setitem(COUNTS, ROBUST, (36, 34, 32, 30, 2, 36))
    for method in ("standard", ROBUST):
        predictions.write(parts_of(method), CLASSES, paths.predictions("shapes", method, 0))
    report.main()
    page = Page((workspace / "reports/index.html").read_text())
    assert f"{ROBUST} relies less on shape than standard" in page.text


def test_page_compares_the_errors_of_networks(html: Page) -> None:
    assert f"underfit and {ROBUST} 0.50 [" in html.text
    assert "expected calibration error" in html.text


def test_page_says_what_the_networks_look_at(html: Page) -> None:
    # All twelve images point to one side.
    assert (
        f"Of the salience of {ROBUST} (Grad, clean images) 37.5% [36.9, 38.1] (n = 12) lies on "
        "the outline of the object, of that of standard 12.5% [11.9, 13.1] (n = 12); 25.0% of the "
        "pixels are there. That it is more is supported by this run."
    ) in html.text
    assert "clean looks more at outlines" in html.text
    assert "a map without any structure 0.25 [" in html.text
    assert "saturated, p = 64: Grad 0.75 [" in html.text
    assert "Grad −0.25 [" in html.text
    assert html.elements.count("details") == 2


@pytest.mark.parametrize(
    ("value", "text"), [(0.456, "0.46"), (-0.25, "−0.25"), (-0.001, "0.00"), (1.0, "1.00")]
)
def test_a_decimal_has_two_digits(value: float, text: str) -> None:
    assert labels.decimal(value) == text


def test_page_says_in_which_precision_networks_were_trained(
    html: Page, reported_seeds: Path, workspace: Path
) -> None:
    assert f"; networks trained in fp32 (standard, underfit) and bf16 ({ROBUST}) " in html.text
    seeds = Page((reported_seeds / "reports/index.html").read_text())
    assert f"{ROBUST} (seed 1)) and bf16 ({ROBUST} (seed 0)) " in seeds.text
    file = paths.training("shapes", ROBUST, 0)
    file.write_text(file.read_text().replace("bf16", "fp32"))
    report.main()
    page = Page((workspace / "reports/index.html").read_text())
    assert f"{IMAGES} test images; networks trained in fp32 " in page.text


def test_page_warns_of_failed_training_and_missing_images(html: Page) -> None:
    assert f"{ROBUST}: its robustness collapsed" in html.text
    assert (
        "underfit did not reach its target: validation accuracy 75.0% instead of 90.0% "
        f"(that of {ROBUST}) after 2 epochs."
    ) in html.text
    assert (
        "Images that could not be read and were left out: 4 (a.jpg, b<i>.jpg, c.jpg and 1 more)."
    ) in html.text


@pytest.mark.parametrize(
    ("attack", "level", "text"),
    [
        (ATTACKS["linf"], 8 / 255, "8/255"),
        (ATTACKS["linf"], 0.05, "0.05"),
        (ATTACKS["l2"], 1.0, "1"),
        (ATTACKS["l2"], 51 / 255, "0.2"),
    ],
)
def test_eps_reads_as_in_the_field(attack: str, level: float, text: str) -> None:
    assert labels.eps(attack, level) == text


@pytest.mark.parametrize(("levels", "expected"), [([0.6], 0.6), ([8, 2, 4], 4), ([1, 4, 8, 64], 8)])
def test_middle_level(levels: list[float], expected: float) -> None:
    assert middle(levels) == expected
