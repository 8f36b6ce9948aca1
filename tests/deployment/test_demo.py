"""`python -m flows.demo`, what `make flow` runs: everything starts, runs, and is gone again."""

from pipeline_workspace import Workspace, succeeded

from tasks.processes.addresses import free_port


def test_a_run_is_deployed_shown_and_cleaned_up_after(bare: Workspace) -> None:
    # A proxy of the user's, which does not know this machine.
    proxy = f"http://127.0.0.1:{free_port()}"
    environment = {"http_proxy": proxy, "HTTP_PROXY": proxy, "no_proxy": None, "NO_PROXY": None}
    shown = succeeded(bare.run("python", "-m", "flows.demo", "-p", "dry_run=true", env=environment))
    text = shown.output + shown.errors
    assert "Executing deployment step: set_working_directory" in text
    assert "train@shapes-pgd_linf_8-0" in text
    assert shown.output.endswith("The run has completed.\n")
    assert bare.processes() == []
