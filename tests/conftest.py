"""Fixtures of all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# No test is about time: a busy machine must not fail one.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in its own.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each file to one process, and all files that share a run of the pipeline to the same."""
    functions = [item for item in items if isinstance(item, pytest.Function)]
    sharing = {item.path for item in functions if "pipeline" in item.fixturenames}
    for item in items:
        group = "pipeline" if item.path in sharing else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with cifar10/, tiny-imagenet/ and styles/; in CI it has to be there."""
    folder = os.environ.get("ATCNN_REAL_DATA")
    if folder:
        return Path(folder).resolve()
    reason = "ATCNN_REAL_DATA does not name the folder with real data"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One local cluster for the whole session; stages connect to it."""
    # The tests of atcore run where there is no Ray.
    from ray._private.authentication_test_utils import reset_auth_token_state  # noqa: PLC0415

    from tasks.local_cluster import local_cluster  # noqa: PLC0415

    with local_cluster() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        # Ray has read these variables when it was imported.
        reset_auth_token_state()
        yield
