"""What the commands of the project have in common, above all those of the stages."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from atcore.errors import UserError
from tasks import disk, workspace
from tasks.params.recorded import staying


class LostMachineError(Exception):
    """A machine of the cluster was lost and with it this stage, which is worth another try."""


def command(main: Callable[..., object], *names: str) -> None:
    """Call `main` with the command's arguments, one for each of `names`.

    A user's mistake or a full disk ends in one line on standard error and exit status 2, a lost
    machine in one line and the status EX_TEMPFAIL.
    """
    arguments = sys.argv[1:]
    if len(arguments) != len(names):
        program = sys.modules["__main__"].__spec__
        module = program.name.removesuffix(".__main__") if program else "?"
        print(f"usage: python -m {' '.join([module, *map(str.upper, names)])}", file=sys.stderr)
        sys.exit(2)
    try:
        with disk.telling():
            main(*arguments)
    except (UserError, workspace.HeldError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except LostMachineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(os.EX_TEMPFAIL)


def run(main: Callable[..., object], *names: str) -> None:
    """The command of a stage in `dvc.yaml`, whose matrix has these names.

    It keeps others from taking the workspace meanwhile, and fails if a parameter changes that DVC
    records for it.
    """

    def within(*arguments: str) -> None:
        item = dict(zip(names, arguments, strict=True))
        with workspace.shared(Path.cwd()), staying(item):
            main(*arguments)

    command(within, *names)
