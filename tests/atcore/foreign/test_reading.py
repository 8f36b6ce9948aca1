"""Files of networks: which is read, out of what its weights are taken, and what is refused."""

import argparse
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from foreign_networks import SPEC, given, seeded, taken
from refusals import assert_refused
from safetensors.torch import save_file
from torch import Tensor, nn

from atcore.base.errors import UserError
from atcore.foreign.files import find
from atcore.foreign.weights import read
from atcore.networks.models import weights_to_bytes


class _Hostile:
    """A pickle of it runs a command when it is loaded."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, ("touch ran",)


# --- which file -----------------------------------------------------------------------------------


def test_a_missing_file_is_refused_with_what_is_looked_for_and_what_is_there(
    tmp_path: Path,
) -> None:
    (tmp_path / "other.pth").touch()
    with pytest.raises(UserError) as caught:
        find(given(tmp_path))
    said = str(caught.value)
    assert said.startswith(f"{tmp_path}/mine.safetensors: no such file")
    assert ".safetensors, .pth, .pt, .ckpt" in said
    assert "other.pth" in said
    with pytest.raises(UserError, match=r"mine\.pt2: no such file .*network\.mine\.architecture"):
        find(given(tmp_path, None))


def test_of_several_files_none_is_guessed(tmp_path: Path) -> None:
    (tmp_path / "mine.pth").touch()
    (tmp_path / "mine.ckpt").touch()
    with pytest.raises(UserError, match=r"mine\.pth and mine\.ckpt all fit network\.mine"):
        find(given(tmp_path))


@pytest.mark.parametrize("file", ["mine.pt2", "mine.safetensors", "mine.pth"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html></html>", "is a web page"),
        (b"neither of these", ""),
    ],
)
def test_what_is_no_network_is_refused(
    tmp_path: Path, file: str, content: bytes, said: str
) -> None:
    path = tmp_path / file
    path.write_bytes(content)
    described = given(tmp_path, None if path.suffix == ".pt2" else "small")
    assert_refused(lambda _: taken(described), path, said)


# --- pickles --------------------------------------------------------------------------------------


def _as_torch(content: object, file: Path) -> None:
    torch.save(content, file)


def _as_torch_of_old(content: object, file: Path) -> None:
    torch.save(content, file, _use_new_zipfile_serialization=False)


def _as_pickle(protocol: int) -> Callable[[object, Path], None]:
    def write(content: object, file: Path) -> None:
        file.write_bytes(pickle.dumps(content, protocol))

    return write


WRITERS = [_as_torch, _as_torch_of_old, *map(_as_pickle, (0, 2, 4, 5))]


@pytest.mark.parametrize("write", WRITERS)
def test_a_pickle_with_code_is_refused_by_name_of_what_it_would_run(
    tmp_path: Path, write: Callable[[object, Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.pth"
    write({"state_dict": {"weight": [1.0]}, "hook": _Hostile()}, file)
    assert_refused(read, file, "would run posix.system", "torch.save(network.state_dict(), FILE)")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        ({"args": argparse.Namespace(lr=1), "state_dict": {}}, "argparse.Namespace"),
    ],
)
def test_whole_modules_and_settings_are_refused_with_the_remedy(
    tmp_path: Path, content: object, name: str
) -> None:
    file = tmp_path / "mine.pth"
    torch.save(content, file)
    assert_refused(read, file, f"would run {name}", "torch.save(network.state_dict(), FILE)")


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
def test_torchscript_is_refused_with_the_remedy(tmp_path: Path) -> None:
    file = tmp_path / "mine.pt"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), file)
    assert_refused(read, file, "a TorchScript archive", "torch.save(network.state_dict(), FILE)")


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], {"state_dict": {"epoch": 3}}])
def test_a_file_without_weights_is_refused(tmp_path: Path, content: object) -> None:
    file = tmp_path / "mine.ckpt"
    torch.save(content, file)
    assert_refused(read, file, "no weights in it, but ")


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    for name, write in {"mine.pth": torch.save, "mine.safetensors": save_file}.items():
        file = tmp_path / name
        write({"weight": torch.zeros(100)}, file)
        file.write_bytes(file.read_bytes()[:-50])
        assert_refused(read, file)


# --- wrappings ------------------------------------------------------------------------------------


def _named(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


BARE = {key.removeprefix("1."): t for key, t in seeded().state_dict().items() if key[0] == "1"}
MEAN, STD = torch.tensor(SPEC.mean), torch.tensor(SPEC.std)
OTHER = seeded(1).state_dict()
OTHER = {key.removeprefix("1."): t for key, t in OTHER.items() if key.startswith("1.")}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (BARE, ""),
        ({"state_dict": BARE, "epoch": 3}, "lie under state_dict"),
        ({"model": BARE, "optimizer": {"state": {}}}, "lie under model"),
        ({"net": _named(BARE, "module."), "acc": 91.2}, "began with module."),
        ({"model_state_dict": _named(BARE, "_orig_mod.")}, "began with _orig_mod."),
        ({"state_dict": _named(BARE, "module.model.")}, "began with model."),
        ({"model": {"state_dict": _named(BARE, "_orig_mod.module.")}}, "lie under state_dict"),
        ({"model": OTHER, "model_ema": BARE}, "averaged over steps lie under model_ema"),
        ({"state_dict": OTHER, "state_dict_ema": BARE}, "lie under state_dict_ema"),
        ({"n_averaged": torch.tensor(3), **_named(BARE, "module.")}, "n_averaged"),
    ],
)
def test_weights_are_found_in_what_training_programs_save(
    tmp_path: Path, content: dict[str, object], said: str
) -> None:
    torch.save(content, tmp_path / "mine.pth")
    found = taken(given(tmp_path, mean=SPEC.mean, std=SPEC.std))
    assert found.weights == weights_to_bytes(seeded())
    assert found.spec == SPEC
    assert said in " ".join(found.facts.remarks)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        # RobustBench: of its own networks, and of those that it wraps
        ({"mu": MEAN.view(1, 3, 1, 1), "sigma": STD.view(1, 3, 1, 1), **BARE}, "mu and sigma"),
        (
            {"normalize.mean": MEAN, "normalize.std": STD, **_named(BARE, "model.")},
            "normalize.mean and normalize.std",
        ),
        # MadryLab's robustness, which saves the network twice
        (
            {
                "model": {
                    "module.normalizer.new_mean": MEAN,
                    "module.normalizer.new_std": STD,
                    **_named(BARE, "module.model."),
                    "module.attacker.normalize.new_mean": MEAN,
                    "module.attacker.normalize.new_std": STD,
                    **_named(BARE, "module.attacker.model."),
                }
            },
            "normalizer.new_mean and normalizer.new_std",
        ),
        ({"0.mean": MEAN, "0.std": STD, **_named(BARE, "1.")}, "0.mean and 0.std"),
        ({"state_dict": BARE, "mean": list(SPEC.mean), "std": list(SPEC.std)}, "Its file says"),
    ],
)
def test_a_normalisation_in_the_file_is_used_and_said(
    tmp_path: Path, content: dict[str, object], said: str
) -> None:
    torch.save(content, tmp_path / "mine.pth")
    for described in (given(tmp_path), given(tmp_path, mean=SPEC.mean, std=SPEC.std)):
        found = taken(described)
        assert found.weights == weights_to_bytes(seeded())
        assert found.spec == SPEC
        assert said in " ".join(found.facts.remarks)
    with pytest.raises(UserError, match=r"network\.mine\.std: .*0\.2, 0\.25, 0\.3.*null"):
        taken(given(tmp_path, mean=SPEC.mean, std=(0.2, 0.2, 0.2)))


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
def test_weights_of_other_precision_are_computed_with_in_float32_and_that_is_said(
    tmp_path: Path, kind: str
) -> None:
    dtype = getattr(torch, kind)
    other = {k: t.to(dtype) if t.is_floating_point() else t for k, t in BARE.items()}
    save_file(other, tmp_path / "mine.safetensors")
    found = taken(given(tmp_path, mean=SPEC.mean, std=SPEC.std))
    assert f"Its weights are {kind}; they are computed with in float32." in found.facts.remarks


@pytest.mark.filterwarnings("ignore:.*quantize.*:UserWarning")
@pytest.mark.filterwarnings("ignore:TypedStorage:UserWarning")
def test_quantised_weights_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    torch.save({"weight": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, file)
    assert_refused(read, file, "weight is qint8; save the weights in float32")
