"""`python -m tasks.cluster.resources` prints the CPUs and GPUs of the cluster as JSON."""

import json

import ray

from tasks.cluster import pool
from tasks.console import command


def main() -> None:
    with pool.connect():
        found = ray.cluster_resources()
        print(json.dumps({name: int(found.get(name, 0)) for name in ("CPU", "GPU")}))


if __name__ == "__main__":
    command.run(main)
