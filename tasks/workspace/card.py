"""The model card beside the weights of a network, for whoever finds them without the workspace.

It repeats what decides something elsewhere; so its wording is plumbing, and makes nothing stale.
"""

from collections.abc import Mapping

from atcore.base.wording import some
from atcore.networks.architecture import ModelSpec

_USE = """
## Use

Input: float32, N x 3 x {side} x {side}, RGB in [0, 1]; the network normalises it itself. Output:
N x {classes} logits, in the order of `classes` in `model.json`.

```python
import atcore

network = atcore.load("{folder}")
x = network.image("photograph.jpg")
print(network.classes[network(x).argmax(1)])
```
"""


def card(dataset: str, method: str, seed: int, spec: ModelSpec, origin: Mapping[str, str]) -> str:
    """Markdown; of equal networks equal text.

    Args:
        origin: how the network came to be, by what it says: the rows of a table.
    """
    rows = {
        **origin,
        "images": f"{spec.image_size} x {spec.image_size} px, RGB",
        "classes": f"{len(spec.classes)}: {some(spec.classes, 10)}",
    }
    cells = ((name, text.replace("|", "\\|")) for name, text in rows.items())
    table = [f"| {name} | {text} |" for name, text in cells]
    use = _USE.format(
        side=spec.image_size,
        classes=len(spec.classes),
        folder=f"models/{dataset}/{method}/{seed}",
    )
    return "\n".join(
        [f"# {method} on {dataset}, seed {seed}", "", "| | |", "|---|---|", *table, use]
    )
