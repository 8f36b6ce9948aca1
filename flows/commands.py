"""Commands of stages as child processes that end with the flow, however it ends."""

import os
import subprocess
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from pathlib import Path

from tasks.processes.tether import tethered


class Commands:
    """All commands of one flow run, which can be stopped together.

    Args:
        keep: descriptors that stay open until each command has ended.
    """

    def __init__(self, keep: Collection[int]) -> None:
        self._keep = keep
        self._turn = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def run(
        self,
        command: list[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        on_line: Callable[[str], None],
    ) -> int:
        """Run a command and return its exit status (128 + N if signal N ended it).

        Args:
            env: added to this process's environment.
            on_line: called with each line of its output.

        Raises:
            StoppedError: all commands are being stopped, this one too.
        """
        with ExitStack() as stack:
            with self._turn:
                if self._stopped:
                    raise StoppedError
                process = stack.enter_context(
                    tethered(
                        command,
                        cwd=cwd,
                        env=os.environ | env,
                        output=subprocess.PIPE,
                        keep=self._keep,
                    )
                )
                self._running.add(process)
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    on_line(line.decode(errors="replace").rstrip())
                status = process.wait()
            finally:
                with self._turn:
                    self._running.discard(process)
            if self._stopped:
                raise StoppedError
            return status

    def stop(self) -> None:
        """End all commands and refuse new ones."""
        with self._turn:
            self._stopped = True
            for process in self._running:
                process.terminate()


class StoppedError(Exception):
    """The run is being stopped."""
