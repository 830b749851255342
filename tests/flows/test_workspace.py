"""Runs with other settings: workspaces and what is kept of them, without a Prefect server."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.workspace import (
    LOCK,
    BadName,
    CannotFetch,
    Experiment,
    NameTaken,
    NoExperiments,
    NoIdentity,
    NoSuchRevision,
    fetched,
)
from pseudoword.locks import file_lock
from pseudoword.scratch import VARIABLE
from pseudoword.settings.messages import BadSettings
from tests.flows.experiments import Experimental


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Experimental]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "")  # restored afterwards
    yield Experimental(tmp_path)


def run(project: Experimental, overrides: dict[str, object], name: str = "") -> Experiment:
    """As the flow does it, with one `dvc repro`."""
    experiment = Experiment.planned(project.folder, overrides, name)
    with experiment.workspace() as folder:
        subprocess.run([sys.executable, "-m", "dvc", "repro", "--quiet"], cwd=folder, check=True, capture_output=True)
        experiment.save(folder, [], "Prefect: http://127.0.0.1/runs/1")
    return experiment


def test_a_run_with_overrides_is_an_experiment_and_the_workspace_stays_clean(project: Experimental) -> None:
    experiment = run(project, {"train": {"learn_rate": 0.01}, "train.seed": 3})
    assert experiment.name == "lr0.01-seed3"
    assert project.git("status", "--porcelain") == ""
    commit = project.experiments()["lr0.01-seed3"]
    params = project.at(commit, "params.yaml")
    assert params.startswith("# remarks stay") and "learn_rate: 0.01   # a rate" in params and "seed: 3" in params
    assert "Prefect: http://127.0.0.1/runs/1" in project.git("log", "-1", "--format=%B", commit)
    assert project.git("status", "--porcelain") == ""
    subprocess.run([sys.executable, "-m", "dvc", "exp", "apply", "--quiet", "lr0.01-seed3"], check=True)
    assert "'learn_rate': 0.01, 'seed': 3" in Path("outputs/learn.txt").read_text(), "from the shared cache"


def test_the_same_overrides_are_one_experiment_however_they_are_written(project: Experimental) -> None:
    run(project, {"train.learn_rate": 0.01, "train.seed": 1})
    again = Experiment.planned(project.folder, {"train": {"seed": 1, "learn_rate": 0.01}})
    assert again.is_saved([]) and again.is_saved(["learn"]) and list(project.experiments()) == [again.name]
    assert not Experiment.planned(project.folder, {"train.seed": 2}).is_saved([])
    with again.workspace() as folder:
        assert (folder / "outputs/learn.txt").exists(), "it is still there"
    assert not Experiment.planned(project.folder, {"train.seed": 1, "train.learn_rate": 0.02}, "mine").is_saved([])


@pytest.mark.slow
def test_it_begins_with_the_edits_of_the_project_and_a_name_is_never_given_twice(project: Experimental) -> None:
    params = project.folder / "params.yaml"
    run(project, {"train.seed": 1})
    params.write_text(params.read_text().replace("0.005", "0.02"))
    assert run(project, {"train.seed": 1}).name == "lr0.02-seed1"
    params.write_text(params.read_text().replace("0.02", "0.005"))
    stage = project.folder / "stage.py"
    stage.write_text(stage.read_text() + "# changed\n")
    assert run(project, {"train.seed": 1}).name.startswith("seed1_")
    assert len(project.experiments()) == 3 and project.git("status", "--porcelain") == "M stage.py"
    run(project, {"train.seed": 7}, "mine")
    with pytest.raises(NameTaken, match="there is an experiment mine with other settings"):
        Experiment.planned(project.folder, {"train.seed": 8}, "mine")


@pytest.mark.slow
def test_pictures_that_git_does_not_have_are_carried_in_by_content(project: Experimental, tmp_path: Path) -> None:
    project.pictures("data/dog", "a dog")
    outside = tmp_path.with_name(f"{tmp_path.name}-outside") / "mouse"
    outside.mkdir(parents=True)
    (outside / "1.png").write_text("a mouse")
    (outside / "gone").symlink_to("nowhere")
    inside = run(project, {"data.folder": "data/dog"})
    elsewhere = run(project, {"data.folder": str(outside)})
    assert (inside.name, elsewhere.name) == ("data_dog", "data_mouse")
    assert project.result("data_dog").startswith("a dog ") and project.result("data_mouse").startswith("a mouse ")
    assert "nfiles: 1" in project.at(project.experiments()["data_mouse"], "data/mouse.dvc")
    assert project.git("status", "--porcelain") == "?? data/dog/", "as the user left it"
    project.pictures("data/dog", "another dog")
    again = Experiment.planned(project.folder, {"data.folder": "data/dog"})
    assert again.name.startswith("data_dog_") and not again.is_saved([])


@pytest.mark.slow
def test_models_and_embeddings_that_git_does_not_have_are_seen_and_not_kept(project: Experimental) -> None:
    for path in ("models/tiny/weights", "data/embeddings/other.pt"):
        (project.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (project.folder / path).write_text("big")
    experiment = run(project, {"train.seed": 1})
    with experiment.workspace() as folder:
        assert (
            (folder / "models/tiny/weights").read_text() == (folder / "data/embeddings/other.pt").read_text() == "big"
        )
    kept = project.git("ls-tree", "-r", "--name-only", project.experiments()["seed1"])
    assert "models" not in kept and "embeddings" not in kept


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"train.learn_rat": 1}, "train.learn_rat: unknown key, did you mean 'learn_rate'?"),
        ({"train": {"seed": "x"}}, "train.seed: found 'x', wanted a whole number"),
        ({"trian.seed": 1}, "trian: unknown key, did you mean 'train'?"),
        ({"sweep": {"train.batch": [1, 2]}}, "sweep: 'train.batch' cannot be swept"),
    ],
)
def test_wrong_overrides_are_refused_in_the_words_of_check_before_anything_is_made(
    project: Experimental, overrides: dict[str, object], message: str
) -> None:
    with pytest.raises(BadSettings) as error:
        Experiment.planned(project.folder, overrides)
    assert message in str(error.value) and str(error.value).startswith("params.yaml with these overrides is not valid:")
    assert not (project.folder / ".scratch/workspaces").exists()


@pytest.mark.parametrize(
    "name", ["../../data", "cats/one", "my cat", "a..b", "x.lock", ".hidden", "-x", ".", "a\nb", "ü" * 126]
)
def test_a_name_that_is_none_of_a_folder_and_a_ref_is_refused_before_anything_is_made(
    project: Experimental, name: str
) -> None:
    with pytest.raises(BadName, match=r"name: found .*, wanted letters, digits, '\.', '-' and '_', such as lr0\.02"):
        Experiment.planned(project.folder, {"train.seed": 3}, name)
    assert not (project.folder / ".scratch/workspaces").exists()
    assert Experiment.planned(project.folder, {"train.seed": 3}, "Größe_1.5-b").name == "Größe_1.5-b"


def test_without_git_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoExperiments, match=r"is no git repository with a commit.*Edit params\.yaml"):
        Experiment.planned(tmp_path, {"train.seed": 1})


def test_in_a_sub_folder_of_a_repository_it_is_told(project: Experimental, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = project.folder / "inner"
    shutil.copytree(project.folder / "templates", inner / "templates")
    monkeypatch.chdir(inner)
    with pytest.raises(NoExperiments, match=r"inner is a sub-folder of its git repository, so .*Edit params\.yaml"):
        Experiment.planned(inner, {"train.seed": 1})


def test_without_a_name_for_git_it_is_told_before_anything_is_made(
    project: Experimental, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(variable, os.devnull)
    project.git("config", "--unset", "user.email")
    experiment = Experiment.planned(project.folder, {"train.seed": 1})
    told = r"git knows no name and address of yours.*git config --global user\.name"
    with pytest.raises(NoIdentity, match=told), experiment.workspace():
        pass
    assert not (project.folder / ".scratch/workspaces/seed1").exists()
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "somebody@example.org")
    run(project, {"train.seed": 1})


def test_a_workspace_in_which_git_was_killed_is_used_again(project: Experimental) -> None:
    experiment = Experiment.planned(project.folder, {"train.seed": 1})
    with experiment.workspace() as folder:
        place = Path(project.git("-C", str(folder), "rev-parse", "--absolute-git-dir"))
    (place / "index.lock").touch()
    (place / "HEAD.lock").touch()
    (folder / ".scratch/origin").unlink()
    with experiment.workspace() as folder:
        project.git("-C", str(folder), "add", "--all")


def test_a_project_that_was_copied_leaves_the_workspaces_of_the_other_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "")
    (tmp_path / "one").mkdir()
    monkeypatch.chdir(tmp_path / "one")
    one = Experimental(tmp_path / "one")
    with Experiment.planned(one.folder, {"train.seed": 1}).workspace() as theirs:
        shutil.copytree(one.folder, tmp_path / "two", symlinks=True)
    monkeypatch.chdir(tmp_path / "two")
    monkeypatch.setenv(VARIABLE, "")
    with Experiment.planned(tmp_path / "two", {"train.seed": 1}).workspace() as folder:
        common = one.git("-C", str(folder), "rev-parse", "--path-format=absolute", "--git-common-dir")
        assert Path(common) == tmp_path / "two/.git" and folder != theirs


def test_a_lock_that_is_held_outlives_a_prune(project: Experimental) -> None:
    experiment, lock = Experiment.planned(project.folder, {"train.seed": 1}), project.folder / LOCK
    with experiment.workspace():
        pass
    with file_lock(lock, None), lock.open() as held:
        os.utime(lock, (0, 0))
        with experiment.workspace():
            assert lock.exists() and os.path.samestat(os.fstat(held.fileno()), lock.stat())


@pytest.mark.slow
def test_a_run_of_some_stages_is_an_experiment_that_lacks_the_others(project: Experimental) -> None:
    experiment = Experiment.planned(project.folder, {"train.seed": 5})
    with experiment.workspace() as folder:
        command = [sys.executable, "-m", "dvc", "repro", "--quiet", "look"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        experiment.save(folder, ["look"], "")
    assert experiment.is_saved(["look"]) and not experiment.is_saved(["learn"]) and not experiment.is_saved([])


@pytest.mark.slow
def test_another_machine_gets_the_experiment_through_the_remotes_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "")
    (tmp_path / "one").mkdir()
    monkeypatch.chdir(tmp_path / "one")
    one = Experimental(tmp_path / "one")
    subprocess.run(
        [sys.executable, "-m", "dvc", "remote", "add", "--default", "store", str(tmp_path / "store")], check=True
    )
    one.git("commit", "--quiet", "--all", "--message", "remote")
    subprocess.run(["git", "clone", "--quiet", "--bare", str(one.folder), str(tmp_path / "bare")], check=True)
    one.git("remote", "add", "origin", str(tmp_path / "bare"))
    subprocess.run(["git", "clone", "--quiet", str(tmp_path / "bare"), str(tmp_path / "two")], check=True)
    overrides = {"train.seed": 1}
    run(one, overrides).send("origin")

    two = tmp_path / "two"
    monkeypatch.chdir(two)
    monkeypatch.setenv(VARIABLE, "")
    there = Experiment.planned(two, overrides)
    assert not there.is_saved([])
    there.fetch("origin")
    assert there.is_saved([])
    assert not Experiment.planned(two, {"train.seed": 2}).is_saved([])
    Experiment.planned(two, {"train.seed": 2}).fetch("origin")  # is not there, and no fault
    subprocess.run([sys.executable, "-m", "dvc", "exp", "apply", "--quiet", "seed1"], check=True)
    assert "'seed': 1" in (two / "outputs/learn.txt").read_text()


def test_a_clone_that_is_behind_begins_from_the_commit_that_it_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "")
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    upstream = Experimental(one)
    begun = upstream.git("rev-parse", "HEAD")
    subprocess.run(["git", "clone", "--quiet", str(one), str(two)], check=True)
    (one / "params.yaml").write_text((one / "params.yaml").read_text().replace("0.005", "0.03"))
    upstream.git("commit", "--quiet", "--all", "--message", "another rate")
    monkeypatch.chdir(two)
    (two / "params.yaml").write_text("not even YAML: [")

    commit = fetched(two, "origin")
    assert commit == upstream.git("rev-parse", "HEAD") == fetched(two, "origin", commit)
    experiment = Experiment.planned(two, {"train.seed": 1}, revision=commit)
    assert experiment.name == "seed1" and experiment.revision.endswith("/seed1"), "its name alone could be HEAD's"
    with experiment.workspace() as folder:
        text = (folder / "params.yaml").read_text()
        assert "learn_rate: 0.03" in text and "seed: 1" in text
    assert Experiment.planned(two, {"train.seed": 1}, revision=fetched(two, "origin", begun)).commit == begun
    with pytest.raises(CannotFetch, match=r"nowhere cannot be fetched from the git remote origin: .*nowhere"):
        fetched(two, "origin", "nowhere")
    with pytest.raises(CannotFetch, match="the default branch cannot be fetched from the git remote backup"):
        fetched(two, "backup")
    with pytest.raises(NoSuchRevision, match="revision: found 'nowhere', wanted a commit, branch or tag"):
        Experiment.planned(two, {}, revision="nowhere")
