"""Programs of torch.export that others have recorded: kept, wrapped where needed, or refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from foreign_networks import CLASSES, given, images, taken
from refusals import assert_refused
from torch import Tensor, nn
from torch.export import Dim, export, save
from torchvision.transforms.v2 import Normalize

from atcore.base.errors import UserError
from atcore.foreign.taking import Taken
from atcore.images.pixels import channel_statistics, to_pixels
from atcore.networks.architecture import PROGRAM
from atcore.networks.folding import load_folded


class Plain(nn.Module):
    """As small a network as has a convolution and its normalisation."""

    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.linear = nn.Linear(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.bn(self.conv(x)).relu().mean((2, 3)))
        return logits


class Wrapped(nn.Module):
    def __init__(self, change: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.network, self.change = seeded(), change

    def forward(self, x: Tensor) -> object:
        return self.change(self.network(x))


def seeded(outputs: int = 3) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Plain(outputs).eval()


def record(network: nn.Module, file: Path, size: int = 32, *, dynamic: bool = True) -> None:
    shapes = ({0: Dim("batch")},) if dynamic else None
    save(export(network, (torch.zeros(2, 3, size, size),), dynamic_shapes=shapes), file)


def answers(found: Taken) -> Tensor:
    with torch.no_grad():
        logits: Tensor = load_folded(found.spec, found.weights, "cpu")(to_pixels(images()))
        return logits


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.pt2"


def test_a_program_to_which_nothing_is_added_stays_the_file_that_it_is(file: Path) -> None:
    record(seeded(), file)
    found = taken(given(file.parent, None))
    assert found.weights == file.read_bytes()
    assert found.spec.architecture == PROGRAM
    assert found.spec.classes == CLASSES
    assert (found.spec.mean, found.spec.std) == channel_statistics([images()])
    assert found.facts.architecture == "torch.export program"
    assert found.facts.parameters == sum(p.numel() for p in Plain().parameters())
    with torch.no_grad():
        assert_close(answers(found), seeded()(to_pixels(images())))


def test_normalisation_and_another_size_are_put_before_it(file: Path) -> None:
    record(seeded(), file, size=48)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    found = taken(given(file.parent, None, mean=mean, std=std, input_size=48))
    x = F.interpolate(to_pixels(images()), (48, 48), mode="bilinear", antialias=True)
    x = (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.no_grad():
        assert_close(answers(found), seeded()(x))
    assert "Images are resized to 48 px inside it." in found.facts.remarks


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda logits: (logits, logits + 1), "Its answers are 0 of the tuple"),
        (lambda logits: [logits.sum(), logits], "Its answers are 1 of the list"),
        (lambda logits: {"features": logits + 1, "logits": logits}, "Its answers are 'logits' of"),
        (lambda logits: {"loss": logits.sum(), "y": logits}, "Its answers are 'y' of the dict"),
    ],
)
def test_logits_are_found_among_what_it_gives(
    file: Path, change: Callable[[Tensor], object], said: str
) -> None:
    record(Wrapped(change), file)
    found = taken(given(file.parent, None))
    assert said in " ".join(found.facts.remarks)
    with torch.no_grad():
        assert_close(answers(found), seeded()(to_pixels(images())))


class Halved(Plain):
    """Convolves and answers in bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.conv(x.bfloat16())).relu().mean((2, 3))
        logits: Tensor = self.linear(y.bfloat16())
        return logits


@pytest.mark.parametrize("normalising", [torch.float32, torch.bfloat16])
def test_a_network_in_less_precision_answers_in_float32(
    file: Path, normalising: torch.dtype
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Halved().eval()
    network.bfloat16()
    network.bn.to(normalising)
    record(network, file)
    found = taken(given(file.parent, None))
    assert "Its answers are of bfloat16 and become float32." in found.facts.remarks
    assert answers(found).dtype == torch.float32
    with torch.no_grad():
        assert_close(answers(found), network(to_pixels(images())).float())


# --- what is refused ------------------------------------------------------------------------------


def _detached(x: Tensor) -> Tensor:
    return x.detach() + 0


def _rounded(x: Tensor) -> Tensor:
    return x.round()


def _noisy(x: Tensor) -> Tensor:
    return x + torch.randn_like(x)


def _with_its_neighbours(x: Tensor) -> Tensor:
    return x - x.mean(dim=0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_detached, "no gradient reaches the pixels; attacks and salience need it"),
        (_rounded, "the gradient at the pixels is zero; attacks and salience need it"),
        (_noisy, "something in it is random; call network.eval()"),
        (_with_its_neighbours, "answers an image alone otherwise than in a batch"),
        (lambda x: x / 0, "gives logits that are no numbers"),
        (lambda x: {"loss": x.sum()}, "gives a dict without logits"),
        (lambda x: x[0], "gives [3] for 2 images"),
    ],
)
def test_a_network_that_is_not_sound_is_refused_with_the_remedy(
    file: Path, change: Callable[[Tensor], Tensor], said: str
) -> None:
    record(Wrapped(change), file)
    assert_refused(lambda _: taken(given(file.parent, None)), file, said)


def test_a_network_recorded_in_training_is_refused(file: Path) -> None:
    class Dropping(Plain):
        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(super().forward(x), training=True)

    record(Dropping().eval(), file)
    assert_refused(lambda _: taken(given(file.parent, None)), file, "something in it is random")


@pytest.mark.parametrize("mean", [None, (0.4, 0.5, 0.6)])
def test_a_network_that_changes_a_view_in_place_is_refused(
    file: Path, mean: tuple[float, float, float] | None
) -> None:
    class Viewing(Plain):
        def forward(self, x: Tensor) -> Tensor:
            y = self.bn(self.conv(x))
            v = y.view(y.size(0), -1)
            v.sub_(v.mean(1, keepdim=True))
            v.mul_(3)
            logits: Tensor = self.linear(y.relu().mean((2, 3)))
            return logits

    record(Viewing().eval(), file)
    described = given(file.parent, None, mean=mean, std=mean)
    assert_refused(lambda _: taken(described), file, "changes a view of its values in place")


def test_a_network_that_changes_its_images_is_refused_with_what_to_leave_out(file: Path) -> None:
    whole = nn.Sequential(Normalize([0.5] * 3, [0.2] * 3, inplace=True), seeded())
    record(whole.eval(), file)
    said = "changes the images that it is given; leave out inplace=True where it normalises them"
    assert_refused(lambda _: taken(given(file.parent, None)), file, said)


@pytest.mark.parametrize("classes", [None, "names.txt"])
def test_a_network_that_squeezes_is_refused_with_what_to_write_instead(
    file: Path, classes: str | None
) -> None:
    class Squeezing(Plain):
        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.linear(F.adaptive_avg_pool2d(self.conv(x), 1).squeeze())
            return logits

    record(Squeezing().eval(), file)
    (file.parent / "names.txt").write_text("eel\ndog\ncat\n")  # in another order
    described = given(file.parent, None, classes=classes)
    assert_refused(lambda _: taken(described), file, "one", "write flatten(1) instead of squeeze()")


@pytest.mark.parametrize(
    ("example", "said"),
    [
        ((torch.zeros(2, 1, 32, 32),), "takes no images, N x 3 x S x S; export torch.export"),
        ((torch.zeros(2, 3, 32, 32).half(),), "takes float16; export network.float()"),
        ((torch.zeros(2, 3, 32, 32), torch.zeros(2, 3, 32, 32)), "takes 2 inputs"),
    ],
)
def test_a_program_of_other_inputs_is_refused(
    file: Path, example: tuple[Tensor, ...], said: str
) -> None:
    class Summing(nn.Module):
        def forward(self, *xs: Tensor) -> Tensor:
            return torch.stack([x.mean((2, 3)) for x in xs]).sum(0)

    save(export(Summing(), example), file)
    assert_refused(lambda _: taken(given(file.parent, None)), file, said)


def test_a_program_of_one_size_of_batch_is_refused(file: Path) -> None:
    record(seeded(), file, dynamic=False)
    said = "takes batches of 2 only; export torch.export.export(network.eval(), (torch.zeros(2, 3, "
    assert_refused(lambda _: taken(given(file.parent, None)), file, said, 'Dim("batch")')


def test_a_program_of_another_size_is_refused_with_the_key_that_resizes(file: Path) -> None:
    record(seeded(), file, size=48)
    with pytest.raises(UserError, match=r"network\.mine\.input_size: mine\.pt2 takes images of 48"):
        taken(given(file.parent, None))
    with pytest.raises(UserError, match="takes images of 48 x 48 px, not of 64; input_size: 48"):
        taken(given(file.parent, None, input_size=64))


def test_another_number_of_outputs_is_refused(file: Path) -> None:
    record(seeded(outputs=5), file)
    with pytest.raises(UserError, match=r"network\.mine\.classes: mine\.pt2 has 5 outputs.* 3 "):
        taken(given(file.parent, None))
