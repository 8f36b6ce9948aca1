"""`params.yaml`, read and checked: the only configuration of what is computed.

Modules are named after the sections that they describe: `run` (and `paper`), `dataset`, `method`
(and `training`), `network`, `variant` (and `stylizer`), `evaluate` (and `quality`, `salience`);
`attack` has the attacks of `method` and of `evaluate`. What fits together within a section is
checked there, what sections say of each other in `document`. `reading` finds the line that says
what is wrong.

As a command, `python -m tasks.params` checks the file and computes nothing.
"""

from tasks.params.attack import (
    AutoAttacked,
    FgsmAttack,
    FreeAttack,
    Robustness,
    Threat,
    TrainingThreat,
)
from tasks.params.dataset import Dataset, DatasetTraining
from tasks.params.document import Params
from tasks.params.evaluate import Salience
from tasks.params.method import Method, TradesLoss
from tasks.params.network import Network
from tasks.params.reading import load, seed
from tasks.params.run import GIVEN_SEED
from tasks.params.variant import IMAGENET, Stylized, Stylizer

__all__ = [
    "GIVEN_SEED",
    "IMAGENET",
    "AutoAttacked",
    "Dataset",
    "DatasetTraining",
    "FgsmAttack",
    "FreeAttack",
    "Method",
    "Network",
    "Params",
    "Robustness",
    "Salience",
    "Stylized",
    "Stylizer",
    "Threat",
    "TradesLoss",
    "TrainingThreat",
    "load",
    "seed",
]
