"""What the commands of the project have in common: arguments, and how they end."""

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial

from atcore.base.errors import UserError
from tasks.processes import disk, dvc
from tasks.processes.child import Ended, forked
from tasks.processes.holder import HeldError
from tasks.processes.service import NotStartedError

# How often work is begun whose cluster is lost.
_TRIES = 3


class LostMachineError(Exception):
    """A machine of the cluster was lost and with it this stage, which is worth another try."""


def arguments(
    program: str, about: str | None, given: Sequence[str], names: Sequence[str]
) -> list[str]:
    """What is given for each of a command's names; those such as `--to` stand for themselves.

    Ends this process for `--help`, or where more or less is given, with the usage.

    Args:
        program: what Python is told after `-m`.
        about: what the command does.
    """
    flags = [name.startswith("--") for name in names]
    shown = [name if flag else name.upper() for name, flag in zip(names, flags, strict=True)]
    usage = f"usage: python -m {' '.join([program, *shown])}"
    if not {"-h", "--help"}.isdisjoint(given):
        print(f"{usage}\n\n{(about or '').strip()}")
        sys.exit(0)
    if len(given) != len(names) or any(
        flag and word != name for word, name, flag in zip(given, names, flags, strict=True)
    ):
        print(usage, file=sys.stderr)
        sys.exit(2)
    return [word for word, flag in zip(given, flags, strict=True) if not flag]


def call(main: Callable[..., object], *given: str) -> None:
    """Call `main`. A user's mistake or a full disk ends this process with one line and status 2, a
    lost machine or a cluster that did not start with one line and the status EX_TEMPFAIL.
    """
    # Around the others, as a mistake's line may quote the operating system's words.
    with disk.telling():
        try:
            main(*given)
        except (UserError, HeldError) as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        except (LostMachineError, NotStartedError) as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(os.EX_TEMPFAIL)


def attempts(begin: Callable[[], Ended | None], work: Callable[[], object]) -> None:
    """Work in a child, and begin again if its cluster is lost, which ends it without a word.

    Not if that is the cluster of `RAY_ADDRESS`: this process then ends with one line and the status
    EX_TEMPFAIL. Else it ends as its child does.

    Args:
        begin: returns as `forked` does.
    """
    address = os.environ.get("RAY_ADDRESS")
    for others in reversed(range(_TRIES)):
        ended = begin()
        if ended is None:
            work()
            return
        if ended.in_order or ended.status <= 0:
            ended.follow()
        if address or not others or dvc.has_ended():
            break
        print("the Ray cluster of this command was lost; beginning again", file=sys.stderr)
    which = f"at {address}" if address else "of this command"
    print(f"error: the Ray cluster {which} was lost", file=sys.stderr)
    os._exit(os.EX_TEMPFAIL)


def run(main: Callable[..., object], *names: str) -> None:
    """Call `main` with the command's arguments, one for each of `names`; explain it for `--help`.

    A name such as `--to` stands for itself and is no argument of `main`. It ends as `call` does,
    or as `attempts` does if its cluster is lost.
    """
    program = sys.modules["__main__"]
    module = program.__spec__.name.removesuffix(".__main__") if program.__spec__ else "?"
    given = arguments(module, program.__doc__, sys.argv[1:], names)
    attempts(forked, partial(call, main, *given))
