"""Data-parallel training: processes that share every batch and take every step together.

Synchronous SGD by one message per step, which holds the sum of all workers' gradients and running
statistics. It is written out instead of wrapping the network in DistributedDataParallel because
slices of a batch may differ in size, the attack needs the bare network, and there is little to
overlap: of the passes of a PGD step only the last one communicates.
"""

from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor


@dataclass(frozen=True)
class Workers:
    """This process among the `count` that train one network.

    More than one have to be members of torch.distributed's default process group.

    Attributes:
        rank: number of this process, 0 to count - 1.
        count: number of processes.
    """

    rank: int = 0
    count: int = 1

    def share(self, items: int) -> tuple[slice, int]:
        """This worker's part of a batch, and how many items of it count.

        The parts are as equal as possible. A worker for which nothing is left takes the first item,
        which then does not count, so that it can take part in every message.
        """
        start, end = (items * rank // self.count for rank in (self.rank, self.rank + 1))
        return (slice(start, end), end - start) if end > start else (slice(0, 1), 0)

    def all(self, holds: bool, device: torch.device) -> bool:
        """Whether something holds on every worker."""
        count = torch.tensor(int(holds), device=device)
        self.sum(count)
        return count.item() == self.count

    def sum(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over all workers.

        The sum is the same bits on every worker and in every run with as many workers.
        """
        if self.count > 1:
            torch.distributed.all_reduce(tensor)
