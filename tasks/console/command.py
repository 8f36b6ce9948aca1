"""What the commands of the project have in common: arguments, and how they end."""

import os
import sys
from collections.abc import Callable

from atcore.base.errors import UserError
from tasks.processes import disk, dvc
from tasks.processes.child import forked
from tasks.processes.holder import HeldError
from tasks.processes.service import NotStartedError

# How often work is begun whose cluster is lost.
_TRIES = 3


class LostMachineError(Exception):
    """A machine of the cluster was lost and with it this stage, which is worth another try."""


def _arguments(names: tuple[str, ...]) -> list[str]:
    given, flags = sys.argv[1:], [name.startswith("--") for name in names]
    shown = [name if flag else name.upper() for name, flag in zip(names, flags, strict=True)]
    program = sys.modules["__main__"]
    module = program.__spec__.name.removesuffix(".__main__") if program.__spec__ else "?"
    usage = f"usage: python -m {' '.join([module, *shown])}"
    if not {"-h", "--help"}.isdisjoint(given):
        print(f"{usage}\n\n{(program.__doc__ or '').strip()}")
        sys.exit(0)
    if len(given) != len(names) or any(
        flag and word != name for word, name, flag in zip(given, names, flags, strict=True)
    ):
        print(usage, file=sys.stderr)
        sys.exit(2)
    return [word for word, flag in zip(given, flags, strict=True) if not flag]


def _call(main: Callable[..., object], arguments: list[str]) -> None:
    # Around the others, as a mistake's line may quote the operating system's words.
    with disk.telling():
        try:
            main(*arguments)
        except (UserError, HeldError) as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        except (LostMachineError, NotStartedError) as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(os.EX_TEMPFAIL)


def run(main: Callable[..., object], *names: str) -> None:
    """Call `main` with the command's arguments, one for each of `names`; explain it for `--help`.

    A name such as `--to` stands for itself and is no argument of `main`. A user's mistake or a full
    disk ends in one line on standard error and exit status 2, a lost machine or a cluster that did
    not start in one line and the status EX_TEMPFAIL. So does a lost cluster of `RAY_ADDRESS`; if it
    was a local one, `main` is called again, which finds or starts another one.
    """
    arguments = _arguments(names)
    address = os.environ.get("RAY_ADDRESS")
    for others in reversed(range(_TRIES)):
        # Ray ends a process whose cluster is lost at once and without a word.
        ended = forked()
        if ended is None:
            return _call(main, arguments)
        if ended.in_order or ended.status <= 0:
            ended.follow()
        if address or not others or dvc.has_ended():
            break
        print("the Ray cluster of this command was lost; beginning again", file=sys.stderr)
    which = f"at {address}" if address else "of this command"
    print(f"error: the Ray cluster {which} was lost", file=sys.stderr)
    os._exit(os.EX_TEMPFAIL)
