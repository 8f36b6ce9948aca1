"""The flow `reproduce`: `dvc repro`, in parallel, on one Ray cluster."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ParamSpec, cast
from uuid import UUID

from prefect import Task, flow, get_run_logger, runtime, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.settings import get_current_settings
from prefect.states import Cancelled, Completed, Failed

from flows import git, tables, witness
from flows.commands import Commands, StoppedError
from flows.errors import UserError
from flows.history import History
from flows.pipeline import PARAMS, Begun, Pipeline, Planned, own_parameters
from flows.request import Request
from flows.schedule import Schedule
from tasks import disk
from tasks.local_cluster import local_cluster
from tasks.workspace import PARAMETERS, HeldError, Hold, Holder, held

# What a stage leaves with when it has lost a machine; killed ones (137) may have lost theirs.
_LOST = (os.EX_TEMPFAIL, 137)
_RETRIES = 2
_RETRY_SECONDS = 5
_LAST_LINES = 20


P = ParamSpec("P")


class LostMachineError(Exception):
    """A stage ended because a machine did, and is worth another try."""


class _Run:
    """What all stages of one flow run share."""

    def __init__(
        self,
        pipeline: Pipeline,
        history: History,
        environment: Mapping[str, str],
        hold: Hold,
        *,
        force: bool,
        pull: bool,
    ) -> None:
        self.pipeline, self.history, self.environment = pipeline, history, environment
        self.force, self.pull = force, pull
        # The workspace is not free before they have ended.
        self.commands = Commands(keep=[hold.lock])


def _tool(module: str, environment: Mapping[str, str]) -> str:
    """Output of one of the project's own commands.

    Raises:
        UserError: with the line that the command ended in.
    """
    ended = subprocess.run(
        [sys.executable, "-m", module],
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
def _cluster() -> Iterator[dict[str, str]]:
    """The environment by which stages find the one cluster of a run."""
    if os.environ.get("RAY_ADDRESS"):
        yield {}
        return
    with local_cluster() as environment:
        yield environment


def _all_at_once(environment: Mapping[str, str]) -> int:
    """As many stages as the cluster has GPUs, or CPUs where it has none."""
    found = json.loads(_tool("tasks.resources", environment))
    return max(1, found["GPU"] or found["CPU"])


def _artifact_key(stage: str) -> str:
    """Prefect allows lowercase letters, digits and dashes."""
    return re.sub("[^a-z0-9]+", "-", stage.lower()).strip("-")


def _report_stage(run: _Run, name: str, seconds: float) -> None:
    rows = tables.metric_rows(run.pipeline.metrics(name))
    rows.append({"metric": "seconds", "value": f"{seconds:.1f}"})
    rows += [
        {"metric": f"{path}, {files} files", "value": f"{size} bytes"}
        for path, size, files in run.pipeline.outputs(name)
    ]
    create_table_artifact(rows, key=_artifact_key(name), description=f"Stage {name}")


def _machine_was_lost(_task: Task[..., Any], _run: Any, state: State[Any]) -> bool:
    return isinstance(state.result(raise_on_failure=False), LostMachineError)


@task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=_RETRIES,
    retry_delay_seconds=_RETRY_SECONDS,
    retry_condition_fn=_machine_was_lost,
)
def _run_stage(run: _Run, name: str) -> State[Any]:
    try:
        begun = run.pipeline.begin(name, force=run.force, pull=run.pull)
    except UserError as error:
        return Failed(message=f"{name}: {error}")
    if begun is not Begun.RUN:
        return Completed(name=begun.value.capitalize(), message=f"{begun.value}, not run")
    logger = get_run_logger()
    last: deque[str] = deque(maxlen=_LAST_LINES)

    def on_line(line: str) -> None:
        last.append(line)
        logger.info(line)

    command, folder, environment = run.pipeline.command(name)
    started = time.monotonic()
    try:
        status = run.commands.run(
            command, cwd=folder, env={**run.environment, **environment}, on_line=on_line
        )
    except StoppedError:
        return Cancelled(message="the run was stopped")
    if status in _LOST:
        raise LostMachineError(f"{name} ended with status {status}")
    if status:
        return Failed(message="\n".join([f"{name} ended with status {status}", *last]))
    try:
        run.pipeline.finish(name)
    except UserError as error:
        return Failed(message=f"{name}: {error}")
    seconds = time.monotonic() - started
    run.history.record(name, seconds)
    _report_stage(run, name, seconds)
    return Completed(message=f"{seconds:.1f} s")


@task(cache_policy=NO_CACHE, persist_result=False)
def _skip_stage() -> State[Any]:
    return Completed(name="Skipped", message="a stage that it needs has failed")


def _named(body: Task[P, State[Any]], name: str) -> Task[P, State[Any]]:
    return body.with_options(name=name, task_run_name=name)


@dataclass(frozen=True)
class _Ended:
    done: list[str]
    failed: dict[str, str]
    skipped: list[str]


def _put(queue: SimpleQueue[str], name: str, _future: PrefectFuture[Any]) -> None:
    queue.put(name)


def _run_all(run: _Run, plan: Sequence[Planned], jobs: int) -> _Ended:
    """Run all stages of a plan, each as soon as what it waits for is done."""
    after = {planned.name: planned.after for planned in plan}
    schedule = Schedule(after, run.history.expected(after))
    running: dict[str, PrefectFuture[Any]] = {}
    just_ended: SimpleQueue[str] = SimpleQueue()
    ended = _Ended([], {}, [])
    # Not a coroutine here, though its type has both.
    progress = cast(UUID, create_progress_artifact(0.0, "stages", "Stages done"))
    try:
        while True:
            while len(running) < jobs and (name := schedule.next()) is not None:
                future = _named(_run_stage, name).submit(run, name)
                future.add_done_callback(partial(_put, just_ended, name))
                running[name] = future
            if not running:
                break
            name = just_ended.get()
            future = running.pop(name)
            future.wait()
            state = future.state
            if state.is_completed():
                schedule.done(name)
                ended.done.append(name)
            else:
                ended.failed[name] = state.message or state.name or ""
                ended.skipped.extend(schedule.failed(name))
            update_progress_artifact(progress, progress=100 * len(ended.done) / len(plan))
    except BaseException:
        # Whoever waits for the tasks' threads next must find them ending.
        run.commands.stop()
        raise
    for name in ended.skipped:
        _named(_skip_stage, name).submit().wait()
    return ended


def _summary(pipeline: Pipeline, ended: _Ended | None) -> str:
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


def _conclude(died: Holder) -> None:
    """Give the run that held the workspace before and was killed, with its witness, a state."""
    get_run_logger().warning("%s was killed", died)
    api = _api()
    if api is not None and died.flow_run is not None:
        with suppress(OSError):
            api.conclude(died.flow_run, f"it was killed with its machine, as {died}")


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
    _tool("tasks.params", {PARAMETERS: str(parameters)})
    return pipeline.plan(request.targets, force=request.force)


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
        with pipeline.reserved(plan, name), _cluster() as environment:
            if request.pull:
                pipeline.pull_run_cache()
            own = {**environment, **hold.environment, PARAMETERS: str(parameters)}
            run = _Run(pipeline, history, own, hold, force=request.force, pull=request.pull)
            ended = _run_all(run, plan, request.jobs or _all_at_once(environment))
    if request.push:
        logger.info("pushed %d files", pipeline.push())
    summary = _summary(pipeline, ended)
    create_markdown_artifact(summary, key="summary", description="Metrics of all stages")
    if ended is not None and ended.failed:
        return Failed(message="\n\n".join(ended.failed.values()))
    if request.experiment is not None:
        pipeline.save_experiment(request.experiment)
    return Completed(message=summary.splitlines()[0])


def _reproduce(request: Request) -> State[Any]:
    root = Path.cwd()
    name = f"flow run {runtime.flow_run.name!r}"
    if request.experiment is not None and not git.allows_experiment(root, request.experiment):
        raise UserError(
            f"experiment: {request.experiment!r} is not allowed; give letters, digits and dashes"
        )
    with tempfile.TemporaryDirectory(prefix="atcnn-run-") as folder:
        if request.dry_run:
            return _dry_run(request, root, own_parameters(request.overrides, Path(folder)))
        with _workspace(root, name) as hold:
            if hold.died is not None and hold.died.flow_run is not None:
                _conclude(hold.died)
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
