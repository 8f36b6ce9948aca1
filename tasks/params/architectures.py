"""Names of networks, which `atcore.networks.models` builds."""

from difflib import get_close_matches

# torchvision's networks for classification, without the seconds that asking it takes.
_NAMES = """
    alexnet convnext_base convnext_large convnext_small convnext_tiny densenet121 densenet161
    densenet169 densenet201 efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3
    efficientnet_b4 efficientnet_b5 efficientnet_b6 efficientnet_b7 efficientnet_v2_l
    efficientnet_v2_m efficientnet_v2_s googlenet inception_v3 maxvit_t mnasnet0_5 mnasnet0_75
    mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_large mobilenet_v3_small regnet_x_16gf
    regnet_x_1_6gf regnet_x_32gf regnet_x_3_2gf regnet_x_400mf regnet_x_800mf regnet_x_8gf
    regnet_y_128gf regnet_y_16gf regnet_y_1_6gf regnet_y_32gf regnet_y_3_2gf regnet_y_400mf
    regnet_y_800mf regnet_y_8gf resnet101 resnet152 resnet18 resnet34 resnet50 resnext101_32x8d
    resnext101_64x4d resnext50_32x4d shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5
    shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1 swin_b swin_s swin_t swin_v2_b swin_v2_s
    swin_v2_t vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn vit_b_16 vit_b_32
    vit_h_14 vit_l_16 vit_l_32 wide_resnet101_2 wide_resnet50_2
"""
TORCHVISION = tuple(_NAMES.split())
_OWN = ("small", "vgg", "preact_resnet18", "wide_resnet28_10", "wide_resnet34_10")
ARCHITECTURES = (*_OWN, *TORCHVISION)
# Of networks that are not trained here: how names of timm begin, and what a user's file builds.
TIMM, OWN = "timm/", "own"


def has_feature_maps(architecture: str) -> bool:
    """Whether it averages feature maps over all places, which is where Grad-CAM looks."""
    return not architecture.removeprefix(TIMM).startswith("vit_")


def _unknown(name: str, allowed: str) -> ValueError:
    closest = get_close_matches(name, ARCHITECTURES, cutoff=0.5) or ["resnet18"]
    return ValueError(
        f"{name!r} is not allowed; give {allowed} or a network of torchvision; "
        f"the closest: {', '.join(closest)}"
    )


def known(name: str) -> str:
    """The name itself.

    Raises:
        ValueError: there is no such network.
    """
    if name in ARCHITECTURES:
        return name
    raise _unknown(name, ", ".join(_OWN))


def known_or_given(name: str) -> str:
    """The name itself: also of a network of timm, or `own`, which a file of the user builds.

    Raises:
        ValueError: there is no such network, as far as can be said without timm.
    """
    if name in ARCHITECTURES or name == OWN or name.removeprefix(TIMM) not in (name, ""):
        return name
    raise _unknown(name, f"{OWN}, {TIMM}NAME, {', '.join(_OWN)}")
