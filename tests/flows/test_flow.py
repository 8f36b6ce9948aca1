"""The flow on small graphs of shell commands: order, failures, interruptions, DVC beside it."""

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
import yaml
from flow_workspace import Flows, git, graph, stage
from pipeline_workspace import NO_CLUSTER, Workspace, add_stage, succeeded, wait_until

UP_TO_DATE = "Data and pipelines are up to date."


def copy_of(file: str) -> str:
    """The command that copies a file to the stage's output of the same name."""
    return f"cp {file} $DVC_STAGE.txt"


# first -> (left, right) -> last, and other beside them.
DIAMOND = {
    "first": stage(copy_of("input.txt"), "input.txt", out="first.txt", params="run.seed"),
    "left": stage(copy_of("first.txt"), "first.txt", out="left.txt", params="salience.images"),
    "right": stage(copy_of("first.txt"), "first.txt", out="right.txt"),
    "last": stage("cat left.txt right.txt > last.txt", "left.txt", "right.txt", out="last.txt"),
    "other": stage(copy_of("input.txt"), "input.txt", out="other.txt"),
}


@pytest.fixture
def diamond(tmp_path: Path, prefect_api: str) -> Flows:
    return Flows(graph(tmp_path / "graph", DIAMOND), prefect_api)


# --- order ----------------------------------------------------------------------------------------


def test_stages_that_wait_for_each_other_run_at_the_same_time(
    tmp_path: Path, prefect_api: str
) -> None:
    """Both ends of a named pipe block until the other one is there."""
    meet = tmp_path / "meet"
    os.mkfifo(meet)
    stages = {
        "speaks": stage(f"echo word > {meet}; touch said", "input.txt", out="said"),
        "hears": stage(f"cat {meet} > heard", "input.txt", out="heard"),
    }
    flows = Flows(graph(tmp_path / "graph", stages), prefect_api)
    assert flows.run(jobs=2).stages == {"speaks": "Completed", "hears": "Completed"}
    assert (flows.workspace.root / "heard").read_text() == "word\n"


@pytest.mark.parametrize("jobs", [1, 3])
def test_no_more_stages_than_jobs_run_at_once(tmp_path: Path, prefect_api: str, jobs: int) -> None:
    """The first ones wait for each other; then one too many would have time to begin."""
    log = tmp_path / "log"
    meet = f"until [ $(grep -c start {log}) -ge {jobs} ]; do sleep 0.05; done"
    command = f"echo start >> {log}; {meet}; sleep 0.2; echo end >> {log}; touch $DVC_STAGE"
    stages = {f"s{i}": stage(command, "input.txt", out=f"s{i}") for i in range(6)}
    flows = Flows(graph(tmp_path / "graph", stages), prefect_api)
    assert set(flows.run(jobs=jobs).stages.values()) == {"Completed"}
    running, most = 0, 0
    for line in log.read_text().splitlines():
        running += 1 if line == "start" else -1
        most = max(most, running)
    assert most == jobs


def test_the_flow_and_dvc_repro_leave_the_same_and_each_finds_the_other_s_work_done(
    diamond: Flows, tmp_path: Path, prefect_api: str
) -> None:
    run = diamond.run(jobs=None)
    assert run.stages == dict.fromkeys(DIAMOND, "Completed")
    assert UP_TO_DATE in succeeded(diamond.workspace.dvc("status")).output
    assert succeeded(diamond.workspace.repro()).stages_run == []

    sequential = graph(tmp_path / "sequential", DIAMOND)
    succeeded(sequential.repro())
    assert sequential.lock == diamond.workspace.lock
    assert sequential.digests("*.txt") == diamond.workspace.digests("*.txt")
    after = Flows(sequential, prefect_api).run()
    assert (after.type, after.stages) == ("COMPLETED", {})


def test_targets_bring_what_they_need_and_nothing_else(diamond: Flows) -> None:
    assert set(diamond.run(targets=["left"]).stages) == {"first", "left"}


def test_force_runs_what_has_not_changed(diamond: Flows) -> None:
    _, forced = diamond.runs({}, {"targets": ["other"], "force": True})
    assert forced.stages == {"other": "Completed"}


# --- what a run shows -----------------------------------------------------------------------------


def test_the_output_of_a_stage_is_in_the_logs_line_by_line_and_its_artifacts_are_there(
    tmp_path: Path, prefect_api: str
) -> None:
    write = 'echo "one"; echo "two" >&2; echo "{\\"accuracy\\": 0.5}" > metrics.json'
    stages = {
        "train": {"cmd": write, "deps": ["input.txt"], "metrics": ["metrics.json"]},
    }
    run = Flows(graph(tmp_path / "graph", stages), prefect_api).run()
    assert {"one", "two"} <= set(run.lines)
    rows = {row["metric"]: row["value"] for row in json.loads(run.artifacts["train"]["data"])}
    assert rows["accuracy"] == "0.500"
    assert run.artifacts["stages"]["data"] == 100
    summary = run.artifacts["summary"]["data"]
    assert "1 stages done" in summary
    assert "| accuracy |" in summary


def test_a_dry_run_says_what_is_stale_and_why_and_how_long_it_takes_and_changes_nothing(
    diamond: Flows,
) -> None:
    diamond.run()
    before = diamond.workspace.digests("**/*.txt", "params.yaml", "dvc.lock")
    dry = diamond.run(dry_run=True, overrides=["salience.images=3"], jobs=1)
    assert dry.stages == {}
    rows = {row["stage"]: row for row in json.loads(dry.artifacts["plan"]["data"])}
    assert set(rows) == {"left", "last"}
    assert rows["left"]["why"] == "salience.images modified"
    assert rows["last"]["why"] == "after left"
    assert all(row["expected"].endswith(" s") for row in rows.values())
    assert dry.message.startswith("2 stages, expected ")
    assert diamond.workspace.digests("**/*.txt", "params.yaml", "dvc.lock") == before


# --- parameters and experiments -------------------------------------------------------------------


WRONG = {
    "salience.imagse=3": "imagse",
    "salience.images": "salience.images",
    "salience.images=-3": "salience.images: -3 is not allowed",
}


def test_a_wrong_override_is_refused_before_anything_runs(diamond: Flows) -> None:
    before = (diamond.workspace.root / "params.yaml").read_bytes()
    runs = diamond.runs(*({"overrides": ["run.seed=1", override]} for override in WRONG))
    for run, named in zip(runs, WRONG.values(), strict=True):
        assert (run.type, run.stages) == ("FAILED", {})
        assert named in run.message
        assert len(run.message.splitlines()) == 1
    assert runs[-1].message.endswith("(with overrides run.seed=1, salience.images=-3)")
    assert (diamond.workspace.root / "params.yaml").read_bytes() == before


def test_runs_with_overrides_are_saved_as_experiments_side_by_side(diamond: Flows) -> None:
    runs = diamond.runs(
        *(
            {"overrides": [f"salience.images={images}"], "experiment": f"images-{images}"}
            for images in (3, 4)
        )
    )
    assert [run.type for run in runs] == ["COMPLETED", "COMPLETED"], runs
    # The second run had to do only what depends on the parameter.
    assert set(runs[1].stages) == {"left", "last"}
    shown = json.loads(succeeded(diamond.workspace.dvc("exp", "show", "--json")).output)
    saved = {
        experiment["name"]: revision["data"]["params"]["params.yaml"]["data"]["salience"]["images"]
        for baseline in shown
        for experiment in baseline["experiments"] or []
        for revision in experiment["revs"]
    }
    assert saved == {"images-3": 3, "images-4": 4}


def test_overrides_are_those_of_their_run_alone(diamond: Flows) -> None:
    workspace = diamond.workspace
    before = (workspace.root / "params.yaml").read_bytes()
    run = diamond.run(overrides=["salience.images=3"])
    assert run.type == "COMPLETED", run.message
    assert "parameter salience.images: 3 here, 8 in the committed params.yaml" in run.lines
    assert locked_images(workspace) == 3
    assert (workspace.root / "params.yaml").read_bytes() == before

    after = diamond.run()
    assert set(after.stages) == {"left", "last"}
    assert not any(line.startswith("parameter ") for line in after.lines)
    assert locked_images(workspace) == 8
    again = diamond.run(overrides=["salience.images=3"])
    assert again.stages == {"left": "Cached", "last": "Unchanged"}


def test_a_run_computes_with_the_parameters_it_began_with(tmp_path: Path, prefect_api: str) -> None:
    """Somebody may edit the file meanwhile: that is for the next run."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    described = stage(
        f"echo waiting; cat {pipe}; grep -A2 '^salience:' $ATCNN_PARAMS > out",
        "input.txt",
        out="out",
        params="salience.images",
    )
    flows = Flows(graph(tmp_path / "graph", {"s": described}), prefect_api)
    with flows.start() as running:
        wait_until(lambda: "waiting" in running.errors, "the stage to start")
        flows.workspace.set({"salience.images": 4})
        pipe.write_text("")
        assert flows.ended(running.wait()).type == "COMPLETED"
    assert re.search(r"images: 8\b", (flows.workspace.root / "out").read_text())
    assert locked_images(flows.workspace, "s") == 8
    assert "s:" in succeeded(flows.workspace.dvc("status")).output


def locked_images(workspace: Workspace, name: str = "left") -> int:
    """`salience.images` in the entry of a stage in dvc.lock."""
    return int(workspace.lock["stages"][name]["params"]["params.yaml"]["salience.images"])


def test_an_experiment_without_a_commit_is_refused_before_anything_runs(diamond: Flows) -> None:
    git(diamond.workspace, "update-ref", "-d", "HEAD")
    run = diamond.run(experiment="first")
    assert (run.type, run.stages) == ("FAILED", {})
    assert run.message == "experiment: the repository has no commit yet; commit first"


def test_an_experiment_records_no_stage_that_its_run_left_out_of_date(diamond: Flows) -> None:
    diamond.run()
    (diamond.workspace.root / "input.txt").write_text("changed\n")
    before = diamond.workspace.lock["stages"]["first"]
    run = diamond.run(targets=["other"], experiment="other-alone")
    assert run.type == "COMPLETED", run.message
    assert diamond.workspace.lock["stages"]["first"] == before
    assert "first:" in succeeded(diamond.workspace.dvc("status")).output


def test_raw_images_that_are_not_there_end_the_run_in_one_line_at_once(
    tmp_path: Path, prefect_api: str
) -> None:
    prepare = stage("ls raw/${item.dataset} > list", "raw/${item.dataset}", out="list")
    stages = {"prepare": {**prepare, "matrix": {"dataset": "${run.datasets}"}}}
    flows = Flows(graph(tmp_path / "graph", stages), prefect_api)
    run = flows.run(overrides=["run.datasets=[my_folder]"])
    assert (run.type, run.stages) == ("FAILED", {})
    assert run.message == "raw/my_folder: no such folder; docs/data.md says what to put there"


def test_a_parameter_that_is_not_allowed_ends_the_run_in_one_line_at_once(diamond: Flows) -> None:
    runs = diamond.runs({"jobs": "abc"}, {"experiment": "bad name/.."}, {"targets": ["lefd"]})
    assert [(run.type, run.stages) for run in runs] == [("FAILED", {})] * 3
    messages = [run.message for run in runs]
    assert messages[:2] == [
        "jobs: 'abc' is not allowed; give 1 or more, or nothing",
        "experiment: 'bad name/..' is not allowed; give letters, digits and dashes",
    ]
    assert "'lefd'" in messages[2]


# --- the remote -----------------------------------------------------------------------------------


def test_a_second_machine_gets_everything_from_the_remote_without_computing(
    diamond: Flows, tmp_path: Path, prefect_api: str
) -> None:
    succeeded(diamond.workspace.dvc("remote", "add", "-d", "shared", str(tmp_path / "remote")))
    git(diamond.workspace, "commit", "--all", "--quiet", "--message", "Add a remote")
    assert diamond.run(push=True).type == "COMPLETED"

    elsewhere = Workspace(tmp_path / "elsewhere")
    git(diamond.workspace, "clone", "--quiet", str(diamond.workspace.root), str(elsewhere.root))
    # Without dvc.lock, only the run cache knows what the outputs are.
    assert not (elsewhere.root / "dvc.lock").exists()
    run = Flows(elsewhere, prefect_api).run(pull=True)
    assert run.stages == dict.fromkeys(DIAMOND, "Cached")
    assert elsewhere.digests("*.txt") == diamond.workspace.digests("*.txt")
    assert elsewhere.lock == diamond.workspace.lock


def test_dvc_gets_everything_from_the_remote_without_the_flow(tmp_path: Path) -> None:
    """As docs/data.md says."""
    here = graph(tmp_path / "graph", DIAMOND)
    succeeded(here.dvc("remote", "add", "-d", "shared", str(tmp_path / "remote")))
    git(here, "commit", "--all", "--quiet", "--message", "Add a remote")
    succeeded(here.repro())
    succeeded(here.dvc("push", "--run-cache"))

    elsewhere = Workspace(tmp_path / "elsewhere")
    git(here, "clone", "--quiet", str(here.root), str(elsewhere.root))
    assert succeeded(elsewhere.dvc("repro", "--pull")).stages_run == []
    assert elsewhere.digests("*.txt") == here.digests("*.txt")
    assert elsewhere.lock == here.lock


# --- failures -------------------------------------------------------------------------------------


def test_a_lock_of_another_machine_hides_nothing_that_was_computed_here(diamond: Flows) -> None:
    """One who commits it has it after a pull: its outputs are in no cache of this machine."""
    assert set(diamond.run().stages.values()) == {"Completed"}
    root = diamond.workspace.root
    lock = diamond.workspace.lock
    for entry in lock["stages"].values():
        entry["outs"][0]["md5"] = "0" * 32
    (root / "dvc.lock").write_text(yaml.safe_dump(lock))
    for name in DIAMOND:
        (root / f"{name}.txt").unlink()
    assert diamond.run().stages == dict.fromkeys(DIAMOND, "Cached")
    assert UP_TO_DATE in succeeded(diamond.workspace.dvc("status")).output


def test_files_of_dvc_that_a_kill_has_torn_stop_no_run(diamond: Flows) -> None:
    assert set(diamond.run().stages.values()) == {"Completed"}
    root = diamond.workspace.root
    torn = (root / "dvc.lock").read_text()[:-20]
    (root / "dvc.lock").write_text(torn)
    (root / ".dvc/tmp/rwlock").write_text('{"write": {"/')
    assert diamond.workspace.dvc("status").status != 0
    run = diamond.run()
    assert run.stages == dict.fromkeys(DIAMOND, "Cached")
    (line,) = [line for line in run.lines if "torn" in line]
    assert (
        line
        == "dvc.lock was torn by a kill and lies in .dvc/tmp/dvc.lock.torn now; going on without"
    )
    assert (root / ".dvc/tmp/dvc.lock.torn").read_text() == torn
    assert UP_TO_DATE in succeeded(diamond.workspace.dvc("status")).output


def test_a_failure_skips_what_needs_it_lets_the_rest_finish_and_costs_nothing_later(
    tmp_path: Path, prefect_api: str
) -> None:
    broken = DIAMOND | {
        "left": stage("echo the reason; exit 3", "first.txt", "input.txt", out="left.txt")
    }
    flows = Flows(graph(tmp_path / "graph", broken), prefect_api)
    run = flows.run(jobs=2)
    assert run.type == "FAILED"
    assert run.stages == {
        "first": "Completed",
        "left": "Failed",
        "right": "Completed",
        "last": "Skipped",
        "other": "Completed",
    }
    assert run.tries["left"] == 1
    assert run.message.startswith("left ended with status 3")
    assert "the reason" in run.message

    mended = graph(tmp_path / "mended", DIAMOND)
    shutil.copy(mended.root / "dvc.yaml", flows.workspace.root)
    assert flows.run().stages == {"left": "Completed", "last": "Completed"}


def test_a_stage_that_leaves_an_output_unwritten_fails_by_name(
    tmp_path: Path, prefect_api: str
) -> None:
    stages = {"empty": stage("true", "input.txt", out="missing.txt")}
    run = Flows(graph(tmp_path / "graph", stages), prefect_api).run()
    assert run.stages == {"empty": "Failed"}
    assert "missing.txt" in run.message


@pytest.mark.parametrize("loss", ["kill -9 $$", "exit 75"])
def test_a_stage_that_lost_its_machine_is_tried_again(
    tmp_path: Path, prefect_api: str, loss: str
) -> None:
    tried = tmp_path / "tried"
    command = f"if [ ! -e {tried} ]; then touch {tried}; {loss}; fi; touch out"
    flows = Flows(
        graph(tmp_path / "graph", {"s": stage(command, "input.txt", out="out")}), prefect_api
    )
    run = flows.run()
    assert (run.type, run.tries) == ("COMPLETED", {"s": 2})


# The first time it waits for its end on the cluster of the run.
ON_THE_CLUSTER = """
import signal
from pathlib import Path
from tasks.cluster import pool
from tasks.console import command
def main():
    with pool.connect():
        if not Path("tried").exists():
            Path("tried").touch()
            signal.pause()
    Path("out").touch()
command.run(main)
"""


def test_a_run_whose_cluster_is_lost_goes_on_from_the_stage_on_another_one(
    tmp_path: Path, prefect_api: str
) -> None:
    """The loss of another part is the same to a run: the head ends with any of them."""
    stages = {
        "before": stage(copy_of("input.txt"), "input.txt", out="before.txt"),
        "s": stage(f"python -c '{ON_THE_CLUSTER}'", "before.txt", out="out"),
    }
    flows = Flows(graph(tmp_path / "graph", stages), prefect_api, NO_CLUSTER)
    with flows.start(jobs=1) as running:
        tried = flows.workspace.root / "tried"
        wait_until(lambda: running.ended or tried.exists(), "the stage to start")
        (process,) = (p for p in flows.workspace.processes() if p.name() == "gcs_server")
        process.kill()
        run = flows.ended(running.wait())
    assert (run.type, run.tries) == ("COMPLETED", {"before": 1, "s": 2})
    said = "\n".join(run.lines)
    assert re.search(r"error: the Ray cluster at 127\.0\.0\.1:\d+ was lost", said)
    assert "the Ray cluster on this machine was lost; starting another one" in said


# --- interruptions and company --------------------------------------------------------------------


@pytest.fixture
def blocked(tmp_path: Path, prefect_api: str) -> tuple[Flows, Path]:
    """`slow` waits at a named pipe that nobody opens, with a child of its own."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    stages = {
        "quick": stage(copy_of("input.txt"), "input.txt", out="quick.txt"),
        "slow": stage(
            f"sleep 600 & child=$!; echo waiting; cat {pipe} > half; mv half slow.txt; kill $child",
            "quick.txt",
            out="slow.txt",
        ),
    }
    return Flows(graph(tmp_path / "graph", stages), prefect_api), pipe


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_a_flow_that_is_stopped_leaves_no_process_and_goes_on_where_it_was(
    blocked: tuple[Flows, Path], number: signal.Signals
) -> None:
    flows, pipe = blocked
    with flows.start() as running:
        wait_until(lambda: "waiting" in running.errors, "the stage to start")
        assert len(flows.workspace.processes()) > 1
        run = flows.latest()
        running.send(number)
        wait_until(lambda: not flows.workspace.processes(), "the end of all processes", 15)
    assert run.state == "CRASHED"
    assert not (flows.workspace.root / "slow.txt").exists()

    with flows.start() as running:
        wait_until(lambda: "waiting" in running.errors, "the stage to start")
        pipe.write_text("word\n")
        run = flows.ended(running.wait())
    assert run.stages == {"slow": "Completed"}
    assert (flows.workspace.root / "slow.txt").read_text() == "word\n"


def test_a_served_run_that_is_cancelled_from_outside_leaves_no_process(
    blocked: tuple[Flows, Path],
) -> None:
    flows, _ = blocked

    def stage_runs() -> bool:
        return any("cat" in process.name() for process in flows.workspace.processes())

    with flows.command("python", "-m", "flows.serve") as server:
        wait_until(lambda: "being served" in server.output, "the deployments")
        run = flows.order(jobs=2)
        wait_until(stage_runs, "the stage to start")
        with flows.command("prefect", "flow-run", "cancel", run.id) as cancelled:
            succeeded(cancelled.wait())
        wait_until(lambda: not stage_runs(), "the end of the stage", 15)
        assert run.wait() == "CANCELLED"
        assert run.stages["slow"] == "Cancelled"
        assert not server.ended


def test_dvc_beside_a_running_flow_says_what_it_waits_for_and_harms_nothing(
    blocked: tuple[Flows, Path],
) -> None:
    flows, pipe = blocked
    with flows.start() as running:
        wait_until(lambda: "waiting" in running.errors, "the stage to start")
        for command in (["repro"], ["status"]):
            refused = flows.workspace.dvc(*command)
            assert refused.status != 0
            assert "is busy, it is being blocked by" in refused.errors
            assert re.search(r"\(PID \d+\): flow run '[a-z]+-[a-z]+'", refused.errors)
        succeeded(flows.workspace.dvc("exp", "show", "--json"))
        pipe.write_text("word\n")
        run = flows.ended(running.wait())
    assert run.stages == {"quick": "Completed", "slow": "Completed"}
    assert UP_TO_DATE in succeeded(flows.workspace.dvc("status")).output


def test_a_run_beside_another_one_is_refused_and_leaves_no_trace_of_its_parameters(
    blocked: tuple[Flows, Path],
) -> None:
    flows, pipe = blocked
    workspace = flows.workspace
    before = workspace.digests("params.yaml", "dvc.*", ".dvc/tmp/params*")
    with flows.start() as running:
        wait_until(lambda: "waiting" in running.errors, "the stage to start")
        first = flows.latest()
        with flows.start(overrides=["salience.images=3"], force=True) as second:
            refused = flows.ended(second.wait())
        assert refused.type == "FAILED"
        assert re.fullmatch(
            r"the workspace is held by flow run '[a-z]+-[a-z]+' \(process \d+, since .+\); "
            "wait until it ends, or stop it",
            refused.message,
        )
        assert first.state == "RUNNING"
        assert workspace.digests("params.yaml", "dvc.yaml") == {
            name: digest for name, digest in before.items() if name != "dvc.lock"
        }
        pipe.write_text("word\n")
        run = flows.ended(running.wait())
    assert run.stages == {"quick": "Completed", "slow": "Completed"}


def test_a_run_beside_a_stage_of_dvc_repro_is_refused_and_names_it(
    blocked: tuple[Flows, Path],
) -> None:
    flows, pipe = blocked
    workspace = flows.workspace
    module = (
        "from pathlib import Path\n"
        f"def main():\n    print('waiting', flush=True)\n    Path('{pipe}').read_text()\n"
        "    Path('slow.txt').write_text('done')\n"
    )
    add_stage(workspace.root, "work", module)
    described = {"slow": stage("python -m tasks work", "input.txt", out="slow.txt")}
    (workspace.root / "dvc.yaml").write_text(yaml.safe_dump({"stages": described}))
    with workspace.start("dvc", "repro") as repro:
        wait_until(lambda: "waiting" in repro.output, "the stage to start")
        refused = flows.run(overrides=["salience.images=3"], force=True)
        assert refused.type == "FAILED"
        assert "python -m tasks work (process " in refused.message
        pipe.write_text("word\n")
        succeeded(repro.wait())
    assert workspace.lock["stages"]["slow"]["outs"][0]["size"] == len("done")
