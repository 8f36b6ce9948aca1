"""`python -m tasks.cost.here` says how long the selected comparison will take, before it begins.

It measures for some seconds, and not at all where every network is there.
"""

import os

from atcore.base.errors import UserError
from tasks import params
from tasks.console import command
from tasks.cost.counts import counts
from tasks.tools import raw
from tasks.workspace import paths


def _missing(settings: params.Params) -> int:
    return sum(
        not paths.model(dataset, method, seed).exists()
        for dataset in settings.run.datasets
        for method, seed in settings.run.each
    )


def _in_words(seconds: float) -> str:
    if seconds > 90 * 60:
        return f"{seconds / 3600:.1f} hours"
    return f"{max(1, round(seconds / 60))} min"


def _estimate(settings: params.Params) -> str:
    try:
        for dataset in settings.run.datasets:
            counts(settings, dataset)
    except UserError:
        # Before `prepare` has looked, nobody knows how many images a folder has.
        return "how long it takes shows once images are prepared"
    # Five seconds that a run saves of which nothing is measured.
    from tasks.cluster import pool  # noqa: PLC0415
    from tasks.cost import model, timing  # noqa: PLC0415

    if address := os.environ.get("RAY_ADDRESS"):
        with pool.connect():
            stages = model.on_cluster(settings)
        place = f"the cluster at {address}"
    else:
        cpus = os.cpu_count() or 1
        stages = model.compared(settings, min(settings.threads, cpus), timing.measured_here)
        place = f"this machine ({cpus} CPUs)"
    seconds = sum(stage.seconds for stage in stages.values())
    return f"{len(stages)} stages, one after the other: about {_in_words(seconds)} on {place}"


def main() -> None:
    """Check what a run needs, and print one line.

    Raises:
        UserError: `params.yaml` cannot be used, or names a dataset that has no folder; the cluster
            of `RAY_ADDRESS` cannot be reached.
    """
    settings = params.load()
    for dataset in settings.run.datasets:
        raw.require(dataset)
    missing = _missing(settings)
    if not missing:
        print("every selected network is there: only what has changed is computed again")
        return
    took = _estimate(settings)
    print(f"networks to train or take in: {missing}; {took}; what has been computed before is kept")


if __name__ == "__main__":
    command.run(main)
