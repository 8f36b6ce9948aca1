"""A folder before and one after the report stage."""

from pathlib import Path

import pytest
from report_artifacts import write_artifacts

from tasks import report


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the report stage has run once."""
    folder = tmp_path_factory.mktemp("reported")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_artifacts()
        report.main()
    return folder


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that the report stage reads."""
    monkeypatch.chdir(tmp_path)
    write_artifacts()
    return tmp_path
