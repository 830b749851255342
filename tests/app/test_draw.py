"""pseudoword draw: what is drawn beside what, and what is refused before a model loads."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from app.cli import main
from app.drawing import Row, page, sheet
from pseudoword.formats.embedding import save_embedding
from tests.app.commands import Output, refusal
from tests.project import ROOT, shipped_params, write_checked
from tests.tiny import tiny_stable_diffusion

SIDE, CELL, LEFT, TOP = 32, 160, 246, 48  # px of a picture, and where the sheet has it


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_stable_diffusion().save_pretrained(folder / "base")
    tiny_stable_diffusion(seed=1).save_pretrained(folder / "other")
    tiny_stable_diffusion(width=24).save_pretrained(folder / "wide")
    return folder


@pytest.fixture
def project(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a run of four checkpoints and two pictures with captions."""
    monkeypatch.chdir(tmp_path)
    for model in models.iterdir():
        Path(model.name).symlink_to(model)
    ids = ["0" * 12, "1" * 12]
    Path("outputs/pictures").mkdir(parents=True)
    for shade, name in enumerate(ids):
        Image.new("RGB", (SIDE, SIDE), (250 * shade, 0, 9)).save(f"outputs/pictures/{name}.png")
    table = pd.DataFrame({"id": ids, "source": ["a.png", "b.png"], "state": "used", "reason": ""})
    table.to_csv("outputs/pictures.csv", index=False)
    pd.DataFrame({"id": ids, "caption": ["by the sea", "at <b>night</b>"]}).to_csv("outputs/captions.csv", index=False)
    record = {
        "settings": {}, "pictures": 2, "samples_per_update": 2, "windows": 1, "templates": ["a [name] [filewords]"],
        "versions": {}, "device": "cpu", "precision": "float32",
        "model": {"name": "base", "family": "sd1", "resolution": SIDE},
    }  # fmt: skip
    for run in ("base", "seed1"):
        for step in (0, 5, 10):
            vectors = torch.randn(2, 16, generator=torch.Generator().manual_seed(step)) * 0.3
            save_embedding(Path(f"outputs/words/{run}/steps/snorf-{step}.safetensors"), "snorf", vectors, {})
        Path(f"outputs/words/{run}/settings.json").write_text(json.dumps(record))
    save_embedding(Path("gliff.safetensors"), "gliff", torch.randn(1, 16), {})
    content = shipped_params()
    content["base"] |= {"model": "base", "device": "cpu"}
    content["train"]["preview"] |= {"inference_steps": 2}
    write_checked(content)
    return tmp_path


def drawn(output: Output, *arguments: object) -> tuple[Image.Image, str]:
    """The sheet and the page."""
    assert main(["draw", *map(str, arguments), "--run", "base"]) == 0
    png, html = output.readouterr().out.splitlines()  # the bar is on stderr
    with Image.open(png) as image:
        return image.convert("RGB"), Path(html).read_text()


def cell(image: Image.Image, row: int, column: int) -> np.ndarray:  # type: ignore[type-arg]
    left, top = LEFT + column * (CELL + 6), TOP + row * (CELL + 6)
    return np.asarray(image.crop((left, top, left + CELL, top + CELL)))


def test_checkpoints_stand_beside_each_other_from_the_same_noise(project: Path, capsys: Output) -> None:
    before = {path: path.read_bytes() for path in Path("outputs").rglob("*") if path.is_file()}
    image, html = drawn(capsys, "a [name]", "a snorf at night", "--checkpoints", "0,10", "--seeds", "2")
    assert image.size == (LEFT + 2 * (CELL + 6), TOP + 4 * (CELL + 6))
    cells = [[cell(image, row, column) for column in range(2)] for row in range(4)]
    assert all(not np.array_equal(*row) for row in cells)  # checkpoints differ
    assert not np.array_equal(cells[0][0], cells[1][0])  # and seeds
    alone, _ = drawn(capsys, "a [name]", "--checkpoints", "10")
    assert np.array_equal(cell(alone, 0, 0), cells[0][1])
    assert html.count("<img") == 8 and "a snorf at night" in html
    assert all(path.read_bytes() == content for path, content in before.items())


def test_another_model_stands_beside_the_projects(project: Path, capsys: Output) -> None:
    image, html = drawn(capsys, "a [name]", "--checkpoints", "10", "--base", "other")
    assert "10 steps, base" in html and "10 steps, other" in html
    assert not np.array_equal(cell(image, 0, 0), cell(image, 0, 1))
    assert "Give a model of its family" in refusal(capsys, "draw", "a [name]", "--base", "wide", "--run", "base")


def test_another_word_may_stand_in_prompts_and_in_the_negative_one(project: Path, capsys: Output) -> None:
    plain, _ = drawn(capsys, "a [name] gliff")
    with_word, _ = drawn(capsys, "a [name] gliff", "--with", "gliff.safetensors")
    negative, _ = drawn(capsys, "a [name]", "--with", "gliff.safetensors", "--negative", "gliff")
    without, _ = drawn(capsys, "a [name]")
    assert not np.array_equal(cell(plain, 0, 0), cell(with_word, 0, 0))
    assert not np.array_equal(cell(negative, 0, 0), cell(without, 0, 0))


def test_the_captions_stand_beside_their_pictures(project: Path, capsys: Output) -> None:
    image, html = drawn(capsys, "--captions")
    assert cell(image, 0, 0).max() == 9 and cell(image, 1, 0).max() == 250
    assert "a snorf by the sea" in html and "at &lt;b&gt;night&lt;/b&gt;" in html and "<b>" not in html


def test_a_prompt_stands_below_the_captions_without_a_picture(project: Path, capsys: Output) -> None:
    captions, _ = drawn(capsys, "--captions")
    both, html = drawn(capsys, "a [name] at sea", "--captions")
    assert (cell(both, 0, 0) == 255).all() and np.array_equal(cell(both, 1, 0), cell(captions, 0, 0))
    assert html.count("<img") == 5 and html.count("<td></td>") == 1


def test_a_picture_that_is_gone_is_told_before_a_model_loads(
    project: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.drawing.load_base", None)
    Path(f"outputs/pictures/{'1' * 12}.png").unlink()
    assert "cannot be read" in refusal(capsys, "draw", "--captions", "--run", "base")


def test_another_question_has_another_file(project: Path, capsys: Output) -> None:
    def asked(**preview: object) -> Path:
        content = shipped_params()
        content["base"] |= {"model": "base", "device": "cpu"}
        content["train"]["preview"] |= {"inference_steps": 2, **preview}
        write_checked(content)
        assert main(["draw", "a [name]", "--run", "base"]) == 0
        return Path(capsys.readouterr().out.split()[0])

    first = asked()
    others = [asked(guidance=1.5), asked(seed=5), asked(inference_steps=3)]
    assert len({first, *others}) == 4 and asked() == first
    vectors = torch.randn(2, 16, generator=torch.Generator().manual_seed(9))
    save_embedding(Path("outputs/words/base/steps/snorf-10.safetensors"), "snorf", vectors, {})
    assert asked() != first, "the checkpoint was learned again"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "there is no prompt"),
        (["a [name]", "--checkpoints", "5,7"], "'base' has none after 7 steps; there are 0, 5, 10"),
        (["a dog"], "'a dog' holds neither [name] nor 'snorf'"),
        (["a [name] " + "x " * 90], "takes"),
        (["a [name]", "--with", "gliff.safetensors"], "no prompt holds its word 'gliff'"),
        (["a [name]", "--with", "gone.pt"], "gone.pt"),
        (["a [name]", "--base", "models/gone"], "models/gone"),
        (["a [name]", "--run", "nope"], "no run 'nope'; there are base, seed1"),
    ],
)
def test_mistakes_are_told_before_a_model_loads(
    project: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.setattr("app.drawing.load_base", None)
    run = [] if "--run" in arguments else ["--run", "base"]
    assert said in refusal(capsys, "draw", *arguments, *run)
    assert not Path("outputs/drawn").exists()


def test_without_a_choice_one_of_several_runs_has_to_be_named(project: Path, capsys: Output) -> None:
    assert "several runs, and none is chosen yet; there are base, seed1" in refusal(capsys, "draw", "a [name]")


def test_the_page_needs_nothing_else_and_runs_nothing() -> None:
    picture = Image.new("RGB", (8, 8))
    text = page("a&b", "</p>", ['"x"'], [Row("<script>", 0, 0)], [[picture]])
    assert "<script" not in text and not re.search(r"""(?:src|href)=["'](?!data:)""", text)
    assert sheet(["x " * 80], [Row("y " * 200, 0, 0)], [[picture]]).size[0] == LEFT + CELL + 6
    assert (ROOT / "docs/cli.md").read_text().count("pseudoword draw") >= 2


def test_a_sheet_keeps_the_shape_of_every_picture() -> None:
    tall, wide, square = (Image.new("RGB", size, "red") for size in ((512, 768), (768, 512), (512, 512)))
    whole = sheet(["a", "b", "c"], [Row("x", 0, 0)], [[wide, square, tall]])
    for column, (width, height) in enumerate([(512, 341), (512, 512), (512, 768)]):
        left = LEFT + column * (512 + 6)
        red = np.asarray(whole.crop((left, TOP, left + 512, TOP + 768)))[..., 1] < 100
        rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
        assert (len(columns), len(rows)) == (width, height)
        assert abs(rows[0] + rows[-1] - 767) <= 1 and abs(columns[0] + columns[-1] - 511) <= 1


def test_what_lies_where_the_sheet_is_to_go_is_kept(project: Path, capsys: Output) -> None:
    arguments = ("draw", "a [name]", "--run", "base", "--out", "sheet.png")
    for name in ("sheet.html", "sheet.png"):
        Path(name).write_text("mine")
        assert f"{name} is there already. Choose another name, or give --overwrite" in refusal(capsys, *arguments)
        assert Path(name).read_text() == "mine"
        Path(name).unlink()
    Path("sheet.html").write_text("mine")
    drawn(capsys, "a [name]", "--out", "sheet.png", "--overwrite")
    assert "<img" in Path("sheet.html").read_text()


def test_what_is_wrong_is_told_by_the_option_that_was_given(project: Path, capsys: Output) -> None:
    for name in ("nowhere", "params.yaml"):
        told = refusal(capsys, "draw", "a [name]", "--run", "base", "--base", name)
        assert f"--base: '{name}' is neither a folder" in told and "base.model" not in told
    long = " ".join(["sea"] * 90)
    told = refusal(capsys, "draw", f"a [name] {long}", "--run", "base")
    assert "Shorten it." in told and "template" not in told
    assert "Shorten --negative." in refusal(capsys, "draw", "a [name]", "--negative", long, "--run", "base")
    ids = ["0" * 12, "1" * 12]
    pd.DataFrame({"id": ids, "caption": ["by the sea", long]}).to_csv("outputs/captions.csv", index=False)
    assert "Shorten the caption, or leave out --captions" in refusal(capsys, "draw", "--captions", "--run", "base")
