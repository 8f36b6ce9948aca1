"""The stages of a flow run: each one task of Prefect, as many at once as allowed."""

import os
import re
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, cast
from uuid import UUID

from prefect import Task, get_run_logger, task
from prefect.artifacts import (
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Completed, Failed

from flows import tables
from flows.commands import Commands, StoppedError
from flows.errors import UserError
from flows.history import History
from flows.pipeline import Begun, Pipeline, Planned
from flows.schedule import Schedule
from tasks.processes.holder import Hold

# What a stage leaves with when it has lost a machine; killed ones (137) may have lost theirs.
_LOST = (os.EX_TEMPFAIL, 137)
_RETRIES = 2
# A cluster that is lost is waited for anyway.
_RETRY_SECONDS = 1
_LAST_LINES = 20


P = ParamSpec("P")


class LostMachineError(Exception):
    """A stage ended because a machine did, and is worth another try."""


class Run:
    """What all stages of one flow run share."""

    def __init__(
        self,
        pipeline: Pipeline,
        history: History,
        cluster: Callable[[], Mapping[str, str]],
        environment: Mapping[str, str],
        hold: Hold,
        *,
        force: bool,
        pull: bool,
    ) -> None:
        self.pipeline, self.history = pipeline, history
        self.cluster, self.environment = cluster, environment
        self.force, self.pull = force, pull
        # The workspace is not free before they have ended.
        self.commands = Commands(keep=[hold.lock])


def _artifact_key(stage: str) -> str:
    """Prefect allows lowercase letters, digits and dashes."""
    return re.sub("[^a-z0-9]+", "-", stage.lower()).strip("-")


def _report_stage(run: Run, name: str, seconds: float) -> None:
    rows = tables.metric_rows(run.pipeline.metrics(name))
    rows.append({"metric": "seconds", "value": f"{seconds:.1f}"})
    rows += [
        {"metric": f"{path}, {files} files", "value": f"{size} bytes"}
        for path, size, files in run.pipeline.outputs(name)
    ]
    create_table_artifact(rows, key=_artifact_key(name), description=f"Stage {name}")


def _machine_was_lost(_task: Task[..., Any], _run: Any, state: State[Any]) -> bool:
    return isinstance(state.result(raise_on_failure=False), LostMachineError)


def _brought_up_to_date(run: Run, name: str) -> State[Any]:
    """
    Raises:
        UserError: the cache, the disk or the cluster does not allow it.
        StoppedError: the run is being stopped.
        LostMachineError: it is worth another try.
    """
    begun = run.pipeline.begin(name, force=run.force, pull=run.pull)
    if begun is not Begun.RUN:
        return Completed(name=begun.value.capitalize(), message=f"{begun.value}, not run")
    logger = get_run_logger()
    last: deque[str] = deque(maxlen=_LAST_LINES)

    def on_line(line: str) -> None:
        last.append(line)
        logger.info(line)

    command, folder, environment = run.pipeline.command(name)
    started = time.monotonic()
    environment = {**run.cluster(), **run.environment, **environment}
    status = run.commands.run(command, cwd=folder, env=environment, on_line=on_line)
    if status in _LOST:
        reason = [f"{name} ended with status {status}", *list(last)[-1:]]
        raise LostMachineError(": ".join(reason))
    if status:
        return Failed(message="\n".join([f"{name} ended with status {status}", *last]))
    run.pipeline.finish(name)
    seconds = time.monotonic() - started
    run.history.record(name, seconds)
    _report_stage(run, name, seconds)
    return Completed(message=f"{seconds:.1f} s")


@task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=_RETRIES,
    retry_delay_seconds=_RETRY_SECONDS,
    retry_condition_fn=_machine_was_lost,
)
def _run_stage(run: Run, name: str) -> State[Any]:
    try:
        return _brought_up_to_date(run, name)
    except UserError as error:
        return Failed(message=f"{name}: {error}")
    except StoppedError:
        return Cancelled(message="the run was stopped")


@task(cache_policy=NO_CACHE, persist_result=False)
def _skip_stage() -> State[Any]:
    return Completed(name="Skipped", message="a stage that it needs has failed")


def _named(body: Task[P, State[Any]], name: str) -> Task[P, State[Any]]:
    return body.with_options(name=name, task_run_name=name)


@dataclass(frozen=True)
class Ended:
    done: list[str]
    failed: dict[str, str]
    skipped: list[str]


def _put(queue: SimpleQueue[str], name: str, _future: PrefectFuture[Any]) -> None:
    queue.put(name)


def run_all(run: Run, plan: Sequence[Planned], jobs: int) -> Ended:
    """Run all stages of a plan, each as soon as what it waits for is done."""
    after = {planned.name: planned.after for planned in plan}
    schedule = Schedule(after, run.history.expected(after))
    running: dict[str, PrefectFuture[Any]] = {}
    just_ended: SimpleQueue[str] = SimpleQueue()
    ended = Ended([], {}, [])
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
