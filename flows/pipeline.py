"""The DVC graph as a flow sees it: which stages are stale and why, and how one of them is run.

A run's parameters are its own: DVC reads them instead of `params.yaml`, which nothing changes here.

`dvc repro` as a process costs about a second per stage. Here one process holds the graph for a
whole run and takes the steps of `dvc repro` itself, through DVC: `begin` restores a stage from the
cache or clears its outputs, whoever called runs its command, `finish` saves what it wrote. DVC's
lock is held within these steps only. All files of the stages to run are reserved until the end of
the run, so that other DVC processes say what they wait for instead of touching them.
"""

import logging
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import networkx
from dvc.dvcfile import LOCK_FILE
from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.repo import Repo, lock_repo
from dvc.repo.reproduce import get_active_graph
from dvc.rwlock import rwlock
from dvc.stage import PipelineStage
from dvc.stage.cache import RunCacheNotFoundError
from dvc.stage.serialize import to_lockfile
from dvc.utils.flatten import flatten
from dvc.utils.serialize import LOADERS, parse_yaml
from dvc_data.hashfile.hash_info import HashInfo

from flows import git, lockfile
from flows.errors import UserError, one_line
from flows.parameters import PARAMS, Parameters
from tasks.processes import disk, torn


@dataclass(frozen=True)
class Planned:
    """A stage that a run will look at.

    Attributes:
        reasons: why it is stale; for stages downstream of a stale one, the stage they wait for.
        after: the planned stages whose outputs it reads.
    """

    name: str
    reasons: tuple[str, ...]
    after: frozenset[str]


class Begun(Enum):
    """What remains to be done for a stage."""

    RUN = "run"
    CACHED = "cached"
    UNCHANGED = "unchanged"


def _reasons(stage: PipelineStage) -> Iterator[str]:
    if not any(out.hash_info for out in stage.outs):
        yield "never run"
        return
    for entry in stage.status().get(stage.addressing, []):
        if isinstance(entry, str):
            yield "command or outputs changed" if entry == "changed checksum" else entry
            continue
        for changes in entry.values():
            for path, change in changes.items():
                keys = change.items() if isinstance(change, dict) else [(path, change)]
                yield from (f"{key} {what}" for key, what in keys)


def _metrics(path: Path) -> dict[str, Any]:
    """Those of a file, or of all files in a folder by their name in it."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return {str(file.relative_to(path).with_suffix("")): _metrics(file) for file in files}
    content: dict[str, Any] = LOADERS[path.suffix](str(path))
    return content


@contextmanager
def _causes() -> Iterator[list[BaseException]]:
    """Why files could not be transferred: DVC logs it, and raises no more than their number."""
    causes: list[BaseException] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1]:
                causes.append(record.exc_info[1])

    logger, handler = logging.getLogger("dvc_data"), Collect()
    logger.addHandler(handler)
    try:
        yield causes
    finally:
        logger.removeHandler(handler)


def _remote_failed(doing: str, error: BaseException, causes: Sequence[BaseException]) -> UserError:
    """Each kind of remote has errors of its own, some of them without a word."""
    words = [one_line(each) or type(each).__name__ for each in (error, *causes[:1])]
    return UserError(f"{doing}: {': '.join(words)}")


class Pipeline:
    """The DVC repository of a workspace, for one flow run.

    Methods may be called from several threads; they take turns. DVC expects `root` to be the
    working directory.

    Args:
        parameters: the file that DVC reads instead of `params.yaml`.
    """

    def __init__(self, root: Path, parameters: Path) -> None:
        try:
            self._repo = Repo(str(root), _wait_for_lock=True)
        except DvcException as error:
            raise UserError(one_line(error)) from error
        self._parameters = Parameters(Path(self._repo.root_dir, PARAMS), parameters)
        self._repo.fs = self._parameters.filesystem
        self._cache = Path(self._repo.cache.local_cache_dir)
        self._turn = threading.RLock()
        # What DVC says of each step is for its own command line.
        logging.getLogger("dvc").setLevel(logging.WARNING)
        self._stages: dict[str, PipelineStage] = {}
        self._unrecorded: list[PipelineStage] = []
        self._all_outputs: list[Output] = []

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._turn:
            try:
                with lock_repo(self._repo):
                    yield
            except UserError:
                raise
            except Exception as error:
                if not disk.is_full(error):
                    raise
                raise UserError(disk.line(error, self._cache)) from error

    # --- before a run -----------------------------------------------------------------------------

    def changed_parameters(self) -> dict[str, tuple[Any, Any]]:
        """The parameters that differ from the committed file: its value and this run's by key.

        None where there is no value; nothing where no file is committed.
        """
        text = git.committed(Path(self._repo.root_dir), PARAMS)
        if text is None:
            return {}
        committed, own = flatten(parse_yaml(text, PARAMS)), flatten(self._parameters.values)
        keys = dict.fromkeys([*own, *committed])
        pairs = {key: (committed.get(key), own.get(key)) for key in keys}
        return {key: (theirs, ours) for key, (theirs, ours) in pairs.items() if theirs != ours}

    def plan(self, targets: Sequence[str], *, force: bool) -> list[Planned]:
        """Stale stages and all that is downstream of them, upstream first.

        Args:
            targets: names as for `dvc repro`, which brings what they need up to date too; none for
                the whole graph.
            force: treat all of them as stale.

        Raises:
            UserError: a target does not exist, or `dvc.yaml` is wrong.
        """
        with self._locked():
            try:
                graph = get_active_graph(self._repo.index.graph)
                self._parameters.serve(self._repo.index.stages)
                self._all_outputs = list(self._repo.index.outs)
                chosen = [s for target in targets for s in self._repo.stage.collect(target)]
                if targets:
                    needed = set(chosen).union(*(networkx.descendants(graph, s) for s in chosen))
                    graph = graph.subgraph(needed)
                planned: dict[str, Planned] = {}
                # Edges lead from a stage to what it reads.
                for stage in reversed(list(networkx.topological_sort(graph))):
                    if stage.is_data_source:
                        # A user's own files, such as of `dvc add`: there is nothing to run, and to
                        # clear what they say would delete them.
                        continue
                    after = [s.addressing for s in graph.successors(stage)]
                    after = [name for name in after if name in planned]
                    reasons = ["forced"] if force else list(_reasons(stage))
                    reasons += [f"after {name}" for name in after]
                    if reasons:
                        name = stage.addressing
                        planned[name] = Planned(name, tuple(reasons), frozenset(after))
                        self._stages[name] = stage
            except DvcException as error:
                raise UserError(one_line(error)) from error
            return list(planned.values())

    @contextmanager
    def reserved(self, plan: Sequence[Planned], name: str) -> Iterator[None]:
        """Keep other DVC processes away from what the planned stages read and write.

        Args:
            name: what they are told of who does.

        Raises:
            UserError: another DVC process is working on one of these files.
        """
        stages = [self._stages[planned.name] for planned in plan]
        repo = self._repo
        # Where DVC takes the name for its own locks from, which are then no obstacle.
        arguments, sys.argv = sys.argv, [name]
        try:
            with rwlock(
                repo.tmp_dir,
                repo.fs,
                name,
                sorted({dep.fs_path for stage in stages for dep in stage.deps}),
                sorted({out.fs_path for stage in stages for out in stage.outs}),
                repo.config["core"].get("hardlink_lock", False),
            ):
                yield
        except DvcException as error:
            raise UserError(one_line(error)) from error
        finally:
            sys.argv = arguments

    def pull_run_cache(self) -> None:
        """Fetch from the DVC remote what is known of earlier runs.

        Raises:
            UserError: the remote cannot be reached or read.
        """
        with self._locked(), _causes() as causes:
            try:
                self._repo.stage_cache.pull(None)
            except Exception as error:
                raise _remote_failed("pull", error, causes) from error

    # --- one stage --------------------------------------------------------------------------------

    def begin(self, name: str, *, force: bool, pull: bool) -> Begun:
        """Bring a stage up to date without running it, or clear its outputs for the run.

        Args:
            pull: look for cached outputs in the DVC remote too.

        Raises:
            UserError: a disk is full.
        """
        with self._locked(), self._repo.scm_context(quiet=True):
            stage = self._stages[name]
            if not force and not stage.changed():
                return Begun.UNCHANGED
            stage.remove_outs(ignore_remove=False, force=False)
            if force or not self._restore(stage, pull=pull):
                return Begun.RUN
            self._save(stage)
        self._record()
        return Begun.CACHED

    def _restore(self, stage: PipelineStage, *, pull: bool) -> bool:
        """Bring back what the stage once gave, if that is known: first as `dvc.lock` has it."""
        cache = self._repo.stage_cache
        for _ in range(2):
            torn.mend_run_cache(Path(cache.cache_dir))
            with suppress(RunCacheNotFoundError):
                cache.restore(stage, pull=pull)
                return True
            # DVC asks the run cache for nothing that a lock names, be it a lock of another machine.
            for out in stage.outs:
                out.hash_info = HashInfo()
        return False

    def command(self, name: str) -> tuple[list[str], Path, dict[str, str]]:
        """The stage's command, its working directory and what it finds in its environment."""
        stage = self._stages[name]
        lines = stage.cmd if isinstance(stage.cmd, list) else stage.cmd.splitlines()
        environment = {"DVC_ROOT": self._repo.root_dir, "DVC_STAGE": name}
        return ["/bin/sh", "-ec", "\n".join(lines)], Path(stage.wdir), environment

    def finish(self, name: str) -> None:
        """Save the outputs that a stage's command has written.

        Raises:
            UserError: the command has left an output unwritten, or a disk is full.
        """
        try:
            with self._locked(), self._repo.scm_context(quiet=True):
                self._save(self._stages[name])
        except DvcException as error:
            raise UserError(one_line(error)) from error
        self._record()

    def _save(self, stage: PipelineStage) -> None:
        stage.save()
        stage.commit()
        if not stage.outs_cached():
            # DVC only logs what it could not copy, and would name it in dvc.lock all the same.
            raise disk.full(self._cache)
        self._unrecorded.append(stage)

    def _record(self) -> None:
        """Write saved stages into dvc.lock: at once where several have ended, and atomically."""
        with self._locked():
            if not self._unrecorded:
                return
            final = Path(self._repo.root_dir, LOCK_FILE)
            half = Path(self._repo.tmp_dir, LOCK_FILE)
            entries: dict[str, Any] = {}
            for stage in self._unrecorded:
                entries |= to_lockfile(stage)
            known = final.read_text("utf-8") if final.exists() else ""
            try:
                half.write_text(lockfile.updated(known, entries), "utf-8")
                os.replace(half, final)
            finally:
                half.unlink(missing_ok=True)
            self._unrecorded.clear()

    # --- after a run ------------------------------------------------------------------------------

    def outputs(self, name: str) -> list[tuple[str, int, int]]:
        """Path, bytes and number of files of what a stage has written."""
        return [
            (out.def_path, out.meta.size or 0, out.meta.nfiles or 1)
            for out in self._stages[name].outs
        ]

    def metrics(self, name: str | None = None) -> dict[str, Any]:
        """Metrics by output, of one planned stage or (None) of the whole graph."""
        outputs = self._all_outputs if name is None else self._stages[name].outs
        return {
            out.def_path: _metrics(Path(out.fs_path))
            for out in outputs
            if out.metric and out.exists
        }

    def pages(self) -> list[str]:
        """The HTML files among the outputs of the whole graph."""
        return [out.def_path for out in self._all_outputs if out.fs_path.endswith(".html")]

    def push(self) -> int:
        """Send outputs and run cache to the DVC remote; the number of files sent.

        Raises:
            UserError: the remote cannot be reached or written.
        """
        with self._locked(), _causes() as causes:
            try:
                return int(self._repo.push(run_cache=True))
            except Exception as error:
                raise _remote_failed("push", error, causes) from error

    def save_experiment(self, name: str) -> None:
        """Save parameters, metrics and dvc.lock as a DVC experiment, replacing one of this name."""
        root = Path(self._repo.root_dir)
        files = {PARAMS: self._parameters.file, LOCK_FILE: root / LOCK_FILE}
        try:
            with self._locked():
                git.save_experiment(root, name, files)
        except git.GitError as error:
            raise UserError(f"experiment: {error}") from error
