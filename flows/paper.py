"""`python -m flows.paper DATASET [--dry]`: the paper's comparison, or what it costs.

Downloads the raw images where none are there and runs the flow with the selection that `paper` in
params.yaml has under this name, as the DVC experiment `paper-DATASET`.
"""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from flows import demo, tables
from flows.schedule import makespan

_PARAMS = Path("params.yaml")
_GIGABYTE = 1e9
# What DVC and Ray keep of every output beside the workspace's own copy.
_COPIES = 2


def _selection(name: str) -> dict[str, list[str]]:
    """What `paper` in params.yaml has under a name.

    Raises:
        ValueError: params.yaml is wrong or has nothing of that name; the message is one line.
    """
    checked = subprocess.run(
        [sys.executable, "-m", "tasks.params"], capture_output=True, text=True, check=False
    )
    if checked.returncode:
        raise ValueError(checked.stderr.strip().removeprefix("error: "))
    known = yaml.safe_load(_PARAMS.read_text(encoding="utf-8"))["paper"]
    if name not in known:
        raise ValueError(f"DATASET: {name!r} is unknown; allowed: {', '.join(known)}")
    # What it does not name is not selected, whatever `run` has.
    return {"networks": [], "transferred": [], "stylizers": [], **known[name]}


def _row(kind: str, stages: list[Mapping[str, Any]], found: Mapping[str, Any]) -> dict[str, str]:
    share = 1 if found["device"] == "GPU" else found["threads"]
    hours = sum(stage["seconds"] * stage["shares"] for stage in stages) * share / 3600
    size = sum(stage["bytes"] for stage in stages) / _GIGABYTE
    memory = max(stage["memory"] for stage in stages) / _GIGABYTE
    return {
        "stages": kind,
        "number": str(len(stages)),
        f"{found['device']} hours": f"{hours:.2f}",
        "GB": f"{size:.2f}",
        "GB of memory": f"{memory:.1f}" if memory else "",
    }


def _memory(found: Mapping[str, Any]) -> str:
    """What the stages that take most take at once, or a warning that it is too much."""
    place, machine = "GPU" if found["device"] == "GPU" else "machine", found["machine"]
    name, most = max(
        ((name, stage["memory"]) for name, stage in found["stages"].items()),
        key=lambda stage: stage[1],
    )
    takes, has = machine["jobs"] * most / _GIGABYTE, machine["memory"] / _GIGABYTE
    said = f"{takes:.1f} GB at most, for {name.partition('@')[0]}; a {place} has {has:.1f}"
    if takes <= has:
        return f"total memory: {said}"
    return f"warning: too much memory: {said}; lower batch_size, evaluate.shard or jobs"


def table(found: Mapping[str, Any]) -> str:
    """What `tasks.cost` found, per kind of stage and in total."""
    kinds: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for name, stage in found["stages"].items():
        kinds[name.partition("@")[0]].append(stage)
    everything = list(found["stages"].values())
    rows = [_row(kind, stages, found) for kind, stages in kinds.items()]
    rows.append(_row("total", everything, found))
    after = {name: stage["after"] for name, stage in found["stages"].items()}
    seconds = {name: stage["seconds"] for name, stage in found["stages"].items()}
    work = sum(stage["seconds"] * stage["shares"] for stage in everything)
    hours = max(makespan(after, seconds, found["jobs"]), work / found["jobs"]) / 3600
    outputs = sum(stage["bytes"] for stage in everything) / _GIGABYTE
    raw = found["raw"] / _GIGABYTE
    return "\n".join(
        [
            tables.text(rows),
            "",
            f"total time: {hours:.2f} h with {found['jobs']} stages at once on this cluster",
            f"total disk: {raw + _COPIES * outputs:.2f} GB: raw images {raw:.2f}, "
            f"outputs {outputs:.2f}, DVC's cache as much again",
            _memory(found),
        ]
    )


def _cost(name: str) -> int:
    command = [sys.executable, "-m", "tasks.cost", name]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if not ended.returncode:
        print(table(json.loads(ended.stdout)))
    return ended.returncode


def _raw_images(dataset: str) -> bool:
    """Whether something lies in the dataset's folder that is not ours, DVC's or half a download."""
    return any(
        path.name not in ("README.md", ".gitignore") and path.suffix not in (".part", ".dvc")
        for path in Path("raw", dataset).glob("*")
    )


def _compare(name: str, selection: Mapping[str, list[str]]) -> int:
    for dataset in selection["datasets"]:
        if not _raw_images(dataset):
            status = subprocess.call([sys.executable, "-m", "tasks.tools.download", dataset])
            if status:
                return status
    overrides = [f"run.{key}=[{','.join(names)}]" for key, names in selection.items()]
    parameters = [f"overrides={json.dumps(overrides)}", f"experiment=paper-{name}"]
    return demo.main([part for value in parameters for part in ("-p", value)])


def main() -> int:
    match sys.argv[1:]:
        case [name] | [name, "--dry"]:
            dry = len(sys.argv) == 3
        case _:
            print("usage: python -m flows.paper DATASET [--dry]", file=sys.stderr)
            return 2
    try:
        selection = _selection(name)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return _cost(name) if dry else _compare(name, selection)


if __name__ == "__main__":
    sys.exit(main())
