"""word.kind: what it sets in other sections, what curate cuts by it, and what lint and doctor then say."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudoword.captions.cuts.manner import cut_manner, manner_words
from pseudoword.captions.cuts.traits import cut_traits
from pseudoword.captions.drafts import write_drafts
from pseudoword.captions.words import WORD
from pseudoword.settings.kind import BY_KIND
from pseudoword.settings.loading import Settings
from pseudoword.settings.sweep import runs
from stages.curate.__main__ import main
from tests.project import shipped_params, write_checked
from tests.tiny import TOYWORLD

FOLDER = Path("data/pictures")
LEAST = {"data": {"folder": "x"}, "base": {"model": "x"}, "word": {"name": "snorf"}}


def settings(word: dict[str, Any] | None = None, **sections: Any) -> Settings:
    return Settings.model_validate(LEAST | {"word": {"name": "snorf", **(word or {})}} | sections)


def values(read: Settings) -> dict[str, str]:
    return {
        "curate.cut": read.curate.cut,
        "train.template": str(read.train.template.path),
        "evaluate.prompts": str(read.evaluate.prompts.path),
    }


@pytest.mark.parametrize("kind", BY_KIND)
def test_the_kind_sets_what_is_auto_or_left_out(kind: str) -> None:
    automatic = {"curate": {"cut": "auto"}, "train": {"template": "auto"}, "evaluate": {"prompts": "auto"}}
    assert values(settings({"kind": kind})) == BY_KIND[kind] == values(settings({"kind": kind}, **automatic))
    assert len({tuple(by.values()) for by in BY_KIND.values()}) == len(BY_KIND)


def test_each_of_them_can_be_set_by_itself() -> None:
    style = BY_KIND["style"]
    mine = settings({"kind": "style"}, curate={"cut": "none"}, train={"template": "templates/training/person.txt"})
    assert values(mine) == style | {"curate.cut": "none", "train.template": "templates/training/person.txt"}


def test_auto_is_a_value_of_an_axis_too() -> None:
    axes = {"train.template": ["auto", "templates/training/subject.txt"]}
    paths = [str(run.train.template.path) for run in runs(settings({"kind": "style"}, sweep=axes)).values()]
    assert paths == ["templates/training/style.txt", "templates/training/subject.txt"]


def test_check_writes_what_auto_came_to(in_project: Path) -> None:
    write_checked(shipped_params() | {"word": {"name": "snorf", "kind": "style"}})
    read = json.loads(Path("outputs/settings/curate.json").read_text())
    assert read["settings"]["curate"]["cut"] == "manner"
    assert read["settings"]["train"]["template"] == "templates/training/style.txt" in read["files"]
    assert (
        "auto" not in json.loads(Path("outputs/settings/evaluate.json").read_text())["settings"]["evaluate"]["prompts"]
    )


@pytest.fixture
def in_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    FOLDER.mkdir(parents=True)
    return tmp_path


def curate(kind: str, drafts: dict[str, list[str]], init_text: str, own: dict[str, str] | None = None) -> pd.DataFrame:
    """The stage's table for pictures p0.png, p1.png, ... with these drafts and a person's own texts."""
    number = len(next(iter(drafts.values())))
    ids = [f"{i:012x}" for i in range(number)]
    Path("outputs").mkdir(exist_ok=True)
    rows = pd.DataFrame({"id": ids, "source": [f"p{i}.png" for i in range(number)], "state": "used"})
    rows.to_csv("outputs/pictures.csv", index=False)
    write_drafts(ids, drafts)
    for name, text in (own or {}).items():
        (FOLDER / name).write_text(text)
    content = shipped_params()
    content["data"]["folder"], content["base"]["model"] = str(FOLDER), str(TOYWORLD)
    content["word"] |= {"kind": kind, "init_text": init_text}
    content["curate"]["similarity"] = False
    write_checked(content)
    main()
    return pd.read_csv("outputs/captions.csv", dtype=str, keep_default_na=False)


def lint() -> dict[str, str]:
    """By source and kind of finding, what is proposed."""
    table = pd.read_csv("outputs/lint.csv", dtype=str, keep_default_na=False)
    return {f"{row.source}: {row.finding.partition(':')[0]}": row.suggestion for row in table.itertuples()}


def test_a_style_keeps_the_content_of_drafts_and_shows_each_cut(
    in_project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    captioner = ["a red zork in the snow in gendoid style", "a painting of a tree by the sea", "a cat, chalk", "a dog"]
    tagger = ["zork, oil painting \\(medium\\)", "tree", "monochrome, cat", "dog"]
    filename = ["watercolour", "", "", ""]
    said = {"captioner": captioner, "tagger": tagger, "filename": filename}
    table = curate("style", said, "chalk", {"p3.txt": "a dog in a room, pastel drawing"})
    assert list(table["caption"]) == [
        "a red zork in the snow, zork, watercolour",  # a file's name a person wrote
        "a tree by the sea, tree",
        "a cat, cat",
        "a dog in a room, pastel drawing",
    ]
    assert list(table["cut"]) == [
        "in gendoid style; oil painting \\(medium\\)",
        "a painting of",
        "chalk; monochrome",
        "",
    ]
    assert "'in gendoid style' (1)" in capsys.readouterr().out
    found = lint()
    named = next(text for key, text in found.items() if key == "p3.png: names what the word learns")
    assert named.endswith(": a dog in a room")
    assert "p0.png: names what the word learns" in found  # the file's name
    assert not any("starts unlike" in key for key in found)  # captions of a style begin with what each shows


def test_a_person_begins_alike_and_loses_traits(in_project: Path) -> None:
    captioner = [
        "a young asian woman with a hat in the snow", "a girl wearing a red dress",
        "a black and white photo of an old woman sitting on a bench", "a woman in a park",
    ]  # fmt: skip
    own = {"p3.txt": "a beautiful woman, in a park"}
    table = curate("person", {"captioner": captioner}, "young woman", own)
    assert list(table["caption"]) == [
        "a woman, with a hat in the snow",
        "a woman, wearing a red dress",
        "a woman, sitting on a bench, black and white photo",
        "a beautiful woman, in a park",
    ]
    assert table["cut"][0] == "a young asian woman"
    found = lint()
    assert found["p3.png: names what the word learns"].endswith(": a woman, in a park")
    assert "p3.png: starts unlike the others" in found and not any(key.startswith("p0") for key in found)


def test_a_thing_still_loses_its_subject(in_project: Path) -> None:
    table = curate("thing", {"captioner": ["a red flower in the snow", "a flower"]}, "flower")
    assert list(table["caption"]) == ["in the snow", ""]
    assert list(table["cut"]) == ["a red flower", "a flower"]


def test_what_many_drafts_say_a_thing_has_is_a_part_of_it(in_project: Path) -> None:
    drafts = [
        "a pink square with two eyes in the desert", "a pink star with an eye in the city", "a bean at night",
        "a star with a hat in the snow", "a star with two eyes",
    ]  # fmt: skip
    table = curate("thing", {"captioner": drafts}, "flower")
    assert list(table["caption"]) == ["in the desert", "in the city", "at night", "with a hat in the snow", ""]
    assert table["cut"][0] == "a pink square with two eyes"
    table = curate("thing", {"captioner": drafts[:3]}, "flower")  # of so few nothing is common
    assert table["caption"][0] == "with two eyes in the desert"


def test_a_person_with_another_is_told(in_project: Path) -> None:
    drafts = ["a woman in a park", "a woman at sea", "a young woman and a dog at home", "a woman and a man at work"]
    table = curate("person", {"captioner": drafts}, "young woman")
    assert list(table["caption"])[2:] == ["a woman, and a dog at home", "a woman and a man at work"]
    assert [key for key in lint() if "starts unlike" in key] == ["p3.png: starts unlike the others"]


@pytest.mark.parametrize(
    ("having", "said", "wanted"),
    [
        ("with a blurry background", 5, "with a blurry background"),
        ("with trees in the background", 5, "with trees in the background"),
        ("with a house behind it", 5, "with a house behind it"),
        ("with a handle on a white background", 5, "on a white background"),
        ("with a handle", 3, ""),
        ("with a handle", 2, "with a handle"),
    ],
)
def test_a_part_of_a_thing_is_said_by_three_drafts_and_is_no_background(
    in_project: Path, having: str, said: int, wanted: str
) -> None:
    drafts = [f"a teapot {having}"] * said + ["a teapot on a table"] * (5 - said)
    assert curate("thing", {"captioner": drafts}, "teapot")["caption"][0] == wanted


def test_a_thing_keeps_that_its_picture_is_black_and_white(in_project: Path) -> None:
    drafts = [
        "a black and white photo of a dog sitting on a carpet", "a sepia close up of a dog",
        "a black and white dog in a picture frame",
    ]  # fmt: skip
    assert list(curate("thing", {"captioner": drafts}, "dog")["caption"]) == [
        "sitting on a carpet, black and white photo", "black and white photo", "in a picture frame"
    ]  # fmt: skip


def test_drafts_of_which_nothing_is_left_are_told_by_what_is_cut(
    in_project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    curate("style", {"captioner": ["a painting", "a painting of a dog"]}, "painting")
    assert "1 drafts say no more than their manner, so these captions are empty: p0.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("draft", "wanted"),
    [
        ("an oil painting in the style of van gogh of a house by the sea", "a house by the sea"),
        ("a black and white photo of a woman sitting on a bench", "a woman sitting on a bench"),
        ("a drawing of two cats, digital art", "two cats"),
        ("a close up of a painting of a woman with a hat", "a woman with a hat"),
        ("arafed painting of a city street in the rain", "a city street in the rain"),
        ("an abstract painting with red lines", "with red lines"),
        ("a painting of a field of flowers by claude monet", "a field of flowers"),
        ("a house, by Greg Rutkowski, trending on artstation, highly detailed", "a house"),
        ("a house painted in watercolor on paper", "a house"),
        ("a portrait of a man in black and white", "a portrait of a man"),
        ("a red star in the desert, textured oil, classic style", "a red star in the desert"),
        ("oil on canvas, a ship at sunset", "a ship at sunset"),
        ("a house in the city in lakotic style on the left", "a house in the city on the left"),
        ("a street in the style of impressionism and surrealism", "a street"),
        ("the image shows a drawing of a tree", "a tree"),
        ("a photo of a painting of a dog", "a dog"),
        ("A Painting Of A Dog", "A Dog"),
        ("a cat, ink \\(medium\\), marker \\(medium\\)", "a cat"),
        ("a cat, pen \\(medium\\), ballpoint pen \\(medium\\), (crayon \\(medium\\):1.1)", "a cat"),
        ("a drawing of a house in ink", "a house"),
        ("a house drawn in ink", "a house"),
        ("a painting of a cottage by Lake Como", "a cottage by Lake Como"),
        ("a house, digital art by Greg Rutkowski", "a house"),
        ("a stunning wedding photo of a couple", "a couple"),
        ("a painting", ""),
        ("", ""),
    ],
)
def test_the_manner_is_cut(draft: str, wanted: str) -> None:
    assert cut_manner(draft, "oil painting, classic style, richly textured").text == wanted


@pytest.mark.parametrize(
    "draft",
    [
        "a black and white cat on a bed",
        "a man in black and white clothes",
        "a man painting a picture of a dog",
        "a woman looking at a painting of a horse",
        "the piano is up against a wall which has multiple framed artworks hanging on it",
        "a cat sitting on paper",
        "a picture frame on a wall",
        "two people standing by trees, a lake behind them",
        "a woman holding photos of cats",
        "a woman taking pictures of a dog",
        "a man painting pictures of a dog",
        "a girl draws pictures of cats",
        "a woman looking at art by Monet",
        "a cottage, by moonlight",
        "a city, by night",
        "two people, by train",
        "a woman, by herself",
        "a desk with a notebook, a pencil, and a lamp",
        "a room with a chair, a painting, and a lamp",
        "a woman in vintage style clothing",
        "a fish cooked in oil",
        "a man covered in oil",
        "a letter written in ink",
        "a woman dressed in black and white",
    ],
)
def test_art_that_is_shown_is_content(draft: str) -> None:
    assert cut_manner(draft, "painting") == (draft, ())


PIECES = [
    "a",
    "the",
    "painting",
    "of",
    "style",
    "in",
    "by",
    "dog",
    ",",
    "oil",
    "and",
    "black",
    "white",
    "monet",
    "with",
    ".",
]


@given(st.text() | st.lists(st.sampled_from(PIECES), max_size=40).map(" ".join))
def test_what_is_left_stood_there_in_that_order_and_nothing_is_lost_unshown(draft: str) -> None:
    text, cut = cut_manner(draft)
    left, words = iter(WORD.findall(draft)), WORD.findall(text)
    assert all(word in left for word in words)
    if not cut:
        assert text == draft
    gone = len(WORD.findall(draft)) - len(words)
    assert gone - len(re.findall(r"\b(?:and|that|is|which)\b", draft)) <= sum(len(WORD.findall(part)) for part in cut)
    assert cut_manner(text).text == text or "," in draft or "style" in draft


def test_words_that_always_mean_the_manner_are_found_anywhere() -> None:
    assert manner_words("a house with loose Brushstrokes, painterly") == ["brushstrokes", "painterly"]
    assert manner_words("framed artworks on a wall") == []


@pytest.mark.parametrize(
    ("draft", "wanted"),
    [
        ("a 30 year old woman in her twenties in a park", "a woman, in a park"),
        ("1girl, solo, brown hair, outdoors, asian", "a woman, brown hair, outdoors"),
        ("a smiling woman in a park", "a woman, smiling, in a park"),
        ("a tall, dark, smiling woman", "a woman, dark, smiling"),
        ("a young and hooded man in the dark", "a woman, hooded, in the dark"),
        ("a shirtless man on a beach", "a woman, shirtless, on a beach"),
        ("a crying woman at a table", "a woman, crying, at a table"),
        ("a very old woman and a dog on a beach", "a woman, and a dog on a beach"),
        ("an asian woman taking a selfie", "a woman, taking a selfie"),
        ("a young woman dressed as a witch", "a woman, dressed as a witch"),
        ("a young woman looks at the camera", "a woman, looks at the camera"),
        ("a young woman in her kitchen", "a woman, in her kitchen"),
        ("there is an old man that is sitting on a bench", "a woman, sitting on a bench"),
        ("a stunning portrait of an old woman by the sea", "a woman, by the sea"),
        ("arafed asian woman with a hat", "a woman, with a hat"),
        ("a woman with an umbrella, black and white", "a woman with an umbrella, black and white"),
        ("a woman and a dog on a beach", "a woman and a dog on a beach"),
        ("a woman taking a selfie", "a woman taking a selfie"),
        ("a woman looks at the camera", "a woman looks at the camera"),
        ("a mother and her child in a park", "a mother and her child in a park"),
        ("a young woman, a man and a dog", "a young woman, a man and a dog"),
        ("a toy for a child on a table", "a toy for a child on a table"),
        ("a photo of a statue of a man in a park", "a photo of a statue of a man in a park"),
        ("a woman looking at a picture of an old man", "a woman looking at a picture of an old man"),
        ("a close up of an old woman's face", "a close up of an old woman's face"),
        ("a model train on a table", "a model train on a table"),
        ("a dog and woman in a park", "a dog and woman in a park"),
        ("a man and a woman in a kitchen", "a man and a woman in a kitchen"),
        ("two women in a room", "two women in a room"),
        ("a dress on a chair", "a dress on a chair"),
        ("a woman wearing a hat", "a woman wearing a hat"),
        ("", ""),
    ],
)
def test_persons_begin_alike(draft: str, wanted: str) -> None:
    assert cut_traits(draft, "an actress, young woman").text == wanted
