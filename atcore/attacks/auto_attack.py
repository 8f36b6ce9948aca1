"""AutoAttack, the field's standard measure of robustness: four attacks with nothing to tune.

Source: Croce & Hein 2020, arXiv 2003.01690, section 5, as the authors' code, which the package
`pyautoattack` distributes, implements it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from atcore.attacks.threats import L2, Linf

# Target classes of an image, the most probable ones first.
_TARGETS = 9


@dataclass(frozen=True)
class AutoAttack:
    """The standard ensemble: APGD-CE, APGD-T, FAB-T, Square.

    Each attack gets the images that all before it have failed on. With fewer than ten classes the
    targeted attacks aim at every wrong one.

    Attributes:
        threat: the ball that the perturbation stays in, of a radius above 0.
    """

    threat: Linf | L2

    def perturb(self, model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Adversarial images, a function of the arguments (and of what else is in the batch).

        torch's global random numbers, which the library draws from, are left as they were.

        Args:
            model: maps N x C x H x W in [0, 1] to N x classes logits, of at least four classes;
                deterministic, in eval mode.
            x: float32 images in [0, 1].
            y: labels, int64, N.
            seed: 0 to 2**63 - 1.

        Returns:
            float32 images in [0, 1] within eps of x; those that stand every attack, and those
            that are misclassified without one, as they were.
        """
        # All else of the evaluation does without the package.
        from pyautoattack import AutoAttack as Ensemble  # noqa: PLC0415

        with torch.no_grad():
            classes = model(x[:1]).shape[1]
        norm = "Linf" if isinstance(self.threat, Linf) else "L2"
        ensemble = Ensemble(model, norm=norm, eps=self.threat.eps, seed=seed, device=x.device)
        targets = min(_TARGETS, classes - 1)
        ensemble.apgd_targeted.n_target_classes = ensemble.fab.n_target_classes = targets
        devices = [x.device] if x.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            # It flattens images by `view`, which channels last in memory do not allow.
            adversarial: Tensor
            adversarial, _ = ensemble.run_standard_evaluation(x.contiguous(), y, batch_size=len(x))
        return adversarial
