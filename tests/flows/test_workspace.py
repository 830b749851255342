"""Runs with other settings: workspaces and what is kept of them, without a Prefect server."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.git import CannotFetch, NoIdentity
from flows.workspace import (
    LOCK,
    BadName,
    Experiment,
    NameTaken,
    NoExperiments,
    NoSuchRevision,
    fetched,
)
from pseudoword.dvc import experiments
from pseudoword.dvc.experiments import CannotSend
from pseudoword.locks import file_lock
from pseudoword.scratch import VARIABLE
from pseudoword.settings.messages import BadSettings
from tests.flows.experiments import Experimental


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Experimental]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "")  # restored afterwards
    yield Experimental.begin(tmp_path)


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
def test_points_of_a_sweep_that_would_have_one_name_are_told_apart_and_known_again(project: Experimental) -> None:
    points: list[dict[str, object]] = [{"base.model": path} for path in ("m/a/toy", "m/b/toy", "m/b/toy", "m/c")]
    run(project, points[0], "model_toy")  # as of an earlier version
    names = [experiment.name for experiment in Experiment.all_planned(project.folder, points)]
    assert names[0] == "model_toy" and names[1].startswith("model_toy_") and names[1:] == [names[1]] * 2 + ["model_c"]
    project.git("update-ref", "-d", f"refs/exps/{(head := project.git('rev-parse', 'HEAD'))[:2]}/{head[2:]}/model_toy")
    names = [experiment.name for experiment in Experiment.all_planned(project.folder, points)]
    assert len(set(names)) == 3 and "model_toy" not in names
    run(project, points[1], names[1])
    assert Experiment.planned(project.folder, points[1]).name == names[1], "though the short one is free"


@pytest.mark.slow
def test_of_two_runs_with_one_name_at_once_the_second_is_told_before_anything_runs(project: Experimental) -> None:
    second = Experiment.planned(project.folder, {"base.model": "m/b/toy"})
    run(project, {"base.model": "m/a/toy"})
    with pytest.raises(NameTaken, match="there is an experiment model_toy with other settings"), second.workspace():
        pass
    assert Experiment.planned(project.folder, {"base.model": "m/b/toy"}).name.startswith("model_toy_")


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


def test_every_path_means_in_a_workspace_what_it_means_in_the_project(project: Experimental, tmp_path: Path) -> None:
    outside = tmp_path.with_name(f"{tmp_path.name}-outside")
    for path in (outside / "sd", tmp_path / "models/other"):
        path.mkdir(parents=True)
    above = f"../{outside.name}/sd"
    overrides = {"base.model": above, "evaluate.also_on": ["models/other", above], "word.init_text": "a cat " * 60}
    experiment = Experiment.planned(project.folder, overrides)
    with experiment.workspace() as folder:
        content = YAML(typ="safe").load(folder / "params.yaml")
        for path in (content["base"]["model"], *content["evaluate"]["also_on"]):
            assert (folder / path).is_dir()
    assert Experiment.planned(project.folder, overrides).overrides["base.model"] == above, "it is the same experiment"


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
    one = Experimental.begin(tmp_path / "one")
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


class Machines:
    """Clones of a project with a git and a DVC remote in common."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder, patch
        patch.setenv(VARIABLE, "")
        (folder / "seed").mkdir()
        seed = Experimental.begin(folder / "seed")
        command = [sys.executable, "-m", "dvc", "remote", "add", "--default", "store", str(folder / "store")]
        subprocess.run(command, cwd=seed.folder, check=True, capture_output=True)
        seed.git("commit", "--quiet", "--all", "--message", "remote")
        seed.git("clone", "--quiet", "--bare", str(seed.folder), str(folder / "bare"))

    def at(self, name: str) -> Path:
        clone = self.folder / name
        if not clone.exists():
            subprocess.run(["git", "clone", "--quiet", str(self.folder / "bare"), str(clone)], check=True)
            for key in ("name", "email"):
                subprocess.run(["git", "config", f"user.{key}", "somebody@example.org"], cwd=clone, check=True)
        self.patch.chdir(clone)
        self.patch.setenv(VARIABLE, "")
        return clone

    def planned(self, machine: str, seed: int, name: str = "") -> Experiment:
        clone = self.at(machine)
        return Experiment.planned(clone, {"train.seed": seed}, name, fetched(clone, "origin"), "origin")

    def made(self, machine: str, seed: int, name: str = "") -> Experiment:
        return self.make(self.planned(machine, seed, name))

    def make(self, experiment: Experiment) -> Experiment:
        with experiment.workspace() as folder:
            command = [sys.executable, "-m", "dvc", "repro", "--quiet"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            experiment.save(folder, [], "")
        return experiment

    def sent(self) -> dict[str, str]:
        """The subject of each experiment of the git remote, by name."""
        command = ["git", "for-each-ref", "--format=%(refname:lstrip=4) %(subject)", "refs/exps"]
        done = subprocess.run(command, cwd=self.folder / "bare", check=True, capture_output=True, text=True)
        return dict(line.split(" ", 1) for line in done.stdout.splitlines())


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    return Machines(tmp_path, monkeypatch)


@pytest.mark.slow
def test_another_machine_gets_the_experiment_through_the_remotes_and_runs_nothing(machines: Machines) -> None:
    machines.made("one", 1).send("origin")
    there = machines.planned("two", 1)
    assert not there.is_saved([])
    there.exchange("origin")
    assert there.is_saved([])
    other = machines.planned("two", 2)
    other.exchange("origin")  # is not there, and no fault
    assert not other.is_saved([])
    subprocess.run([sys.executable, "-m", "dvc", "exp", "apply", "--quiet", "seed1"], check=True)
    assert "'seed': 1" in Path("outputs/learn.txt").read_text()


@pytest.mark.slow
def test_an_experiment_whose_files_did_not_arrive_is_none_and_is_made_again(machines: Machines) -> None:
    experiment = machines.made("one", 1)
    ref = experiments.ref(experiment.commit, "seed1")
    subprocess.run(["git", "push", "--quiet", "origin", f"{ref}:{ref}"], check=True, capture_output=True)
    for _again in range(2):
        there = machines.planned("two", 1)
        there.exchange("origin")
        assert there.name == "seed1" and not there.is_saved([])
    machines.made("two", 1).send("origin")
    there = machines.planned("three", 1)
    there.exchange("origin")
    assert there.is_saved([])


@pytest.mark.slow
def test_what_could_not_be_sent_is_nowhere_else_and_sent_the_next_time(machines: Machines) -> None:
    experiment = machines.made("one", 1)
    (machines.folder / "store").write_text("no folder")
    with pytest.raises(CannotSend, match="seed1 is kept on this machine, but cannot be sent to origin: "):
        experiment.send("origin")
    assert machines.sent() == {}
    (machines.folder / "store").unlink()
    again = machines.planned("one", 1)
    again.exchange("origin")
    assert again.is_saved([]) and list(machines.sent()) == ["seed1"]
    there = machines.planned("two", 1)
    there.exchange("origin")
    assert there.is_saved([])


@pytest.mark.slow
def test_a_name_is_given_once_on_all_machines(machines: Machines) -> None:
    late = machines.planned("three", 7, "mine")
    machines.made("one", 5, "mine").send("origin")
    with pytest.raises(NameTaken, match=r"an experiment mine at origin with .*dvc exp remove --git-remote origin mine"):
        machines.planned("two", 6, "mine")
    assert machines.planned("two", 5, "mine").name == "mine"
    machines.at("three")
    machines.make(late)
    with pytest.raises(NameTaken, match="an experiment mine at origin"):
        late.send("origin")
    assert "seed=5" in machines.sent()["mine"]


def test_a_clone_that_is_behind_begins_from_the_commit_that_it_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "")
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    upstream = Experimental.begin(one)
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
