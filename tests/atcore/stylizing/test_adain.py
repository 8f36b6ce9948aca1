"""AdaIN by hand, its losses against NumPy, and the training of a tiny decoder."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from atcore_samples import native_precision, shapes_table
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from atcore.base.errors import UserError
from atcore.base.rng import numpy_rng
from atcore.stylizing.adain import (
    Stylizer,
    adain,
    build_decoder,
    load_stylizer,
    losses,
    resized,
    statistics,
    working_side,
)
from atcore.stylizing.decoder import StylizingSpec, train_stylizer, trained_stylizer
from atcore.stylizing.encoder import Encoder
from atcore.stylizing.progress import Stylizing
from atcore.stylizing.styles import draw, pictures
from atcore.stylizing.transfer import Adain
from atcore.variants.kinds import vary
from atcore.variants.styling import Styling

WIDTHS = (4, 4, 6, 6, 8, 8, 8, 8, 10)
SHAPES = shapes_table(12)


def tiny_encoder() -> Encoder:
    torch.manual_seed(0)
    encoder = Encoder(WIDTHS).requires_grad_(False)
    for parameter in encoder.parameters():
        if parameter.ndim == 4:  # as they are made, activations fade from layer to layer
            torch.nn.init.kaiming_normal_(parameter)
    return encoder


def tiny_stylizer() -> Stylizer:
    encoder = tiny_encoder()
    torch.manual_seed(1)
    return Stylizer(encoder)


# --- the operation --------------------------------------------------------------------------------


def test_adain_of_two_channels_by_hand() -> None:
    # Channel 0: mean 4, deviation 2 becomes mean 1, deviation 3; channel 1: mean 0, deviation 1
    # becomes mean 20, deviation 10. Of the pixels: 1 + 3 (v - 4) / 2, and 20 + 10 v.
    content = torch.tensor([[[[2.0, 6.0], [6.0, 2.0]], [[-1.0, -1.0], [1.0, 1.0]]]])
    style = torch.tensor([[[[-2.0, 4.0]], [[30.0, 10.0]]]])
    expected = torch.tensor([[[[-2.0, 4.0], [4.0, -2.0]], [[10.0, 10.0], [30.0, 30.0]]]])
    torch.testing.assert_close(adain(content, style), expected, rtol=1e-4, atol=1e-4)


def test_the_result_has_the_statistics_of_the_style_and_the_layout_of_the_content() -> None:
    rng = torch.Generator().manual_seed(0)
    content = 5 * torch.randn(3, 4, 7, 5, generator=rng)
    style = 2 + torch.randn(3, 4, 9, 2, generator=rng)
    result = adain(content, style)
    for own, wanted in zip(statistics(result), statistics(style), strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-4, atol=1e-4)
    for before, after in zip(content.flatten(0, 1), result.flatten(0, 1), strict=True):
        together = torch.stack((before.flatten(), after.flatten()))
        assert torch.corrcoef(together)[0, 1] > 0.9999


def test_a_channel_without_contrast_takes_the_mean_of_the_style() -> None:
    result = adain(torch.full((1, 1, 2, 2), 3.0), torch.tensor([[[[1.0, 5.0]]]]))
    torch.testing.assert_close(result, torch.full((1, 1, 2, 2), 3.0))


def test_the_decoder_mirrors_the_encoder() -> None:
    convolutions = [m for m in build_decoder(WIDTHS) if isinstance(m, torch.nn.Conv2d)]
    shapes = [(m.in_channels, m.out_channels) for m in convolutions]
    assert shapes == [(10, 8), (8, 8), (8, 8), (8, 8), (8, 6), (6, 6), (6, 4), (4, 4), (4, 3)]
    assert {m.padding_mode for m in convolutions} == {"reflect"}
    kinds = "".join(type(m).__name__[0] for m in build_decoder(WIDTHS))
    # C: convolution, R: ReLU, U: upsampling, S: sigmoid.
    assert kinds == "CRU" + "CRCRCRCRU" + "CRCRU" + "CRC" + "S"


def test_strength_goes_from_the_decoded_content_to_the_decoded_style() -> None:
    stylizer = tiny_stylizer()
    contents, styles = torch.rand(2, 2, 3, 16, 24)
    content, style = (stylizer.encoder(x)[-1] for x in (contents, styles))
    with torch.no_grad():
        assert torch.equal(stylizer(contents, styles, 0.0), stylizer.decoder(content))
        full = stylizer.decoder(adain(content, style))
        assert torch.equal(stylizer(contents, styles, 1.0), full)
        half = stylizer.decoder((content + adain(content, style)) / 2)
        torch.testing.assert_close(stylizer(contents, styles, 0.5), half)
        assert full.shape == contents.shape


def numpy_statistics(activations: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values = activations.double().numpy()
    return values.mean((2, 3)), np.sqrt(values.var((2, 3)) + 1e-5)


def test_losses_are_the_mean_squares_of_the_paper() -> None:
    stylizer = tiny_stylizer()
    contents, styles = torch.rand(2, 2, 3, 16, 16)
    with torch.no_grad():
        content_loss, style_loss, identity_loss = losses(stylizer, contents, styles)
        target = adain(stylizer.encoder(contents)[-1], stylizer.encoder(styles)[-1])
        found = stylizer.encoder(stylizer.decoder(target))
        wanted = stylizer.encoder(styles)
    expected = 0.0
    for own, other in zip(found, wanted, strict=True):
        for a, b in zip(numpy_statistics(own), numpy_statistics(other), strict=True):
            expected += np.square(a - b).mean()
    assert style_loss.item() == pytest.approx(expected, rel=1e-4)
    distance = (found[-1].double() - target.double()).numpy()
    assert content_loss.item() == pytest.approx(np.square(distance).mean(), rel=1e-4)
    with torch.no_grad():
        errors = [
            (stylizer(x, x, 0.0) - x).double().square().mean().item() for x in (contents, styles)
        ]
    assert identity_loss.item() == pytest.approx(np.mean(errors), rel=1e-4)
    with torch.no_grad():
        without = losses(stylizer, contents, styles, identity=False)
    assert without == (content_loss, style_loss, torch.tensor(0.0))


@pytest.mark.parametrize(
    ("side", "size", "expected"), [(32, 128, 128), (100, 64, 104), (64, 64, 64)]
)
def test_small_images_are_enlarged_and_all_to_a_multiple_of_the_stride(
    side: int, size: int, expected: int
) -> None:
    assert working_side(side, size) == expected


def test_resizing_keeps_a_plain_image_and_its_own_size() -> None:
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(resized(x, 16), x)
    plain = torch.full((1, 3, 16, 16), 0.25)
    torch.testing.assert_close(resized(resized(plain, 40), 16), plain)


# --- training -------------------------------------------------------------------------------------

SPEC = StylizingSpec(
    steps=40,
    batch_size=4,
    learning_rate=0.01,
    style_weight=10.0,
    identity_weight=10.0,
    size=32,
    precision="fp32",
    threads=1,
    seed=0,
)


@pytest.fixture(scope="module")
def states() -> list[Stylizing]:
    return list(train_stylizer(SPEC, tiny_encoder(), SHAPES.images, None))


@pytest.fixture(scope="module")
def weights(states: list[Stylizing]) -> bytes:
    return trained_stylizer(states[-1].checkpoint, tiny_encoder()).to_bytes()


def test_training_lowers_both_losses_and_counts_its_steps(states: list[Stylizing]) -> None:
    history = states[-1].history
    assert [entry.step for entry in history] == list(range(2, 41, 2))
    first, last = history[:5], history[-5:]
    total = [
        sum(e.content + 10 * e.style + 10 * e.identity for e in part) for part in (first, last)
    ]
    assert total[1] < 0.7 * total[0]


def test_a_resumed_training_equals_an_uninterrupted_one(
    states: list[Stylizing], weights: bytes
) -> None:
    resumed = list(
        train_stylizer(SPEC, tiny_encoder(), SHAPES.images, None, checkpoint=states[11].checkpoint)
    )
    assert len(resumed) == 8
    assert resumed[-1].history == states[-1].history
    assert trained_stylizer(resumed[-1].checkpoint, tiny_encoder()).to_bytes() == weights
    again = train_stylizer(
        SPEC, tiny_encoder(), SHAPES.images, None, checkpoint=states[-1].checkpoint
    )
    assert [state.history for state in again] == [states[-1].history]


def test_a_decoder_trains_in_the_precision_of_the_device_or_in_that_in_which_it_began() -> None:
    def run(precision: str, **arguments: bytes) -> list[Stylizing]:
        spec = replace(SPEC, steps=4, precision=precision)
        return list(train_stylizer(spec, tiny_encoder(), SHAPES.images, None, **arguments))

    def decoder(states: list[Stylizing]) -> bytes:
        return trained_stylizer(states[-1].checkpoint, tiny_encoder()).to_bytes()

    whole = {precision: run(precision) for precision in ("fp32", "bf16")}
    assert decoder(whole["fp32"]) != decoder(whole["bf16"])
    assert decoder(run("auto")) == decoder(whole[native_precision()])
    for precision, states in whole.items():
        resumed = run("auto", checkpoint=states[0].checkpoint)
        assert [entry.precision for entry in resumed[-1].history] == [precision] * 4
        assert decoder(resumed) == decoder(states)


def test_the_encoder_stays_as_it_is(weights: bytes) -> None:
    trained = load_stylizer(weights, "here")
    for key, value in tiny_encoder().state_dict().items():
        assert torch.equal(trained.encoder.state_dict()[key], value)


def test_a_loss_that_is_not_finite_names_the_steps() -> None:
    spec = StylizingSpec(**{**vars(SPEC), "learning_rate": 1e30})
    with pytest.raises(UserError, match=r"not finite in steps 1 to 2; lower learning_rate"):
        list(train_stylizer(spec, tiny_encoder(), SHAPES.images, None))


def test_what_is_no_stylizer_is_refused(weights: bytes) -> None:
    with pytest.raises(UserError, match=r"^x: no stylizer: "):
        load_stylizer(b"nothing", "x")
    with pytest.raises(UserError, match=r"^x: no stylizer: "):
        load_stylizer(weights[:-40], "x")


# --- as a variant ---------------------------------------------------------------------------------


def test_stylized_images_come_from_the_stylizer_in_any_shards(weights: bytes) -> None:
    styling = Styling(transfer=Adain(weights, "here", 40), side=40)
    apply = partial(vary, "stylized")
    whole = apply(SHAPES, 1.0, SHAPES, 0, styling).images
    parts = [apply(shard, 1.0, SHAPES, 0, styling).images for shard in SHAPES.shards(5)]
    assert np.array_equal(np.concatenate(parts), whole)
    style = draw(numpy_rng(0, "stylized/style", int(SHAPES.ids[3])), 40, None)
    x, y = (
        torch.from_numpy(i[None] / np.float32(255)).movedim(-1, 1)
        for i in (SHAPES.images[3], style)
    )
    with torch.no_grad():
        result = load_stylizer(weights, "here")(resized(x, 40), y, 1.0)
    expected = 255 * resized(result, 32).clamp(0, 1).movedim(1, -1)[0].numpy()
    assert np.abs(whole[3] - expected).max() < 0.51


def test_styles_of_a_folder_are_cropped_at_the_side_of_the_stylizer(
    weights: bytes, tmp_path: Path
) -> None:
    Image.new("RGB", (50, 50), (250, 10, 10)).save(tmp_path / "red.png")
    found = pictures(tmp_path, 32)
    transfer = Adain(weights, "here", 32)
    styling = Styling(transfer=transfer, pictures=found, side=32)
    result = vary("stylized", SHAPES, 0.5, SHAPES, 0, styling).images
    red = np.tile(np.uint8([250, 10, 10]), (len(SHAPES), 32, 32, 1))
    assert np.array_equal(result, transfer(SHAPES.images, red, 0.5))


def test_cue_conflicts_by_a_stylizer_keep_both_labels_also_on_shapes(weights: bytes) -> None:
    transfer = Adain(weights, "here", 32)
    table = SHAPES.rows(slice(0, 6))
    result = vary("cue_conflict", table, 1.0, SHAPES, 0, Styling(transfer=transfer))
    assert result.texture_labels is not None
    assert (result.texture_labels != table.labels).all()
    for image, content, label in zip(
        result.images, table.images, result.texture_labels, strict=True
    ):
        sources = SHAPES.images[SHAPES.labels == label]
        candidates = transfer(np.stack([content] * len(sources)), sources, 1.0)
        assert (candidates == image).all(axis=(1, 2, 3)).any()


def test_cue_conflicts_by_a_stylizer_need_two_classes(weights: bytes) -> None:
    alone = SHAPES.rows(np.flatnonzero(SHAPES.labels == 0))
    styling = Styling(transfer=Adain(weights, "here", 32))
    expected = "the test split has a single class; it needs at least 2"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        vary("cue_conflict", alone, 1.0, alone, 0, styling)
