import re
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact
from prefect.client.schemas.sorting import LogSort
from prefect.settings import PREFECT_API_URL

from flows.pipeline import LOCK, PipelineFailed, main, pipeline
from pseudoword.locks import file_lock
from tests.dvc_project import Project, alive, waiting_stage


@pytest.mark.usefixtures("prefect_server")
def test_the_flow_runs_every_stage_then_none(project: Project) -> None:
    assert stage_states(pipeline(return_state=True)) == dict.fromkeys(("first", "left", "right", "last"), "Ran")
    assert (project.folder / "last.txt").read_text() == "write"
    project.tell(left="something else")
    assert stage_states(pipeline(return_state=True)) == {
        "first": "Unchanged",
        "left": "Ran",
        "right": "Unchanged",
        "last": "Ran",
    }


@pytest.mark.usefixtures("prefect_server")
def test_a_failed_stage_fails_the_flow_with_its_own_error(project: Project) -> None:
    project.tell(left="fail")
    with pytest.raises(PipelineFailed, match=r"stage left failed \(exit code 1\)") as failure:
        pipeline()
    assert "error: left was told to fail" in str(failure.value)
    assert str(failure.value).endswith("Not run: last")
    assert (project.folder / "right.txt").exists()
    assert not (project.folder / "last.txt").exists()


@pytest.mark.usefixtures("prefect_server")
def test_a_killed_stage_is_tried_again(project: Project) -> None:
    project.tell(first="die once")
    assert stage_states(pipeline(["first"], return_state=True)) == {"first": "Ran"}


@pytest.mark.usefixtures("prefect_server")
def test_what_is_up_to_date_starts_no_process(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline()
    started: list[str] = []
    monkeypatch.setattr("flows.pipeline.reproduce", lambda stage, *_: started.append(stage) or "Unchanged")
    assert set(stage_states(pipeline(return_state=True)).values()) == {"Unchanged"} and not started
    (project.folder / "left.txt").write_text("touched by hand")
    pipeline()
    assert started == ["left", "last"]


@pytest.mark.usefixtures("prefect_server")
def test_the_page_shows_how_far_a_stage_is(project: Project) -> None:
    project.tell(first="tell")
    state = pipeline(["first"], return_state=True)
    (shown,) = artifacts(state, "progress-first")
    assert shown.data == 75.0
    assert shown.description == "first: 3 of 4 pictures, loss 0.1, 2 s each, 0:00:02 left"
    project.tell(first="write")
    assert not artifacts(pipeline(["first"], return_state=True), "progress-first"), "what an earlier run told"


@pytest.mark.usefixtures("prefect_server")
def test_a_graph_that_dvc_cannot_read_is_one_message(project: Project) -> None:
    (project.folder / "dvc.yaml").write_text("stages: {first: {}}")
    state = pipeline(return_state=True)
    assert state.is_failed() and str(state.message).startswith("DVC cannot read the graph of ")


def test_a_misspelt_stage_is_told_before_a_server_starts(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.folder)
    monkeypatch.setattr("flows.pipeline.run_flow", None)
    assert main(["lst"]) == 1
    assert "dvc.yaml has no stage 'lst'; did you mean 'last'?" in capsys.readouterr().err


def test_a_home_that_is_no_folder_is_one_message(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.folder)
    monkeypatch.setenv("HOME", "/dev/null")
    for name in ("XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "DVC_GLOBAL_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert main(["last"]) == 1
    assert "HOME, which is '/dev/null': set that to a folder" in capsys.readouterr().err


@pytest.mark.usefixtures("prefect_server")
def test_a_run_that_waits_for_another_says_so_on_the_page(project: Project) -> None:
    with ThreadPoolExecutor() as pool, get_client(sync_client=True) as client:
        with file_lock(project.folder / LOCK, None):
            run = pool.submit(pipeline, ["first"], return_state=True)
            end = time.monotonic() + 240
            # The latest ones: a page holds 200, and other tests have filled some.
            while not any(
                f"run in {project.folder}" in line.message for line in client.read_logs(sort=LogSort.TIMESTAMP_DESC)
            ):
                assert time.monotonic() < end and not run.done()
                time.sleep(0.5)
        assert stage_states(run.result()) == {"first": "Ran"}


@pytest.mark.parametrize("setting", ["train.learn_rate=[0.1", "train.learn_rate={a: ", "train.learn_rate=\x07"])
def test_a_value_that_is_no_yaml_is_one_message(setting: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["-S", setting])
    told = capsys.readouterr().err.splitlines()[-1]
    assert "argument -S/--set: found 'train.learn_rate=" in told and "wanted a value as params.yaml has it" in told


@pytest.mark.parametrize("server", ["running", pytest.param("temporary", marks=pytest.mark.slow)])
@pytest.mark.usefixtures("prefect_server")
def test_the_command_stops_with_all_that_it_started(
    server: str, project: Project, flow_command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if server == "running":
        monkeypatch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))
    project.tell(first="wait")
    with subprocess.Popen(flow_command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as command:
        stage = waiting_stage(project.folder, patience=250)  # a server's first start, on a busy machine
        started = time.monotonic()
        command.send_signal(signal.SIGTERM)
        output, _ = command.communicate(timeout=60)
    assert command.returncode == 128 + signal.SIGTERM
    assert time.monotonic() - started < 30
    assert "Stopped, and every running stage with it." in output
    assert not alive(stage)
    if address := re.search(r"watch the flow at http://127\.0\.0\.1:(\d+)", output):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(address[1])))
    assert bool(address) == (server == "temporary")


def artifacts(state: State[State[object]], key: str) -> list[Artifact]:
    """Those of the flow run that ended so."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    return [artifact for artifact in found if artifact.flow_run_id == state.state_details.flow_run_id]


def stage_states(state: State[State[object]]) -> dict[str, str]:
    """The name of each task's last state in the flow run that ended so."""
    assert state.is_completed(), state.message
    with get_client(sync_client=True) as client:
        runs = client.read_task_runs()
    of_this_run = [run for run in runs if run.flow_run_id == state.state_details.flow_run_id]
    return {run.name: str(run.state_name) for run in of_this_run}
