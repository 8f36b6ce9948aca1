"""One module per DVC stage: reads its files, spreads atcore's work over Ray, writes its outs.

Imports atcore, and from the folders here what computes nothing; no other stage.
"""

import sys
from types import TracebackType


def _told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Of Ctrl-C, at whatever moment, say what matters; Python then ends with the signal (130)."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted; run again to go on", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


# Here, as importing what a command needs is half of what many of them do.
sys.excepthook = _told
