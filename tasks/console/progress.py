"""Progress of long work: a bar in a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

# A log gets a line at most this often, and one at the end.
_SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def track(label: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """Show the progress of `total` pieces; yields `advance(pieces, detail)`."""
    console = Console()
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}"),
        )
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task(label, total=total, detail="")
            yield lambda pieces, detail: progress.update(bar, advance=pieces, detail=detail)
        return

    done, last = 0, 0.0

    def advance(pieces: int, detail: str) -> None:
        nonlocal done, last
        done += pieces
        if done >= total or time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            print(f"{label}: {done}/{total} {detail}".rstrip(), flush=True)

    yield advance
