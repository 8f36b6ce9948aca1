"""How networks are trained and what they are asked: as `params.yaml` says of CIFAR-10."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from atcore.attacks.norms import threat_model
from atcore.attacks.pgd import PGD
from atcore.training.spec import TrainingSpec

DATASET = "cifar10"
METHODS = ("standard", "pgd_linf_8", "pgd_l2_8", "fgsm_8")
VARIANTS = (
    *("stylized", "saturated", "patch_shuffled", "cue_conflict"),
    *("brightness", "edges", "low_pass", "high_pass"),
)
_PARAMS = Path(__file__).parents[2] / "params.yaml"


@dataclass(frozen=True)
class Size:
    """How much is computed: what a rehearsal makes smaller.

    Attributes:
        epochs: of every training.
        images: of the training and the test split each, at most; None takes all.
        validation: images held out of the training images.
        architecture: of every network.
        attack_steps: of PGD while training.
    """

    epochs: int = 25
    images: int | None = None
    validation: int = 5000
    architecture: str = "resnet18"
    attack_steps: int = 10

    @property
    def amounts(self) -> dict[str, int | None]:
        return {"train": self.images, "validation": self.validation, "test": self.images}


def settings(size: Size) -> dict[str, Any]:
    """`params.yaml` with a run of what is computed here; the stage `report` takes it in OUT."""
    params: dict[str, Any] = yaml.safe_load(_PARAMS.read_text("utf-8"))
    params["run"] |= {
        "datasets": [DATASET],
        "methods": list(METHODS),
        "controls": [],
        "variants": list(VARIANTS),
    }
    if find_spec("captum") is None:
        del params["salience"]["measured"]["integrated_gradients"]
    params["dataset"][DATASET]["images"] = size.amounts
    params["dataset"][DATASET]["training"] |= {
        "architecture": size.architecture,
        "epochs": size.epochs,
        "attack_steps": size.attack_steps,
    }
    return params


def number(value: float | str) -> float:
    """A number of `params.yaml`, where fractions such as 8/255 are allowed."""
    if not isinstance(value, str):
        return value
    above, _, below = value.partition("/")
    return float(above) / float(below or 1)


def training_spec(params: dict[str, Any], method: str) -> TrainingSpec:
    """What `tasks.train` makes of the parameters of a method on CIFAR-10."""
    dataset, chosen = params["dataset"][DATASET], params["method"][method]
    data, asked = dataset["training"], chosen.get("attack")
    attack = validation = None
    if asked is not None:
        eps = number(asked["eps"])
        if "at" in asked:
            eps *= dataset["image_size"] / asked["at"]
        threat = threat_model(asked["norm"], eps)
        is_pgd, steps = asked["kind"] == "pgd", params["training"]["validation_steps"]
        attack = PGD(
            threat=threat,
            step_size=number(asked.get("step_size", 1)) * eps,
            steps=data["attack_steps"] if is_pgd else 1,
            random_start=is_pgd,
        )
        validation = PGD(threat=threat, step_size=2.5 * eps / steps, steps=steps)
    return TrainingSpec(
        epochs=data["epochs"],
        batch_size=data["batch_size"],
        learning_rate=chosen["learning_rate"] * data["learning_rate_factor"],
        momentum=chosen["momentum"],
        weight_decay=chosen["weight_decay"],
        attack=attack,
        attack_mode=params["training"]["attack_mode"],
        validation_attack=validation,
        augment=data["augment"],
        precision=data["precision"],
        threads=data["threads"],
        seed=params["run"]["seeds"][0],
        eps_warmup=number(chosen["eps_warmup"]),
        schedule=chosen["schedule"],
        ema=chosen["ema"],
    )


def evaluation_attacks(params: dict[str, Any]) -> list[tuple[str, PGD]]:
    """The attacks on test images, each with its norm."""
    found = []
    for asked in params["evaluate"]["robustness"]:
        eps = number(asked["eps"])
        step_size = number(asked["step_size"]) * eps
        threat = threat_model(asked["norm"], eps)
        found.append((asked["norm"], PGD(threat=threat, step_size=step_size, steps=asked["steps"])))
    return found
