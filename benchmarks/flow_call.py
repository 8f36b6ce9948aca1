"""`python -m benchmarks.flow_call '{"jobs": 2}'` runs the flow in this folder, and times its call.

Prints how the run ended, the seconds from the call to its end, and those of planning it once more.
"""

import json
import sys
import time
from pathlib import Path

from flows.parameters import PARAMS
from flows.pipeline import Pipeline
from flows.reproduce import reproduce


def main(arguments: str) -> None:
    started = time.perf_counter()
    state = reproduce(**json.loads(arguments), return_state=True)
    called = time.perf_counter() - started
    started = time.perf_counter()
    Pipeline(Path.cwd(), Path(PARAMS).absolute()).plan([], force=False)
    print("MEASURED", state.type.value, called, time.perf_counter() - started)


if __name__ == "__main__":
    main(*sys.argv[1:])
