"""From the outputs of a network to the classes of a dataset."""

import json
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import torch
from torch import Tensor, nn

from atcore.base.errors import UserError
from atcore.base.wording import some
from atcore.foreign.files import content
from atcore.foreign.given import Given


@dataclass(frozen=True)
class Outputs:
    """What a network's outputs are.

    Attributes:
        names: of the outputs, in order.
        members: for each class of the dataset the outputs that speak for it.
        remarks: sentences on what becomes of the others.
    """

    names: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]
    remarks: tuple[str, ...] = ()

    @property
    def are_the_classes(self) -> bool:
        return self.members == tuple((i,) for i in range(len(self.names)))


def _listed(given: Given, file: Path) -> tuple[str, ...]:
    text = content(file).decode("utf-8-sig", errors="replace")
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not names:
        raise UserError(f"{file}: no names in it; network.{given.name}.classes has one a line")
    return names


def _mapping(file: Path) -> dict[str, list[str]]:
    try:
        found = json.loads(content(file))
    except ValueError:
        found = None
    if isinstance(found, dict) and all(
        isinstance(group, list) and all(isinstance(name, str) for name in group)
        for group in found.values()
    ):
        return found
    raise UserError(
        f'{file}: no mapping; it is JSON like {{"bird": ["robin", "jay"], ...}}: for each class of '
        "the dataset the outputs that speak for it"
    )


def _index(name: str, names: tuple[str, ...], where: str, key: str) -> int:
    count = names.count(name)
    if count == 1:
        return names.index(name)
    if count > 1:
        raise UserError(f"{where}: {name!r} is the name of {count} outputs; name them apart")
    near = get_close_matches(name, names, 1)
    hint = f"near is {near[0]!r}" if near else f"there are {some(names)}"
    raise UserError(
        f"{where}: no output is called {name!r} ({hint}); give the outputs' names in {key}"
    )


def wrong_count(given: Given, file: Path, count: int, names: int) -> UserError:
    """What to say of a network that has another number of outputs than there are names for."""
    return UserError(
        f"network.{given.name}.classes: {file.name} has {count} outputs, but there are {names} "
        "names for them; it names a file that lists them all, one a line"
    )


def outputs(given: Given, found: tuple[str, ...] | None, classes: tuple[str, ...]) -> Outputs:
    """How outputs become classes.

    Args:
        found: the names of the outputs in the network's file, if it has them.
        classes: of the dataset.

    Raises:
        UserError: a file is missing or no list or mapping, or a class has no output.
    """
    key = f"network.{given.name}.classes"
    listed = given.folder / given.classes if given.classes else None
    names = _listed(given, listed) if listed else (found or classes)
    where = str(listed) if listed else key
    if given.groups is None:
        dropped = [name for name in names if name not in classes]
        said = f"Of its {len(names)} outputs {len(dropped)} are dropped: {some(dropped)}."
        return Outputs(
            names,
            tuple((_index(name, names, where, key),) for name in classes),
            (said,) if dropped else (),
        )
    file = given.folder / given.groups
    groups = _mapping(file)
    empty = [name for name in classes if not groups.get(name)]
    if empty:
        raise UserError(f"{file}: no outputs for the class {empty[0]!r}; name one at least")
    members = [[_index(each, names, str(file), key) for each in groups[name]] for name in classes]
    said = (
        f"Of its {len(names)} outputs {len({i for group in members for i in group})} are grouped "
        f"into {len(classes)} classes by their mean probability."
    )
    return Outputs(names, tuple(map(tuple, members)), (said,))


class Grouped(nn.Module):
    """Logits of classes, N x K, from those of a network, N x outputs.

    Those of a class are its outputs' mean probability, by which Geirhos et al. 2019 ("ImageNet-
    trained CNNs are biased towards texture") decide between 16 classes with ImageNet's 1,000: its
    logarithm, without the sum over all outputs, which is the same for all classes. So a class of
    one output has that one's logit, and softmax gives the mean probabilities, scaled to sum to 1.
    """

    index: Tensor
    missing: Tensor
    offset: Tensor

    def __init__(self, members: tuple[tuple[int, ...], ...]) -> None:
        super().__init__()
        most = max(map(len, members))
        padded = [[*group, *[group[0]] * (most - len(group))] for group in members]
        missing = [[i >= len(group) for i in range(most)] for group in members]
        self.register_buffer("index", torch.tensor(padded))
        self.register_buffer("missing", torch.tensor(missing))
        self.register_buffer("offset", torch.tensor([len(group) for group in members]).log())

    def forward(self, logits: Tensor) -> Tensor:
        if self.index.shape[1] == 1:
            return logits[:, self.index[:, 0]]
        each = logits[:, self.index].masked_fill(self.missing, float("-inf"))
        return each.logsumexp(dim=2) - self.offset
