import json
from pathlib import Path

import pytest

from pseudoword.progress import PROGRESS, Bar, forget_progress, read_progress


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_a_bar_shows_is_read_from_outside(folder: Path) -> None:
    assert read_progress(folder, "train") is None
    with Bar[None]("train", label="train: base", total=4, initial=1, unit="step") as bar:
        bar.set_postfix_str("loss 0.1", refresh=False)
        bar.picture = Path("outputs/training/base/3.png")
        bar.update(2)
        bar.refresh()
        told = read_progress(folder, "train")
        assert told and (told.label, told.done, told.total, told.unit) == ("train: base", 3, 4, "step")
        assert (told.said, told.picture) == ("loss 0.1", "outputs/training/base/3.png")
    assert read_progress(folder, "evaluate") is None
    forget_progress(folder, "train")
    assert read_progress(folder, "train") is None


def test_the_bar_is_at_its_end_when_the_work_is(folder: Path) -> None:
    assert list(Bar("caption", ["a", "b"])) == ["a", "b"]
    told = read_progress(folder, "caption")
    assert told and (told.done, told.total) == (2, 2)


@pytest.mark.parametrize("content", ["", "{", "[]", json.dumps({"done": 1})])
def test_half_a_file_is_no_progress(folder: Path, content: str) -> None:
    (folder / PROGRESS).mkdir(parents=True)
    (folder / PROGRESS / "train.json").write_text(content)
    assert read_progress(folder, "train") is None


def test_work_goes_on_where_nothing_can_be_written(folder: Path) -> None:
    (folder / ".scratch").write_text("a file in the way")
    assert list(Bar("caption", ["a"])) == ["a"]
