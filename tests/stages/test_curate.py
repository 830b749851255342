"""The curate stage: whose text wins, what a draft loses, and that nothing a person wrote is ever lost."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pseudoword.base.location import ModelNotFound
from pseudoword.captions.subject import drop_subject
from pseudoword.captions.table import read_captions
from pseudoword.captions.texts import one_line
from pseudoword.errors import UserError
from pseudoword.judge import TextJudge
from pseudoword.pictures import prepared
from stages.curate.__main__ import main
from tests.project import shipped_params, write_checked

ROOT = Path(__file__).parents[2]
FOLDER = Path("data/thing")
EDITS = FOLDER / "captions.yaml"
DRAFTS = {"a.jpg": "a red star in the snow", "b.png": "a dog", "null": "a cat sitting on a bench"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    FOLDER.mkdir(parents=True)
    Path("outputs").mkdir()
    write_drafts(DRAFTS)
    return tmp_path


def write_drafts(drafts: dict[str, str]) -> None:
    """Pictures and drafts; the ids' order is not that of the names, and the last file was skipped."""
    ids = [f"{99 - at}e{at:09d}" for at in range(len(drafts))]
    pd.DataFrame(
        {"id": [*ids, ""], "source": [*drafts, "skipped.gif"], "state": ["used"] * len(ids) + ["skipped"]}
    ).to_csv("outputs/pictures.csv", index=False)
    pd.DataFrame({"id": ids, "draft": list(drafts.values()), "captioner": list(drafts.values())}).to_csv(
        "outputs/drafts.csv", index=False
    )


def run(cut: str = "subject", **curate: object) -> pd.DataFrame:
    """Run the stage; its table by source name, all text."""
    content = shipped_params()
    content["data"]["folder"], content["base"]["model"] = str(FOLDER), str(ROOT / content["base"]["model"])
    content["curate"] = {"cut": cut, "similarity": False, **curate}
    write_checked(content)
    main()
    table = pd.read_csv("outputs/captions.csv", dtype=str, keep_default_na=False)
    assert list(table) == ["id", "caption", "origin", "draft", "cut"] and list(table["id"]) == sorted(table["id"])
    pictures = pd.read_csv("outputs/pictures.csv", dtype=str, keep_default_na=False)
    return table.merge(pictures, on="id").set_index("source")


def captions(cut: str = "subject", **curate: object) -> list[tuple[str, str]]:
    """Caption and origin in the order of DRAFTS."""
    table = run(cut, **curate).loc[list(DRAFTS)]
    return list(zip(table["caption"], table["origin"], strict=True))


def findings() -> dict[str, str]:
    """What lint.csv says, by the source and the kind of finding."""
    table = pd.read_csv("outputs/lint.csv", dtype=str, keep_default_na=False)
    assert list(table) == ["id", "source", "finding", "severity", "caption", "suggestion"]
    return {f"{row.source}: {row.finding.split(':')[0]}": row.suggestion for row in table.itertuples()}


def test_drafts_lose_their_subject_or_keep_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert captions() == [("in the snow", "draft"), ("", "draft"), ("sitting on a bench", "draft")]
    assert captions("none") == [(draft, "draft") for draft in DRAFTS.values()]
    assert run()["draft"].to_dict() == DRAFTS
    assert capsys.readouterr().out.splitlines()[:2] == [
        "3 captions: 0 edited, 0 from files, 3 drafts",
        "1 drafts say no more than their subject, so these captions are empty: b.png",
    ]


def test_only_the_captioners_sentence_loses_its_subject(project: Path) -> None:
    pictures = pd.DataFrame({"id": ["0e0", "0e1"], "source": ["red vase.jpg", "b.jpg"], "state": "used"})
    pictures.to_csv("outputs/pictures.csv", index=False)
    said = {"tagger": ["vase, table", ""], "filename": ["red vase", "b"], "captioner": ["a vase on a table", "a vase"]}
    draft = ["vase, table, red vase, a vase on a table", "b, a vase"]
    pd.DataFrame({"id": ["0e0", "0e1"], "draft": draft, **said}).to_csv("outputs/drafts.csv", index=False)
    assert list(run()["caption"]) == ["vase, table, red vase, on a table", "b"]
    assert list(run("none")["caption"]) == draft


def test_an_edit_wins_over_a_file_and_a_file_over_the_draft(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    EDITS.write_text('a.jpg: {caption: "my star in a box"}\n')
    (FOLDER / "a.txt").write_text("a file")
    (FOLDER / "b.txt").write_text("a dog in the file")
    assert captions() == [("my star in a box", "edit"), ("a dog in the file", "file"), ("sitting on a bench", "draft")]
    assert "3 captions: 1 edited, 1 from files, 1 drafts" in capsys.readouterr().out.splitlines()


def test_the_text_of_the_whole_name_wins_over_that_of_the_stem(project: Path) -> None:
    (FOLDER / "a.txt").write_text("by stem")
    assert captions()[0] == ("by stem", "file")
    (FOLDER / "a.jpg.txt").write_text("by name")
    assert captions()[0] == ("by name", "file")
    (FOLDER / "b.TXT").write_text("loud")
    assert captions()[1] == ("loud", "file")


def test_an_empty_text_of_a_person_is_a_caption_too(project: Path) -> None:
    EDITS.write_text('a.jpg: {caption: ""}\n')
    (FOLDER / "null.txt").touch()
    assert captions() == [("", "edit"), ("", "draft"), ("", "file")]


def test_captions_reach_training_as_text_whatever_they_look_like(project: Path) -> None:
    EDITS.write_text('a.jpg: {caption: "null"}\nb.png: {caption: no}\n')
    (FOLDER / "null.txt").write_text("1e5")
    table = run()
    assert read_captions(list(table["id"])) == list(table["caption"])
    assert list(table.loc[list(DRAFTS), "caption"]) == ["null", "no", "1e5"]


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"  two\r\nlines\t\n", "two lines"),
        (b"\xef\xbb\xbfwith a mark", "with a mark"),
        ("größe, ☂".encode(), "größe, ☂"),
        (b'a "quoted", text\x00', 'a "quoted", text'),
    ],
)
def test_text_becomes_one_clean_line(project: Path, content: bytes, wanted: str) -> None:
    (FOLDER / "a.txt").write_bytes(content)
    assert captions()[0] == (wanted, "file")


def test_marks_of_other_tools_are_cleaned_where_asked_for(project: Path) -> None:
    EDITS.write_text("a.jpg: {caption: '(red coat:1.2) BREAK at sea'}\n")
    (FOLDER / "b.txt").write_text(r"bow \(weapon\)")
    write_drafts({**DRAFTS, "null": "(a cat:1.3) sitting on a bench"})
    before = {path: path.read_bytes() for path in FOLDER.iterdir()}
    assert [caption for caption, _ in captions("none")][:2] == ["(red coat:1.2) BREAK at sea", r"bow \(weapon\)"]
    marked = {name: advice for name, advice in findings().items() if "holds marks" in name}
    assert list(marked) == [f"{name}: holds marks of a prompt" for name in DRAFTS]
    assert marked["b.png: holds marks of a prompt"].endswith(": bow (weapon)")
    assert captions("none", unescape=True) == [
        ("red coat, at sea", "edit"), ("bow (weapon)", "file"), ("a cat sitting on a bench", "draft")
    ]  # fmt: skip
    assert not [name for name in findings() if "holds marks" in name]
    assert {path: path.read_bytes() for path in FOLDER.iterdir()} == before


def test_half_a_character_in_an_edit_is_replaced(project: Path) -> None:
    EDITS.write_text('a.jpg: {caption: "x\\ud800y"}\n')
    assert captions()[0] == ("x?y", "edit")


def test_edits_may_run_over_lines_and_carry_comments(project: Path) -> None:
    EDITS.write_bytes(
        b'\xef\xbb\xbf# mine\na.jpg:  # star\n  caption: >\n    one\n    two\n  draft: "a red star in the snow"\n'
    )
    assert captions()[0] == ("one two", "edit")
    EDITS.write_text("# nothing yet\n")
    assert captions()[0] == ("in the snow", "draft")


def test_an_edit_of_an_older_draft_is_used_and_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    EDITS.write_text(
        '# mine\na.jpg: {caption: "mine", draft: "an older draft"}\nb.png: {caption: "mine", draft: "a dog "}\n'
    )
    assert [origin for _, origin in captions()] == ["edit", "edit", "draft"]
    (warning,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    assert warning.startswith("warning: data/thing/captions.yaml, line 2: the edit of 'a.jpg' is used, but it answers")
    assert "'an older draft'" in warning and "'a red star in the snow'" in warning


def test_an_approval_ends_with_the_picture_that_it_was_given_for(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edits = (
        f'"{name}": {{caption: x, approved: true, picture: "{99 - at}e{at:09d}"}}' for at, name in enumerate(DRAFTS)
    )
    EDITS.write_text("\n".join(edits))
    assert len(run(require_review=True)) == 3
    assert "warning" not in capsys.readouterr().out
    EDITS.write_text(EDITS.read_text().replace("98e", "97f"))
    with pytest.raises(UserError, match=r"1 drafts are not approved: b.png\."):
        run(require_review=True)
    assert "line 2: the edit of 'b.png' is used, but its picture has changed since" in capsys.readouterr().out
    assert run().loc["b.png", "caption"] == "x" and "b.png: stale edit" in findings()


def test_a_picture_that_was_renamed_is_told_by_its_new_name(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    EDITS.write_text('old.jpg: {caption: x, picture: "99e000000000"}\n')
    captions()
    told = "line 1: 'old.jpg' is none of the pictures in use; its picture is now called 'a.jpg', so rename the entry"
    assert told in capsys.readouterr().out
    assert findings()["old.jpg: no such picture"] == "rename it to 'a.jpg', as its picture is called now"


def test_a_text_that_changed_under_an_edit_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    EDITS.write_text('a.jpg: {caption: x, approved: true, text: "in a box"}\nb.png: {caption: y}\n')
    (FOLDER / "a.txt").write_text("in a box\n")
    captions()
    assert "warning" not in capsys.readouterr().out and "a.jpg: stale edit" not in findings()
    (FOLDER / "a.txt").write_text("in a crate")
    (FOLDER / "b.txt").write_text("on a bench")
    assert captions()[0] == ("x", "edit") and "a.jpg: stale edit" in findings()
    out = capsys.readouterr().out
    assert "is used, but it answers the text 'in a box' and data/thing/a.txt now says 'in a crate'" in out
    assert "line 2: the edit of 'b.png' is used and data/thing/b.txt is not; it says 'on a bench'" in out
    with pytest.raises(UserError, match=r"not approved: a.jpg, b.png"):
        run(require_review=True)


def test_an_edit_or_text_without_a_picture_is_told_and_stays(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    EDITS.write_text('gone.jpg: {caption: "mine"}\nskipped.gif: {caption: "mine"}\n')
    (FOLDER / "gone.txt").write_text("x")
    before = EDITS.read_bytes()
    captions()
    out = capsys.readouterr().out
    assert "warning: data/thing/captions.yaml, line 1: 'gone.jpg' is none of the pictures in use" in out
    assert "warning: data/thing/captions.yaml, line 2: 'skipped.gif' is none of the pictures in use" in out
    assert "warning: data/thing/gone.txt is the caption of none of the pictures in use" in out
    assert EDITS.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "line", "found"),
    [
        ("a.jpg: [", 1, ""),
        ("a.jpg: {caption: x}\n\tb.png: {caption: x}", 2, "character '\\t'"),
        ("- a.jpg", 1, "a list"),
        ("just text", 1, "a text"),
        ("a.jpg: in the snow", 1, "a text for 'a.jpg', without a caption"),
        ("\na.jpg:\nb.png: {caption: x}", 2, "nothing for 'a.jpg', without a caption"),
        ("a.jpg: {draft: x}", 1, "keys and values for 'a.jpg', without a caption"),
        ("b.png: {caption: x}\na.jpg: {caption: x, captoin: y}", 2, "the key 'captoin' for 'a.jpg'"),
        ("a.jpg: {caption: 12}", 1, "a number as caption of 'a.jpg'; put it in quotes"),
        ("a.jpg: {caption: true}", 1, "true or false as caption"),
        ("a.jpg: {caption: x, draft: }", 1, "nothing as draft"),
        ("1: {caption: x}", 1, "1 as a file name; put it in quotes"),
        ("a.jpg: {caption: x}\na.jpg: {caption: y}", 2, 'duplicate key "a.jpg"'),
        ("a.jpg: {caption: !!python/object:os.system x}", 1, "a value as caption"),
        ("a.jpg: {caption: x, approved: maybe}", 1, "a text as approved of 'a.jpg', which is true or false"),
        ("a.jpg: {caption: x, when: soon}", 1, "a text as when of 'a.jpg', which is a date like 2026-11-21"),
        ("a.jpg: {caption: x, when: 2026-13-41}", 1, "month must be in 1..12"),
        ("a.jpg: {caption: x, who: 7}", 1, "a number as who of 'a.jpg'; put it in quotes"),
        ("[" * 5000, 1, "lists or maps nested without end"),
        ("a.jpg: {caption: x}\n---\nb.png: {caption: y}", 2, "another document"),
        ('a.jpg: {caption: "x\x07"}', 1, "unacceptable character"),
        (f"b.png: {{caption: x}}\na.jpg: {{caption: {'y' * 2**20}}}", 2, "1048576 bytes as caption of 'a.jpg'"),
    ],
)
def test_malformed_edits_are_an_error_with_line_and_example(project: Path, content: str, line: int, found: str) -> None:
    EDITS.write_text(content)
    with pytest.raises(UserError) as error:
        captions()
    assert str(error.value).startswith(f"data/thing/captions.yaml, line {line}: found {found}")
    assert 'dog-1.jpg: {caption: "in the snow", draft: "a dog in the snow"}' in str(error.value)


def test_text_that_is_not_utf_8_is_an_error_that_names_the_file(project: Path) -> None:
    (FOLDER / "a.txt").write_bytes("größe".encode("latin-1"))
    with pytest.raises(UserError, match=r"data/thing/a.txt is not UTF-8 text: byte 2.*Save it again as UTF-8"):
        captions()
    (FOLDER / "a.txt").unlink()
    EDITS.write_bytes("a.jpg: {caption: größe}".encode("utf-16"))
    with pytest.raises(UserError, match=r"captions.yaml is not UTF-8"):
        captions()


def test_all_texts_that_are_not_utf_8_are_named_at_once(project: Path) -> None:
    (FOLDER / "a.txt").write_bytes("größe".encode("latin-1"))
    (FOLDER / "b.txt").write_bytes("größe".encode("utf-16"))
    with pytest.raises(UserError, match=r"(?s)thing/a.txt is not UTF-8 text: byte 2 .*thing/b.txt is not .*byte 0 "):
        captions()


def test_texts_that_are_no_captions_by_their_size_are_named_at_once(project: Path) -> None:
    (FOLDER / "a.txt").write_text("snow " * 2000)
    assert captions()
    for name in ("a.txt", "b.txt"):
        (FOLDER / name).write_text("snow " * 200_000)
    with pytest.raises(UserError, match=r"(?s)thing/a.txt holds 1000000 bytes.\n.*thing/b.txt holds .*10000 at most"):
        captions()


def test_a_text_that_serves_two_pictures_or_none_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_drafts({"both.jpg": "a dog on grass", "both.png": "a cat on sand"})
    (FOLDER / "both.txt").write_text("mine")
    assert set(run()["caption"]) == {"mine"}
    told = (
        "warning: data/thing/both.txt is the caption of both.jpg and both.png; both.jpg.txt would be that of both.jpg"
    )
    assert told in capsys.readouterr().out
    run(existing="ignore")
    out = capsys.readouterr().out
    assert "warning" not in out and "1 caption files are left out, as curate.existing is ignore" in out


def test_edits_in_a_file_that_is_not_read_are_an_error(project: Path) -> None:
    write_drafts({"a/x.jpg": "a dog on grass", "a/b/y.jpg": "a cat on sand", "z.jpg": "a hat"})
    (FOLDER / "a" / "b").mkdir(parents=True)
    EDITS.write_text("a/x.jpg: {caption: read}\n")
    assert run().loc["a/x.jpg", "caption"] == "read"
    for name in ("captions.yml", "a/captions.yaml", "a/b/Captions.YML"):
        (FOLDER / name).write_text("x.jpg: {caption: not read}\n")
    with pytest.raises(UserError) as error:
        run()
    assert str(error.value).splitlines() == [
        "Edits are read from data/thing/captions.yaml alone.",
        "  data/thing/captions.yml: was captions.yaml meant? Rename it.",
        "  data/thing/a/captions.yaml: move its entries there, with names such as 'a/dog-1.jpg', and delete it.",
        "  data/thing/a/b/Captions.YML: move its entries there, with names such as 'a/b/dog-1.jpg', and delete it.",
    ]


@pytest.mark.parametrize("name", ["a.txt", "a.caption", "captions.yaml"])
def test_a_text_that_links_out_of_the_folder_is_refused_by_name(project: Path, name: str) -> None:
    Path("secret").write_text("a.jpg: {caption: secret}")
    (FOLDER / name).symlink_to(Path("../../secret"))
    with pytest.raises(UserError, match=rf"^{FOLDER}/{name} is a link to .*/secret\n.* Copy the file there"):
        run()
    assert not Path("outputs/captions.csv").exists()


def test_a_text_in_the_cache_of_dvc_is_the_file_and_a_folder_is_no_text(project: Path) -> None:
    cached = Path("cache/files/md5") / "1b" / ("c" * 30)
    cached.parent.mkdir(parents=True)
    cached.write_text("at noon")
    (FOLDER / "a.txt").symlink_to(cached.resolve())
    (FOLDER / "b.txt").mkdir()
    assert captions()[:2] == [("at noon", "file"), ("", "draft")]


def test_the_ending_of_other_tools_is_read_where_there_is_no_txt(project: Path) -> None:
    (FOLDER / "a.caption").write_text("at noon\n")
    (FOLDER / "b.caption").write_text("at night\n")
    (FOLDER / "b.txt").write_text("at dawn\n")
    assert captions()[:2] == [("at noon", "file"), ("at dawn", "file")]


@pytest.mark.parametrize(
    ("existing", "wanted"),
    [
        ("ignore", ("in the snow", "draft")),
        ("copy", ("a sharp photo", "file")),
        ("prepend", ("a sharp photo in the snow", "file and draft")),
        ("append", ("in the snow a sharp photo", "file and draft")),
    ],
)
def test_a_file_meets_the_draft_as_the_setting_says(project: Path, existing: str, wanted: tuple[str, str]) -> None:
    (FOLDER / "a.txt").write_text("a sharp photo\n")
    (FOLDER / "b.txt").touch()
    assert captions(existing=existing)[0] == wanted
    assert captions("none", existing=existing)[1][0] == ("" if existing == "copy" else "a dog")
    EDITS.write_text("a.jpg: {caption: mine}\n")
    assert captions(existing=existing)[0] == ("mine", "edit")


def test_a_persons_text_goes_to_every_picture_made_of_the_file(project: Path) -> None:
    ids = ["0e0-h", "0e0", "0e1-t1", "0e1-t0", "0e2"]
    sources = ["a.jpg", "a.jpg", "sub/b.png", "sub/b.png", "c.png"]
    pd.DataFrame({"id": ids, "source": sources, "state": "used"}).to_csv("outputs/pictures.csv", index=False)
    drafts = [f"a dog on {name}" for name in ids]
    pd.DataFrame({"id": ids, "draft": drafts, "captioner": drafts}).to_csv("outputs/drafts.csv", index=False)
    EDITS.write_text('a.jpg: {caption: mine, draft: "a dog on 0e0", approved: true}\n')
    (FOLDER / "sub").mkdir()
    (FOLDER / "sub" / "b.txt").write_text("a file")
    (FOLDER / "sub" / "lost.txt").write_text("a file")
    table = run()
    assert list(table["caption"]) == ["mine", "mine", "a file", "a file", "on 0e2"]
    assert findings() == {}


def test_a_persons_text_holds_for_a_mirrored_copy_too(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids, sources = ["0e0", "0e0-h", "0e0-v", "0e1", "0e1-hv", "0e2-t0-h"], ["a.jpg"] * 3 + ["b.png"] * 2 + ["c.png"]
    pd.DataFrame({"id": ids, "source": sources, "state": "used"}).to_csv("outputs/pictures.csv", index=False)
    drafts = ["a dog left of a hat", "a dog right of a hat", "a dog", "a cat", "a cat", "a bird on the left"]
    pd.DataFrame({"id": ids, "draft": drafts, "captioner": drafts}).to_csv("outputs/drafts.csv", index=False)
    EDITS.write_text('a.jpg: {caption: "Left side, left hand, LEFTMOST of a cleft with a cleft, upright"}\n')
    (FOLDER / "b.txt").write_text("on the left-hand side, rightly")
    run("none")
    table = pd.read_csv("outputs/captions.csv", dtype=str).set_index("id")["caption"].to_dict()
    left = "Left side, left hand, LEFTMOST of a cleft with a cleft, upright"
    assert table["0e0"] == table["0e0-v"] == left
    assert table["0e0-h"] == "Right side, right hand, RIGHTMOST of a cleft with a cleft, upright"
    assert (table["0e1"], table["0e1-hv"]) == ("on the left-hand side, rightly", "on the right-hand side, rightly")
    assert table["0e2-t0-h"] == "a bird on the left"  # drafted from the mirrored picture itself
    assert "left and right changed places in your texts for 2 mirrored copies" in capsys.readouterr().out
    lint = pd.read_csv("outputs/lint.csv", dtype=str, keep_default_na=False)
    assert list(lint.loc[lint["finding"].str.startswith("repeats"), "id"]) == ["0e0"]


def test_stale_edits_and_edits_without_a_picture_are_in_the_table(project: Path) -> None:
    EDITS.write_text('a.jpg: {caption: in mine, draft: "an older draft"}\ngone.jpg: {caption: mine}\n')
    captions()
    assert {"a.jpg: stale edit", "gone.jpg: no such picture"} < findings().keys()
    write_drafts(DRAFTS | {"a.jpg": "an older draft"})
    captions()
    assert "a.jpg: stale edit" not in findings()


def test_lint_is_printed_and_written_with_suggestions(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    EDITS.write_text('a.jpg: {caption: "a flower in a hat with a hat"}\n')
    captions()
    assert findings() == {
        "a.jpg: repeats itself": "say each thing once; what is repeated weighs more: a flower in a hat",
        "a.jpg: names what the word learns": "say only what is incidental: in a hat with a hat",
        "b.png: empty": "write what is incidental: place, pose, light, clothes",
    }
    assert capsys.readouterr().out.splitlines()[2:] == [
        "cut from drafts, all in outputs/captions.csv: 'a cat' (1), 'a dog' (1)",
        "lint, in outputs/lint.csv: empty (1), names what the word learns (1), repeats itself (1)",
        "  warning: a.jpg: says 'hat' more than once",
        "  warning: a.jpg: says 'flower', which is in word.init_text: what a caption says, the word need not learn",
        "  info: b.png: nothing is said of the picture, so the word learns all that it shows",
    ]


def test_without_its_base_model_the_tokens_are_not_counted(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.curate.tokens.load_prompt_length", missing_model)
    EDITS.write_text(yaml.safe_dump({"a.jpg": {"caption": "in the snow " * 60}}))
    assert len(captions()) == 3
    assert "note: tokens are not counted: base.model: 'gone'" in capsys.readouterr().out
    assert "a.jpg: too long" not in findings()


def missing_model(*_: object, **__: object) -> None:
    raise ModelNotFound("gone", "offline")


def test_captions_that_differ_from_their_picture_are_found_a_few_pictures_in_memory(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = ROOT / "data" / "sample"
    places = ["in the snow", "in the city", "by the sea", "at night", "in a meadow", "in space", "in the desert",
              "in the forest", "at sunset", "on a stage"]  # fmt: skip
    drafts = {f"thing-{at:02d}.png": f"a merket {place}" for at, place in enumerate(places, 1)}
    write_drafts(drafts)
    pictures = pd.read_csv("outputs/pictures.csv", keep_default_na=False)
    Path("outputs/pictures").mkdir()
    for row in pictures[pictures["state"] == "used"].itertuples():
        (Path("outputs/pictures") / f"{row.id}.png").write_bytes((sample / str(row.source)).read_bytes())
    opened, at_once, embed = list[Path](), list[int](), TextJudge._pictures
    monkeypatch.setattr(prepared, "_open", lambda path, mode: opened.append(path) or Image.open(path).convert(mode))
    monkeypatch.setattr(TextJudge, "_pictures", lambda own, part: at_once.append(len(opened)) or embed(own, part))
    run(similarity=True)
    assert at_once == [8, 10]
    assert findings() == {"thing-04.png: differs from the picture": "look at the picture and say what it shows"}


def test_without_a_judge_the_pictures_are_not_compared(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pseudoword.judge.text_judge_name", lambda *_: str(project / "nowhere"))
    assert len(captions(similarity=True)) == 3
    assert "note: captions are not compared with their pictures: judge.texts: " in capsys.readouterr().out


def test_review_is_required_where_it_is_asked_for(project: Path) -> None:
    EDITS.write_text('a.jpg: {caption: mine, draft: "a red star in the snow", approved: true}\n')
    with pytest.raises(UserError) as error:
        run(require_review=True)
    assert str(error.value) == (
        "curate.require_review is true and 2 drafts are not approved: b.png, null. "
        "Approve them with `make review`, then run `dvc repro` again."
    )
    assert not Path("outputs/captions.csv").exists()
    assert "b.png: empty" in findings()  # for the page on which they are approved
    (FOLDER / "b.txt").write_text("a text of one's own is no draft")
    EDITS.write_text(EDITS.read_text() + '"null": {caption: x, approved: true}\n')
    assert len(run(require_review=True)) == 3
    write_drafts(DRAFTS | {"a.jpg": "another draft"})
    with pytest.raises(UserError, match=r"1 drafts are not approved: a.jpg\."):
        run(require_review=True)


def test_drafts_that_do_not_fit_are_an_error_with_the_way_out(project: Path) -> None:
    drafts = Path("outputs/drafts.csv")
    drafts.write_text("\n".join(drafts.read_text().splitlines()[:2]) + "\n")
    with pytest.raises(UserError, match=r"outputs/drafts.csv has no .*dvc repro caption"):
        captions()
    write_drafts(DRAFTS)
    pd.read_csv(drafts, dtype=str).drop(columns="captioner").to_csv(drafts, index=False)
    with pytest.raises(UserError, match=r"does not say which drafter wrote 'a .*dvc repro caption"):
        captions()
    drafts.write_text(drafts.read_text() + "one,two,three,four\n")
    with pytest.raises(UserError, match=r"outputs/drafts.csv cannot be read .*dvc repro caption"):
        captions()
    drafts.write_text("id,draft,captioner\n" + "".join(f"{99 - at}e{at:09d},a dog\n" for at in range(3)))
    with pytest.raises(UserError, match=r"does not say which drafter wrote 'a dog'"):
        captions()
    drafts.unlink()
    with pytest.raises(UserError, match=r"outputs/drafts.csv cannot be read .*dvc repro caption"):
        captions()


@pytest.mark.parametrize(
    ("draft", "wanted"),
    [
        ("a red striped star with an eye in the snow, outlined", "with an eye in the snow, outlined"),
        ("a green bean with two eyes on the beach in zork style", "with two eyes on the beach in zork style"),
        ("a dog sitting on a bench", "sitting on a bench"),
        ("there is a dog that is sitting on a bench", "sitting on a bench"),
        ("a vase sitting on top of a table", "sitting on top of a table"),
        ("a photo of a dog in a red hat in the snow", "in a red hat in the snow"),
        ("a star in front of a house", "in front of a house"),
        ("a cup next to a book", "next to a book"),
        ("a standing lamp next to a bed", "next to a bed"),
        ("red striped star, snow, outlined", "snow, outlined"),
        ("a teapot with a white background", "with a white background"),
        ("a dog with trees in the background", "with trees in the background"),
        ("a star with horns on a white background", "with horns on a white background"),
        ("a backpack with patches on it", ""),
        ("a backpack with patches on it on a table", "on a table"),
        ("a backpack with a face on the front", ""),
        ("a dog with a ball in its mouth on the beach", "with a ball in its mouth on the beach"),
        ("a bowl filled with berries on a wooden table.", "filled with berries on a wooden table"),
        ("A Dog ON A Bench", "ON A Bench"),
        ("a hat with horns", "with horns"),
        ("a woman with long hair and a hat", "with long hair and a hat"),
        ("a close up of a dog with a collar", "with a collar"),
        ("a woman with a hat on her head", "with a hat on her head"),
        ("a woman smiling at the camera", "smiling at the camera"),
        ("a robot with its lights on", ""),
        ("a dog catching a frisbee", "catching a frisbee"),
        ("a dog dressed as a pirate", "dressed as a pirate"),
        ("a dog looks out of the window", "looks out of the window"),
        ("a dog without a collar", "without a collar"),
        ("a dog and a woman in a park", "and a woman in a park"),
        ("a teapot from above", "from above"),
        ("a dog chewing a bone", "chewing a bone"),
        ("a dog digging a hole", "digging a hole"),
        ("a dog barking", "barking"),
        ("a dog out in the rain", "out in the rain"),
        ("a dog outside", "outside"),
        ("an old standing lamp in a room", "in a room"),
        ("two standing lamps in a room", "in a room"),
        ("a big flying drone over a city", "over a city"),
        ("a set of playing cards on a table", "on a table"),
        ("a stone building on a hill", "on a hill"),
        ("a toy made out of wood on a table", "on a table"),
        ("a cake shaped like a dog on a table", "on a table"),
        ("snorf", ""),
        ("", ""),
    ],
)
def test_the_leading_noun_phrase_is_cut(draft: str, wanted: str) -> None:
    assert drop_subject(draft) == wanted


PIECES = ["a", "the", "dog", "in", "on", "it", "its", ",", "with", "background", "sitting", "top", "of", "."]


@given(st.text() | st.lists(st.sampled_from(PIECES)).map(" ".join))
def test_what_is_left_of_a_draft_is_its_end(draft: str) -> None:
    assert draft.strip(" ,.").endswith(drop_subject(draft))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=[])), st.text(st.characters(codec="utf-8")))
def test_a_persons_text_is_never_cut(project: Path, edit: str, text: str) -> None:
    EDITS.write_text(yaml.safe_dump({"a.jpg": {"caption": edit}}))
    (FOLDER / "b.txt").write_bytes(text.encode())
    table = run()
    assert table.loc["a.jpg", "caption"] == one_line(edit)
    assert table.loc["b.png", "caption"] == one_line(text.removeprefix("\ufeff"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.text("ab.:{}[]\"'#&*!|>-? \n\t1", max_size=40).map(str.encode))
def test_any_bytes_as_edits_are_read_or_refused(project: Path, content: bytes) -> None:
    EDITS.write_bytes(content)
    try:
        run()
    except UserError as error:
        assert str(error).startswith("data/thing/captions.yaml")
