"""Every command of the README and of docs/: run here, run by another test, or why it is not."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from flow_workspace import IDENTITY, git
from pipeline_workspace import PROJECT, Workspace, draw_photographs, succeeded

PAGES = ("README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in PROJECT.glob("docs/*.md")))
# By how a command begins: the test that runs it, and what this says of it.
ELSEWHERE = {
    "make repro": ("deployment/test_demo.py", "dry_run=true"),
    "prefect deployment run": ("deployment/test_stack.py", '"deployment", "run"'),
    "export PREFECT_API_URL": ("pipeline/flow_workspace.py", "PREFECT_API_URL"),
    "python -m flows.serve": ("deployment/test_recovery.py", "flows.serve"),
    "export ATCNN_WORKSPACE": ("pipeline/flow_workspace.py", "ATCNN_WORKSPACE"),
    "sh deployment/deploy.sh": ("pipeline/flow_workspace.py", "deployment/deploy.sh"),
    "prefect worker start": ("deployment/test_recovery.py", '"prefect", "worker", "start"'),
    "python -m tasks.cluster.node": ("deployment/test_node.py", "tasks.cluster.node"),
    "dvc metrics show": ("pipeline/test_repro.py", '"metrics", "show"'),
    "dvc plots show": ("pipeline/test_repro.py", '"plots", "show"'),
    "dvc plots diff": ("pipeline/test_repro.py", '"plots", "diff"'),
    "dvc exp diff": ("pipeline/test_repro.py", '"exp", "diff"'),
    "dvc exp show": ("pipeline/test_repro.py", '"exp", "show"'),
    "make paper-dry": ("tasks/cost/test_cost.py", '"flows.paper"'),
}
# By how a command begins: what it needs.
NEEDS = {
    "make test": "to be run from outside",
    "git clone": "to be run from outside",
    "make download": "the internet",
    "make paper DATASET": "hours",
    "ray start": "several machines",
    "export RAY_": "several machines",
    "cp .env.example": "Docker",
    "docker compose": "Docker",
}


def blocks(page: str) -> list[list[str]]:
    """The commands of each block of a page, without their comments."""
    pattern = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    found = [block for kind, block in pattern.findall((PROJECT / page).read_text()) if not kind]
    return [
        [command for line in block.splitlines() if (command := re.split(r"\s+# ", line)[0].strip())]
        for block in found
    ]


def of(page: str, start: str) -> list[str]:
    """The blocks of a page that begin with this command."""
    return [command for block in blocks(page) if block[0].startswith(start) for command in block]


HERE = [
    *of("README.md", "mkdir"),
    *of("docs/variants.md", ".venv/bin/python -m tasks.tools.encoder"),
    *of("docs/artifacts.md", ".venv/bin/python -m tasks.tools.export"),
    *of("docs/data.md", "dvc add"),
]


@pytest.mark.parametrize("page", PAGES)
def test_it_is_known_who_runs_a_command(page: str) -> None:
    for command in (command for block in blocks(page) for command in block):
        known = [start for start in (*ELSEWHERE, *NEEDS) if command.startswith(start)]
        assert (command in HERE) + bool(known) == 1, command


def test_all_that_is_known_is_in_a_page() -> None:
    commands = [command for page in PAGES for block in blocks(page) for command in block]
    for start in (*ELSEWHERE, *NEEDS):
        assert any(command.startswith(start) for command in commands), start


@pytest.mark.parametrize(("test", "word"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_another_test_runs_it(test: str, word: str) -> None:
    assert word in (PROJECT / "tests" / test).read_text()


@pytest.fixture
def photographs(fresh: Workspace) -> Workspace:
    """A clone of the project with a folder of images and little to compute."""
    git(fresh, "add", "--all")
    git(fresh, "commit", "--quiet", "--message", "Begin")
    draw_photographs(fresh, each=20, side=32)
    training = "dataset.my_folder.training"
    fresh.set(
        {
            "dataset.my_folder.image_size": 32,
            f"{training}.architecture": "vgg",
            f"{training}.epochs": 1,
            f"{training}.attack_steps": 1,
            f"{training}.threads": 1,
            "run.methods": ["standard", "pgd_linf_8"],
            "run.controls": [],
            "run.variants": ["saturated"],
            "quality.images": 100,
            "salience.images": 1,
            "salience.measured": {"gradient": 4, "grad_cam": 4},
        }
    )
    (fresh.root / ".venv").symlink_to(Path(sys.executable).parents[1])
    return fresh


def test_the_file_of_an_archive_is_shared_by_the_same_commands(
    bare: Workspace, tmp_path: Path
) -> None:
    git(bare, "add", "--all")
    git(bare, "commit", "--quiet", "--message", "Begin")
    archive = "raw/cifar10_archive/cifar-10-python.tar.gz"
    (bare.root / archive).parent.mkdir()
    (bare.root / archive).write_bytes(b"images")
    script = "\n".join(of("docs/data.md", "dvc add")).replace("raw/my_folder", archive)
    script = script.replace("s3://bucket/prefix", str(tmp_path / "store"))
    succeeded(bare.run("sh", "-exc", script, env=IDENTITY))

    elsewhere = Workspace(tmp_path / "elsewhere")
    git(bare, "clone", "--quiet", str(bare.root), str(elsewhere.root))
    succeeded(elsewhere.dvc("pull", archive))
    assert (elsewhere.root / archive).read_bytes() == b"images"


def test_the_commands_for_ones_own_images(photographs: Workspace, tmp_path: Path) -> None:
    names = {
        "tiny_imagenet standard": "my_folder standard",
        "/shapes/stylized/0.6": "/my_folder/saturated/4",
        "/shapes/": "/my_folder/",
        "s3://bucket/prefix": str(tmp_path / "store"),
    }
    script = "\n".join(HERE)
    for written, here in names.items():
        script = script.replace(written, here)
    succeeded(photographs.run("sh", "-exc", script, env=IDENTITY))

    root = photographs.root
    assert (root / "reports/index.html").exists()
    assert (root / "raw/encoder/own.safetensors").exists()
    for name in ("stylized.parquet", "network.pt2", "network.onnx", "weights.pt"):
        assert (root / name).stat().st_size > 0
    assert {folder.name for folder in (root / "test").iterdir()} == {"a", "b", "c"}
    shutil.rmtree(root / "raw/my_folder")
    succeeded(photographs.dvc("pull", "raw/my_folder"))
    assert len(list(root.glob("raw/my_folder/*/*.png"))) == 60
