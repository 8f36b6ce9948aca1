"""The stage `variants`, its calls in this process: what reaches a kind, and how mistakes end."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from disk import read_table
from PIL import Image

from atcore.base.errors import UserError
from atcore.images.stored import write
from atcore.images.table import ImageTable
from atcore.stylizing.styles import pictures
from atcore.variants.kinds import KINDS, vary
from atcore.variants.styling import Styling
from tasks import variants
from tasks.cluster import pool
from tasks.workspace import paths

PROJECT = Path(__file__).parents[2]
STYLES = Path("raw/styles")


def _in_order(
    function: Callable[..., Any], items: Iterable[Any], *shared: Any, **_: object
) -> list[Any]:
    return [function(item, *shared) for item in items]


@pytest.fixture(autouse=True)
def test_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageTable:
    """The test split of `shapes` in a workspace whose folder of styles has its README.md only."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pool, "connect", nullcontext)
    monkeypatch.setattr(pool, "spread", _in_order)
    monkeypatch.setattr(pool, "node", str)
    STYLES.mkdir(parents=True)
    (STYLES / "README.md").write_text("ours")
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    split = ImageTable(np.arange(6), images, np.arange(6, dtype=np.int32) % 2, ("a", "b"))
    write(split, paths.split("shapes", "test"))
    return split


def configure(variant: str, **changes: object) -> None:
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["variant"][variant] |= changes
    Path("params.yaml").write_text(yaml.safe_dump(params))


@pytest.mark.parametrize("variant", KINDS)
def test_every_variant_of_the_projects_own_file_fits_small_images(variant: str) -> None:
    configure(variant)
    variants.main("shapes", variant)
    found = [read_table(path) for path in paths.variant("shapes", variant).iterdir()]
    assert found
    assert all(len(part) == 6 for part in found)


@pytest.mark.parametrize("folder", [None, str(STYLES)])
def test_styles_are_drawn_or_taken_from_the_folder(
    test_images: ImageTable, folder: str | None
) -> None:
    Image.new("RGB", (40, 40), (10, 200, 10)).save(STYLES / "green.png")
    configure("stylized", styles=folder)
    variants.main("shapes", "stylized")
    styles = None if folder is None else pictures(STYLES, 16)
    expected = vary("stylized", test_images, 0.6, test_images, 0, Styling(pictures=styles))
    found = read_table(paths.variant_level("shapes", "stylized", 0.6))
    assert np.array_equal(found.images, expected.images)


def message_of(variant: str) -> str:
    """The line that refuses a variant, of which nothing is written."""
    with pytest.raises(UserError) as caught:
        variants.main("shapes", variant)
    assert not paths.variant("shapes", variant).exists()
    return str(caught.value)


def test_an_empty_folder_of_styles_is_named() -> None:
    configure("stylized", styles=str(STYLES))
    expected = "raw/styles: no pictures in it; its README.md says what to put there"
    assert message_of("stylized") == expected


@pytest.mark.parametrize(
    ("variant", "level", "expected"),
    [
        ("patch_shuffled", 17, "level k = 17 is not allowed for images of 16 px; give k <= 16"),
        (
            "edges",
            20,
            "level sigma = 20 is not allowed for images of 16 px; give sigma <= 16",
        ),
        (
            "low_pass",
            12,
            "level 12 is not allowed for images of 16 x 16 px; "
            "give a radius of at most 11.3 cycles per image",
        ),
        (
            "high_pass",
            12,
            "level 12 is not allowed for images of 16 x 16 px; "
            "give a radius of at most 11.3 cycles per image",
        ),
    ],
)
def test_a_level_that_the_images_do_not_allow_is_named_with_its_variant(
    variant: str, level: float, expected: str
) -> None:
    configure(variant, levels=[1 if variant != "patch_shuffled" else 2, level])
    assert message_of(variant) == f"variant.{variant}: {expected}"
