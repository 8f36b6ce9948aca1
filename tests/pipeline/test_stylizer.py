"""The stylizer and its variants in a workspace: stages of their own, only where they are chosen."""

import shutil

import torch
from pipeline_workspace import Workspace, stage_command, succeeded, wait_until
from safetensors.torch import save_file

from atcore.stylizing.encoder import Encoder

ENCODER = "raw/encoder/own.safetensors"
VARIANT = "variants_transferred@shapes-stylized_adain"
CHOSEN = {
    "run.transferred": ["stylized_adain"],
    "run.stylizers": ["adain"],
    "variant.stylized_adain.levels": [1],
    "stylizer.adain.encoder": ENCODER,
    "stylizer.adain.size": 32,
    "stylizer.adain.steps": 60,
    "stylizer.adain.batch_size": 2,
    "stylizer.adain.threads": 1,
}
WRITTEN = ("stylizers/**/*.safetensors", "variants/shapes/stylized_adain/*.arrow")


def test_dvc_trains_the_stylizer_then_makes_its_variant_and_a_kill_changes_nothing(
    workspace: Workspace,
) -> None:
    torch.manual_seed(0)
    encoder = Encoder((4, 4, 4, 4, 8, 8, 8, 8, 8))
    weights = {name: value.clone() for name, value in encoder.state_dict().items()}
    save_file(weights, workspace.root / ENCODER)
    workspace.set(CHOSEN)
    first = succeeded(workspace.repro(VARIANT))
    assert set(first.stages_run[:-1]) == {"selection", "stylizer@shapes-adain"}
    assert first.stages_run[-1] == VARIANT
    written = workspace.digests(*WRITTEN)
    assert len(written) == 2

    out = workspace.root / "stylizers/shapes/adain"
    shutil.rmtree(out)
    stylizer = ("stylizer", "shapes", "adain")
    checkpoints = workspace.root / ".checkpoints"
    with workspace.start(*stage_command(*stylizer)) as running:
        wait_until(lambda: running.ended or list(checkpoints.glob("[!.]*.pt")), "a checkpoint")
        running.kill()
    assert not out.exists()
    succeeded(workspace.stage(*stylizer))
    assert workspace.digests(*WRITTEN) == written
    assert workspace.temporaries() == []
