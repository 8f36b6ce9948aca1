"""A folder before and one after the report stage."""

from pathlib import Path

import pytest
from report_artifacts import write_artifacts

from tasks import report


def _report(folder: Path, *seeds: int) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_artifacts(*seeds)
        report.main()
    return folder


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the report stage has run once, with one seed."""
    return _report(tmp_path_factory.mktemp("reported"), 0)


@pytest.fixture(scope="session")
def reported_seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the seeds 0 and 1."""
    return _report(tmp_path_factory.mktemp("seeds"), 0, 1)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that the report stage reads."""
    monkeypatch.chdir(tmp_path)
    write_artifacts(0)
    return tmp_path
