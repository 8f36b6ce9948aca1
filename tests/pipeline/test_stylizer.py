"""The stylizer and its variants in a workspace: stages of their own, only where they are chosen."""

from pathlib import Path

import torch
from pipeline_workspace import Workspace, stage_command, succeeded, the_error, wait_until
from safetensors.torch import save_file

from atcore.encoder import Encoder

ENCODER = "raw/encoder/own.safetensors"
STYLIZER = ("stylizer", "shapes", "adain")
CHOSEN = {
    "run.transferred": ["stylized_adain", "cue_conflict_adain"],
    "run.stylizers": ["adain"],
    "variant.stylized_adain.levels": [1],
    "stylizer.adain.encoder": ENCODER,
    "stylizer.adain.size": 32,
    "stylizer.adain.steps": 60,
    "stylizer.adain.batch_size": 2,
    "stylizer.adain.threads": 1,
}
WRITTEN = ("stylizers/**/*.safetensors", "variants/shapes/*_adain/*.parquet")


def choose(workspace: Workspace) -> None:
    torch.manual_seed(0)
    encoder = Encoder((4, 4, 4, 4, 8, 8, 8, 8, 8))
    file = workspace.root / ENCODER
    save_file({name: value.clone() for name, value in encoder.state_dict().items()}, file)
    workspace.set(CHOSEN)


def test_dvc_trains_the_stylizer_then_makes_its_variants_and_a_kill_changes_nothing(
    workspace: Workspace,
) -> None:
    choose(workspace)
    variants = [f"variants_transferred@shapes-{name}" for name in CHOSEN["run.transferred"]]
    first = succeeded(workspace.repro(*variants))
    assert first.stages_run == ["stylizer@shapes-adain", *variants]
    written = workspace.digests(*WRITTEN)
    # Encoder and decoder, and a table of each variant.
    assert len(written) == 3
    assert succeeded(workspace.repro(*variants)).stages_run == []

    out = workspace.root / "stylizers/shapes/adain"
    for file in out.iterdir():
        file.unlink()
    out.rmdir()
    checkpoints = workspace.root / ".checkpoints"
    with workspace.start(*stage_command(*STYLIZER)) as running:
        wait_until(lambda: running.ended or list(checkpoints.glob("[!.]*.pt")), "a checkpoint")
        running.kill()
    assert not out.exists()
    succeeded(workspace.stage(*STYLIZER))
    assert workspace.digests(*WRITTEN) == written
    assert workspace.temporaries() == []


def test_without_the_encoder_the_line_names_file_and_way_out(workspace: Workspace) -> None:
    choose(workspace)
    Path(workspace.root / ENCODER).unlink()
    assert the_error(workspace.stage(*STYLIZER)) == (
        f"stylizer.adain.encoder: {ENCODER}: no such file of encoder weights; "
        "stylizing without weights: transfer: filtered"
    )


def test_without_the_stylizer_a_variant_names_the_stage_to_run(workspace: Workspace) -> None:
    choose(workspace)
    assert the_error(workspace.stage("variants", "shapes", "stylized_adain")) == (
        "stylizers/shapes/adain/stylizer.safetensors: no such file; run the stage stylizer first"
    )
