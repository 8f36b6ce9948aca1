"""The command of a stage of dvc.yaml; `python -m tasks STAGE --help` says what it does."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pkgutil import iter_modules

import tasks
from tasks.cluster import kept, prepared
from tasks.console import command
from tasks.processes.child import Ended, forked
from tasks.processes.service import NotStartedError
from tasks.workspace.stage import work


def _begun(words: Sequence[str]) -> Ended | None:
    """As `forked`, but where the run's cluster can do that, in a process with all imports done."""
    own = None
    with suppress(NotStartedError, OSError):  # The child meets the same, and says so.
        own = kept.environment(start=False)
    return prepared.ended(os.environ | (own or {}), words) or forked()


def main() -> None:
    stages = [each.name for each in iter_modules(tasks.__path__) if not each.ispkg]
    stages.remove("__main__")
    usage = f"usage: python -m tasks STAGE [NAME ...]\n\nSTAGE is {', '.join(stages)}."
    match sys.argv[1:]:
        case ["-h" | "--help"]:
            print(f"{usage}\n\n{__doc__}")
        case [stage, *given] if stage in stages:
            command.attempts(partial(_begun, [stage, *given]), partial(work, stage, given))
        case _:
            print(usage, file=sys.stderr)
            sys.exit(2)


if __name__ == "__main__":
    main()
