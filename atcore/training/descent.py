"""Stochastic gradient descent on one network, by one worker or by several that act as one."""

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from atcore.training.losses import Network
from atcore.training.spec import TrainingSpec


class Descent:
    """The steps of SGD on a network, and what they keep from one to the next.

    Each method is a function of tensors that can be recorded (`atcore.training.recorded`). Those
    that take a `network` get the one that learns as a function from images to float32 logits. What
    the methods that return a pair return is the mean loss, and which answers are right, on the
    device.
    """

    def __init__(self, model: nn.Module, spec: TrainingSpec) -> None:
        self.model, self.spec = model, spec
        self.parameters = list(model.parameters())
        # As the first step would leave them, so that a recorded one finds what it changes.
        self.momenta = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.statistics: list[Tensor] = []
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                self.statistics += [module.running_mean, module.running_var]

    @property
    def state(self) -> list[Tensor]:
        """The tensors that the steps change."""
        return [*self.model.state_dict().values(), *self.momenta]

    def alone(
        self, network: Network, clean: Tensor, attacked: Tensor, y: Tensor, rate: float | Tensor
    ) -> tuple[Tensor, Tensor]:
        """A step of a worker that is the only one."""
        results = self._backward(network, clean, attacked, y, 1.0)
        self._step(rate)
        return results

    def contribution(
        self, network: Network, clean: Tensor, attacked: Tensor, y: Tensor, weight: float | Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """A pair, and this worker's share of what all of them take their step with.

        Args:
            weight: of this worker's images among those of all.

        Returns:
            Mean loss, right answers, and the summands for `together`, in one tensor.
        """
        pair = self._backward(network, clean, attacked, y, weight)
        for statistic in self.statistics:
            statistic.mul_(weight)
        return *pair, torch.cat([tensor.flatten() for tensor in self._common()])

    def together(self, sums: Tensor, rate: float | Tensor) -> tuple[()]:
        """The step of every worker, with the sums over what all of them contributed."""
        tensors = self._common()
        totals = sums.split([tensor.numel() for tensor in tensors])
        for tensor, total in zip(tensors, totals, strict=True):
            tensor.copy_(total.view_as(tensor))
        self._step(rate)
        return ()

    def _backward(
        self, network: Network, clean: Tensor, attacked: Tensor, y: Tensor, weight: float | Tensor
    ) -> tuple[Tensor, Tensor]:
        """Leave the gradients of the mean loss times a weight with the parameters."""
        loss, logits = self.spec.loss(network, clean, attacked, y)
        for parameter in self.parameters:
            parameter.grad = None
        (loss * weight).backward()
        return loss.detach(), logits.detach().argmax(1) == y

    def _common(self) -> list[Tensor]:
        """What is the same on all workers after a step: gradients, and running statistics."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        return [*gradients, *self.statistics]

    @torch.no_grad()
    def _step(self, rate: float | Tensor) -> None:
        """Not by `torch.optim.SGD`, which imports torch's compiler and looks for hooks."""
        moved = [
            (parameter, parameter.grad, momentum)
            for parameter, momentum in zip(self.parameters, self.momenta, strict=True)
            if parameter.grad is not None
        ]
        parameters, gradients, momenta = (list(each) for each in zip(*moved, strict=True))
        sgd(
            parameters,
            gradients,
            momenta,
            # One kernel, which on a GPU takes the learning rate from the device.
            fused=True,
            lr=rate.float() if isinstance(rate, Tensor) else rate,
            momentum=self.spec.momentum,
            weight_decay=self.spec.weight_decay,
            nesterov=self.spec.momentum > 0,
            dampening=0,
            maximize=False,
        )
