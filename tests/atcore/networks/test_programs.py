"""Programs of torch.export as networks: as fast and exact as others, and never run when read."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from atcore_samples import shapes_table
from test_folding import images, lived_in, network
from torch import Tensor, nn

import atcore
from atcore.attacks.auto_attack import AutoAttack
from atcore.attacks.pgd import PGD
from atcore.attacks.threats import Linf
from atcore.base.errors import UserError
from atcore.evaluation.asking import predict
from atcore.networks import programs
from atcore.networks.architecture import PROGRAM, ModelSpec
from atcore.networks.folding import FoldedTwin, load_folded
from atcore.networks.models import build, load, weights_to_bytes
from atcore.salience.explain import untrained_network
from atcore.salience.maps import feature_maps, grad_cam

SPEC = ModelSpec("small", ("a", "b", "c"), 32, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
AS_PROGRAM = replace(SPEC, architecture=PROGRAM)


@pytest.fixture(scope="module")
def program() -> bytes:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return programs.write(network("small", 32).eval(), 32)


def batch_normalisations(module: nn.Module) -> int:
    assert isinstance(module, torch.fx.GraphModule)
    return sum("batch_norm" in str(node.target) for node in module.graph.nodes)


@pytest.mark.parametrize("architecture", ["small", "resnet18", "preact_resnet18"])
def test_it_is_folded_to_the_same_bits_as_the_network_it_was_recorded_from(
    architecture: str,
) -> None:
    spec = replace(SPEC, architecture=architecture)
    model = network(architecture, 32)
    recorded = programs.write(load(spec, weights_to_bytes(model)), 32)
    twins = [
        load_folded(spec, weights_to_bytes(model), "cpu"),
        load_folded(replace(spec, architecture=PROGRAM), recorded, "cpu"),
    ]
    for x in (images(32), images(32).to(memory_format=torch.channels_last)):
        answers, gradients = [], []
        for twin in twins:
            pixels = x.clone().requires_grad_()
            answers.append(twin(pixels))
            gradients.append(torch.autograd.grad(answers[-1][:, 0].sum(), pixels)[0])
        assert torch.equal(*answers)
        assert torch.equal(*gradients)
    before_its_convolution = {"preact_resnet18": 9}
    assert batch_normalisations(twins[1]) == before_its_convolution.get(architecture, 0)


class _Unfoldable(nn.Module):
    """Normalisations without weights, of a value read twice, in training, after a layer shared."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, 3, 3, padding="same") for _ in range(3))
        self.plain = nn.BatchNorm2d(3, affine=False)
        self.twice = nn.BatchNorm2d(3)
        self.instance = nn.InstanceNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.plain(self.convs[0](x))
        x = self.convs[1](x)
        x = x + self.twice(x)
        x = self.instance(self.convs[2](x))
        return x.mean((2, 3))


def test_what_cannot_be_folded_is_left_alone() -> None:
    model = lived_in(_Unfoldable()).eval()
    recorded = programs.load(programs.write(model, 16))
    twin = FoldedTwin(recorded).module
    assert batch_normalisations(twin) == batch_normalisations(recorded)
    with torch.no_grad():
        torch.testing.assert_close(twin(images(16)), model(images(16)), rtol=1e-5, atol=1e-5)


def test_a_convolution_with_two_normalisations_is_folded_twice() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding="same")
            self.first, self.second = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.second(self.conv(self.first(self.conv(x).relu()))).mean((2, 3))
            return y

    class Twice(Shared):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.second(self.conv(self.first(self.conv(x)))).mean((2, 3))
            return y

    for kind, left in ((Shared, 1), (Twice, 0)):
        model = lived_in(kind()).eval()
        twin = FoldedTwin(programs.load(programs.write(model, 16))).module
        assert batch_normalisations(twin) == left
        with torch.no_grad():
            torch.testing.assert_close(twin(images(16)), model(images(16)), rtol=1e-5, atol=1e-5)


class _Flattening(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        y: Tensor = self.linear(x.view(x.shape[0], -1))
        return y


class _FlatteningInPart(_Flattening):
    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        with torch.no_grad():
            mean = x.view(x.shape[0], -1).mean(1, keepdim=True)
        with torch.autocast("cpu", enabled=False):
            y: Tensor = self.linear(x.view(x.shape[0], -1) - mean)
        return y


@pytest.mark.parametrize("kind", [_Flattening, _FlatteningInPart])
def test_views_recorded_in_another_layout_are_those_of_the_same_numbers(
    kind: type[nn.Module],
) -> None:
    model = kind().eval()
    x = images(8)
    loaded = programs.load(programs.write(model, 8))
    for each in (loaded, FoldedTwin(loaded).module):
        with torch.no_grad():
            found = each(x.to(memory_format=torch.channels_last))
            torch.testing.assert_close(found, model(x), rtol=1e-5, atol=1e-5)


def test_equal_networks_are_recorded_in_equal_bytes_without_names_of_sources() -> None:
    first, second = (programs.write(network("small", 32).eval(), 32) for _ in range(2))
    assert zipfile.ZipFile(io.BytesIO(first)).namelist()
    assert __file__.encode() not in first
    assert b"models.py" not in first
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        third = programs.write(network("small", 32).eval(), 32)
        torch.manual_seed(0)
        fourth = programs.write(network("small", 32).eval(), 32)
    assert third == fourth
    assert first != second


def test_a_folder_with_a_program_is_loaded_like_any_other(tmp_path: Path, program: bytes) -> None:
    (tmp_path / "model.json").write_text(AS_PROGRAM.to_json())
    (tmp_path / "model.pt2").write_bytes(program)
    classifier = atcore.load(tmp_path)
    with torch.no_grad():
        expected = load(AS_PROGRAM, program)(images(32))
        torch.testing.assert_close(classifier(images(32)), expected, rtol=0, atol=0)
    (tmp_path / "model.pt2").unlink()
    with pytest.raises(UserError, match=r"model\.pt2: no such file"):
        atcore.load(tmp_path)


# --- what is asked of them ------------------------------------------------------------------------


def test_grad_cam_looks_at_the_maps_of_the_network_it_was_recorded_from(program: bytes) -> None:
    folded = load_folded(AS_PROGRAM, program, "cpu")
    maps, _ = feature_maps(folded, images(32).requires_grad_())
    assert maps.shape == (3, 64, 8, 8)
    assert grad_cam(folded, images(32), torch.tensor([0, 1, 2])).shape == (3, 32, 32)


def test_grad_cam_looks_at_maps_that_are_averaged_as_a_window_of_their_size() -> None:
    class Pooling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 5, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            x = nn.functional.avg_pool2d(self.conv(x), 2)
            return nn.functional.avg_pool2d(x, 4).flatten(1)

    model = Pooling().eval()
    for each in (model, programs.load(programs.write(model, 8))):
        maps, _ = feature_maps(each, images(8).requires_grad_())
        assert maps.shape == (3, 5, 4, 4)


class _Excited(nn.Module):
    """Averages maps of 8 x 8 in a block that excites them, and pools its last ones, 6 x 6."""

    def __init__(self, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 5, 3)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = x * nn.functional.adaptive_avg_pool2d(x, 1).sigmoid()
        return self.pool(self.last(x)).flatten(1)


@pytest.mark.parametrize(
    "pool",
    [
        lambda maps: maps.mean((2, 3)),
        lambda maps: maps.mean(dim=(-1, -2), keepdim=True),
        lambda maps: maps.mean(3).mean(2),
        lambda maps: maps.mean(-2).mean(-1),
        lambda maps: maps.flatten(2).mean(2),
        lambda maps: maps.view(maps.shape[0], 5, -1).mean(dim=-1),
        lambda maps: maps.permute(0, 2, 3, 1).mean((1, 2)),
    ],
)
def test_grad_cam_looks_at_the_last_maps_however_they_are_averaged(
    pool: Callable[[Tensor], Tensor],
) -> None:
    model = _Excited(pool).eval()
    for each in (model, programs.load(programs.write(model, 8))):
        maps, _ = feature_maps(each, images(8).requires_grad_())
        assert maps.shape == (3, 5, 6, 6)


def test_grad_cam_does_not_look_at_maps_within_a_block() -> None:
    model = _Excited(lambda maps: nn.functional.adaptive_max_pool2d(maps, 1)).eval()
    for each in (model, programs.load(programs.write(model, 8))):
        with pytest.raises(UserError, match="averages no feature maps"):
            feature_maps(each, images(8).requires_grad_())


def test_its_untrained_reference_has_its_values_in_another_order(program: bytes) -> None:
    trained = load(AS_PROGRAM, program)
    untrained = untrained_network(AS_PROGRAM, program, 0, "cpu")
    again = untrained_network(AS_PROGRAM, program, 1, "cpu")
    with torch.no_grad():
        answers = [each(images(32)) for each in (trained, untrained, again)]
    assert not torch.allclose(answers[0], answers[1], atol=1e-2)
    assert not torch.allclose(answers[1], answers[2], atol=1e-2)
    last = [dict(each.named_parameters())["1.6.weight"] for each in (trained, untrained)]
    assert not torch.equal(*last)
    assert torch.equal(*(each.flatten().sort().values for each in last))
    untrained_network.cache_clear()
    with torch.no_grad():
        assert torch.equal(untrained_network(AS_PROGRAM, program, 0, "cpu")(images(32)), answers[1])


def test_attacks_find_what_they_find_on_the_network_it_was_recorded_from() -> None:
    table = shapes_table(4)
    spec = replace(SPEC, classes=table.classes)
    weights = weights_to_bytes(lived_in(build(spec)))
    recorded = programs.write(load(spec, weights), 32)
    networks = [
        load_folded(spec, weights, "cpu"),
        load_folded(replace(spec, architecture=PROGRAM), recorded, "cpu"),
    ]
    threat = Linf(8 / 255)
    for attack in (PGD(threat=threat, step_size=2 / 255, steps=3), AutoAttack(threat)):
        given = {"variant": "attacked", "level": 0.0, "attack": attack, "seed": 0, "device": "cpu"}
        expected, found = (predict(each, table, **given) for each in networks)
        assert (found.probabilities == expected.probabilities).all()


# --- what is refused ------------------------------------------------------------------------------


def changed(program: bytes, suffix: str, change: Callable[[bytes], bytes]) -> bytes:
    """The archive with the content of the file that ends so changed."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(program)) as old, zipfile.ZipFile(written, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content) if name.endswith(suffix) else content)
    return written.getvalue()


class _Touching:
    """A pickle of it creates a file when it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.file), "w")


@pytest.mark.parametrize(
    ("suffix", "old", "new", "said"),
    [
        ("models/model.json", "torch.ops.aten.relu_.default", "torch.os.system", "torch.os.system"),
        ("models/model.json", "torch.ops.aten.relu_.default", "builtins.eval", "builtins.eval"),
        ("models/model.json", "Symbol(", "exec(", "holds the size exec"),
        ("models/model.json", '"relu_"', '"relu_()"', "holds the name relu_()"),
        ("weights_config.json", '"use_pickle": false', '"use_pickle": true', "holds a pickle"),
    ],
)
def test_what_would_run_code_when_it_is_read_is_refused(
    program: bytes, suffix: str, old: str, new: str, said: str
) -> None:
    hostile = changed(program, suffix, lambda content: content.replace(old.encode(), new.encode()))
    with pytest.raises(UserError) as caught:
        programs.read(hostile)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_pickle_in_it_would_do_is_not_done(program: bytes, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    pickled = io.BytesIO()
    torch.save(_Touching(touched), pickled)
    hostile = changed(program, "sample_inputs/model.pt", lambda _: pickled.getvalue())
    with pytest.raises(UserError, match=r"holds a pickle that runs _?io\.open"):
        programs.read(hostile)
    assert not touched.exists()


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_program_is_refused(data: bytes) -> None:
    with pytest.raises(UserError, match=r"no program"):
        programs.read(data)
