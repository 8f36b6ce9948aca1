"""Pages are found and lead somewhere, and the README stays a matter of minutes."""

import re
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PAGES = [
    PROJECT / name
    for name in subprocess.run(
        ["git", "ls-files", "*.md"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout.split()
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_index_names_every_page() -> None:
    index = (PROJECT / "docs/README.md").read_text()
    for page in PAGES:
        if page.is_relative_to(PROJECT / "docs") and page.name != "README.md":
            assert f"({page.relative_to(PROJECT / 'docs')})" in index


def test_the_readme_has_at_most_900_words() -> None:
    assert len((PROJECT / "README.md").read_text().split()) <= 900
