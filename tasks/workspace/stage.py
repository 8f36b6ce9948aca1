"""The command of a stage."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from tasks.console import command
from tasks.params.recorded import staying
from tasks.processes.holder import shared


def run(main: Callable[..., object], *names: str) -> None:
    """The command of a stage in `dvc.yaml`, whose matrix has these names.

    It keeps others from taking the workspace meanwhile, and fails if a parameter changes that DVC
    records for it.
    """

    def within(*arguments: str) -> None:
        item = dict(zip(names, arguments, strict=True))
        with shared(Path.cwd()), staying(item):
            main(*arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        # Python would take another quarter of a second to free what the system takes back anyway.
        os._exit(os.EX_OK)

    command.run(within, *names)
