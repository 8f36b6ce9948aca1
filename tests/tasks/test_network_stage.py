"""The stage `network`: what it writes, prints and refuses, and the lines by which docs/ export."""

import json
import re
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

import atcore
from atcore.base.errors import UserError
from atcore.images.pixels import to_pixels
from atcore.images.stored import write
from atcore.images.table import ImageTable
from tasks import network
from tasks.cluster import pool
from tasks.workspace import paths

PROJECT = Path(__file__).parents[2]
CLASSES = ("a", "b", "c")
SIDE = 16
FILE = Path("raw/networks/my_network.pt2")


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


@pytest.fixture(autouse=True)
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation images, and a place for networks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pool, "connect", nullcontext)
    monkeypatch.setattr(pool, "call", _call)
    monkeypatch.setattr(pool, "node", str)
    images = np.random.default_rng(0).integers(0, 256, (30, SIDE, SIDE, 3), np.uint8)
    labels = np.arange(30, dtype=np.int32) % len(CLASSES)
    write(ImageTable(np.arange(30), images, labels, CLASSES), paths.split("shapes", "validation"))
    FILE.parent.mkdir(parents=True)
    Path("params.yaml").write_bytes((PROJECT / "params.yaml").read_bytes())


def entry(**keys: Any) -> None:
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["network"]["my_network"] |= keys
    Path("params.yaml").write_text(yaml.safe_dump(params))


def my_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 3))


def exported(module: nn.Module, page: str = "docs/your-networks.md") -> nn.Module:
    """Export a network by the lines of a page; returns it with its normalisation."""
    text = (PROJECT / page).read_text()
    (code,) = re.findall(r"```python\n(import torch\n.*?)```", text, re.DOTALL)
    assert len(code.strip().splitlines()) <= 8
    names: dict[str, Any] = {"my_network": module}
    exec(code.replace("64, 64", f"{SIDE}, {SIDE}"), names)
    whole: nn.Module = names["whole"]
    return whole


@pytest.mark.parametrize("page", ["README.md", "docs/your-networks.md"])
def test_the_lines_of_the_docs_export_a_program_that_is_taken_in(
    capsys: pytest.CaptureFixture[str], page: str
) -> None:
    whole = exported(my_network(), page)
    network.main("shapes", "my_network")
    folder = paths.model("shapes", "my_network", 0)
    assert {path.name for path in folder.iterdir()} == {"model.pt2", "model.json", "README.md"}
    taken = atcore.load(folder)
    x: Tensor = to_pixels(torch.randint(256, (5, SIDE, SIDE, 3), dtype=torch.uint8))
    assert taken.classes == CLASSES
    torch.testing.assert_close(taken(x), whole(x))
    facts = json.loads(paths.training("shapes", "my_network", 0).read_text())
    docs = (PROJECT / "docs/artifacts.md").read_text().partition("/0.json` says what it is:")[2]
    named = re.findall(r"^\| `(\w+)` \|", docs.partition("\n## ")[0], re.MULTILINE)
    assert named == list(facts)
    parameters = sum(p.numel() for p in whole.parameters())
    assert (facts["source"], facts["parameters"]) == ("my_network.pt2", parameters)
    # It has learned nothing, of which the stage says something.
    assert facts["remarks"]
    printed = capsys.readouterr().out.splitlines()
    assert printed == [f"my_network: {remark}" for remark in facts["remarks"]]
    card = (folder / "README.md").read_text()
    assert "| origin | `my_network.pt2`, not trained here |" in card
    assert f"| parameters | {parameters:,} |" in card


def test_taken_in_again_it_is_the_same_to_the_byte() -> None:
    exported(my_network())
    folder = paths.model("shapes", "my_network", 0)
    seen = []
    for _ in range(2):
        network.main("shapes", "my_network")
        seen.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert seen[0] == seen[1]


CODE = """
from torch import nn

def network(classes):
    last = nn.Linear(8 * 14 * 14, classes)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), last)
"""


def test_code_of_ones_own_is_needed_by_this_stage_alone() -> None:
    FILE.with_suffix(".py").write_text(CODE)
    module = my_network()
    torch.save({"model": module.state_dict()}, FILE.with_suffix(".pth"))
    entry(architecture="own", mean=[0.5] * 3, std=[0.25] * 3)
    network.main("shapes", "my_network")
    shutil.rmtree(FILE.parent)
    taken = atcore.load(paths.model("shapes", "my_network", 0))
    x: Tensor = to_pixels(torch.randint(256, (5, SIDE, SIDE, 3), dtype=torch.uint8))
    torch.testing.assert_close(taken(x), module((x - 0.5) / 0.25))


def refused(**keys: Any) -> str:
    entry(**keys)
    with pytest.raises(UserError) as caught:
        network.main("shapes", "my_network")
    message = str(caught.value)
    assert "\n" not in message
    assert not paths.model("shapes", "my_network", 0).exists()
    assert not paths.training("shapes", "my_network", 0).exists()
    return message


def test_a_file_that_is_not_there_is_named_as_the_user_knows_it() -> None:
    assert refused().startswith("raw/networks/my_network")


def test_a_network_of_other_classes_is_refused_with_the_remedy() -> None:
    module = my_network()
    module[3] = nn.Linear(8 * 14 * 14, 5)
    exported(module)
    message = refused()
    assert message.startswith(
        "network.my_network.classes: my_network.pt2 has 5 outputs, but there are 3 names for them"
    )


def test_an_unknown_network_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match="network: 'my_net' is unknown; allowed: my_network"):
        network.main("shapes", "my_net")
