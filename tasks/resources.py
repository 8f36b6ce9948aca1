"""`python -m tasks.resources` prints the CPUs and GPUs of the cluster as JSON."""

import json

import ray

from tasks import cluster, stage


def main() -> None:
    with cluster.connect():
        found = ray.cluster_resources()
        print(json.dumps({name: int(found.get(name, 0)) for name in ("CPU", "GPU")}))


if __name__ == "__main__":
    stage.command(main)
