"""`pseudoword check` and `pseudoword status`."""

import json
from pathlib import Path

import pytest

from app.cli import main
from app.standing import last_choice, standing
from pseudoword.dvc.graph import Stage, changed_stages, stages_in_order
from pseudoword.dvc.process import reproduce
from tests.dvc_project import Project, project

__all__ = ["project"]

ROOT = Path(__file__).parents[2]
CHAIN = [Stage("a", ()), Stage("b", ("a",)), Stage("c", ("b",)), Stage("d", ())]


def test_what_depends_on_a_changed_stage_may_run() -> None:
    changed = {"b": ["changed deps: outputs/code/b.txt", "changed deps: data/x", "changed outs: y", "changed command"]}
    assert list(standing(CHAIN, changed)) == [
        "up to date  a, d",
        "runs        b: its code, data/x, y is gone or changed and 1 more",
        "may run     c: if what they read becomes another",
    ]
    assert list(standing(CHAIN, {})) == ["up to date  a, b, c, d"]


def test_what_needs_a_stage_that_always_runs_is_up_to_date_all_the_same() -> None:
    assert list(standing([Stage("a", ("check",))], {"check": ["always changed"]})) == ["up to date  a"]


def test_the_stages_take_nine_lines_at_most() -> None:
    stages = [Stage(f"s{number}", ()) for number in range(12)]
    lines = list(standing([*stages, Stage("z", ("s0",))], {stage.name: ["changed command"] for stage in stages[1:]}))
    assert len(lines) <= 9 and lines[-1] == "run too     s7, s8, s9, s10, s11"
    assert all(f"s{number}" in " ".join(lines) for number in range(12))


def test_a_real_project_is_told_as_dvc_has_it(project: Project) -> None:
    for stage in ("first", "left", "right", "last"):
        reproduce(stage, project.folder, lambda line: None)
    project.tell(left="something else")
    lines = list(standing(stages_in_order(project.folder), changed_stages(project.folder)))
    assert lines[0] == "up to date  first, right" and lines[-1] == "may run     last: if what they read becomes another"
    assert [line.split(":")[0] for line in lines[1:-1]] == ["runs        left"]
    (project.folder / "right.txt").unlink()
    lines = list(standing(stages_in_order(project.folder), changed_stages(project.folder)))
    assert "runs        right: right.txt is gone or changed" in lines


def test_the_last_choice_is_told_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "choice.json"
    assert list(last_choice(path)) == ["no choice   nothing was chosen yet"]
    path.write_text(json.dumps({"word": "snorf", "run": "base", "step": 150, "file": "x", "reason": "It is best."}))
    assert list(last_choice(path)) == ["chosen      'snorf' of base after 150 steps: It is best."]


def test_that_nothing_is_better_than_the_init_is_told_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "choice.json"
    choice = {"word": "snorf", "run": "base", "step": 150, "file": "x", "better_than_init": False, "reason": "None is."}
    path.write_text(json.dumps(choice | {"advice": ["Look at the captions."]}))
    assert list(last_choice(path)) == ["no choice   'snorf': None is. Look at the captions."]


def test_check_says_that_the_settings_can_be_run_or_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("data", "models", "templates"):
        Path(name).symlink_to(ROOT / name)
    settings = (ROOT / "params.yaml").read_text()
    Path("params.yaml").write_text(settings)
    assert main(["check"]) == 0
    assert capsys.readouterr().out.startswith("params.yaml can be run: 'snorf' from data/sample on models/toyworld, ")
    Path("params.yaml").write_text(settings.replace("\nword:", "\nwrod:"))
    assert main(["check"]) == 1
    told = capsys.readouterr()
    assert told.out == "" and "wrod" in told.err and "\\n" not in told.err
