"""As a command: what the driver and each node of the cluster see of some folders, as JSON.

`python cluster_view.py FOLDER ...` prints, for the driver and then for every node by its address,
its CPUs, the names in each folder, and where the project's code comes from.
"""

import json
import os
import sys
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import atcore
from tasks.cluster import pool


def seen(folders: list[str]) -> dict[str, Any]:
    return {"code": atcore.__file__, "names": {name: os.listdir(name) for name in folders}}


def main() -> None:
    folders = sys.argv[1:]
    views = {"driver": seen(folders)}
    with pool.connect():
        for node in ray.nodes():
            pinned = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            look = ray.remote(num_cpus=0, scheduling_strategy=pinned)(seen)
            cpus = int(node["Resources"].get("CPU", 0))
            views[node["NodeManagerAddress"]] = {"cpus": cpus, **ray.get(look.remote(folders))}
    print(json.dumps(views))


if __name__ == "__main__":
    main()
