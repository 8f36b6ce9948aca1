"""`params.yaml`: the project's own file is good, and every mistake ends in one helpful line."""

import copy
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torchvision
import yaml

from atcore.base.errors import UserError
from tasks.params import Params, Stylized, load, seed
from tasks.params.architectures import TORCHVISION
from tasks.params.fields import Section

OWN = Path(__file__).parents[3] / "params.yaml"
GONE = object()  # as a value: leave the key out


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "params.yaml"


def changed(*changes: tuple[str, Any]) -> dict[str, Any]:
    """The project's own parameters with the values at dotted keys replaced or left out."""
    content = copy.deepcopy(yaml.safe_load(OWN.read_text()))
    for key, value in changes:
        *parents, last = (int(part) if part.isdigit() else part for part in key.split("."))
        place = content
        for part in parents:
            place = place[part]
        if value is GONE:
            del place[last]
        else:
            place[last] = value
    return content


def load_changed(path: Path, *changes: tuple[str, Any]) -> Params:
    path.write_text(yaml.safe_dump(changed(*changes), sort_keys=False))
    return load(path)


def message_of(path: Path) -> str:
    """The one line that refuses the file."""
    with pytest.raises(UserError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


# --- good files ---------------------------------------------------------------------------------


def test_the_projects_own_file_is_good() -> None:
    params = load(OWN)
    assert set(params.run.datasets) <= set(params.dataset)
    assert params.run.models[0] == params.run.methods[0] == "standard"
    assert sorted(params.run.models) == sorted(params.run.methods + params.run.controls)
    assert [name for name, _ in params.variant_levels if name == "patch_shuffled"]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("8/255", 8 / 255),
        (" 16 / 255 ", 16 / 255),
        ("1/3", 1 / 3),
        (0.5, 0.5),
        (0, 0.0),
        ("0/255", 0.0),
    ],
)
def test_numbers_may_be_fractions(path: Path, written: str | float, value: float) -> None:
    params = load_changed(path, ("method.fgsm_8.attack.eps", written))
    attack = params.method["fgsm_8"].attack
    assert attack is not None
    assert attack.eps == pytest.approx(value, abs=1e-15)


@pytest.mark.parametrize("amount", [1, 4000, 0.2, None])
def test_amounts_of_images_are_counts_shares_or_all(path: Path, amount: float | None) -> None:
    params = load_changed(path, ("dataset.shapes.images.train", amount))
    assert params.dataset["shapes"].images.train == amount


@pytest.mark.parametrize(
    ("written", "label"),
    [(3, "3"), (0, "0"), ("3", "3"), ("fine_label", "fine_label"), (None, None)],
)
def test_a_label_may_be_the_number_of_a_column(
    path: Path, written: int | str | None, label: str | None
) -> None:
    csv = ("dataset.my_folder.format", "csv")
    params = load_changed(path, csv, ("dataset.my_folder.label", written))
    assert params.dataset["my_folder"].label == label


@pytest.mark.parametrize("name", ["猫_и-Hunde_é", "8"])
def test_names_have_letters_of_any_script(path: Path, name: str) -> None:
    values = changed(("run.datasets", [name]))
    values["dataset"][name] = values["dataset"]["shapes"]
    path.write_text(yaml.safe_dump(values))
    assert load(path).run.datasets == [name]


def test_no_controls_and_no_variants_may_be_selected(path: Path) -> None:
    params = load_changed(path, ("run.controls", []), ("run.variants", []))
    assert params.run.models == params.run.methods
    assert params.variant_levels == []


def test_variants_follow_the_order_of_the_file_and_their_levels_rise(path: Path) -> None:
    params = load_changed(
        path,
        ("run.variants", ["saturated", "patch_shuffled"]),
        ("variant.saturated.levels", [8, 1]),
    )
    assert params.variant_levels == [
        ("saturated", 1),
        ("saturated", 8),
        ("patch_shuffled", 2),
        ("patch_shuffled", 4),
        ("patch_shuffled", 8),
    ]


def test_styles_may_come_from_a_folder(path: Path) -> None:
    stylized = load_changed(path, ("variant.stylized.styles", "raw/styles")).variant["stylized"]
    assert isinstance(stylized, Stylized)
    assert stylized.styles == "raw/styles"


def test_variants_of_a_stylizer_come_after_the_others(path: Path) -> None:
    params = load_changed(
        path,
        ("run.variants", ["cue_conflict"]),
        ("run.transferred", ["cue_conflict_adain", "stylized_adain"]),
        ("run.stylizers", ["adain"]),
        ("stylizer.adain.encoder", "raw/encoder/own.safetensors"),
    )
    assert params.variant_levels == [
        ("cue_conflict", 0.6),
        ("cue_conflict_adain", 1),
        ("stylized_adain", 0.5),
        ("stylized_adain", 1),
    ]
    assert params.transfer("cue_conflict") is None
    assert params.transfer("cue_conflict_adain") == "adain"


def test_a_transferred_variant_needs_its_stylizer_among_those_of_the_run(path: Path) -> None:
    expected = "run.stylizers: variant.stylized_adain transfers by 'adain', which is not named"
    with pytest.raises(UserError, match=expected):
        load_changed(path, ("run.transferred", ["stylized_adain"]))


def test_names_from_the_command_line_are_checked_against_the_catalogues() -> None:
    params = load(OWN)
    params.require(dataset="shapes", method="standard", variant="saturated")
    with pytest.raises(UserError) as caught:
        params.require(dataset="shapes", method="standart")
    message = str(caught.value)
    assert message.startswith("method: 'standart' is unknown; allowed: standard, underfit, ")
    assert "\n" not in message


def test_a_selection_of_the_paper_takes_the_place_of_run(path: Path) -> None:
    params = load(OWN)
    for name in params.paper:
        chosen = params.of_paper(name)
        assert chosen.run.methods == params.paper[name].methods
        assert chosen.run.seeds == params.run.seeds
    with pytest.raises(UserError, match=r"^paper: 'mnist' is unknown; allowed: cifar10, tiny_im"):
        params.of_paper("mnist")
    path.write_text(yaml.safe_dump(changed(("paper.cifar10.methods", ["standard", "pgd"]))))
    with pytest.raises(UserError, match=r"paper\.cifar10\.methods: 'pgd' is unknown; allowed: "):
        load(path).of_paper("cifar10")


def test_a_seed_from_the_command_line() -> None:
    assert seed("12") == 12


@pytest.mark.parametrize("text", ["-1", "1.0", "one", "", "²"])
def test_a_seed_from_the_command_line_that_is_none(text: str) -> None:
    with pytest.raises(UserError, match="whole number, 0 or greater") as caught:
        seed(text)
    assert str(caught.value).startswith(f"seed: {text!r} is not allowed")


# --- wrong values: key, value, what the message says it is, what it says is allowed ---------------

EPS = "method.pgd_linf_8.attack.eps"
RATE = "method.standard.learning_rate"
TRAINING = "dataset.shapes.training"
NETWORK = "network.my_network"
AUTO = {"images": 10, "norm": "linf", "eps": "8/255"}
WRONG: list[tuple[str, Any, str, str]] = [
    # key, value, the value as the message shows it, what is allowed
    ("run.datasets", ["shape"], "'shape'", "shapes, cifar10"),
    ("run.methods", ["standard", "pgd"], "'pgd'", "standard, underfit, fgsm_8"),
    ("run.controls", ["underfitt"], "'underfitt'", "standard, underfit"),
    ("run.variants", ["stylised"], "'stylised'", "stylized, saturated, patch_shuffled"),
    ("run.datasets", ["shapes", "shapes"], "'shapes'", "twice"),
    ("run.variants", ["stylized_adain"], "'stylized_adain'", "name it in run.transferred"),
    ("run.transferred", ["saturated"], "'saturated'", "name it in run.variants"),
    ("run.transferred", ["stylised"], "'stylised'", "stylized, saturated"),
    ("run.stylizers", ["adam"], "'adam'", "allowed: adain"),
    ("variant.stylized.transfer", "adam", "'adam'", "filtered, adain"),
    ("variant.stylized_adain.levels", [0.5, 1.5], "1.5", "a stylizer's strength is 0 to 1"),
    ("stylizer.adain.size", 16, "16", "greater than or equal to 32"),
    ("stylizer.adain.steps", 0, "0", "greater than or equal to 1"),
    (
        "stylizer.adain.encoder",
        "vgg.safetensors",
        "'vgg.safetensors'",
        "give imagenet, raw/encoder/NAME.safetensors or raw/encoder/NAME.pth",
    ),
    ("stylizer.adain.encoder", "raw/encoder/vgg.onnx", "'raw/encoder/vgg.onnx'", "imagenet"),
    ("run.methods", ["standard", "underfit"], "'underfit'", "name it in run.controls"),
    ("run.methods", ["standard", ".."], "'..'", "letters, digits, _ and - alone"),
    ("run.methods", ["a/b"], "'a/b'", "letters, digits, _ and - alone"),
    ("run.variants", ["a b"], "'a b'", "letters, digits, _ and - alone"),
    ("run.datasets", ["0.1"], "'0.1'", "letters, digits, _ and - alone"),
    *(
        ("run.datasets", [name], repr(name), "and begin with a letter or digit")
        for name in ("cats&dogs", "my(images)", "it's", "a;b", "$HOME", "#a", "-x", "*", "_x")
    ),
    ("run.methods", [], "[]", "name a method, or a network of your own in networks"),
    ("run.networks", ["my_net"], "'my_net'", "allowed: my_network"),
    ("run.networks", ["my_network", "my_network"], "'my_network'", "twice"),
    (f"{NETWORK}.architecture", "resnet_18", "'resnet_18'", "own, timm/NAME, small, vgg"),
    (f"{NETWORK}.architecture", "timm/", "'timm/'", "own, timm/NAME"),
    (f"{NETWORK}.input_size", 7, "7", "greater than or equal to 8"),
    (f"{NETWORK}.classes", "raw/networks/a.txt", "'raw/networks/a.txt'", "a file in raw/networks"),
    ("run.methods", "standard", "'standard'", "list"),
    ("run.seed", -1, "-1", "greater than or equal to 0"),
    ("run.seed", "zero", "'zero'", "integer"),
    ("run.seeds", [], "[]", "at least 1"),
    ("run.seeds", 0, "0", "list"),
    ("run.seeds", [0, 3, 0], "0", "twice"),
    ("run.seeds.0", -1, "-1", "greater than or equal to 0"),
    ("run.seeds.0", 1.0, "1.0", "integer"),
    ("run.seeds.0", True, "True", "integer"),
    ("run.seeds.0", "1", "'1'", "integer"),
    ("method.underfit.stop_at", "pgd_linf_4", "'pgd_linf_4'", "standard, fgsm_8, pgd_linf_8"),
    ("method.underfit.stop_at", "nonsense", "'nonsense'", "standard, fgsm_8, pgd_linf_8"),
    (EPS, -0.1, "-0.1", "greater than or equal to 0"),
    (EPS, "-8/255", "'-8/255'", "greater than or equal to 0"),
    (EPS, math.inf, "inf", "finite"),
    (EPS, "eight", "'eight'", "number"),
    (EPS, "8/0", "8/0", "number or a fraction such as 8/255"),
    (EPS, f"1{400 * '0'}/3", f"1{400 * '0'}/3", "number or a fraction such as 8/255"),
    (EPS, "8/x", "8/x", "number or a fraction such as 8/255"),
    (EPS, None, "None", "number"),
    ("method.pgd_linf_8.attack.step_size", 0, "0", "greater than 0"),
    ("method.fast_8.attack.step_size", 0, "0", "greater than 0"),
    (EPS, 8, "8 is not allowed with norm linf; pixels are on the scale [0, 1]", "mean 8/255?"),
    (EPS, 256, "256 is not allowed with norm linf", "give at most 1"),
    ("method.free_8.attack.eps", 1.5, "1.5", "did you mean 1.5/255?"),
    ("evaluate.robustness.1.eps", 16, "16", "did you mean 16/255?"),
    ("evaluate.auto_attack", [AUTO | {"eps": 8}], "8", "did you mean 8/255?"),
    # The square root of 3 * 32 * 32.
    ("method.pgd_l2.attack.eps", 55.5, "55.5 is not allowed with norm l2", "at most 55.43"),
    (
        "evaluate.auto_attack",
        [AUTO | {"norm": "l2", "eps": 128}],
        "128 is not allowed with norm l2 for images of 32 px",
        "give at most 55.43",
    ),
    (
        "evaluate.robustness.1",
        {"norm": "spatial", "eps": 33, "step_size": 0.25, "steps": 20},
        "33 is not allowed with norm spatial for images of 32 px",
        "give at most 32",
    ),
    ("method.pgd_linf_8.attack.step_size", 2.5, "it is a multiple of eps", "give at most 2"),
    ("evaluate.robustness.1.step_size", 8, "it is a multiple of eps", "give at most 2"),
    # Once on the scale of eps.
    ("evaluate.robustness.1.step_size", "2/255", "with 20 steps; it is", "did you mean 0.25?"),
    ("evaluate.robustness.0.step_size", 0.04, "of which 0.8 is reached", "give at least 0.05"),
    (
        "method.pgd_linf_8.attack.step_size",
        "4/255",
        "0.0156863 is not allowed with 2 steps (dataset.shapes.training.attack_steps)",
        "did you mean 0.5?",
    ),
    ("method.fgsm_8.attack.step_size", "8/255", "is not allowed with one step", "mean 1?"),
    ("method.fast_8.attack.random_start", "maybe", "'maybe'", "boolean"),
    ("method.pgd_linf_8.attack.norm", "l1", "'l1'", "'linf', 'l2' or 'spatial'"),
    ("method.pgd_linf_8.attack.smoothness", 0.1, "0.1", "with norm linf; leave it out"),
    ("method.free_8.attack.replays", 0, "0", "greater than or equal to 1"),
    ("method.free_8.attack.norm", "spatial", "'spatial'", "'linf' or 'l2'"),
    ("method.free_8.loss", {"kind": "trades", "beta": 6}, "'trades'", "attack of kind pgd"),
    ("method.stadv.attack.smoothness", -1, "-1", "greater than or equal to 0"),
    ("method.pgd_linf_8.attack.at", 224, "224", "with norm linf; leave it out"),
    ("method.pgd_l2_4.attack.at", 0, "0", "greater than or equal to 1"),
    ("evaluate.robustness.0.smoothness", 0.1, "0.1", "with norm linf; leave it out"),
    ("method.pgd_linf_8.attack.kind", "cw", "'cw'", "'fgsm', 'pgd', 'free'"),
    ("method.trades_8.loss.beta", -1, "-1", "greater than or equal to 0"),
    ("method.trades_8.loss.kind", "mart", "'mart'", "'cross_entropy', 'trades'"),
    ("method.fgsm_8.loss", {"kind": "trades", "beta": 6}, "'trades'", "attack of kind pgd"),
    ("method.standard.loss", {"kind": "trades", "beta": 6}, "'trades'", "attack of kind pgd"),
    (RATE, math.nan, "nan", "finite"),
    (RATE, 0, "0", "greater than 0"),
    ("method.standard.momentum", 1, "1", "less than 1"),
    ("method.standard.schedule", "linear", "'linear'", "'cosine', 'piecewise' or 'constant'"),
    ("method.standard.label_smoothing", 1, "1", "less than 1"),
    ("method.standard.label_smoothing", -0.1, "-0.1", "greater than or equal to 0"),
    ("method.standard.ema", 1, "1", "less than 1"),
    ("method.standard.ema", -0.1, "-0.1", "greater than or equal to 0"),
    ("method.pgd_linf_8.keep", "best", "'best'", "'last' or 'best_robust'"),
    ("method.standard.keep", "best_robust", "'best_robust'", "without an attack"),
    ("method.standard.workers", 0, "0", "greater than or equal to 1"),
    ("method.standard.workers", 1.5, "1.5", "integer"),
    ("method.standard.weight_decay", -5e-4, "-0.0005", "greater than or equal to 0"),
    (f"{TRAINING}.epochs", 0, "0", "greater than or equal to 1"),
    (f"{TRAINING}.epochs", 2.5, "2.5", "integer"),
    (f"{TRAINING}.epochs", True, "True", "integer"),
    ("method.standard.momentum", False, "False", "give a number"),
    (f"{TRAINING}.threads", -1, "-1", "greater than or equal to 1"),
    (f"{TRAINING}.architecture", "resnet19", "'resnet19'", "the closest: resnet18"),
    (f"{TRAINING}.weights", "imagenet", "'imagenet'", "'none', or architecture resnet18"),
    ("dataset.cifar10.training.weights", "imagenet", "32 px", "image_size of at least 64"),
    ("dataset.caltech256.training.weights", "vgg", "'vgg'", "'none' or 'imagenet'"),
    (f"{TRAINING}.precision", "fp16", "'fp16'", "'auto', 'bf16' or 'fp32'"),
    (f"{TRAINING}.augment", True, "True", "'none' or 'crop_flip'"),
    ("dataset.shapes.format", "zip", "'zip'", "'shapes', 'folder', 'parquet'"),
    ("dataset.shapes.image_size", 4, "4", "greater than or equal to 8"),
    ("dataset.my_folder.label", "kind", "'kind'", "or format parquet or webdataset or csv"),
    ("dataset.shapes.resize", 40, "40", "shapes are drawn, give null"),
    ("dataset.shapes.image_size", 33, "33", "an even number, or architecture resnet18"),
    ("dataset.cifar10.resize", 24, "for an image_size of 32", "no less than that"),
    (f"{TRAINING}.learning_rate_factor", 0, "0", "greater than 0"),
    ("dataset.shapes.images.train", 0, "0", "number of images, a share between 0 and 1, or null"),
    ("dataset.shapes.images.train", True, "True", "number of images, a share between 0 and 1"),
    ("dataset.shapes.images.train", 1.5, "1.5", "number of images, a share"),
    ("dataset.shapes.images.train", {"int": 1}, "{'int': 1}", "number of images, a share"),
    ("method.fgsm_8.eps_warmup", 1.5, "1.5", "less than or equal to 1"),
    ("training.attack_mode", "test", "'test'", "'eval' or 'train'"),
    ("variant.saturated.levels.0", 0, "0", "greater than 0"),
    ("variant.saturated.levels.1", -4, "-4", "greater than 0"),
    ("variant.saturated.levels", [], "[]", "at least 1"),
    ("variant.saturated.levels", [4, 8, 4], "4", "4 is named twice"),
    ("variant.stylized.levels", [1, 1.0], "1", "1 is named twice"),
    ("variant.saturated.levels", [1000001, 1000002], "1e+06", "1e+06 is named twice"),
    ("variant.saturated.levels", 4, "4", "list"),
    ("variant.patch_shuffled.levels.0", 0, "0", "greater than or equal to 2"),
    ("variant.patch_shuffled.levels.2", 1, "1", "greater than or equal to 2"),
    ("dataset.my_folder.label", True, "True", "string"),
    ("dataset.my_folder.label", 2.5, "2.5", "string"),
    ("variant.patch_shuffled.levels.0", 2.5, "2.5", "integer"),
    ("variant.stylized.levels.0", -0.6, "-0.6", "greater than or equal to 0"),
    ("variant.cue_conflict.levels.0", math.nan, "nan", "finite"),
    ("variant.brightness.levels.0", 0, "0", "greater than 0"),
    ("variant.low_pass.levels.1", 0, "0", "greater than 0"),
    ("variant.high_pass.levels.0", -2, "-2", "greater than 0"),
    ("variant.edges.levels.0", -1, "-1", "greater than or equal to 0"),
    ("variant.stylized.styles", "raw/paintings", "'raw/paintings'", "'raw/styles'"),
    ("variant.stylized.kind", "stylised", "'stylised'", "'saturated'"),
    ("evaluate.robustness.1.eps", -1, "-1", "greater than or equal to 0"),
    ("evaluate.auto_attack", None, "None", "list"),
    ("evaluate.auto_attack", [AUTO | {"images": 0}], "0", "greater than or equal to 1"),
    ("evaluate.auto_attack", [AUTO | {"norm": "l1"}], "'l1'", "'linf' or 'l2'"),
    ("evaluate.auto_attack", [AUTO | {"eps": 0}], "0", "greater than 0"),
    ("evaluate.shard", 0, "0", "greater than or equal to 1"),
    ("salience.smooth_samples", 0, "0", "greater than or equal to 1"),
    ("salience.integration_steps", 0, "0", "greater than or equal to 1"),
    ("salience.measured", {}, "{}", "at least 1 item"),
    ("salience.measured.gradient", 0, "0", "greater than or equal to 1"),
    ("salience.measured.grad_cams", 8, "'grad_cams'", "'gradient', 'smoothgrad'"),
    ("salience.measured.grad_cams", {}, "'grad_cams'", "'gradient', 'smoothgrad'"),
    ("ray.storage", "storage", "'storage'", "an absolute path that all nodes share, or s3://"),
    ("ray.storage", 1, "1", "string"),
]


@pytest.mark.parametrize(
    ("key", "value", "shown", "allowed"),
    WRONG,
    ids=[f"{key}: {value}" for key, value, *_ in WRONG],
)
def test_a_wrong_value_is_refused_naming_key_value_and_what_is_allowed(
    path: Path, key: str, value: object, *, shown: str, allowed: str
) -> None:
    path.write_text(yaml.safe_dump(changed((key, value)), sort_keys=False))
    message = message_of(path)
    assert message.startswith((f"{key}: ", f"{key}.0.", f"{key}.eps: ")), message
    said = message.split(": ", 1)[1]
    assert shown in said
    assert allowed in said


def test_all_networks_of_torchvision_are_known() -> None:
    assert sorted(TORCHVISION) == torchvision.models.list_models(module=torchvision.models)


def test_a_network_without_feature_maps_takes_no_grad_cam(path: Path) -> None:
    transformer = (f"{TRAINING}.architecture", "vit_b_16")
    with pytest.raises(UserError, match=r"measured\.grad_cam: not allowed for architecture 'vit_b"):
        load_changed(path, transformer)
    load_changed(path, transformer, ("salience.measured", {"gradient": 8}))


def test_all_controls_stop_at_the_method_that_dvc_makes_them_wait_for(path: Path) -> None:
    weak = yaml.safe_load(OWN.read_text())["method"]["underfit"] | {"learning_rate": 0.05}
    both = (("run.controls", ["underfit", "weak"]), ("method.weak", weak))
    assert load_changed(path, *both).run.controls == ["underfit", "weak"]
    other = ("method.weak", weak | {"stop_at": "standard"})
    with pytest.raises(UserError, match=r"method\.weak\.stop_at: 'standard' .*pgd_linf_8"):
        load_changed(path, both[0], other)


def test_a_network_of_ones_own_needs_no_method_and_is_the_only_one_of_its_name(path: Path) -> None:
    alone = (("run.methods", []), ("run.controls", []), ("run.networks", ["my_network"]))
    run = load_changed(path, *alone, ("run.seeds", [3, 4])).run
    assert (run.models, run.each) == (["my_network"], [("my_network", 0)])
    both = load_changed(path, alone[2], ("run.seeds", [3, 4])).run
    assert both.models == [*both.trained, "my_network"]
    assert both.each == [*((name, seed) for name in both.trained for seed in (3, 4)), *run.each]

    with pytest.raises(UserError, match=r"network\.standard: a method has this name; choose"):
        load_changed(
            path, ("network.standard", yaml.safe_load(OWN.read_text())["network"]["my_network"])
        )
    with pytest.raises(
        UserError, match=r"stop_at: 'pgd_linf_8' .* take underfit out of run\.controls"
    ):
        load_changed(path, alone[0], alone[2])


@pytest.mark.parametrize("name", ["own", "timm/vit_tiny_patch16_224", "wide_resnet28_10", None])
def test_the_architecture_of_a_network_of_ones_own(path: Path, name: str | None) -> None:
    params = load_changed(path, (f"{NETWORK}.architecture", name))
    assert params.network["my_network"].architecture == name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": [0.5] * 3}, "std: null is not allowed beside mean; give three numbers, or null"),
        ({"std": [0.5] * 3}, "mean: null is not allowed beside std; give three numbers, or null"),
        ({"mean": [0, 0, 123.7], "std": [1] * 3}, "mean.2: 123.7 is not allowed; input should be"),
        ({"mean": [0.5] * 3, "std": [1, 0, 1]}, "std.1: 0 is not allowed; input should be greater"),
        (
            {"mean": [0.5], "std": [1] * 3},
            "mean: [0.5] is not allowed; tuple should have at least 3",
        ),
    ],
)
def test_what_is_said_of_a_network_of_ones_own_fits_together(
    path: Path, changes: dict[str, Any], message: str
) -> None:
    keys = [(f"{NETWORK}.{key}", value) for key, value in changes.items()]
    path.write_text(yaml.safe_dump(changed(*keys)))
    assert message_of(path).startswith(f"{NETWORK}.{message}")


def test_a_transformer_of_ones_own_takes_no_grad_cam(path: Path) -> None:
    given = (
        (f"{NETWORK}.architecture", "timm/vit_tiny_patch16_224"),
        ("run.networks", ["my_network"]),
    )
    with pytest.raises(UserError, match=r"grad_cam: .* 'timm/vit_tiny.* \(network\.my_network\)"):
        load_changed(path, *given)
    load_changed(path, given[0])


def test_larger_training_images_are_for_crops(path: Path) -> None:
    larger = ("dataset.my_folder.resize", 80)
    load_changed(path, larger)
    with pytest.raises(UserError, match=r"my_folder\.resize: 80 .* augment 'none', .* crop_flip"):
        load_changed(path, larger, ("dataset.my_folder.training.augment", "none"))


def test_an_l2_radius_is_held_against_the_side_at_which_it_is_given(path: Path) -> None:
    chosen = ("run.methods", ["standard", "pgd_linf_8", "pgd_l2_12"])
    load_changed(path, chosen, ("method.pgd_l2_12.attack.eps", 387.9))
    with pytest.raises(UserError, match=r"pgd_l2_12\.attack\.eps: 388 .* 224 px; give at most 388"):
        load_changed(path, chosen, ("method.pgd_l2_12.attack.eps", 388))


def test_an_attack_is_held_against_the_datasets_that_are_selected(path: Path) -> None:
    radius = ("method.pgd_l2.attack.eps", 100)
    load_changed(path, radius, ("run.datasets", ["tiny_imagenet"]))
    with pytest.raises(UserError, match=r"method\.pgd_l2\.attack\.eps: 100 .* images of 32 px; "):
        load_changed(path, radius, ("run.datasets", ["tiny_imagenet", "cifar10"]))
    short = ("method.pgd_linf_1.attack.step_size", 0.07)
    params = load_changed(path, short)
    params.of_paper("caltech256")
    with pytest.raises(UserError, match=r"pgd_linf_1\.attack\.step_size: 0\.07 .* with 10 steps "):
        params.of_paper("cifar10")


def test_images_that_are_shown_have_to_be_measured(path: Path) -> None:
    wrong = changed(("salience.images", 8), ("salience.measured.smoothgrad", 7))
    path.write_text(yaml.safe_dump(wrong))
    assert message_of(path) == (
        "salience.measured.smoothgrad: 7 is not allowed while salience.images is 8; give 8 or more"
    )


@pytest.mark.parametrize(
    ("section", "allowed"),
    [
        ("method.standard", "momentum"),
        ("method.pgd_linf_8.attack", "step_size"),
        ("dataset.shapes", "image_size"),
        ("variant.saturated", "levels"),
        ("run", "seed"),
        ("salience", "images"),
    ],
)
def test_an_unknown_key_is_refused_with_the_known_ones(
    path: Path, section: str, allowed: str
) -> None:
    path.write_text(yaml.safe_dump(changed((f"{section}.nonsense", 1)), sort_keys=False))
    message = message_of(path)
    assert message.startswith(section)
    assert "nonsense" in message
    assert "unknown key" in message
    assert allowed in message


def test_an_unknown_section_is_refused(path: Path) -> None:
    path.write_text(yaml.safe_dump(changed(("modles", {})), sort_keys=False))
    message = message_of(path)
    assert "modles" in message
    assert "unknown key" in message


@pytest.mark.parametrize(
    "key",
    [
        "run",
        "run.seed",
        "salience.images",
        "method.standard.momentum",
        "method.pgd_linf_8.attack.step_size",
        "dataset.shapes.training.threads",
        "variant.saturated.levels",
        "evaluate.robustness.0.steps",
    ],
)
def test_a_missing_key_is_named(path: Path, key: str) -> None:
    path.write_text(yaml.safe_dump(changed((key, GONE)), sort_keys=False))
    assert message_of(path).startswith(f"{key}: missing")


@pytest.mark.parametrize("key", ["method.pgd_linf_8.attack", "variant.saturated"])
def test_a_section_without_its_kind_is_refused(path: Path, key: str) -> None:
    path.write_text(yaml.safe_dump(changed((f"{key}.kind", GONE)), sort_keys=False))
    assert message_of(path) == f"{key}.kind: missing key"


def of_every_kind() -> dict[str, tuple[str, dict[str, Any]]]:
    """A section of every kind, with its dotted key."""
    content = changed()
    sections = [(f"variant.{name}", entry) for name, entry in content["variant"].items()]
    for name, method in content["method"].items():
        sections.append((f"method.{name}.attack", method.get("attack")))
        sections.append((f"method.{name}.loss", method.get("loss", {"kind": "cross_entropy"})))
    return {entry["kind"]: (key, entry) for key, entry in sections if entry}


OF_A_KIND = of_every_kind()


def test_there_is_a_section_of_every_kind() -> None:
    described = [
        model["properties"]["kind"]
        for model in Params.model_json_schema()["$defs"].values()
        if "kind" in model["properties"]
    ]
    kinds = {kind for each in described for kind in each.get("enum", [each.get("const")])}
    assert kinds == set(OF_A_KIND)


@pytest.mark.parametrize("kind", OF_A_KIND)
def test_keys_of_a_section_do_not_repeat_its_kind(path: Path, kind: str) -> None:
    key, entry = OF_A_KIND[kind]
    # A key that is called like the kind is one all the same.
    path.write_text(yaml.safe_dump(changed((key, entry | {kind: 1})), sort_keys=False))
    assert message_of(path).startswith(f"{key}: {kind!r} is an unknown key; allowed: ")
    wrong = {name: value if name == "kind" else {} for name, value in entry.items()}
    path.write_text(yaml.safe_dump(changed((key, wrong)), sort_keys=False))
    places = [f"{key}.{name}: {{}} is not allowed; " for name in entry if name != "kind"]
    if places:
        assert message_of(path).startswith(tuple(places))
    else:
        load(path)


@pytest.mark.parametrize("name", ["pgd", "fgsm", "int", "float", "saturated"])
def test_any_name_a_user_gives_a_method_shows_in_messages(path: Path, name: str) -> None:
    method = changed()["method"]["pgd_linf_8"]
    method["attack"]["eps"] = -1
    path.write_text(yaml.safe_dump(changed((f"method.{name}", method)), sort_keys=False))
    assert message_of(path).startswith(f"method.{name}.attack.eps: -1 ")


def test_a_control_without_stop_at_is_refused(path: Path) -> None:
    path.write_text(yaml.safe_dump(changed(("method.underfit.stop_at", GONE)), sort_keys=False))
    message = message_of(path)
    assert message.startswith("method.underfit.stop_at: ")
    assert "standard, fgsm_8, pgd_linf_8, pgd_l2" in message


def test_a_control_whose_reference_is_not_run_is_refused(path: Path) -> None:
    path.write_text(
        yaml.safe_dump(changed(("run.methods", ["standard", "fgsm_8"])), sort_keys=False)
    )
    message = message_of(path)
    assert message.startswith("method.underfit.stop_at: 'pgd_linf_8' ")
    assert "standard, fgsm_8" in message


def test_several_workers_need_a_storage_that_all_nodes_share(path: Path) -> None:
    workers = ("method.pgd_linf_8.workers", 2)
    path.write_text(yaml.safe_dump(changed(workers), sort_keys=False))
    message = message_of(path)
    assert message.startswith("ray.storage: null is not allowed while method.pgd_linf_8.workers ")
    assert "s3://bucket/prefix" in message
    for storage in ("/mnt/shared", "s3://bucket/prefix"):
        params = load_changed(path, workers, ("ray.storage", storage))
        assert params.method["pgd_linf_8"].workers == 2
        assert params.ray.storage == storage


@pytest.mark.parametrize("key", ["robustness", "auto_attack"])
def test_an_attack_named_twice_is_refused(path: Path, key: str) -> None:
    entry = changed()["evaluate"]["robustness"][0] if key == "robustness" else AUTO
    twice = [entry, entry | {"eps": "16/255"}, entry | {"eps": float(Fraction(entry["eps"]))}]
    path.write_text(yaml.safe_dump(changed((f"evaluate.{key}", twice)), sort_keys=False))
    assert message_of(path) == (
        f"evaluate.{key}.2: norm linf with eps {twice[2]['eps']:g} is not allowed again after "
        f"{key}.0; predictions are told apart by norm and eps alone"
    )


NO_PARAMS = {
    "not YAML": "run: [shapes",
    "a tab": "run:\n\tseed: 0\n",
    "unknown alias": "run: *nothing",
    "empty": "",
    "a list": "- run\n- method\n",
    "a word": "params",
    "control characters": "run: \x00",
}


@pytest.mark.parametrize("text", NO_PARAMS.values(), ids=NO_PARAMS.keys())
def test_a_file_that_is_no_mapping_is_refused(path: Path, text: str) -> None:
    path.write_text(text)
    message = message_of(path)
    assert message.strip(": ") == message  # something stands before every colon
    assert len(message) > 20


def test_a_file_that_is_no_text_is_refused(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00run")
    assert "UTF-8" in message_of(path) or "YAML" in message_of(path)


def test_a_missing_file_is_refused(path: Path) -> None:
    assert message_of(path).startswith("no such file")


def sections(of: type[Section] = Section) -> Iterator[type[Section]]:
    for section in of.__subclasses__():
        yield section
        yield from sections(section)


@pytest.mark.parametrize("section", list(sections()), ids=lambda section: section.__name__)
def test_checks_give_no_default_that_could_decide_a_result(section: type[Section]) -> None:
    # Stages do not depend on the checks (.dvcignore): another default here would change results
    # that DVC takes for current.
    for name, key in section.model_fields.items():
        assert key.is_required() or key.get_default(call_default_factory=True) in (None, []), name


@pytest.mark.parametrize("name", ["clean", "learning", "shape_bias_by_class", "salience_gradient"])
def test_variants_are_called_like_nothing_else_in_the_report(path: Path, name: str) -> None:
    values = changed()
    values["variant"][name] = values["variant"]["saturated"]
    path.write_text(yaml.safe_dump(values))
    assert message_of(path) == (
        f"variant.{name}: the name is taken by the predictions or a picture of the report; "
        "choose another"
    )
