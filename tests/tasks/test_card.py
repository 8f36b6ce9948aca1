"""The model card beside the weights: its facts, and that its code runs."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from atcore.networks.architecture import ModelSpec
from atcore.networks.models import build, weights_to_bytes
from tasks.workspace import trained

SPEC = ModelSpec("small", ("a|b", *"cdefghijkl"), 16, (0.5,) * 3, (0.25,) * 3)
CARD = Path("models/photographs/pgd/3/README.md")


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    weights, origin = weights_to_bytes(build(SPEC)), {"trained on": "a | b", "epochs": "8"}
    trained.write("photographs", "pgd", 3, SPEC, weights, origin)
    first = CARD.read_bytes()
    trained.write("photographs", "pgd", 3, SPEC, weights, origin)
    assert CARD.read_bytes() == first
    return first.decode()


def test_it_says_what_is_known(text: str) -> None:
    assert text.startswith("# pgd on photographs, seed 3\n")
    rows = re.findall(r"^\| (.*[^\\]) \| (.*) \|$", text, re.MULTILINE)
    assert rows == [
        ("trained on", r"a \| b"),
        ("epochs", "8"),
        ("images", "16 x 16 px, RGB"),
        ("classes", r"11: a\|b, c, d, e, f, g, h, i, j, k and 1 more"),
    ]
    assert "float32, N x 3 x 16 x 16, RGB in [0, 1]" in text
    assert "N x 11 logits" in text


def test_its_code_classifies_a_photograph(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.zeros((20, 24, 3), np.uint8)).save("photograph.jpg")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(code, {})
    assert capsys.readouterr().out.strip() in SPEC.classes
