"""docs/architecture.md: its drawing is that of the code, and it has a paragraph for every room."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/architecture.md"


def test_the_drawing_is_current(tmp_path: Path) -> None:
    drawn = tmp_path / "page.md"
    drawn.write_bytes(PAGE.read_bytes())
    subprocess.run([sys.executable, "-m", "docs.rooms", str(drawn)], cwd=ROOT, check=True)
    assert drawn.read_text() == PAGE.read_text(), "`make rooms` draws it anew"


def test_every_room_has_its_paragraph() -> None:
    packages = [*ROOT.glob("atcore/*/__init__.py"), *ROOT.glob("tasks/*/__init__.py")]
    rooms = [package.parent.name for package in packages]
    page = PAGE.read_text()
    assert {"base", "report", "cluster"} <= set(rooms)
    for room in rooms:
        assert f"**{room}**" in page
