"""The same files, byte for byte, with and without DVC and on every size of cluster."""

import json

from pipeline_workspace import REPRODUCIBLE, Pipeline, Workspace, stage_command, succeeded

CHAIN = (
    ("prepare", "shapes"),
    ("variants", "shapes", "saturated"),
    ("variants", "shapes", "patch_shuffled"),
    ("variants", "shapes", "cue_conflict"),
    ("quality", "shapes", "saturated"),
    ("train", "shapes", "standard", "0"),
    ("evaluate", "shapes", "standard", "0"),
    ("salience", "shapes", "standard", "0"),
)
# Instead of those of the session's cluster.
NO_CLUSTER = {"RAY_ADDRESS": None, "RAY_AUTH_MODE": None, "RAY_AUTH_TOKEN_PATH": None}


def cluster_of(cpus: int) -> dict[str, str | None]:
    """The environment in which a new cluster has that many CPUs."""
    return {**NO_CLUSTER, "RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": cpus})}


def test_stages_run_by_hand_write_what_dvc_got_also_on_a_cluster_of_one_cpu(
    pipeline: Pipeline, fresh: Workspace
) -> None:
    script = " && ".join(" ".join(stage_command(*stage)) for stage in CHAIN)
    launcher = ("python", "-m", "tasks.local_cluster", "sh", "-c", script)
    succeeded(fresh.run(*launcher, env=cluster_of(1)))
    assert fresh.processes() == []

    expected = pipeline.workspace.digests(*REPRODUCIBLE)
    written = fresh.digests(*REPRODUCIBLE)
    # Three splits, a table per variant, one quality, and of one network the weights, predictions,
    # maps and measures.
    assert len(written) == 3 + 3 + 1 + 4
    assert written == {file: expected[file] for file in written}


def test_a_stage_without_an_address_writes_the_same_on_a_cluster_of_four_that_it_starts_and_stops(
    pipeline: Pipeline, workspace: Workspace
) -> None:
    outputs = "variants/shapes/cue_conflict/*"
    for file in workspace.root.glob(outputs):
        file.unlink()
    succeeded(workspace.stage("variants", "shapes", "cue_conflict", env=cluster_of(4)))
    assert workspace.digests(outputs) == pipeline.workspace.digests(outputs)
    assert workspace.processes() == []
