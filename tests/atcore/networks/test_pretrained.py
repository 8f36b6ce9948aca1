"""Pretrained weights: real files in torch's cache and real downloads (by file://), all small."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from atcore_samples import model_spec, shapes_table, split_of, training_spec
from torch import nn
from torchvision.models import ResNet18_Weights, resnet18

from atcore.base.errors import UserError
from atcore.images.table import ImageTable
from atcore.networks.architecture import ModelSpec
from atcore.networks.models import build
from atcore.networks.pretrained import Pretrained, download, imagenet, read
from atcore.training.data import LoadedSplit
from atcore.training.loop import train, trained_weights

SPEC = ModelSpec("resnet18", tuple("abc"), 64, (0.5,) * 3, (0.25,) * 3)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as torchvision publishes them: a ResNet-18 for 1000 classes, named by its hash."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        state = resnet18().state_dict()
    raw = tmp_path_factory.mktemp("published") / "raw.pth"
    torch.save(state, raw)
    digest = hashlib.sha256(raw.read_bytes()).hexdigest()
    return raw.rename(raw.with_name(f"resnet18-{digest[:8]}.pth"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub/checkpoints"


@pytest.fixture(scope="module")
def pretrained(published: Path) -> Pretrained:
    return read(published)


def test_a_file_is_downloaded_once_and_then_taken_from_the_cache(
    published: Path, cache: Path
) -> None:
    file = download(published.as_uri())
    assert file == cache / published.name
    assert file.read_bytes() == published.read_bytes()
    gone = f"file:///nowhere/{published.name}"
    assert download(gone) == file


def test_a_network_takes_all_weights_of_the_file_but_the_last_layers(
    published: Path, pretrained: Pretrained
) -> None:
    model, stored = build(SPEC), torch.load(published)
    head = model.state_dict()["1.fc.weight"].clone()
    pretrained.copy_to(model)
    network = model.get_submodule("1").state_dict()
    assert all(torch.equal(v, stored[k]) for k, v in network.items() if not k.startswith("fc."))
    assert torch.equal(network["fc.weight"], head)
    assert head.shape == (3, 512)


def refused(url: str) -> str:
    with pytest.raises(UserError) as caught:
        download(url)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_download_with_another_hash_is_refused_and_not_kept(published: Path, cache: Path) -> None:
    other = published.with_name("resnet18-00000000.pth")
    other.hardlink_to(published)
    assert 'invalid hash value (expected "00000000"' in refused(other.as_uri())
    assert not list(cache.iterdir())


def test_what_cannot_be_downloaded_is_named_with_its_place(cache: Path) -> None:
    url = "file:///nowhere/resnet18-00000000.pth"
    message = refused(url)
    assert message.startswith(f"cannot download {url} to {cache / 'resnet18-00000000.pth'} (")


def test_a_damaged_file_in_the_cache_is_named(cache: Path) -> None:
    name = ResNet18_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[1]
    cache.mkdir(parents=True)
    (cache / name).write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError) as caught:
        imagenet()
    assert str(caught.value) == (
        f"{cache / name}: damaged, its SHA-256 does not start with f37072fd; remove it"
    )


@pytest.mark.parametrize(
    "spec", [replace(SPEC, image_size=32), replace(SPEC, architecture="small")], ids=["stem", "net"]
)
def test_weights_of_another_network_are_refused(spec: ModelSpec, pretrained: Pretrained) -> None:
    with pytest.raises(UserError, match="pretrained weights do not fit the network: "):
        pretrained.copy_to(build(spec))


def enlarged(table: ImageTable) -> LoadedSplit:
    split = split_of(table)
    return LoadedSplit(split.images.repeat_interleave(2, 1).repeat_interleave(2, 2), split.labels)


def test_training_from_them_is_reproducible_resumable_and_not_from_scratch(
    pretrained: Pretrained,
) -> None:
    images, validation = enlarged(shapes_table(8)), enlarged(shapes_table(4, start=8))
    model = model_spec(images, "resnet18")

    def run(checkpoint: bytes | None = None) -> list[bytes]:
        spec = training_spec(start=pretrained, batch_size=8)
        epochs = train(spec, model, images, validation, checkpoint=checkpoint)
        return [progress.checkpoint for progress in epochs]

    def weights(checkpoint: bytes) -> nn.Module:
        return trained_weights(checkpoint, model)

    def equal(a: bytes, b: bytes) -> bool:
        one, other = weights(a).state_dict(), weights(b).state_dict()
        return all(torch.equal(one[name], other[name]) for name in one)

    first, last = run()
    assert equal(run()[-1], last)
    assert equal(run(first)[-1], last)
    from_scratch = next(train(training_spec(batch_size=8), model, images, validation))
    assert not equal(from_scratch.checkpoint, first)
