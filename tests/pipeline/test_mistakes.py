"""Mistakes of a user end in one line that names key, file or value, and cost nothing computed."""

import os
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pipeline_workspace import EVERYTHING, Workspace, succeeded, the_error

PREPARE = ("prepare", "shapes")


def outputs(workspace: Workspace) -> dict[str, str]:
    return workspace.digests(*EVERYTHING)


@pytest.mark.parametrize(
    ("stage", "named"),
    [
        (("prepare", "shape"), ("dataset", "'shape'", "shapes, cifar10")),
        (("variants", "shapes", "blurred"), ("variant", "'blurred'", "stylized, saturated")),
        (("train", "shapes", "pgd_8", "0"), ("method", "'pgd_8'", "standard, underfit")),
    ],
    ids=lambda value: value[0],
)
def test_an_unknown_name_on_the_command_line_is_refused_with_those_allowed(
    bare: Workspace, stage: tuple[str, ...], named: tuple[str, ...]
) -> None:
    message = the_error(bare.stage(*stage))
    for part in named:
        assert part in message


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        (
            "method.fgsm_8.lerning_rate",
            0.1,
            ("method.fgsm_8: ", "'lerning_rate' is an unknown key", "allowed: learning_rate"),
        ),
        (
            "method.fgsm_8.attack.eps",
            "-8/255",
            ("method.fgsm_8.attack.eps: ", "greater than or equal to 0"),
        ),
        (
            "method.fgsm_8.attack.eps",
            -0.5,
            ("method.fgsm_8.attack.eps: -0.5 ", "greater than or equal to 0"),
        ),
    ],
)
def test_a_mistake_in_the_parameters_stops_a_stage_before_it_computes(
    bare: Workspace, key: str, value: Any, named: tuple[str, ...]
) -> None:
    bare.set({key: value})
    message = the_error(bare.stage(*PREPARE))
    for part in ("params.yaml: ", *named):
        assert part in message
    assert outputs(bare) == {}


# --- Ray ------------------------------------------------------------------------------------------


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine at which nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_an_address_without_a_cluster_is_refused_at_once_and_no_other_cluster_is_started(
    bare: Workspace, closed_port: int, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{closed_port}"
    started = time.monotonic()
    message = the_error(
        bare.stage(*PREPARE, env={"RAY_ADDRESS": address, "RAY_TMPDIR": str(tmp_path / "ray")})
    )
    assert time.monotonic() - started < 30
    assert "RAY_ADDRESS" in message
    assert address in message
    assert not (tmp_path / "ray").exists()
    assert outputs(bare) == {}


def token_file(folder: Path, *, present: bool) -> str:
    file = folder / "token"
    if present:
        file.write_text(secrets.token_hex(32))
        file.chmod(0o600)
    return str(file)


@pytest.mark.parametrize("present", [True, False], ids=["wrong", "missing"])
def test_a_token_the_cluster_does_not_accept_is_refused_with_the_settings_to_check(
    fresh: Workspace, tmp_path: Path, present: bool
) -> None:
    settings = {
        "RAY_AUTH_TOKEN": None,
        "RAY_AUTH_TOKEN_PATH": token_file(tmp_path, present=present),
        # Ray's own setting: tries, a second each.
        "RAY_NUM_REDIS_GET_RETRIES": "2",
    }
    message = the_error(fresh.stage(*PREPARE, env=settings))
    assert os.environ["RAY_ADDRESS"] in message
    assert "RAY_AUTH_TOKEN" in message
    assert outputs(fresh) == {}


# --- files ----------------------------------------------------------------------------------------


def test_a_truncated_image_table_is_named(workspace: Workspace) -> None:
    file = "data/shapes/test.arrow"
    before = outputs(workspace)
    content = (workspace.root / file).read_bytes()
    (workspace.root / file).write_bytes(content[: len(content) // 2])
    assert file in the_error(workspace.stage("variants", "shapes", "saturated"))
    (workspace.root / file).write_bytes(content)
    assert outputs(workspace) == before


def test_a_report_without_a_prediction_table_says_which_and_which_stage_writes_it(
    workspace: Workspace,
) -> None:
    file = "predictions/shapes/standard/0.parquet"
    (workspace.root / file).unlink()
    before = outputs(workspace)
    message = the_error(workspace.stage("report"))
    assert file in message
    assert "run the stage evaluate first" in message
    assert outputs(workspace) == before


# --- in the middle of a run -----------------------------------------------------------------------


def test_a_training_that_diverges_names_epoch_and_step_and_touches_no_output(
    workspace: Workspace,
) -> None:
    before = outputs(workspace)
    workspace.set({"method.standard.learning_rate": 1e30})
    message = the_error(workspace.stage("train", "shapes", "standard", "0"))
    for part in ("epoch 1", "step ", "learning_rate", "1e+30"):
        assert part in message
    assert outputs(workspace) == before


def test_dvc_shows_the_line_of_a_failing_stage_and_keeps_what_was_computed(
    workspace: Workspace,
) -> None:
    before = outputs(workspace)
    written = workspace.set({"method.pgd_linf_8.attack.eps": -0.5})
    failed = workspace.repro()
    assert failed.status != 0
    lines = (failed.output + failed.errors).splitlines()
    assert len([line for line in lines if line.startswith("error: params.yaml: ")]) == 1
    assert not [line for line in lines if line.startswith("Traceback")]
    assert [line for line in lines if "'train@shapes-pgd_linf_8-0'" in line and "failed" in line]
    kept = outputs(workspace)
    lost = ("models/shapes/pgd_linf_8/0/", "curves/shapes/pgd_linf_8/0.")
    assert kept == {file: digest for file, digest in before.items() if not file.startswith(lost)}

    (workspace.root / "params.yaml").write_text(written)
    assert succeeded(workspace.repro()).stages_run == []
    assert outputs(workspace) == before
