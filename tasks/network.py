"""Stage `network`: a network that was trained elsewhere, checked and made one of this project's.

Writes the folder of a trained network, and in the place of what a training leaves what is known of
it (`atcore.foreign.given.Facts`).
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from atcore.base.files import write_text
from atcore.foreign.given import Facts, Given
from atcore.images.stored import StoredTable
from tasks import params
from tasks.cluster import pool
from tasks.cluster.tables import SharedTable, shared
from tasks.params import GIVEN_SEED
from tasks.workspace import paths, trained

if TYPE_CHECKING:
    from atcore.foreign.taking import Taken

# Validation images on which it is checked: enough to tell what it has learned from a guess.
_IMAGES = 400


def _take_in(given: Given, images: SharedTable, chosen: NDArray[np.int64]) -> "Taken":
    # Here, as the process that only waits for it starts in a third of the time without torch.
    import torch  # noqa: PLC0415

    from atcore.foreign.taking import take_in  # noqa: PLC0415

    # Sums, and so what is said of the network, must not depend on the number of threads.
    torch.set_num_threads(1)
    table = images.rows(chosen)
    pixels, labels = torch.from_numpy(table.images), torch.from_numpy(table.labels).long()
    return take_in(given, table.classes, pixels, labels)


def _origin(facts: Facts) -> dict[str, str]:
    """The rows of the model card."""
    return {
        "origin": f"`{facts.source}`, not trained here",
        "architecture": facts.architecture,
        "parameters": f"{facts.parameters:,}",
        **({"remarks": " ".join(facts.remarks)} if facts.remarks else {}),
    }


def main(dataset: str, network: str) -> None:
    """
    Raises:
        UserError: a name is unknown, or the network cannot be used (`atcore.foreign.taking`).
    """
    settings = params.load()
    settings.require(dataset=dataset, network=network)
    given = Given(name=network, folder=paths.NETWORKS, **settings.network[network].model_dump())
    validation = StoredTable(paths.split(dataset, "validation"))
    chosen = np.sort(validation.evenly(_IMAGES))
    with pool.connect():
        images = shared(validation, settings.ray.cache)
        taken = pool.call(_take_in, given, images, chosen)
    for remark in taken.facts.remarks:
        print(f"{network}: {remark}")
    write_text(paths.training(dataset, network, GIVEN_SEED), taken.facts.to_json())
    trained.write(dataset, network, GIVEN_SEED, taken.spec, taken.weights, _origin(taken.facts))
