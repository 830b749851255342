"""Flows with other settings, on a server."""

import base64
import html
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from flows.compare import compare
from flows.pipeline import pipeline
from flows.sweep import NoGrid, PointsFailed, split, sweep
from flows.workspace import Experiment
from pseudoword.dvc import experiments
from pseudoword.scratch import VARIABLE
from tests.dvc_project import ROOT
from tests.experiments import write_experiment
from tests.flows.experiments import Experimental
from tests.flows.test_pipeline import artifacts


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experimental:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "")  # restored afterwards
    return Experimental.begin(tmp_path)


@pytest.mark.usefixtures("prefect_server")
def test_a_run_with_overrides_and_its_experiment_name_each_other_and_the_second_time_nothing_runs(
    project: Experimental,
) -> None:
    state = pipeline(overrides={"train": {"learn_rate": 0.01}}, return_state=True)
    assert state.is_completed() and state.message == "the experiment lr0.01: 2 stages up to date"
    message = project.git("log", "-1", "--format=%B", project.experiments()["lr0.01"])
    assert f"/runs/flow-run/{state.state_details.flow_run_id}" in message
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(state.state_details.flow_run_id)
    assert run.name == "lr0.01" and "experiment:lr0.01" in run.tags
    assert project.git("status", "--porcelain") == ""
    again = pipeline(overrides={"train.learn_rate": 0.01}, return_state=True)
    assert again.name == "Unchanged" and project.journal() == ["look", "learn"]
    wrong = pipeline(overrides={"train.learn_rat": 1}, return_state=True)
    assert wrong.is_failed() and "did you mean 'learn_rate'" in str(wrong.message)


@pytest.mark.usefixtures("prefect_server")
def test_the_page_shows_a_setting_as_it_is_whatever_markdown_it_would_be(project: Experimental) -> None:
    (project.folder / "stage.py").write_text("raise SystemExit('no run needed')")
    text = "a | b\n\n# big <b>x</b> [l](javascript:alert(1)) _i_"
    (shown,) = artifacts(pipeline(overrides={"word.init_text": text}, return_state=True), "experiment")
    (row,) = [line for line in str(shown.data).splitlines() if line.startswith("| word.init_text")]
    assert html.unescape(row) == f"| word.init_text | {text} |" and not set("<[#_\n") & set(
        row.replace("&#", "").replace("init_text", "")
    )


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_sweep_names_what_failed_and_does_what_is_missing(
    project: Experimental, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two models of one name.
    grid = {"train.seed": [0, 1], "base.model": ["m/a/toy", "m/b/toy"], "train.batch": [1, "auto"]}
    pages: list[str] = []

    def comparison(_root: Path, _revisions: list[str], folder: Path) -> None:
        pages.append(str(folder))

    monkeypatch.setattr("flows.sweep.comparison", comparison)
    for number, new, part in ((2, 2, {**grid, "train.batch": [1]}), (4, 2, grid), (4, 0, grid)):
        state = sweep(part, return_state=True)
        assert state.is_completed() and state.message == f"{number} experiments, {new} of them new"
    assert pages[0] != pages[1] == pages[2], "a page for each sweep"
    assert len(project.experiments()) == 4 and project.journal().count("look") == 1


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_point_that_fails_stops_no_other(project: Experimental) -> None:
    points = {"base.precision": ["fp32", "bf16"]}
    (project.folder / "stage.py").write_text(
        (project.folder / "stage.py")
        .read_text()
        .replace('["train"]["learn_rate"] == 13', '["base"].get("precision") == "fp32"')
    )
    project.git("commit", "--quiet", "--all", "--message", "fp32 fails")
    with pytest.raises(PointsFailed, match="1 of 2 experiments failed; the same sweep tries them again"):
        sweep(points)
    (kept,) = project.experiments()
    assert "bf16" in kept


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_name_that_another_run_takes_meanwhile_is_left_to_it(
    project: Experimental, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shown(experiment: Experiment) -> None:
        if experiment.name == "lr0.01":
            other = project.git("commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "Origin: another")
            project.git("update-ref", experiments.ref(experiment.commit, "lr0.01"), other)

    monkeypatch.setattr("flows.pipeline._show_experiment", shown)
    state = pipeline(["look"], overrides={"train.learn_rate": 0.01}, return_state=True)
    assert state.is_completed() and str(state.message).startswith("the experiment lr0.01_")


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_point_that_cannot_be_fetched_fails_alone(project: Experimental, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = project.folder.with_name(f"{project.folder.name}-remote")
    command = [sys.executable, "-m", "dvc", "remote", "add", "--default", "store", str(beside / "store")]
    subprocess.run(command, check=True, capture_output=True)
    project.git("commit", "--quiet", "--all", "--message", "remote")
    project.git("clone", "--quiet", "--bare", ".", str(beside / "bare"))
    project.git("remote", "add", "origin", str(beside / "bare"))
    grid = {"base.precision": ["fp32", "bf16"]}
    state = sweep(grid, remote="origin", return_state=True)
    assert state.is_completed() and state.message == "2 experiments, 2 of them new"
    for name in project.experiments():
        project.git("update-ref", "-d", experiments.ref(project.git("rev-parse", "HEAD"), name))

    def pull(root: Path, remote: str, commit: str, name: str) -> None:
        if name.endswith("fp32"):
            raise experiments.CannotReceive(name, remote, "it is damaged")
        fetch(root, remote, commit, name)

    fetch = experiments.pull
    monkeypatch.setattr(experiments, "pull", pull)
    with pytest.raises(PointsFailed, match=r"1 of 2 experiments failed.*\n\n.*fp32: origin has .*: it is damaged"):
        sweep(grid, remote="origin")
    (kept,) = project.experiments()
    assert "bf16" in kept


@pytest.mark.usefixtures("prefect_server")
def test_a_comparison_is_named_by_its_whole_path_and_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "templates", tmp_path / "templates")
    write_experiment(tmp_path, {"base": ({"train": {"learn_rate": "0.02"}}, 0.7)})
    monkeypatch.chdir(tmp_path)
    (shown,) = artifacts(compare(return_state=True), "comparison")
    page = tmp_path / ".scratch/comparison/index.html"
    assert str(shown.data).count(str(page)) == 1
    link = re.search(r"\[index.html\]\(data:application/octet-stream;base64,(.*)\)", str(shown.data))
    assert link and base64.b64decode(link[1]) == page.read_bytes()


@pytest.mark.usefixtures("prefect_server")
def test_a_form_that_was_sent_empty_is_told_what_a_grid_is() -> None:
    state = sweep(return_state=True)
    assert state.is_failed() and "grid: found nothing, wanted axes such as" in str(state.message)


def test_a_grid_is_split_into_what_packs_and_what_does_not() -> None:
    grid = {"train.seed": [0, 1], "base.precision": ["fp32", "bf16"], "train.learn_rate": [0.1]}
    together = {"train.seed": [0, 1], "train.learn_rate": [0.1]}
    assert split(grid, {"train.steps": 5}) == [
        {"train.steps": 5, "sweep": together, "base.precision": precision} for precision in ("fp32", "bf16")
    ]
    assert split({"train.seed": [0]}, {}) == [{"sweep": {"train.seed": [0]}}]
    with pytest.raises(NoGrid, match=r"grid: train.seed: found 3, wanted a list such as \[0, 1\]"):
        split({"train.seed": 3}, {})
