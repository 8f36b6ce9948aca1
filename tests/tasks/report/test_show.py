"""`python -m tasks.tools.show`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from report_artifacts import CLASSES, COUNTS, ROBUST, ROOT, Page, parts_of

from atcore.base.errors import UserError
from atcore.evaluation import predictions
from tasks import report
from tasks.tools import show
from tasks.workspace import paths


def test_show_prints_the_table_of_the_last_report(
    reported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(reported)
    show.main()
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.startswith(ROBUST))
    # 36, 32 and 32 of 40; 20 of 20; 30, 20 and 36 of 36; 38 of 39.
    values = [cell for cell in row.split() if not cell.startswith("±")]
    assert values == [ROBUST, "90.0", "80.0", "80.0", "100.0", "83.3", "55.6", "100.0", "97.4"]
    assert lines[-1] == "Report: reports/index.html"


@pytest.mark.usefixtures("workspace")
def test_show_says_what_the_page_says_of_a_network_that_guesses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # 14 of 40 images of four classes: its interval reaches down to the 10 of a guess.
    monkeypatch.setitem(COUNTS, "standard", (14, 4, 0, 10, 2, 10))
    predictions.write(parts_of("standard"), CLASSES, paths.predictions("shapes", "standard", 0))
    report.main()
    said = "standard is not clearly better than a guess on clean images"
    page = Page(Path("reports/index.html").read_text())
    assert f"{said}: it has learned nothing, and no claim" in page.text
    capsys.readouterr()
    show.main()
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "a guess" in line)
    assert line == f"{said}."


@pytest.mark.usefixtures("workspace")
def test_show_without_a_report() -> None:
    with pytest.raises(
        UserError, match=r"reports/summary.json: no such file; run the stage report"
    ):
        show.main()


def test_show_imports_nothing_heavy() -> None:
    heavy = {"matplotlib", "torch", "pyarrow", "numpy", "ray", "jinja2"}
    code = f"import sys, tasks.tools.show; print(sorted({heavy} & set(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert found.stdout.strip() == "[]"
