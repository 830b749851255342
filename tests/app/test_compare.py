"""Runs and experiments on one page: right figures, gaps with reasons, a workspace that stays as it was."""

import base64
import hashlib
import html
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dvc.repo import Repo
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from app.compare.command import OUT
from app.compare.votes import order, read_votes
from pseudoword.results.settings import flat
from pseudoword.results.tables import read_measured
from pseudoword.settings.choose import ChooseSettings
from pseudoword.settings.loading import load_settings
from stages.choose.scoring import candidates_of, of_runs, rule_of, scores_table
from stages.choose.selection import select
from tests.app.commands import Output, refusal, run
from tests.browser import Browser, browser, chromium
from tests.experiments import NUM_SAMPLES, PICTURES, PROMPTS, STEPS, TAKEN, likeness_of, write_experiment
from tests.project import resolve_settings
from tests.stages.test_report import Page, report, write_outputs

__all__ = ["browser", "chromium"]
ROOT = Path(__file__).parents[2]
HOSTILE = '</script><img src=x onerror="document.title=1">'

# Two rates and two seeds; the higher rate is worth 0.2 of likeness.
GRID: dict[str, tuple[dict[str, Any], float]] = {
    f"lr{rate}-seed{seed}": ({"train": {"learn_rate": rate, "seed": seed}}, level + 0.01 * seed)
    for rate, level in (("0.005", 0.5), ("0.02", 0.7))
    for seed in (0, 1)
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "templates", tmp_path / "templates")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def repository(project: Path) -> Path:
    """A git repository with DVC, whose outputs are tracked as one folder; the revisions `first` and `second`."""
    for line in ("git init --quiet", "git config user.email a@b.c", "git config user.name a"):
        subprocess.run(line.split(), check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], check=True)
    Path(".gitignore").write_text(".scratch\n")
    keep(project, "first", {"base": ({"train": {"learn_rate": "0.005"}}, 0.5)})
    keep(project, "second", {"base": ({"train": {"learn_rate": "0.02"}}, 0.7)})
    return project


def keep(project: Path, tag: str, runs: dict[str, tuple[dict[str, Any], float]], **more: Any) -> None:
    """Have DVC and git keep the outputs of an experiment as the revision `tag`."""
    shutil.rmtree(project / "outputs", ignore_errors=True)
    write_experiment(project, runs, **more)
    for command in ([sys.executable, "-m", "dvc", "add", "--quiet", "outputs"], ["git", "add", "--all"],
                    ["git", "commit", "--quiet", "--message", tag], ["git", "tag", tag]):  # fmt: skip
        subprocess.run(command, check=True)


def compared(output: Output, *names: object) -> dict[str, Any]:
    """The JSON of a comparison; by name of a training under `rows`."""
    content: dict[str, Any] = json.loads(run(output, "compare", *names, "--json"))
    content["rows"] = {row["training"]: row for row in content["trainings"]}
    return content


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def status() -> str:
    return git("status", "--short")


def git(*arguments: object) -> str:
    return subprocess.run(["git", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def test_the_runs_of_a_sweep_with_figures_and_the_effect_of_each_setting(project: Path, capsys: Output) -> None:
    write_experiment(project, GRID)
    content = compared(capsys)
    assert content["chosen"] == "lr0.02-seed1"
    best = content["rows"]["lr0.02-seed1"]
    assert best["likeness"] == pytest.approx(likeness_of(0.71, TAKEN).mean())
    assert best["likeness_low"] < best["likeness"] < best["likeness_high"]
    assert best["samples"] == TAKEN * NUM_SAMPLES
    assert best["train.learn_rate"] == "0.02" and best["train.seed"] == "1"
    (effect,) = [effect for effect in content["effects"] if effect["measure"] == "likeness"]
    assert effect["changes"] == [["train.learn_rate", "0.005", "0.02"]]
    assert effect["value"] == pytest.approx(0.2)
    assert effect["trainings"] == 2 and effect["shown"]


def test_each_training_says_what_it_cost_in_samples_and_passes(project: Path, capsys: Output) -> None:
    write_experiment(project, GRID)
    row = compared(capsys)["rows"]["lr0.02-seed1"]
    drawn = len(STEPS) * PICTURES * 20 * 2  # by 20 steps of the sampler, with the prompt and without
    assert (row["passes_trained"], row["passes_drawn"]) == (max(STEPS) * NUM_SAMPLES, drawn)
    assert row["passes_scored"] == len(STEPS) * 3 * 8  # three pictures at eight noise levels
    assert row["passes"] == row["passes_trained"] + row["passes_scored"] + drawn
    assert f"{row['passes']:,}" in Page((OUT / "index.html").read_text()).all_text()


def test_the_same_result_for_a_third_of_the_cost_is_said(project: Path, capsys: Output) -> None:
    """As good as the best in each picture but for a little both ways, and trained on a third of the samples a step."""
    write_experiment(project, {"dear": ({"train": {"batch": 6}}, 0.605), "cheap": ({"train": {"batch": 2}}, 0.6)})
    path = project / "outputs/words/cheap/settings.json"
    path.write_text(path.read_text().replace(f'"samples_per_update": {NUM_SAMPLES}', '"samples_per_update": 2'))
    measured = pd.read_csv("outputs/judged/pictures.csv")
    worse = (measured["run"] == "dear") & (measured["seed"] == 0)
    measured.loc[worse, "similarity"] -= 0.2
    measured.loc[(measured["run"] == "dear") & ~worse, "similarity"] += 0.2
    measured.to_csv("outputs/judged/pictures.csv", index=False)
    assert compared(capsys)["chosen"] == "cheap"
    text = Page((OUT / "index.html").read_text()).all_text()
    assert "The same result as dear, which has the highest score, for a third of the cost: 80 samples" in text


def test_of_two_runs_that_learn_alike_none_is_cheaper(project: Path, capsys: Output) -> None:
    """Each checkpoint ties with each, by what the stage `choose` makes of them; the higher score of the one that was
    not chosen is that of its last."""
    write_experiment(project, {"a": ({"train": {"seed": 0}}, 0.5), "b": ({"train": {"seed": 1}}, 0.5)})
    path = project / "outputs/judged/pictures.csv"
    measured = pd.read_csv(path)
    levels = {("a", 20): 0.8, ("a", 40): 0.81, ("b", 20): 0.802, ("b", 40): 0.804}
    for number, ((run_, step), level) in enumerate(levels.items()):
        rows = (measured["run"] == run_) & (measured["step"] == step)
        measured.loc[rows, "likeness"] = level + 0.03 * np.sin(np.arange(PICTURES) * (number + 1))
        measured.loc[rows, "likeness"] += level - measured.loc[rows, "likeness"].mean()
    measured["similarity"] = 0.2 + 0.7 * measured["likeness"]
    measured.to_csv(path, index=False)
    candidates, rule = candidates_of(read_measured()), rule_of(ChooseSettings())
    losses = pd.DataFrame([(*key, 0.1) for key in levels], columns=["run", "step", "loss"])
    scores = scores_table(losses, select(candidates, rule, 2), of_runs(candidates, rule, 2))
    scores.to_csv(project / "outputs/choice/scores.csv", index=False)
    content = compared(capsys)
    assert {name: row["step"] for name, row in content["rows"].items()} == {"a": 20, "b": 20}
    assert "The same result as" not in Page((OUT / "index.html").read_text()).all_text()


def test_what_auto_came_to_is_shown_for_every_key(project: Path, capsys: Output) -> None:
    """With the shipped settings as `check` writes them, and a run that recorded what train made of them."""
    write_experiment(project, {"base": ({"train": {"steps": 300}, "word": {"name": "snorf", "vectors": 5}}, 0.6)})
    settings = load_settings(ROOT / "params.yaml").model_dump(mode="json")
    recorded = json.loads((project / "outputs/words/base/settings.json").read_text())
    trained = {name: keys_resolved(settings[name], 7) for name in ("base", "train", "word")}
    auto = [f"{section}.{key}" for section in trained for key, value in settings[section].items() if value == "auto"]
    recorded |= {"settings": trained, "auto": auto}
    (project / "outputs/words/base/settings.json").write_text(json.dumps(recorded))
    (project / "outputs/settings/report.json").write_text(json.dumps({"settings": settings}))
    run(capsys, "compare")
    page = (OUT / "index.html").read_text()
    listed = dict(re.findall(r'<th scope="row">([\w.]+)</th><td>\s*<span[^>]*>([^<]*)</span>', page))
    wanted = {key for key, value in flat(settings).items() if value == "auto" and not key.startswith("hypernetwork.")}
    assert wanted <= set(listed) and "auto" not in listed.values()
    assert listed["judge.images"] == "a judge" and listed["preprocess.resolution"] == "64"


def keys_resolved(section: dict[str, Any], value: int) -> dict[str, Any]:
    return {
        key: keys_resolved(content, value) if isinstance(content, dict) else value if content == "auto" else content
        for key, content in section.items() if key != "preview"
    }  # fmt: skip


def test_what_differs_from_the_shipped_settings_is_marked(project: Path, capsys: Output) -> None:
    write_experiment(project, GRID, evaluate={"guidance": 7.0})
    run(capsys, "compare")
    page = (OUT / "index.html").read_text()
    marked = set(re.findall(r'<span class="changed">([^<]*)</span>', page))
    assert marked == {"0.005", "0.02", "1", "7.0"}
    text = Page(page).all_text()
    assert "train.learn_rate shipped: 0.01" in text and "evaluate.guidance 7.0 shipped: 3.0" in text


def test_parallel_lines_cross_settings_and_measures_where_there_is_something_to_cross(
    project: Path, capsys: Output
) -> None:
    write_experiment(project, GRID)
    run(capsys, "compare")
    page = (OUT / "index.html").read_text()
    section = page[page.index('<section id="parallel">') : page.index('<section id="sheet">')]
    told = [tag["data-text"] or "" for tag in Page(section).all("g")]
    assert len(told) == len(GRID) and told[-1].startswith("lr0.02-seed1 (take this): train.learn_rate 0.02")
    assert all("likeness 0." in line and "score 0." in line and "samples" not in line for line in told)
    paths = [path["d"] for path in Page(section).all("path")]
    assert len(set(paths)) == len(GRID)  # one for the eye and one to point at
    two = {run: GRID[run] for run in list(GRID)[:2]}
    shutil.rmtree(project / "outputs")
    write_experiment(project, two)
    run(capsys, "compare")
    assert 'id="parallel"' not in (OUT / "index.html").read_text()


def test_the_charts_mark_what_to_take_and_what_ties_and_their_table_has_each_checkpoint(
    project: Path, capsys: Output
) -> None:
    write_experiment(project, {run: (settings, 0.6) for run, (settings, _) in GRID.items()})
    run(capsys, "compare")
    page = (OUT / "index.html").read_text()
    section = page[page.index('<section id="steps">') : page.index('<section id="vote"')]
    dots = [tag["class"] for tag in Page(section).all("circle") if "data-text" in tag]
    charts = 4
    assert len(dots) == charts * len(GRID) * len(STEPS)
    assert dots.count("dot chosen") == charts and dots.count("dot tied") == charts * (len(GRID) - 1)
    assert len(Page(section).all("tr")) == 1 + len(GRID) * len(STEPS)
    assert re.search(r"240 samples: likeness 0\.60 \(0\.5\d to 0\.6\d\), as good", section)


def test_a_word_and_a_hypernetwork_differ_in_what_is_learned_and_not_in_each_others_settings(
    project: Path, capsys: Output
) -> None:
    for name, train, level in (("word", {"norm": "free"}, 0.5), ("style", {"learn": "hypernetwork"}, 0.7)):
        runs = {
            "base": ({"train": {"learn": "word", "steps": 40} | train, "hypernetwork": {"layers": [1, 2, 1]}}, level)
        }
        write_experiment(project / name, runs)
        shutil.copytree(ROOT / "templates", project / name / "templates")
    content = compared(capsys, "word", "style")
    assert set(content["trainings"][0]) & {"train.learn", "train.norm", "hypernetwork.layers", "word.name"} == {
        "train.learn"
    }
    assert "take train.learn hypernetwork. Likeness" in run(capsys, "compare", "word", "style")


def test_what_was_chosen_stands_for_what_was_worked_out_from_it(project: Path, capsys: Output) -> None:
    write_experiment(
        project,
        {name: ({"curate": {"cut": cut}, "data": {"folder": name}}, level)
         for name, cut, level in (("a", "subject", 0.5), ("b", "none", 0.7))},
    )  # fmt: skip
    assert "take data.folder b. Likeness" in run(capsys, "compare")


def test_a_measure_that_nobody_made_shows_no_difference_and_no_sameness(project: Path, capsys: Output) -> None:
    write_experiment(project, GRID)
    path = project / "outputs/judged/pictures.csv"
    pd.read_csv(path).assign(variety=np.nan).to_csv(path, index=False)
    run(capsys, "compare")
    row = re.search(
        r"<th scope=.row.>train.learn_rate 0.005 → 0.02.*?</tr>", (project / OUT / "index.html").read_text(), re.DOTALL
    )
    assert row and row[0].count("could not be measured") == 1


def test_an_effect_of_nothing_is_not_shown(project: Path, capsys: Output) -> None:
    write_experiment(project, {run: (settings, 0.6) for run, (settings, _) in GRID.items()})
    content = compared(capsys)
    assert not any(effect["shown"] for effect in content["effects"])
    # All tie, and all have seen as much: the first one is as good as any.
    assert all(row["tied"] for row in content["trainings"])


def test_nothing_is_to_be_taken_where_nothing_is_better_than_the_init_text(project: Path, capsys: Output) -> None:
    write_experiment(project, {run: (settings, -0.3) for run, (settings, _) in GRID.items()})
    content = compared(capsys)
    assert not content["better_than_init"]
    vetoes = {row["veto"] for row in content["trainings"]}
    assert vetoes == {"no more like the pictures than what the start draws"}
    assert run(capsys, "compare").startswith(
        "Nothing is shown to be better than the init text. "
        "The least bad is lr0.005-seed1: no more like the pictures than what the start draws. Likeness -24%"
    )
    page = (OUT / "index.html").read_text()
    text = Page(page).all_text()
    assert "Nothing to take" in text and "The table says why each is ruled out." in text
    before_the_vote = text[: text.index("Blind vote Two")]
    assert not re.search("take this|(?<!not )as good|to be taken|is better than it", before_the_vote)
    assert '<tr class="chosen"' not in page and '"mark": "take this"' not in page


def test_what_has_learned_and_is_ruled_out_all_the_same_is_not_said_to_be_no_better(
    project: Path, capsys: Output
) -> None:
    write_experiment(project, GRID)
    path = project / "outputs/judged/pictures.csv"
    pd.read_csv(path).assign(overbaked=3.0).to_csv(path, index=False)
    assert run(capsys, "compare").startswith("Everything is ruled out. The least bad is lr0.02-seed1: overbaked: ")


def test_a_veto_is_what_the_comparison_worked_out(project: Path, capsys: Output) -> None:
    write_experiment(project, {"a": ({"train": {"seed": 0}}, 0.6), "b": ({"train": {"seed": 1}}, -0.6)})
    path = project / "outputs/choice/scores.csv"
    scores = pd.read_csv(path)
    scores["veto"] = scores["run"].map({"a": "overbaked, 8.0 times the usual", "b": ""})
    scores.to_csv(path, index=False)
    rows = compared(capsys)["rows"]
    assert rows["a"]["veto"] == "" and rows["b"]["veto"].startswith("no more like the pictures")


def test_with_too_few_pictures_nothing_is_compared(project: Path, capsys: Output) -> None:
    write_experiment(project, GRID, prompts=("a [name]",))
    said = refusal(capsys, "compare")
    assert "nothing can be compared. workspace: fewer than 4 pictures of each checkpoint" in said
    assert "evaluate.seeds" in said and "evaluate.prompts" in said


def test_revisions_are_compared_and_the_workspace_stays_as_it_was(repository: Path, capsys: Output) -> None:
    before = digests(repository / "outputs"), status()
    content = compared(capsys, "first", "second")
    assert (digests(repository / "outputs"), status()) == before
    assert content["chosen"] == "second"
    assert content["rows"]["first"]["train.learn_rate"] == "0.005"
    assert not content["left_out"]
    page = (OUT / "index.html").read_text()
    assert "dvc exp apply first" in page
    assert base64.b64encode(b"a word base").decode() in page


def test_all_takes_every_experiment_of_the_repository(repository: Path, capsys: Output) -> None:
    head = git("rev-parse", "HEAD").strip()
    git("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/kept-one", "first")
    assert set(compared(capsys, "second", "--all")["rows"]) == {"second", "kept-one"}


def test_the_commands_that_the_report_names_compare(
    repository: Path, capsys: Output, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("report")
    shutil.copytree(ROOT / "templates", folder / "templates")
    shutil.copy(ROOT / "params.yaml", folder)
    monkeypatch.chdir(folder)
    resolve_settings()
    write_outputs(2)
    commands = re.findall("<code>pseudoword (compare.*?)</code>", report())
    assert sorted(commands) == ["compare", "compare . --all"]
    monkeypatch.chdir(repository)
    for command in commands:
        assert "Of what was compared, take this one" in run(capsys, *shlex.split(command))
        assert (OUT / "index.html").is_file()
        shutil.rmtree(OUT)


def test_data_that_cannot_be_had_is_a_gap_with_the_way_out(repository: Path, capsys: Output) -> None:
    keep(repository, "third", {"base": ({"train": {"learn_rate": "0.05"}}, 0.9)})
    shutil.rmtree(repository / ".dvc/cache/files")
    content = compared(capsys, ".", "first")
    assert list(content["rows"]) == ["base"]
    (gap,) = content["left_out"]
    assert gap["name"] == "first" and "`dvc fetch --all-commits` brings it" in gap["reason"]
    assert "nothing can be compared" in refusal(capsys, "compare", "first")


def test_experiments_are_compared_that_were_pulled_from_a_remote(
    repository: Path, capsys: Output, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pushed from here to a bare repository and a folder, and pulled by a colleague."""
    remotes, colleague = tmp_path_factory.mktemp("remotes"), tmp_path_factory.mktemp("colleague") / "project"
    git("init", "--quiet", "--bare", remotes / "git")
    git("remote", "add", "origin", remotes / "git")
    with Repo(str(repository)) as repo, repo.config.edit("repo") as config:
        config |= {"core": {"remote": "store"}, "remote": {"store": {"url": str(remotes / "store")}}}
    git("commit", "--quiet", "--all", "--message", "Name the remote")
    baseline = git("rev-parse", "HEAD").strip()
    keep(repository, "third", {"base": ({"train": {"learn_rate": "0.05"}}, 0.9)})
    git("update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/kept-one", "third")
    git("reset", "--quiet", "--hard", baseline)
    git("push", "--quiet", "origin", "HEAD:refs/heads/main")
    with Repo(str(repository)) as repo:
        assert repo.experiments.push("origin", ["kept-one"], push_cache=True)["uploaded"]
        repo.checkout()
        repo.push()
    git("clone", "--quiet", "--branch", "main", remotes / "git", colleague)
    monkeypatch.chdir(colleague)
    with Repo(str(colleague)) as repo:
        repo.experiments.pull("origin", ["kept-one"], pull_cache=False)
        repo.pull()  # of the workspace alone
    before = digests(Path("outputs")), status()
    (remotes / "store").rename(remotes / "away")
    (gap,) = compared(capsys, ".", "kept-one")["left_out"]
    assert gap["name"] == "kept-one" and "`dvc exp pull origin kept-one` brings it" in gap["reason"]
    (remotes / "away").rename(remotes / "store")
    with Repo(str(colleague)) as repo:
        repo.experiments.pull("origin", ["kept-one"], pull_cache=True)
    (remotes / "store").rename(remotes / "away")
    content = compared(capsys, ".", "kept-one")
    assert set(content["rows"]) == {"workspace", "kept-one"} and not content["left_out"]
    assert (digests(Path("outputs")), status()) == before


def test_outputs_of_an_earlier_version_are_a_gap(project: Path, capsys: Output) -> None:
    write_experiment(project, GRID)
    write_experiment(project / "old", GRID)
    (project / "old/outputs/judged/judges.json").unlink()
    (gap,) = compared(capsys, ".", "old")["left_out"]
    assert "old/outputs/judged/judges.json is not there" in gap["reason"]


def test_figures_of_earlier_measures_are_a_gap_that_says_how_to_measure_again(project: Path, capsys: Output) -> None:
    """Copying was a number of deviations, also below 0, where it is a share now."""
    write_experiment(project, GRID)
    write_experiment(project / "old", GRID, judges={"measures": 1})
    old = project / "old/outputs/judged/pictures.csv"
    pd.read_csv(old).assign(copying=-3.3).to_csv(old, index=False)
    (gap,) = compared(capsys, ".", "old")["left_out"]
    assert gap["name"] == "old" and "`pseudoword compare --judge-again`" in gap["reason"]


def test_limits_of_an_earlier_version_are_no_hindrance(project: Path, capsys: Output) -> None:
    write_experiment(project, GRID)
    path = project / "outputs/settings/choose.json"
    path.write_text(json.dumps({"settings": {"choose": {"max_copying": 3.0, "max_overbaked": 3.0}}}))
    assert set(compared(capsys, ".")["rows"]) == set(GRID)


@pytest.mark.parametrize(
    ("change", "missing", "kept"),
    [
        ({"judges": {"images": "another judge"}}, ["likeness", "identity", "copying", "score"], "obedience"),
        ({"judges": {"texts": "another reader"}}, ["obedience", "variety", "score"], "likeness"),
        ({"pictures": 4}, ["likeness", "identity", "copying", "overbaked", "score"], "obedience"),
        ({"evaluate": {"guidance": 7.0}}, ["likeness", "obedience", "variety", "score"], None),
        ({"prompts": ("a [name] of gold", "a [name] on a wall", "a [name] in a hat")}, ["likeness", "score"], None),
    ],
)
def test_what_was_measured_otherwise_is_never_set_beside(
    project: Path, capsys: Output, change: dict[str, Any], missing: list[str], kept: str | None
) -> None:
    write_experiment(project, {"base": ({"train": {"seed": 0}}, 0.5)})
    write_experiment(project / "other", {"base": ({"train": {"seed": 1}}, 0.9)}, **change)
    content = compared(capsys, ".", "other")
    assert content["chosen"] == "workspace"
    other = content["rows"]["other"]
    for name in missing:
        assert other[name] is None
        assert f"{name}: " in other["missing"]
    assert kept is None or other[kept] is not None
    assert not content["effects"]
    assert "Nothing is said of other, which cannot be compared with it." in (OUT / "index.html").read_text()


def test_likeness_of_runs_with_other_inits_is_brought_to_one_scale(project: Path, capsys: Output) -> None:
    """Both are at 0.6 of their own way, but the second began nearer to the pictures: both are held against that."""
    runs: dict[str, tuple[dict[str, Any], float]] = {
        init: ({"word": {"init_text": init}}, 0.6) for init in ("flower", "star")
    }
    write_experiment(project, runs, zeros={"flower": 0.2, "star": 0.4})
    rows = compared(capsys)["rows"]
    similarity = 0.2 + 0.6 * (0.9 - 0.2)
    assert rows["star"]["likeness"] == pytest.approx(0.6)
    assert rows["flower"]["likeness"] == pytest.approx((similarity - 0.4) / (0.9 - 0.4))
    page = (OUT / "index.html").read_text()
    assert "flower, step 40, 240 samples: likeness 0.44" in page
    cells = json.loads(re.findall(r'id="data">(.*?)</script>', page)[0])["pictures"]
    shown = [float(figures["likeness"]) for row, step, *_, figures in cells if (row, step) == (1, TAKEN)]
    assert np.mean(shown) == pytest.approx(0.44, abs=0.01)


def test_over_other_prompts_likeness_alone_is_compared_on_those_in_common(project: Path, capsys: Output) -> None:
    """The same pictures, of which the second was looked at without those of the last prompt, the nearest start."""
    for name, prompts in (("all", PROMPTS), ("two", PROMPTS[:2])):
        write_experiment(project / name, {"base": ({"train": {"seed": len(prompts)}}, 0.6)})
        path = project / name / "outputs/judged/pictures.csv"
        table = pd.read_csv(path)
        table.loc[(table["control"] == "init") & (table["prompt"] == PROMPTS[2]), "similarity"] = 0.5
        table = table[table["prompt"].isin(prompts)]
        init = table[table["control"] == "init"]
        zero = init["similarity"].mean()
        starts = init.set_index(["prompt", "seed"])["similarity"].reindex(
            pd.MultiIndex.from_frame(table[["prompt", "seed"]])
        )
        table["likeness"] = (table["similarity"] - starts.to_numpy()) / (0.9 - zero)
        table.to_csv(path, index=False)
        path = path.with_name("judges.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | {"likeness": {"base": {"zero": zero, "one": 0.9}}}))
    write_experiment(project / "far", {"base": ({}, 0.6)}, prompts=("a [name] of gold", "a [name] on a wall"))
    content = compared(capsys, "all", "two", "far")
    first, second, far = (content["rows"][name] for name in ("all", "two", "far"))
    assert second["likeness"] == pytest.approx(first["likeness"])
    for name in ("identity", "obedience", "variety", "overbaked", "score"):
        assert second[name] is None and f"{name}: measured over other prompts or seeds" in second["missing"]
    assert first["score"] is not None and far["likeness"] is None
    page = (OUT / "index.html").read_text()
    for measure in (f"step {step}, {step * NUM_SAMPLES} samples: likeness" for step in STEPS):
        shown = re.findall(rf"(?:all|two), {measure} ([\d.]+)", page)
        assert len(shown) == 4 and len(set(shown)) == 1  # in a chart twice each, to point at and to read


def test_one_that_shares_too_little_keeps_no_others_apart(project: Path, capsys: Output) -> None:
    for seed, name in enumerate(("a", "b")):
        write_experiment(project / name, {"base": ({"train": {"seed": seed}}, 0.6)})
    write_experiment(project / "far", {"base": ({}, 0.6)}, prompts=("a [name] of gold", "a [name] on a wall"))
    rows = compared(capsys, "a", "far", "b")["rows"]
    assert rows["b"]["score"] is not None and rows["far"]["score"] is None


def test_what_is_judged_again_is_chosen_again(project: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """By judges that now find the earlier checkpoint the better one; with scores of a version that measured less."""
    write_experiment(project, {"base": ({"train": {"seed": 0}}, 0.5)})
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, project)
    outputs, other = project / "outputs", project / "other"
    for file, text in (("captions.csv", "id,caption\n"), ("evaluation/pictures.csv", ""), ("pictures/a.txt", "")):
        (outputs / file).parent.mkdir(exist_ok=True)
        (outputs / file).write_text(text)
    scores = pd.read_csv(outputs / "choice/scores.csv")
    scores[["run", "step", "loss"]].assign(drawn=True).to_csv(outputs / "evaluation/losses.csv", index=False)
    scores.drop(columns=["variety_low"]).to_csv(outputs / "choice/scores.csv", index=False)
    write_experiment(other, {"base": ({"train": {"seed": 0}}, 0.5)})
    judged = pd.read_csv(other / "outputs/judged/pictures.csv")
    judged.loc[judged["step"] == 20, ["likeness", "similarity"]] += [0.3, 0.3 * 0.7]
    judged.to_csv(other / "outputs/judged/pictures.csv", index=False)

    def judge(_name: str, root: Path, *_: object) -> None:
        shutil.copytree(other / "outputs/judged", root / "outputs/judged")

    monkeypatch.setattr("app.compare.experiments._judge", judge)
    before = digests(outputs)
    (row,) = compared(capsys, "--judge-again")["trainings"]
    assert (row["step"], row["veto"]) == (20, "")
    assert row["likeness"] == pytest.approx(likeness_of(0.5, 20).mean() + 0.3)
    assert "step 20, 120 samples: likeness 0.70" in (OUT / "index.html").read_text()
    assert digests(outputs) == before


def test_a_name_that_is_nothing_is_refused(repository: Path, capsys: Output) -> None:
    assert "'nothing-here' is no folder" in refusal(capsys, "compare", "nothing-here")
    assert not OUT.exists()


def test_text_cannot_leave_its_place_and_nothing_is_fetched(project: Path, capsys: Output) -> None:
    prompts = (f"a [name] {HOSTILE}", "a [name]", "[name] 2")
    write_experiment(project, {"base": ({"word": {"init_text": HOSTILE}}, 0.5)}, prompts=prompts)
    write_experiment(project / "b", {"base": ({"word": {"init_text": "x"}}, 0.5)}, prompts=prompts)
    run(capsys, "compare", ".", "b")
    page = (OUT / "index.html").read_text()
    assert "<img src=x" not in page and page.count("</script>") == 2
    script = (project / "templates/compare/workbench.js").read_text()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page and f"<script>{script}</script>" in page
    assert len(script.encode()) <= 20_000
    attributes = [attribute for _, found in Page(page).tags for attribute in found.items()]
    assert all((value or "").startswith(("data:", "#")) for name, value in attributes if name in ("src", "href"))
    assert not [name for name, _ in attributes if name.startswith("on")]


def test_the_csv_has_a_row_for_each_training(project: Path, capsys: Output) -> None:
    write_experiment(project, GRID)
    run(capsys, "compare", "--out", "here")
    table = pd.read_csv("here/comparison.csv")
    assert set(table["training"]) == set(GRID)
    assert {"train.learn_rate", "likeness_low", "score", "missing"} <= set(table)
    assert not OUT.exists()


def test_a_run_of_a_sweep_comes_with_the_command_that_makes_it_again(project: Path, capsys: Output) -> None:
    schedule = {"a": ({"train": {"learn_rate": "0.05:10, 0.005"}}, 0.5), "b": ({"train": {"learn_rate": "0.01"}}, 0.6)}
    write_experiment(project, schedule)  # type: ignore[arg-type]
    run(capsys, "compare")
    page = (OUT / "index.html").read_text().replace("&#39;", "'")
    assert "dvc exp run -S '~sweep' -S ++train.learn_rate=0.01" in page
    assert """-S '++train.learn_rate='"'"'0.05:10, 0.005'"'"''""" in page.replace("&#34;", '"')


def test_starts_come_back_as_the_texts_that_they_were(project: Path, capsys: Output) -> None:
    texts = ["123", "1e3", "true", "Null", "nan", "it's", "a\\b\\", "flûte", "a cat, 2:1", "flower"]
    runs: dict[str, Any] = {f"run{i}": ({"word": {"init_text": text}}, 0.5) for i, text in enumerate(texts)}
    write_experiment(project, runs)
    run(capsys, "compare")
    page = html.unescape((OUT / "index.html").read_text())
    read = []
    for *_, override in map(shlex.split, re.findall("<code>(dvc exp run .*?)</code>", page)):
        Path("again.yaml").write_text("word: {init_text: auto}")
        apply_overrides("again.yaml", [override])
        read.append(YAML(typ="safe").load(Path("again.yaml"))["word"]["init_text"])
    assert read == texts


def test_the_command_into_another_folder_bears_any_name(project: Path, capsys: Output) -> None:
    write_experiment(project / "my cats", GRID)
    run(capsys, "compare", "my cats")
    assert "cd 'my cats' && dvc exp run" in html.unescape((OUT / "index.html").read_text())


# -- by a browser


def test_votes_go_on_where_experiments_share_some_prompts_only(project: Path, capsys: Output, browser: Browser) -> None:
    write_experiment(project / "two", {"base": ({"train": {"seed": 0}}, 0.5)}, prompts=PROMPTS[:2])
    write_experiment(project / "all", {"base": ({"train": {"seed": 1}}, 0.6)})
    run(capsys, "compare", "two", "all")
    browser.open((project / OUT / "index.html").as_uri(), "document.querySelectorAll('#axes select').length === 3")
    browser.evaluate("Math.random = () => 0.99")
    browser.evaluate("start.click()")
    assert browser.evaluate("document.querySelectorAll('#ballot img').length") == 2


def test_every_control_of_the_page_works(project: Path, capsys: Output, browser: Browser) -> None:
    write_experiment(project, GRID)
    run(capsys, "compare")
    browser.call("Log.enable")
    browser.open((project / OUT / "index.html").as_uri(), "document.querySelectorAll('#axes select').length === 3")
    first = "document.querySelector('#table tbody tr:not([hidden]) th').textContent"
    # Sorted by likeness, once down and once up.
    heading = "[...document.querySelectorAll('#table thead button')].find(b => b.textContent === 'likeness')"
    browser.evaluate(f"{heading}.click()")
    assert browser.evaluate(first).startswith("lr0.02-seed1")
    browser.evaluate(f"{heading}.click()")
    assert browser.evaluate(first).startswith("lr0.005-seed0")
    browser.evaluate("filter.value = 'seed1 0.02'; filter.dispatchEvent(new Event('input'))")
    assert browser.evaluate("filtered.textContent") == "1 of 4"
    # On a phone a name keeps its width, however many columns there are.
    browser.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
    browser.until("innerWidth === 390 && document.querySelector('#table tbody tr:not([hidden]) th').offsetWidth >= 128")
    browser.call("Emulation.clearDeviceMetricsOverride")
    # Charts, walked by the arrows.
    browser.call("Emulation.setFocusEmulationEnabled", enabled=True)
    for chart, key, read in (("#steps .walk", "ArrowRight", "lr0.02-seed1, step 40, 240 samples: score"),
                             (".parallel", "ArrowDown", "lr0.02-seed0: train.learn_rate 0.02")):  # fmt: skip
        browser.evaluate(f"document.querySelector('{chart}').focus()")
        browser.press(key)
        shown = f"document.querySelector('{chart}').closest('figure').querySelector('.readout').textContent"
        browser.until(f"{shown}.startsWith('{read}')")
    # The sheet at another step, and walked by the arrows.
    slider, alt = "document.querySelector('#axes input[name=step]')", "document.querySelector('#grid img').alt"
    assert browser.evaluate(f"{slider}.ariaValueText") == "as taken"
    for value, told in ((0, "step 20"), (1, "step 40"), (-1, "as taken")):
        browser.evaluate(f"{slider}.value = {value}; {slider}.dispatchEvent(new Event('input'))")
        assert browser.evaluate(f"{slider}.ariaValueText") == told
        assert f"step {TAKEN if value else 20}, a snorf, seed 0" in browser.evaluate(alt)
    browser.evaluate("document.querySelector('#grid td button').focus()")
    for key, told in (
        ("ArrowRight", "a snorf by the sea"),
        ("ArrowDown", "a snorf by the sea"),
        ("ArrowLeft", "a snorf,"),
    ):
        browser.press(key)
        browser.until(f"document.activeElement.firstChild?.alt?.includes('{told}')")
    # Rows by step.
    browser.evaluate("rows = document.querySelector('#axes select'); rows.value = 'step'")
    browser.evaluate("rows.dispatchEvent(new Event('change'))")
    headings = "[...document.querySelectorAll('#grid tbody th')].map(h => h.textContent).join()"
    browser.until(f"{headings} === 'step 20,step 40'")
    assert browser.evaluate(alt).startswith("lr0.02-seed1, step 20, a snorf, seed 0")
    # A picture is opened, walked from, and another put beside it.
    browser.evaluate("document.querySelector('#grid td button').click()")
    assert browser.evaluate("viewer.open")
    browser.press("ArrowDown")
    browser.until("caption.textContent.includes('step 40')")
    browser.evaluate("beside.click()")
    browser.until("!viewer.open && marked.textContent.startsWith('Choose')")
    browser.evaluate("document.querySelector('#grid td button').click()")
    browser.until("caption.textContent.startsWith('Left: ') && document.querySelectorAll('#stage img').length === 2")
    browser.evaluate(
        "cut = document.querySelector('#stage input'); cut.value = 20; cut.dispatchEvent(new Event('input'))"
    )
    assert browser.evaluate("document.querySelector('#stage .over-it').style.clipPath") == "inset(0px 80% 0px 0px)"
    browser.evaluate("document.getElementById('close').click()")
    browser.until("!viewer.open && marked.textContent === ''")  # with the focus back, before the keys are for the votes
    # Votes are kept and can be saved.
    browser.evaluate("start.click()")
    browser.press("1")
    browser.press("0", modifiers=2)  # the browser's own: zoom as it was
    browser.call("Input.dispatchKeyEvent", type="rawKeyDown", key="1", autoRepeat=True)
    browser.press("0")
    browser.until("votes.textContent === '2 votes'")
    saved = browser.evaluate("decodeURIComponent(save.href.split(',').slice(1).join(','))")
    Path("votes.csv").write_text(saved)
    assert "2 votes, 1 of them for neither" in run(capsys, "vote", "votes.csv")
    browser.evaluate("forget.click()")
    assert browser.evaluate("votes.textContent === '' && save.hidden")


# -- votes


def write_votes(path: Path, *votes: tuple[str, str, str], scores: dict[str, float]) -> Path:
    rows = [("a snorf", 0, left, right, winner, scores.get(left), scores.get(right)) for left, right, winner in votes]
    columns = ["prompt", "seed", "left", "right", "winner", "left_score", "right_score"]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return path


def test_votes_tell_the_agreement_and_the_order(tmp_path: Path, capsys: Output) -> None:
    votes = [("a", "b", "a")] * 3 + [("b", "a", "b"), ("b", "c", "b"), ("c", "a", ""), ("c", "a", "a")]
    path = write_votes(tmp_path / "votes.csv", *votes, scores={"a": 0.9, "b": 0.8, "c": 0.1})
    said = run(capsys, "vote", path)
    assert "7 votes, 1 of them for neither" in said
    assert "in 83% of 6 the one of the higher score was preferred" in said
    places = [said.index(f"  {name}  (won") for name in "abc"]
    assert places == sorted(places)


def test_the_strengths_are_those_of_the_model(tmp_path: Path) -> None:
    """Of two who met n times the ratio of strengths is that of wins, with half a win each over an average one."""
    path = write_votes(tmp_path / "votes.csv", *[("a", "b", "a")] * 60, *[("a", "b", "b")] * 20, scores={})
    _, (a, b) = order(read_votes(path))
    assert a / (a + b) == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "No columns"),
        ("prompt,seed\n", "no column 'left'"),
        ("prompt,seed,left,right,winner,left_score,right_score\n", "it has no votes"),
        (
            "prompt,seed,left,right,winner,left_score,right_score\np,0,a,b,c,,\n",
            "the winner 'c' is neither 'a' nor 'b'",
        ),
    ],
)
def test_a_file_that_holds_no_votes_is_refused(tmp_path: Path, capsys: Output, content: str, message: str) -> None:
    path = tmp_path / "votes.csv"
    path.write_text(content)
    assert message in refusal(capsys, "vote", path)
    assert "there is no such file" in refusal(capsys, "vote", tmp_path / "missing.csv")
    assert "Is a directory" in refusal(capsys, "vote", tmp_path)
