"""What a stage of dvc.yaml does in its process."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from inspect import signature
from pathlib import Path

from tasks.console import command
from tasks.processes.holder import shared


def work(stage: str, given: Sequence[str]) -> None:
    """Call `main` of the stage's module with what is given, the names of its matrix.

    Others are kept from taking the workspace meanwhile. The stage fails if a parameter changes that
    DVC records for it.
    """
    # Here, as they are what takes time to import.
    from tasks import params  # noqa: PLC0415
    from tasks.params.recorded import staying  # noqa: PLC0415

    module = import_module(f"tasks.{stage}")
    names = tuple(signature(module.main).parameters)
    words = command.arguments(f"tasks {stage}", module.__doc__, given, names)

    def within() -> None:
        item = dict(zip(names, words, strict=True))
        with shared(Path.cwd()), staying(item):
            numbers = {"seed": params.seed(item["seed"])} if "seed" in item else {}
            module.main(**item | numbers)
        sys.stdout.flush()
        sys.stderr.flush()
        # Python would take another quarter of a second to free what the system takes back anyway.
        os._exit(os.EX_OK)

    command.call(within)
