"""The stage doctor and `pseudoword doctor`, run as a person runs them."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from app.cli import main as pseudoword
from pseudoword.base.identity import ModelIdentity
from pseudoword.doctor.pictures import as_preprocess_would, preprocessed
from pseudoword.doctor.report import Report, Stopped
from pseudoword.pictures.views import framing_for
from pseudoword.prompts import PromptTooLong
from pseudoword.settings.loading import load_settings
from pseudoword.settings.messages import BadSettings
from stages.curate.__main__ import main as curate
from stages.doctor.__main__ import main
from stages.latents.__main__ import main as latents
from stages.preprocess.__main__ import main as preprocess
from stages.train.__main__ import main as train
from tests.project import resolve_settings, write_checked
from toyworld.sample import render

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sample's pictures on toyworld, not preprocessed."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "models").symlink_to(ROOT / "models")
    shutil.copytree(ROOT / "templates", tmp_path / "templates")
    render("thing", 3, tmp_path / "data/sample", 12)
    monkeypatch.chdir(tmp_path)
    resolve_settings()
    return tmp_path


def change(section: str, **values: object) -> None:
    content = yaml.safe_load(Path("params.yaml").read_text())
    content[section] |= values
    write_checked(content)


def prepare() -> None:
    """What the stages before it write."""
    preprocess()
    table = pd.read_csv("outputs/pictures.csv", dtype=str)
    texts = [f"in {letter * 3}" for letter in "abcdefghijkl"]
    rows = pd.DataFrame({"id": table["id"], "caption": texts, "origin": "edit", "draft": ""})
    rows.to_csv("outputs/captions.csv", index=False)


def test_the_stage_writes_what_it_found_and_lets_good_data_pass(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare()
    main()
    report = Report.model_validate_json(Path("outputs/doctor.json").read_bytes())
    assert report.pictures == 12 and report.left_out == {} and report.at_least("warning") == []
    assert json.loads(Path("outputs/doctor-metrics.json").read_text()) == {
        "pictures": 12, "error": 0, "warning": 0, "info": len(report.findings),
    }  # fmt: skip
    assert capsys.readouterr().out.splitlines()[-1] == f"12 pictures: 0 errors, 0 warnings, {len(report.findings)} info"
    first = {path.name: path.read_bytes() for path in Path("outputs").glob("doctor*")}
    assert set(first) == {"doctor.json", "doctor-metrics.json", "doctor-passed.txt"}
    main()
    assert first == {path.name: path.read_bytes() for path in Path("outputs").glob("doctor*")}


@pytest.mark.parametrize(
    ("fail_on", "ignore", "stops"),
    [("none", [], False), ("error", [], False), ("warning", [], True), ("warning", ["number"], False)],
)
def test_fail_on_stops_the_pipeline_with_the_findings_named(
    project: Path, fail_on: str, ignore: list[str], stops: bool
) -> None:
    change("word", vectors=40)
    change("doctor", fail_on=fail_on, ignore=ignore)
    prepare()
    Path("outputs/doctor-passed.txt").write_text("of an earlier run")
    if stops:
        with pytest.raises(
            Stopped, match=r"^doctor.fail_on is warning, and there is 1 as bad as that:\n  number: "
        ) as error:
            main()
        assert "doctor.ignore: [number]" in str(error.value)
    else:
        main()
    assert Path("outputs/doctor-passed.txt").exists() != stops


def test_an_error_stops_the_pipeline_by_default(project: Path) -> None:
    change("word", name="forest")
    prepare()
    with pytest.raises(Stopped, match="'forest' is a word that the base model knows already"):
        main()


def test_a_caption_of_280_words_stops_before_the_vae_with_its_picture_and_file(project: Path) -> None:
    prepare()
    table = pd.read_csv("outputs/captions.csv", dtype=str)
    table.loc[4, "caption"] = "in the snow " * 93 + "today"
    table.to_csv("outputs/captions.csv", index=False)
    with pytest.raises(Stopped, match=r"The caption of thing-\d+.png is too long .* in data/sample/captions.yaml: "):
        main()
    assert not Path("outputs/doctor-passed.txt").exists()


def test_prompts_that_evaluate_would_refuse_are_refused_by_the_command(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, found in (("nowhere.txt", "there is no such file"), ("plain.txt", r"'a cat' does not hold \[name\]")):
        Path("plain.txt").write_text("a [name]\na cat\n")
        with pytest.raises(BadSettings, match=rf"{name}: {found}"):
            change("evaluate", prompts=name)
        assert pseudoword(["doctor"]) == 1 and name in capsys.readouterr().err


def test_what_passed_is_told_by_the_same_bytes(project: Path) -> None:
    """So that another caption or threshold does not train again."""
    prepare()
    main()
    before = {name: Path(f"outputs/{name}").read_bytes() for name in ("doctor.json", "doctor-passed.txt")}
    change("word", vectors=40)
    main()
    assert Path("outputs/doctor.json").read_bytes() != before["doctor.json"]
    assert Path("outputs/doctor-passed.txt").read_bytes() == before["doctor-passed.txt"]


def test_the_command_line_needs_nothing_but_pictures(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pseudoword(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert (
        "12 pictures: 0 errors, 0 warnings" in printed
        and "left out  words: there are no captions of these pictures yet" in printed
    )
    assert {path.name for path in Path("outputs").iterdir()} <= {"code", "settings"}


def test_the_command_line_reads_the_texts_beside_pictures_that_were_never_preprocessed(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree("data/sample", "other")
    Path("other/thing-01.txt").write_text("in the snow " * 93 + "today")
    Path("other/thing-02.txt").write_text("a merket by the sea")
    Path("other/captions.yaml").write_text('thing-03.png: {caption: "by night", draft: "a thing by night"}\n')
    change("word", init_text="merket")
    change("doctor", fail_on="warning", ignore=["number"])
    assert pseudoword(["doctor", "--data", "other"]) == 1
    printed = capsys.readouterr()
    assert "error     refused: The caption of thing-01.png is too long to train with" in printed.out
    assert "is in other/thing-01.txt: " in printed.out
    assert "warning   thing-02.png: names what the word learns: says 'merket'" in printed.out
    assert "left out  captions: 9 pictures have no text of yours and no draft yet" in printed.out
    assert "stale" not in printed.out
    assert "1 of these would stop the pipeline" in printed.err, "what lint says stops nothing"
    assert pseudoword(["doctor", "--data", "other", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert {finding["pictures"][0]["source"] for finding in told["lint"] if finding["pictures"]} >= {"thing-02.png"}
    Path("other/thing-02.txt").write_bytes(b"\xff")
    assert pseudoword(["doctor", "--data", "other"]) == 1
    assert "other/thing-02.txt is not UTF-8" in capsys.readouterr().err


def test_the_command_line_reads_texts_as_they_are_now(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And not as curate wrote them before they were changed."""
    prepare()
    ids = pd.read_csv("outputs/captions.csv", dtype=str)["id"]
    pd.DataFrame({"id": ids, "draft": "a thing by night", "captioner": "a thing by night"}).to_csv(
        "outputs/drafts.csv", index=False
    )
    Path("data/sample/thing-01.txt").write_text("in the snow " * 93 + "today")
    assert pseudoword(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert "The caption of thing-01.png is too long" in printed and "left out" not in printed
    Path("data/sample/thing-01.txt").unlink()
    assert pseudoword(["doctor"]) == 0


@pytest.mark.parametrize(
    ("learn", "vectors", "room"),
    # Of 75 tokens the template takes one, and the name those of its vectors or of its text.
    [("word", 5, 69), ("hypernetwork", 1, 52), ("hypernetwork", 75, 52)],
)
def test_the_doctor_lint_and_train_agree_on_the_longest_caption(
    project: Path, learn: str, vectors: int, room: int
) -> None:
    Path("one.txt").write_text("a [name] [filewords]\n")
    change("word", name="qzxvwkpt-31-vbnmkjh-99", vectors=vectors)
    change("train", learn=learn, template="one.txt", steps=1)
    change("evaluate", prompts="one.txt")
    change("curate", similarity=False)
    preprocess()
    ids = pd.read_csv("outputs/pictures.csv", dtype=str)["id"]
    pd.DataFrame({"id": ids, "draft": "at sea", "captioner": "at sea"}).to_csv("outputs/drafts.csv", index=False)
    for length, fits in ((room, True), (room + 1, False)):
        Path("data/sample/thing-01.txt").write_text("in " * length)
        curate()
        assert ("too long" not in Path("outputs/lint.csv").read_text()) == fits
        change("doctor", fail_on="none")
        main()
        report = Report.model_validate_json(Path("outputs/doctor.json").read_bytes())
        refused = [finding for finding in report.findings if finding.check == "refused"]
        assert (refused == []) == fits
        latents()
        if fits:
            train()
            continue
        with pytest.raises(PromptTooLong) as error:
            train()
        told = [str(error.value), refused[0].message, refused[0].advice]
        assert all("vector" not in line for line in told) == (learn == "hypernetwork")
        assert all("takes 76 tokens" in line for line in told[:2])


def test_the_command_line_tells_what_check_would_refuse_beside_its_findings(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("data/embeddings").mkdir()
    Path("data/embeddings/snorf.pt").touch()
    change("word", vectors=40)
    assert pseudoword(["doctor"]) == 1
    printed = capsys.readouterr()
    assert "word.name: data/embeddings/snorf.pt has the name 'snorf' already" in printed.err
    assert "warning   number" in printed.out
    os.mkfifo("data/sample/pipe.png")
    assert pseudoword(["doctor"]) == 1
    assert "pipe.png is a named pipe" in capsys.readouterr().err


def test_the_command_line_looks_at_another_folder(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("data/sample", "other")
    with Image.open("other/thing-01.png") as picture:
        picture.save("other/thing-02.bmp")
    Path("other/\x1b[31m.png").touch()
    change("doctor", fail_on="warning")
    assert pseudoword(["doctor", "--data", "other"]) == 1
    printed = capsys.readouterr()
    assert "thing-01.png and thing-02.bmp are one photograph" in printed.out
    assert "\\x1b[31m.png (its name is not plain text; rename it)" in printed.out and "\x1b" not in printed.out
    assert printed.err.splitlines()[-1].startswith("2 of these would stop the pipeline")  # after a slow run's bar


def test_the_command_line_tells_programs_what_the_stage_writes(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree("data/sample", "other")
    with Image.open("other/thing-01.png") as picture:
        picture.save("other/thing-02.bmp")
    change("doctor", fail_on="warning")
    assert pseudoword(["doctor", "--json", "--data", "other"]) == 1
    told = json.loads(capsys.readouterr().out)
    report = Report.model_validate(told)
    assert told["would_stop"] == len(report.at_least("warning")) > 0 and report.pictures == told["pictures"]
    assert [finding.check for finding in report.at_least("warning")] == ["alike"]


def test_the_command_line_looks_at_the_folder_and_never_at_what_was_made_of_another(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare()
    ids = pd.read_csv("outputs/captions.csv", dtype=str)["id"]
    pd.DataFrame({"id": ids, "draft": "in a bed", "captioner": "in a bed"}).to_csv("outputs/drafts.csv", index=False)
    assert pseudoword(["doctor"]) == 0
    assert "left out" not in capsys.readouterr().out, "the drafts are of these pictures"
    render("style", 4, Path("data/other"), 7)
    change("data", folder="data/other")
    assert pseudoword(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("reads data/other") and "7 pictures: 0 errors" in printed and "thing-" not in printed
    assert "left out  captions: there are no captions of these pictures" in printed


def test_the_command_line_sees_pictures_as_preprocess_makes_them(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """16 bits, transparency and sub-folders; with the shape and the crop that are set."""
    shutil.rmtree("data/sample")
    deep = Path("data/sample/deep")
    deep.mkdir(parents=True)
    subject = np.random.default_rng(0).integers(0, 256, (60, 60), np.uint8)
    grey = np.full((64, 200), 40, np.uint16)
    grey[2:62, 138:198] = subject
    Image.fromarray(grey * 257).save(deep / "16.png")
    clear = Image.fromarray(np.dstack([np.full((64, 64, 3), 20, np.uint8), np.ones((64, 64), np.uint8)]))
    clear.save(deep / "clear.png")
    change("preprocess", recursive=True, crop="focal", shape="square")
    settings = load_settings()
    assert pseudoword(["doctor"]) == 0
    seen = {picture.source: picture for picture in as_preprocess_would(
        settings.data.folder, framing_for(settings.preprocess, ModelIdentity("models/toyworld"))).pictures}  # fmt: skip
    preprocess()
    made = {picture.source: picture for picture in preprocessed(settings.data.folder).pictures}
    assert list(seen) == list(made) == ["deep/16.png", "deep/clear.png"]
    assert seen["deep/clear.png"].light > 250, "over white"
    assert 30 < seen["deep/16.png"].light < 200 and seen["deep/16.png"].crop[0] > 100, "not clipped, and found"
    for source, one in seen.items():
        other = made[source]
        assert (one.id, one.px, one.crop, one.light, one.lost) == (
            other.id,
            other.px,
            other.crop,
            other.light,
            other.lost,
        )
        assert np.array_equal(one.grey, other.grey)
    assert "crop:" not in capsys.readouterr().out


def test_an_unknown_check_to_ignore_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadSettings, match=r"doctor\.ignore"):
        change("doctor", ignore=["backgruond"])
    assert pseudoword(["doctor"]) == 1
    assert "doctor.ignore" in capsys.readouterr().err
