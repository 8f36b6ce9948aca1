"""The same files, byte for byte, on clusters of every size."""

import json

import pytest
from pipeline_workspace import NO_CLUSTER, Pipeline, Workspace, succeeded


@pytest.mark.parametrize(
    ("stage", "outputs", "cpus"),
    [
        (("variants", "shapes", "cue_conflict"), "variants/shapes/cue_conflict/*", 4),
        (("evaluate", "shapes", "standard", "0"), "predictions/shapes/standard/*", 1),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_a_stage_without_an_address_writes_the_same_on_a_cluster_that_it_starts_and_stops(
    pipeline: Pipeline, workspace: Workspace, stage: tuple[str, ...], outputs: str, cpus: int
) -> None:
    for file in workspace.root.glob(outputs):
        file.unlink()
    own = {**NO_CLUSTER, "RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": cpus})}
    succeeded(workspace.stage(*stage, env=own))
    expected = pipeline.workspace.digests(outputs)
    assert expected
    assert workspace.digests(outputs) == expected
    assert workspace.processes() == []
