"""`python -m tasks.tools.show`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from report_artifacts import NAUGHTY, ROOT

from atcore.base.errors import UserError
from tasks.tools import show


def test_show_prints_the_table_of_the_last_report(
    reported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(reported)
    show.main()
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.startswith(NAUGHTY))
    # 36, 32 and 32 of 40; 20 of 20; 30, 20 and 36 of 36; 38 of 39.
    values = [cell for cell in row.split() if not cell.startswith("±")]
    assert values == [NAUGHTY, "90.0", "80.0", "80.0", "100.0", "83.3", "55.6", "100.0", "97.4"]
    assert lines[-1] == "Report: reports/index.html"


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
