"""`make serve`: forms, workers, a whole training over HTTP alone, and what dies. One server for all of it."""

import base64
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings import get_current_settings

from flows.serve import SILENCE_S, PortTaken, ServedAlready, main, serve
from pseudoword.locks import file_lock
from tests.browser import Browser, browser, chromium
from tests.dvc_project import ROOT, alive
from tests.flows.experiments import Experimental
from tests.flows.served import Served, flow_processes, parent_of, processes_of, serving, with_deployments
from tests.postgres import free_port

__all__ = ["browser", "chromium"]
GONE_S = 30  # 5 on an idle machine
DRAFTS_AND_EDITS = """
stages:
  caption: {cmd: python stage.py look, deps: [data/cat/1.png], outs: [outputs/look.txt]}
  learn:
    cmd: cat outputs/look.txt data/cat/captions.yaml > outputs/learn.txt
    deps: [outputs/look.txt, data/cat/captions.yaml]
    outs: [outputs/learn.txt]
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("prefect")
    with serving(project_in(tmp_path_factory.mktemp("project")).folder, home, workers=2) as served:
        yield served
    assert not (home / "prefect.db").exists(), "another project's server would see its runs"


def project_in(folder: Path) -> Experimental:
    project = Experimental.begin(folder)
    with_deployments(folder)
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "serve")
    return project


def test_a_port_that_is_taken_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--port", str(port)]) == 1
        assert f"port {port} of this machine is taken" in capsys.readouterr().err
        with pytest.raises(PortTaken):
            serve(port, [None])


@pytest.mark.parametrize("option", ["--port=99999", "--port=0", "--port=http", "--workers=0", "--workers=-1"])
def test_a_number_that_cannot_be_is_one_message(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([option])
    assert "wanted a whole number from 1 to " in capsys.readouterr().err.splitlines()[-1]


def test_a_run_gives_two_signs_of_life_before_it_is_taken_for_dead() -> None:
    here = get_current_settings().flows.heartbeat_frequency
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    by_workers = [one["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] for one in deployments]
    assert all(int(seconds) * 2 < SILENCE_S for seconds in (here, *by_workers) if seconds)


def test_a_project_is_served_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with file_lock(tmp_path / ".scratch/locks/serve.lock", None), pytest.raises(ServedAlready):
        serve(free_port(), [None])


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
def test_dvc_is_told_that_an_unpacked_archive_is_no_git_repository_before_it_is_served() -> None:
    planned = subprocess.run(["make", "--dry-run", "serve"], cwd=ROOT, capture_output=True, text=True, check=True)
    before, _, _ = planned.stdout.partition("python -m flows.serve")
    assert "dvc config --local core.no_scm true" in before


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_whole_training_over_http_alone(served: Served) -> None:
    """What docs/api.md says, in its order."""
    run = served.create("pipeline", overrides={"train.learn_rate": 0.01, "train.steps": 100})
    stage = served.learning("lr0.01-steps100")
    served.wait(lambda: "progress-learn" in served.artifacts(run), "its progress is shown")
    progress = served.artifacts(run)["progress-learn"]
    assert progress["data"] == 25.0 and progress["description"].startswith("learn: 1 of 4 steps, loss 0.1")
    assert served.run(run)["name"] == "lr0.01-steps100"
    cancelling = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    assert served.ask(f"/flow_runs/{run}/set_state", cancelling)["status"] == "ACCEPT"
    assert served.end(run)["type"] == "CANCELLED"
    assert not alive(stage) and "lr0.01-steps100" not in served.project.experiments()

    run = served.create("pipeline", overrides={"train.learn_rate": 0.01, "train.steps": 1}, report=True)
    state = served.end(run)
    assert (state["type"], state["message"]) == ("COMPLETED", "the experiment lr0.01-steps1: 2 stages up to date")
    shown = served.artifacts(run)
    assert served.project.journal().count("look") == 1, "what was finished is not done again"
    for artifact, file, content in (("embedding", "snorf.safetensors", b"a word"), ("report", "index.html", b"a page")):
        link = re.search(rf"\[{file}\]\(data:application/octet-stream;base64,(.*)\)", shown[artifact]["data"])
        assert link and base64.b64decode(link[1]) == content
    assert "`dvc exp apply lr0.01-steps1`" in shown["experiment"]["data"]
    wrong = served.end(served.create("pipeline", overrides={"train.learn_rat": 1}))
    assert wrong["type"] == "FAILED" and "did you mean 'learn_rate'" in wrong["message"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_sweep_goes_to_the_workers_and_takes_a_killed_point_again(served: Served) -> None:
    grid = {"train.seed": [0, 1], "base.precision": ["fp32", "bf16"]}
    run = served.create("sweep", grid=grid, overrides={"train.steps": 15})
    names = [f"base.precision_{precision}-sweep_seed-steps15" for precision in ("fp32", "bf16")]
    stages = [served.learning(name) for name in names]
    assert all(map(alive, stages)), "two workers learn side by side"
    victim, _ = flow_and_dvc(served.project.folder / ".scratch/workspaces" / names[1])
    os.kill(victim, signal.SIGKILL)
    state = served.end(run)
    assert state["type"] == "COMPLETED" and state["message"] == "2 experiments, 2 of them new"
    assert set(names) <= set(served.project.experiments())
    again = served.end(served.create("sweep", grid=grid, overrides={"train.steps": 15}))
    assert again["message"] == "2 experiments, 0 of them new"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_point_whose_worker_died_before_it_began_is_taken_again(served: Served) -> None:
    sweep = served.create("sweep", grid={"train.seed": [21]})
    served.wait(lambda: points(served, "sweep_seed"), "the point is handed in")
    (point,) = points(served, "sweep_seed")
    served.wait(lambda: processes_of(point["id"]), "a worker takes it")
    flow = min(processes_of(point["id"]))
    os.kill(parent_of(flow), signal.SIGKILL)
    assert served.run(point["id"])["state"]["type"] == "PENDING"
    killed = time.monotonic()
    served.wait(lambda: not alive(flow), "its process ends", GONE_S)
    served.wait(lambda: len(points(served, "sweep_seed")) == 2, "it is handed in again", 150)
    print(f"handed in again {time.monotonic() - killed:.0f} s after its worker was killed")
    assert served.end(point["id"])["type"] == "CRASHED"
    assert served.end(sweep)["message"] == "1 experiments, 1 of them new"


def points(served: Served, name: str) -> list[dict[str, Any]]:
    found = served.ask("/flow_runs/filter", {"flow_runs": {"name": {"any_": [name]}}})
    return sorted(found, key=lambda run: str(run["created"]))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_end_of_make_serve_is_that_of_a_sweep_and_all_its_points(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    project = project_in(tmp_path / "project")
    names = [f"base.precision_{precision}-steps100" for precision in ("fp32", "bf16")]
    with serving(project.folder, tmp_path, workers=1) as served:
        sweep = served.create("sweep", grid={"base.precision": ["fp32", "bf16"]}, overrides={"train.steps": 100})
        served.wait(lambda: processes_in_workspaces(project.folder), "a point learns")
        started = time.monotonic()
    print(f"all gone {time.monotonic() - started:.0f} s after Ctrl-C")
    with serving(project.folder, tmp_path, workers=1) as served:
        ended = [served.run(sweep), *(run for name in names for run in points(served, name))]
        assert [run["state"]["type"] for run in ended] == ["CANCELLED"] * 3


def processes_in_workspaces(folder: Path) -> bool:
    return any("stage.py learn" in command for command in flow_processes(folder / ".scratch/workspaces").values())


def flow_and_dvc(workspace: Path) -> tuple[int, int]:
    """The process ids of the flow that has a stage run there, and of the dvc that runs it."""
    dvc = next(pid for pid, command in flow_processes(workspace).items() if "repro" in command)
    return parent_of(dvc), dvc


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("victim", ["worker", "flow", "dvc", "stage"])
def test_whatever_is_killed_leaves_no_orphan_and_the_next_run_goes_on(served: Served, victim: str) -> None:
    seed = {"flow": 11, "dvc": 12, "stage": 13, "worker": 14}[victim]
    overrides = {"train.seed": seed, "train.steps": 10}
    run = served.create("pipeline", overrides=overrides)
    name = f"seed{seed}-steps10"
    stage = served.learning(name)
    workspace = served.project.folder / ".scratch/workspaces" / name
    flow, dvc = flow_and_dvc(workspace)
    victims = {"worker": parent_of(flow), "flow": flow, "dvc": dvc, "stage": stage}
    os.kill(victims[victim], signal.SIGKILL)
    served.wait(lambda: not alive(stage), f"the stage ends with its {victim}", GONE_S)
    state = served.end(run)
    if victim in ("worker", "flow"):
        assert state["type"] == "CRASHED"
        served.wait(lambda: not flow_processes(workspace), "nothing lives on", GONE_S)
        state = served.end(served.create("pipeline", overrides=overrides))
    assert state["type"] == "COMPLETED" and name in served.project.experiments(), "killed stages are tried again"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_form_lists_every_setting_and_untouched_is_the_run_of_params_yaml(served: Served, browser: Browser) -> None:
    open_form(served, browser)
    text = browser.evaluate("document.body.innerText")
    assert "Chance of each part of a caption to be left out. (at least 0, at most 1)" in text
    run = submit(served, browser)
    assert not run["parameters"].get("overrides")
    assert served.end(run["id"])["type"] == "COMPLETED"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_form_sends_what_was_filled_in_alone(served: Served, browser: Browser) -> None:
    open_form(served, browser)
    label = "[...document.querySelectorAll('label')].find(label => label.innerText.startsWith('learn_rate'))"
    browser.evaluate(f"{label}.closest('.schema-form-property').querySelector('input').focus()")
    browser.call("Input.insertText", text="0.0035")
    browser.until(f"({OVERRIDES}).train?.learn_rate == 0.0035")
    run = submit(served, browser)
    assert run["parameters"]["overrides"] == {"train": {"learn_rate": 0.0035}}
    state = served.end(run["id"])
    assert (state["type"], state["message"]) == ("COMPLETED", "the experiment lr0.0035: 2 stages up to date")


# What the form would send. It gathers what is typed after a while, and Vue keeps that in no element of the page.
OVERRIDES = """
(function overrides(node) {
    const parts = [node.component?.subTree, node.suspense?.activeBranch, node.children].flat();
    const inner = parts.filter(part => part instanceof Object).map(overrides).find(found => found);
    return node.component?.props.values?.overrides ?? inner;
})(document.getElementById('app')._vnode)
"""


def open_form(served: Served, browser: Browser) -> None:
    deployment = served.ask("/deployments/name/pipeline/pipeline")
    address = f"{served.address}/deployments/deployment/{deployment['id']}/run"
    browser.open(address, "document.body.innerText.includes('tag_dropout')")


def submit(served: Served, browser: Browser) -> dict[str, Any]:
    """The flow run that it makes."""
    before = {run["id"] for run in served.ask("/flow_runs/filter", {})}
    buttons = "[...document.querySelectorAll('button')]"
    browser.evaluate(f"{buttons}.filter(button => button.innerText.trim() == 'Submit').at(-1).click()")
    served.wait(lambda: {run["id"] for run in served.ask("/flow_runs/filter", {})} - before, "the form is sent")
    (run,) = [run for run in served.ask("/flow_runs/filter", {}) if run["id"] not in before]
    return dict(run)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_reviewed_waits_for_a_person_and_goes_on_with_what_they_wrote(served: Served) -> None:
    run = served.create("reviewed")
    state = served.end(run)
    assert state["type"] == "FAILED" and "dvc.yaml has no stage 'caption'" in state["message"]

    folder = served.project.folder
    (folder / "dvc.yaml").write_text(DRAFTS_AND_EDITS)
    run = served.create("reviewed")
    served.wait(lambda: served.run(run)["state"]["name"] == "Suspended", "it waits")
    served.wait(lambda: not processes_of(run), "its process ends, so that the worker is free meanwhile")
    assert "`make review`" in served.artifacts(run)["review"]["data"]
    assert (folder / "outputs/look.txt").read_text() == "cat" and not (folder / "outputs/learn.txt").exists()
    edits = "1.png: {text: a cat on a mat, approved: true}\n"
    (folder / "data/cat/captions.yaml").write_text(edits)
    assert served.ask(f"/flow_runs/{run}/resume", {})["status"] == "ACCEPT"
    assert served.end(run)["type"] == "COMPLETED"
    assert (folder / "outputs/learn.txt").read_text() == f"cat{edits}"
    assert (folder / "data/cat/captions.yaml").read_text() == edits
    assert "data/cat/captions.yaml" in served.project.git("status", "--porcelain"), "a commit to be"
