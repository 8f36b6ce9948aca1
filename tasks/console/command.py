"""What the commands of the project have in common: arguments, and how they end."""

import os
import sys
from collections.abc import Callable

from atcore.base.errors import UserError
from tasks.processes import disk
from tasks.processes.holder import HeldError
from tasks.processes.service import NotStartedError


class LostMachineError(Exception):
    """A machine of the cluster was lost and with it this stage, which is worth another try."""


def run(main: Callable[..., object], *names: str) -> None:
    """Call `main` with the command's arguments, one for each of `names`.

    A name such as `--to` stands for itself and is no argument of `main`. A user's mistake or a full
    disk ends in one line on standard error and exit status 2, a lost machine or a cluster that did
    not start in one line and the status EX_TEMPFAIL.
    """
    given, flags = sys.argv[1:], [name.startswith("--") for name in names]
    if len(given) != len(names) or any(
        flag and word != name for word, name, flag in zip(given, names, flags, strict=True)
    ):
        program = sys.modules["__main__"].__spec__
        module = program.name.removesuffix(".__main__") if program else "?"
        shown = [name if flag else name.upper() for name, flag in zip(names, flags, strict=True)]
        print(f"usage: python -m {' '.join([module, *shown])}", file=sys.stderr)
        sys.exit(2)
    arguments = [word for word, flag in zip(given, flags, strict=True) if not flag]
    try:
        with disk.telling():
            main(*arguments)
    except (UserError, HeldError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except (LostMachineError, NotStartedError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(os.EX_TEMPFAIL)
