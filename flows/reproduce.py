"""The flow `reproduce`: `dvc repro`, in parallel, on one Ray cluster."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, runtime
from prefect.artifacts import (
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.client.schemas.objects import State
from prefect.settings import get_current_settings
from prefect.states import Completed, Failed

from flows import git, tables, witness
from flows.errors import UserError
from flows.history import History
from flows.parameters import PARAMS, own_parameters
from flows.pipeline import Pipeline, Planned
from flows.request import Request
from flows.stages import Ended, Run, run_all
from tasks.cluster.given import ClusterGoneError, wait_for_cluster
from tasks.cluster.local import LocalCluster
from tasks.processes import disk
from tasks.processes.holder import PARAMETERS, HeldError, Hold, Holder, held
from tasks.processes.service import NotStartedError

# No worker takes longer from a run's order to its first line, as slow as its machine may be.
_LONGEST_START = timedelta(minutes=10)


def _tool(module: str, environment: Mapping[str, str], *arguments: str) -> str:
    """Output of one of the project's own commands.

    Raises:
        UserError: with the line that the command ended in.
    """
    ended = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or [f"{module}: status {ended.returncode}"]
        raise UserError(lines[-1].removeprefix("error: "))
    return ended.stdout


@contextmanager
def _cluster() -> Iterator[Callable[[], Mapping[str, str]]]:
    """The one cluster of a run: gives the environment by which stages find it once it is there.

    It is asked for each try of a stage, as the cluster may have been lost. What it gives raises a
    UserError if there is no cluster.
    """
    say, address = get_run_logger().info, os.environ.get("RAY_ADDRESS")
    with LocalCluster(say) as own:

        def found() -> Mapping[str, str]:
            try:
                if not address:
                    return own.environment()
                wait_for_cluster(address, say)
            except (NotStartedError, ClusterGoneError) as error:
                raise UserError(str(error)) from error
            return {}

        yield found


def _all_at_once(environment: Mapping[str, str]) -> int:
    """As many stages as the cluster has GPUs, or CPUs where it has none."""
    found = json.loads(_tool("tasks.cluster.resources", environment))
    return max(1, found["GPU"] or found["CPU"])


def _summary(pipeline: Pipeline, ended: Ended | None) -> str:
    counts = "Everything was up to date."
    if ended is not None:
        counts = f"{len(ended.done)} stages done"
        if ended.failed:
            counts += f", {len(ended.failed)} failed, {len(ended.skipped)} skipped"
    lines = [counts, "", tables.metrics_markdown(pipeline.metrics()), ""]
    lines += [f"Report: `{page}`" for page in pipeline.pages()]
    return "\n".join(lines)


def _api() -> witness.Api | None:
    """The server of this run, unless it ends with this process."""
    api = get_current_settings().api
    if api.url is None:
        return None
    key, login = (
        None if secret is None else secret.get_secret_value()
        for secret in (api.key, api.auth_string)
    )
    return witness.Api(api.url, key, login)


def _attach_witness() -> None:
    api = _api()
    if api is not None:
        witness.attach(api, str(runtime.flow_run.id))


@contextmanager
def _said_if_it_fails() -> Iterator[None]:
    """Go on without the server's answer, for what a run can do without."""
    try:
        yield
    except OSError as error:
        get_run_logger().warning("an earlier run may be shown as running still: %s", error)


def _conclude(died: Holder) -> None:
    """Give the run that held the workspace before and was killed, with its witness, a state."""
    get_run_logger().warning("%s was killed", died)
    api = _api()
    if api is not None and died.flow_run is not None:
        with _said_if_it_fails():
            api.conclude(died.flow_run, f"it was killed with its machine, as {died}")


def _conclude_unbegun() -> None:
    """Give a state to runs of this deployment that were killed before their first line."""
    api = _api()
    if api is not None and runtime.deployment.id is not None:
        since = datetime.now(UTC) - _LONGEST_START
        with _said_if_it_fails():
            for run in api.unbegun(str(runtime.deployment.id), since):
                api.conclude(run, "it was killed before it began")


@contextmanager
def _workspace(root: Path, name: str) -> Iterator[Hold]:
    """Hold the workspace; a run of a deployment waits for it, others are refused.

    Raises:
        UserError: somebody else holds it.
    """
    logger = get_run_logger()

    def waiting(holder: str) -> None:
        logger.info("waiting for the workspace, which is held by %s", holder)

    queued = runtime.deployment.id is not None
    run = str(runtime.flow_run.id)
    try:
        with held(root, name, flow_run=run, waiting=waiting if queued else None) as hold:
            yield hold
    except HeldError as error:
        raise UserError(str(error)) from error


def _log_parameters(pipeline: Pipeline) -> None:
    logger = get_run_logger()
    for key, (committed, own) in pipeline.changed_parameters().items():
        logger.info("parameter %s: %s here, %s in the committed %s", key, own, committed, PARAMS)


def _plan(pipeline: Pipeline, request: Request, parameters: Path) -> list[Planned]:
    try:
        _tool("tasks.params", {PARAMETERS: str(parameters)})
    except UserError as error:
        if not request.overrides:
            raise
        raise UserError(f"{error} (with overrides {', '.join(request.overrides)})") from error
    plan = pipeline.plan(request.targets, force=request.force)
    for stage, _, dataset in (planned.name.partition("@") for planned in plan):
        if stage == "prepare":
            _tool("tasks.tools.raw", {}, dataset)
    return plan


def _dry_run(request: Request, root: Path, parameters: Path) -> State[Any]:
    """What would run; touches nothing and therefore needs no hold."""
    plan = _plan(Pipeline(root, parameters), request, parameters)
    expected = History(root).expected(planned.name for planned in plan)
    rows = tables.plan_rows(plan, expected)
    total = tables.plan_total(plan, expected, request.jobs or os.cpu_count() or 1)
    get_run_logger().info("\n%s\n\n%s", tables.text(rows), total)
    create_table_artifact(rows, key="plan", description=total)
    return Completed(message=total)


def _run(request: Request, root: Path, parameters: Path, name: str, hold: Hold) -> State[Any]:
    logger = get_run_logger()
    pipeline, history = Pipeline(root, parameters), History(root)
    _log_parameters(pipeline)
    plan = _plan(pipeline, request, parameters)
    logger.info("%d stages to look at", len(plan))
    ended = None
    if plan:
        with pipeline.reserved(plan, name), _cluster() as cluster:
            if request.pull:
                pipeline.pull_run_cache()
            own = {**hold.environment, PARAMETERS: str(parameters)}
            run = Run(pipeline, history, cluster, own, hold, force=request.force, pull=request.pull)
            ended = run_all(run, plan, request.jobs or _all_at_once(cluster()))
    if request.push:
        logger.info("pushed %d files", pipeline.push())
    summary = _summary(pipeline, ended)
    create_markdown_artifact(summary, key="summary", description="Metrics of all stages")
    if ended is not None and ended.failed:
        return Failed(message="\n\n".join(ended.failed.values()))
    if request.experiment is not None:
        pipeline.save_experiment(request.experiment)
    return Completed(message=summary.splitlines()[0])


def _require_savable(root: Path, experiment: str) -> None:
    """Check before hours of work what saving them would fail for.

    Raises:
        UserError: the name is not allowed, or there is no commit.
    """
    if not git.allows_experiment(root, experiment):
        raise UserError(
            f"experiment: {experiment!r} is not allowed; give letters, digits and dashes"
        )
    if not git.has_commit(root):
        raise UserError("experiment: the repository has no commit yet; commit first")


def _reproduce(request: Request) -> State[Any]:
    root = Path.cwd()
    name = f"flow run {runtime.flow_run.name!r}"
    if request.experiment is not None:
        _require_savable(root, request.experiment)
    with tempfile.TemporaryDirectory(prefix="atcnn-run-") as folder:
        if request.dry_run:
            return _dry_run(request, root, own_parameters(request.overrides, Path(folder)))
        with _workspace(root, name) as hold:
            if hold.died is not None and hold.died.flow_run is not None:
                _conclude(hold.died)
            _conclude_unbegun()
            if hold.mended:
                get_run_logger().warning(hold.mended)
            parameters = own_parameters(request.overrides, Path(folder))
            return _run(request, root, parameters, name, hold)


@flow(name="reproduce", persist_result=False, validate_parameters=False)
def reproduce(
    # Prefect's form shows these defaults; nothing here changes them.
    targets: list[str] = [],  # noqa: B006
    overrides: list[str] = [],  # noqa: B006
    jobs: int | None = None,
    force: bool = False,
    pull: bool = False,
    push: bool = False,
    experiment: str | None = None,
    dry_run: bool = False,
) -> State[Any]:
    """Bring the pipeline of the working directory up to date, stages in parallel.

    Args:
        targets: Stages to bring up to date, with all they need, as for `dvc repro`: a stage such
            as `train@shapes-standard-0` or a group such as `train`. Empty for all.
        overrides: Parameters of this run alone, `key=value` as for `dvc exp run -S`, for example
            `run.datasets=[cifar10]`. `params.yaml` stays as it is; the results are found again
            under the name of `experiment`, and by any later run with the same parameters.
        jobs: Stages at once. Empty for as many as the Ray cluster has GPUs, or CPUs.
        force: Run stages even if nothing has changed.
        pull: Take from the DVC remote what was computed elsewhere.
        push: Send outputs and the run cache to the DVC remote at the end.
        experiment: Save the run as a DVC experiment of this name, to compare in `dvc exp show`.
        dry_run: Only show what would run, why, and how long it is expected to take.
    """
    try:
        request = Request.of(
            targets=targets,
            overrides=overrides,
            jobs=jobs,
            force=force,
            pull=pull,
            push=push,
            experiment=experiment,
            dry_run=dry_run,
        )
        _attach_witness()
        return _reproduce(request)
    except UserError as error:
        return Failed(message=str(error))
    except OSError as error:
        if not disk.is_full(error):
            raise
        return Failed(message=disk.line(error))
